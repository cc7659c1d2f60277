//! The misbehaviour that a test can ask for, as JSON of `POST /admin/faults` and as Rust types.

use lectern::contract::wire::FileRole;
use serde::{Deserialize, Serialize};

/// One rule: which documents, what goes wrong, how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultRule {
    /// Which documents.
    #[serde(rename = "match")]
    pub matches: Matcher,
    /// What goes wrong.
    pub fault: Fault,
    /// How often: submissions for a [`SubmissionFault`], jobs for a [`JobFault`] or a [`FileFault`] that changes the
    /// declaration, downloads for the other [`FileFault`]s. Without it, always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// Only returned files of this role; without it, every file. Ignored unless the fault is a [`FileFault`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<FileRole>,
    /// How many of a hundred it strikes, of what it would strike otherwise; without it, all. Whether it strikes is
    /// drawn anew for each submission, job or download, by a hash of the rule's number, the idempotency key, the
    /// returned file's role, and how often this was drawn: the same requests for a key see the same faults again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<Percent>,
}

impl FaultRule {
    /// A rule for every document whose idempotency key starts with `prefix` (the document id), without a count.
    pub fn for_key(prefix: impl Into<String>, fault: impl Into<Fault>) -> Self {
        Self::new(Matcher::IdempotencyKeyPrefix(prefix.into()), fault)
    }

    /// A rule for every document, without a count.
    pub fn for_all(fault: impl Into<Fault>) -> Self {
        Self::new(Matcher::Any(true), fault)
    }

    /// A rule for the documents that `matches` fits, without a count.
    pub fn new(matches: Matcher, fault: impl Into<Fault>) -> Self {
        Self { matches, fault: fault.into(), times: None, role: None, percent: None }
    }

    /// The same rule, used up after `times`.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// The same rule, for returned files of one role only.
    #[must_use]
    pub fn role(self, role: FileRole) -> Self {
        Self { role: Some(role), ..self }
    }

    /// The same rule, which strikes only so many of a hundred; more than a hundred are a hundred.
    #[must_use]
    pub fn percent(self, percent: u8) -> Self {
        Self { percent: Some(Percent(percent.min(Percent::ALWAYS))), ..self }
    }
}

/// A number from 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Percent(u8);

impl Percent {
    pub(crate) const ALWAYS: u8 = 100;

    /// The number.
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

/// A number above 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a percentage is at most 100")]
pub struct NoPercentage;

/// Which documents a rule is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Matcher {
    /// The document's bytes have this SHA-256. Submission faults then strike after the whole body was read; a pulled
    /// document's hash is known only after the answer, so that only job and file faults can strike it.
    Sha256(String),
    /// The idempotency key starts with this: a document's id, or one round of it.
    IdempotencyKeyPrefix(String),
    /// Every document, if true.
    Any(bool),
}

/// What goes wrong. On the wire, `kind` names the variant of one of the three groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Fault {
    /// At the submission.
    Submission(SubmissionFault),
    /// With the job and its callback.
    Job(JobFault),
    /// With the returned files.
    File(FileFault),
}

/// What goes wrong at a submission. The first rule that matches decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum SubmissionFault {
    /// 429.
    RateLimited {
        /// The `Retry-After` header; absent without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<RetryAfter>,
    },
    /// 413 whose body says when there is room again.
    NoRoom {
        /// Seconds, as `retryIn` in the problem's body.
        retry_in: u64,
    },
    /// An answer of 500 to 599.
    ServerError {
        /// The status.
        status: u16,
    },
    /// Our credentials are refused.
    Unauthorized {
        /// 401 or 403.
        status: u16,
    },
    /// 422: this document is refused for good.
    Rejected {
        /// The problem's `code`.
        code: String,
        /// The problem's `message`.
        message: String,
    },
    /// The connection is reset in mid-upload.
    ResetUpload {
        /// After so many bytes of the body.
        after_bytes: u64,
    },
    /// The body is read slowly, or the answer comes late.
    SlowUpload {
        /// So many bytes a second.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bytes_per_second: Option<u64>,
        /// Pause before the answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pause_ms: Option<u64>,
    },
    /// The job is created, and the connection is reset instead of an answer.
    LoseAnswer,
    /// The connection is reset before anything is decided, also that of a request for a job's status, of which each
    /// uses the rule once. It goes before every other fault.
    Unreachable,
}

/// A `Retry-After` header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RetryAfter {
    /// Seconds.
    Seconds(u64),
    /// An HTTP date, so many seconds from the answer.
    Date {
        /// Seconds; negative for the past.
        #[serde(rename = "dateInS")]
        date_in_s: i64,
    },
    /// This text as it is: an HTTP date or garbage.
    Text(String),
}

/// What goes wrong with a job. Every rule that matches strikes, chosen when the job is created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum JobFault {
    /// No callback, ever.
    NoCallback {
        /// What the status endpoint says for ever.
        status: ReportedStatus,
    },
    /// The callback is sent before the submission is answered.
    EarlyCallback,
    /// The callback comes late.
    LateCallback {
        /// From the acceptance of the job, instead of the usual delay.
        delay_ms: u64,
        /// What the status endpoint says from the usual delay on: `working` by default.
        #[serde(default = "working")]
        status: ReportedStatus,
    },
    /// The callback is sent twice.
    DoubleCallback {
        /// Whether both have the same `webhook-id`.
        same_id: bool,
    },
    /// A second callback says the opposite.
    ContradictoryCallback {
        /// Which comes first.
        order: Contradiction,
    },
    /// The callback cannot be believed.
    DefectiveCallback {
        /// What is wrong.
        defect: CallbackDefect,
        /// Whether a proper callback follows.
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
    /// The job returns the document itself too, as an attachment, however large it is.
    ReturnDocument,
    /// The callback declares so many files, the first one again and again.
    ManyFiles {
        /// How many.
        count: usize,
    },
}

fn working() -> ReportedStatus {
    ReportedStatus::Working
}

/// What the status endpoint says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReportedStatus {
    /// Not finished.
    Working,
    /// What the job came to: `succeeded`, or `failed` if it failed.
    Succeeded,
    /// 404, as if the job had never been.
    Unknown,
}

/// The order of two callbacks that contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Contradiction {
    /// The second one takes the success back.
    SucceededThenFailed,
    /// The second one takes the failure back.
    FailedThenSucceeded,
}

/// What is wrong with a callback's headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CallbackDefect {
    /// Signed with another secret.
    BadSignature,
    /// Properly signed an hour ago.
    StaleTimestamp,
    /// Properly signed in an hour.
    FutureTimestamp,
    /// No `webhook-signature`.
    MissingSignature,
    /// No `webhook-id`.
    MissingId,
    /// No `webhook-timestamp`.
    MissingTimestamp,
}

/// What goes wrong with returned files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum FileFault {
    /// The callback declares more bytes than are served.
    DeclaredSize {
        /// So many more.
        extra_bytes: u64,
    },
    /// The callback declares another hash.
    DeclaredSha256 {
        /// 64 zeros without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sha256: Option<String>,
    },
    /// The callback declares another media type.
    DeclaredMediaType {
        /// Any text.
        media_type: String,
    },
    /// The callback gives another name.
    FileName {
        /// Such as `../../x`.
        name: String,
    },
    /// The callback gives another URL.
    FileUrl {
        /// Such as `http://169.254.169.254/latest/meta-data/`.
        url: String,
    },
    /// `Content-Length` is right and the connection ends before it is reached.
    FileTruncated {
        /// Bytes that are sent; half of the file without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keep_bytes: Option<u64>,
    },
    /// One byte is another one.
    FileAltered,
    /// The file comes several times over, with a `Content-Length` to match.
    FileOversized {
        /// How many times: ten by default.
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
    /// Whether the fault changes what the callback declares, rather than what is served.
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
