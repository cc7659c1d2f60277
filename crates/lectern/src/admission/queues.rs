//! Who waits, fairly: a lane for each submission, and the lanes are served in turn. One submission of thousands of
//! documents delays another one's by one turn, not by thousands.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::document::SubmissionId;

/// The lanes in which somebody waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Lanes {
    open: BTreeMap<String, Lane>,
    /// The lane that was served last.
    served: String,
    /// How often a lane was opened, so that no ticket's name ever comes again.
    openings: u64,
}

/// The tickets of a lane that are still waiting: from `head` up to, and without, `tail`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Lane {
    head: u64,
    tail: u64,
    /// Tells these tickets from those of before, when the lane was empty meanwhile.
    opened: u64,
}

/// A place in a lane. Its text names the item that holds the waiter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ticket {
    /// The lane.
    pub lane: String,
    /// Which opening of the lane, by the count of all openings.
    pub opened: u64,
    /// The number in it.
    pub number: u64,
}

impl Lane {
    fn first(&self, name: &str) -> Ticket {
        Ticket { lane: name.to_owned(), opened: self.opened, number: self.head }
    }
}

impl Ticket {
    /// Whether it is of one that came back and needs no place.
    pub(super) fn is_returning(&self) -> bool {
        self.lane == Lanes::RETURNING
    }
}

impl Lanes {
    /// Submissions beyond these share lanes by their hash, so that the item stays small.
    const MAX_OWN: usize = 256;
    const SHARED: u8 = 64;
    /// No submission's name.
    const RETURNING: &str = "!";

    pub(super) fn push(&mut self, submission: &SubmissionId) -> Ticket {
        self.push_to(self.name(submission))
    }

    pub(super) fn push_returning(&mut self) -> Ticket {
        self.push_to(Self::RETURNING.to_owned())
    }

    fn push_to(&mut self, name: String) -> Ticket {
        let lane = self.open.entry(name.clone()).or_insert_with(|| {
            self.openings += 1;
            Lane { opened: self.openings, ..Lane::default() }
        });
        let number = lane.tail;
        lane.tail += 1;
        Ticket { lane: name, opened: lane.opened, number }
    }

    /// The oldest ticket of the lane whose turn it is, among those that need a place.
    pub(super) fn first(&self) -> Option<Ticket> {
        let after = self.open.range::<str, _>((Excluded(self.served.as_str()), Unbounded));
        let (name, lane) = after.chain(self.open.iter()).find(|(name, _)| *name != Self::RETURNING)?;
        Some(lane.first(name))
    }

    /// The oldest ticket of those that need no place.
    pub(super) fn first_returning(&self) -> Option<Ticket> {
        self.open.get(Self::RETURNING).map(|lane| lane.first(Self::RETURNING))
    }

    pub(super) fn pop(&mut self, ticket: &Ticket) {
        let Some(lane) = self.open.get_mut(&ticket.lane) else { return };
        lane.head = ticket.number + 1;
        if lane.head >= lane.tail {
            self.open.remove(&ticket.lane);
        }
        // Those who came back are served before and beside the others, and must not begin their round anew.
        if !ticket.is_returning() {
            self.served.clone_from(&ticket.lane);
        }
    }

    pub(super) fn waiting(&self) -> u64 {
        self.open.values().map(|lane| lane.tail - lane.head).sum()
    }

    fn name(&self, submission: &SubmissionId) -> String {
        let own = submission.as_str();
        if self.open.contains_key(own) || self.open.len() < Self::MAX_OWN {
            return own.to_owned();
        }
        let hash = Uuid::new_v5(&Uuid::NAMESPACE_OID, own.as_bytes()).as_bytes()[0] % Self::SHARED;
        format!("#{hash}")
    }
}
