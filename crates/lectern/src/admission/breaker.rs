//! The circuit breaker: while the third party is down, documents wait instead of failing, and one half-open trial at a
//! time checks whether the third party is back.
//!
//! The breaker counts consecutive failures of attempts that reached the third party. Success is the common case, and
//! reporting every success would cost one message each. So the first failure *arms* the breaker: every permit granted
//! after it also requires a report of success, and only those attempts count. Ten consecutive failures open the
//! breaker, one success disarms it. A failure ratio over a window would require reports of all successes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Timestamp;
use crate::document::Attempt;

/// Whether the third party is believed to work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum CircuitBreaker {
    /// Requests are allowed.
    Closed {
        /// Consecutive failures; the breaker is armed from the first one on.
        failures: u32,
        /// The newest attempt admitted before the breaker was armed: later ones report success.
        armed_after: Attempt,
    },
    /// No request is allowed before `until`, and then only a half-open trial.
    Open {
        /// Why the breaker opened.
        cause: Cause,
        /// When a half-open trial may start.
        until: Timestamp,
        /// The pause that ends at `until`.
        pause: Duration,
    },
    /// One attempt, the half-open trial, checks whether the third party is back.
    HalfOpen {
        /// Why the breaker opened.
        cause: Cause,
        /// The attempt that is the trial.
        attempt: Attempt,
        /// When the breaker stops waiting for the trial's report.
        gives_up_at: Timestamp,
        /// The pause before the trial.
        pause: Duration,
    },
}

/// Why the breaker opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// The third party could not be reached, answered 5xx, or did not answer.
    Unavailable,
    /// The third party refuses our credentials.
    Unauthorized,
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self::Closed { failures: 0, armed_after: Attempt::default() }
    }
}

impl CircuitBreaker {
    /// This many consecutive failures open the breaker. If 10 % of all attempts fail independently, ten consecutive
    /// failures happen about once in 10^10 attempts.
    const THRESHOLD: u32 = 10;
    const FIRST_PAUSE: Duration = Duration::from_secs(15);
    const MAX_PAUSE: Duration = Duration::from_mins(5);
    /// How long a half-open trial may take: the longest transfer plus the time of its message in the queue.
    const TRIAL_TIME: Duration = Duration::from_mins(20);

    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }

    /// Whether a permit may be granted. While the breaker is open, that permit is the half-open trial.
    pub(super) fn allows_request(&self) -> bool {
        !matches!(self, Self::HalfOpen { .. })
    }

    /// When the half-open trial may start, if the next permit is the trial.
    pub(super) fn not_before(&self) -> Option<Timestamp> {
        match self {
            Self::Open { until, .. } => Some(*until),
            Self::Closed { .. } | Self::HalfOpen { .. } => None,
        }
    }

    /// Admits this attempt. Returns whether its success has to be reported.
    pub(super) fn admit(&mut self, attempt: Attempt, starts_at: Timestamp) -> bool {
        match *self {
            Self::Closed { failures, .. } => failures > 0,
            Self::Open { cause, pause, .. } => {
                *self = Self::HalfOpen { cause, attempt, gives_up_at: starts_at + Self::TRIAL_TIME, pause };
                true
            }
            Self::HalfOpen { .. } => false,
        }
    }

    /// The third party answered this attempt. While the breaker is half-open, only the trial counts.
    pub(super) fn succeeded(&mut self, by: Attempt) {
        match self {
            Self::Closed { armed_after, .. } if by > *armed_after => *self = Self::default(),
            Self::HalfOpen { attempt, .. } if *attempt == by => *self = Self::default(),
            Self::Closed { .. } | Self::Open { .. } | Self::HalfOpen { .. } => {}
        }
    }

    /// This attempt found the third party down. `newest` is the newest attempt admitted so far.
    pub(super) fn failed(&mut self, by: Attempt, newest: Attempt, cause: Cause, now: Timestamp) {
        match *self {
            Self::Closed { .. } if cause == Cause::Unauthorized => {
                *self = Self::opened(cause, Self::FIRST_PAUSE, now);
            }
            Self::Closed { failures: 0, .. } => *self = Self::Closed { failures: 1, armed_after: newest },
            Self::Closed { failures, armed_after } if by > armed_after => {
                *self = if failures + 1 >= Self::THRESHOLD {
                    Self::opened(cause, Self::FIRST_PAUSE, now)
                } else {
                    Self::Closed { failures: failures + 1, armed_after }
                };
            }
            Self::HalfOpen { attempt, pause, .. } if attempt == by => {
                *self = Self::opened(cause, (pause * 2).min(Self::MAX_PAUSE), now);
            }
            // The attempt was admitted before the breaker was armed or opened.
            Self::Closed { .. } | Self::Open { .. } | Self::HalfOpen { .. } => {}
        }
    }

    /// This attempt says nothing about the third party. If it was the half-open trial, another trial may start at once.
    pub(super) fn inconclusive(&mut self, by: Attempt, now: Timestamp) {
        if let Self::HalfOpen { cause, attempt, pause, .. } = *self
            && attempt == by
        {
            *self = Self::Open { cause, until: now, pause };
        }
    }

    /// Ends a half-open trial that takes too long or whose lease has ended.
    pub(super) fn advance_to(&mut self, now: Timestamp, holds_lease: impl Fn(Attempt) -> bool) {
        if let Self::HalfOpen { attempt, gives_up_at, .. } = *self
            && (now >= gives_up_at || !holds_lease(attempt))
        {
            self.inconclusive(attempt, now);
        }
    }

    fn opened(cause: Cause, pause: Duration, now: Timestamp) -> Self {
        Self::Open { cause, until: now + pause, pause }
    }
}
