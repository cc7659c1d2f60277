//! The admission state and the documents that wait for a permit: `ADMISSION`/`ADMISSION`,
//! `QUEUE#<queue>#<opening>`/`POSITION#<number>` and `WAITING#<document>`/`WAITING`. Every read is of one item by its key.

use aws_sdk_dynamodb::types::{Delete, TransactWriteItem, Update};
use lectern::{
    admission::{AdmissionState, QueuePosition, WaitingDocument},
    document::DocumentRef,
    error::Error,
    ports::AdmissionStore,
    steps::admit_document::QueueChanges,
};
use serde::{Deserialize, Serialize};

use super::{
    DynamoDbStore,
    items::{Assignment, Item, admission_key, from_item, position_key, to_item, waiting_key},
    update,
};
use crate::error::{defect, failed};

/// The attributes that the state has only sometimes.
const OPTIONAL: [&str; 1] = ["stalledSince"];

#[derive(Serialize, Deserialize)]
struct StoredAdmission {
    /// Every write increases the revision.
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
        let attributes = to_item(&StoredAdmission { revision: revision + 1, state: state.clone() })?;
        let (Assignment { expression, names, values }, condition) =
            Assignment::of_state(attributes, &OPTIONAL, revision);
        if changes == QueueChanges::default() {
            let request = self
                .client
                .update_item()
                .table_name(&self.table)
                .set_key(Some(admission_key()))
                .update_expression(expression)
                .condition_expression(condition)
                .set_expression_attribute_names(Some(names))
                .set_expression_attribute_values(Some(values));
            return request.send().await.map(drop).map_err(|error| failed("UpdateItem", error));
        }
        let state = Update::builder()
            .table_name(&self.table)
            .set_key(Some(admission_key()))
            .update_expression(expression)
            .condition_expression(condition)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .build();
        let mut writes = vec![update(state)?];
        for (position, waiting) in changes.waiting {
            writes.push(self.set_or_delete(position_key(&position), waiting)?);
        }
        for (document, position) in changes.positions {
            writes.push(self.set_or_delete(waiting_key(&document), position)?);
        }
        self.transact(writes).await
    }
}

impl DynamoDbStore {
    async fn admission_item(&self, key: Item) -> Result<Option<Item>, Error> {
        let request = self.client.get_item().table_name(&self.table).set_key(Some(key)).consistent_read(true);
        request.send().await.map(|answer| answer.item).map_err(|error| failed("GetItem", error))
    }

    fn set_or_delete(&self, key: Item, value: Option<impl Serialize>) -> Result<TransactWriteItem, Error> {
        let Some(value) = value else {
            let delete = Delete::builder().table_name(&self.table).set_key(Some(key)).build();
            let delete = delete.map_err(|error| defect("a delete could not be built", error))?;
            return Ok(TransactWriteItem::builder().delete(delete).build());
        };
        let Assignment { expression, names, values } = Assignment::of(to_item(&value)?, &[]);
        let set = Update::builder().table_name(&self.table).set_key(Some(key)).update_expression(expression);
        let set =
            set.set_expression_attribute_names(Some(names)).set_expression_attribute_values(Some(values));
        update(set.build())
    }
}
