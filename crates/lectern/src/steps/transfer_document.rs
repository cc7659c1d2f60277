//! `transfer-document`: submits one document to the third party and reports to the state machine.
//!
//! An SQS message with a task token starts the function. The function tries once and reports an error by name; the
//! state machine decides what happens next. The message stays on the queue only if nothing can be reported.

use serde::{Deserialize, Serialize};
use serde_json::json;
use time::OffsetDateTime;

use crate::{
    document::{Document, DocumentId, DocumentState, Round, TaskToken},
    error::Error,
    limits::CONNECT_TIMEOUT,
    message::Envelope,
    ports::{
        Begin, Clock, Content, JobRequest, Load, Tasks, ThirdParty, TokenUse, Transfers, UploadReader,
        Uploads,
    },
    telemetry::metrics,
};

/// The message: the [`Envelope`] with `{"permitExpiresAt", "round", "taskToken"}`. The envelope's attempt is that of
/// the permit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// The fields of every message.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// The latest time at which the request may arrive at the third party.
    #[serde(with = "time::serde::rfc3339")]
    pub permit_expires_at: OffsetDateTime,
    /// Part of the idempotency key.
    pub round: Round,
    /// The task token that the outcome answers.
    pub task_token: TaskToken,
}

/// How documents are handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryMode {
    /// The function streams the bytes.
    Push,
    /// The third party fetches a presigned URL.
    Pull,
}

/// The function's configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How documents are handed over.
    pub delivery: DeliveryMode,
    /// The first part of callback URLs: `{callback_base_url}/callbacks/{callback id}`.
    pub callback_base_url: String,
}

/// The ports and settings of the step.
#[derive(Debug)]
pub struct Ports<'p, S, U, P, T, C> {
    /// The documents.
    pub store: &'p S,
    /// The uploads bucket.
    pub uploads: &'p U,
    /// The third party.
    pub third_party: &'p P,
    /// The task tokens of the state machine.
    pub tasks: &'p T,
    /// The time.
    pub clock: &'p C,
    /// How documents are handed over.
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

impl<S, U, P, T, C> Ports<'_, S, U, P, T, C>
where
    S: Transfers + Load,
    U: Uploads + UploadReader,
    P: ThirdParty,
    T: Tasks,
    C: Clock,
{
    /// Handles one message.
    ///
    /// # Errors
    /// Only if no outcome could be reported. The message then stays on the queue.
    pub async fn handle(&self, input: Input) -> Result<Outcome, Error> {
        if self.tasks.is_awaited(&input.task_token).await? == TokenUse::NotAwaited {
            tracing::info!("The execution no longer waits for this transfer; the message was dropped.");
            return Ok(Outcome::Dropped);
        }
        match self.transfer(&input).await {
            Ok(Some(Submitted { job_id, sent })) => {
                self.tasks.succeed(&input.task_token, json!({ "jobId": job_id, "sent": sent })).await?;
                tracing::info!("The third party has the document.");
                Ok(Outcome::Transferred)
            }
            Ok(None) => {
                tracing::info!("The attempt is over; the message was dropped.");
                Ok(Outcome::Dropped)
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

    async fn transfer(&self, input: &Input) -> Result<Option<Submitted>, Error> {
        let Envelope { document: reference, attempt, .. } = &input.envelope;
        let begun = self.store.begin_transfer(reference, *attempt, input.round, self.clock.now()).await?;
        let Begin::Begun(document) = begun else {
            return self.not_begun(input).await;
        };
        if let Some(result) = &document.result {
            tracing::info!("A late result is there already; the document is not sent again.");
            return Ok(Some(Submitted { job_id: result.job_id().to_owned(), sent: false }));
        }
        tracing::debug!(state = %document.state, sizeBytes = document.size_bytes, round = input.round.0, "The document is handed over.");
        let request = self.request(input, &document).await.map_err(unused)?;
        self.third_party.prepare().await.map_err(unused)?;
        let sending_since = self.clock.now();
        // Opening a connection may take up to `CONNECT_TIMEOUT`, and the request must arrive before the permit expires
        // (D10).
        if sending_since + CONNECT_TIMEOUT > input.permit_expires_at {
            metrics::permit_missed();
            return Err(Error::PermitExpired("its time has passed"));
        }
        let job_id = self.third_party.submit(request).await.inspect_err(metrics::third_party_error)?;
        metrics::transferred(document.size_bytes, self.clock.now() - sending_since);
        // A failure of our own store must not cause a second submission: the state machine asks for the job (D12).
        self.store.record_job(reference, *attempt, &job_id).await.map_err(|error| {
            tracing::warn!(detail = %error, "The third party accepted the document; its job id could not be stored.");
            Error::PermitAlreadyUsed("the job's id could not be stored")
        })?;
        Ok(Some(Submitted { job_id, sent: true }))
    }

    /// Returns why this attempt may not transfer the document, so that the waiting task ends at once: the document has
    /// ended, or an earlier delivery of the same message used the permit and died. `None` if the document has moved on
    /// and no task waits.
    async fn not_begun(&self, input: &Input) -> Result<Option<Submitted>, Error> {
        let Some(document) = self.store.load(&input.envelope.document).await? else { return Ok(None) };
        match (document.state, document.reason) {
            (DocumentState::Rejected | DocumentState::Failed, Some(reason)) => Err(Error::Rejected(reason)),
            _ if document.attempt == Some(input.envelope.attempt) => {
                metrics::permit_missed();
                Err(Error::PermitAlreadyUsed("an earlier delivery died"))
            }
            _ => Ok(None),
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
        let content = match self.settings.delivery {
            DeliveryMode::Push => {
                Content::Push(self.uploads.open(&document.object, document.size_bytes).await?)
            }
            DeliveryMode::Pull => Content::Pull(self.uploads.presign(&document.object).await?),
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

/// The third party has the document.
struct Submitted {
    job_id: String,
    /// Whether this attempt sent the document. Only then does its success count for the circuit breaker.
    sent: bool,
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
