//! The faults that a test can set: Rust types, and the JSON of `POST /admin/faults`.

use lectern::contract::wire::FileRole;
use serde::{Deserialize, Serialize};

/// One rule: the documents that it concerns, the fault, and how often it applies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultRule {
    /// The documents that the rule concerns.
    #[serde(rename = "match")]
    pub matches: Matcher,
    /// The fault.
    pub fault: Fault,
    /// How often the rule applies; without a limit if absent. A [`SubmissionFault`] counts submissions. A [`JobFault`]
    /// and a [`FileFault`] that changes the declaration count jobs. All other [`FileFault`]s count downloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// Restricts a [`FileFault`] to returned files of this role. Other faults ignore it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<FileRole>,
    /// Restricts the rule to a percentage of the events that it would apply to. Each submission, job or download has
    /// its own draw, a hash of the rule's number, the idempotency key, the returned file's role and the number of
    /// earlier draws. So repeating the same requests for a key gives the same faults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<Percent>,
}

impl FaultRule {
    /// A rule without a count for every document whose idempotency key starts with `prefix`, such as a document id.
    pub fn for_key(prefix: impl Into<String>, fault: impl Into<Fault>) -> Self {
        Self::new(Matcher::IdempotencyKeyPrefix(prefix.into()), fault)
    }

    /// A rule without a count for every document.
    pub fn for_all(fault: impl Into<Fault>) -> Self {
        Self::new(Matcher::Any(true), fault)
    }

    /// A rule without a count for the documents that `matches` selects.
    pub fn new(matches: Matcher, fault: impl Into<Fault>) -> Self {
        Self { matches, fault: fault.into(), times: None, role: None, percent: None }
    }

    /// Limits how often the rule applies.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Restricts the rule to returned files of one role.
    #[must_use]
    pub fn role(self, role: FileRole) -> Self {
        Self { role: Some(role), ..self }
    }

    /// Restricts the rule to a percentage of events. Values above 100 count as 100.
    #[must_use]
    pub fn percent(self, percent: u8) -> Self {
        Self { percent: Some(Percent(percent.min(Percent::ALWAYS))), ..self }
    }
}

/// A percentage from 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Percent(u8);

impl Percent {
    pub(crate) const ALWAYS: u8 = 100;

    /// The percentage as a number.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for Percent {
    type Error = NoPercentage;

    fn try_from(percent: u8) -> Result<Self, NoPercentage> {
        if percent <= Self::ALWAYS { Ok(Self(percent)) } else { Err(NoPercentage) }
    }
}

impl From<Percent> for u8 {
    fn from(percent: Percent) -> Self {
        percent.0
    }
}

/// The number is above 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a percentage is at most 100")]
pub struct NoPercentage;

/// Selects the documents of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Matcher {
    /// Documents whose bytes have this SHA-256. A submission fault then applies after the whole body has been read. The
    /// hash of a pulled document is known only after the answer, so only job and file faults can apply to it.
    Sha256(String),
    /// Documents whose idempotency key starts with this: a document id, or a document id and round.
    IdempotencyKeyPrefix(String),
    /// Every document if true, none if false.
    Any(bool),
}

/// A fault. In JSON, `kind` names the variant of one of the three groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Fault {
    /// A fault of a submission.
    Submission(SubmissionFault),
    /// A fault of a job and its callback.
    Job(JobFault),
    /// A fault of the returned files.
    File(FileFault),
}

/// A fault of a submission. The first rule that matches applies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum SubmissionFault {
    /// 429.
    RateLimited {
        /// The `Retry-After` header; absent without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<RetryAfter>,
    },
    /// 413 whose body says when to try again.
    NoRoom {
        /// Seconds until the next try, sent as `retryIn` in the problem's body.
        retry_in: u64,
    },
    /// A server error.
    ServerError {
        /// The status, from 500 to 599.
        status: u16,
    },
    /// The credentials are refused.
    Unauthorized {
        /// 401 or 403.
        status: u16,
    },
    /// 422: the document is refused for good.
    Rejected {
        /// The problem's `code`.
        code: String,
        /// The problem's `message`.
        message: String,
    },
    /// The connection is reset during the upload.
    ResetUpload {
        /// The number of body bytes before the reset.
        after_bytes: u64,
    },
    /// The body is read slowly, or the answer comes late.
    SlowUpload {
        /// The reading speed in bytes per second.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bytes_per_second: Option<u64>,
        /// The pause before the answer, in milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pause_ms: Option<u64>,
    },
    /// The job is created, but the connection is reset instead of an answer.
    LoseAnswer,
    /// The connection is reset before the request is handled. This fault also applies to requests for a job's status,
    /// each of which uses the rule once. It takes precedence over every other fault.
    Unreachable,
}

/// A `Retry-After` header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RetryAfter {
    /// Seconds.
    Seconds(u64),
    /// An HTTP date, relative to the time of the answer.
    Date {
        /// Seconds after the answer; negative for a date in the past.
        #[serde(rename = "dateInS")]
        date_in_s: i64,
    },
    /// This text unchanged: an HTTP date or garbage.
    Text(String),
}

/// A fault of a job. Every rule that matches when the job is created applies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum JobFault {
    /// No callback is sent.
    NoCallback {
        /// The answer of the status endpoint from then on.
        status: ReportedStatus,
    },
    /// The callback is sent before the submission is answered.
    EarlyCallback,
    /// The callback comes late.
    LateCallback {
        /// Milliseconds from the acceptance of the job, instead of the configured delay.
        delay_ms: u64,
        /// The answer of the status endpoint between the configured delay and the callback: `working` by default.
        #[serde(default = "working")]
        status: ReportedStatus,
    },
    /// The callback is sent twice.
    DoubleCallback {
        /// Whether both callbacks have the same `webhook-id`.
        same_id: bool,
    },
    /// A second callback contradicts the first.
    ContradictoryCallback {
        /// Which result comes first.
        order: Contradiction,
    },
    /// The callback's headers are wrong.
    DefectiveCallback {
        /// What is wrong.
        defect: CallbackDefect,
        /// Whether a correct callback follows.
        #[serde(default)]
        then_proper: bool,
    },
    /// The job fails.
    JobFails {
        /// The error's `code`.
        code: String,
        /// The error's `message`.
        message: String,
    },
    /// The job also returns the document itself as an attachment, whatever its size.
    ReturnDocument,
    /// The callback declares this number of files by repeating the first one.
    ManyFiles {
        /// The number of declared files.
        count: usize,
    },
}

fn working() -> ReportedStatus {
    ReportedStatus::Working
}

/// An answer of the status endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReportedStatus {
    /// Not finished.
    Working,
    /// The real result: `succeeded`, or `failed` if the job failed.
    Succeeded,
    /// 404, as if the job did not exist.
    Unknown,
}

/// The order of two callbacks that contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Contradiction {
    /// The second callback withdraws the success.
    SucceededThenFailed,
    /// The second callback withdraws the failure.
    FailedThenSucceeded,
}

/// A defect of a callback's headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CallbackDefect {
    /// An invalid signature.
    BadSignature,
    /// A valid signature with a timestamp one hour in the past.
    StaleTimestamp,
    /// A valid signature with a timestamp one hour in the future.
    FutureTimestamp,
    /// No `webhook-signature`.
    MissingSignature,
    /// No `webhook-id`.
    MissingId,
    /// No `webhook-timestamp`.
    MissingTimestamp,
}

/// A fault of returned files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum FileFault {
    /// The callback declares more bytes than the server sends.
    DeclaredSize {
        /// The difference in bytes.
        extra_bytes: u64,
    },
    /// The callback declares another hash.
    DeclaredSha256 {
        /// The declared hash; 64 zeros if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sha256: Option<String>,
    },
    /// The callback declares another media type.
    DeclaredMediaType {
        /// The declared media type, which may be any text.
        media_type: String,
    },
    /// The callback declares another name.
    FileName {
        /// The declared name, such as `../../x`.
        name: String,
    },
    /// The callback declares another URL.
    FileUrl {
        /// The declared URL, such as `http://169.254.169.254/latest/meta-data/`.
        url: String,
    },
    /// `Content-Length` is right, but the connection ends too early.
    FileTruncated {
        /// The number of bytes sent; half of the file if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keep_bytes: Option<u64>,
    },
    /// One byte is changed.
    FileAltered,
    /// The file's content is repeated, with a matching `Content-Length`.
    FileOversized {
        /// How often the content is sent: ten times by default.
        #[serde(default = "ten")]
        factor: u64,
    },
    /// 404.
    FileMissing,
    /// An error status, such as 503.
    FileUnavailable {
        /// The status.
        status: u16,
    },
    /// 302 to another URL.
    FileRedirect {
        /// The `Location`.
        location: String,
    },
}

fn ten() -> u64 {
    10
}

impl FileFault {
    /// Whether the fault changes the declaration in the callback rather than the download.
    pub(crate) fn changes_declaration(&self) -> bool {
        matches!(
            self,
            Self::DeclaredSize { .. }
                | Self::DeclaredSha256 { .. }
                | Self::DeclaredMediaType { .. }
                | Self::FileName { .. }
                | Self::FileUrl { .. }
        )
    }
}

impl From<SubmissionFault> for Fault {
    fn from(fault: SubmissionFault) -> Self {
        Self::Submission(fault)
    }
}

impl From<JobFault> for Fault {
    fn from(fault: JobFault) -> Self {
        Self::Job(fault)
    }
}

impl From<FileFault> for Fault {
    fn from(fault: FileFault) -> Self {
        Self::File(fault)
    }
}
