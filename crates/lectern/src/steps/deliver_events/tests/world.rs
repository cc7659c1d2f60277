//! The ports of the step in memory, its queues, and endpoints that answer as a test wants.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use futures_util::FutureExt as _;
use http::header::RETRY_AFTER;
use time::OffsetDateTime;
use uuid::Uuid;

use super::super::*;
use crate::{
    document::CallbackId,
    events::tests::fixtures::{at_once, event},
    ports::NoAnswer,
    testing::{
        Faults, MemoryAlarms, MemoryClock, MemoryEndpoints, MemoryEventQueue, MemoryStore, lock, world::START,
    },
};

/// The events of the submissions `a` to `e` with the numbers below 40 by their ids; `a1` is one of submission `a`.
static NAMES: LazyLock<BTreeMap<Uuid, String>> = LazyLock::new(|| {
    let all = ["a", "b", "c", "d", "e"]
        .into_iter()
        .flat_map(|submission| (0..40).map(move |number| (submission, number)));
    all.map(|(submission, number)| (event(submission, number).id, format!("{submission}{number}"))).collect()
});

/// The events of these names, such as `a1 a2 b1`. Their changes were in the stream at the start.
pub(super) fn events(names: &str) -> Vec<QueuedEvent> {
    let all = names.split_whitespace().map(|name| {
        let event = event(&name[..1], name[1..].parse().unwrap());
        QueuedEvent { event, changed_at: START.into() }
    });
    all.collect()
}

/// A request that an endpoint has received.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) subscriber: String,
    pub(super) at: OffsetDateTime,
    /// The names of its events.
    pub(super) events: Vec<String>,
    pub(super) is_accepted: bool,
}

/// How an endpoint answers.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    Status(u16),
    /// With `Retry-After`.
    RetryAfter(u16, String),
    /// 204 after a while.
    Slow(Duration),
    Nothing,
}

pub(super) const OK: Reply = Reply::Status(204);

/// Always the same bits, which make the wait after a failure as long as the backoff.
#[derive(Debug)]
pub(super) struct LongestWait;

impl Random for LongestWait {
    fn callback_id(&self) -> CallbackId {
        CallbackId::new("unused")
    }

    fn bits(&self) -> u128 {
        u128::MAX
    }
}

/// The ports of the step, and its queues.
#[derive(Debug)]
pub(super) struct World {
    pub(super) faults: Arc<Faults>,
    pub(super) store: MemoryStore,
    pub(super) queue: MemoryEventQueue,
    pub(super) endpoints: MemoryEndpoints,
    pub(super) alarms: MemoryAlarms,
    pub(super) clock: Arc<MemoryClock>,
    pub(super) source: Source,
    pub(super) received: Arc<Mutex<Vec<Received>>>,
    /// Messages that wait in the queue.
    pub(super) messages: VecDeque<Message>,
    /// Timers by their ends.
    pub(super) timers: Vec<(OffsetDateTime, Message)>,
    /// How long it takes until a message is delivered again.
    pub(super) visibility: Duration,
    /// How many runs there were.
    pub(super) runs: usize,
}

impl World {
    /// A world with these subscribers, whose endpoints answer so: by the subscriber and the names of the events.
    pub(super) fn new(
        subscribers: &[Subscriber],
        mut reply: impl FnMut(&str, &[String]) -> Reply + Send + 'static,
    ) -> Self {
        let faults = Arc::new(Faults::default());
        let (clock, received) = (Arc::new(MemoryClock::at(START)), Arc::new(Mutex::new(Vec::new())));
        let (time, log) = (clock.clone(), received.clone());
        let endpoints = MemoryEndpoints::new(move |url, request| {
            let subscriber =
                url.trim_start_matches("https://").split('.').next().unwrap_or_default().to_owned();
            let events = names_of(&request.body);
            let (reply, at) = (reply(&subscriber, &events), time.now());
            let is_accepted = matches!(reply, Reply::Status(200..=299) | Reply::Slow(_));
            lock(&log).push(Received { subscriber, at, events, is_accepted });
            let builder = http::Response::builder();
            let response = match reply {
                Reply::Status(status) => builder.status(status),
                Reply::RetryAfter(status, after) => builder.status(status).header(RETRY_AFTER, after),
                Reply::Slow(by) => {
                    time.advance(by);
                    builder.status(204)
                }
                Reply::Nothing => return Err(NoAnswer("it did not answer in time".to_owned())),
            };
            Ok(response.body(bytes::Bytes::new()).unwrap())
        });
        let world = Self {
            store: MemoryStore::new(faults.clone()),
            queue: MemoryEventQueue::new(faults.clone()),
            alarms: MemoryAlarms::new(faults.clone()),
            source: Source {
                name: "urn:lectern:test".to_owned(),
                api_url: "https://lectern.example".to_owned(),
            },
            messages: VecDeque::new(),
            timers: Vec::new(),
            visibility: Duration::from_mins(6),
            runs: 0,
            faults,
            endpoints,
            clock,
            received,
        };
        for subscriber in subscribers {
            assert!(at_once(world.store.add_subscriber(subscriber)));
        }
        world
    }

    /// A world with one subscriber that accepts everything.
    pub(super) fn accepting(subscriber: Subscriber) -> Self {
        Self::new(&[subscriber], |_, _| OK)
    }

    /// Sends the events of these names to a subscriber.
    pub(super) fn send(&mut self, subscriber: &str, names: &str) {
        self.messages.push_back(message(subscriber, Order::Deliver { events: events(names) }));
    }

    pub(super) async fn handle(&self, message: Message, again: bool) -> Result<(), Error> {
        let Self { store, queue, endpoints, alarms, clock, source, .. } = self;
        let ports = Ports { store, queue, endpoints, alarms, clock: &**clock, random: &LongestWait, source };
        ports.handle(Batch { inputs: vec![message], again }).await
    }

    /// Handles a message until a run succeeds.
    pub(super) async fn succeed(&mut self, message: Message) {
        for delivery in 0..20 {
            self.runs += 1;
            let result = self.handle(message.clone(), delivery > 0).await;
            let now = self.clock.now();
            self.messages.extend(self.queue.take());
            let timers = self.queue.take_timers().into_iter();
            self.timers.extend(timers.map(|(message, delay)| (now + delay, message)));
            if result.is_ok() {
                return;
            }
            self.clock.advance(self.visibility);
        }
        panic!("{message:?} fails for ever");
    }

    /// Handles all messages that wait, and those that follow from them. Timers do not end meanwhile.
    pub(super) async fn work(&mut self) {
        for _ in 0..1_000 {
            let Some(message) = self.messages.pop_front() else { return };
            self.succeed(message).await;
        }
        panic!("there is always another message: {:?}", self.messages);
    }

    /// Handles messages and timers until nothing is left, or for so long.
    pub(super) async fn work_for(&mut self, time: Duration) {
        let end = self.clock.now() + time;
        loop {
            self.work().await;
            self.timers.sort_by_key(|(at, _)| *at);
            if self.timers.first().is_none_or(|(at, _)| *at > end) {
                self.wait_until(end);
                return;
            }
            let (at, message) = self.timers.remove(0);
            self.wait_until(at);
            self.succeed(message).await;
        }
    }

    /// Moves the clock to this time, unless it has passed.
    pub(super) fn wait_until(&self, time: OffsetDateTime) {
        let rest = time - self.clock.now();
        self.clock.advance(rest.max(time::Duration::ZERO).unsigned_abs());
    }

    /// What an operator does to resume the deliveries.
    pub(super) fn resume(&mut self, subscriber: &str) -> u64 {
        let id: SubscriberId = subscriber.parse().unwrap();
        let waiting = loop {
            let resumed = async {
                let (mut state, revision) = self.store.delivery_state(&id).await?;
                let waiting = state.resume(self.clock.now());
                self.store.commit_deliveries(&id, &state, revision).await?;
                self.store.set_status(&id, &SubscriberStatus::Active).await?;
                Ok::<_, Error>(waiting)
            };
            if let Ok(waiting) = resumed.now_or_never().unwrap() {
                break waiting;
            }
        };
        self.messages.push_back(Message::run(id, format!("resumed at {}", self.clock.now())));
        waiting
    }

    pub(super) fn status(&self, subscriber: &str) -> SubscriberStatus {
        let id = subscriber.parse().unwrap();
        let read = || self.store.subscriber(&id).now_or_never().unwrap();
        read().or_else(|_| read()).unwrap().unwrap().status
    }

    pub(super) fn state(&self, subscriber: &str) -> DeliveryState {
        self.store.deliveries_now(&subscriber.parse().unwrap())
    }

    /// The names of the events that a subscriber has accepted, in order, with repetitions.
    pub(super) fn accepted(&self, subscriber: &str) -> Vec<String> {
        let received = lock(&self.received);
        let accepted = received.iter().filter(|it| it.is_accepted && it.subscriber == subscriber);
        accepted.flat_map(|received| received.events.clone()).collect()
    }

    /// The seconds from the start at which a subscriber has received requests.
    pub(super) fn seconds(&self, subscriber: &str) -> Vec<i64> {
        let received = lock(&self.received);
        let own = received.iter().filter(|it| it.subscriber == subscriber);
        own.map(|received| (received.at - START).whole_seconds()).collect()
    }

    /// How many calls to the store, the queues and the topic there were.
    pub(super) fn count(&self, call: &str) -> usize {
        self.faults.calls().iter().filter(|made| **made == call).count()
    }
}

pub(super) fn message(subscriber: &str, order: Order) -> Message {
    Message { schema_version: SCHEMA_VERSION, subscriber_id: subscriber.parse().unwrap(), order }
}

/// The names of the events in a body.
pub(super) fn names_of(body: &[u8]) -> Vec<String> {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
    let all = body.as_array().cloned().unwrap_or_else(|| vec![body]);
    all.iter().map(|event| NAMES[&event["id"].as_str().unwrap().parse().unwrap()].clone()).collect()
}

pub(super) fn words(names: &str) -> Vec<String> {
    names.split_whitespace().map(str::to_owned).collect()
}

/// The first occurrence of each.
pub(super) fn firsts(names: &[String]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    names.iter().filter(|name| seen.insert(*name)).cloned().collect()
}
