//! `receive-callback`: stores the third party's result of a job once, and resumes the waiting execution.
//!
//! The function does not parse the body before it has verified the signature. Only the first result counts. The
//! statuses are part of the contract: 2xx the event is stored and need not be sent again, 401 the signature is wrong, 5xx
//! Lectern failed and the third party sends the event again. If a well-signed event violates the contract, for example
//! by its size, the function stores it and fails the document, because waiting would not help. An event of an unknown
//! type is stored and changes nothing.

use http::{HeaderMap, StatusCode};
use serde_json::json;
use time::{Duration, OffsetDateTime};
use tracing::{Instrument as _, Span};

use crate::{
    contract::callback::{CallbackError, VerifiedCallback, contract_broken, named_job},
    contract::response::job_reason,
    contract::webhook::VerifyError,
    document::{CallbackId, JobResult, TaskToken},
    error::Error,
    limits::MAX_CALLBACK_BYTES,
    message::Envelope,
    ports::{CallbackTarget, Clock, Orders, Recorded, Results, Secrets, Tasks, ThirdParty, TokenUse},
    steps::admit_document::{Input, Order},
    telemetry::metrics::{self, CallbackOutcome},
    telemetry::trace::{TRACEPARENT, TraceParent},
};

/// The ports of the step.
#[derive(Debug)]
pub struct Ports<'p, R, T, O, S, C> {
    /// The results of documents.
    pub store: &'p R,
    /// The task tokens of the state machine.
    pub tasks: &'p T,
    /// The orders to `admit-document`.
    pub orders: &'p O,
    /// The signing secrets.
    pub secrets: &'p S,
    /// The time.
    pub clock: &'p C,
}

impl<R: Results, T: Tasks, O: Orders, S: Secrets, C: Clock> Ports<'_, R, T, O, S, C> {
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
        let Some(target) = self.store.resolve(&CallbackId::new(delivery.callback_id)).await? else {
            self.keep_unknown(&verified, delivery, now).await?;
            tracing::warn!(
                callback = "unknown",
                "A well-signed callback belongs to no document; it was kept."
            );
            metrics::callback(CallbackOutcome::Unknown, None);
            return Ok(Answer::KeptUnknown);
        };
        let span = span_of(&target);
        if target.is_erased {
            span.in_scope(|| {
                tracing::info!(callback = "gone", "A callback for an erased document was not stored.");
            });
            metrics::callback(CallbackOutcome::Gone, None);
            return Ok(Answer::Kept);
        }
        span.in_scope(|| compare_traces(target.traceparent, delivery.headers));
        self.receive_verified(&target, verified, delivery, now).instrument(span).await
    }

    /// Reports a callback without a valid signature. Only one to a document's callback URL raises the alarm: its sender
    /// knows that secret, so it is the third party with a wrong key or clock, or the URL has leaked. Anyone can send
    /// requests to other paths (S05).
    async fn refuse(&self, delivery: WebhookRequest<'_>, error: &VerifyError) {
        match self.store.resolve(&CallbackId::new(delivery.callback_id)).await {
            Ok(Some(target)) => {
                span_of(&target).in_scope(|| {
                    tracing::warn!(callback = "badSignature", detail = %error, "A callback was refused for its signature.");
                });
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
        target: &CallbackTarget,
        verified: VerifiedCallback,
        delivery: WebhookRequest<'_>,
        now: OffsetDateTime,
    ) -> Result<Answer, Error> {
        match &verified.result {
            Ok(result) => {
                let (outcome, took) = self.keep(target, result, now).await?;
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
                let (outcome, took) = self.keep(target, &result, now).await?;
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
        target: &CallbackTarget,
        result: &JobResult,
        now: OffsetDateTime,
    ) -> Result<(CallbackOutcome, Option<Duration>), Error> {
        let (context, first) = match self.store.record_result(&target.document, result, now).await? {
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
            // DynamoDB may delete an expired document some days before it deletes the document's callback id.
            Recorded::Unknown => {
                tracing::info!(callback = "gone", "A callback for an expired document was not stored.");
                return Ok((CallbackOutcome::Gone, None));
            }
        };
        let woken = match &context.token {
            Some(token) => Some(self.resume(token, result).await?),
            None => None,
        };
        // The job has ended, so its lease is released for another document. If this fails, the third party sends the
        // callback again.
        if let Some(attempt) = context.attempt.filter(|_| context.is_current(result.job_id())) {
            let envelope = Envelope {
                traceparent: target.traceparent,
                ..Envelope::new(target.document.clone(), attempt)
            };
            self.orders.send(Input { envelope, order: Order::Release }).await?;
        }
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

    /// Answers the token of the state `AwaitCallback`. A failed job fails the task.
    async fn resume(&self, token: &TaskToken, result: &JobResult) -> Result<TokenUse, Error> {
        match result {
            JobResult::Succeeded(job) => self.tasks.succeed(token, json!({ "files": job.files.len() })).await,
            JobResult::Failed(job) => {
                let error = if result.is_source_unreadable() {
                    Error::SourceUnreadable
                } else if result.outcome() == "failed" {
                    Error::Rejected(job_reason(&job.error))
                } else {
                    Error::RecordInvalid(job_reason(&job.error))
                };
                self.tasks.fail(token, &error).await
            }
        }
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
    /// Stored, by this delivery or an earlier one; or the document is erased or has expired, and nothing was stored.
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

/// The span of a callback for this document, with the document's ids and trace.
fn span_of(target: &CallbackTarget) -> Span {
    tracing::info_span!(
        "callback",
        submissionId = %target.document.submission_id,
        documentId = %target.document.document_id,
        traceId = target.traceparent.map(TraceParent::trace_id)
    )
}

/// Logs whether the callback's trace is the document's. The document's stored trace is used in any case, because the
/// header is not signed.
fn compare_traces(own: Option<TraceParent>, headers: &HeaderMap) {
    let sent = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok());
    let sent = sent.and_then(|text| text.parse::<TraceParent>().ok());
    let same = own.zip(sent).map(|(own, sent)| own.is_of_the_trace_of(sent));
    tracing::debug!(sameTrace = same, hasTrace = sent.is_some(), "The callback's own trace was compared.");
}

#[cfg(test)]
mod tests;
