//! The gate and those who wait for a turn: `GATE`/`GATE`, `LANE#<lane>#<opening>`/`TICKET#<number>` and
//! `TURN#<document>`/`TURN`. Every read is of one item by its key.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    error::ProvideErrorMetadata as _,
    types::{AttributeValue, Delete, Put, TransactWriteItem},
};
use lectern::{
    admission::{Gate, Ticket, Waiter},
    document::DocumentRef,
    error::Error,
    ports::Turns,
    steps::admit_document::Changes,
};
use serde::{Deserialize, Serialize};

use super::{
    DynamoDbStore, cancelled,
    items::{Item, from_item, gate_key, place_key, ticket_key, to_item},
    write_conflict,
};
use crate::sfn::unavailable;

#[derive(Serialize, Deserialize)]
struct StoredGate {
    /// Raised by every write.
    revision: u64,
    #[serde(flatten)]
    gate: Gate,
}

impl Turns for DynamoDbStore {
    async fn gate(&self) -> Result<(Gate, u64), Error> {
        let Some(item) = self.turns_item(gate_key()).await? else { return Ok((Gate::default(), 0)) };
        let stored: StoredGate = from_item(item)?;
        Ok((stored.gate, stored.revision))
    }

    async fn place(&self, document: &DocumentRef) -> Result<Option<Ticket>, Error> {
        self.turns_item(place_key(document)).await?.map(from_item).transpose()
    }

    async fn waiter(&self, ticket: &Ticket) -> Result<Option<Waiter>, Error> {
        self.turns_item(ticket_key(ticket)).await?.map(from_item).transpose()
    }

    async fn commit(&self, gate: &Gate, revision: u64, changes: Changes) -> Result<(), Error> {
        let mut item = gate_key();
        item.extend(to_item(&StoredGate { revision: revision + 1, gate: gate.clone() })?);
        let condition = "attribute_not_exists(pk) OR revision = :read";
        let read = AttributeValue::N(revision.to_string());
        if changes == Changes::default() {
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
        let gate = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression(condition)
            .expression_attribute_values(":read", read)
            .build()
            .map_err(|error| Error::StoreUnavailable(error.to_string()))?;
        let mut writes = vec![TransactWriteItem::builder().put(gate).build()];
        for (ticket, waiter) in changes.waiters {
            writes.push(self.put_or_delete(ticket_key(&ticket), waiter)?);
        }
        for (document, place) in changes.places {
            writes.push(self.put_or_delete(place_key(&document), place)?);
        }
        match self.transact(writes).await {
            Ok(()) => Ok(()),
            Err(Ok(reasons)) => Err(cancelled(&reasons)),
            Err(Err(error)) => Err(error),
        }
    }
}

impl DynamoDbStore {
    async fn turns_item(&self, key: Item) -> Result<Option<HashMap<String, AttributeValue>>, Error> {
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
