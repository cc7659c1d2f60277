//! Turns at the third party: which document may be handed over, and when. Pure: what is asked and what time it is come
//! in, what is stored and who is told go out; [`crate::steps::admit_document`] does the rest.
//!
//! A turn is a *lease* (a place among the jobs in flight, which belongs to a document and an attempt and expires by
//! itself), a *slot* of time (the pace of requests) and the *breaker*'s consent. Who cannot have one now waits in a lane
//! of its submission; lanes are served in turn. A document is therefore made to wait at most once for each attempt:
//! until its turn is granted, with the time of its slot.
//!
//! The promise on requests: slots lie at least `interval` apart and are used within `interval × (burst - 2)` after
//! their time or not at all, so in any span of `t` seconds there are fewer than `t / interval + burst`, which is the
//! token bucket of rate `1 / interval` and depth `burst`, less one token for what a request's way takes.

mod breaker;
mod queues;
mod rate_limiter;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

pub use self::{
    breaker::{Breaker, Cause},
    queues::{Lanes, Ticket},
    rate_limiter::Pace,
};
use crate::{
    document::{Attempt, DocumentId, DocumentRef, TaskToken},
    telemetry::trace::{self, TraceParent},
};

/// The third party's limits, as the operator states them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time between two requests, on average.
    pub interval: Duration,
    /// How many requests the third party takes at once. It is what lets a request be late: see [`Limits::tolerance`].
    pub burst: u32,
    /// How many jobs may be at the third party at a time.
    pub max_in_flight: u32,
    /// How long after its slot a lease is kept that nobody renews or releases.
    pub lease: Duration,
}

impl Limits {
    /// How long after its time a slot may still be used.
    pub fn tolerance(&self) -> Duration {
        self.interval.saturating_mul(self.burst.saturating_sub(2))
    }
}

/// Places that are remembered: some 220 KB of the item's 400 KB. Only documents that are asked for can come to so many.
const MAX_PLACES: usize = 2000;

/// All that is known of turns: one item of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Gate {
    /// The newest attempt. It grows with every turn, over all documents and for good, so that a later attempt of a
    /// document has a larger number also after a redrive.
    sequence: u32,
    /// Who has a place among the jobs in flight.
    leases: BTreeMap<DocumentId, Lease>,
    /// When the places of jobs that were given up are over, in microseconds of the Unix epoch: the third party may still be
    /// at work on them, and nobody will give them back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_behind_us: Vec<i64>,
    /// When the next request may be made.
    pace: Pace,
    /// Whether the third party is believed to work.
    breaker: Breaker,
    /// Who waits.
    lanes: Lanes,
    /// The turns that the newest write granted, with their tokens: should the writer die before it told them, its
    /// message comes again and tells them.
    granted: Vec<Turn>,
    /// Since when somebody waits and nobody was granted a turn, in microseconds of the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    stands_since_us: Option<i64>,
}

/// A place among the jobs in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// The attempt it was granted for.
    pub attempt: Attempt,
    /// The slot, in microseconds of the Unix epoch.
    pub at_us: i64,
    /// When it is over if nobody renews it, in microseconds of the Unix epoch.
    pub expires_us: i64,
    /// Whether it is known how the transfer went: a report that comes again is of the past.
    #[serde(default)]
    pub reported: bool,
    /// Whether the third party may have the document, by this attempt or by one before.
    #[serde(default)]
    pub job_possible: bool,
}

/// Who waits for a turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiter {
    /// The document.
    #[serde(flatten)]
    pub document: DocumentRef,
    /// Its trace.
    #[serde(default, deserialize_with = "trace::optional", skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<TraceParent>,
    /// Whom to tell.
    pub task_token: TaskToken,
    /// Since when, in microseconds of the Unix epoch.
    pub asked_us: i64,
}

/// A granted turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Turn {
    /// Whose it is.
    #[serde(flatten)]
    pub waiter: Waiter,
    /// The attempt's number.
    pub attempt: Attempt,
    /// Not before, in microseconds of the Unix epoch.
    pub at_us: i64,
    /// Not after, in microseconds of the Unix epoch.
    pub until_us: i64,
    /// Whether the gate wants to hear that the third party accepted the document.
    pub report: bool,
}

/// How a transfer went, as far as it concerns the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The third party has the document.
    Accepted,
    /// It asks all of us to wait until then.
    RateLimited(Option<OffsetDateTime>),
    /// It could not be reached or is broken.
    Unavailable {
        /// Whether it may have the document all the same: its answer was lost.
        job_possible: bool,
    },
    /// It refuses our credentials.
    Unauthorized,
    /// The turn was used by somebody who died before telling how it went: the third party may have the document.
    Used,
    /// The turn was not used, or what went wrong says nothing about the third party.
    Unused,
}

/// What an operator sees of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Places that are taken.
    pub leases: usize,
    /// Documents that wait.
    pub waiting: u64,
    /// Whether new transfers wait for the third party to come back.
    pub breaker_open: bool,
    /// By how much requests are slowed down, 1 for not at all.
    pub slowdown: u32,
}

/// Why nobody is let in, and how that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Why.
    pub cause: Cause,
    /// When one tries whether the third party is back.
    pub trial_at: OffsetDateTime,
    /// Whether it is settled who tries; if not, it is whoever comes next.
    pub has_trial: bool,
}

impl Gate {
    /// Lets time pass: leases that have expired are over, a slowdown eases, a trial that nobody reported is over.
    pub fn pass(&mut self, now: OffsetDateTime) {
        let now_us = micros(now);
        self.leases.retain(|_, lease| lease.expires_us > now_us);
        self.left_behind_us.retain(|expires_us| *expires_us > now_us);
        self.pace.ease(now_us);
        self.breaker.pass(now_us, |attempt| self.leases.values().any(|lease| lease.attempt == attempt));
    }

    /// The turns that the newest write granted.
    pub fn granted(&self) -> &[Turn] {
        &self.granted
    }

    /// Forgets which turns the newest write granted: its message is done.
    pub fn begin(&mut self) {
        self.granted.clear();
    }

    /// Whether the document has a place.
    pub fn holds(&self, document: DocumentId) -> bool {
        self.leases.contains_key(&document)
    }

    /// The newest attempt that the document had a place for, if it has one.
    pub fn attempt(&self, document: DocumentId) -> Option<Attempt> {
        self.leases.get(&document).map(|lease| lease.attempt)
    }

    /// Gives a document's place back. Whoever gives back the place of an attempt knows of none that is newer, so a newer
    /// one's place stays.
    pub fn release(&mut self, document: DocumentId, attempt: Attempt) {
        if self.leases.get(&document).is_some_and(|lease| lease.attempt <= attempt) {
            self.leases.remove(&document);
        }
    }

    /// Keeps a document's place for as long again. Whoever asks may have a job at the third party, so that it has a place
    /// also if its lease was over and there is no room; but not if so many were redriven that the gate could not be stored.
    pub fn renew(&mut self, document: DocumentId, attempt: Attempt, limits: &Limits, now: OffsetDateTime) {
        if !self.holds(document) && self.taken() >= MAX_PLACES {
            tracing::warn!(
                places = MAX_PLACES,
                "A document is asked for without a place: there are too many."
            );
            return;
        }
        let now_us = micros(now);
        let expires_us = now_us + span_us(limits.lease);
        let over = Lease { attempt, at_us: now_us, expires_us, reported: true, job_possible: true };
        let lease = self.leases.entry(document).or_insert(over);
        lease.expires_us = lease.expires_us.max(expires_us);
    }

    /// The document's job of this attempt, or of one before, is given up for a new one: it keeps a place of its own until
    /// its lease is over.
    pub fn leave_behind(&mut self, document: DocumentId, attempt: Attempt) {
        if self.leases.get(&document).is_some_and(|lease| lease.attempt <= attempt) {
            self.left_behind_us.extend(self.leases.remove(&document).map(|lease| lease.expires_us));
        }
    }

    /// How many places are taken.
    fn taken(&self) -> usize {
        self.leases.len() + self.left_behind_us.len()
    }

    /// Takes note of how a transfer went. A report of an attempt that is not the document's newest, or that
    /// came before, is of the past.
    ///
    /// A place is given back only if there is certainly no job, not even of an attempt before, and the document comes
    /// again after a while. Whoever asks again at once, or may have a job without knowing, keeps it.
    pub fn report(&mut self, document: DocumentId, attempt: Attempt, report: Report, now: OffsetDateTime) {
        let lease =
            self.leases.get_mut(&document).filter(|lease| lease.attempt == attempt && !lease.reported);
        let Some(lease) = lease else { return };
        lease.reported = true;
        lease.job_possible |=
            matches!(report, Report::Accepted | Report::Used | Report::Unavailable { job_possible: true });
        let keeps_place = lease.job_possible;
        let slot_us = lease.at_us;
        let now_us = micros(now);
        match report {
            Report::Accepted => self.breaker.succeeded(attempt),
            Report::RateLimited(retry_at) => {
                self.pace.slow_down(slot_us, now_us, retry_at.map_or(now_us, micros));
                self.breaker.inconclusive(attempt, now_us);
            }
            Report::Unavailable { .. } => {
                self.breaker.failed(attempt, Cause::Unavailable, now_us);
                if !keeps_place {
                    self.release(document, attempt);
                }
            }
            Report::Unauthorized => self.breaker.failed(attempt, Cause::Unauthorized, now_us),
            Report::Used | Report::Unused => self.breaker.inconclusive(attempt, now_us),
        }
    }

    /// Takes note of whether the line moves: at the end of every decision.
    pub fn note_line(&mut self, now: OffsetDateTime) {
        let waits = self.lanes.waiting() > 0;
        if !waits || !self.granted.is_empty() {
            self.stands_since_us = None;
        }
        if waits {
            self.stands_since_us.get_or_insert(micros(now));
        }
    }

    /// Puts a document at the end of its submission's lane, or of the lane of those that have their place already and
    /// need only another slot.
    pub fn line_up(&mut self, document: &DocumentRef) -> Ticket {
        if self.holds(document.document_id) {
            self.lanes.push_returning()
        } else {
            self.lanes.push(&document.submission_id)
        }
    }

    /// Whose turn would be next, if anybody's may be granted now. Whoever asks [passes by](Self::pass_by)
    /// the ticket and, if somebody still waits there, [grants](Self::grant).
    ///
    /// Who has a place already goes first. But a trial is rather made by one who has not failed yet: documents that can
    /// never be handed over would try again and again, and the third party would be believed to be down.
    pub fn next(&self, limits: &Limits) -> Option<Ticket> {
        if !self.breaker.lets_in() {
            return None;
        }
        let room = self.taken() < usize::try_from(limits.max_in_flight).unwrap_or(usize::MAX);
        let first = room.then(|| self.lanes.first()).flatten();
        let returning = self.lanes.first_returning();
        if self.breaker.is_closed() { returning.or(first) } else { first.or(returning) }
    }

    /// Whether the ticket's document may have its turn: one that came back may have lost its place meanwhile, and has
    /// to line up anew.
    pub fn may_have(&self, ticket: &Ticket, document: DocumentId) -> bool {
        !ticket.is_returning() || self.holds(document)
    }

    /// Takes the first ticket out of its lane.
    pub fn pass_by(&mut self, ticket: &Ticket) {
        self.lanes.pop(ticket);
    }

    /// Grants the next turn: a place, a slot and a number.
    pub fn grant(&mut self, waiter: Waiter, limits: &Limits, now: OffsetDateTime) -> &Turn {
        self.sequence = self.sequence.max(Attempt::LAST_WITHOUT_TURN.0) + 1;
        let attempt = Attempt(self.sequence);
        let earliest = self.breaker.not_before().unwrap_or(i64::MIN).max(micros(now));
        let at_us = self.pace.slot(earliest, span_up_us(limits.interval));
        let report = self.breaker.admit(attempt, at_us);
        let document = waiter.document.document_id;
        let job_possible = self.leases.get(&document).is_some_and(|lease| lease.job_possible);
        let expires_us = at_us + span_us(limits.lease);
        self.leases.insert(document, Lease { attempt, at_us, expires_us, reported: false, job_possible });
        let until_us = at_us + span_us(limits.tolerance());
        self.granted.push(Turn { waiter, attempt, at_us, until_us, report });
        // It was pushed in the line above.
        &self.granted[self.granted.len() - 1]
    }

    /// For how long somebody has waited while nobody was granted a turn.
    pub fn stands(&self, now: OffsetDateTime) -> time::Duration {
        time::Duration::microseconds(self.stands_since_us.map_or(0, |since_us| micros(now) - since_us))
    }

    /// What an operator sees of the breaker, `None` while everybody is let in.
    pub fn outage(&self) -> Option<Outage> {
        match self.breaker {
            Breaker::Closed { .. } => None,
            Breaker::Open { cause, until_us, .. } => {
                Some(Outage { cause, trial_at: time_of(until_us), has_trial: false })
            }
            Breaker::Trial { cause, attempt, over_us, .. } => {
                let slot = self.leases.values().find(|lease| lease.attempt == attempt);
                let trial_at = time_of(slot.map_or(over_us, |lease| lease.at_us));
                Some(Outage { cause, trial_at, has_trial: true })
            }
        }
    }

    /// What an operator sees.
    pub fn standing(&self) -> Standing {
        Standing {
            leases: self.taken(),
            waiting: self.lanes.waiting(),
            breaker_open: !self.breaker.is_closed(),
            slowdown: self.pace.slowdown(),
        }
    }
}

/// Microseconds of the Unix epoch.
pub fn micros(time: OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX)
}

/// The time of so many microseconds of the Unix epoch.
pub fn time_of(micros: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn span_us(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX / 4)
}

/// Never shorter than the span, so that slots do not come closer by a fraction each.
fn span_up_us(span: Duration) -> i64 {
    i64::try_from(span.as_nanos().div_ceil(1000)).unwrap_or(i64::MAX / 4)
}
