//! Which document is served next.

use std::collections::BTreeMap;

use super::*;

/// Serves all documents, and returns their positions in the order they were served.
fn served(queues: &mut SubmissionQueues) -> Vec<QueuePosition> {
    std::iter::from_fn(|| {
        let position = queues.first(false)?;
        queues.pop(&position);
        Some(position)
    })
    .collect()
}

fn id(name: &str) -> crate::document::SubmissionId {
    name.parse().unwrap()
}

#[test]
fn queues_are_served_in_turn_and_each_in_its_order() {
    let mut queues = SubmissionQueues::default();
    for name in ["b", "b", "b", "a", "c", "c"] {
        queues.push(&id(name), false);
    }
    assert_eq!(queues.waiting(), 6);
    let order: Vec<(String, u64)> =
        served(&mut queues).into_iter().map(|position| (position.queue, position.number)).collect();
    let expected = [("a", 0), ("b", 0), ("c", 0), ("b", 1), ("c", 1), ("b", 2)];
    assert_eq!(order, expected.map(|(queue, number)| (queue.to_owned(), number)));
    assert_eq!((queues.waiting(), queues.first(false)), (0, None));
}

#[test]
fn submission_of_thousands_delays_another_one_by_one_permit() {
    for other in ["a-before", "z-after"] {
        let mut queues = SubmissionQueues::default();
        for _ in 0..5_000 {
            queues.push(&id("crowd"), false);
        }
        for _ in 0..37 {
            let position = queues.first(false).unwrap();
            queues.pop(&position);
        }
        let mine = queues.push(&id(other), false);
        let position = served(&mut queues).iter().position(|position| *position == mine).unwrap();
        assert!(position < 2, "{other} is served after {position} others");
    }
}

#[test]
fn retrying_documents_have_a_queue_of_their_own_beside_the_new_ones() {
    let mut queues = SubmissionQueues::default();
    for retrying in [true, true, true, false, false] {
        queues.push(&id("s1"), retrying);
    }
    assert!(queues.has_new());
    let order: Vec<String> = served(&mut queues).into_iter().map(|position| position.queue).collect();
    assert_eq!(order, ["s1", "s1!", "s1", "s1!", "s1!"]);
    queues.push(&id("s1"), true);
    assert!(!queues.has_new());
}

#[test]
fn new_documents_are_preferred_on_demand_and_otherwise_all_queues_are_served_in_turn() {
    let mut queues = SubmissionQueues::default();
    queues.push(&id("a"), true);
    queues.push(&id("b"), false);
    assert_eq!(queues.first(false).unwrap().queue, "a!");
    assert_eq!(queues.first(true).unwrap().queue, "b");
    served(&mut queues);
    queues.push(&id("a"), true);
    assert_eq!(queues.first(true).unwrap().queue, "a!", "no new document waits");
}

#[test]
fn position_is_never_used_again_after_its_queue_was_empty() {
    let mut queues = SubmissionQueues::default();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..5 {
        for _ in 0..2 {
            assert!(seen.insert(queues.push(&id("s1"), false)));
        }
        served(&mut queues);
    }
}

#[test]
fn more_than_256_submissions_share_queues_and_each_document_is_served_in_bounded_time() {
    let mut queues = SubmissionQueues::default();
    let mut positions: BTreeMap<QueuePosition, usize> = BTreeMap::new();
    for round in 0..3 {
        for submission in 0..1_000 {
            positions.insert(queues.push(&id(&format!("s{submission}")), false), round);
        }
    }
    let names: std::collections::BTreeSet<&str> =
        positions.keys().map(|position| position.queue.as_str()).collect();
    assert!(names.len() <= 256 + 64, "{}", names.len());
    assert!(names.iter().any(|name| name.starts_with('#')), "no submission's id starts like a shared queue");
    let order = served(&mut queues);
    assert_eq!(order.len(), 3_000, "each document is served, once");
    let last_of_own = order.iter().rposition(|position| !position.queue.starts_with('#')).unwrap();
    assert!(last_of_own < 3 * names.len(), "a queue of three waits for three rounds");
}

#[test]
fn submission_that_shared_a_queue_gets_its_own_once_there_is_room() {
    let mut queues = SubmissionQueues::default();
    for submission in 0..256 {
        queues.push(&id(&format!("s{submission}")), false);
    }
    let shared = queues.push(&id("late"), false);
    assert!(shared.queue.starts_with('#'));
    served(&mut queues);
    assert_eq!(queues.push(&id("late"), false).queue, "late");
}
