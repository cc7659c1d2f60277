//! The lines of the functions' logs about a document.

use aws_sdk_cloudwatchlogs::{Client, error::ProvideErrorMetadata as _};
use lectern::{document::DocumentId, error::rfc3339};
use serde_json::Value;
use time::OffsetDateTime;

use super::timeline::{Entry, Phase};
use crate::{problem::Problem, stack::Stack, text::time};

/// The fields of a line that are shown in addition to its message.
const FIELDS: [&str; 9] =
    ["error", "reason", "state", "callback", "probe", "outcome", "attempt", "round", "index"];
/// The maximum number of pages that are read from a log group.
const MAX_PAGES: usize = 200;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) at: OffsetDateTime,
    /// The function's name without suffix, such as `ReceiveUpload`.
    pub(super) function: String,
    message: String,
    fields: Vec<String>,
    error: Option<String>,
}

impl Line {
    /// Parses a line. `None` for a line about another document, a metric line, or a line of Lambda itself.
    pub(super) fn read(function: &str, text: &str, document: DocumentId) -> Option<Self> {
        let value: Value = serde_json::from_str(text.trim()).ok()?;
        if value["documentId"].as_str()? != document.to_string() {
            return None;
        }
        let fields = FIELDS.iter().filter_map(|name| Some(format!("{name} {}", plain(&value[*name])?)));
        Some(Self {
            at: time(value["timestamp"].as_str()?)?,
            function: function.to_owned(),
            message: value["message"].as_str()?.to_owned(),
            fields: fields.collect(),
            error: plain(&value["error"]),
        })
    }

    pub(super) fn entry(&self) -> Entry {
        let fields = self.fields.join(", ");
        let more = if fields.is_empty() { String::new() } else { format!(" ({fields})") };
        Entry {
            at: rfc3339(self.at),
            phase: Phase::of(&self.function),
            text: format!("{} logged: {}{more}", self.function, self.message),
            source: "log",
            error: self.error.clone(),
        }
    }
}

/// A value as text, if it is a number, or a word that cannot be a name, a token or a URL.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) if (1..=48).contains(&text.len()) => {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_';
            text.bytes().all(plain).then(|| text.clone())
        }
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// All lines about a document between two times. Log groups that could not be read are added to `notes`.
pub(super) async fn read(
    client: &Client,
    stack: &Stack,
    document: DocumentId,
    between: (OffsetDateTime, OffsetDateTime),
) -> (Vec<Line>, Vec<String>) {
    let (mut lines, mut notes) = (Vec::new(), Vec::new());
    for (function, group) in &stack.log_groups {
        match read_group(client, group, document, between).await {
            Ok(texts) => {
                lines.extend(texts.iter().filter_map(|text| Line::read(function, text, document)));
            }
            Err(problem) => {
                notes.push(format!("The log of {function} could not be read: {}", problem.text()));
            }
        }
    }
    (lines, notes)
}

async fn read_group(
    client: &Client,
    group: &str,
    document: DocumentId,
    (from, to): (OffsetDateTime, OffsetDateTime),
) -> Result<Vec<String>, Problem> {
    let millis = |time: OffsetDateTime| time.unix_timestamp() * 1000;
    let request = client
        .filter_log_events()
        .log_group_name(group)
        .start_time(millis(from))
        .end_time(millis(to) + 999)
        .filter_pattern(format!("\"{document}\""));
    let mut pages = request.into_paginator().send();
    let mut texts = Vec::new();
    for _ in 0..MAX_PAGES {
        let Some(page) = pages.next().await else { break };
        match page {
            Ok(page) => {
                let events = page.events.unwrap_or_default().into_iter();
                let messages = events.filter_map(|event| event.message);
                texts.extend(messages.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()));
            }
            // A function that never ran has no log group yet.
            Err(error) if error.code() == Some("ResourceNotFoundException") => break,
            Err(error) => return Err(Problem::aws("FilterLogEvents")(error)),
        }
    }
    Ok(texts)
}
