//! The messages and task inputs that the state machine sends to functions, through a queue or directly. All of them
//! contain the same [`Envelope`].
//!
//! A message whose schema version is unknown stays on its queue. The input of a function that the state machine invokes
//! directly has a schema version too, but [`parse`] does not check it, because both are deployed together.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    document::{Attempt, DocumentRef},
    error::Error,
    telemetry::trace::{self, TraceParent},
};

/// The schema version that this code reads and writes. No other version was ever deployed.
pub const SCHEMA_VERSION: u64 = 2;

/// The fields that all messages and task inputs have in common; each step adds its own fields:
/// `{"schemaVersion": 2, "submissionId", "documentId", "attempt", "traceparent"?}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u64,
    /// The document that the message is about.
    #[serde(flatten)]
    pub document: DocumentRef,
    /// The document's newest attempt; 0 before the first one.
    pub attempt: Attempt,
    /// The document's trace. A value that is not a valid `traceparent` is ignored, so that it cannot block the
    /// document.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "trace::optional")]
    pub traceparent: Option<TraceParent>,
}

impl Envelope {
    /// An envelope of the current version without a trace.
    pub fn new(document: DocumentRef, attempt: Attempt) -> Self {
        Self { schema_version: SCHEMA_VERSION, document, attempt, traceparent: None }
    }
}

/// A message that cannot be parsed. The receiver leaves it unchanged, and SQS moves it to the dead-letter queue.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not JSON, or not of the expected shape. The text gives the position of the error and does not quote the message.
    #[error("the message is not of the expected form ({0})")]
    Form(String),
    /// The message has an unknown schema version.
    #[error("the message has schema version {0}, this code reads version {SCHEMA_VERSION}")]
    Version(String),
}

/// Why a message stays on its queue.
#[derive(Debug, thiserror::Error)]
pub enum Retryable {
    /// Redelivery does not help: SQS moves the message to the dead-letter queue after its last delivery.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// AWS did not answer: SQS delivers the message again.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Parses a message from a queue.
///
/// # Errors
/// [`Unreadable`]; its text does not quote the message.
pub fn parse<T: DeserializeOwned>(body: &str) -> Result<T, Unreadable> {
    let value: Value = serde_json::from_str(body).map_err(|error| form(&error))?;
    let version = value.get("schemaVersion").and_then(Value::as_u64);
    match version {
        Some(SCHEMA_VERSION) => input(value),
        Some(version) => Err(Unreadable::Version(version.to_string())),
        None => Err(Unreadable::Version("(none)".to_owned())),
    }
}

/// Parses the input of a task that the state machine invokes directly.
///
/// # Errors
/// [`Unreadable::Form`]; its text does not quote the input.
pub fn input<T: DeserializeOwned>(payload: Value) -> Result<T, Unreadable> {
    serde_json::from_value(payload).map_err(|error| form(&error))
}

pub(crate) fn form(error: &serde_json::Error) -> Unreadable {
    Unreadable::Form(format!(
        "{:?} error at line {} column {}",
        error.classify(),
        error.line(),
        error.column()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::DocumentRef;

    #[test]
    fn case_18_unknown_schema_and_non_json_are_unreadable_and_not_quoted() {
        for body in [
            "secret",
            "{}",
            r#"{"schemaVersion":99,"x":"secret"}"#,
            r#"{"schemaVersion":1,"x":"secret"}"#,
            "[1]",
        ] {
            let error = parse::<DocumentRef>(body).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn case_50_only_the_current_version_is_read() {
        let id = "6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f";
        let body = |version: u64| {
            format!(r#"{{"schemaVersion":{version},"submissionId":"s","documentId":"{id}","more":1}}"#)
        };
        assert_eq!(parse::<DocumentRef>(&body(SCHEMA_VERSION)).unwrap().submission_id.as_str(), "s");
        for version in [0, SCHEMA_VERSION - 1, SCHEMA_VERSION + 1] {
            assert!(parse::<DocumentRef>(&body(version)).is_err(), "{version}");
        }
    }
}
