//! The API's JSON, as far as the commands use it. Members that a newer API adds are ignored.

use std::collections::BTreeMap;

use lectern::document::{DocumentState, Reason};
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize)]
pub(crate) struct Me {
    pub(crate) roles: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the name is that of the JSON")]
pub(crate) struct Submission {
    pub(crate) submission_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    pub(crate) state: String,
    pub(crate) open: u64,
    pub(crate) ready: u64,
    pub(crate) rejected: u64,
    pub(crate) failed: u64,
    pub(crate) kinds: Vec<String>,
    pub(crate) created_at: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SubmissionsPage {
    pub(crate) submissions: Vec<Submission>,
    #[serde(default)]
    pub(crate) cursor: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Detail {
    pub(crate) submission: Submission,
    pub(crate) pending: Vec<PendingFile>,
    pub(crate) documents: Vec<Document>,
    #[serde(default, skip_serializing)]
    pub(crate) cursor: Option<String>,
}

/// A declared file whose upload has not arrived yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PendingFile {
    pub(crate) file_id: String,
    pub(crate) name: String,
    pub(crate) size_bytes: u64,
    /// The document whose file it replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replaces: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the name is that of the JSON")]
pub(crate) struct Document {
    pub(crate) document_id: String,
    pub(crate) file_name: String,
    pub(crate) size_bytes: u64,
    pub(crate) state: DocumentState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<Reason>,
    /// The time of the first arrival in each state.
    pub(crate) times: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) superseded_by: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_withdrawn: bool,
}

impl Document {
    /// Whether it is its file's newest version, and its file was not removed.
    pub(crate) fn is_current(&self) -> bool {
        self.superseded_by.is_none() && !self.is_withdrawn
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct DocumentsPage {
    pub(crate) documents: Vec<Document>,
    #[serde(default)]
    pub(crate) cursor: Option<String>,
}

/// How to send a file.
#[derive(Deserialize)]
#[serde(tag = "method", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum UploadPlan {
    /// In one request, a form.
    Post { url: String, fields: BTreeMap<String, String> },
    /// In parts.
    Parts { part_size_bytes: u64, part_count: u32, uploaded: Vec<UploadedPart> },
}

/// A part that S3 has.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UploadedPart {
    pub(crate) part_number: u32,
    pub(crate) size_bytes: u64,
    pub(crate) checksum_sha256: String,
}

#[derive(Deserialize)]
pub(crate) struct SignedParts {
    pub(crate) parts: Vec<SignedPart>,
}

/// A request that uploads a part: a PUT with exactly these headers. It is a bearer secret.
#[derive(Deserialize)]
pub(crate) struct SignedPart {
    pub(crate) url: String,
    pub(crate) headers: BTreeMap<String, String>,
}
