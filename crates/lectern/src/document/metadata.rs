//! Metadata of an uploaded object: who owns it, and what the teacher calls it. The API signs both into each upload, so an
//! uploader cannot change them. An object that an operator copied into the bucket may have neither.

use std::{fmt, str::FromStr};

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::InvalidId;
use crate::display_text::Label;

/// The metadata `x-amz-meta-owner`: an [`Owner`].
pub const OWNER: &str = "owner";
/// The metadata `x-amz-meta-name`: a [`FileName`], encoded.
pub const NAME: &str = "name";

/// The person who owns a document: the subject (`sub`) of the teacher's access token, 1 to 128 printable ASCII characters
/// without spaces. An owner identifies a person, so it is never logged.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Owner(String);

impl Owner {
    const MAX_CHARS: usize = 128;

    /// The subject as text, for the store and for comparisons. Never log it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for Owner {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for Owner {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let valid =
            (1..=Self::MAX_CHARS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if valid { Ok(Self(text)) } else { Err(InvalidId) }
    }
}

impl From<Owner> for String {
    fn from(owner: Owner) -> Self {
        owner.0
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Owner(…)")
    }
}

/// What the teacher calls a file, for display. It is no part of the object's key, and it is never logged.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FileName(Label);

impl FileName {
    /// The name; `None` if nothing of it can be seen.
    pub fn new(text: &str) -> Option<Self> {
        let label = Label::new(text).or("");
        (!label.is_empty()).then_some(Self(label))
    }

    /// Reads the metadata [`NAME`]: percent-encoded UTF-8. `None` if it is not UTF-8.
    pub fn decode(metadata: &str) -> Option<Self> {
        Self::new(&percent_decode_str(metadata).decode_utf8().ok()?)
    }

    /// The metadata [`NAME`]. Metadata of S3 is ASCII.
    pub fn encode(&self) -> String {
        utf8_percent_encode(&self.0, NON_ALPHANUMERIC).to_string()
    }

    /// The name.
    pub fn as_label(&self) -> &Label {
        &self.0
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileName(…)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f", true)]
    #[case("auth0|5f7c8ec7c33c6c004bbafe82", true)]
    #[case("", false)]
    #[case("two words", false)]
    #[case("line\nbreak", false)]
    #[case("é", false)]
    fn owner_is_printable_ascii_without_spaces(#[case] text: &str, #[case] valid: bool) {
        assert_eq!(text.parse::<Owner>().is_ok(), valid);
        assert_eq!(serde_json::from_value::<Owner>(text.into()).is_ok(), valid);
    }

    #[test]
    fn owner_has_at_most_128_characters() {
        assert!("x".repeat(128).parse::<Owner>().is_ok());
        assert!("x".repeat(129).parse::<Owner>().is_err());
    }

    #[test]
    fn owner_and_name_are_not_printed() {
        let shown = format!("{:?} {:?}", "secret".parse::<Owner>().unwrap(), FileName::new("secret"));
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[rstest]
    #[case::percent("100%25%20sicher%3F.pdf", Some("100% sicher?.pdf"))]
    #[case::not_ascii("%E6%95%99%E6%A1%88.docx", Some("教案.docx"))]
    #[case::not_encoded("plan.docx", Some("plan.docx"))]
    #[case::not_utf8("%FF%FE.pdf", None)]
    #[case::control_characters("a%00b%0Ac.pdf", Some("ab c.pdf"))]
    #[case::direction("%E2%80%AEfdp.exe", Some("fdp.exe"))]
    #[case::nothing_to_see("%E2%80%8B%20", None)]
    #[case::empty("", None)]
    fn name_is_decoded_and_neutralised(#[case] metadata: &str, #[case] expected: Option<&str>) {
        let name = FileName::decode(metadata);
        assert_eq!(name.as_ref().map(|name| name.as_label().as_str()), expected);
    }

    proptest! {
        #[test]
        fn any_name_round_trips_through_the_metadata(text in any::<String>()) {
            let name = FileName::new(&text);
            prop_assert_eq!(name.as_ref().and_then(|name| FileName::decode(&name.encode())), name);
        }
    }
}
