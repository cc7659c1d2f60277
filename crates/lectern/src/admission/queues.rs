//! The documents that wait for a permit. Each submission has one queue for documents that have not failed and one for
//! documents that retry. The queues of one lane ([`Lane`]) are served in turn, and so are the lanes, so a teacher waits for
//! at most one permit of each other teacher, however many submissions and documents that teacher has.
//!
//! "In turn" is one rule for lanes and queues: each has the number of its turn, and the lowest number is served next. A lane
//! or queue that was served, or has just come, gets the highest number.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Lane;
use crate::document::SubmissionId;

/// The queues that are not empty. Each waiting document is an item of its own, whose key is its [`QueuePosition`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubmissionQueues {
    /// The queues by their names: `<lane>/<submission>`, with [`Self::RETRYING`] for a queue of retrying documents.
    open: BTreeMap<String, SubmissionQueue>,
    /// The turn of each lane that has a queue.
    lanes: BTreeMap<String, u64>,
    /// The highest turn.
    turns: u64,
    /// How many times a queue was created. The number is part of a position, so that no position is ever reused.
    openings: u64,
}

/// The positions in a queue that still wait: from `head` (inclusive) to `tail` (exclusive).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct SubmissionQueue {
    head: u64,
    tail: u64,
    /// The value of `openings` when this queue was created. It distinguishes its positions from those of an earlier
    /// queue of the same name.
    opening: u64,
    /// When the queue is served among those of its lane. 0 in a queue that code without lanes has written.
    #[serde(default)]
    turn: u64,
}

/// A position in a queue, and the key of the waiting document's item.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct QueuePosition {
    /// The queue.
    pub queue: String,
    /// The number of the queue's opening.
    pub opening: u64,
    /// The number within the opening.
    pub number: u64,
}

impl SubmissionQueues {
    /// If this many queues exist, further submissions share one queue of their lane, so that the admission state stays
    /// small and there is room for other lanes.
    const MAX_OF_SUBMISSIONS: usize = 192;
    /// If this many queues exist, further lanes share lanes by their hash.
    const MAX_OF_LANES: usize = 256;
    const SHARED_LANES: u8 = 64;
    /// The last character of the name of a queue of retrying documents. No submission id contains it.
    const RETRYING: char = '!';

    /// Adds a document of this lane and submission at the end of its queue.
    pub(super) fn push(&mut self, lane: &Lane, submission: &SubmissionId, retrying: bool) -> QueuePosition {
        let name = self.name(lane, submission, retrying);
        let queue = self.open.entry(name.clone()).or_insert_with(|| {
            self.openings += 1;
            self.turns += 1;
            self.lanes.entry(lane_of(&name).to_owned()).or_insert(self.turns);
            SubmissionQueue { opening: self.openings, turn: self.turns, ..SubmissionQueue::default() }
        });
        let number = queue.tail;
        queue.tail += 1;
        QueuePosition { queue: name, opening: queue.opening, number }
    }

    /// The head of the queue that is served next. With `prefer_new`, queues of retrying documents come last.
    pub(super) fn first(&self, prefer_new: bool) -> Option<QueuePosition> {
        let turn = |(name, queue): &(&String, &SubmissionQueue)| {
            let turn_of_lane = self.lanes.get(lane_of(name)).copied().unwrap_or_default();
            (prefer_new && !Self::is_new(name), turn_of_lane, queue.turn)
        };
        let (name, queue) = self.open.iter().min_by_key(turn)?;
        Some(QueuePosition { queue: name.clone(), opening: queue.opening, number: queue.head })
    }

    /// Removes the head of a queue.
    pub(super) fn pop(&mut self, position: &QueuePosition) {
        let Some(queue) = self.open.get_mut(&position.queue) else { return };
        self.turns += 1;
        queue.turn = self.turns;
        queue.head = position.number + 1;
        if queue.head >= queue.tail {
            self.open.remove(&position.queue);
        }
        let lane = lane_of(&position.queue);
        if self.open.keys().any(|name| lane_of(name) == lane) {
            self.lanes.insert(lane.to_owned(), self.turns);
        } else {
            self.lanes.remove(lane);
        }
    }

    /// How many documents wait.
    pub(super) fn waiting(&self) -> u64 {
        self.open.values().map(|queue| queue.tail - queue.head).sum()
    }

    /// Whether any waiting document has not failed before.
    pub(super) fn has_new(&self) -> bool {
        self.open.keys().any(|name| Self::is_new(name))
    }

    fn is_new(name: &str) -> bool {
        !name.ends_with(Self::RETRYING)
    }

    fn name(&self, lane: &Lane, submission: &SubmissionId, retrying: bool) -> String {
        let mark = if retrying { Self::RETRYING.to_string() } else { String::new() };
        let of_submission = (format!("{lane}/{submission}{mark}"), Self::MAX_OF_SUBMISSIONS);
        let of_lane = (format!("{lane}/*{mark}"), Self::MAX_OF_LANES);
        let mut preferred = [of_submission, of_lane].into_iter();
        let has_room =
            |(name, most): &(String, usize)| self.open.contains_key(name) || self.open.len() < *most;
        let hash = Uuid::new_v5(&Uuid::NAMESPACE_OID, lane.as_str().as_bytes()).as_bytes()[0];
        let shared = || format!("#{}/*{mark}", hash % Self::SHARED_LANES);
        preferred.find(has_room).map_or_else(shared, |(name, _)| name)
    }
}

/// The lane in a queue's name. In a queue that code without lanes has written, the name is only that of the submission,
/// which is then a lane of its own.
fn lane_of(name: &str) -> &str {
    name.split_once('/').map_or(name.trim_end_matches(SubmissionQueues::RETRYING), |(lane, _)| lane)
}
