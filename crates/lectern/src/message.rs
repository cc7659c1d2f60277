//! The messages and task inputs that the state machine sends to functions, through a queue or directly. All of them
//! contain the same [`Envelope`].
//!
//! An execution keeps its definition for up to 60 days, while its functions are deployed anew, so every version that was
//! ever released is read. A newer version means that the function was rolled back. Such a message is never treated as
//! unreadable: it waits until the newer code is back ([`Error::InputNewer`]). docs/changing.md says in which order a
//! version is introduced.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    document::{Attempt, DocumentRef, TaskToken},
    error::Error,
    telemetry::trace::{self, TraceParent},
};

/// The schema version that this code writes, and the newest one that it reads.
pub const SCHEMA_VERSION: u64 = 2;
/// The oldest schema version that was ever released. This code reads all versions from this one on.
pub const OLDEST_VERSION: u64 = 2;

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
    /// The message has no schema version, or one that was never released.
    #[error(
        "the message has schema version {0}, this code reads versions {OLDEST_VERSION} to {SCHEMA_VERSION}"
    )]
    Version(String),
    /// Newer code wrote the message. It has to wait until this code is replaced.
    #[error("the message has schema version {0}, this code reads versions up to {SCHEMA_VERSION}")]
    Newer(u64),
}

/// Why a message stays on its queue.
#[derive(Debug, thiserror::Error)]
pub enum Retryable {
    /// Redelivery does not help: SQS moves the message to the dead-letter queue after its last delivery. Of newer code
    /// are only messages that nobody waits for, and the state machine sends none of these.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// AWS did not answer: SQS delivers the message again.
    #[error(transparent)]
    Store(#[from] Error),
    /// Nothing failed: what the message needs is not there yet. SQS delivers the message again.
    #[error("the message waits for {0}")]
    Waiting(&'static str),
}

/// Parses a message from a queue.
///
/// # Errors
/// [`Unreadable`]; its text does not quote the message.
pub fn parse<T: DeserializeOwned>(body: &str) -> Result<T, Unreadable> {
    /// Only the version, because most of the time of parsing a batch of events would go into values that nobody needs.
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Versioned {
        #[serde(default)]
        schema_version: Value,
    }
    let Versioned { schema_version } = serde_json::from_str(body).map_err(|error| form(&error))?;
    check_version(&schema_version)?;
    serde_json::from_str(body).map_err(|error| form(&error))
}

/// Parses the input of a task that the state machine invokes directly.
///
/// # Errors
/// [`Unreadable`]; its text does not quote the input.
pub fn input<T: DeserializeOwned>(payload: Value) -> Result<T, Unreadable> {
    check_version(payload.get("schemaVersion").unwrap_or(&Value::Null))?;
    serde_json::from_value(payload).map_err(|error| form(&error))
}

fn check_version(version: &Value) -> Result<(), Unreadable> {
    match version.as_u64() {
        Some(OLDEST_VERSION..=SCHEMA_VERSION) => Ok(()),
        Some(version) if version > SCHEMA_VERSION => Err(Unreadable::Newer(version)),
        Some(version) => Err(Unreadable::Version(version.to_string())),
        None => Err(Unreadable::Version("(none)".to_owned())),
    }
}

/// The task token of a message whose other fields may be unknown. Its place in the message is the same in all versions.
pub fn task_token(body: &str) -> Option<TaskToken> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answerable {
        task_token: TaskToken,
    }
    serde_json::from_str(body).map(|Answerable { task_token }| task_token).ok()
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
    fn case_50_a07_every_released_version_is_read_and_a_newer_one_is_told_from_garbage() {
        let id = "6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f";
        let body = |version: u64| {
            format!(r#"{{"schemaVersion":{version},"submissionId":"s","documentId":"{id}","more":1}}"#)
        };
        for version in OLDEST_VERSION..=SCHEMA_VERSION {
            assert_eq!(parse::<DocumentRef>(&body(version)).unwrap().submission_id.as_str(), "s");
        }
        for version in [0, OLDEST_VERSION - 1] {
            let error = parse::<DocumentRef>(&body(version)).unwrap_err();
            assert!(matches!(error, Unreadable::Version(_)), "{version}: {error}");
        }
        for version in [SCHEMA_VERSION + 1, u64::MAX] {
            let error = parse::<DocumentRef>(&body(version)).unwrap_err();
            assert!(matches!(error, Unreadable::Newer(found) if found == version), "{version}: {error}");
        }
        let unheard_of = r#"{"schemaVersion":99,"taskToken":"t","attempt":{"of":"another form"}}"#;
        assert_eq!(task_token(unheard_of).unwrap().expose(), "t");
        assert_eq!(task_token("{}"), None);
    }
}
