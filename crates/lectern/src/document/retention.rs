//! For how long Lectern keeps people's data after a document has ended.

use std::time::Duration;

use time::OffsetDateTime;

/// For how long the objects of a document are kept. `None` means for good. The lifecycle rules of the buckets in
/// `template.yaml` delete the objects; this type says when the items that point to them are deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// An upload, from its arrival.
    pub uploads: Option<Duration>,
    /// Returned files and records, from the time at which they were written.
    pub records: Option<Duration>,
}

impl Retention {
    /// For how long S3 keeps a version after the version has expired, was overwritten or was deleted, so that a mistake can
    /// be undone. The lifecycle rules set the same number of days.
    pub const OLD_VERSIONS: Duration = Duration::from_hours(30 * 24);
    /// S3 applies a lifecycle rule at the next midnight UTC, and some hours or days later.
    const LIFECYCLE_DELAY: Duration = Duration::from_hours(5 * 24);

    /// The time, in seconds since 1970, after which the items of a document that has ended now may be deleted: later than
    /// each object that the items point to. `None` if some of the objects are kept for good.
    pub fn expires_at(self, now: OffsetDateTime) -> Option<i64> {
        let longest = self.uploads?.max(self.records?);
        Some((now + longest + Self::OLD_VERSIONS + Self::LIFECYCLE_DELAY).unix_timestamp())
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-20 16:00 UTC);

    fn days(days: u64) -> Duration {
        Duration::from_hours(24 * days)
    }

    #[test]
    fn a08_items_outlive_the_objects_that_are_kept_longest() {
        for (uploads, records) in [(365, 1095), (1095, 365)] {
            let retention = Retention { uploads: Some(days(uploads)), records: Some(days(records)) };
            let expires_at = retention.expires_at(NOW).unwrap();
            let last_object = NOW + Duration::from_hours(24 * (1095 + 30));
            assert!(expires_at >= last_object.unix_timestamp() + 2 * 24 * 3600);
            assert!(expires_at <= last_object.unix_timestamp() + 7 * 24 * 3600, "and not much longer");
        }
    }

    #[test]
    fn a08_items_of_objects_that_are_kept_for_good_never_expire() {
        for retention in [
            Retention::default(),
            Retention { uploads: Some(days(365)), records: None },
            Retention { uploads: None, records: Some(days(365)) },
        ] {
            assert_eq!(retention.expires_at(NOW), None);
        }
    }
}
