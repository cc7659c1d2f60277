//! What the simulation's runs call: the clock, the table with its stream, the queues and the topic. Each call may fail before
//! or after its effect.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use time::OffsetDateTime;
use tokio::{sync::Notify, time::Instant};

use crate::{
    document::CallbackId,
    error::{Error, StoreError},
    events::{
        self, DeliveryState, Event, QueuedEvent, Subscriber, SubscriberId, SubscriberStatus,
        tests::fixtures::{Deed, Stream, Version, at_once, perform},
    },
    ports::{Alarms, Clock, Deliveries, EventQueue, Random, Subscribers},
    steps::{deliver_events::Message, route_events::Change},
    testing::{MemoryAlarms, MemoryStore, lock, world::START},
};

/// Random numbers: `SplitMix64`.
#[derive(Debug)]
pub(super) struct Dice(AtomicU64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    fn roll(&self) -> u64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut bits = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    pub(super) fn below(&self, most: u64) -> u64 {
        self.roll() % most
    }

    /// Once in so many times.
    pub(super) fn happens(&self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }

    pub(super) fn up_to(&self, longest: Duration) -> Duration {
        Duration::from_millis(self.below(u64::try_from(longest.as_millis()).unwrap()))
    }
}

impl Random for Dice {
    fn callback_id(&self) -> CallbackId {
        CallbackId::new("unused")
    }

    fn bits(&self) -> u128 {
        u128::from(self.roll()) << 64 | u128::from(self.roll())
    }
}

/// The time of the simulation.
#[derive(Clone, Copy, Debug)]
pub(super) struct VirtualClock(Instant);

impl VirtualClock {
    /// A clock that starts now.
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub(super) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> OffsetDateTime {
        START + self.0.elapsed()
    }
}

/// Failures of a service.
#[derive(Debug)]
pub(super) struct Trouble {
    dice: Arc<Dice>,
    /// Every call fails.
    pub(super) is_down: AtomicBool,
    /// No call fails any more.
    pub(super) is_over: AtomicBool,
}

impl Trouble {
    fn new(dice: &Arc<Dice>) -> Self {
        Self { dice: dice.clone(), is_down: AtomicBool::default(), is_over: AtomicBool::default() }
    }

    fn strikes(&self) -> Result<(), Error> {
        let by_chance = self.dice.happens(60) && !self.is_over.load(Ordering::Relaxed);
        if by_chance || self.is_down.load(Ordering::Relaxed) {
            return Err(StoreError::unavailable("the simulation").into());
        }
        Ok(())
    }

    async fn call<T>(&self, call: impl Future<Output = Result<T, Error>> + Send) -> Result<T, Error> {
        self.strikes()?;
        let answer = call.await?;
        self.strikes()?;
        Ok(answer)
    }
}

/// The table with its stream.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) store: MemoryStore,
    pub(super) trouble: Trouble,
    clock: VirtualClock,
    submissions: usize,
    stream: Mutex<Stream>,
    changes: Mutex<VecDeque<Change>>,
    /// All events so far, with the times of their changes.
    pub(super) happened: Arc<Mutex<Vec<(Event, OffsetDateTime)>>>,
    pub(super) news: Notify,
}

impl Table {
    pub(super) fn new(
        dice: &Arc<Dice>,
        clock: VirtualClock,
        subscribers: &[Subscriber],
        submissions: usize,
    ) -> Self {
        let table = Self {
            store: MemoryStore::default(),
            trouble: Trouble::new(dice),
            clock,
            submissions,
            stream: Mutex::default(),
            changes: Mutex::default(),
            happened: Arc::default(),
            news: Notify::new(),
        };
        for subscriber in subscribers {
            assert!(at_once(table.store.add_subscriber(subscriber)));
        }
        table.look();
        table
    }

    /// Changes a document.
    pub(super) fn change(&self, version: Version, deed: Deed) {
        perform(&self.store, version, deed, self.clock.now());
        self.look();
    }

    /// Puts what has changed into the stream.
    fn look(&self) {
        let now = self.clock.now();
        for (old, new) in lock(&self.stream).changes(&self.store, self.submissions) {
            let events = events::of_change(old.as_ref(), &new).into_iter();
            lock(&self.happened).extend(events.map(|event| (event, now)));
            lock(&self.changes).push_back(Change { old, new, changed_at: now.into() });
        }
        self.news.notify_waiters();
    }

    pub(super) fn subscribers_now(&self) -> Vec<Subscriber> {
        at_once(self.store.subscribers())
    }

    /// The first changes that are not routed.
    pub(super) fn waiting_changes(&self, most: usize) -> Vec<Change> {
        lock(&self.changes).iter().take(most).cloned().collect()
    }

    /// Ends so many changes.
    pub(super) fn routed(&self, changes: usize) {
        lock(&self.changes).drain(..changes);
    }

    pub(super) fn happened(&self) -> Vec<Event> {
        lock(&self.happened).iter().map(|(event, _)| event.clone()).collect()
    }
}

impl Subscribers for Table {
    async fn subscribers(&self) -> Result<Vec<Subscriber>, Error> {
        self.trouble.call(self.store.subscribers()).await
    }

    async fn subscriber(&self, id: &SubscriberId) -> Result<Option<Subscriber>, Error> {
        self.trouble.call(self.store.subscriber(id)).await
    }

    async fn add_subscriber(&self, subscriber: &Subscriber) -> Result<bool, Error> {
        self.trouble.call(self.store.add_subscriber(subscriber)).await
    }

    async fn set_status(&self, id: &SubscriberId, status: &SubscriberStatus) -> Result<(), Error> {
        let changed = async {
            self.store.set_status(id, status).await?;
            self.look();
            Ok(())
        };
        self.trouble.call(changed).await
    }

    async fn set_secrets(&self, subscriber: &Subscriber) -> Result<(), Error> {
        self.trouble.call(self.store.set_secrets(subscriber)).await
    }

    async fn remove_subscriber(&self, id: &SubscriberId) -> Result<(), Error> {
        self.trouble.call(self.store.remove_subscriber(id)).await
    }
}

impl Deliveries for Table {
    async fn delivery_state(&self, id: &SubscriberId) -> Result<(DeliveryState, u64), Error> {
        self.trouble.call(self.store.delivery_state(id)).await
    }

    async fn commit_deliveries(
        &self,
        id: &SubscriberId,
        state: &DeliveryState,
        revision: u64,
    ) -> Result<(), Error> {
        self.trouble.call(self.store.commit_deliveries(id, state, revision)).await
    }

    async fn waiting_events(
        &self,
        id: &SubscriberId,
        numbers: &[u64],
    ) -> Result<BTreeMap<u64, QueuedEvent>, Error> {
        self.trouble.call(self.store.waiting_events(id, numbers)).await
    }

    async fn store_events(
        &self,
        id: &SubscriberId,
        events: &BTreeMap<u64, QueuedEvent>,
        now: OffsetDateTime,
    ) -> Result<(), Error> {
        // The writes of a batch may succeed in part.
        if self.trouble.dice.happens(50) {
            let some = events.iter().take(events.len() / 2).map(|(number, queued)| (*number, queued.clone()));
            self.store.store_events(id, &some.collect(), now).await?;
            return self.trouble.strikes().and(Err(StoreError::unavailable("half of the writes").into()));
        }
        self.trouble.call(self.store.store_events(id, events, now)).await
    }

    async fn delete_events(&self, id: &SubscriberId, numbers: &[u64]) -> Result<(), Error> {
        self.trouble.call(self.store.delete_events(id, numbers)).await
    }
}

/// The queue of `deliver-events`, first in first out for each subscriber, and the timers.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) trouble: Trouble,
    groups: Mutex<BTreeMap<SubscriberId, VecDeque<Message>>>,
    /// When SQS had a text last. It takes no text twice within five minutes.
    taken: Mutex<BTreeMap<String, Instant>>,
    timers: Mutex<Vec<(Message, Duration)>>,
    pub(super) news: Notify,
}

impl Queue {
    pub(super) fn new(dice: &Arc<Dice>) -> Self {
        Self {
            trouble: Trouble::new(dice),
            groups: Mutex::default(),
            taken: Mutex::default(),
            timers: Mutex::default(),
            news: Notify::new(),
        }
    }

    pub(super) fn first(&self, id: &SubscriberId) -> Option<Message> {
        lock(&self.groups).get(id)?.front().cloned()
    }

    pub(super) fn delete_first(&self, id: &SubscriberId) {
        lock(&self.groups).get_mut(id).and_then(VecDeque::pop_front);
    }

    /// Takes the timers that were sent since the last call.
    pub(super) fn take_timers(&self) -> Vec<(Message, Duration)> {
        std::mem::take(&mut lock(&self.timers))
    }

    pub(super) fn waiting(&self) -> usize {
        lock(&self.groups).values().map(VecDeque::len).sum()
    }

    fn push(&self, message: &Message) {
        let now = Instant::now();
        let before = lock(&self.taken).insert(serde_json::to_string(message).unwrap(), now);
        if before.is_none_or(|before| now - before > Duration::from_mins(5)) {
            lock(&self.groups).entry(message.subscriber_id.clone()).or_default().push_back(message.clone());
        }
        self.news.notify_waiters();
    }
}

impl EventQueue for Queue {
    async fn send_events(&self, messages: &[Message]) -> Result<(), Error> {
        for message in messages {
            let push = async {
                self.push(message);
                Ok(())
            };
            self.trouble.call(push).await?;
        }
        Ok(())
    }

    async fn send_timer(&self, message: &Message, delay: Duration) -> Result<(), Error> {
        let sent = async {
            assert!(delay <= Duration::from_mins(15));
            // Now and then SQS delivers a message twice.
            let times = if self.trouble.dice.happens(30) { 2 } else { 1 };
            lock(&self.timers).extend(std::iter::repeat_n((message.clone(), delay), times));
            self.news.notify_waiters();
            Ok(())
        };
        self.trouble.call(sent).await
    }
}

/// The topic of all alarms.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) trouble: Trouble,
    pub(super) alarms: MemoryAlarms,
}

impl Topic {
    pub(super) fn new(dice: &Arc<Dice>) -> Self {
        Self { trouble: Trouble::new(dice), alarms: MemoryAlarms::default() }
    }
}

impl Alarms for Topic {
    async fn alarm(&self, subject: &str, text: &str) -> Result<(), Error> {
        self.trouble.call(self.alarms.alarm(subject, text)).await
    }
}
