//! The admission state and the documents that wait for a permit: `ADMISSION`/`ADMISSION`,
//! `QUEUE#<queue>#<opening>`/`POSITION#<number>` and `WAITING#<document>`/`WAITING`. Every read is of one item by its key.

use aws_sdk_dynamodb::{
    error::ProvideErrorMetadata as _,
    types::{AttributeValue, Delete, Put, TransactWriteItem},
};
use lectern::{
    admission::{AdmissionState, QueuePosition, WaitingDocument},
    document::DocumentRef,
    error::Error,
    ports::AdmissionStore,
    steps::admit_document::QueueChanges,
};
use serde::{Deserialize, Serialize};

use super::{
    DynamoDbStore, cancelled,
    items::{Item, admission_key, from_item, position_key, to_item, waiting_key},
    write_conflict,
};
use crate::sfn::unavailable;

#[derive(Serialize, Deserialize)]
struct StoredAdmission {
    /// Raised by every write.
    revision: u64,
    #[serde(flatten)]
    state: AdmissionState,
}

impl AdmissionStore for DynamoDbStore {
    async fn admission_state(&self) -> Result<(AdmissionState, u64), Error> {
        let Some(item) = self.admission_item(admission_key()).await? else {
            return Ok((AdmissionState::default(), 0));
        };
        let stored: StoredAdmission = from_item(item)?;
        Ok((stored.state, stored.revision))
    }

    async fn waiting_document(&self, position: &QueuePosition) -> Result<Option<WaitingDocument>, Error> {
        self.admission_item(position_key(position)).await?.map(from_item).transpose()
    }

    async fn queue_position(&self, document: &DocumentRef) -> Result<Option<QueuePosition>, Error> {
        self.admission_item(waiting_key(document)).await?.map(from_item).transpose()
    }

    async fn commit(
        &self,
        state: &AdmissionState,
        revision: u64,
        changes: QueueChanges,
    ) -> Result<(), Error> {
        let mut item = admission_key();
        item.extend(to_item(&StoredAdmission { revision: revision + 1, state: state.clone() })?);
        let condition = "attribute_not_exists(pk) OR revision = :read";
        let read = AttributeValue::N(revision.to_string());
        if changes == QueueChanges::default() {
            let put = self
                .client
                .put_item()
                .table_name(&self.table)
                .set_item(Some(item))
                .condition_expression(condition)
                .expression_attribute_values(":read", read);
            return match put.send().await {
                Ok(_) => Ok(()),
                Err(error) if error.code() == Some("ConditionalCheckFailedException") => {
                    Err(write_conflict())
                }
                Err(error) => Err(unavailable("PutItem", &error)),
            };
        }
        let state = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression(condition)
            .expression_attribute_values(":read", read)
            .build()
            .map_err(|error| Error::StoreUnavailable(error.to_string()))?;
        let mut writes = vec![TransactWriteItem::builder().put(state).build()];
        for (position, waiting) in changes.waiting {
            writes.push(self.put_or_delete(position_key(&position), waiting)?);
        }
        for (document, position) in changes.positions {
            writes.push(self.put_or_delete(waiting_key(&document), position)?);
        }
        match self.transact(writes).await {
            Ok(()) => Ok(()),
            Err(Ok(reasons)) => Err(cancelled(&reasons)),
            Err(Err(error)) => Err(error),
        }
    }
}

impl DynamoDbStore {
    async fn admission_item(&self, key: Item) -> Result<Option<Item>, Error> {
        let request = self.client.get_item().table_name(&self.table).set_key(Some(key)).consistent_read(true);
        request.send().await.map(|answer| answer.item).map_err(|error| unavailable("GetItem", &error))
    }

    fn put_or_delete(&self, key: Item, value: Option<impl Serialize>) -> Result<TransactWriteItem, Error> {
        let invalid = |error: aws_sdk_dynamodb::error::BuildError| Error::StoreUnavailable(error.to_string());
        let write = TransactWriteItem::builder();
        Ok(if let Some(value) = value {
            let mut item = key;
            item.extend(to_item(&value)?);
            let put = Put::builder().table_name(&self.table).set_item(Some(item)).build();
            write.put(put.map_err(invalid)?).build()
        } else {
            let delete = Delete::builder().table_name(&self.table).set_key(Some(key)).build();
            write.delete(delete.map_err(invalid)?).build()
        })
    }
}
