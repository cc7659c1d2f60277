//! Dead letters as people read them.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;

use super::{
    classify::{Action, Class},
    judged::{Judged, Row, Seen},
    redact::redact,
};
use crate::{
    console::Report,
    stack::DeadLetters,
    text::{count, duration},
};

/// All queues that were asked for.
#[derive(Debug, Serialize)]
pub(super) struct ListReport {
    pub(super) queues: Vec<QueueReport>,
}

/// One queue: how full it is, and what was read of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QueueReport {
    queue: String,
    approximately: u64,
    hidden: u64,
    not_seen: u64,
    #[serde(skip)]
    is_fifo: bool,
    classes: BTreeMap<Class, usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_age: Option<String>,
    messages: Vec<Row>,
}

impl QueueReport {
    pub(super) fn new(queue: &DeadLetters, seen: &Seen, now: OffsetDateTime) -> Self {
        let Seen { letters: found, depth } = seen;
        let mut classes = BTreeMap::new();
        for judged in found {
            *classes.entry(judged.verdict.class).or_default() += 1;
        }
        let oldest = found.iter().filter_map(|judged| judged.letter.sent).min();
        Self {
            queue: queue.name.clone(),
            approximately: depth.visible,
            hidden: depth.hidden,
            not_seen: seen.not_seen(),
            is_fifo: DeadLetters::is_fifo(&queue.url),
            classes,
            oldest_at: oldest.map(lectern::error::rfc3339),
            oldest_age: oldest.map(|oldest| duration(now - oldest)),
            messages: found.iter().map(|judged| judged.row(now)).collect(),
        }
    }
}

impl Report for ListReport {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{:<20} {:>8} {:>16}  CLASSES", "QUEUE", "MESSAGES", "OLDEST")?;
        for queue in &self.queues {
            let classes: Vec<String> =
                queue.classes.iter().map(|(class, number)| format!("{number} {}", class.name())).collect();
            let read = queue.messages.len() as u64;
            let oldest = queue.oldest_age.as_deref().unwrap_or("-");
            let messages = read.max(queue.approximately);
            write!(out, "{:<20} {messages:>8} {oldest:>16}  {}", queue.queue, classes.join(", "))?;
            if queue.not_seen > 0 {
                write!(out, " (of {read} that were read; {})", unseen(queue.is_fifo, queue.not_seen))?;
            }
            if queue.hidden > 0 {
                write!(out, " ({} hidden: another command is at work, or was killed)", queue.hidden)?;
            }
            writeln!(out)?;
        }
        for queue in self.queues.iter().filter(|queue| !queue.messages.is_empty()) {
            writeln!(out)?;
            writeln!(out, "{}", queue.queue)?;
            for row in queue.messages.iter().take(20) {
                let id: String = row.id.chars().take(8).collect();
                writeln!(out, "  {id:<8}  {:<15}  {}", row.class.name(), row.why)?;
            }
            if queue.messages.len() > 20 {
                writeln!(out, "  … and {} more; --json has all", queue.messages.len() - 20)?;
            }
        }
        let full = self.queues.iter().any(|queue| !queue.messages.is_empty() || queue.not_seen > 0);
        writeln!(out)?;
        writeln!(out, "{}", if full { "Next: lectern dlq redrive --all" } else { "Nothing is dead." })
    }
}

/// How many letters were not seen, and why: they lie behind others in a queue that keeps an order, or there were enough.
pub(super) fn unseen(is_fifo: bool, number: u64) -> String {
    let order = if is_fifo { ": the queue keeps its order and shows ten at a time" } else { "" };
    format!("about {number} not seen{order}")
}

/// One letter without its secrets.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShowReport {
    queue: String,
    #[serde(flatten)]
    row: Row,
    redrive_would: Action,
    body_sha256: String,
    body_bytes: usize,
    /// How many more lie there that were not seen.
    not_seen: u64,
    #[serde(skip)]
    is_fifo: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Value>,
}

impl ShowReport {
    pub(super) fn new(queue: &DeadLetters, judged: &Judged, not_seen: u64, now: OffsetDateTime) -> Self {
        Self {
            queue: queue.name.clone(),
            row: judged.row(now),
            redrive_would: judged.verdict.class.action(),
            body_sha256: judged.letter.hash(),
            body_bytes: judged.letter.body.len(),
            not_seen,
            is_fifo: DeadLetters::is_fifo(&queue.url),
            body: redact(&judged.letter.body),
        }
    }
}

impl Report for ShowReport {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Row { id, class, why, sent_at, age, received, redrives, submission_id, document_id } = &self.row;
        writeln!(out, "{} of {}: {}", id, self.queue, class.name())?;
        writeln!(out, "Why       {why}")?;
        let (sent_at, age) = (sent_at.as_deref().unwrap_or("-"), age.as_deref().unwrap_or("-"));
        writeln!(out, "Sent      {sent_at}, {age} ago; received {}", count(*received as usize, "time"))?;
        writeln!(out, "Redriven  {}", count(*redrives as usize, "time"))?;
        if let (Some(submission), Some(document)) = (submission_id, document_id) {
            writeln!(out, "Document  lectern explain {submission}/{document}")?;
        }
        let what = match self.redrive_would {
            Action::Send => "send it back",
            Action::Drop => "delete it",
            Action::Quarantine => "move it to quarantine/dead-letters/",
            Action::Keep => "leave it here",
        };
        writeln!(out, "Redrive   would {what}")?;
        if self.not_seen > 0 {
            writeln!(out, "Others    {}", unseen(self.is_fifo, self.not_seen))?;
        }
        writeln!(out, "Body      {} bytes, SHA-256 {}", self.body_bytes, self.body_sha256)?;
        match &self.body {
            Some(body) => writeln!(out, "{body:#}"),
            None => writeln!(out, "It is no JSON, so nothing of it is shown."),
        }
    }
}
