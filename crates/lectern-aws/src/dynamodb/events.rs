//! Domain events: the subscribers, `SUBSCRIBERS` / `SUBSCRIBER#<id>`; the position of each one, `DELIVERIES#<id>` /
//! `DELIVERIES`; and the events that wait, `EVENTS#<id>` / `<number>`.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::{AttributeValue, DeleteRequest, KeysAndAttributes, PutRequest, WriteRequest};
use futures_util::future::try_join_all;
use lectern::{
    error::{Error, StoreError},
    events::{DeliveryState, QueuedEvent, Subscriber, SubscriberId, SubscriberStatus},
    limits::WAITING_EVENT_LIFETIME,
    ports::{Deliveries, Subscribers},
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{
    DynamoDbStore,
    items::{
        Assignment, EXPIRES_AT, Item, SUBSCRIBERS, deliveries_key, event_key, from_item, subscriber_key,
        to_item,
    },
};
use crate::error::{defect, failed};

/// The attributes that the state has only sometimes.
const OPTIONAL: [&str; 2] = ["failingSince", "wakesAt"];
/// Items that one call reads.
const READS: usize = 100;
/// Items that one call writes.
const WRITES: usize = 25;

#[derive(Serialize, Deserialize)]
struct StoredState {
    /// Every write increases the revision.
    revision: u64,
    #[serde(flatten)]
    state: DeliveryState,
}

#[derive(Serialize, Deserialize)]
struct StoredEvent {
    number: u64,
    #[serde(flatten)]
    queued: QueuedEvent,
}

impl Subscribers for DynamoDbStore {
    async fn subscribers(&self) -> Result<Vec<Subscriber>, Error> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", AttributeValue::S(SUBSCRIBERS.to_owned()))
            .consistent_read(true);
        let answer = query.send().await.map_err(|error| failed("Query", error))?;
        answer.items.unwrap_or_default().into_iter().map(from_item).collect()
    }

    async fn subscriber(&self, id: &SubscriberId) -> Result<Option<Subscriber>, Error> {
        self.event_item(subscriber_key(id)).await?.map(from_item).transpose()
    }

    async fn add_subscriber(&self, subscriber: &Subscriber) -> Result<bool, Error> {
        let mut item = to_item(subscriber)?;
        item.extend(subscriber_key(&subscriber.subscriber_id));
        let put = self.client.put_item().table_name(&self.table).set_item(Some(item));
        if let Err(error) = put.condition_expression("attribute_not_exists(pk)").send().await {
            return refused(failed("PutItem", error));
        }
        // A run that began before an earlier subscriber of this id was removed may have written its position again.
        let key = deliveries_key(&subscriber.subscriber_id);
        let delete = self.client.delete_item().table_name(&self.table).set_key(Some(key));
        delete.send().await.map(|_| true).map_err(|error| failed("DeleteItem", error))
    }

    async fn set_status(&self, id: &SubscriberId, status: &SubscriberStatus) -> Result<(), Error> {
        let removed: &[&str] = match status {
            SubscriberStatus::Disabled { .. } => &[],
            SubscriberStatus::Active | SubscriberStatus::Paused => &["disabledReason", "disabledAt"],
        };
        let condition = match status {
            SubscriberStatus::Active => "attribute_exists(pk)",
            SubscriberStatus::Paused | SubscriberStatus::Disabled { .. } => "#status = :active",
        };
        self.set_existing(id, to_item(status)?, removed, condition).await
    }

    async fn set_secrets(&self, subscriber: &Subscriber) -> Result<(), Error> {
        let mut item = to_item(subscriber)?;
        item.retain(|name, _| name == "secrets");
        self.set_existing(&subscriber.subscriber_id, item, &[], "attribute_exists(pk)").await
    }

    async fn remove_subscriber(&self, id: &SubscriberId) -> Result<(), Error> {
        // The subscriber goes first: without it, no position is written any more.
        for key in [subscriber_key(id), deliveries_key(id)] {
            let delete = self.client.delete_item().table_name(&self.table).set_key(Some(key));
            delete.send().await.map_err(|error| failed("DeleteItem", error))?;
        }
        Ok(())
    }
}

impl Deliveries for DynamoDbStore {
    async fn delivery_state(&self, id: &SubscriberId) -> Result<(DeliveryState, u64), Error> {
        let Some(item) = self.event_item(deliveries_key(id)).await? else {
            return Ok((DeliveryState::default(), 0));
        };
        let stored: StoredState = from_item(item)?;
        Ok((stored.state, stored.revision))
    }

    async fn commit_deliveries(
        &self,
        id: &SubscriberId,
        state: &DeliveryState,
        revision: u64,
    ) -> Result<(), Error> {
        let attributes = to_item(&StoredState { revision: revision + 1, state: state.clone() })?;
        let (Assignment { expression, names, values }, condition) =
            Assignment::of_state(attributes, &OPTIONAL, revision);
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(deliveries_key(id)))
            .update_expression(expression)
            .condition_expression(condition)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values));
        request.send().await.map(drop).map_err(|error| failed("UpdateItem", error))
    }

    async fn waiting_events(
        &self,
        id: &SubscriberId,
        numbers: &[u64],
    ) -> Result<BTreeMap<u64, QueuedEvent>, Error> {
        let pages = numbers.chunks(READS).map(|numbers| self.events_of(id, numbers));
        Ok(try_join_all(pages).await?.into_iter().flatten().collect())
    }

    async fn store_events(
        &self,
        id: &SubscriberId,
        events: &BTreeMap<u64, QueuedEvent>,
        now: OffsetDateTime,
    ) -> Result<(), Error> {
        let expires_at = (now + WAITING_EVENT_LIFETIME).unix_timestamp();
        let mut writes = Vec::with_capacity(events.len());
        for (number, queued) in events {
            let mut item = to_item(&StoredEvent { number: *number, queued: queued.clone() })?;
            item.extend(event_key(id, *number));
            item.insert(EXPIRES_AT.to_owned(), AttributeValue::N(expires_at.to_string()));
            let put = PutRequest::builder().set_item(Some(item)).build();
            let put = put.map_err(|error| defect("a write could not be built", error))?;
            writes.push(WriteRequest::builder().put_request(put).build());
        }
        self.write_all(writes).await
    }

    async fn delete_events(&self, id: &SubscriberId, numbers: &[u64]) -> Result<(), Error> {
        let mut writes = Vec::with_capacity(numbers.len());
        for number in numbers {
            let delete = DeleteRequest::builder().set_key(Some(event_key(id, *number))).build();
            let delete = delete.map_err(|error| defect("a delete could not be built", error))?;
            writes.push(WriteRequest::builder().delete_request(delete).build());
        }
        self.write_all(writes).await
    }
}

impl DynamoDbStore {
    async fn event_item(&self, key: Item) -> Result<Option<Item>, Error> {
        let request = self.client.get_item().table_name(&self.table).set_key(Some(key)).consistent_read(true);
        request.send().await.map(|answer| answer.item).map_err(|error| failed("GetItem", error))
    }

    /// Sets attributes of a subscriber, if the condition holds. A subscriber that was removed meanwhile stays removed.
    async fn set_existing(
        &self,
        id: &SubscriberId,
        attributes: Item,
        removed: &[&str],
        condition: &str,
    ) -> Result<(), Error> {
        let Assignment { expression, mut names, mut values } = Assignment::of(attributes, removed);
        if condition.contains(":active") {
            let active = SubscriberStatus::Active.as_str().to_owned();
            names.insert("#status".to_owned(), "status".to_owned());
            values.insert(":active".to_owned(), AttributeValue::S(active));
        }
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(subscriber_key(id)))
            .update_expression(expression)
            .condition_expression(condition)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values));
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => refused(failed("UpdateItem", error)).map(drop),
        }
    }

    async fn events_of(
        &self,
        id: &SubscriberId,
        numbers: &[u64],
    ) -> Result<BTreeMap<u64, QueuedEvent>, Error> {
        let keys = numbers.iter().map(|number| event_key(id, *number)).collect();
        let keys = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build();
        let keys = keys.map_err(|error| defect("keys could not be built", error))?;
        let request = self.client.batch_get_item().request_items(&self.table, keys);
        let answer = request.send().await.map_err(|error| failed("BatchGetItem", error))?;
        if answer.unprocessed_keys.is_some_and(|keys| !keys.is_empty()) {
            return Err(StoreError::unavailable("BatchGetItem: not all events were read").into());
        }
        let items = answer.responses.and_then(|mut tables| tables.remove(&self.table)).unwrap_or_default();
        let mut events = BTreeMap::new();
        for item in items {
            let StoredEvent { number, queued } = from_item(item)?;
            events.insert(number, queued);
        }
        Ok(events)
    }

    /// Writes items of which each write may be repeated.
    async fn write_all(&self, writes: Vec<WriteRequest>) -> Result<(), Error> {
        let chunks: Vec<Vec<WriteRequest>> = writes.chunks(WRITES).map(<[WriteRequest]>::to_vec).collect();
        let requests = chunks.into_iter().map(async |writes| {
            let request = self.client.batch_write_item().request_items(&self.table, writes);
            let answer = request.send().await.map_err(|error| failed("BatchWriteItem", error))?;
            if answer.unprocessed_items.is_some_and(|items| !items.is_empty()) {
                return Err(StoreError::unavailable("BatchWriteItem: not all items were written").into());
            }
            Ok::<(), Error>(())
        });
        try_join_all(requests).await.map(drop)
    }
}

/// `Ok(false)` for a write whose condition did not hold.
fn refused(error: Error) -> Result<bool, Error> {
    if matches!(error, Error::Store(StoreError::Conflict)) { Ok(false) } else { Err(error) }
}
