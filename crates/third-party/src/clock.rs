//! The one place where this program asks for the time of day.

use time::OffsetDateTime;

/// The time of day, in UTC.
#[expect(clippy::disallowed_methods, reason = "this is the clock of a program that is no part of the domain")]
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
