//! `transfer-document`: hands one document to the third party and reports to the state machine.
//!
//! Started by an SQS message with a task token. It tries once. What goes wrong is reported by name and the state
//! machine decides; only when even that cannot be reported does the message stay on the queue.

use serde::{Deserialize, Serialize};
use serde_json::json;
use time::OffsetDateTime;

use crate::{
    document::{Attempt, Document, DocumentId, DocumentRef, DocumentState, Round, TaskToken},
    error::Error,
    ports::{
        Begin, Clock, Content, JobRequest, Load, Tasks, ThirdParty, TokenUse, Transfers, UploadReader,
        Uploads,
    },
    telemetry::metrics,
    telemetry::trace::{self, TraceParent},
};

/// The message: `{"schemaVersion": 2, "submissionId", "documentId", "attempt", "turnEndsAt", "round", "taskToken",
/// "traceparent"?}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// See [`crate::message::SCHEMA_VERSION`].
    pub schema_version: u64,
    /// The document.
    #[serde(flatten)]
    pub document: DocumentRef,
    /// Orders the attempts.
    pub attempt: Attempt,
    /// When the attempt's turn is over; a message of schema version 1 has no turn.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub turn_ends_at: Option<OffsetDateTime>,
    /// Part of the idempotency key.
    pub round: Round,
    /// Whom to tell.
    pub task_token: TaskToken,
    /// The document's trace; executions that were started by version 1 have none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "trace::optional")]
    pub traceparent: Option<TraceParent>,
}

/// How documents are handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryMode {
    /// The function streams the bytes.
    Push,
    /// The third party fetches a presigned URL.
    Pull,
}

/// What the function is configured with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How documents are handed over.
    pub delivery: DeliveryMode,
    /// Where callbacks go: `{callback_base_url}/callbacks/{callback id}`.
    pub callback_base_url: String,
}

/// What became of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The third party has the document, and the state machine knows.
    Transferred,
    /// The state machine knows the named error.
    Reported(&'static str),
    /// The document has moved on; the message is of the past.
    Dropped,
}

/// Handles one message.
///
/// # Errors
/// Only when nothing could be reported: the message stays on the queue.
pub async fn handle(
    store: &(impl Transfers + Load),
    uploads: &(impl Uploads + UploadReader),
    third_party: &impl ThirdParty,
    tasks: &impl Tasks,
    clock: &impl Clock,
    settings: &Settings,
    input: Input,
) -> Result<Outcome, Error> {
    if tasks.is_awaited(&input.task_token).await? == TokenUse::NotAwaited {
        tracing::info!("Nobody waits for this transfer any more; its message was dropped.");
        return Ok(Outcome::Dropped);
    }
    match transfer(store, uploads, third_party, clock, settings, &input).await {
        Ok(Some(Submitted { job_id, sent })) => {
            tasks.succeed(&input.task_token, json!({ "jobId": job_id, "sent": sent })).await?;
            tracing::info!("The third party has the document.");
            Ok(Outcome::Transferred)
        }
        Ok(None) => {
            tracing::info!("A message of an attempt that is over was dropped.");
            Ok(Outcome::Dropped)
        }
        Err(error) => {
            tracing::debug!(error = error.name(), detail = %error, "The transfer's error is reported.");
            tasks.fail(&input.task_token, &error).await?;
            // After it, so that a report that fails is the one line of this delivery.
            tracing::warn!(error = error.name(), detail = %error, "The transfer did not succeed.");
            Ok(Outcome::Reported(error.name()))
        }
    }
}

/// What an attempt came to.
struct Submitted {
    job_id: String,
    /// Whether the third party was asked: only then its answer is news of it.
    sent: bool,
}

/// The key under which the third party knows a document's round.
pub fn idempotency_key(document: DocumentId, round: Round) -> String {
    format!("{document}-{}", round.0)
}

async fn transfer(
    store: &(impl Transfers + Load),
    uploads: &(impl Uploads + UploadReader),
    third_party: &impl ThirdParty,
    clock: &impl Clock,
    settings: &Settings,
    input: &Input,
) -> Result<Option<Submitted>, Error> {
    let Input { document: reference, attempt, round, .. } = input;
    let Begin::Begun(document) = store.begin_transfer(reference, *attempt, *round, clock.now()).await? else {
        return not_begun(store, input).await;
    };
    if document.result.is_some() {
        tracing::info!("A late result is there already; the document is not sent again.");
        return Ok(Some(Submitted { job_id: document.job_id.unwrap_or_default(), sent: false }));
    }
    tracing::debug!(state = %document.state, sizeBytes = document.size_bytes, round = input.round.0, "The document is handed over.");
    let request = request(uploads, settings, input, &document).await.map_err(|error| unused(error, input))?;
    // Before the turn's end is looked at, since it takes time.
    third_party.prepare().await.map_err(|error| unused(error, input))?;
    if input.turn_ends_at.is_some_and(|end| clock.now() > end) {
        metrics::turn_missed();
        return Err(Error::TurnOver("its time has passed"));
    }
    let began = clock.now();
    let job_id = third_party.submit(request).await.inspect_err(metrics::third_party_error)?;
    metrics::transferred(document.size_bytes, clock.now() - began);
    store.record_job(&input.document, input.attempt, &job_id).await?;
    Ok(Some(Submitted { job_id, sent: true }))
}

/// The turn is this attempt's, so that a retry could not use it; and nothing was sent yet. An attempt without a turn is
/// retried.
fn unused(error: Error, input: &Input) -> Error {
    let Error::StoreUnavailable(detail) = &error else { return error };
    if !input.attempt.is_turn() {
        return error;
    }
    tracing::debug!(detail, "The turn was not used.");
    metrics::turn_missed();
    Error::TurnOver("our own store did not answer")
}

/// What to tell of a document that this attempt may not work on, so that the task that waits for it ends at once and
/// not by its timeout: that it is given up, or that whoever used this turn before died without a word. Otherwise the
/// document has moved on and nobody waits.
async fn not_begun(store: &impl Load, input: &Input) -> Result<Option<Submitted>, Error> {
    let Some(document) = store.load(&input.document).await? else { return Ok(None) };
    match (document.state, document.reason) {
        (DocumentState::Rejected | DocumentState::Failed, Some(reason)) => Err(Error::Rejected(reason)),
        _ if document.attempt == Some(input.attempt) => {
            metrics::turn_missed();
            Err(Error::TurnUsed)
        }
        _ => Ok(None),
    }
}

async fn request(
    uploads: &(impl Uploads + UploadReader),
    settings: &Settings,
    input: &Input,
    document: &Document,
) -> Result<JobRequest, Error> {
    let media_type =
        document.media_type.ok_or_else(|| Error::SourceGone("its media type was never known".to_owned()))?;
    match uploads.current_version(&document.object).await? {
        Some(current) if current == document.object.version_id => {}
        Some(_) => return Err(Error::SourceGone("a newer version has replaced it".to_owned())),
        None => return Err(Error::SourceGone("it was deleted".to_owned())),
    }
    let content = match settings.delivery {
        DeliveryMode::Push => Content::Push(uploads.open(&document.object, document.size_bytes).await?),
        DeliveryMode::Pull => Content::Pull(uploads.presign(&document.object).await?),
    };
    Ok(JobRequest {
        idempotency_key: idempotency_key(input.document.document_id, input.round),
        media_type,
        size_bytes: document.size_bytes,
        callback_url: format!("{}/callbacks/{}", settings.callback_base_url, document.callback_id.expose()),
        traceparent: document.traceparent.map(|trace| trace.child(&format!("attempt-{}", input.attempt.0))),
        content,
    })
}

#[cfg(test)]
mod tests;
