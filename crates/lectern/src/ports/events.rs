//! The ports of domain events: subscribers, their positions, the queue between the functions, and their endpoints.

use std::{collections::BTreeMap, future::Future, time::Duration};

use bytes::Bytes;
use time::OffsetDateTime;

use crate::{
    error::Error,
    events::{DeliveryState, EventRequest, QueuedEvent, Subscriber, SubscriberId, SubscriberStatus},
    steps::deliver_events::Message,
};

/// The subscribers, as operators have configured them.
pub trait Subscribers: Send + Sync {
    /// All subscribers, by id. There are few.
    fn subscribers(&self) -> impl Future<Output = Result<Vec<Subscriber>, Error>> + Send;

    /// A subscriber; `None` if it does not exist or was removed.
    fn subscriber(&self, id: &SubscriberId)
    -> impl Future<Output = Result<Option<Subscriber>, Error>> + Send;

    /// Adds a subscriber with a new position. Returns `false` if the id is taken.
    fn add_subscriber(&self, subscriber: &Subscriber) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Changes whether events are delivered. Only an active subscriber is paused or disabled, so that neither hides the other.
    /// A subscriber that was removed meanwhile stays removed.
    fn set_status(
        &self,
        id: &SubscriberId,
        status: &SubscriberStatus,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Replaces the secrets. A subscriber that was removed meanwhile stays removed.
    fn set_secrets(&self, subscriber: &Subscriber) -> impl Future<Output = Result<(), Error>> + Send;

    /// Removes a subscriber and its position. Its events expire.
    fn remove_subscriber(&self, id: &SubscriberId) -> impl Future<Output = Result<(), Error>> + Send;
}

/// The position of each subscriber, and the events that wait.
pub trait Deliveries: Send + Sync {
    /// The state with its revision, which [`Self::commit_deliveries`] requires.
    fn delivery_state(
        &self,
        id: &SubscriberId,
    ) -> impl Future<Output = Result<(DeliveryState, u64), Error>> + Send;

    /// Writes the state, unless another writer came first.
    fn commit_deliveries(
        &self,
        id: &SubscriberId,
        state: &DeliveryState,
        revision: u64,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// The events of these numbers that are stored.
    fn waiting_events(
        &self,
        id: &SubscriberId,
        numbers: &[u64],
    ) -> impl Future<Output = Result<BTreeMap<u64, QueuedEvent>, Error>> + Send;

    /// Stores events under their numbers. They count from the next write of the state on.
    fn store_events(
        &self,
        id: &SubscriberId,
        events: &BTreeMap<u64, QueuedEvent>,
        now: OffsetDateTime,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Deletes events that are delivered. One that is not deleted expires.
    fn delete_events(
        &self,
        id: &SubscriberId,
        numbers: &[u64],
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

/// The queue of `deliver-events`, with one message group for each subscriber, and the queue of its timers.
pub trait EventQueue: Send + Sync {
    /// Sends messages to the queue, each in the group of its subscriber.
    fn send_events(&self, messages: &[Message]) -> impl Future<Output = Result<(), Error>> + Send;

    /// Sends a message that arrives after this delay, or a little later.
    fn send_timer(
        &self,
        message: &Message,
        delay: Duration,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

/// The endpoints of subscribers.
pub trait Endpoints: Send + Sync {
    /// Makes one request. The answer has the beginning of the body.
    fn post(
        &self,
        url: &str,
        request: EventRequest,
        timeout: Duration,
    ) -> impl Future<Output = Result<http::Response<Bytes>, NoAnswer>> + Send;

    /// Whether events may be sent to a URL: its scheme, its host and its form.
    ///
    /// # Errors
    /// The violated rule.
    fn check(&self, url: &str) -> Result<(), NoAnswer>;
}

/// Why there is no answer: a text for the operator, which contains nothing of the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoAnswer(pub String);

/// Tells operators that something needs them.
pub trait Alarms: Send + Sync {
    /// Sends a message to the topic of all alarms.
    fn alarm(&self, subject: &str, text: &str) -> impl Future<Output = Result<(), Error>> + Send;
}

/// An outlet for consumers inside AWS, beside the subscribers.
pub trait EventBus: Send + Sync {
    /// Publishes events, if there is a bus.
    fn publish(&self, events: &[QueuedEvent]) -> impl Future<Output = Result<(), Error>> + Send;
}
