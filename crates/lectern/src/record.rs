//! The normalised record of one document, which evaluators read, in Lectern's own versioned schema.
//!
//! [`Draft`] builds a record from the files that the third party returned, one file at a time. `docs/record.schema.json` is
//! generated from these types ([`json_schema`]), and a test checks that the two are equal. All text is stored as
//! plain text, never as markup.

mod build;
mod nfc;
mod parse;
mod schema;
#[cfg(test)]
pub(crate) mod tests;

use bytes::Bytes;
use lectern_content::MediaType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    contract::wire::{FileRole, Severity},
    document::{DocumentRef, keys},
    error::{Error, StoreError},
};

pub use build::Draft;
pub(crate) use nfc::nfc;
pub use schema::json_schema;

/// The schema version that this code writes. A reader accepts it and every released version before it.
pub const SCHEMA_VERSION: u32 = 1;

/// One document, normalised. Display text is Unicode NFC, times are RFC 3339 in UTC, durations are milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// [`SCHEMA_VERSION`] of the writer. Reading a version that was never released, or a newer one, is an error.
    #[serde(deserialize_with = "schema::readable_version")]
    #[schemars(with = "u32", extend("const" = SCHEMA_VERSION))]
    pub schema_version: u32,
    /// The submission that the document belongs to.
    pub submission_id: String,
    /// The document's id.
    pub document_id: String,
    /// The uploaded file.
    pub source: Source,
    /// Facts of a video, a recording or a picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<Media>,
    /// What is said in a video or a recording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transcript: Option<Transcript>,
    /// The text of a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What the proofreading found, in the order of the text.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Every returned file, as it came; those that were parsed too.
    #[serde(default)]
    pub attachments: Vec<Attachment>,
    /// Where all this comes from.
    pub provenance: Provenance,
}

impl Record {
    /// The record as JSON, and the key of its object, which contains the SHA-256 of the JSON.
    ///
    /// # Errors
    /// A defect, if the record cannot be written as JSON.
    pub fn to_object(&self, document: &DocumentRef) -> Result<(String, Bytes), Error> {
        let json = serde_json::to_vec(self)
            .map_err(|error| StoreError::defect_of("a record could not be written as JSON", error))?;
        Ok((keys::record(document, &hex::encode(Sha256::digest(&json))), json.into()))
    }

    /// Parses the JSON of [`Self::to_object`].
    ///
    /// # Errors
    /// A defect, if this is not a record of a readable version.
    pub fn from_json(json: &[u8]) -> Result<Self, Error> {
        let record = serde_json::from_slice(json);
        Ok(record.map_err(|error| StoreError::defect_of("a record could not be read", error))?)
    }
}

/// The uploaded file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Its name for display, NFC.
    pub file_name: String,
    /// Its media type.
    pub media_type: MediaType,
    /// Its size.
    pub size_bytes: u64,
    /// When it was registered.
    #[schemars(extend("format" = "date-time"))]
    pub received_at: String,
}

/// Facts of a video, a recording or a picture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Media {
    /// Length in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Width in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width_px: Option<u32>,
    /// Height in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height_px: Option<u32>,
    /// Codec of the first video track.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video_codec: Option<String>,
    /// Codec of the first audio track.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_codec: Option<String>,
    /// When it was recorded, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub recorded_at: Option<String>,
}

/// What is said in a video or a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Transcript {
    /// BCP 47 tag, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// In the order of their start.
    pub segments: Vec<TranscriptSegment>,
    /// How many cues of the captions could not be read. Their text is missing here.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped_cues: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde requires")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// One segment of a transcript.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TranscriptSegment {
    /// Milliseconds from the start.
    pub start_ms: u64,
    /// Milliseconds from the start, not before `start_ms`.
    pub end_ms: u64,
    /// What was said.
    pub text: String,
    /// Who said it, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speaker: Option<String>,
}

/// One finding of the proofreading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Where in [`Record::text`].
    pub range: TextRange,
    /// The rule.
    pub rule: String,
    /// A sentence for the evaluator.
    pub message: String,
    /// What to write instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    /// How bad it is.
    pub severity: Severity,
}

/// A range of [`Record::text`], in Unicode scalar values of the text as stored (after NFC).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TextRange {
    /// First character, counted from 0.
    pub start: u64,
    /// One past the last character.
    pub end: u64,
}

/// A returned file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// Its position among the returned files; the API gives its URL by this number.
    pub index: u32,
    /// Its name for display and download, NFC. Its extension is one of its media type.
    pub file_name: String,
    /// What it is for. A file that the record is not built from is an attachment, whatever its declared role.
    pub role: FileRole,
    /// Its verified media type, or `application/octet-stream` if it is none that Lectern vouches for.
    pub media_type: String,
    /// Its size.
    pub size_bytes: u64,
    /// Its SHA-256, lower-case hex.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub sha256: String,
}

/// Where a record comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// The third party, by the name it is configured under.
    pub provider: String,
    /// Its id of the job.
    pub job_id: String,
    /// When the document was registered.
    #[schemars(extend("format" = "date-time"))]
    pub received_at: String,
    /// When the record was written.
    #[schemars(extend("format" = "date-time"))]
    pub normalized_at: String,
    /// The version of the uploaded object.
    pub source_version_id: String,
    /// SHA-256 of each returned file, in the order of the callback.
    #[schemars(inner(regex(pattern = "^[0-9a-f]{64}$")))]
    pub returned_sha256: Vec<String>,
}
