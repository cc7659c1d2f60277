//! The only module of this program that reads the time of day.

use time::OffsetDateTime;

/// The time of day, in UTC.
#[expect(clippy::disallowed_methods, reason = "this program is not part of the domain and has its own clock")]
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
