//! The wire types of the contract with the third party: `docs/third-party.openapi.yaml`.
//!
//! Both sides use these types: Lectern's adapter and callback parser, and the reference third party. In JSON, field
//! names are camelCase, sizes are in bytes, times are RFC 3339, and hashes are SHA-256 in lower-case hex. Whole numbers
//! are read in any spelling ([`json`]). Text that people read is a [`DisplayText`](crate::display_text::DisplayText),
//! which is neutralised when it is parsed.

use lectern_content::MediaType;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IntoDeserializer, value},
};

use super::json;

use crate::{
    display_text::{Label, Remark, Sentence},
    limits::MAX_JOB_ID_BYTES,
};

/// Request header with the key that makes a submission idempotent (`<document id>-<round>`).
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Request header of a pushed document with the callback URL.
pub const CALLBACK_URL: &str = "lectern-callback-url";
/// Path to submit a document by push: `POST` with the file as body and its exact `Content-Length`.
pub const PUSH_PATH: &str = "/v1/jobs/push";
/// Path to submit a document by URL: `POST` of a [`PullRequest`].
pub const PULL_PATH: &str = "/v1/jobs/pull";
/// Path of a job: `GET {JOBS_PATH}/{jobId}` and `GET {JOBS_PATH}?idempotencyKey=…`, both answer a [`JobStatus`].
pub const JOBS_PATH: &str = "/v1/jobs";

/// Body of `POST /v1/jobs/pull`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PullRequest {
    /// The document's presigned URL: a short-lived bearer secret.
    pub source_url: String,
    /// Its media type.
    pub media_type: MediaType,
    /// Its exact size.
    pub size_bytes: u64,
    /// The callback URL.
    pub callback_url: String,
}

/// Answer to both submissions: `201` for a new job, `200` for the job that the idempotency key already has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobAccepted {
    /// The third party's id of the job.
    pub job_id: String,
}

/// Answer to a status request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum JobStatus {
    /// Not finished.
    Working {
        /// The job.
        job_id: String,
    },
    /// Finished, with the same data as the callback.
    Succeeded(JobSucceeded),
    /// Failed permanently, with the same data as the callback.
    Failed(JobFailed),
}

impl JobStatus {
    /// The job's id.
    pub fn job_id(&self) -> &str {
        match self {
            Self::Working { job_id } => job_id,
            Self::Succeeded(job) => &job.job_id,
            Self::Failed(job) => &job.job_id,
        }
    }
}

/// Whether the text can be a job's id: 1 to [`MAX_JOB_ID_BYTES`] visible ASCII characters.
pub fn is_job_id(text: &str) -> bool {
    (1..=MAX_JOB_ID_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A callback's body, signed by the Standard Webhooks scheme.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Callback {
    /// When the event happened, RFC 3339.
    pub timestamp: String,
    /// What happened.
    #[serde(flatten)]
    pub event: CallbackEvent,
}

/// What a callback reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum CallbackEvent {
    /// The job succeeded and its files can be fetched.
    #[serde(rename = "job.succeeded")]
    Succeeded(JobSucceeded),
    /// The job failed permanently.
    #[serde(rename = "job.failed")]
    Failed(JobFailed),
}

/// A finished job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobSucceeded {
    /// The job.
    pub job_id: String,
    /// The files that the job produced.
    pub files: Vec<ReturnedFile>,
}

/// A permanently failed job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobFailed {
    /// The job.
    pub job_id: String,
    /// Why the job failed.
    pub error: JobError,
}

/// The code of a job that failed because the third party could not fetch the document from its URL.
pub const SOURCE_UNREADABLE: &str = "sourceUnreadable";

/// The code that replaces the result of a job whose callback or answer violates the contract.
pub const CONTRACT_BROKEN: &str = "contractBroken";

/// Why the third party failed or rejected a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobError {
    /// A short camelCase word such as `encrypted`, `truncated`, `tooComplex`, `unreadable`.
    pub code: String,
    /// A sentence for the teacher.
    pub message: Sentence,
}

/// One file that a job produced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReturnedFile {
    /// A file name; never a path.
    pub name: Label,
    /// The purpose of the file.
    pub role: FileRole,
    /// The URL from which the file can be fetched without credentials.
    pub url: String,
    /// Its exact size.
    #[serde(deserialize_with = "json::whole")]
    pub size_bytes: u64,
    /// Its SHA-256, 64 lower-case hex digits.
    pub sha256: String,
    /// Its media type, without parameters.
    pub media_type: String,
}

/// What a returned file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FileRole {
    /// What is said in a video or a recording: `text/vtt`, `application/x-subrip` or `application/json` ([`TranscriptFile`]).
    Transcript,
    /// Findings of the proofreading: `application/json` ([`FindingsFile`]).
    Findings,
    /// Facts of a video, a recording or a picture: `application/json` ([`MediaFile`]).
    Media,
    /// The text of a document: `text/plain`, UTF-8.
    Text,
    /// Anything else, also an unknown role: kept for the evaluator as it is.
    #[serde(other)]
    Attachment,
}

/// A transcript as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TranscriptFile {
    /// BCP 47 tag, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Label>,
    /// In the order of speech.
    pub segments: Vec<TranscriptFileSegment>,
}

/// One segment of a [`TranscriptFile`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TranscriptFileSegment {
    /// Milliseconds from the start of the video or recording.
    #[serde(deserialize_with = "json::whole")]
    pub start_ms: u64,
    /// Milliseconds from the start of the video or recording. An end before the start counts as the start.
    #[serde(deserialize_with = "json::whole")]
    pub end_ms: u64,
    /// What was said.
    pub text: String,
    /// Who said it, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speaker: Option<Label>,
}

/// Findings as JSON. Offsets count Unicode scalar values of the text file that the same job returned; a byte order mark at
/// the start of the text is one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FindingsFile {
    /// In the order of the text.
    pub findings: Vec<FileFinding>,
}

/// One finding of a [`FindingsFile`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileFinding {
    /// First character, counted from 0.
    #[serde(deserialize_with = "json::whole")]
    pub start: u64,
    /// One past the last character.
    #[serde(deserialize_with = "json::whole")]
    pub end: u64,
    /// The rule, such as `doubledWord`.
    pub rule: Label,
    /// A sentence for the evaluator.
    pub message: Remark,
    /// What to write instead, if the rule knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<Remark>,
    /// How much the finding matters. An unknown severity counts as [`Severity::Info`].
    #[serde(deserialize_with = "known_severity")]
    pub severity: Severity,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// A matter of taste.
    Info,
    /// Probably wrong.
    Warning,
    /// Wrong.
    Error,
}

fn known_severity<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Severity, D::Error> {
    let name = String::deserialize(deserializer)?;
    let known = Severity::deserialize(IntoDeserializer::<value::Error>::into_deserializer(name));
    Ok(known.unwrap_or(Severity::Info))
}

/// Facts of a video, a recording or a picture as JSON. Unknown facts are left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MediaFile {
    /// Length in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "json::optional_whole")]
    pub duration_ms: Option<u64>,
    /// Width in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "json::optional_whole")]
    pub width_px: Option<u32>,
    /// Height in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "json::optional_whole")]
    pub height_px: Option<u32>,
    /// Codec of the first video track, such as `avc1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video_codec: Option<Label>,
    /// Codec of the first audio track, such as `mp4a`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_codec: Option<Label>,
    /// When it was recorded, RFC 3339 with any offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_at: Option<String>,
}
