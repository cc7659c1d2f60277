//! Reopens a document for a redrive: writes the document and its submission's counts in one transaction.

use lectern::{
    document::DocumentRef,
    document::transitions,
    error::Error,
    ports::{Reopened, Reopening},
};
use time::OffsetDateTime;

use super::{DynamoDbStore, items::StoredDocument};

impl Reopening for DynamoDbStore {
    async fn reopen(
        &self,
        document: &DocumentRef,
        after: u32,
        discard_result: bool,
        now: OffsetDateTime,
    ) -> Result<Reopened, Error> {
        let Some(stored) = self.stored(document).await? else { return Ok(Reopened::Unknown) };
        let Some((moved, change)) = transitions::reopen(&stored.document, after, discard_result, now) else {
            return Ok(Reopened::Unchanged(Box::new(stored.document)));
        };
        let Some(count) = self.count(&moved, change, now).await? else {
            return Ok(Reopened::Unknown);
        };
        let mut writes = self.put_expiry(&stored.document, &moved)?;
        let stored = StoredDocument { task_token: None, ..stored };
        writes.extend([self.put_moved(stored, moved.clone())?, count]);
        self.transact(writes).await?;
        Ok(Reopened::Open(Box::new(moved)))
    }
}
