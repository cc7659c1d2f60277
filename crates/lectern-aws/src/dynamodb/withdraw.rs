//! Withdraws a document whose uploaded file was deleted: writes the document and its submission's counts in one
//! transaction.

use lectern::{
    document::transitions,
    document::{DocumentRef, ObjectVersion, SubmissionId},
    error::Error,
    ports::{Sequencer, Withdrawing},
};
use time::OffsetDateTime;

use super::{DynamoDbStore, items::file_key};

impl Withdrawing for DynamoDbStore {
    async fn newest_version(
        &self,
        submission: &SubmissionId,
        object: &ObjectVersion,
    ) -> Result<Option<(DocumentRef, Sequencer)>, Error> {
        let (_, current) = self.current_version(file_key(submission, object)).await?;
        Ok(current.map(|(stored, sequencer)| (stored.document.reference, sequencer)))
    }

    async fn withdraw(&self, document: &DocumentRef, now: OffsetDateTime) -> Result<bool, Error> {
        let Some(stored) = self.stored(document).await? else { return Ok(false) };
        let Some((withdrawn, change)) = transitions::withdraw(&stored.document) else { return Ok(false) };
        // The items of one submission do not expire in an order. A submission that is gone has no counts to change.
        if self.submission_now(&document.submission_id).await?.is_none() {
            return Ok(false);
        }
        let Some(count) = self.count(&withdrawn, Some(change), now).await? else {
            return Ok(false);
        };
        self.transact(vec![self.put_moved(stored, withdrawn)?, count]).await?;
        Ok(true)
    }
}
