//! `normalize-document`: builds the document's record from the files that the third party returned, and reports to the
//! state machine.
//!
//! An SQS message with a task token starts the function; the message contains references only (case 24). The function
//! tries once and reports an error by name; the state machine decides what happens next. If a message is delivered
//! again after its effect, the function reports the same outcome.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    document::keys,
    document::{Document, DocumentRef, DocumentState, JobResult, TaskToken},
    error::{Error, StoreError, rfc3339},
    limits,
    message::Envelope,
    ports::{Begin, Clock, FinalOutcome, Finish, Finishing, Load, Records, ReturnedFiles, Tasks, TokenUse},
    record::{Draft, Record},
    telemetry::metrics,
};

/// The message: the [`Envelope`] with `{"taskToken"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// The fields of every message.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// The task token that the outcome answers.
    pub task_token: TaskToken,
}

/// The ports and settings of the step.
#[derive(Debug)]
pub struct Ports<'p, S, F, T, C> {
    /// The documents.
    pub store: &'p S,
    /// The bucket with returned files and records.
    pub files: &'p F,
    /// The task tokens of the state machine.
    pub tasks: &'p T,
    /// The time.
    pub clock: &'p C,
    /// The third party's name in records.
    pub provider: &'p str,
}

/// The outcome of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The record can be read, and this was reported to the state machine.
    Ready,
    /// This error was reported to the state machine.
    Reported(&'static str),
    /// There is no such document, or no task waits for it any more.
    Dropped,
}

impl<S: Finishing + Load, F: ReturnedFiles + Records, T: Tasks, C: Clock> Ports<'_, S, F, T, C> {
    /// Handles one message. `again` says whether it was delivered before.
    ///
    /// # Errors
    /// Only if no outcome could be reported. The message then stays on the queue.
    pub async fn handle(&self, input: Input, again: bool) -> Result<Outcome, Error> {
        if self.tasks.is_awaited(&input.task_token).await? == TokenUse::NotAwaited {
            if !again {
                return Err(StoreError::unavailable("Step Functions does not know the task token yet").into());
            }
            tracing::info!("The execution no longer waits for this record; the message was dropped.");
            return Ok(Outcome::Dropped);
        }
        match self.normalize(&input.envelope.document).await {
            Ok(Some(dropped_cues)) => {
                self.tasks.succeed(&input.task_token, json!({ "state": DocumentState::Ready })).await?;
                let dropped_cues = (dropped_cues > 0).then_some(dropped_cues);
                tracing::info!(droppedCues = dropped_cues, "The record can be read.");
                Ok(Outcome::Ready)
            }
            Ok(None) => {
                tracing::warn!("A message for a document that does not exist was dropped.");
                Ok(Outcome::Dropped)
            }
            Err(error) => {
                tracing::debug!(error = error.name(), detail = %error, "The record's error is reported.");
                self.tasks.fail(&input.task_token, &error).await?;
                // Logged after the report, so that a failed report is the only log line of this delivery.
                tracing::warn!(error = error.name(), detail = %error, "The record was not written.");
                Ok(Outcome::Reported(error.name()))
            }
        }
    }

    /// Writes the record, unless it is written already. Returns the number of cues that are missing in the record, if this
    /// run wrote it; `None` if there is no such document.
    async fn normalize(&self, reference: &DocumentRef) -> Result<Option<u64>, Error> {
        let Begin::Begun(document) = self.store.begin_normalize(reference, self.clock.now()).await? else {
            return self.ended(reference).await;
        };
        let record = self.build_record(&document).await?;
        let dropped_cues = record.transcript.as_ref().map_or(0, |transcript| transcript.dropped_cues);
        let (record_key, json) = record.to_object(reference)?;
        self.files.put_record(&record_key, json).await?;
        let now = self.clock.now();
        match self.store.finish(reference, FinalOutcome::Ready { record_key }, now).await? {
            Finish::Finished => {
                metrics::ended(&document, None, now);
                Ok(Some(dropped_cues))
            }
            Finish::AlreadyTerminal => self.ended(reference).await,
            Finish::Unknown => Ok(None),
        }
    }

    /// The outcome of a document that another run has ended: an earlier delivery of this message, or the state
    /// machine's Catch.
    ///
    /// # Errors
    /// The document's own reason, if it failed, so that the waiting task ends at once and not by its timeout.
    async fn ended(&self, reference: &DocumentRef) -> Result<Option<u64>, Error> {
        let Some(document) = self.store.load(reference).await? else { return Ok(None) };
        match (document.state, document.reason) {
            (DocumentState::Ready, _) => Ok(Some(0)),
            (DocumentState::Rejected | DocumentState::Failed, Some(reason)) => {
                Err(Error::RecordInvalid(reason))
            }
            (state, _) => {
                Err(StoreError::defect(format!("the document is {state} and cannot be normalised")).into())
            }
        }
    }

    /// Reads the returned files one after the other, with one file in memory at a time.
    async fn build_record(&self, document: &Document) -> Result<Record, Error> {
        let mut draft = Draft::new(document, self.provider)?;
        let returned = match &document.result {
            Some(JobResult::Succeeded(job)) => job.files.as_slice(),
            Some(JobResult::Failed(_)) | None => &[],
        };
        for (index, file) in returned.iter().enumerate() {
            let content = if draft.reads(file) {
                self.files
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
        // Not the present time, so that a repeated run writes the same object.
        let began = document.times.get(DocumentState::Normalizing.as_str());
        draft.finish(began.cloned().unwrap_or_else(|| rfc3339(self.clock.now())))
    }
}

#[cfg(test)]
mod tests;
