//! Formats times and sizes for people. Durations are formatted here because `humantime` prints every unit down to
//! nanoseconds and does not round.

use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

/// `1.2 s`, `3 min 20 s`, `4 h 10 min`, `2 d 3 h`.
pub(crate) fn duration(span: Duration) -> String {
    let span = span.max(Duration::ZERO);
    let (seconds, minutes, hours) = (span.whole_seconds(), span.whole_minutes(), span.whole_hours());
    match seconds {
        0..10 => format!("{:.1} s", span.as_seconds_f64()),
        10..120 => format!("{seconds} s"),
        120..7200 => format!("{minutes} min {} s", seconds % 60),
        7200..172_800 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{} d {} h", hours / 24, hours % 24),
    }
}

/// `12.35 MB`.
pub(crate) fn size(bytes: u64) -> String {
    indicatif::DecimalBytes(bytes).to_string()
}

/// A stored or logged time.
pub(crate) fn time(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

/// A time of an AWS service.
pub(crate) fn aws_time(time: &aws_sdk_sfn::primitives::DateTime) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(time.as_nanos()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// `1 document`, `2 documents`.
pub(crate) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_read_well() {
        let spans =
            [0.04, 3.21, 14.0, 200.0, 15_000.0, 190_000.0].map(|s| duration(Duration::seconds_f64(s)));
        assert_eq!(spans, ["0.0 s", "3.2 s", "14 s", "3 min 20 s", "4 h 10 min", "2 d 4 h"]);
        assert_eq!([12, 12_345, 12_345_678].map(size), ["12 B", "12.35 kB", "12.35 MB"]);
    }
}
