//! Uploads that the API has handed out.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::InvalidId;

/// Names one upload of one file: 32 hexadecimal digits in lower case, chosen by the API. The object carries it in its metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UploadId(u128);

impl UploadId {
    /// The id of these random bits.
    pub fn new(bits: u128) -> Self {
        Self(bits)
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for UploadId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_digit = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
        if text.len() != 32 || !text.bytes().all(is_digit) {
            return Err(InvalidId);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| InvalidId)
    }
}

impl TryFrom<String> for UploadId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<UploadId> for String {
    fn from(id: UploadId) -> Self {
        id.to_string()
    }
}
