//! Requests with several events: how many, after how long a wait, and what happens to a batch that fails.

use std::time::Duration;

use super::{
    super::*,
    deliveries::{Deliveries, delivered, refused},
    fixtures::subscriber,
};

fn of_four() -> Subscriber {
    Subscriber { max_batch: 4, max_batch_wait_seconds: 30, ..subscriber("portal") }
}

/// Events of so many submissions.
fn submissions(number: usize) -> impl Iterator<Item = String> {
    (0..number).map(|number| format!("s{number}"))
}

#[test]
fn full_batches_are_sent_at_once_and_the_rest_waits() {
    let mut deliveries = Deliveries::new(of_four());
    deliveries.add(submissions(10));
    assert_eq!(deliveries.run(delivered), [[0, 1, 2, 3], [4, 5, 6, 7]]);
    assert_eq!(deliveries.next_due_s(), Some(30.0));
    deliveries.later_s(29);
    assert_eq!(deliveries.run(delivered), [[0; 0]; 0]);
    deliveries.later_s(1);
    assert_eq!(deliveries.run(delivered), [[8, 9]]);
}

#[test]
fn wait_is_over_when_the_batch_is_full_or_its_oldest_event_is_old_enough() {
    let mut deliveries = Deliveries::new(of_four());
    deliveries.add(submissions(2));
    deliveries.later_s(20);
    deliveries.add(["t0"]);
    assert_eq!(deliveries.run(delivered), [[0; 0]; 0]);
    assert_eq!(deliveries.next_due_s(), Some(10.0), "from the change of the oldest event on");
    deliveries.later_s(10);
    assert_eq!(deliveries.run(delivered), [[0, 1, 2]]);

    deliveries.add(submissions(3));
    assert_eq!(deliveries.run(delivered), [[0; 0]; 0]);
    deliveries.add(["t1"]);
    assert!(deliveries.next_due_s() <= Some(0.0));
    assert_eq!(deliveries.run(delivered), [[3, 4, 5, 6]]);
}

#[test]
fn event_of_an_old_change_waits_for_no_batch() {
    let mut deliveries = Deliveries::new(of_four());
    deliveries.add(["a"]);
    deliveries.later_s(3600);
    deliveries.add(["b"]);
    assert_eq!(deliveries.run(delivered), [[0, 1]]);
}

#[test]
fn batch_without_a_wait_has_what_there_is() {
    let mut deliveries = Deliveries::new(Subscriber { max_batch_wait_seconds: 0, ..of_four() });
    deliveries.add(submissions(5));
    assert_eq!(deliveries.run(delivered), [vec![0, 1, 2, 3], vec![4]]);
}

#[test]
fn batch_has_several_events_of_one_submission_in_their_order_and_the_next_batch_waits_for_it() {
    let mut deliveries = Deliveries::new(Subscriber { max_batch_wait_seconds: 0, ..of_four() });
    deliveries.add(["a", "b", "a", "a", "a", "b", "c"]);
    assert_eq!(deliveries.round(delivered), [vec![0, 1, 2, 3], vec![6]]);
    // Events that had to wait for others are sent one by one.
    assert_eq!(deliveries.round(delivered), [[4], [5]]);
}

#[test]
fn failing_batch_is_repeated_one_by_one_so_that_one_bad_event_delays_no_other() {
    let mut deliveries = Deliveries::new(of_four());
    deliveries.add(["a", "b", "c", "a"]);
    assert_eq!(deliveries.run(refused), [[0, 1, 2, 3]]);
    deliveries.later_s(5);
    let poison = |numbers: &[u64]| if numbers == [1] { Answer::Refused(400) } else { Answer::Delivered };
    assert_eq!(deliveries.run(poison), [[0], [1], [2], [3]]);
    let summary = deliveries.state.summary();
    let retrying: Vec<_> = summary.retrying.iter().map(|held| (held.number, held.attempts)).collect();
    assert_eq!((retrying, summary.blocked), (vec![(1, 2)], 0));
}

#[test]
fn failing_batch_without_order_is_repeated_one_by_one_too() {
    let mut deliveries = Deliveries::new(Subscriber { is_ordered: false, ..of_four() });
    deliveries.add(["a", "a", "a", "a"]);
    deliveries.run(refused);
    deliveries.later_s(5);
    assert_eq!(deliveries.round(delivered), [[0], [1], [2], [3]]);
}

#[test]
fn new_events_are_batched_beside_those_that_are_repeated() {
    let mut deliveries = Deliveries::new(of_four());
    deliveries.add(submissions(4));
    deliveries.run(refused);
    deliveries.add(["t0", "t1", "s0", "t2", "t3"]);
    // The event of the submission that is held back is passed over, and the batch waits for another one.
    assert_eq!(deliveries.run(delivered), [[4, 5, 7, 8]]);
    deliveries.later(Duration::from_secs(5));
    assert_eq!(deliveries.run(delivered), [[0], [1], [2], [3], [6]]);
}

#[test]
fn batch_of_one_event_never_waits() {
    let mut deliveries = Deliveries::new(Subscriber { max_batch_wait_seconds: 30, ..subscriber("portal") });
    deliveries.add(["a"]);
    assert_eq!(deliveries.run(delivered), [[0]]);
}
