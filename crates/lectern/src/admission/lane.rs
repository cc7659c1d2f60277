//! The lane of a document in admission control.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest as _, Sha256};

use crate::document::{InvalidId, SubmissionId, metadata::Owner};

/// A share of the permits: all documents of one teacher are in one lane, and all lanes are served in turn. A document
/// without an owner is in the lane of its submission.
///
/// A lane is the first 16 hexadecimal characters of the SHA-256 of the owner or the submission id, so that messages,
/// histories of executions and items of the queues do not name the owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Lane(String);

impl Lane {
    const BYTES: usize = 8;

    /// The lane of a document with this owner and this submission.
    pub fn of(owner: Option<&Owner>, submission: &SubmissionId) -> Self {
        let digest = Sha256::digest(owner.map_or(submission.as_str(), Owner::expose));
        Self(hex::encode(digest.iter().take(Self::BYTES).copied().collect::<Vec<u8>>()))
    }

    /// The lane as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Parses the field `lane` of a request. An absent, empty (the execution was started without one) or malformed field is
/// `None`.
///
/// # Errors
/// If the field is not a string.
pub(crate) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Lane>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.and_then(|text| text.parse().ok()))
}

impl FromStr for Lane {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for Lane {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == 2 * Self::BYTES && text.bytes().all(is_hex) {
            Ok(Self(text))
        } else {
            Err(InvalidId)
        }
    }
}

impl From<Lane> for String {
    fn from(lane: Lane) -> Self {
        lane.0
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
