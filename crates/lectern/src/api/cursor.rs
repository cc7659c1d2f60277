//! The page cursor: opaque to callers, base64url of the [`Cursor`] as JSON. A cursor grants no access, so it is not
//! signed; but only text that [`encode`] could have returned is accepted.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

use super::ApiError;
use crate::{
    document::{DocumentId, SubmissionId},
    error::{Error, StoreError, rfc3339},
    ports::Cursor,
};

/// Longer than any cursor that [`encode`] returns.
const MAX_CURSOR_BYTES: usize = 512;
/// The message of the 400 answer to a cursor that the API has not given out.
pub(super) const INVALID: &str = "cursor must be the cursor of a page before, unchanged.";

/// The cursor as text.
pub(super) fn encode(cursor: &Cursor) -> Result<String, ApiError> {
    to_text(cursor).ok_or_else(|| Error::from(StoreError::defect("a cursor could not be written")).into())
}

/// Parses a cursor.
pub(super) fn decode(text: &str) -> Result<Cursor, ApiError> {
    read(text).ok_or_else(|| ApiError::InvalidQuery(INVALID.to_owned()))
}

fn read(text: &str) -> Option<Cursor> {
    if text.len() > MAX_CURSOR_BYTES {
        return None;
    }
    let cursor: Cursor = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let created_at =
        OffsetDateTime::parse(&cursor.created_at, &Rfc3339).ok()?.checked_to_offset(UtcOffset::UTC)?;
    let genuine = rfc3339(created_at) == cursor.created_at
        && SubmissionId::try_from(cursor.submission_id.clone()).is_ok()
        && to_text(&cursor)? == text;
    genuine.then_some(cursor)
}

fn to_text(cursor: &Cursor) -> Option<String> {
    Some(URL_SAFE_NO_PAD.encode(serde_json::to_vec(cursor).ok()?))
}

/// Where a page starts that looks at submissions and their documents: behind a submission, or within one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DocumentsCursor {
    pub(super) submission: Cursor,
    /// The last document that was looked at, if the submission has more.
    pub(super) document: Option<DocumentId>,
}

impl DocumentsCursor {
    pub(super) fn encode(&self) -> Result<String, Error> {
        let json = serde_json::to_vec(self);
        let json = json.map_err(|error| StoreError::defect_of("a cursor could not be written", error))?;
        Ok(URL_SAFE_NO_PAD.encode(json))
    }

    /// Accepts only text that [`Self::encode`] could have returned.
    pub(super) fn decode(text: &str) -> Option<Self> {
        let json = URL_SAFE_NO_PAD.decode(text).ok()?;
        let cursor: Self = serde_json::from_slice(&json).ok()?;
        let is_genuine = OffsetDateTime::parse(&cursor.submission.created_at, &Rfc3339).is_ok()
            && SubmissionId::try_from(cursor.submission.submission_id.clone()).is_ok()
            && cursor.encode().is_ok_and(|encoded| encoded == text);
        is_genuine.then_some(cursor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn position() -> Cursor {
        Cursor { created_at: "2026-11-20T16:00:00.000Z".to_owned(), submission_id: "s1".to_owned() }
    }

    fn genuine() -> String {
        encode(&position()).unwrap()
    }

    #[test]
    fn cursor_is_read_as_it_was_written() {
        assert_eq!(decode(&genuine()).unwrap(), position());
    }

    #[rstest]
    #[case::bad_time(r#"{"createdAt":"now","submissionId":"s1"}"#)]
    #[case::other_offset(r#"{"createdAt":"2026-11-20T16:00:00.000+01:00","submissionId":"s1"}"#)]
    #[case::first_moment_elsewhere(r#"{"createdAt":"0000-01-01T00:00:00.000+01:00","submissionId":"s1"}"#)]
    #[case::last_moment_elsewhere(r#"{"createdAt":"9999-12-31T23:59:59.999-01:00","submissionId":"s1"}"#)]
    #[case::bad_id(r#"{"createdAt":"2026-11-20T16:00:00.000Z","submissionId":"a#b"}"#)]
    #[case::more(r#"{"createdAt":"2026-11-20T16:00:00.000Z","submissionId":"s1","x":1}"#)]
    #[case::spaced(r#"{"createdAt":"2026-11-20T16:00:00.000Z", "submissionId":"s1"}"#)]
    #[case::list("[]")]
    fn made_up_cursor_is_refused(#[case] json: &str) {
        assert!(decode(&URL_SAFE_NO_PAD.encode(json)).is_err());
    }

    proptest! {
        #[test]
        fn changed_cursor_is_refused_or_another_genuine_one(at in 0_usize..200, to in "[A-Za-z0-9_=+/-]") {
            let mut text = genuine();
            let at = at % text.len();
            text.replace_range(at..=at, &to);
            if let Ok(cursor) = decode(&text) {
                prop_assert_eq!(to_text(&cursor).unwrap(), text);
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text: String) {
            let _ = decode(&text);
        }
    }
}
