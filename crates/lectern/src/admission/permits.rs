//! The limits towards one receiver of requests: the rate limiter, the leases of requests in flight, and the circuit
//! breaker. The third party has one such state, and so has each subscriber of events.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{CircuitBreaker, Lease, Limits, Outage, RateLimiter, Report, Timestamp, breaker::Cause};
use crate::document::Attempt;

/// Which requests are in flight, and when the next one may be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Permits {
    /// The newest attempt. Each permit increases it, and nothing resets it.
    sequence: Attempt,
    /// The leases of requests or jobs in flight, by attempt, oldest first.
    leases: Vec<Lease>,
    rate_limiter: RateLimiter,
    breaker: CircuitBreaker,
}

/// The limits' part of a permit: a reservation of the rate limiter, and a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The number of the attempt.
    pub attempt: Attempt,
    /// The earliest time of the request.
    pub starts_at: Timestamp,
    /// When the lease ends.
    pub lease_ends_at: Timestamp,
    /// Whether the attempt's success has to be reported.
    pub report_success: bool,
    /// Whether the attempt is the half-open trial, which is granted only while the breaker is open.
    pub half_open_trial: bool,
}

impl Permits {
    /// The largest number of leases that are stored (about 100 KB of the item's 400 KB). Permits alone never come near
    /// this number, but redriven documents need no permit when their jobs turn out to be running.
    pub(super) const MAX_LEASES: usize = 1000;

    /// Applies the time: ends expired leases, lowers the slowdown, and ends a half-open trial without a report.
    pub fn advance_to(&mut self, now: OffsetDateTime) {
        let now = now.into();
        self.leases.retain(|lease| lease.ends_at > now);
        self.rate_limiter.advance_to(now);
        let leases = &self.leases;
        self.breaker.advance_to(now, |attempt| leases.iter().any(|lease| lease.attempt == attempt));
    }

    /// How many permits may be granted now; at most one while the circuit breaker is not closed.
    pub fn room(&self, limits: &Limits) -> usize {
        let max_in_flight = usize::try_from(limits.max_in_flight).unwrap_or(usize::MAX);
        let room = max_in_flight.saturating_sub(self.leases.len());
        match (self.breaker.is_closed(), self.breaker.allows_request()) {
            (true, _) => room,
            (false, true) => room.min(1),
            (false, false) => 0,
        }
    }

    /// Reserves the next request, at `earliest` or later.
    pub fn reserve(&mut self, earliest: Timestamp, limits: &Limits) -> Reservation {
        self.sequence = Attempt(self.sequence.0 + 1);
        let attempt = self.sequence;
        let half_open_trial = !self.breaker.is_closed();
        let earliest = self.breaker.not_before().map_or(earliest, |until| until.max(earliest));
        let starts_at = self.rate_limiter.reserve(earliest, limits.interval);
        let report_success = self.breaker.admit(attempt, starts_at);
        let lease_ends_at = starts_at + limits.lease;
        self.leases.push(Lease { attempt, starts_at, ends_at: lease_ends_at, reported: false });
        Reservation { attempt, starts_at, lease_ends_at, report_success, half_open_trial }
    }

    /// The time that [`Self::reserve`] would return.
    pub fn next_start(&self, earliest: Timestamp) -> Timestamp {
        let earliest = self.breaker.not_before().map_or(earliest, |until| until.max(earliest));
        self.rate_limiter.next(earliest)
    }

    /// The attempt's lease, if it has not ended.
    pub fn lease(&self, attempt: Attempt) -> Option<&Lease> {
        self.leases.iter().find(|lease| lease.attempt == attempt)
    }

    /// Ends the attempt's lease.
    pub fn release(&mut self, attempt: Attempt) {
        self.leases.retain(|lease| lease.attempt != attempt);
    }

    /// Renews the lease of an attempt, because its job was confirmed to be running. If the lease has ended, this function
    /// creates a new one, even above the in-flight limit, since the job is in flight in any case.
    pub fn renew(&mut self, attempt: Attempt, limits: &Limits, now: OffsetDateTime) {
        let starts_at = Timestamp::from(now);
        let ends_at = starts_at + limits.lease;
        if let Some(lease) = self.leases.iter_mut().find(|lease| lease.attempt == attempt) {
            lease.ends_at = lease.ends_at.max(ends_at);
        } else if self.leases.len() < Self::MAX_LEASES {
            self.leases.push(Lease { attempt, starts_at, ends_at, reported: true });
        } else {
            tracing::warn!(
                leases = Self::MAX_LEASES,
                "A job at work has no lease: too many leases are held."
            );
        }
    }

    /// Applies an attempt's outcome. A report of an attempt without a lease, or a second report, changes nothing.
    pub fn report(&mut self, attempt: Attempt, report: Report, now: OffsetDateTime) {
        let Some(lease) = self.leases.iter_mut().find(|lease| lease.attempt == attempt && !lease.reported)
        else {
            return;
        };
        lease.reported = true;
        let (reserved_at, now, newest) = (lease.starts_at, Timestamp::from(now), self.sequence);
        match report {
            Report::Accepted | Report::Rejected => self.breaker.succeeded(attempt),
            Report::RateLimited(retry_at) => {
                self.rate_limiter.slow_down(reserved_at, now, retry_at.map_or(now, Timestamp::from));
                self.breaker.inconclusive(attempt, now);
            }
            Report::Unavailable | Report::OutcomeUnknown => {
                self.breaker.failed(attempt, newest, Cause::Unavailable, now);
            }
            Report::Unauthorized => self.breaker.failed(attempt, newest, Cause::Unauthorized, now),
            Report::Unused | Report::AlreadyUsed => self.breaker.inconclusive(attempt, now),
        }
        if !matches!(report, Report::Accepted | Report::OutcomeUnknown | Report::AlreadyUsed) {
            self.release(attempt);
        }
    }

    /// Closes the circuit breaker and ends a slowdown, because an operator has resumed the requests.
    pub fn reset(&mut self) {
        self.breaker = CircuitBreaker::default();
        self.rate_limiter = RateLimiter::default();
    }

    /// The number of leases held.
    pub fn leases(&self) -> usize {
        self.leases.len()
    }

    /// When the first lease ends by itself.
    pub fn first_lease_end(&self) -> Option<Timestamp> {
        self.leases.iter().map(|lease| lease.ends_at).min()
    }

    /// Whether the circuit breaker is closed, so that requests are allowed without a trial.
    pub fn is_closed(&self) -> bool {
        self.breaker.is_closed()
    }

    /// The factor by which the rate limiter stretches the interval between requests; normally 1.
    pub fn slowdown(&self) -> u32 {
        self.rate_limiter.slowdown()
    }

    /// Why the circuit breaker is open; `None` while it is closed.
    pub fn outage(&self) -> Option<Outage> {
        match self.breaker {
            CircuitBreaker::Closed { .. } => None,
            CircuitBreaker::Open { cause, until, .. } => {
                Some(Outage { cause, trial_at: until.to_date(), has_trial: false })
            }
            CircuitBreaker::HalfOpen { cause, attempt, gives_up_at, .. } => {
                let trial_at = self.lease(attempt).map_or(gives_up_at, |lease| lease.starts_at);
                Some(Outage { cause, trial_at: trial_at.to_date(), has_trial: true })
            }
        }
    }
}

impl Limits {
    /// The limits of a receiver that is asked for at most this many requests per second and in flight, each of which takes
    /// at most `request`. Reservations can be used for two seconds, because a wait ends in whole seconds and a function
    /// has to start.
    pub fn of_requests(requests_per_second: f64, max_in_flight: u32, request: Duration) -> Self {
        let interval =
            Duration::try_from_secs_f64(1.0 / requests_per_second).unwrap_or(Duration::from_secs(1));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate has a small maximum"
        )]
        let burst = ((requests_per_second * 2.0).ceil() as u32).max(1) + 2;
        Self { interval, burst, max_in_flight, lease: request + Duration::from_secs(30) }
    }
}
