//! `route-events`: turns changes of the table into events, and sends each subscriber those that it has asked for, in one
//! message for each subscriber and batch.
//!
//! The table's stream is the outbox: an event exists if and only if its change does, and nothing writes an event beside
//! the change. If this step fails, Lambda delivers the batch again, so an event may be sent twice, with the same id.

use crate::{
    admission::Timestamp,
    error::Error,
    events::{self, EventItem, QueuedEvent, SubscriberId},
    message::SCHEMA_VERSION,
    ports::{EventBus, EventQueue, Subscribers},
    steps::deliver_events::{Message, Order},
};

/// Size of the events in one message. SQS accepts messages of 1 MiB.
const MAX_MESSAGE_BYTES: usize = 200_000;

/// A change of an item.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The item before; `None` if it is new.
    pub old: Option<EventItem>,
    /// The item after.
    pub new: EventItem,
    /// When the stream had the change.
    pub changed_at: Timestamp,
}

/// The ports of the step.
#[derive(Debug)]
pub struct Ports<'p, S, Q, B> {
    /// The subscribers.
    pub store: &'p S,
    /// The queue of `deliver-events`.
    pub queue: &'p Q,
    /// The event bus, if there is one.
    pub bus: &'p B,
}

impl<S: Subscribers, Q: EventQueue, B: EventBus> Ports<'_, S, Q, B> {
    /// Routes the events of some changes, which are in the order of the stream. Returns how many events there were.
    ///
    /// # Errors
    /// `Store.Unavailable`: Lambda delivers the changes again.
    pub async fn handle(&self, changes: &[Change]) -> Result<usize, Error> {
        let mut queued = Vec::new();
        for Change { old, new, changed_at } in changes {
            let events = events::of_change(old.as_ref(), new).into_iter();
            queued.extend(events.map(|event| QueuedEvent { event, changed_at: *changed_at }));
        }
        if queued.is_empty() {
            return Ok(0);
        }
        let mut messages = Vec::new();
        for subscriber in self.store.subscribers().await? {
            let wanted = queued.iter().filter(|queued| subscriber.wants(&queued.event)).cloned();
            messages.extend(in_messages(&subscriber.subscriber_id, wanted));
        }
        if !messages.is_empty() {
            self.queue.send_events(&messages).await?;
        }
        self.bus.publish(&queued).await?;
        Ok(queued.len())
    }
}

/// Messages with these events for one subscriber, in order.
pub fn in_messages(subscriber: &SubscriberId, events: impl IntoIterator<Item = QueuedEvent>) -> Vec<Message> {
    let (mut batches, mut bytes) = (Vec::<Vec<QueuedEvent>>::new(), MAX_MESSAGE_BYTES);
    for event in events {
        let size = serde_json::to_string(&event).map_or(MAX_MESSAGE_BYTES, |json| json.len());
        if bytes + size > MAX_MESSAGE_BYTES {
            batches.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(batch) = batches.last_mut() {
            batch.push(event);
        }
    }
    let message = |events| Message {
        schema_version: SCHEMA_VERSION,
        subscriber_id: subscriber.clone(),
        order: Order::Deliver { events },
    };
    batches.into_iter().map(message).collect()
}

#[cfg(test)]
mod tests;
