//! Admission control: which document may be submitted to the third party, and when. This module is pure: it turns
//! orders and the present time into permits. [`crate::steps::admit_document`] reads and writes the state and answers
//! the task tokens.
//!
//! A permit consists of a reservation of the rate limiter and a lease for one job in flight. It is granted only if the
//! circuit breaker allows a request. A document that cannot get a permit now waits in a queue of its submission.
//!
//! - **Rate**: reservations are at least `interval` apart, and a reservation is used within `interval × (burst - 2)`
//!   after its time or not at all. So any span of `t` seconds contains fewer than `t / interval + burst` requests: a
//!   token bucket of rate `1 / interval` and depth `burst`, less one token for the time that a request travels.
//! - **In flight**: a lease belongs to one attempt and ends by itself. It is released as soon as it is known that the
//!   third party has no job of that attempt.
//! - **Fairness**: the lanes of all teachers are served in turn, and so are the queues of each lane, so every waiting
//!   document is served after a bounded number of permits. Leases end within a bounded time, whatever the outcome of their attempts.

mod breaker;
pub(crate) mod lane;
mod permits;
mod queues;
mod rate_limiter;
#[cfg(test)]
mod tests;
mod timestamp;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

pub use self::{
    breaker::{Cause, CircuitBreaker},
    lane::Lane,
    permits::{Permits, Reservation},
    queues::{QueuePosition, SubmissionQueues},
    rate_limiter::RateLimiter,
    timestamp::Timestamp,
};
use crate::{
    document::{Attempt, DocumentRef, TaskToken},
    telemetry::trace::{self, TraceParent},
};

/// The third party's limits, as configured by the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The average time between two requests.
    pub interval: Duration,
    /// How many requests the third party accepts at once.
    pub burst: u32,
    /// How many jobs the third party accepts at a time.
    pub max_in_flight: u32,
    /// How long after its reservation a lease ends if it is neither renewed nor released.
    pub lease: Duration,
}

impl Limits {
    /// How long after its time a reservation may still be used.
    pub fn tolerance(&self) -> Duration {
        self.interval.saturating_mul(self.burst.saturating_sub(2))
    }
}

/// The state of admission control: one item of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AdmissionState {
    /// The limits towards the third party. Attempts are numbered over all documents.
    #[serde(flatten)]
    permits: Permits,
    queues: SubmissionQueues,
    /// The permits of the newest write, with their task tokens. If the writer dies before it answers the tokens, SQS
    /// delivers its messages again and the next writer answers the tokens.
    granted: Vec<Permit>,
    /// Since when documents have waited without progress, as [`AdmissionState::note_progress`] defines it.
    #[serde(skip_serializing_if = "Option::is_none")]
    stalled_since: Option<Timestamp>,
}

/// Counts one attempt as a job in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// The attempt.
    pub attempt: Attempt,
    /// The time of its reservation.
    pub starts_at: Timestamp,
    /// When the lease ends if it is neither renewed nor released.
    pub ends_at: Timestamp,
    /// Whether the attempt's outcome was reported. A second report is a redelivery.
    #[serde(default)]
    pub reported: bool,
}

/// A document that waits for a permit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitingDocument {
    /// The document.
    #[serde(flatten)]
    pub document: DocumentRef,
    /// The document's trace.
    #[serde(default, deserialize_with = "trace::optional", skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<TraceParent>,
    /// The task token that the permit answers.
    pub task_token: TaskToken,
    /// How many attempts of this execution have failed.
    pub failed_transfers: u32,
    /// Since when the document waits.
    pub enqueued_at: Timestamp,
}

/// Permission for one request to the third party.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Permit {
    /// The document.
    #[serde(flatten)]
    pub waiting: WaitingDocument,
    /// The number of the attempt.
    pub attempt: Attempt,
    /// The earliest time of the request.
    pub starts_at: Timestamp,
    /// The latest time of the request.
    pub expires_at: Timestamp,
    /// When the lease ends.
    pub lease_ends_at: Timestamp,
    /// Whether the state machine must report the attempt's success.
    pub report_success: bool,
    /// Whether the attempt is the half-open trial, which is granted only while the breaker is open.
    pub half_open_trial: bool,
}

/// The outcome of an attempt, as far as it affects other documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The third party has the document.
    Accepted,
    /// The third party answered and permanently rejected the document; there is no job.
    Rejected,
    /// The third party answered 429. The time, if known, is the earliest time of the next request.
    RateLimited(Option<OffsetDateTime>),
    /// The third party could not be reached or failed, and certainly has no job of this attempt.
    Unavailable,
    /// The third party did not answer, and may have a job of this attempt.
    OutcomeUnknown,
    /// The third party refuses our credentials.
    Unauthorized,
    /// The permit was not used, or the error says nothing about the third party. There is no job of this attempt.
    Unused,
    /// The permit was used and its outcome is unknown, for example because an earlier delivery of the same message
    /// died. There may be a job.
    AlreadyUsed,
}

/// The limiter's state for operators and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimiterSnapshot {
    /// Number of leases held.
    pub leases: usize,
    /// Number of documents that wait for a permit.
    pub waiting: u64,
    /// Whether the circuit breaker is open or half-open.
    pub breaker_open: bool,
    /// The factor by which the rate limiter stretches the interval between requests; normally 1.
    pub slowdown: u32,
}

/// Why the circuit breaker is open, and when a half-open trial starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Why the breaker opened.
    pub cause: Cause,
    /// When the next half-open trial may start, or the start of the current trial.
    pub trial_at: OffsetDateTime,
    /// Whether a document has been chosen for the trial. If not, the next document to get a permit will be the trial.
    pub has_trial: bool,
}

impl AdmissionState {
    /// Applies the time: ends expired leases, lowers the slowdown, and ends a half-open trial without a report.
    pub fn advance_to(&mut self, now: OffsetDateTime) {
        self.permits.advance_to(now);
    }

    /// The permits that the newest write granted.
    pub fn granted(&self) -> &[Permit] {
        &self.granted
    }

    /// Removes the permits of the newest write, after their task tokens were answered.
    pub fn clear_granted(&mut self) {
        self.granted.clear();
    }

    /// The attempt's lease, if it has not ended.
    pub fn lease(&self, attempt: Attempt) -> Option<&Lease> {
        self.permits.lease(attempt)
    }

    /// Ends the attempt's lease.
    pub fn release(&mut self, attempt: Attempt) {
        self.permits.release(attempt);
    }

    /// Renews the lease of an attempt ([`Permits::renew`]).
    pub fn renew(&mut self, attempt: Attempt, limits: &Limits, now: OffsetDateTime) {
        self.permits.renew(attempt, limits, now);
    }

    /// Applies an attempt's outcome. A report of an attempt without a lease, or a second report, changes nothing.
    pub fn report(&mut self, attempt: Attempt, report: Report, now: OffsetDateTime) {
        self.permits.report(attempt, report, now);
    }

    /// Puts a document at the end of its queue, which is in this lane.
    pub fn enqueue(&mut self, waiting: &WaitingDocument, lane: &Lane) -> QueuePosition {
        self.queues.push(lane, &waiting.document.submission_id, waiting.failed_transfers > 0)
    }

    /// The document that would be served next, if a permit may be granted now. The caller takes it out of its queue
    /// ([`Self::dequeue`]) and, if it still waits, grants it a permit ([`Self::grant`]).
    ///
    /// The half-open trial prefers a document that has not failed, so that a document that always fails cannot hold the
    /// breaker open.
    pub fn next(&self, limits: &Limits) -> Option<QueuePosition> {
        (self.room(limits) > 0).then(|| self.queues.first(!self.permits.is_closed())).flatten()
    }

    /// How many permits may be granted now; at most one while the circuit breaker is not closed.
    pub fn room(&self, limits: &Limits) -> usize {
        self.permits.room(limits)
    }

    /// Removes the head of a queue.
    pub fn dequeue(&mut self, position: &QueuePosition) {
        self.queues.pop(position);
    }

    /// Grants the next permit.
    pub fn grant(&mut self, waiting: WaitingDocument, limits: &Limits, now: OffsetDateTime) -> &Permit {
        let Reservation { attempt, starts_at, lease_ends_at, report_success, half_open_trial } =
            self.permits.reserve(now.into(), limits);
        let expires_at = starts_at + limits.tolerance();
        self.granted.push(Permit {
            waiting,
            attempt,
            starts_at,
            expires_at,
            lease_ends_at,
            report_success,
            half_open_trial,
        });
        &self.granted[self.granted.len() - 1]
    }

    /// Updates the time since which admission has made no progress. The caller calls this at the end of each decision.
    ///
    /// Progress is a permit for a document that has not failed, or for any document if all waiting documents have
    /// failed. A half-open trial is not progress, because trials can go on for ever.
    pub fn note_progress(&mut self, now: OffsetDateTime) {
        let waits = self.queues.waiting() > 0;
        let has_new = self.queues.has_new();
        let is_progress =
            |permit: &Permit| !permit.half_open_trial && (permit.waiting.failed_transfers == 0 || !has_new);
        if !waits || self.granted.iter().any(is_progress) {
            self.stalled_since = None;
        }
        if waits {
            self.stalled_since.get_or_insert(now.into());
        }
    }

    /// For how long documents have waited without progress ([`Self::note_progress`]).
    pub fn stalled_for(&self, now: OffsetDateTime) -> Duration {
        self.stalled_since.map_or(Duration::ZERO, |since| Timestamp::from(now).since(since))
    }

    /// Why the circuit breaker is open; `None` while it is closed.
    pub fn outage(&self) -> Option<Outage> {
        self.permits.outage()
    }

    /// The state for operators and metrics.
    pub fn snapshot(&self) -> LimiterSnapshot {
        LimiterSnapshot {
            leases: self.permits.leases(),
            waiting: self.queues.waiting(),
            breaker_open: !self.permits.is_closed(),
            slowdown: self.permits.slowdown(),
        }
    }
}
