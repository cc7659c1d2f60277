//! The third party: submissions, its files and its secrets.

use std::future::Future;

use lectern_content::MediaType;
use time::OffsetDateTime;

use super::ByteStream;
use crate::{
    contract::callback::VerifiedCallback,
    contract::webhook::{SigningSecrets, VerifyError},
    contract::wire::{JobStatus, ReturnedFile},
    error::Error,
    telemetry::trace::TraceParent,
};

/// How the third party gets the bytes of a document.
pub enum Content {
    /// The bytes themselves.
    Push(ByteStream),
    /// A URL to fetch them from.
    Pull(String),
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Push(_) => "Push(…)",
            Self::Pull(_) => "Pull(…)",
        })
    }
}

/// A document for the third party.
#[derive(Debug)]
pub struct JobRequest {
    /// Makes the submission idempotent.
    pub idempotency_key: String,
    /// Its media type.
    pub media_type: MediaType,
    /// Its exact size.
    pub size_bytes: u64,
    /// Where to call back.
    pub callback_url: String,
    /// The span of this attempt, if the document has a trace.
    pub traceparent: Option<TraceParent>,
    /// The bytes, or where they are.
    pub content: Content,
}

/// The service that processes documents. The contract is `docs/third-party.openapi.yaml`; a service with
/// another one is another implementation of this trait.
pub trait ThirdParty: Send + Sync {
    /// Fetches what a request needs beforehand, such as our credentials, so that a following [`submit`](Self::submit)
    /// connects to the third party at once.
    ///
    /// # Errors
    /// `Store`
    fn prepare(&self) -> impl Future<Output = Result<(), Error>> + Send {
        async { Ok(()) }
    }

    /// Submits a document and returns the job's id. Submitting again with the same key returns the same job.
    ///
    /// # Errors
    /// - There is no job: `RateLimited`, `Unavailable`, `Unauthorized`, `Rejected`; `SourceUnavailable` if our own bucket
    ///   could not be read to the end; `Store` if our own credentials could not be read.
    /// - There may be a job: `OutcomeUnknown`; `PermitAlreadyUsed` if the third party is still reading an earlier request
    ///   with the same key.
    fn submit(&self, request: JobRequest) -> impl Future<Output = Result<String, Error>> + Send;

    /// The status of a job, by idempotency key; `None` if the third party does not know the job.
    ///
    /// # Errors
    /// `RateLimited`, `Unavailable` or `Unauthorized`; `Store` if our own credentials could not be read.
    fn status(&self, idempotency_key: &str) -> impl Future<Output = Result<Option<JobStatus>, Error>> + Send;

    /// Verifies a callback's signature over its raw body, then parses the body. This needs no client, so there is no
    /// `self`.
    ///
    /// # Errors
    /// [`VerifyError`] if no secret fits, or the time is off.
    fn verify_callback(
        headers: &http::HeaderMap,
        body: &[u8],
        secrets: &SigningSecrets,
        now: OffsetDateTime,
    ) -> Result<VerifiedCallback, VerifyError>;
}

/// The third party's part for erasing a submission.
pub trait EraseJobs: Send + Sync {
    /// Asks the third party to erase a job, by idempotency key: the document, the results, and all that is derived from
    /// them.
    ///
    /// # Errors
    /// `RateLimited`, `Unavailable` or `Unauthorized`; `Store` if our own credentials could not be read.
    fn erase(&self, idempotency_key: &str) -> impl Future<Output = Result<JobErasure, Error>> + Send;
}

/// The third party's answer to a request to erase a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobErasure {
    /// The job is erased.
    Erased,
    /// There is no such job, or no more.
    Unknown,
    /// The job will be erased; a later request finds it erased or unknown.
    Accepted,
}

/// The secrets that callbacks are signed with.
pub trait Secrets: Send + Sync {
    /// All that are accepted now; cached for minutes at most.
    fn signing_secrets(&self) -> impl Future<Output = Result<SigningSecrets, Error>> + Send;
}

/// Fetches what the third party returned.
pub trait Fetch: Send + Sync {
    /// Opens the file's URL: no redirects, allowed hosts and addresses only, bounded in time.
    ///
    /// # Errors
    /// `ReturnedMismatch` for a URL that is not allowed or an answer that is no file, `Unavailable` for the rest.
    fn fetch(&self, file: &ReturnedFile) -> impl Future<Output = Result<ByteStream, Error>> + Send;
}
