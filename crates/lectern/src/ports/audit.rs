//! The audit trail: who read or changed what of a submission, apart from the debug logs.

use std::{fmt, future::Future};

use serde::{Deserialize, Serialize, Serializer};
use time::OffsetDateTime;

use crate::{
    document::{DocumentId, SubmissionId},
    error::{Error, rfc3339},
};

/// The subject of an access token: the person, as the identity provider knows them. It is personal data, so `Debug` hides
/// it and no log contains it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Subject(String);

impl Subject {
    /// Takes the token's claim `sub`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The claim as text, for the store and for the person who reads the audit trail. Never log it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subject(…)")
    }
}

/// What a person did with a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AuditAction {
    /// Read the submission, its files and their states.
    ReadSubmission,
    /// Read a document's record.
    ReadRecord,
    /// Got URLs from which a document's files can be downloaded.
    GetFileUrls,
    /// Created the submission.
    CreateSubmission,
    /// Declared another file.
    AddFile,
    /// Declared a newer version of a file.
    ReplaceFile,
    /// Removed a file.
    RemoveFile,
    /// Completed a file's upload in parts.
    CompleteUpload,
    /// Withdrew the submission, which erases it.
    Withdraw,
    /// Redrove a document.
    Redrive,
}

impl AuditAction {
    /// All actions.
    pub const ALL: [Self; 10] = [
        Self::ReadSubmission,
        Self::ReadRecord,
        Self::GetFileUrls,
        Self::CreateSubmission,
        Self::AddFile,
        Self::ReplaceFile,
        Self::RemoveFile,
        Self::CompleteUpload,
        Self::Withdraw,
        Self::Redrive,
    ];

    /// The name in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadSubmission => "readSubmission",
            Self::ReadRecord => "readRecord",
            Self::GetFileUrls => "getFileUrls",
            Self::CreateSubmission => "createSubmission",
            Self::AddFile => "addFile",
            Self::ReplaceFile => "replaceFile",
            Self::RemoveFile => "removeFile",
            Self::CompleteUpload => "completeUpload",
            Self::Withdraw => "withdraw",
            Self::Redrive => "redrive",
        }
    }
}

/// One line of the audit trail of a submission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// When, in whole milliseconds.
    #[serde(serialize_with = "as_text", deserialize_with = "time::serde::rfc3339::deserialize")]
    pub at: OffsetDateTime,
    /// Who.
    pub subject: Subject,
    /// What.
    pub action: AuditAction,
    /// The document, of an action on a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document_id: Option<DocumentId>,
    /// The id of the declared file, of an action on a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

fn as_text<S: Serializer>(time: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*time))
}

/// A part of a submission's audit trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditPage {
    /// Oldest first.
    pub entries: Vec<AuditEntry>,
    /// Where the next page starts; `None` at the end.
    pub next: Option<AuditCursor>,
}

/// The position of an entry in a submission's audit trail. Opaque.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AuditCursor(pub String);

/// The audit trail of submissions. Entries expire by themselves, and an erasure does not delete them: they prove who has
/// seen the submission while it existed.
pub trait Audit: Send + Sync {
    /// Adds an entry. Two entries of the same time are both kept. The caller records an action before it answers, so that
    /// nobody reads anything without an entry.
    fn record(
        &self,
        submission: &SubmissionId,
        entry: &AuditEntry,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// At most `limit` entries of a submission, oldest first, after the cursor. A submission without entries has an empty
    /// page, whether it exists or not.
    fn entries(
        &self,
        submission: &SubmissionId,
        after: Option<&AuditCursor>,
        limit: usize,
    ) -> impl Future<Output = Result<AuditPage, Error>> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s06_subject_is_hidden_from_debug_output() {
        assert_eq!(format!("{:?}", Subject::new("teacher-7")), "Subject(…)");
    }

    #[test]
    fn actions_have_the_same_name_in_json_and_in_text() {
        for action in AuditAction::ALL {
            assert_eq!(serde_json::json!(action), action.as_str());
        }
    }
}
