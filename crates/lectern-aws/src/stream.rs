//! Changes of the table, from its stream.
//!
//! The types of `aws_lambda_events` for these events need the crate `chrono`, so the three fields are read here.

use std::{collections::HashMap, future::Future};

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use lectern::{
    admission::Timestamp, document::Document, error::Error, events::EventItem, steps::route_events::Change,
    telemetry::metrics,
};
use serde::{Deserialize, de::DeserializeOwned};
use time::OffsetDateTime;
use tracing::Instrument as _;

use crate::{Environment, dynamodb::ERASURE_STATE, logging};

#[cfg(test)]
mod tests;

/// A batch of the stream
/// (<https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html>).
#[derive(Debug, Deserialize)]
pub struct StreamEvent {
    #[serde(rename = "Records")]
    records: Vec<Record>,
}

#[derive(Debug, Deserialize)]
struct Record {
    dynamodb: RecordData,
}

type Image = HashMap<String, serde_dynamo::AttributeValue>;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RecordData {
    /// Seconds since 1970.
    approximate_creation_date_time: f64,
    #[serde(default)]
    new_image: Option<Image>,
    #[serde(default)]
    old_image: Option<Image>,
}

/// Runs a function that the table's stream invokes. If the handler fails, Lambda delivers the whole batch again.
///
/// # Errors
/// If a setting is missing or the runtime itself fails.
pub async fn run_stream<H, F, T>(env: &Environment, handle: H) -> Result<(), lambda_runtime::Error>
where
    H: Fn(Vec<Change>) -> F,
    F: Future<Output = Result<T, Error>>,
{
    let function = env.function_name()?;
    let (function, handle) = (&function, &handle);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<StreamEvent>| async move {
        let span = logging::invocation_span(function, event.context.xray_trace_id.as_deref());
        let changes = span.in_scope(|| changes(event.payload));
        let result = Box::pin(handle(changes)).instrument(span.clone()).await;
        result.map(drop).map_err(|error| {
            span.in_scope(|| tracing::error!(detail = %error, "A batch of changes is delivered again."));
            Diagnostic { error_type: error.name().to_owned(), error_message: error.to_string() }
        })
    }))
    .await
}

/// The changes of a batch. A change that cannot be read must not block all changes after it: it is skipped, and an alarm
/// tells operators to replay.
pub fn changes(event: StreamEvent) -> Vec<Change> {
    let mut changes = Vec::new();
    for Record { dynamodb } in event.records {
        let Some(image) = dynamodb.new_image else { continue };
        let (pk, sk) = (text(&image, "pk"), text(&image, "sk"));
        match item(image) {
            Ok(Some(new)) => {
                let old = dynamodb.old_image.and_then(|image| item(image).ok().flatten());
                let changed_at = date(dynamodb.approximate_creation_date_time);
                changes.push(Change { old, new, changed_at });
            }
            Ok(None) => {}
            Err(error) => {
                metrics::unreadable_change();
                tracing::error!(pk, sk, detail = %error, "A change could not be read, so its events are not sent.");
            }
        }
    }
    changes
}

fn date(seconds: f64) -> Timestamp {
    let date = OffsetDateTime::UNIX_EPOCH + time::Duration::seconds_f64(seconds);
    date.into()
}

/// The item in an image; `None` if changes of such an item are no events.
fn item(image: Image) -> Result<Option<EventItem>, serde_dynamo::Error> {
    let sk = text(&image, "sk").unwrap_or_default();
    Ok(Some(match sk.as_str() {
        "SUBMISSION" if image.contains_key(ERASURE_STATE) => EventItem::Erasure(parsed(image)?),
        "SUBMISSION" => EventItem::Submission(Box::new(parsed(image)?)),
        sk if sk.starts_with("DOCUMENT#") => EventItem::Document(Box::new(parsed::<Document>(image)?)),
        sk if sk.starts_with("SUBSCRIBER#") => EventItem::Subscriber(Box::new(parsed(image)?)),
        _ => return Ok(None),
    }))
}

fn parsed<T: DeserializeOwned>(image: Image) -> Result<T, serde_dynamo::Error> {
    serde_dynamo::from_item(image)
}

/// Keys contain only ids.
fn text(image: &Image, name: &str) -> Option<String> {
    match image.get(name) {
        Some(serde_dynamo::AttributeValue::S(text)) => Some(text.clone()),
        _ => None,
    }
}
