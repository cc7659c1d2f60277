//! Which document is served next.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::document::SubmissionId;

/// The next document's position, which is removed.
fn pop(queues: &mut SubmissionQueues) -> Option<QueuePosition> {
    let position = queues.first(false)?;
    queues.pop(&position);
    Some(position)
}

/// Serves all documents, and returns their positions in the order they were served.
fn served(queues: &mut SubmissionQueues) -> Vec<QueuePosition> {
    std::iter::from_fn(|| pop(queues)).collect()
}

fn id(name: &str) -> SubmissionId {
    name.parse().unwrap()
}

fn lane(owner: &str) -> Lane {
    Lane::of(Some(&owner.parse().unwrap()), &id("any"))
}

/// Adds a document of a submission that has a lane of its own.
fn push(queues: &mut SubmissionQueues, submission: &str, retrying: bool) -> QueuePosition {
    queues.push(&lane(submission), &id(submission), retrying)
}

/// The submission in a queue's name, with the mark of retrying documents.
fn submission(position: &QueuePosition) -> &str {
    position.queue.rsplit('/').next().unwrap()
}

/// Lanes or queues that wait, by name.
#[derive(Debug, Default)]
struct Waiting {
    /// How many documents of each wait.
    documents: BTreeMap<String, usize>,
    /// How often each other one was served since this one came or was served last.
    turns: BTreeMap<String, BTreeMap<String, usize>>,
}

impl Waiting {
    fn comes(&mut self, name: &str) {
        *self.documents.entry(name.to_owned()).or_default() += 1;
        self.turns.entry(name.to_owned()).or_default();
    }

    /// Notes that a document was served. Returns for how many turns of this one any other one has waited.
    fn is_served(&mut self, name: &str) -> usize {
        self.turns.remove(name);
        let counts = self.turns.values_mut().map(|turns| {
            let count = turns.entry(name.to_owned()).or_default();
            *count += 1;
            *count
        });
        let longest = counts.max().unwrap_or_default();
        let left = self.documents.entry(name.to_owned()).or_default();
        *left -= 1;
        if *left > 0 {
            self.turns.insert(name.to_owned(), BTreeMap::new());
        }
        longest
    }
}

#[test]
fn queues_are_served_in_turn_and_each_in_its_order() {
    let mut queues = SubmissionQueues::default();
    for name in ["b", "b", "b", "a", "c", "c"] {
        push(&mut queues, name, false);
    }
    assert_eq!(queues.waiting(), 6);
    let order: Vec<(String, u64)> = served(&mut queues)
        .into_iter()
        .map(|position| (submission(&position).to_owned(), position.number))
        .collect();
    let expected = [("b", 0), ("a", 0), ("c", 0), ("b", 1), ("c", 1), ("b", 2)];
    assert_eq!(order, expected.map(|(queue, number)| (queue.to_owned(), number)));
    assert_eq!((queues.waiting(), queues.first(false)), (0, None));
}

#[test]
fn teachers_are_served_in_turn_and_then_their_submissions() {
    let mut queues = SubmissionQueues::default();
    for submission in ["a1", "a2", "a3", "a1", "a2"] {
        queues.push(&lane("anna"), &id(submission), false);
    }
    for submission in ["b1", "b1", "b1"] {
        queues.push(&lane("bo"), &id(submission), false);
    }
    let order: Vec<String> =
        served(&mut queues).iter().map(|position| submission(position).to_owned()).collect();
    assert_eq!(order, ["a1", "b1", "a2", "b1", "a3", "b1", "a1", "a2"]);
}

#[test]
fn submission_of_thousands_delays_another_one_by_one_permit() {
    let mut queues = SubmissionQueues::default();
    for _ in 0..5_000 {
        push(&mut queues, "crowd", false);
    }
    for _ in 0..37 {
        pop(&mut queues);
    }
    let mine = push(&mut queues, "mine", false);
    let position = served(&mut queues).iter().position(|position| *position == mine).unwrap();
    assert!(position < 2, "it is served after {position} others");
}

#[test]
fn retrying_documents_have_a_queue_of_their_own_beside_the_new_ones() {
    let mut queues = SubmissionQueues::default();
    for retrying in [true, true, true, false, false] {
        push(&mut queues, "s1", retrying);
    }
    assert!(queues.has_new());
    let order: Vec<String> =
        served(&mut queues).iter().map(|position| submission(position).to_owned()).collect();
    assert_eq!(order, ["s1!", "s1", "s1!", "s1", "s1!"]);
    push(&mut queues, "s1", true);
    assert!(!queues.has_new());
}

#[test]
fn new_documents_are_preferred_on_demand_and_otherwise_all_queues_are_served_in_turn() {
    let mut queues = SubmissionQueues::default();
    push(&mut queues, "a", true);
    push(&mut queues, "b", false);
    assert_eq!(submission(&queues.first(false).unwrap()), "a!");
    assert_eq!(submission(&queues.first(true).unwrap()), "b");
    served(&mut queues);
    push(&mut queues, "a", true);
    assert_eq!(submission(&queues.first(true).unwrap()), "a!", "no new document waits");
}

#[test]
fn position_is_never_used_again_after_its_queue_was_empty() {
    let mut queues = SubmissionQueues::default();
    let mut seen = BTreeSet::new();
    for _ in 0..5 {
        for _ in 0..2 {
            assert!(seen.insert(push(&mut queues, "s1", false)));
        }
        served(&mut queues);
    }
}

#[test]
fn teacher_with_a_thousand_submissions_leaves_queues_to_other_teachers() {
    let mut queues = SubmissionQueues::default();
    for number in 0..1_000 {
        queues.push(&lane("crowd"), &id(&format!("s{number}")), false);
    }
    let mine: BTreeSet<QueuePosition> =
        (0..40).map(|number| queues.push(&lane(&format!("teacher-{number}")), &id("mine"), false)).collect();
    assert_eq!(mine.iter().map(|position| &position.queue).collect::<BTreeSet<_>>().len(), 40);
    let order = served(&mut queues);
    assert_eq!(order.len(), 1_040, "each document is served, once");
    let last = order.iter().rposition(|position| mine.contains(position)).unwrap();
    assert!(last <= 41, "each of forty teachers waits for one permit of each other, and not for {last}");
}

#[test]
fn more_than_256_teachers_share_lanes_and_each_document_is_served_in_bounded_time() {
    let mut queues = SubmissionQueues::default();
    let mut positions = BTreeSet::new();
    for _ in 0..3 {
        for submission in 0..1_000 {
            positions.insert(push(&mut queues, &format!("s{submission}"), false));
        }
    }
    let names: BTreeSet<&str> = positions.iter().map(|position| position.queue.as_str()).collect();
    assert!(names.len() <= 256 + 64, "{}", names.len());
    assert!(names.iter().any(|name| name.starts_with('#')), "no lane is called like a shared one");
    let order = served(&mut queues);
    assert_eq!(order.len(), 3_000, "each document is served, once");
    let last_of_own = order.iter().rposition(|position| !position.queue.starts_with('#')).unwrap();
    assert!(last_of_own < 3 * names.len(), "a queue of three waits for three rounds");
}

#[test]
fn teacher_who_shared_a_lane_gets_an_own_one_once_there_is_room() {
    let mut queues = SubmissionQueues::default();
    for submission in 0..256 {
        push(&mut queues, &format!("s{submission}"), false);
    }
    let shared = push(&mut queues, "late", false);
    assert!(shared.queue.starts_with('#'));
    served(&mut queues);
    assert_eq!(push(&mut queues, "late", false).queue, format!("{}/late", lane("late")));
}

/// Code without lanes wrote these queues: of new and of retrying documents of `s1`, and of submissions that share one.
#[test]
fn queues_without_lanes_are_read_and_served() {
    let stored = json!({
        "open": {
            "#7": { "head": 3, "tail": 4, "opening": 2 },
            "s1": { "head": 5, "tail": 7, "opening": 1 },
            "s1!": { "head": 0, "tail": 1, "opening": 4 },
        },
        "served": "s1",
        "openings": 4,
    });
    let mut queues: SubmissionQueues = serde_json::from_value(stored).unwrap();
    assert_eq!((queues.waiting(), queues.has_new()), (4, true));
    let new = push(&mut queues, "s1", false);
    assert_eq!(new.opening, 5, "no position is used again");
    let order: Vec<(String, u64)> =
        served(&mut queues).into_iter().map(|position| (position.queue, position.number)).collect();
    let expected = [("#7", 3), ("s1", 5), (new.queue.as_str(), 0), ("s1!", 0), ("s1", 6)];
    assert_eq!(order, expected.map(|(queue, number)| (queue.to_owned(), number)));
    assert_eq!(queues.waiting(), 0);
}

/// What happens to queues: a document comes, of this teacher and submission, or the next one is served.
fn steps(teachers: u8, submissions: u8) -> impl Strategy<Value = Vec<Option<(u8, u8, bool)>>> {
    let arrival = (0..teachers, 0..submissions, any::<bool>()).prop_map(Some);
    prop::collection::vec(prop_oneof![3 => arrival, 2 => Just(None)], 0..600)
}

fn teacher_of(number: u8) -> Lane {
    lane(&format!("teacher-{number}"))
}

proptest! {
    #[test]
    fn no_teacher_waits_for_more_than_one_turn_of_another_whatever_their_submissions_are(steps in steps(5, 60)) {
        let mut queues = SubmissionQueues::default();
        let mut waiting = Waiting::default();
        for step in steps.into_iter().chain([None; 600]) {
            if let Some((teacher, submission, retrying)) = step {
                    let lane = teacher_of(teacher);
                    queues.push(&lane, &id(&format!("s{submission}")), retrying);
                    waiting.comes(lane.as_str());
            } else {
                    let Some(position) = pop(&mut queues) else { continue };
                    let lane = position.queue.split('/').next().unwrap();
                    prop_assert!(waiting.is_served(lane) <= 1, "{lane} had two turns");
            }
        }
        prop_assert_eq!(queues.waiting(), 0);
    }

    #[test]
    fn no_submission_waits_for_more_than_one_turn_of_another_of_the_same_teacher(steps in steps(1, 40)) {
        let mut queues = SubmissionQueues::default();
        let mut waiting = Waiting::default();
        for step in steps {
            if let Some((teacher, submission, retrying)) = step {
                    let position = queues.push(&teacher_of(teacher), &id(&format!("s{submission}")), retrying);
                    waiting.comes(&position.queue);
            } else {
                    let Some(QueuePosition { queue, .. }) = pop(&mut queues) else { continue };
                    prop_assert!(waiting.is_served(&queue) <= 1, "{queue} had two turns");
            }
        }
    }

    #[test]
    fn documents_of_a_submission_are_served_in_their_order(steps in steps(3, 20)) {
        let mut queues = SubmissionQueues::default();
        let mut waiting: BTreeMap<String, Vec<QueuePosition>> = BTreeMap::new();
        for step in steps.into_iter().chain([None; 600]) {
            if let Some((teacher, submission, retrying)) = step {
                    let position = queues.push(&teacher_of(teacher), &id(&format!("s{submission}")), retrying);
                    waiting.entry(position.queue.clone()).or_default().push(position);
            } else {
                    let Some(position) = pop(&mut queues) else { continue };
                    let expected = waiting.get_mut(&position.queue).map(|positions| positions.remove(0));
                    prop_assert_eq!(Some(position), expected);
            }
        }
        prop_assert!(waiting.values().all(Vec::is_empty), "each document is served");
    }
}
