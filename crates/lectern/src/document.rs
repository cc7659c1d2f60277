//! A document (one version of one uploaded object): its identity, its states and its stored data.

pub mod keys;
pub mod metadata;
pub mod retention;
pub mod submission;
pub mod transitions;
mod upload;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use lectern_content::MediaType;
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use self::metadata::FileName;
pub use self::{metadata::Owner, upload::UploadId};
use crate::{
    contract::wire,
    display_text::{Label, Sentence},
    telemetry::trace::{self, TraceParent},
};

/// Identity of a document: a version 5 UUID of bucket, key and version, so that every delivery of an event and every
/// writer computes the same id. The id is the execution's name and the first part of the idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DocumentId(Uuid);

impl DocumentId {
    const NAMESPACE: Uuid = Uuid::from_u128(0x9a4f_7a0e_3d5c_4c5e_9b1a_6c1f_0e7d_2b43);

    /// The id of one version of one object. `key` is the object's key as bytes and is never normalised: keys that
    /// differ in their Unicode normalisation form are different objects.
    pub fn of(bucket: &str, key: &[u8], version_id: &str) -> Self {
        let mut name = Vec::with_capacity(bucket.len() + key.len() + version_id.len() + 2);
        name.extend_from_slice(bucket.as_bytes());
        name.push(0);
        name.extend_from_slice(version_id.as_bytes());
        name.push(0);
        name.extend_from_slice(key);
        Self(Uuid::new_v5(&Self::NAMESPACE, &name))
    }
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for DocumentId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self).map_err(|_| InvalidId)
    }
}

/// Identity of a submission: the group of documents that one teacher uploads together. It is the second part of an
/// object's key: 1 to 64 of `A-Z a-z 0-9 _ -`, starting with a letter or a digit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SubmissionId(String);

impl SubmissionId {
    /// The submission of uploads whose key contains no valid submission id. No key can contain this id, because it
    /// starts with an underscore.
    pub fn unassigned() -> Self {
        Self("_unassigned".to_owned())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SubmissionId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c == b'-';
        let bytes = text.as_bytes();
        let valid = (1..=64).contains(&bytes.len())
            && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.iter().copied().all(plain);
        if valid { Ok(Self(text.to_owned())) } else { Err(InvalidId) }
    }
}

impl TryFrom<String> for SubmissionId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text == Self::unassigned().0 { Ok(Self(text)) } else { text.parse() }
    }
}

impl From<SubmissionId> for String {
    fn from(id: SubmissionId) -> Self {
        id.0
    }
}

impl fmt::Display for SubmissionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not an id of the expected form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid id")]
pub struct InvalidId;

/// The last part of a document's callback URL: opaque, unguessable, one for each document.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallbackId(String);

impl CallbackId {
    /// Accepts any text. The store does not find a document for a wrong one.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The id as text, for the callback URL and the store's key. Never log it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CallbackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallbackId(…)")
    }
}

/// A Step Functions task token. It never leaves AWS and is never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskToken(String);

impl TaskToken {
    /// Wraps the token from the state machine.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The token as text, for the call to Step Functions. Never log it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TaskToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskToken(…)")
    }
}

/// A document's key in the store. Every message contains it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DocumentRef {
    /// The submission it belongs to.
    pub submission_id: SubmissionId,
    /// The document.
    pub document_id: DocumentId,
}

/// One version of one object in S3.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectVersion {
    /// The bucket.
    pub bucket: String,
    /// The key, decoded. It contains a file name, so it is never logged.
    pub key: String,
    /// The version; `null` where the bucket had no versioning.
    pub version_id: String,
}

impl fmt::Debug for ObjectVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectVersion")
            .field("bucket", &self.bucket)
            .field("version_id", &self.version_id)
            .finish_non_exhaustive()
    }
}

/// The number of an attempt to submit a document: the number of its permit. It does not count the attempts of one
/// document: permit numbers increase over all documents and are never reused
/// ([`crate::admission::AdmissionState`]), so a later attempt has a larger number even after a redrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempt(pub u32);

/// The number of a document's job, starting at 1. It is part of the idempotency key: all attempts of one round submit
/// the same job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Round(pub u32);

impl Round {
    /// The round of a document's first job.
    pub const FIRST: Self = Self(1);

    /// The round of another job.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The state of a document. Only a redrive moves a document back to an earlier state.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
    utoipa::ToSchema,
)]
pub enum DocumentState {
    /// Registered; its execution is started.
    Received,
    /// An attempt to submit it has begun.
    Transferring,
    /// The third party has accepted it. The document stays in this state if it has to be submitted again in a new round.
    Processing,
    /// The job has ended, and the files that it returned are fetched and checked.
    Verifying,
    /// The files are turned into the record.
    Normalizing,
    /// The record can be read.
    Ready,
    /// The upload itself is not acceptable.
    Rejected,
    /// The workflow has ended without a record. An operator can redrive the document.
    Failed,
}

impl DocumentState {
    /// All states, in the order of the workflow.
    pub const ALL: [Self; 8] = [
        Self::Received,
        Self::Transferring,
        Self::Processing,
        Self::Verifying,
        Self::Normalizing,
        Self::Ready,
        Self::Rejected,
        Self::Failed,
    ];

    /// The name in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "Received",
            Self::Transferring => "Transferring",
            Self::Processing => "Processing",
            Self::Verifying => "Verifying",
            Self::Normalizing => "Normalizing",
            Self::Ready => "Ready",
            Self::Rejected => "Rejected",
            Self::Failed => "Failed",
        }
    }

    /// Whether the state is final.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Ready | Self::Rejected | Self::Failed)
    }
}

impl fmt::Display for DocumentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a document was rejected or failed, for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
pub struct Reason {
    /// A stable camelCase word that programs can match.
    pub code: String,
    /// A sentence that says what happened and what to do. It may be the third party's.
    #[schema(value_type = String)]
    pub message: Sentence,
}

impl Reason {
    /// Builds a reason.
    pub fn new(code: impl Into<String>, message: impl Into<Sentence>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.code)
    }
}

/// The third party's first final answer about a document's job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "camelCase")]
pub enum JobResult {
    /// The job succeeded.
    Succeeded(wire::JobSucceeded),
    /// The job failed.
    Failed(wire::JobFailed),
}

impl JobResult {
    /// Whether the job failed because the third party could not fetch the document.
    pub fn is_source_unreadable(&self) -> bool {
        matches!(self, Self::Failed(job) if job.error.code == wire::SOURCE_UNREADABLE)
    }

    /// The outcome that the state machine reads: `succeeded`; `failed` because of the file; or `broken`, which an operator
    /// has to look at, because the callback violated the contract or the third party could not fetch the document.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Succeeded(_) => "succeeded",
            Self::Failed(job) => match job.error.code.as_str() {
                wire::SOURCE_UNREADABLE | wire::CONTRACT_BROKEN => "broken",
                _ => "failed",
            },
        }
    }

    /// The job's id; empty for a callback that could not be parsed, and for a refused submission.
    pub fn job_id(&self) -> &str {
        match self {
            Self::Succeeded(job) => &job.job_id,
            Self::Failed(job) => &job.job_id,
        }
    }
}

/// A document as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// The document's key in the store.
    #[serde(flatten)]
    pub reference: DocumentRef,
    /// The uploaded object.
    #[serde(flatten)]
    pub object: ObjectVersion,
    /// The teacher who owns it; `None` for an object that an operator copied into the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// What the teacher calls the file, if the upload says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<FileName>,
    /// Its size.
    pub size_bytes: u64,
    /// Its media type; unknown if the upload was rejected before its type was detected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// The document's state.
    pub state: DocumentState,
    /// Why the document was rejected or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The time of the first arrival in each state (RFC 3339), by the state's name.
    #[serde(default)]
    pub times: BTreeMap<String, String>,
    /// The newer version of the same file, if there is one. A superseded document no longer counts in its submission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<DocumentId>,
    /// Whether the uploaded file was deleted after the document was rejected or had failed. A withdrawn document no longer
    /// counts in its submission, and cannot be reopened.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_withdrawn: bool,
    /// The last part of the callback URL.
    pub callback_id: CallbackId,
    /// Its trace, chosen when the document was registered.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "trace::optional")]
    pub traceparent: Option<TraceParent>,
    /// The newest transfer attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// The round of the newest transfer attempt, or of the next one if a redrive began a new round.
    pub round: Round,
    /// The third party's id of the newest attempt's job; `None` as long as no answer has told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// The ids of earlier attempts' jobs.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub earlier_jobs: BTreeSet<String>,
    /// The third party's result, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<JobResult>,
    /// The key of the S3 object with the document's record; present if the document is `Ready`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_key: Option<String>,
    /// The number of redrives.
    #[serde(default)]
    pub redrives: u32,
    /// Jobs that a redrive abandoned. The store does not accept their late results as results of the new round.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub abandoned_jobs: BTreeSet<String>,
    /// The time, in seconds since 1970, after which the store deletes the document; set when the document ends
    /// ([`retention::Retention`]), and removed when the document is reopened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
}

impl Document {
    /// The file's name for display: what the teacher calls it, or the last part of the object's key.
    pub fn display_name(&self) -> Label {
        let key = || Label::new(self.object.key.rsplit('/').next().unwrap_or_default());
        self.name.as_ref().map_or_else(key, |name| name.as_label().clone())
    }

    /// Whether a result with this job id can be this document's (S07). A signature covers neither the callback URL nor
    /// the document, so a signed result of another document's job could be sent to this document's URL.
    ///
    /// * The newest attempt's job is known: its result counts, and those of earlier attempts' jobs.
    /// * It is unknown, because the attempt still runs, its answer was lost, or the id could not be stored: any result
    ///   may be the one of that job. When the id becomes known, a result of another job is discarded
    ///   ([`transitions::record_job`]).
    /// * The result names no job, because the callback could not be parsed: it fails this document.
    /// * A redrive abandoned the job: its result does not count.
    pub fn may_have_job(&self, job_id: &str) -> bool {
        let is_known = self.job_id.as_deref() == Some(job_id) || self.earlier_jobs.contains(job_id);
        !self.abandoned_jobs.contains(job_id) && (is_known || self.job_id.is_none() || job_id.is_empty())
    }

    /// When the document first reached a state, if it did.
    pub fn time_of(&self, state: DocumentState) -> Option<OffsetDateTime> {
        OffsetDateTime::parse(self.times.get(state.as_str())?, &Rfc3339).ok()
    }

    /// Whether the document counts in its submission.
    pub fn is_counted(&self) -> bool {
        self.superseded_by.is_none() && !self.is_withdrawn
    }

    /// Whether the third party's result is stored and is a success, so that nothing has to be processed again.
    pub fn has_succeeded_result(&self) -> bool {
        matches!(self.result, Some(JobResult::Succeeded(_)))
    }
}
