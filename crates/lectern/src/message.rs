//! Queue messages: every one carries a schema version, and an unreadable one stays on its queue. What the state machine
//! gives a function directly carries one too, but is deployed together with its reader and is not checked.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::Error;

/// The version that this code reads and writes. No other one was ever deployed.
pub const SCHEMA_VERSION: u64 = 2;

/// A message that cannot be read. Whoever received it leaves it, untouched, for the dead-letter queue.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not JSON, or not of the expected shape. The text tells where, never what was there.
    #[error("the message is not of the expected form ({0})")]
    Form(String),
    /// Of a version that this code does not know.
    #[error("the message has schema version {0}, this code reads version {SCHEMA_VERSION}")]
    Version(String),
}

/// Why a message stays on its queue.
#[derive(Debug, thiserror::Error)]
pub enum Retryable {
    /// It will never be readable: the dead-letter queue gets it.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// AWS did not answer: it is delivered again.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Reads a message.
///
/// # Errors
/// [`Unreadable`], without quoting the message.
pub fn parse<T: DeserializeOwned>(body: &str) -> Result<T, Unreadable> {
    let value: Value = serde_json::from_str(body).map_err(|error| form(&error))?;
    let version = value.get("schemaVersion").and_then(Value::as_u64);
    match version {
        Some(SCHEMA_VERSION) => serde_json::from_value(value).map_err(|error| form(&error)),
        Some(version) => Err(Unreadable::Version(version.to_string())),
        None => Err(Unreadable::Version("(none)".to_owned())),
    }
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
