//! `normalize-document`: turns what the third party returned into the document's record, and reports to the state
//! machine.
//!
//! Started by an SQS message with a task token, which refers to everything and holds nothing (case 24). It tries
//! once; what goes wrong is reported by name and the state machine decides. A message that comes again after its
//! effect is answered as the first time.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    document::keys,
    document::{Attempt, Document, DocumentRef, DocumentState, JobResult, TaskToken},
    error::Error,
    limits,
    ports::{self, Begin, Clock, Finish, Finishing, Load, ReturnedFiles, Tasks, TokenUse},
    record::{Draft, Record},
    telemetry::metrics,
    telemetry::trace::{self, TraceParent},
};

/// The message: `{"schemaVersion": 2, "submissionId", "documentId", "attempt", "taskToken", "traceparent"?}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// See [`crate::message::SCHEMA_VERSION`].
    pub schema_version: u64,
    /// The document.
    #[serde(flatten)]
    pub document: DocumentRef,
    /// The transfer attempt that led here, for the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// Whom to tell.
    pub task_token: TaskToken,
    /// The document's trace.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "trace::optional")]
    pub traceparent: Option<TraceParent>,
}

/// What became of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The record can be read, and the state machine knows.
    Ready,
    /// The state machine knows the named error.
    Reported(&'static str),
    /// There is no such document, or nobody waits for it any more.
    Dropped,
}

/// Handles one message.
///
/// # Errors
/// Only when nothing could be reported: the message stays on the queue.
pub async fn handle(
    store: &(impl Finishing + Load),
    files: &impl ReturnedFiles,
    tasks: &impl Tasks,
    clock: &impl Clock,
    provider: &str,
    input: Input,
) -> Result<Outcome, Error> {
    if tasks.is_awaited(&input.task_token).await? == TokenUse::NotAwaited {
        tracing::info!("Nobody waits for this record any more; its message was dropped.");
        return Ok(Outcome::Dropped);
    }
    match normalize(store, files, clock, provider, &input.document).await {
        Ok(Some(())) => {
            tasks.succeed(&input.task_token, json!({ "state": DocumentState::Ready })).await?;
            tracing::info!("The record can be read.");
            Ok(Outcome::Ready)
        }
        Ok(None) => {
            tracing::warn!("A message for a document that does not exist was dropped.");
            Ok(Outcome::Dropped)
        }
        Err(error) => {
            tracing::debug!(error = error.name(), detail = %error, "The record's error is reported.");
            tasks.fail(&input.task_token, &error).await?;
            // After it, so that a report that fails is the one line of this delivery.
            tracing::warn!(error = error.name(), detail = %error, "The record was not written.");
            Ok(Outcome::Reported(error.name()))
        }
    }
}

/// Writes the record unless it is written. `None` if there is no such document.
async fn normalize(
    store: &(impl Finishing + Load),
    files: &impl ReturnedFiles,
    clock: &impl Clock,
    provider: &str,
    reference: &DocumentRef,
) -> Result<Option<()>, Error> {
    let Begin::Begun(document) = store.begin_normalize(reference, clock.now()).await? else {
        return ended(store, reference).await;
    };
    let record = read_record(files, clock, provider, &document).await?;
    let now = clock.now();
    match store.finish(reference, ports::FinalOutcome::Ready(Box::new(record)), now).await? {
        Finish::Finished => {
            metrics::ended(&document, None, now);
            Ok(Some(()))
        }
        Finish::AlreadyTerminal => ended(store, reference).await,
        Finish::Unknown => Ok(None),
    }
}

/// How a document ended that was not ended here: an earlier run of this message, or the state machine's Catch.
///
/// # Errors
/// The document's own reason, if it failed, so that a task that waits for it ends at once and not by its timeout.
async fn ended(store: &impl Load, reference: &DocumentRef) -> Result<Option<()>, Error> {
    let Some(document) = store.load(reference).await? else { return Ok(None) };
    match (document.state, document.reason) {
        (DocumentState::Ready, _) => Ok(Some(())),
        (DocumentState::Rejected | DocumentState::Failed, Some(reason)) => Err(Error::RecordInvalid(reason)),
        (state, _) => {
            Err(Error::StoreUnavailable(format!("the document is {state} and cannot be normalised")))
        }
    }
}

/// Reads the returned files one after the other, holding one at a time.
async fn read_record(
    files: &impl ReturnedFiles,
    clock: &impl Clock,
    provider: &str,
    document: &Document,
) -> Result<Record, Error> {
    let mut draft = Draft::new(document, provider)?;
    let returned = match &document.result {
        Some(JobResult::Succeeded(job)) => job.files.as_slice(),
        Some(JobResult::Failed(_)) | None => &[],
    };
    for (index, file) in returned.iter().enumerate() {
        let content = if draft.reads(file) {
            files
                .read(&keys::returned_file(&document.reference, index), limits::MAX_PARSED_FILE_BYTES)
                .await?
        } else {
            None
        };
        let read_bytes = content.as_ref().map(bytes::Bytes::len);
        tracing::debug!(
            index,
            sizeBytes = file.size_bytes,
            readBytes = read_bytes,
            "A returned file is added to the record."
        );
        draft.add(file, content.as_ref())?;
    }
    draft.finish(clock.now())
}

#[cfg(test)]
mod tests;
