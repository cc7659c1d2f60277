//! `transfer-document`: submits one document to the third party and reports to the state machine.
//!
//! An SQS message with a task token starts the function. The function tries once and reports an error by name; the
//! state machine decides what happens next. The message stays on the queue only if nothing can be reported.

use serde::{Deserialize, Serialize};
use serde_json::json;
use time::OffsetDateTime;

use crate::{
    contract::wire::{JobError, JobFailed},
    document::{Document, DocumentId, DocumentState, JobResult, Reason, Round, TaskToken},
    error::{Error, StoreError},
    limits::CONNECT_TIMEOUT,
    message::Envelope,
    ports::{
        Begin, Clock, Content, JobRequest, Load, Orders, Results, Tasks, ThirdParty, TokenUse, Transfers,
        UploadReader, Uploads,
    },
    steps::admit_document::{self, Order},
    telemetry::metrics,
};

/// The message: the [`Envelope`] with `{"permitExpiresAt", "reportSuccess", "round", "taskToken"}`. The envelope's
/// attempt is that of the permit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// The fields of every message.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// The latest time at which the request may arrive at the third party.
    #[serde(with = "time::serde::rfc3339")]
    pub permit_expires_at: OffsetDateTime,
    /// Whether the circuit breaker needs the report of a success, as it does after a failure.
    pub report_success: bool,
    /// Part of the idempotency key.
    pub round: Round,
    /// The task token that the outcome answers.
    pub task_token: TaskToken,
}

/// The function's configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The largest document that the function streams to the third party. The third party fetches larger ones from a
    /// presigned URL, because a push has to end within one request.
    pub push_max_bytes: u64,
    /// The first part of callback URLs: `{callback_base_url}/callbacks/{callback id}`.
    pub callback_base_url: String,
}

/// The ports and settings of the step.
#[derive(Debug)]
pub struct Ports<'p, S, U, P, T, O, C> {
    /// The documents.
    pub store: &'p S,
    /// The uploads bucket.
    pub uploads: &'p U,
    /// The third party.
    pub third_party: &'p P,
    /// The task tokens of the state machine.
    pub tasks: &'p T,
    /// The orders to `admit-document`.
    pub orders: &'p O,
    /// The time.
    pub clock: &'p C,
    /// Which documents are pushed, and the callback URL.
    pub settings: &'p Settings,
}

/// The outcome of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The third party has the document, and this was reported to the state machine.
    Transferred,
    /// This error was reported to the state machine.
    Reported(&'static str),
    /// The document has moved on, and the message is obsolete.
    Dropped,
}

impl<S, U, P, T, O, C> Ports<'_, S, U, P, T, O, C>
where
    S: Transfers + Results + Load,
    U: Uploads + UploadReader,
    P: ThirdParty,
    T: Tasks,
    O: Orders,
    C: Clock,
{
    /// Handles one message. `again` says whether it was delivered before.
    ///
    /// # Errors
    /// Only if no outcome could be reported. The message then stays on the queue.
    pub async fn handle(&self, input: Input, again: bool) -> Result<Outcome, Error> {
        if self.tasks.is_awaited(&input.task_token).await? == TokenUse::NotAwaited {
            if !again {
                return Err(StoreError::unavailable("Step Functions does not know the task token yet").into());
            }
            tracing::info!("The execution no longer waits for this transfer; the message was dropped.");
            return Ok(Outcome::Dropped);
        }
        match self.transfer(&input).await {
            Ok(Outcome::Transferred) => {
                self.tasks.succeed(&input.task_token, json!({})).await?;
                tracing::info!("The third party has the document.");
                Ok(Outcome::Transferred)
            }
            Ok(outcome) => {
                tracing::info!("The attempt is over; the message was dropped.");
                Ok(outcome)
            }
            Err(error) => {
                tracing::debug!(error = error.name(), detail = %error, "The transfer's error is reported.");
                self.tasks.fail(&input.task_token, &error).await?;
                // Logged after the report, so that a failed report is the only log line of this delivery.
                tracing::warn!(error = error.name(), detail = %error, "The transfer did not succeed.");
                Ok(Outcome::Reported(error.name()))
            }
        }
    }

    async fn transfer(&self, input: &Input) -> Result<Outcome, Error> {
        let Envelope { document: reference, attempt, .. } = &input.envelope;
        let begun = self.store.begin_transfer(reference, *attempt, input.round, self.clock.now()).await?;
        let Begin::Begun(document) = begun else {
            return self.not_begun(input).await;
        };
        if document.result.is_some() {
            return Ok(late_result());
        }
        tracing::debug!(state = %document.state, sizeBytes = document.size_bytes, round = input.round.0, "The document is submitted.");
        let request = self.request(input, &document).await.map_err(unused)?;
        self.third_party.prepare().await.map_err(unused)?;
        let sending_since = self.clock.now();
        // Opening a connection may take up to `CONNECT_TIMEOUT`, and the request must arrive before the permit expires
        // (D10).
        if sending_since + CONNECT_TIMEOUT > input.permit_expires_at {
            metrics::permit_missed();
            return Err(Error::PermitExpired("its time has passed"));
        }
        let submitted = self.third_party.submit(request).await.inspect_err(metrics::third_party_error);
        let job_id = match submitted {
            Err(Error::Rejected(reason)) => return Err(self.refused(input, reason).await),
            other => other?,
        };
        metrics::transferred(document.size_bytes, self.clock.now() - sending_since);
        // A failure of our own store must not cause a second submission: the state machine probes the job (D12).
        self.record_acceptance(input, &job_id).await.map_err(|error| {
            tracing::warn!(detail = %error, "The third party accepted the document; this could not be stored.");
            Error::PermitAlreadyUsed("the acceptance could not be stored")
        })?;
        Ok(Outcome::Transferred)
    }

    /// Stores the third party's reason with the document, because its words do not enter the execution's history (A14).
    /// If the reason cannot be stored, the teacher reads a general sentence.
    async fn refused(&self, input: &Input, reason: Reason) -> Error {
        let error = JobError { code: reason.code.clone(), message: reason.message.as_str().into() };
        let result = JobResult::Failed(JobFailed { job_id: String::new(), error });
        let stored = self.store.record_result(&input.envelope.document, &result, self.clock.now()).await;
        if let Err(error) = stored {
            tracing::warn!(detail = %error, "The reason of a refusal could not be stored.");
        }
        Error::Rejected(reason)
    }

    /// Stores the job's id and reports the success to the circuit breaker, if the breaker needs it.
    async fn record_acceptance(&self, input: &Input, job_id: &str) -> Result<(), Error> {
        let Envelope { document, attempt, .. } = &input.envelope;
        self.store.record_job(document, *attempt, job_id).await?;
        if input.report_success {
            let order = Order::Report { error: String::new(), cause: String::new() };
            self.orders.send(admit_document::Input { envelope: input.envelope.clone(), order }).await?;
        }
        Ok(())
    }

    /// Returns why this attempt may not transfer the document, so that the waiting task ends at once: the document has
    /// ended, or an earlier delivery of the same message used the permit and died. `None` if the document has moved on
    /// and no task waits.
    async fn not_begun(&self, input: &Input) -> Result<Outcome, Error> {
        let Some(document) = self.store.load(&input.envelope.document).await? else {
            return Ok(Outcome::Dropped);
        };
        match (document.state, document.reason) {
            (DocumentState::Rejected | DocumentState::Failed, Some(reason)) => Err(Error::Rejected(reason)),
            _ if document.attempt == Some(input.envelope.attempt) => {
                metrics::permit_missed();
                Err(Error::PermitAlreadyUsed("an earlier delivery died"))
            }
            // The result of an earlier round's job came while this attempt waited for its permit.
            _ if document.result.is_some() => Ok(late_result()),
            _ => Ok(Outcome::Dropped),
        }
    }

    async fn request(&self, input: &Input, document: &Document) -> Result<JobRequest, Error> {
        let media_type = document
            .media_type
            .ok_or_else(|| Error::SourceGone("its media type was never known".to_owned()))?;
        match self.uploads.current_version(&document.object).await? {
            Some(current) if current == document.object.version_id => {}
            Some(_) => return Err(Error::SourceGone("a newer version has replaced it".to_owned())),
            None => return Err(Error::SourceGone("it was deleted".to_owned())),
        }
        let content = if document.size_bytes <= self.settings.push_max_bytes {
            Content::Push(self.uploads.open(&document.object, document.size_bytes).await?)
        } else {
            Content::Pull(self.uploads.presign(&document.object).await?)
        };
        Ok(JobRequest {
            idempotency_key: idempotency_key(input.envelope.document.document_id, input.round),
            media_type,
            size_bytes: document.size_bytes,
            callback_url: format!(
                "{}/callbacks/{}",
                self.settings.callback_base_url,
                document.callback_id.expose()
            ),
            traceparent: document
                .traceparent
                .map(|trace| trace.child(&format!("attempt-{}", input.envelope.attempt.0))),
            content,
        })
    }
}

/// The third party has finished the document already, so the document is not sent again.
fn late_result() -> Outcome {
    tracing::info!("A late result is there already; the document is not sent again.");
    Outcome::Transferred
}

/// The idempotency key of a document's round.
pub fn idempotency_key(document: DocumentId, round: Round) -> String {
    format!("{document}-{}", round.0)
}

/// Turns a failure of our own store before the submission into `Permit.Expired`: nothing was sent, and a redelivery
/// could not use the permit.
fn unused(error: Error) -> Error {
    let Error::Store(detail) = &error else { return error };
    tracing::debug!(%detail, "The permit was not used.");
    metrics::permit_missed();
    Error::PermitExpired("AWS did not answer")
}

#[cfg(test)]
mod tests;
