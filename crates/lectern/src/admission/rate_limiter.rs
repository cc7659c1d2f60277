//! The rate limiter: a token bucket implemented as the generic cell rate algorithm (GCRA) with reservations, and a
//! slowdown that ends by itself.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// When the next request may be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RateLimiter {
    /// The earliest time of the next reservation.
    next_at: Timestamp,
    /// How many times the interval between reservations is doubled.
    level: u32,
    /// When the level was last raised. If the third party requested a pause, this is the end of that pause and may be
    /// in the future.
    raised_at: Timestamp,
    /// When the level last changed.
    changed_at: Timestamp,
}

impl RateLimiter {
    /// Slows requests down to 1/64 of the rate at most.
    const MAX_LEVEL: u32 = 6;
    /// The level falls by one after this long without a further 429.
    const LEVEL_FALLS_AFTER: Duration = Duration::from_secs(30);

    /// Reserves the next time for a request, at `earliest` or later.
    pub(super) fn reserve(&mut self, earliest: Timestamp, interval: Duration) -> Timestamp {
        let at = self.next(earliest);
        self.next_at = at + interval.saturating_mul(self.slowdown());
        at
    }

    /// The time that [`Self::reserve`] would return.
    pub(super) fn next(&self, earliest: Timestamp) -> Timestamp {
        self.next_at.max(earliest)
    }

    /// Slows down after a 429. `reserved_at` is the reservation of the request that got the 429, and `retry_at` is the end
    /// of the pause that the third party requests.
    ///
    /// One overload may cause several 429s, because requests that were reserved before the slowdown are still sent. So
    /// the level rises only if the request was reserved after the last rise and the pause that came with it.
    pub(super) fn slow_down(&mut self, reserved_at: Timestamp, now: Timestamp, retry_at: Timestamp) {
        self.next_at = self.next_at.max(retry_at);
        if reserved_at >= self.raised_at {
            self.level = (self.level + 1).min(Self::MAX_LEVEL);
            self.raised_at = now.max(retry_at);
            self.changed_at = self.raised_at;
        }
    }

    pub(super) fn advance_to(&mut self, now: Timestamp) {
        while self.level > 0 && now >= self.changed_at + Self::LEVEL_FALLS_AFTER {
            self.level -= 1;
            self.changed_at = self.changed_at + Self::LEVEL_FALLS_AFTER;
        }
    }

    /// The factor by which the interval between two reservations is multiplied.
    pub(super) fn slowdown(&self) -> u32 {
        1 << self.level
    }
}
