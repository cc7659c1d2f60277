//! The documents that wait for a permit. Each submission has one queue for documents that have not failed and one for
//! documents that retry. All queues are served in turn, so the thousands of documents of one submission delay the single
//! document of another submission by at most two permits, one for each queue.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::document::SubmissionId;

/// The queues that are not empty. Each waiting document is an item of its own, whose key is its [`QueuePosition`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubmissionQueues {
    open: BTreeMap<String, SubmissionQueue>,
    /// The queue that was served last.
    served: String,
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
    /// If this many queues exist, further submissions share queues by their hash, so that the admission state stays
    /// small.
    const MAX_OWN: usize = 256;
    const SHARED: u8 = 64;
    /// The last character of the name of a queue of retrying documents. No submission id contains it.
    const RETRYING: char = '!';

    /// Adds a document of this submission at the end of its queue.
    pub(super) fn push(&mut self, submission: &SubmissionId, retrying: bool) -> QueuePosition {
        let name = self.name(submission, retrying);
        let queue = self.open.entry(name.clone()).or_insert_with(|| {
            self.openings += 1;
            SubmissionQueue { opening: self.openings, ..SubmissionQueue::default() }
        });
        let number = queue.tail;
        queue.tail += 1;
        QueuePosition { queue: name, opening: queue.opening, number }
    }

    /// The head of the queue that is served next. With `prefer_new`, queues of retrying documents come last.
    pub(super) fn first(&self, prefer_new: bool) -> Option<QueuePosition> {
        let after = || {
            let rest = self.open.range::<str, _>((Excluded(self.served.as_str()), Unbounded));
            rest.chain(self.open.iter())
        };
        let new = if prefer_new { after().find(|(name, _)| Self::is_new(name)) } else { None };
        let (name, queue) = new.or_else(|| after().next())?;
        Some(QueuePosition { queue: name.clone(), opening: queue.opening, number: queue.head })
    }

    /// Removes the head of a queue.
    pub(super) fn pop(&mut self, position: &QueuePosition) {
        let Some(queue) = self.open.get_mut(&position.queue) else { return };
        queue.head = position.number + 1;
        if queue.head >= queue.tail {
            self.open.remove(&position.queue);
        }
        self.served.clone_from(&position.queue);
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

    fn name(&self, submission: &SubmissionId, retrying: bool) -> String {
        let mark = |mut name: String| {
            name.extend(retrying.then_some(Self::RETRYING));
            name
        };
        let own = mark(submission.as_str().to_owned());
        if self.open.contains_key(&own) || self.open.len() < Self::MAX_OWN {
            return own;
        }
        let hash = Uuid::new_v5(&Uuid::NAMESPACE_OID, submission.as_str().as_bytes()).as_bytes()[0];
        mark(format!("#{}", hash % Self::SHARED))
    }
}
