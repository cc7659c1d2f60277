//! The ports of domain events in memory.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use time::OffsetDateTime;

use super::{Faults, MemoryStore, lock};
use crate::{
    error::{Error, StoreError},
    events::{DeliveryState, EventRequest, QueuedEvent, Subscriber, SubscriberId, SubscriberStatus},
    ports::{Alarms, Deliveries, Endpoints, EventBus, EventQueue, NoAnswer, Subscribers},
    steps::deliver_events::Message,
};

/// The items of the subscribers.
#[derive(Debug, Default)]
pub(super) struct StoredEvents {
    subscribers: BTreeMap<SubscriberId, Subscriber>,
    states: BTreeMap<SubscriberId, (DeliveryState, u64)>,
    events: BTreeMap<(SubscriberId, u64), QueuedEvent>,
}

impl MemoryStore {
    /// The events of a subscriber that are stored, by number, for assertions.
    pub fn stored_events(&self, id: &SubscriberId) -> BTreeMap<u64, QueuedEvent> {
        let state = lock(&self.state);
        let own = state.events.events.iter().filter(|((subscriber, _), _)| subscriber == id);
        own.map(|((_, number), queued)| (*number, queued.clone())).collect()
    }

    /// The state of the deliveries to a subscriber, for assertions.
    pub fn deliveries_now(&self, id: &SubscriberId) -> DeliveryState {
        lock(&self.state).events.states.get(id).cloned().unwrap_or_default().0
    }
}

impl Subscribers for MemoryStore {
    async fn subscribers(&self) -> Result<Vec<Subscriber>, Error> {
        self.faults.run("subscribers", || lock(&self.state).events.subscribers.values().cloned().collect())
    }

    async fn subscriber(&self, id: &SubscriberId) -> Result<Option<Subscriber>, Error> {
        self.faults.run("subscriber", || lock(&self.state).events.subscribers.get(id).cloned())
    }

    async fn add_subscriber(&self, subscriber: &Subscriber) -> Result<bool, Error> {
        self.faults.run("add_subscriber", || {
            let id = subscriber.subscriber_id.clone();
            let events = &mut lock(&self.state).events;
            if events.subscribers.contains_key(&id) {
                return false;
            }
            events.subscribers.insert(id, subscriber.clone());
            true
        })
    }

    async fn set_status(&self, id: &SubscriberId, status: &SubscriberStatus) -> Result<(), Error> {
        self.faults.run("set_status", || {
            if let Some(subscriber) = lock(&self.state).events.subscribers.get_mut(id)
                && [&subscriber.status, status].contains(&&SubscriberStatus::Active)
            {
                subscriber.status = status.clone();
            }
        })
    }

    async fn set_secrets(&self, subscriber: &Subscriber) -> Result<(), Error> {
        self.faults.run("set_secrets", || {
            if let Some(stored) = lock(&self.state).events.subscribers.get_mut(&subscriber.subscriber_id) {
                stored.secrets.clone_from(&subscriber.secrets);
            }
        })
    }

    async fn remove_subscriber(&self, id: &SubscriberId) -> Result<(), Error> {
        self.faults.run("remove_subscriber", || {
            let events = &mut lock(&self.state).events;
            events.subscribers.remove(id);
            events.states.remove(id);
            events.events.retain(|(subscriber, _), _| subscriber != id);
        })
    }
}

impl Deliveries for MemoryStore {
    async fn delivery_state(&self, id: &SubscriberId) -> Result<(DeliveryState, u64), Error> {
        self.faults
            .run("delivery_state", || lock(&self.state).events.states.get(id).cloned().unwrap_or_default())
    }

    async fn commit_deliveries(
        &self,
        id: &SubscriberId,
        state: &DeliveryState,
        revision: u64,
    ) -> Result<(), Error> {
        self.faults.run("commit_deliveries", || {
            let states = &mut lock(&self.state).events.states;
            let stored = states.entry(id.clone()).or_default();
            if stored.1 != revision {
                return Err(StoreError::Conflict.into());
            }
            *stored = (state.clone(), revision + 1);
            Ok(())
        })?
    }

    async fn waiting_events(
        &self,
        id: &SubscriberId,
        numbers: &[u64],
    ) -> Result<BTreeMap<u64, QueuedEvent>, Error> {
        self.faults.run("waiting_events", || {
            let events = &lock(&self.state).events.events;
            let found = numbers.iter().filter_map(|number| {
                events.get(&(id.clone(), *number)).map(|queued| (*number, queued.clone()))
            });
            found.collect()
        })
    }

    async fn store_events(
        &self,
        id: &SubscriberId,
        events: &BTreeMap<u64, QueuedEvent>,
        _now: OffsetDateTime,
    ) -> Result<(), Error> {
        self.faults.run("store_events", || {
            let stored = &mut lock(&self.state).events.events;
            stored.extend(events.iter().map(|(number, queued)| ((id.clone(), *number), queued.clone())));
        })
    }

    async fn delete_events(&self, id: &SubscriberId, numbers: &[u64]) -> Result<(), Error> {
        self.faults.run("delete_events", || {
            let stored = &mut lock(&self.state).events.events;
            stored.retain(|(subscriber, number), _| subscriber != id || !numbers.contains(number));
        })
    }
}

/// The queue of `deliver-events`, and that of its timers.
#[derive(Debug, Default)]
pub struct MemoryEventQueue {
    messages: Mutex<VecDeque<Message>>,
    timers: Mutex<Vec<(Message, Duration)>>,
    faults: Arc<Faults>,
}

impl MemoryEventQueue {
    /// An empty queue whose calls `faults` may cut off.
    pub fn new(faults: Arc<Faults>) -> Self {
        Self { faults, ..Self::default() }
    }

    /// Takes all messages, in order.
    pub fn take(&self) -> Vec<Message> {
        lock(&self.messages).drain(..).collect()
    }

    /// Takes all timers, each with its delay.
    pub fn take_timers(&self) -> Vec<(Message, Duration)> {
        std::mem::take(&mut lock(&self.timers))
    }
}

impl EventQueue for MemoryEventQueue {
    async fn send_events(&self, messages: &[Message]) -> Result<(), Error> {
        self.faults.run("send_events", || lock(&self.messages).extend(messages.iter().cloned()))
    }

    async fn send_timer(&self, message: &Message, delay: Duration) -> Result<(), Error> {
        self.faults.run("send_timer", || lock(&self.timers).push((message.clone(), delay)))
    }
}

type Responder = dyn FnMut(&str, &EventRequest) -> Result<http::Response<Bytes>, NoAnswer> + Send;

/// Endpoints that a function answers for.
pub struct MemoryEndpoints(Mutex<Box<Responder>>);

impl std::fmt::Debug for MemoryEndpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemoryEndpoints")
    }
}

impl MemoryEndpoints {
    /// Endpoints for which `respond` answers, given the URL and the request.
    pub fn new(
        respond: impl FnMut(&str, &EventRequest) -> Result<http::Response<Bytes>, NoAnswer> + Send + 'static,
    ) -> Self {
        Self(Mutex::new(Box::new(respond)))
    }
}

/// Endpoints that answer every challenge, and 204 otherwise.
impl Default for MemoryEndpoints {
    fn default() -> Self {
        Self::new(|_, request| {
            let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let challenge = body.pointer("/data/challenge").or_else(|| body.pointer("/0/data/challenge"));
            if let Some(challenge) = challenge {
                let answer = serde_json::json!({ "challenge": challenge });
                return Ok(http::Response::new(Bytes::from(answer.to_string())));
            }
            let mut empty = http::Response::new(Bytes::new());
            *empty.status_mut() = http::StatusCode::NO_CONTENT;
            Ok(empty)
        })
    }
}

impl Endpoints for MemoryEndpoints {
    async fn post(
        &self,
        url: &str,
        request: EventRequest,
        _timeout: Duration,
    ) -> Result<http::Response<Bytes>, NoAnswer> {
        lock(&self.0)(url, &request)
    }

    fn check(&self, url: &str) -> Result<(), NoAnswer> {
        if url.starts_with("https://") { Ok(()) } else { Err(NoAnswer("its scheme is not https".to_owned())) }
    }
}

/// The topic of all alarms.
#[derive(Debug, Default)]
pub struct MemoryAlarms {
    sent: Mutex<Vec<(String, String)>>,
    faults: Arc<Faults>,
}

impl MemoryAlarms {
    /// A topic whose calls `faults` may cut off.
    pub fn new(faults: Arc<Faults>) -> Self {
        Self { faults, ..Self::default() }
    }

    /// The alarms so far: subject and text.
    pub fn sent(&self) -> Vec<(String, String)> {
        lock(&self.sent).clone()
    }
}

impl Alarms for MemoryAlarms {
    async fn alarm(&self, subject: &str, text: &str) -> Result<(), Error> {
        self.faults.run("alarm", || lock(&self.sent).push((subject.to_owned(), text.to_owned())))
    }
}

/// An event bus.
#[derive(Debug, Default)]
pub struct MemoryBus {
    published: Mutex<Vec<QueuedEvent>>,
    faults: Arc<Faults>,
}

impl MemoryBus {
    /// A bus whose calls `faults` may cut off.
    pub fn new(faults: Arc<Faults>) -> Self {
        Self { faults, ..Self::default() }
    }

    /// The published events.
    pub fn published(&self) -> Vec<QueuedEvent> {
        lock(&self.published).clone()
    }
}

impl EventBus for MemoryBus {
    async fn publish(&self, events: &[QueuedEvent]) -> Result<(), Error> {
        self.faults.run("publish", || lock(&self.published).extend(events.iter().cloned()))
    }
}
