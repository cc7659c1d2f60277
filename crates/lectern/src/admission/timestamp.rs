//! Points in time as the admission state stores them.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// Microseconds of the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    const SECOND: i64 = 1_000_000;

    /// The same point in time as a date; the Unix epoch if it is out of the date type's range.
    pub fn to_date(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// Rounds up to a whole second.
    #[must_use]
    pub fn to_whole_second(self) -> Self {
        Self((self.0 + Self::SECOND - 1).div_euclid(Self::SECOND) * Self::SECOND)
    }

    /// The time that has passed since `earlier`; zero if `earlier` is in the future.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or_default())
    }
}

impl From<OffsetDateTime> for Timestamp {
    fn from(date: OffsetDateTime) -> Self {
        Self(i64::try_from(date.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    /// Rounds up to a whole microsecond, so that reservations are never closer together than the interval.
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_nanos().div_ceil(1000)).unwrap_or(i64::MAX)))
    }
}

impl Sub for Timestamp {
    type Output = time::Duration;

    fn sub(self, earlier: Self) -> time::Duration {
        time::Duration::microseconds(self.0.saturating_sub(earlier.0))
    }
}
