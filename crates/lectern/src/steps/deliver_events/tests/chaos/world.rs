//! The runs of the simulation: the functions, as Lambda and SQS invoke them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{
    services::{Dice, Queue, Table, Topic, VirtualClock},
    sinks::{Character, Sinks},
};
use crate::{
    events::{Source, Subscriber, SubscriberId, SubscriberStatus},
    ports::{Clock as _, Deliveries as _, EventQueue as _, Random as _, Subscribers as _},
    steps::{
        deliver_events::{self, Batch, Message},
        route_events,
    },
    testing::MemoryBus,
};

/// Everything together.
#[derive(Debug)]
pub(super) struct World {
    pub(super) dice: Arc<Dice>,
    clock: VirtualClock,
    pub(super) table: Table,
    pub(super) queue: Queue,
    pub(super) sinks: Sinks,
    pub(super) topic: Topic,
    source: Source,
    /// How many runs were killed.
    pub(super) killed: AtomicUsize,
}

impl World {
    pub(super) fn new(seed: u64, subscribers: Vec<(Subscriber, Character)>, submissions: usize) -> Arc<Self> {
        let (dice, clock) = (Arc::new(Dice::new(seed)), VirtualClock::start());
        let all: Vec<Subscriber> = subscribers.iter().map(|(subscriber, _)| subscriber.clone()).collect();
        let table = Table::new(&dice, clock, &all, submissions);
        Arc::new(Self {
            queue: Queue::new(&dice),
            sinks: Sinks::new(subscribers, clock, dice.clone(), table.happened.clone()),
            topic: Topic::new(&dice),
            source: Source {
                name: "urn:lectern:test".to_owned(),
                api_url: "https://lectern.example".to_owned(),
            },
            killed: AtomicUsize::default(),
            table,
            dice,
            clock,
        })
    }

    /// The time since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Starts the functions.
    pub(super) fn start(self: &Arc<Self>) {
        tokio::spawn(self.clone().route());
        tokio::spawn(self.clone().end_timers());
        for subscriber in self.table.subscribers_now() {
            tokio::spawn(self.clone().deliver(subscriber.subscriber_id));
        }
    }

    /// `route-events`: batches of changes. Lambda delivers a batch that fails again, perhaps a smaller one.
    async fn route(self: Arc<Self>) {
        let bus = MemoryBus::default();
        let ports = route_events::Ports { store: &self.table, queue: &self.queue, bus: &bus };
        loop {
            let size = 1 + usize::try_from(self.dice.below(20)).unwrap();
            let batch = self.table.waiting_changes(size);
            if batch.is_empty() {
                self.table.news.notified().await;
            } else if ports.handle(&batch).await.is_ok() {
                self.table.routed(batch.len());
            } else {
                tokio::time::sleep(self.dice.up_to(Duration::from_secs(20))).await;
            }
        }
    }

    /// `deliver-events` for one subscriber: one message after the other.
    async fn deliver(self: Arc<Self>, id: SubscriberId) {
        let mut again = false;
        loop {
            let Some(message) = self.queue.first(&id) else {
                self.queue.news.notified().await;
                continue;
            };
            if self.invoke(message, again).await {
                self.queue.delete_first(&id);
                again = false;
            } else {
                again = true;
                tokio::time::sleep(self.dice.up_to(Duration::from_mins(6))).await;
            }
        }
    }

    /// Timers end a little late, in any order.
    async fn end_timers(self: Arc<Self>) {
        loop {
            for (message, delay) in self.queue.take_timers() {
                let world = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(delay + world.dice.up_to(Duration::from_millis(1_500))).await;
                    let mut again = false;
                    while !world.invoke(message.clone(), again).await {
                        again = true;
                        tokio::time::sleep(world.dice.up_to(Duration::from_mins(6))).await;
                    }
                });
            }
            self.queue.news.notified().await;
        }
    }

    /// One invocation. Returns whether it succeeds. Some are killed at any moment.
    async fn invoke(&self, message: Message, again: bool) -> bool {
        let Self { table: store, queue, sinks: endpoints, topic: alarms, clock, dice, source, .. } = self;
        let ports = deliver_events::Ports { store, queue, endpoints, alarms, clock, random: &**dice, source };
        let began = Instant::now();
        let is_over = store.trouble.is_over.load(Ordering::Relaxed);
        let longest =
            if !is_over && dice.happens(8) { dice.up_to(Duration::from_secs(9)) } else { Duration::MAX };
        let run = ports.handle(Batch { inputs: vec![message], again });
        let ended = tokio::time::timeout(longest, run).await;
        if ended.is_err() {
            self.killed.fetch_add(1, Ordering::Relaxed);
        }
        if began.elapsed() > Duration::from_secs(45) {
            endpoints.violation(format!("a run took {:?}", began.elapsed()));
        }
        matches!(ended, Ok(Ok(())))
    }

    /// What an operator does, again until it succeeds.
    pub(super) async fn set_status(&self, id: &SubscriberId, status: &SubscriberStatus) {
        while self.table.set_status(id, status).await.is_err() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    pub(super) async fn resume(&self, id: &SubscriberId) {
        let try_once = async || {
            let (mut state, revision) = self.table.delivery_state(id).await?;
            state.advance_to(self.clock.now());
            state.resume(self.clock.now());
            self.table.commit_deliveries(id, &state, revision).await?;
            self.table.set_status(id, &SubscriberStatus::Active).await?;
            let message = Message::run(id.clone(), format!("resumed {:032x}", self.dice.bits()));
            self.queue.send_events(&[message]).await
        };
        while try_once().await.is_err() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}
