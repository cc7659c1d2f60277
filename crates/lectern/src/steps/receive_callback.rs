//! `receive-callback`: stores the third party's result of a job once, and resumes the waiting execution.
//!
//! The function does not parse the body before it has verified the signature. Only the first result counts. The
//! statuses are part of the contract: 2xx the event is stored and need not be sent again, 401 the signature is wrong, 5xx
//! Lectern failed and the third party sends the event again. If a well-signed event violates the contract, for example
//! by its size, the function stores it and fails the document, because waiting would not help. An event of an unknown
//! type is stored and changes nothing.

use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use time::{Duration, OffsetDateTime};
use tracing::Instrument as _;

use crate::{
    contract::webhook::{self, SigningSecrets, VerifyError},
    contract::wire::{Callback, CallbackEvent, JobError, JobFailed, ReturnedFile, is_job_id},
    document::{CallbackId, DocumentRef, DocumentState, JobResult},
    error::{Error, StoreError},
    limits::{
        MAX_CALLBACK_BYTES, MAX_FILE_NAME_BYTES, MAX_MEDIA_TYPE_BYTES, MAX_RETURNED_FILES,
        MAX_RETURNED_JOB_BYTES, MAX_URL_BYTES,
    },
    ports::{CallbackTarget, Clock, Leases, Recorded, Results, Secrets, Tasks, ThirdParty, TokenUse},
    telemetry::metrics::{self, CallbackOutcome},
    telemetry::trace::{TRACEPARENT, TraceParent},
};

/// The ports of the step.
#[derive(Debug)]
pub struct Ports<'p, R, T, L, S, C> {
    /// The results of documents.
    pub store: &'p R,
    /// The task tokens of the state machine.
    pub tasks: &'p T,
    /// The leases of attempts.
    pub leases: &'p L,
    /// The signing secrets.
    pub secrets: &'p S,
    /// The time.
    pub clock: &'p C,
}

impl<R: Results, T: Tasks, L: Leases, S: Secrets, C: Clock> Ports<'_, R, T, L, S, C> {
    /// Handles one delivery of a callback of the third party `P`. Returns the answer.
    pub async fn handle<P: ThirdParty>(&self, delivery: WebhookRequest<'_>) -> Answer {
        match self.receive::<P>(delivery).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::error!(error = error.name(), detail = %error, "A callback could not be kept; it will be sent again.");
                metrics::callback(CallbackOutcome::NotKept, None);
                Answer::Unavailable
            }
        }
    }

    async fn receive<P: ThirdParty>(&self, delivery: WebhookRequest<'_>) -> Result<Answer, Error> {
        let now = self.clock.now();
        let verified = match P::verify_callback(
            delivery.headers,
            delivery.body,
            &self.secrets.signing_secrets().await?,
            now,
        ) {
            Ok(verified) => verified,
            Err(error) => {
                self.refuse(delivery, &error).await;
                return Ok(Answer::Unauthorized);
            }
        };
        let target = self.store.resolve(&CallbackId::new(delivery.callback_id)).await?;
        let Some(CallbackTarget { document, traceparent }) = target else {
            self.keep_unknown(&verified, delivery, now).await?;
            tracing::warn!(
                callback = "unknown",
                "A well-signed callback belongs to no document; it was kept."
            );
            metrics::callback(CallbackOutcome::Unknown, None);
            return Ok(Answer::KeptUnknown);
        };
        let span = tracing::info_span!(
            "callback",
            submissionId = %document.submission_id,
            documentId = %document.document_id,
            traceId = traceparent.map(TraceParent::trace_id)
        );
        span.in_scope(|| compare_traces(traceparent, delivery.headers));
        self.receive_verified(&document, verified, delivery, now).instrument(span).await
    }

    /// Reports a callback without a valid signature. Only one to a document's callback URL raises the alarm: its sender
    /// knows that secret, so it is the third party with a wrong key or clock, or the URL has leaked. Anyone can send
    /// requests to other paths (S05).
    async fn refuse(&self, delivery: WebhookRequest<'_>, error: &VerifyError) {
        match self.store.resolve(&CallbackId::new(delivery.callback_id)).await {
            Ok(Some(CallbackTarget { document, .. })) => {
                tracing::warn!(
                    callback = "badSignature",
                    submissionId = %document.submission_id,
                    documentId = %document.document_id,
                    detail = %error,
                    "A callback was refused for its signature."
                );
                metrics::callback(CallbackOutcome::BadSignature, None);
            }
            found => {
                let detail = if found.is_err() { "it could not be looked up" } else { "there is none" };
                tracing::info!(
                    callback = "unsolicited",
                    detail,
                    "A request without a valid signature came to no document's callback URL."
                );
                metrics::callback(CallbackOutcome::Unsolicited, None);
            }
        }
    }

    async fn receive_verified(
        &self,
        document: &DocumentRef,
        verified: VerifiedCallback,
        delivery: WebhookRequest<'_>,
        now: OffsetDateTime,
    ) -> Result<Answer, Error> {
        match &verified.result {
            Ok(result) => {
                let (outcome, took) = self.keep(document, result, now).await?;
                metrics::callback(outcome, took);
                Ok(Answer::Kept)
            }
            Err(error) => {
                self.keep_unknown(&verified, delivery, now).await?;
                if *error == CallbackError::UnknownType {
                    tracing::warn!(callback = "unknownType", "An event of an unknown type was kept.");
                    metrics::callback(CallbackOutcome::UnknownType, None);
                    return Ok(Answer::KeptUnknown);
                }
                let size_bytes = delivery.body.len();
                tracing::error!(callback = "contractBroken", detail = %error, sizeBytes = size_bytes, "A well-signed callback breaks the contract.");
                let result = contract_broken(&named_job(delivery.body));
                let (outcome, took) = self.keep(document, &result, now).await?;
                let is_other = outcome == CallbackOutcome::OtherJob;
                metrics::callback(if is_other { outcome } else { CallbackOutcome::ContractBroken }, took);
                Ok(Answer::Kept)
            }
        }
    }

    /// Keeps the body for an operator, as much of it as an item can hold.
    async fn keep_unknown(
        &self,
        verified: &VerifiedCallback,
        delivery: WebhookRequest<'_>,
        now: OffsetDateTime,
    ) -> Result<(), Error> {
        let kept = delivery.body.get(..MAX_CALLBACK_BYTES).unwrap_or(delivery.body);
        self.store.keep_unknown(&verified.event_id, delivery.callback_id, kept, now).await
    }

    /// Stores the result once and resumes the execution. Returns the kind of the callback and, if the callback brought
    /// the first result, the third party's processing time.
    async fn keep(
        &self,
        document: &DocumentRef,
        result: &JobResult,
        now: OffsetDateTime,
    ) -> Result<(CallbackOutcome, Option<Duration>), Error> {
        let (context, first) = match self.store.record_result(document, result).await? {
            Recorded::First(context) => (context, true),
            Recorded::Same(context) => (context, false),
            Recorded::Conflict => {
                tracing::error!(
                    callback = "contradictory",
                    "A different result of the same job was stored before; the first one stays."
                );
                return Ok((CallbackOutcome::Contradictory, None));
            }
            Recorded::OtherJob | Recorded::Forgotten => {
                tracing::warn!(
                    callback = "otherJob",
                    "The document has the result of another job, or waits for it; this one is not taken."
                );
                return Ok((CallbackOutcome::OtherJob, None));
            }
            Recorded::Unknown => {
                return Err(
                    StoreError::defect("a callback id belongs to a document that is not there").into()
                );
            }
        };
        // The execution has ended without releasing the lease, because its job was in flight. The job has now ended.
        if context.state == DocumentState::Failed
            && let Some(attempt) = context.attempt
            && let Err(error) = self.leases.release(document, attempt).await
        {
            tracing::warn!(detail = %error, "The lease could not be released; it ends by itself.");
        }
        let woken = match &context.token {
            Some(token) => Some(self.tasks.succeed(token, serde_json::json!({})).await?),
            None => None,
        };
        let outcome = match woken {
            // This includes a redelivery after a run that stored the result and died before it resumed the execution.
            Some(TokenUse::Delivered) => CallbackOutcome::Accepted,
            _ if !first => CallbackOutcome::Duplicate,
            None if !context.state.is_terminal() => CallbackOutcome::Early,
            // The execution no longer waits: a probe is running, the next round has begun, or the document has ended.
            Some(TokenUse::NotAwaited) | None => CallbackOutcome::Late,
        };
        let message = if first { "The result was stored." } else { "The same result was stored before." };
        tracing::info!(callback = outcome.as_str(), "{message}");
        Ok((outcome, metrics::third_party_time(&context.times, now).filter(|_| first)))
    }
}

/// A request to the webhook. The body consists of the bytes that the third party sent; API Gateway's base64 is already
/// decoded.
#[derive(Clone, Copy, Debug)]
pub struct WebhookRequest<'d> {
    /// The last part of the path.
    pub callback_id: &'d str,
    /// All headers.
    pub headers: &'d HeaderMap,
    /// The raw bytes.
    pub body: &'d [u8],
}

/// The answer to the third party.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Stored, by this delivery or an earlier one.
    Kept,
    /// Stored, although the callback id or the event's type is unknown.
    KeptUnknown,
    /// Signed with an unknown secret, or the timestamp is out of tolerance.
    Unauthorized,
    /// Lectern failed.
    Unavailable,
}

impl Answer {
    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Kept => StatusCode::OK,
            Self::KeptUnknown => StatusCode::ACCEPTED,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// A callback whose signature is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCallback {
    /// The event's id, the same for all its deliveries.
    pub event_id: String,
    /// The reported result, or how the body violates the contract.
    pub result: Result<JobResult, CallbackError>,
}

/// Why a callback with a valid signature cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallbackError {
    /// Not JSON of the contract's shape. The text gives the position of the error and does not quote the body.
    #[error("the body is not of the contract's form ({0})")]
    Form(String),
    /// The event has an unknown type.
    #[error("the event is of an unknown type")]
    UnknownType,
    /// A limit of the contract is exceeded.
    #[error("the body exceeds the contract's limit on {0}")]
    Limit(&'static str),
    /// A value is not of the form that the contract gives.
    #[error("the body holds {0} of another form than the contract's")]
    Value(&'static str),
}

/// Verifies a callback as the contract requires: Standard Webhooks over the raw body, then [`parse`].
///
/// # Errors
/// [`VerifyError`] if the signature is not valid.
pub fn verify_callback_body(
    headers: &HeaderMap,
    body: &[u8],
    secrets: &SigningSecrets,
    now: OffsetDateTime,
) -> Result<VerifiedCallback, VerifyError> {
    let verified = webhook::verify(headers, body, secrets, now)?;
    Ok(VerifiedCallback { event_id: verified.id, result: parse(body) })
}

/// Parses a callback's body.
///
/// # Errors
/// [`CallbackError`] if the body violates the contract.
pub fn parse(body: &[u8]) -> Result<JobResult, CallbackError> {
    if body.len() > MAX_CALLBACK_BYTES {
        return Err(CallbackError::Limit("bytes"));
    }
    let callback: Callback = serde_json::from_slice(body).map_err(|error| unreadable(body, &error))?;
    let result = match callback.event {
        CallbackEvent::Succeeded(job) => JobResult::Succeeded(job),
        CallbackEvent::Failed(job) => JobResult::Failed(job),
    };
    check(&result).map(|()| result)
}

/// Checks what the types of a result do not: its job's id, and the number, lengths, sizes and forms of its files. The
/// result comes from a callback or from an answer to a probe.
///
/// # Errors
/// [`CallbackError`] with the first rule that is violated.
pub fn check(result: &JobResult) -> Result<(), CallbackError> {
    if !is_job_id(result.job_id()) {
        return Err(CallbackError::Value("a job id"));
    }
    let JobResult::Succeeded(job) = result else { return Ok(()) };
    if job.files.len() > MAX_RETURNED_FILES {
        return Err(CallbackError::Limit("the number of files"));
    }
    job.files.iter().try_for_each(check_file)?;
    let sum = job.files.iter().fold(0u64, |sum, file| sum.saturating_add(file.size_bytes));
    if sum > MAX_RETURNED_JOB_BYTES {
        return Err(CallbackError::Limit("the size of all files together"));
    }
    Ok(())
}

fn check_file(file: &ReturnedFile) -> Result<(), CallbackError> {
    if file.url.len() > MAX_URL_BYTES {
        return Err(CallbackError::Limit("the length of a URL"));
    }
    if file.name.len() > MAX_FILE_NAME_BYTES {
        return Err(CallbackError::Limit("the length of a name"));
    }
    if file.sha256.len() != 64 || !file.sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(CallbackError::Value("a hash"));
    }
    if !is_media_type(&file.media_type) {
        return Err(CallbackError::Value("a media type"));
    }
    Ok(())
}

/// Whether the text is `type/subtype` of the tokens of RFC 9110, with or without parameters. It becomes the value of a
/// header.
fn is_media_type(text: &str) -> bool {
    let is_token = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    let essence = text.split(';').next().unwrap_or_default().trim_end_matches(' ');
    text.len() <= MAX_MEDIA_TYPE_BYTES
        && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
        && essence.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
}

/// The job that a body names which violates the contract elsewhere; empty if it names none.
fn named_job(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Named {
        data: Data,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Data {
        job_id: String,
    }
    let named = serde_json::from_slice::<Named>(body).map(|named| named.data.job_id);
    named.ok().filter(|job_id| is_job_id(job_id)).unwrap_or_default()
}

/// Logs whether the callback's trace is the document's. The document's stored trace is used in any case, because the
/// header is not signed.
fn compare_traces(own: Option<TraceParent>, headers: &HeaderMap) {
    let sent = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok());
    let sent = sent.and_then(|text| text.parse::<TraceParent>().ok());
    let same = own.zip(sent).map(|(own, sent)| own.is_of_the_trace_of(sent));
    tracing::debug!(sameTrace = same, hasTrace = sent.is_some(), "The callback's own trace was compared.");
}

/// The result of a job whose answer violates the contract.
pub fn contract_broken(job_id: &str) -> JobResult {
    JobResult::Failed(JobFailed {
        job_id: if is_job_id(job_id) { job_id.to_owned() } else { String::new() },
        error: JobError {
            code: "contractBroken".to_owned(),
            message: "The processing service returned an answer that cannot be used. An operator has to look at it."
                .into(),
        },
    })
}

fn unreadable(body: &[u8], error: &serde_json::Error) -> CallbackError {
    #[derive(Deserialize)]
    struct Typed {
        r#type: String,
    }
    match serde_json::from_slice::<Typed>(body) {
        Ok(event) if !matches!(event.r#type.as_str(), "job.succeeded" | "job.failed") => {
            CallbackError::UnknownType
        }
        _ => CallbackError::Form(format!(
            "{:?} error at line {} column {}",
            error.classify(),
            error.line(),
            error.column()
        )),
    }
}

#[cfg(test)]
mod tests;
