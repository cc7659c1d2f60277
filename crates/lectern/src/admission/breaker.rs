//! The breaker: while the third party is down, transfers wait instead of failing, and one of them tries.

use serde::{Deserialize, Serialize};

use crate::document::Attempt;

/// Whether the third party is believed to work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Breaker {
    /// It is.
    Closed {
        /// Attempts in a row that found it unavailable.
        failures: u32,
    },
    /// It is not: nobody is let in, except one who tries from `until_us` on.
    Open {
        /// Why.
        cause: Cause,
        /// When it may be tried, in microseconds of the Unix epoch.
        until_us: i64,
        /// The pause that led there.
        pause_us: i64,
    },
    /// One tries.
    Trial {
        /// Why it was opened.
        cause: Cause,
        /// Who tries.
        attempt: Attempt,
        /// When nobody waits for its report any more, in microseconds of the Unix epoch.
        over_us: i64,
        /// The pause before it.
        pause_us: i64,
    },
}

/// Why the breaker opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// The third party could not be reached, again and again.
    Unavailable,
    /// The third party refuses our credentials.
    Unauthorized,
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl Breaker {
    /// So many failures in a row open it.
    const THRESHOLD: u32 = 5;
    /// The first pause.
    const FIRST_PAUSE_US: i64 = 15_000_000;
    /// The longest pause.
    const MAX_PAUSE_US: i64 = 300_000_000;
    /// How long a trial may take: a transfer's longest time, and its message's way.
    const TRIAL_US: i64 = 1_200_000_000;

    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }

    /// Whether one more may be let in, now or for a trial later.
    pub(super) fn lets_in(&self) -> bool {
        matches!(self, Self::Closed { .. } | Self::Open { .. })
    }

    /// When a trial may begin, if it is one that is let in.
    pub(super) fn not_before(&self) -> Option<i64> {
        match self {
            Self::Open { until_us, .. } => Some(*until_us),
            Self::Closed { .. } | Self::Trial { .. } => None,
        }
    }

    /// Lets this attempt in, and says whether its success matters.
    pub(super) fn admit(&mut self, attempt: Attempt, at_us: i64) -> bool {
        match *self {
            Self::Closed { failures } => failures > 0,
            Self::Open { cause, pause_us, .. } => {
                *self = Self::Trial { cause, attempt, over_us: at_us + Self::TRIAL_US, pause_us };
                true
            }
            Self::Trial { .. } => false,
        }
    }

    /// An attempt was accepted. While it is open, only the one who tries can tell.
    pub(super) fn succeeded(&mut self, by: Attempt) {
        match self {
            Self::Closed { .. } => *self = Self::default(),
            Self::Trial { attempt, .. } if *attempt == by => *self = Self::default(),
            Self::Open { .. } | Self::Trial { .. } => {}
        }
    }

    /// An attempt found the third party down.
    pub(super) fn failed(&mut self, by: Attempt, cause: Cause, now_us: i64) {
        match *self {
            Self::Closed { failures } => {
                let failures = failures.saturating_add(1);
                *self = if cause == Cause::Unauthorized || failures >= Self::THRESHOLD {
                    Self::opened(cause, Self::FIRST_PAUSE_US, now_us)
                } else {
                    Self::Closed { failures }
                };
            }
            Self::Trial { attempt, pause_us, .. } if attempt == by => {
                *self = Self::opened(cause, (pause_us * 2).min(Self::MAX_PAUSE_US), now_us);
            }
            // It was on its way before.
            Self::Open { .. } | Self::Trial { .. } => {}
        }
    }

    /// An attempt tells nothing of the third party; if it was the trial, another one may try.
    pub(super) fn inconclusive(&mut self, by: Attempt, now_us: i64) {
        if let Self::Trial { cause, attempt, pause_us, .. } = *self
            && attempt == by
        {
            *self = Self::Open { cause, until_us: now_us, pause_us };
        }
    }

    /// Lets time pass: a trial whose lease is gone, or that takes too long, is over.
    pub(super) fn pass(&mut self, now_us: i64, holds: impl Fn(Attempt) -> bool) {
        if let Self::Trial { attempt, over_us, .. } = *self
            && (now_us >= over_us || !holds(attempt))
        {
            self.inconclusive(attempt, now_us);
        }
    }

    fn opened(cause: Cause, pause_us: i64, now_us: i64) -> Self {
        Self::Open { cause, until_us: now_us + pause_us, pause_us }
    }
}
