//! The state store on one `DynamoDB` table. docs/data-model.md lists each access pattern with the key that serves it.
//!
//! The pure functions of [`lectern::document::transitions`] decide what a move changes; this module writes it. A document's
//! item has a `revision` that every write raises: a move reads the item, decides, and writes on the condition that the
//! revision has not changed. If it has, the error is `Store.Unavailable`, and the caller that owns the retry (the state
//! machine, SQS, the third party) tries again on the newer item.

mod admission;
mod browse;
mod items;
mod register;
mod reopen;
mod results;
mod submission_write;
#[cfg(test)]
mod tests;

use aws_sdk_dynamodb::{
    Client,
    error::ProvideErrorMetadata as _,
    operation::transact_write_items::TransactWriteItemsError,
    types::{AttributeValue, CancellationReason, Put, TransactWriteItem},
};
use lectern::{
    document::transitions,
    document::{Attempt, Document, DocumentRef, Round},
    error::Error,
    ports::{Begin, FinalOutcome, Finish, Finishing, Load, Transfers},
};
use time::OffsetDateTime;

use self::items::{StoredDocument, document_key, record_item};
use crate::{s3::ReturnedBucket, sfn::unavailable};

/// The store. Clone it freely: it holds a client and two names.
#[derive(Clone, Debug)]
pub struct DynamoDbStore {
    client: Client,
    table: String,
    large_records: ReturnedBucket,
}

impl DynamoDbStore {
    /// The store in this table; records that an item cannot hold go to the bucket.
    pub fn new(client: Client, table: String, large_records: ReturnedBucket) -> Self {
        Self { client, table, large_records }
    }

    /// Reads a document's item, consistently.
    async fn stored(&self, document: &DocumentRef) -> Result<Option<StoredDocument>, Error> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(document_key(document)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| unavailable("GetItem", &error))?;
        answer.item.map(items::from_item).transpose()
    }

    /// Moves one document in one write.
    async fn move_document(
        &self,
        document: &DocumentRef,
        decide: impl FnOnce(&Document) -> Option<Document>,
    ) -> Result<Option<Document>, Error> {
        let Some(stored) = self.stored(document).await? else {
            tracing::debug!("There is no such document to move.");
            return Ok(None);
        };
        let Some(moved) = decide(&stored.document) else { return Ok(None) };
        let read_revision = stored.revision;
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(items::to_item(&stored.moved(moved.clone()))?))
            .condition_expression("revision = :read")
            .expression_attribute_values(":read", AttributeValue::N(read_revision.to_string()));
        match put.send().await {
            Ok(_) => {
                tracing::debug!(state = %moved.state, readRevision = read_revision, "The move was written.");
                Ok(Some(moved))
            }
            Err(error) if error.code() == Some("ConditionalCheckFailedException") => Err(write_conflict()),
            Err(error) => Err(unavailable("PutItem", &error)),
        }
    }

    fn put_moved(&self, stored: StoredDocument, moved: Document) -> Result<TransactWriteItem, Error> {
        let read_revision = stored.revision;
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(items::to_item(&stored.moved(moved))?))
            .condition_expression("revision = :read")
            .expression_attribute_values(":read", AttributeValue::N(read_revision.to_string()))
            .build();
        Ok(TransactWriteItem::builder()
            .put(put.map_err(|error| Error::StoreUnavailable(error.to_string()))?)
            .build())
    }

    /// Writes all or nothing. `Err(Ok(reasons))` is a cancelled transaction, with a reason for each write.
    async fn transact(
        &self,
        writes: Vec<TransactWriteItem>,
    ) -> Result<(), Result<Vec<CancellationReason>, Error>> {
        let request = self.client.transact_write_items().set_transact_items(Some(writes));
        let Err(error) = request.send().await else { return Ok(()) };
        if let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
            error.as_service_error()
        {
            return Err(Ok(cancelled.cancellation_reasons().to_vec()));
        }
        Err(Err(unavailable("TransactWriteItems", &error)))
    }
}

impl Load for DynamoDbStore {
    async fn load(&self, document: &DocumentRef) -> Result<Option<Document>, Error> {
        Ok(self.stored(document).await?.map(|stored| stored.document))
    }
}

impl Transfers for DynamoDbStore {
    async fn begin_transfer(
        &self,
        document: &DocumentRef,
        attempt: Attempt,
        round: Round,
        now: OffsetDateTime,
    ) -> Result<Begin, Error> {
        let begin = |stored: &Document| transitions::begin_transfer(stored, attempt, round, now);
        let moved = self.move_document(document, begin).await?;
        Ok(moved.map_or(Begin::Stale, |moved| Begin::Begun(Box::new(moved))))
    }

    async fn record_job(&self, document: &DocumentRef, attempt: Attempt, job_id: &str) -> Result<(), Error> {
        self.move_document(document, |stored| transitions::record_job(stored, attempt, job_id))
            .await
            .map(drop)
    }
}

impl Finishing for DynamoDbStore {
    async fn begin_normalize(&self, document: &DocumentRef, now: OffsetDateTime) -> Result<Begin, Error> {
        let moved = self.move_document(document, |stored| transitions::begin_normalize(stored, now)).await?;
        Ok(moved.map_or(Begin::Stale, |moved| Begin::Begun(Box::new(moved))))
    }

    async fn finish(
        &self,
        document: &DocumentRef,
        outcome: FinalOutcome,
        now: OffsetDateTime,
    ) -> Result<Finish, Error> {
        let Some(stored) = self.stored(document).await? else { return Ok(Finish::Unknown) };
        let (record, given_up) = match outcome {
            FinalOutcome::Ready(record) => (Some(record), None),
            FinalOutcome::Failed(given_up) => (None, Some(given_up)),
        };
        let Some((moved, change)) = transitions::finish(&stored.document, given_up, now) else {
            return Ok(Finish::AlreadyTerminal);
        };
        let mut writes = vec![self.put_moved(stored, moved)?];
        if let Some(record) = record {
            let item = record_item(&self.large_records, document, &record).await?;
            let put = Put::builder().table_name(&self.table).set_item(Some(item)).build();
            let put = put.map_err(|error| Error::StoreUnavailable(error.to_string()))?;
            writes.push(TransactWriteItem::builder().put(put).build());
        }
        let counted = change.is_some();
        if let Some(change) = change {
            writes.push(self.count(&document.submission_id, change, now).await?);
        }
        match self.transact(writes).await {
            Ok(()) => {
                tracing::debug!(counted, "The end was written.");
                Ok(Finish::Finished)
            }
            Err(Ok(reasons)) => Err(cancelled(&reasons)),
            Err(Err(error)) => Err(error),
        }
    }
}

/// Why a transaction was cancelled: a write conflict, which a retry resolves, or something else.
fn cancelled(reasons: &[CancellationReason]) -> Error {
    let codes: Vec<&str> =
        reasons.iter().filter_map(CancellationReason::code).filter(|code| *code != "None").collect();
    tracing::debug!(codes = codes.join(", "), "The transaction was cancelled; nothing was written.");
    if codes.iter().all(|code| matches!(*code, "ConditionalCheckFailed" | "TransactionConflict")) {
        return write_conflict();
    }
    Error::StoreUnavailable(format!("TransactWriteItems: it was cancelled ({})", codes.join(", ")))
}

/// Two writers met; nothing was written.
fn write_conflict() -> Error {
    tracing::debug!("Another writer came first; nothing was written.");
    Error::StoreUnavailable("another writer came first".to_owned())
}
