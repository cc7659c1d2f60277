//! The pace of requests: the generic cell rate algorithm with reserved slots, and a slowdown that eases by itself.

use serde::{Deserialize, Serialize};

/// When the next request may be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pace {
    /// The first moment that no slot was given for, in microseconds of the Unix epoch.
    next_us: i64,
    /// How often the interval is doubled.
    level: u32,
    /// When the level was last raised.
    slowed_us: i64,
    /// When the level last changed.
    changed_us: i64,
}

impl Pace {
    /// 64 times the interval.
    const MAX_LEVEL: u32 = 6;
    /// After so long without being told to wait the level falls by one.
    const EASES_AFTER_US: i64 = 30_000_000;

    /// Reserves the next slot.
    pub(super) fn slot(&mut self, earliest_us: i64, interval_us: i64) -> i64 {
        let at_us = self.next_us.max(earliest_us);
        self.next_us = at_us + (interval_us << self.level);
        at_us
    }

    /// The third party asks to wait. All whose slot was given before it asked the last time tell the same news, so only
    /// a slot of after that slows down further.
    pub(super) fn slow_down(&mut self, slot_us: i64, now_us: i64, retry_us: i64) {
        self.next_us = self.next_us.max(retry_us);
        if slot_us >= self.slowed_us {
            self.level = (self.level + 1).min(Self::MAX_LEVEL);
            self.slowed_us = now_us.max(retry_us);
            self.changed_us = self.slowed_us;
        }
    }

    /// Lets time pass.
    pub(super) fn ease(&mut self, now_us: i64) {
        while self.level > 0 && now_us - self.changed_us >= Self::EASES_AFTER_US {
            self.level -= 1;
            self.changed_us += Self::EASES_AFTER_US;
        }
    }

    /// How many times the interval lies between two slots.
    pub(super) fn slowdown(&self) -> u32 {
        1 << self.level
    }
}
