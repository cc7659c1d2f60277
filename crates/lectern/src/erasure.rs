//! Erases a submission: the third party's copies, all versions of all objects, and all items. The function
//! `erase-submission` and the command `lectern erase` run the same pass.
//!
//! The order makes an erasure resumable: a pass may be interrupted after any call and run again. The mark comes first, so
//! that nothing is added any more. A document's item comes last, because it names what the third party has.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use time::OffsetDateTime;

use crate::{
    document::{Document, DocumentState, Reason, Round, SubmissionId},
    error::{Error, StoreError},
    ports::{
        Clock, EraseJobs, Erasure, Erasures, Failure, FinalOutcome, Finishing, JobErasure, StartErasure,
        StopExecutions, SubmissionObjects,
    },
    steps::transfer_document::idempotency_key,
};

/// The code of [`stopped`].
pub const STOPPED: &str = "erased";
/// Stands in the tombstone of a submission that its owner has withdrawn. The tombstone is kept for good, so it does not
/// name the person.
pub const BY_OWNER: &str = "owner";
/// Versions of objects that one pass erases in each bucket before it asks for another pass.
pub const MAX_VERSIONS: usize = 20_000;
/// Documents whose jobs are erased at the same time.
const AT_A_TIME: usize = 8;

/// The reason of a document that was stopped because its submission is erased.
pub fn stopped() -> Reason {
    Reason::new("erased", "The submission is being erased.")
}

/// The ports that begin an erasure for a submission's owner.
#[derive(Debug)]
pub struct Begin<'p, S, M, C> {
    /// The items.
    pub store: &'p S,
    /// The state machine that erases.
    pub state_machine: &'p M,
    /// The time.
    pub clock: &'p C,
}

impl<S: Erasures, M: StartErasure, C: Clock> Begin<'_, S, M, C> {
    /// Begins the erasure of a submission that its owner withdraws. From then on the API does not show the submission, and
    /// the state machine erases it. The caller has checked that the person is the owner.
    ///
    /// The execution starts first and also sets the mark, so an erasure that is marked is always carried out. May be
    /// repeated.
    ///
    /// # Errors
    /// `Store.Unavailable`. If the execution was started, the submission is erased all the same.
    pub async fn handle(&self, id: &SubmissionId) -> Result<(), Error> {
        self.state_machine.start_erasure(id).await?;
        self.store.begin_erasure(id, BY_OWNER, self.clock.now()).await
    }
}

/// The ports of a pass.
#[derive(Debug)]
pub struct Ports<'p, S, O, T, X, C> {
    /// The items.
    pub store: &'p S,
    /// Both buckets.
    pub objects: &'p O,
    /// The third party.
    pub third_party: &'p T,
    /// The executions of documents.
    pub executions: &'p X,
    /// The time.
    pub clock: &'p C,
    /// How long a function may still work on a document whose execution was stopped.
    pub functions_end_within: Duration,
}

/// The outcome of a pass.
#[derive(Debug)]
pub enum Outcome {
    /// Documents were stopped, and functions may still work on them. Another pass erases the submission after that time.
    Stopped {
        /// When no function works on them any more.
        until: OffsetDateTime,
    },
    /// There are more objects than one pass erases. Another pass continues.
    MoreObjects,
    /// All objects are erased, but the third party has not confirmed the erasure of all jobs. Another pass asks again. The
    /// items of these documents stay until then.
    Unconfirmed {
        /// The number of documents without a confirmation.
        documents: usize,
        /// Why the third party could not be asked for all documents.
        trouble: Option<Error>,
    },
    /// Nothing of the submission is left but the erasure.
    Erased(Erasure),
}

impl<S, O, T, X, C> Ports<'_, S, O, T, X, C>
where
    S: Erasures + Finishing,
    O: SubmissionObjects,
    T: EraseJobs,
    X: StopExecutions,
    C: Clock,
{
    /// Runs one pass on behalf of `by`: [`BY_OWNER`], or the ARN of the principal that runs the command. Documents in
    /// progress are stopped. If the third party does not answer, everything else is erased.
    ///
    /// # Errors
    /// `Store.Unavailable`. Run the pass again.
    pub async fn handle(&self, id: &SubmissionId, by: &str) -> Result<Outcome, Error> {
        // From here on no document is added, so the documents that are read now are all.
        self.store.begin_erasure(id, by, self.clock.now()).await?;
        let documents = self.store.documents_to_erase(id).await?;
        let mut newest_stop = last_stop(&documents);
        for document in documents.iter().filter(|document| !document.state.is_terminal()) {
            self.stop(document).await?;
            newest_stop = Some(self.clock.now());
        }
        let until = newest_stop.map(|stopped| stopped + self.functions_end_within);
        if let Some(until) = until.filter(|until| *until > self.clock.now()) {
            return Ok(Outcome::Stopped { until });
        }
        self.erase(id, &documents).await
    }

    /// Stops a document's execution, and ends the document, so that a message that is still in a queue changes nothing.
    async fn stop(&self, document: &Document) -> Result<(), Error> {
        let Document { reference, redrives, .. } = document;
        self.executions.stop(reference, *redrives).await?;
        let failure = Failure { reason: stopped(), redrives: *redrives };
        self.store.finish(reference, FinalOutcome::Failed(failure), self.clock.now()).await.map(drop)
    }

    async fn erase(&self, id: &SubmissionId, documents: &[Document]) -> Result<Outcome, Error> {
        let erased = self.objects.erase_objects(id, MAX_VERSIONS).await?;
        if erased.versions > 0 {
            self.store.count_erased_versions(id, erased.versions).await?;
        }
        if !erased.are_all {
            return Ok(Outcome::MoreObjects);
        }
        let (mut confirmed, mut trouble) = (0, None);
        let mut asked = stream::iter(documents)
            .map(|document| async move { (document, self.erase_jobs(document).await) })
            .buffer_unordered(AT_A_TIME);
        while let Some((document, answer)) = asked.next().await {
            match answer {
                Ok(true) => {
                    self.store.erase_document(document, self.clock.now()).await?;
                    confirmed += 1;
                }
                Ok(false) => {}
                Err(error) => {
                    trouble = Some(error);
                    break;
                }
            }
        }
        if confirmed < documents.len() {
            return Ok(Outcome::Unconfirmed { documents: documents.len() - confirmed, trouble });
        }
        self.store.end_erasure(id, self.clock.now()).await?;
        let erasure = self.store.erasure(id).await?;
        let erasure = erasure.ok_or_else(|| StoreError::defect("an erasure that has begun is gone"))?;
        Ok(Outcome::Erased(erasure))
    }

    /// Asks the third party to erase the document's jobs. Returns whether it has none of them any more.
    async fn erase_jobs(&self, document: &Document) -> Result<bool, Error> {
        if document.attempt.is_none() {
            return Ok(true);
        }
        let mut gone = true;
        for round in 1..=document.round.0 {
            let key = idempotency_key(document.reference.document_id, Round(round));
            gone &= self.third_party.erase(&key).await? != JobErasure::Accepted;
        }
        Ok(gone)
    }
}

/// When a pass stopped a document most recently, if one did.
fn last_stop(documents: &[Document]) -> Option<OffsetDateTime> {
    let stopped = documents
        .iter()
        .filter(|document| document.reason.as_ref().is_some_and(|reason| reason.code == STOPPED))
        .filter_map(|document| document.time_of(DocumentState::Failed));
    stopped.max()
}

#[cfg(test)]
mod tests;
