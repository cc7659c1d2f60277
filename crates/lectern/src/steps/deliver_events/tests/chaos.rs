//! A seeded simulation in virtual time: subscribers that are down, slow, limited, lying, poisoned, gone, paused or well, and
//! runs, queues and a table that fail at random. Nothing is lost, invented or reordered, and no limit is exceeded.
//!
//! The documents change by the real transitions, and the table's stream goes through the real `route-events`. `make explore`
//! runs the simulation with other seeds.

mod services;
mod sinks;
mod world;

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use proptest::prelude::*;
use uuid::Uuid;

use self::{
    sinks::{Character, hours},
    world::World,
};
use crate::{
    events::{
        EventType, Format, Subscriber, SubscriberStatus,
        tests::fixtures::{Deed, Version, subscriber},
    },
    testing::lock,
};

const SUBMISSIONS: usize = 12;
/// Changes are frequent for so long, and then there is one each hour.
const BUSY: Duration = Duration::from_hours(7);
const QUIET: Duration = Duration::from_hours(100);
const END: Duration = Duration::from_hours(9 * 24);

/// All subscribers with the character of their endpoints.
fn subscribers() -> Vec<(Subscriber, Character)> {
    let documents = [
        EventType::DocumentReceived,
        EventType::DocumentReady,
        EventType::DocumentFailed,
        EventType::DocumentRedriven,
    ];
    vec![
        (Subscriber { max_in_flight: 2, ..subscriber("steady") }, Character::Well),
        (subscriber("down"), Character::Down(hours(1)..hours(4))),
        (
            Subscriber { is_ordered: false, max_in_flight: 3, format: Format::Thin, ..subscriber("slow") },
            Character::Slow,
        ),
        (Subscriber { requests_per_second: 2.0, ..subscriber("limited") }, Character::Limited),
        (Subscriber { event_types: documents.into(), ..subscriber("liar") }, Character::Liar),
        (
            Subscriber { max_batch: 4, max_batch_wait_seconds: 10, ..subscriber("poisoned") },
            Character::Poisoned,
        ),
        (
            Subscriber {
                is_ordered: false,
                max_batch: 5,
                max_batch_wait_seconds: 20,
                has_gzip: true,
                requests_per_second: 0.5,
                ..subscriber("batched")
            },
            Character::Unreliable,
        ),
        (Subscriber { max_batch: 3, max_in_flight: 1, ..subscriber("paused") }, Character::Unreliable),
        (subscriber("gone"), Character::Gone(hours(2))),
    ]
}

/// Documents change by random transitions.
async fn change_documents(world: Arc<World>) {
    let dice = &world.dice;
    while world.elapsed() < QUIET {
        // Now and then, many files come at once.
        let deeds = if dice.happens(20) { 15 } else { 1 };
        for _ in 0..deeds {
            let below = |most: u64| usize::try_from(dice.below(most)).unwrap();
            let version = Version {
                submission: below(SUBMISSIONS as u64),
                file: below(3),
                number: u32::try_from(dice.below(3)).unwrap(),
            };
            let deed = match dice.below(10) {
                0..=3 => Deed::Register { acceptable: !dice.happens(5) },
                4..=6 => Deed::Finish { ready: dice.happens(2) },
                7 | 8 => Deed::Reopen { discard_result: dice.happens(2) },
                _ => Deed::Withdraw,
            };
            world.table.change(version, deed);
        }
        let wait = if world.elapsed() < BUSY { Duration::from_mins(4) } else { Duration::from_hours(2) };
        tokio::time::sleep(dice.up_to(wait)).await;
    }
}

/// An operator pauses one subscriber now and then, and resumes every subscriber that was disabled.
async fn operate(world: Arc<World>) {
    let id = "paused".parse().unwrap();
    while world.elapsed() < QUIET {
        tokio::time::sleep(Duration::from_mins(1) + world.dice.up_to(Duration::from_hours(1))).await;
        world.set_status(&id, &SubscriberStatus::Paused).await;
        tokio::time::sleep(Duration::from_mins(1) + world.dice.up_to(Duration::from_hours(1))).await;
        world.resume(&id).await;
    }
}

async fn repair(world: Arc<World>) {
    loop {
        tokio::time::sleep(Duration::from_mins(30)).await;
        for disabled in world.table.subscribers_now() {
            if matches!(disabled.status, SubscriberStatus::Disabled { .. }) {
                world.resume(&disabled.subscriber_id).await;
            }
        }
    }
}

/// The table is down for a while, then the queues, then both.
async fn break_down(world: Arc<World>) {
    for (table, queues) in [(true, false), (false, true), (true, true)] {
        tokio::time::sleep(Duration::from_hours(1) + world.dice.up_to(Duration::from_hours(1))).await;
        world.table.trouble.is_down.store(table, Ordering::Relaxed);
        world.queue.trouble.is_down.store(queues, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_mins(1) + world.dice.up_to(Duration::from_mins(20))).await;
        for trouble in [&world.table.trouble, &world.queue.trouble] {
            trouble.is_down.store(false, Ordering::Relaxed);
        }
    }
    tokio::time::sleep(QUIET.saturating_sub(world.elapsed())).await;
    for trouble in [&world.table.trouble, &world.queue.trouble, &world.topic.trouble] {
        trouble.is_over.store(true, Ordering::Relaxed);
    }
}

fn check(world: &World) {
    let violations = lock(&world.sinks.violations).clone();
    assert_eq!(violations.first(), None, "and {} others", violations.len());
    assert_eq!((world.table.waiting_changes(1), world.queue.waiting()), (vec![], 0));
    let happened = world.table.happened();
    assert!(happened.len() > 150, "{} events", happened.len());
    let mut repeated = 0;
    for (subscriber, character) in subscribers() {
        let id = &subscriber.subscriber_id;
        let sink = world.sinks.of(id);
        let wanted: BTreeSet<Uuid> =
            happened.iter().filter(|event| subscriber.wants(event)).map(|event| event.id).collect();
        let missing: Vec<Uuid> = wanted.difference(&sink.accepted).copied().collect();
        let state = world.table.store.deliveries_now(id);
        let summary = state.summary();
        assert_eq!(summary.waiting, 0, "{id}: {summary:?}");
        assert_eq!(missing, sink.poison.into_iter().collect::<Vec<_>>(), "{id} is missing events");
        assert_eq!(summary.dead_letters, missing.len() as u64, "{id}");
        assert_eq!(sink.poison.is_some(), matches!(character, Character::Poisoned), "{id}");
        repeated += sink.repeated;
    }
    // The simulation is as rough as it is meant to be.
    assert!(repeated > 20, "{repeated} events were received more than once");
    let alarms = world.topic.alarms.sent();
    assert!(alarms.iter().any(|(subject, _)| subject.contains("gone")), "{alarms:?}");
    let longest = lock(&world.sinks.longest_delay).to_owned();
    assert!(longest < Duration::from_hours(1), "a subscriber that is well waited for {longest:?}");
}

async fn simulate(seed: u64) {
    let world = World::new(seed, subscribers(), SUBMISSIONS);
    world.start();
    tokio::spawn(change_documents(world.clone()));
    tokio::spawn(operate(world.clone()));
    tokio::spawn(repair(world.clone()));
    tokio::spawn(break_down(world.clone()));
    tokio::time::sleep(END).await;
    check(&world);
}

proptest! {
    // Two cases, unless PROPTEST_CASES asks for others.
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.div_ceil(128),
        max_shrink_iters: 0,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn case_46_case_47_chaos_loses_invents_and_reorders_nothing(seed in any::<u64>().no_shrink()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(simulate(seed));
    }
}
