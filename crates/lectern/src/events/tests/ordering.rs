//! In which order the events of one submission and of several are sent.

use std::time::Duration;

use super::{
    super::*,
    deliveries::{Deliveries, delivered},
    fixtures::subscriber,
};
use crate::testing::world::START;

fn unordered() -> Subscriber {
    Subscriber { is_ordered: false, ..subscriber("portal") }
}

/// Refuses requests with this event.
fn refuses(number: u64) -> impl Fn(&[u64]) -> Answer {
    move |numbers| if numbers.contains(&number) { Answer::Refused(500) } else { Answer::Delivered }
}

#[test]
fn events_of_one_submission_are_sent_one_after_the_other_and_of_several_at_the_same_time() {
    let mut deliveries = Deliveries::new(subscriber("portal"));
    deliveries.add(["a", "a", "b", "a", "b"]);
    assert_eq!(deliveries.round(delivered), [[0], [2]]);
    assert_eq!(deliveries.round(delivered), [[1], [4]]);
    assert_eq!(deliveries.round(delivered), [[3]]);
    assert_eq!((deliveries.state.waiting(), deliveries.next_due()), (0, None));
}

#[test]
fn subscriber_without_order_gets_the_events_of_one_submission_at_the_same_time() {
    let mut deliveries = Deliveries::new(unordered());
    deliveries.add(["a", "a", "b", "a", "b"]);
    assert_eq!(deliveries.round(delivered), [[0], [1], [2], [3], [4]]);
}

#[test]
fn failing_event_holds_back_only_its_submission() {
    let mut deliveries = Deliveries::new(subscriber("portal"));
    deliveries.add(["a", "b", "a", "b", "a", "c"]);
    assert_eq!(deliveries.run(refuses(0)), [[0], [1], [3], [5]]);
    let summary = deliveries.state.summary();
    assert_eq!((summary.waiting, summary.blocked), (3, 2));
    let retrying: Vec<_> =
        summary.retrying.iter().map(|held| (held.number, held.attempts, held.status)).collect();
    assert_eq!(retrying, [(0, 1, Some(500))]);

    deliveries.later_s(5);
    assert_eq!(deliveries.run(delivered), [[0], [2], [4]]);
    assert_eq!(deliveries.state.waiting(), 0);
}

#[test]
fn failing_event_of_a_subscriber_without_order_holds_back_none() {
    let mut deliveries = Deliveries::new(unordered());
    deliveries.add(["a", "a", "a"]);
    assert_eq!(deliveries.run(refuses(0)), [[0], [1], [2]]);
    assert_eq!(deliveries.state.waiting(), 1);
}

/// Seen in this test: the events that waited for the failing one filled each run, so no other event was sent.
#[test]
fn many_events_behind_a_failing_one_delay_no_other_submission() {
    let mut deliveries = Deliveries::new(subscriber("portal"));
    deliveries.add(["a"; 100]);
    deliveries.run(refuses(0));
    deliveries.add(["b", "c"]);
    for _ in 0..30 {
        deliveries.run(refuses(0));
    }
    assert_eq!(deliveries.outcome.delivered, [100, 101]);
    assert_eq!(deliveries.state.summary().blocked, 99);
    assert!(deliveries.next_due_s().unwrap() > 0.0, "no run is started for events that may not be sent");
    deliveries.later_s(60);
    let end = deliveries.now + Duration::from_hours(1);
    deliveries.run_until(end, |_, _| Answer::Delivered);
    assert_eq!(deliveries.outcome.delivered[2..], (0..100).collect::<Vec<_>>());
}

/// Seen in this test: events that were due and that the run had not read were taken for expired ones, and were lost.
#[test]
fn more_due_events_than_one_run_reads_are_all_sent() {
    let mut deliveries = Deliveries::new(Subscriber { max_in_flight: 30, ..subscriber("portal") });
    deliveries.add((0..20).map(|number| format!("s{number}")));
    let mut failures = 0;
    deliveries.run(|_| {
        failures += 1;
        Answer::Refused(500)
    });
    assert_eq!(failures, 20);
    deliveries.subscriber.max_in_flight = 2;
    let end = deliveries.now + Duration::from_hours(1);
    deliveries.run_until(end, |_, _| Answer::Delivered);
    deliveries.outcome.delivered.sort_unstable();
    assert_eq!(deliveries.outcome.delivered, (0..20).collect::<Vec<_>>());
}

#[test]
fn event_that_has_expired_is_skipped_and_the_next_of_its_submission_is_sent() {
    let mut deliveries = Deliveries::new(subscriber("portal"));
    deliveries.add(["a", "a", "b", "a", "c"]);
    deliveries.run(refuses(0));
    for expired in [0, 3] {
        deliveries.events.remove(&expired);
    }
    deliveries.add(["d", "d"]);
    deliveries.events.remove(&5);
    deliveries.later_s(5);
    let end = deliveries.now + Duration::from_mins(1);
    deliveries.run_until(end, |_, _| Answer::Delivered);
    assert_eq!(deliveries.outcome.delivered, [2, 4, 6, 1]);
    assert_eq!((deliveries.state.waiting(), deliveries.next_due()), (0, None));
    assert_eq!(deliveries.state.summary().failing_since, None);
}

/// Seen in the simulation: each copy of a poisonous event blocked its submission for another three days.
#[test]
fn copy_of_an_event_that_waits_is_not_sent() {
    for is_ordered in [true, false] {
        let mut deliveries = Deliveries::new(Subscriber { is_ordered, ..subscriber("portal") });
        deliveries.add(["a", "a", "b"]);
        deliveries.run(refuses(0));
        // A message is delivered again, and so is half of it.
        for number in [0, 1, 2, 0, 1] {
            deliveries.events.insert(deliveries.state.tail(), deliveries.events[&number].clone());
            deliveries.state.append(1);
        }
        deliveries.add(["a"]);
        deliveries.run(refuses(0));
        let sent = deliveries.outcome.delivered.clone();
        assert!(!sent.contains(&3) && !sent.contains(&6), "the copies of the one that fails");
        assert!(!is_ordered || sent == [2, 5], "{sent:?}");
        deliveries.later_s(5);
        deliveries.run(delivered);
        let first = deliveries.outcome.delivered.iter().filter(|number| **number == 0).count();
        assert_eq!((first, deliveries.state.waiting()), (1, 0));
        let last = if is_ordered { &[0, 1, 8][..] } else { &[0][..] };
        assert!(deliveries.outcome.delivered.ends_with(last), "{:?}", deliveries.outcome.delivered);
    }
}

#[test]
fn paused_subscriber_keeps_its_position_and_resuming_says_how_many_events_wait() {
    let mut deliveries = Deliveries::new(subscriber("portal"));
    deliveries.add(["a", "a", "b"]);
    deliveries.run(refuses(0));
    // While the subscriber is paused, events are numbered and nothing is taken.
    deliveries.add(["b", "c"]);
    deliveries.later(Duration::from_hours(24 * 7));
    assert_eq!(deliveries.state.waiting(), 4);
    assert_eq!(deliveries.state.oldest(), Some(0));
    assert_eq!(deliveries.state.resume(deliveries.now), 4);
    let summary = deliveries.state.summary();
    assert_eq!((summary.failing_since, summary.breaker_open), (None, false));
    // A failure right after is the first one: nothing is given up and the subscriber is not disabled.
    deliveries.run(refuses(0));
    assert_eq!((deliveries.outcome.dead.len(), deliveries.outcome.disabled), (0, None));
    deliveries.later_s(10);
    deliveries.run(delivered);
    assert_eq!(deliveries.outcome.delivered, [2, 3, 4, 0, 1]);
}

#[test]
fn resumed_subscriber_is_sent_everything_at_once_whatever_the_backoff_and_the_breaker() {
    let mut deliveries = Deliveries::new(Subscriber { max_in_flight: 1, ..subscriber("portal") });
    deliveries.add((0..12).map(|number| format!("s{number}")));
    deliveries.run(|_| Answer::RateLimited(429, Some(START + Duration::from_hours(20))));
    deliveries.later_s(10);
    assert_eq!(deliveries.take(), []);
    assert_eq!(deliveries.state.resume(deliveries.now), 12);
    assert_eq!(deliveries.run(delivered).len(), 12);
}

#[test]
fn skipping_drops_what_waits_and_says_how_many_events_that_were() {
    let mut deliveries = Deliveries::new(subscriber("portal"));
    deliveries.add(["a", "a", "b"]);
    deliveries.run(refuses(0));
    deliveries.add(["c"]);
    assert_eq!(deliveries.state.skip(), 3);
    assert_eq!(
        (deliveries.state.waiting(), deliveries.state.oldest(), deliveries.next_due()),
        (0, None, None)
    );
    assert_eq!(deliveries.state.skip(), 0);
    deliveries.add(["a"]);
    assert_eq!(deliveries.run(delivered), [[4]]);
}
