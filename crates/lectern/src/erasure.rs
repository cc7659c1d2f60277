//! Erases a submission: the third party's copies, all versions of all objects, and all items. The command `lectern erase`
//! runs it.
//!
//! The order makes an erasure resumable: it may be interrupted after any call and run again. The mark comes first, so that
//! nothing is added any more. The items come last, because they name what the third party has.

use crate::{
    document::{Document, Reason, Round, SubmissionId},
    error::{Error, StoreError},
    ports::{Clock, EraseJobs, Erasure, Erasures, JobErasure, SubmissionObjects},
    steps::transfer_document::idempotency_key,
};

/// The code of [`stopped`].
pub const STOPPED: &str = "erased";

/// Who erases a submission that its owner has withdrawn. The erasure is kept for good, so it does not name the person.
pub const BY_OWNER: &str = "owner";

/// The reason of a document that was stopped because its submission is erased.
pub fn stopped() -> Reason {
    Reason::new("erased", "The submission is being erased.")
}

/// The ports of an erasure.
#[derive(Debug)]
pub struct Ports<'p, S, O, T, C> {
    /// The items.
    pub store: &'p S,
    /// Both buckets.
    pub objects: &'p O,
    /// The third party.
    pub third_party: &'p T,
    /// The time.
    pub clock: &'p C,
}

/// The outcome of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The erasure after the run.
    pub erasure: Erasure,
    /// The number of documents whose erasure the third party has not confirmed. Their items stay until it does.
    pub unconfirmed: usize,
    /// Why the third party could not be told of all documents.
    pub trouble: Option<Error>,
}

impl<S: Erasures, O: SubmissionObjects, T: EraseJobs, C: Clock> Ports<'_, S, O, T, C> {
    /// Erases a submission without open documents, on behalf of the principal with the ARN `by`. If the third party does
    /// not answer, everything else is erased, and a later run tells the third party.
    ///
    /// # Errors
    /// `Store.Unavailable`. Run it again.
    pub async fn handle(&self, id: &SubmissionId, by: &str) -> Result<Outcome, Error> {
        self.store.begin_erasure(id, by, self.clock.now()).await?;
        let documents = self.store.documents_to_erase(id).await?;
        let (mut confirmed, mut trouble) = (Vec::with_capacity(documents.len()), None);
        for document in &documents {
            match self.erase_jobs(document).await {
                Ok(true) => confirmed.push(document),
                Ok(false) => {}
                Err(error) => {
                    trouble = Some(error);
                    break;
                }
            }
        }
        let versions = self.objects.erase_objects(id).await?;
        if versions > 0 {
            self.store.count_erased_versions(id, versions).await?;
        }
        for document in &confirmed {
            self.store.erase_document(document, self.clock.now()).await?;
        }
        let unconfirmed = documents.len() - confirmed.len();
        if unconfirmed == 0 {
            self.store.end_erasure(id, self.clock.now()).await?;
        }
        let erasure = self.store.erasure(id).await?;
        let erasure = erasure.ok_or_else(|| StoreError::defect("an erasure that has begun is gone"))?;
        Ok(Outcome { erasure, unconfirmed, trouble })
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

#[cfg(test)]
mod tests;
