//! Changes of the table become one message for each subscriber and batch.

use std::sync::Arc;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    events::{
        Event, EventType, Subscriber, SubscriberStatus,
        tests::fixtures::{Deed, Stream, Version, at_once, perform, queued, subscriber},
    },
    testing::{Cut, Faults, MemoryBus, MemoryEventQueue, MemoryStore, world::START},
};

#[derive(Debug)]
struct World {
    faults: Arc<Faults>,
    store: MemoryStore,
    queue: MemoryEventQueue,
    bus: MemoryBus,
    stream: Stream,
}

impl World {
    fn with(subscribers: &[Subscriber]) -> Self {
        let faults = Arc::new(Faults::default());
        let mut world = Self {
            store: MemoryStore::new(faults.clone()),
            queue: MemoryEventQueue::new(faults.clone()),
            bus: MemoryBus::new(faults.clone()),
            stream: Stream::default(),
            faults,
        };
        for subscriber in subscribers {
            assert!(at_once(world.store.add_subscriber(subscriber)));
        }
        world.stream.changes(&world.store, 1);
        world
    }

    /// The changes that this deed makes.
    fn change(&mut self, file: usize, deed: Deed) -> Vec<Change> {
        perform(&self.store, Version { submission: 0, file, number: 1 }, deed, START);
        let changes = self.stream.changes(&self.store, 1).into_iter();
        changes.map(|(old, new)| Change { old, new, changed_at: START.into() }).collect()
    }

    async fn route(&self, changes: &[Change]) -> Result<usize, Error> {
        Ports { store: &self.store, queue: &self.queue, bus: &self.bus }.handle(changes).await
    }

    /// How often a port's method was called.
    fn count(&self, call: &str) -> usize {
        self.faults.calls().iter().filter(|made| **made == call).count()
    }
}

fn events_of(message: &Message) -> Vec<Event> {
    let Order::Deliver { events } = &message.order else { panic!("{message:?}") };
    events.iter().map(|queued| queued.event.clone()).collect()
}

fn types_of(message: &Message) -> Vec<EventType> {
    events_of(message).iter().map(|event| event.event_type).collect()
}

const RECEIVED: Deed = Deed::Register { acceptable: true };

#[tokio::test]
async fn each_subscriber_gets_the_events_it_wants_in_one_message_in_the_order_of_the_stream() {
    let everything = subscriber("archive");
    let ready = Subscriber { event_types: [EventType::DocumentReady].into(), ..subscriber("portal") };
    let erased = Subscriber { event_types: [EventType::SubmissionErased].into(), ..subscriber("school") };
    let mut world = World::with(&[everything, ready, erased]);
    let mut changes = world.change(0, RECEIVED);
    changes.extend(world.change(1, RECEIVED));
    changes.extend(world.change(0, Deed::BeginTransfer(1)));
    changes.extend(world.change(0, Deed::Finish { ready: true }));
    assert_eq!(world.route(&changes).await.unwrap(), 4);
    let messages = world.queue.take();
    let subscribers: Vec<_> = messages.iter().map(|message| message.subscriber_id.as_str()).collect();
    assert_eq!(subscribers, ["archive", "portal"], "no message for a subscriber that wants nothing");
    let order = [EventType::DocumentReceived, EventType::SubmissionCreated, EventType::DocumentReceived];
    assert_eq!(types_of(&messages[0])[..3], order);
    assert_eq!(types_of(&messages[0])[3..], [EventType::DocumentReady]);
    assert_eq!(types_of(&messages[1]), [EventType::DocumentReady]);
}

#[tokio::test]
async fn without_a_subscriber_there_is_no_message() {
    let mut world = World::with(&[]);
    let changes = world.change(0, RECEIVED);
    assert_eq!(world.route(&changes).await.unwrap(), 2);
    assert_eq!((world.queue.take(), world.count("send_events"), world.count("send_timer")), (vec![], 0, 0));
    assert_eq!(world.bus.published().len(), 2, "the bus is no subscriber");
}

#[tokio::test]
async fn changes_that_are_no_events_make_no_call() {
    let mut world = World::with(&[subscriber("portal")]);
    world.change(0, RECEIVED);
    let changes = world.change(0, Deed::BeginTransfer(1));
    assert_eq!(changes.len(), 1);
    let before = world.faults.calls();
    assert_eq!(world.route(&changes).await.unwrap(), 0);
    assert_eq!(world.faults.calls(), before);
}

#[tokio::test]
async fn paused_and_disabled_subscribers_get_their_messages_so_that_their_events_are_kept() {
    let disabled = SubscriberStatus::Disabled {
        reason: crate::events::DisabledReason::Gone,
        at: "2026-11-20T16:00:00.000Z".to_owned(),
    };
    for status in [SubscriberStatus::Paused, disabled] {
        let mut world = World::with(&[Subscriber { status, ..subscriber("portal") }]);
        let changes = world.change(0, RECEIVED);
        world.route(&changes).await.unwrap();
        assert_eq!(world.queue.take().len(), 1);
    }
}

#[tokio::test]
async fn event_keeps_the_time_at_which_the_stream_had_its_change() {
    let mut world = World::with(&[subscriber("portal")]);
    let mut changes = world.change(0, RECEIVED);
    for (change, second) in changes.iter_mut().zip(1..) {
        change.changed_at = (START + time::Duration::seconds(second)).into();
    }
    world.route(&changes).await.unwrap();
    let Order::Deliver { events } = world.queue.take().remove(0).order else { panic!("it delivers events") };
    let times: Vec<Timestamp> = events.iter().map(|queued| queued.changed_at).collect();
    assert_eq!(times, [1, 2].map(|second| (START + time::Duration::seconds(second)).into()));
}

#[tokio::test]
async fn another_subscriber_is_told_that_one_is_disabled() {
    let mut world = World::with(&[subscriber("archive"), subscriber("portal")]);
    let status = SubscriberStatus::Disabled {
        reason: crate::events::DisabledReason::Unreachable,
        at: "2026-11-20T16:00:00.000Z".to_owned(),
    };
    at_once(world.store.set_status(&"portal".parse().unwrap(), &status));
    let changes = world.change(0, Deed::Withdraw);
    world.route(&changes).await.unwrap();
    let messages = world.queue.take();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].subscriber_id.as_str(), "archive");
    assert_eq!(types_of(&messages[0]), [EventType::SubscriberDisabled]);
}

#[tokio::test]
async fn case_47_whichever_call_is_cut_off_the_batch_is_routed_again_with_the_same_ids() {
    let routed = async |cut: Option<(&'static str, Cut)>| {
        let mut world = World::with(&[subscriber("archive"), subscriber("portal")]);
        let mut changes = world.change(0, RECEIVED);
        changes.extend(world.change(0, Deed::Finish { ready: false }));
        if let Some((call, cut)) = cut {
            world.faults.cut_next(call, cut);
            world.route(&changes).await.unwrap_err();
        }
        world.route(&changes).await.unwrap();
        let mut ids: Vec<(String, Vec<Uuid>)> = Vec::new();
        for message in world.queue.take() {
            let all = events_of(&message).iter().map(|event| event.id).collect();
            ids.push((message.subscriber_id.to_string(), all));
        }
        let on_bus: Vec<Uuid> = world.bus.published().iter().map(|queued| queued.event.id).collect();
        (ids, on_bus)
    };
    let (expected, on_bus) = routed(None).await;
    assert_eq!((expected.len(), expected[0].1.len(), on_bus.len()), (2, 4, 4));
    for call in ["subscribers", "send_events", "publish"] {
        for cut in [Cut::Before, Cut::After, Cut::Conflict] {
            let (mut found, again_on_bus) = routed(Some((call, cut))).await;
            assert!(found.ends_with(&expected), "{call} {cut:?}");
            found.dedup();
            assert!(found.chunks(2).all(|messages| messages == expected), "{call} {cut:?}: {found:?}");
            assert!(again_on_bus.ends_with(&on_bus), "{call} {cut:?}");
        }
    }
}

#[test]
fn message_is_read_as_it_was_written_and_says_its_schema_version() {
    let orders = [
        Order::Deliver { events: vec![queued("s1", 1)] },
        Order::Continue { after: "revision 3".to_owned() },
        Order::Wake { due_at: START.into() },
    ];
    let words = ["deliver", "continue", "wake"];
    for (order, word) in orders.into_iter().zip(words) {
        let message =
            Message { schema_version: SCHEMA_VERSION, subscriber_id: "portal".parse().unwrap(), order };
        let json = serde_json::to_value(&message).unwrap();
        assert_eq!((&json["order"], &json["schemaVersion"]), (&word.into(), &SCHEMA_VERSION.into()));
        assert_eq!(serde_json::from_value::<Message>(json).unwrap(), message);
    }
}

#[test]
fn nothing_is_no_message() {
    assert_eq!(in_messages(&"portal".parse().unwrap(), []), []);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_number_of_events_is_in_messages_that_sqs_accepts_in_order(
        numbers in prop_oneof![0..10u64, 500..1_500u64],
        submission in "[a-z]{64}",
    ) {
        let events: Vec<QueuedEvent> = (0..numbers).map(|number| queued(&submission, number)).collect();
        let messages = in_messages(&"portal".parse().unwrap(), events.clone());
        let mut found = Vec::new();
        for message in &messages {
            // A message is sent alone, or beside nine others of other subscribers in 1 MiB.
            prop_assert!(serde_json::to_string(message).unwrap().len() < 256 * 1024);
            found.extend(events_of(message));
        }
        prop_assert!(found.iter().eq(events.iter().map(|queued| &queued.event)));
        prop_assert!(messages.iter().all(|message| !events_of(message).is_empty()));
        let size: usize = events.iter().map(|event| serde_json::to_string(event).unwrap().len()).sum();
        prop_assert!(messages.len() <= size.div_ceil(100_000), "no more messages than needed");
    }
}

/// No event comes near the size of a message, but one that did would be alone in one.
#[test]
fn huge_event_is_alone_in_its_message() {
    let mut huge = queued("s1", 1);
    huge.event.time = Some("x".repeat(MAX_MESSAGE_BYTES));
    let messages = in_messages(&"portal".parse().unwrap(), [queued("s1", 0), huge, queued("s1", 2)]);
    assert_eq!(messages.iter().map(|message| events_of(message).len()).collect::<Vec<_>>(), [1, 1, 1]);
}
