//! The state store in one `DynamoDB` table. docs/data-model.md lists each access pattern with its key.
//!
//! The pure functions of [`lectern::document::transitions`] decide what a transition changes; this module writes the
//! change. A document's item has a `revision` that every write increases: the store reads the item, decides, and writes
//! on the condition that the revision has not changed. The SDK repeats a write that only met another transaction.
//! Otherwise the error is `Store.Unavailable`, and the caller that
//! owns the retry (the state machine, SQS, the third party) tries again with the newer item.
//!
//! While a new version is rolled out or rolled back, old and new code write the same items. So no write removes an
//! attribute that its code does not know (D08): it writes an item anew only with such attributes, or updates single
//! attributes, or creates the item.

mod admission;
mod audit;
mod browse;
mod erasure;
mod events;
mod hand_in;
mod items;
mod operations;
mod register;
mod reopen;
mod results;
mod retries;
mod submission_write;
#[cfg(test)]
mod tests;
mod withdraw;

use aws_sdk_dynamodb::{
    Client,
    error::BuildError,
    operation::transact_write_items::TransactWriteItemsError,
    types::{AttributeValue, CancellationReason, Put, TransactWriteItem, Update},
};
use lectern::{
    document::retention::Retention,
    document::transitions,
    document::{Attempt, Document, DocumentRef, Round},
    error::{Error, StoreError},
    ports::{Begin, FinalOutcome, Finish, Finishing, Load, Transfers},
};
use time::OffsetDateTime;

pub use self::audit::AuditTrail;
pub(crate) use self::erasure::ERASURE_STATE;
use self::items::{StoredDocument, document_key};
pub(crate) use self::retries::repeat_conflicts;
use crate::error::{defect, failed};

/// The store. Clones are cheap: they contain a client and two names.
#[derive(Clone, Debug)]
pub struct DynamoDbStore {
    client: Client,
    table: String,
    retention: Retention,
}

impl DynamoDbStore {
    /// The store in this table, which keeps the items of documents for good.
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table, retention: Retention::default() }
    }

    /// The same store, which lets the items of documents expire. Only a store that registers or ends documents needs it.
    #[must_use]
    pub fn with_retention(self, retention: Retention) -> Self {
        Self { retention, ..self }
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
            .map_err(|error| failed("GetItem", error))?;
        answer.item.map(StoredDocument::from_read).transpose()
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
            .set_item(Some(stored.moved(moved.clone()).to_write()?))
            .condition_expression("revision = :read")
            .expression_attribute_values(":read", AttributeValue::N(read_revision.to_string()));
        put.send().await.map_err(|error| failed("PutItem", error))?;
        tracing::debug!(state = %moved.state, readRevision = read_revision, "The move was written.");
        Ok(Some(moved))
    }

    fn put_moved(&self, stored: StoredDocument, moved: Document) -> Result<TransactWriteItem, Error> {
        let read_revision = stored.revision;
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(stored.moved(moved).to_write()?))
            .condition_expression("revision = :read")
            .expression_attribute_values(":read", AttributeValue::N(read_revision.to_string()))
            .build();
        write(put)
    }

    /// Writes all items or none.
    async fn transact(&self, writes: Vec<TransactWriteItem>) -> Result<(), Error> {
        let request = self.client.transact_write_items().set_transact_items(Some(writes));
        let Err(error) = request.send().await else { return Ok(()) };
        Err(match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(error)) => {
                cancelled(error.cancellation_reasons())
            }
            _ => failed("TransactWriteItems", error),
        })
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
        let Some((mut moved, change)) = transitions::finish(&stored.document, outcome, now) else {
            return Ok(Finish::AlreadyTerminal);
        };
        moved.expires_at = self.retention.expires_at(now);
        let mut writes = self.put_expiry(&stored.document, &moved)?;
        let counted = change.is_some();
        let count = match change {
            Some(change) => self.count(&moved, Some(change), now).await?,
            None => None,
        };
        writes.push(self.put_moved(stored, moved)?);
        writes.extend(count);
        self.transact(writes).await?;
        tracing::debug!(counted, "The end was written.");
        Ok(Finish::Finished)
    }
}

/// Why a transaction was cancelled: another writer came first, the table was busy, or the request was wrong.
fn cancelled(reasons: &[CancellationReason]) -> Error {
    let codes: Vec<&str> =
        reasons.iter().filter_map(CancellationReason::code).filter(|code| *code != "None").collect();
    let all = codes.join(", ");
    tracing::debug!(codes = all, "The transaction was cancelled; nothing was written.");
    let what = format!("TransactWriteItems: it was cancelled ({all})");
    let is_busy = |code: &str| code == "ThrottlingError" || code == "ProvisionedThroughputExceeded";
    if codes.iter().all(|code| matches!(*code, "ConditionalCheckFailed" | "TransactionConflict")) {
        StoreError::Conflict.into()
    } else if codes.iter().any(|code| is_busy(code)) {
        StoreError::unavailable(what).into()
    } else {
        StoreError::defect(what).into()
    }
}

fn update(update: Result<Update, BuildError>) -> Result<TransactWriteItem, Error> {
    let update = update.map_err(|error| defect("an update of a transaction could not be built", error))?;
    Ok(TransactWriteItem::builder().update(update).build())
}

fn write(put: Result<Put, BuildError>) -> Result<TransactWriteItem, Error> {
    let put = put.map_err(|error| defect("a write of a transaction could not be built", error))?;
    Ok(TransactWriteItem::builder().put(put).build())
}
