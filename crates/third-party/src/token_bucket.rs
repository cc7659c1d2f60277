//! An exact token bucket: it counts in billionths with integers and never rounds.

use std::time::Duration;

use tokio::time::Instant;

const NANOS: u128 = 1_000_000_000;
/// The level of one token. A level counts billionths of a token times billionths of a second, so that an elapsed time
/// multiplied by the rate is a level.
const TOKEN: u128 = NANOS * NANOS;

#[derive(Clone, Debug)]
pub(crate) struct TokenBucket {
    /// The rate, in billionths of a token per second.
    nanos_per_second: u128,
    depth: u128,
    level: u128,
    at: Instant,
}

impl TokenBucket {
    /// A full bucket of `depth` tokens that refills with `per_second`. `None` unless the rate is a positive number and
    /// the depth is at least 1.
    pub(crate) fn new(per_second: f64, depth: u32, now: Instant) -> Option<Self> {
        // `Duration` converts a float to whole billionths.
        let nanos_per_second = Duration::try_from_secs_f64(per_second).ok()?.as_nanos();
        let depth = u128::from(depth) * TOKEN;
        (nanos_per_second > 0 && depth > 0).then_some(Self { nanos_per_second, depth, level: depth, at: now })
    }

    /// Takes one token out of the bucket.
    ///
    /// # Errors
    /// The bucket holds less than one token. The error is the time until it holds one, if no other call takes it.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let refill = now.saturating_duration_since(self.at).as_nanos().saturating_mul(self.nanos_per_second);
        self.level = self.level.saturating_add(refill).min(self.depth);
        self.at = self.at.max(now);
        if let Some(left) = self.level.checked_sub(TOKEN) {
            self.level = left;
            return Ok(());
        }
        let wait_nanos = (TOKEN - self.level).div_ceil(self.nanos_per_second);
        Err(Duration::from_nanos(u64::try_from(wait_nanos).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether a request at `at` is within the limit, computed only from the requests admitted before it: no period has
    /// more requests than the depth plus the rate times the period.
    fn within(passed: &[u64], at: u64, nanos_per_second: u64, depth: u32) -> bool {
        (0..passed.len()).all(|first| {
            let requests = u128::try_from(passed.len() - first + 1).unwrap() * TOKEN;
            let stretch = u128::from(at - passed[first]) * u128::from(nanos_per_second);
            requests <= u128::from(depth) * TOKEN + stretch
        })
    }

    proptest! {
        #[test]
        fn it_lets_through_just_what_the_limit_allows(
            millis_per_second in 1_u32..50_000,
            depth in 1_u32..8,
            // Pauses around the refill time of one token, and no pause.
            pauses in prop::collection::vec(prop_oneof![Just(0), 0_u64..400_000_000, 0_u64..3_000_000_000], 1..80),
        ) {
            let begun = Instant::now();
            let mut bucket = TokenBucket::new(f64::from(millis_per_second) / 1000.0, depth, begun).unwrap();
            let nanos_per_second = u64::try_from(bucket.nanos_per_second).unwrap();
            let (mut at, mut passed) = (0, Vec::new());
            for pause in pauses {
                at += pause;
                let expected = within(&passed, at, nanos_per_second, depth);
                let mut before = bucket.clone();
                match bucket.take(begun + Duration::from_nanos(at)) {
                    Ok(()) => {
                        prop_assert!(expected);
                        passed.push(at);
                    }
                    Err(wait) => {
                        prop_assert!(!expected);
                        let due = begun + Duration::from_nanos(at) + wait;
                        prop_assert!(before.clone().take(due - Duration::from_nanos(1)).is_err());
                        prop_assert!(before.take(due).is_ok());
                    }
                }
            }
        }
    }

    #[test]
    fn an_eighth_of_a_second_brings_one_of_eight() {
        let begun = Instant::now();
        let mut bucket = TokenBucket::new(8.0, 1, begun).unwrap();
        for eighth in 0..1000 {
            let at = begun + Duration::from_millis(125) * eighth;
            assert_eq!(bucket.take(at), Ok(()));
            assert_eq!(bucket.take(at), Err(Duration::from_millis(125)));
        }
    }

    #[test]
    fn a_request_that_seems_to_come_from_the_past_brings_nothing() {
        let begun = Instant::now();
        let mut bucket = TokenBucket::new(1.0, 1, begun).unwrap();
        let later = begun + Duration::from_secs(10);
        assert_eq!(bucket.take(later), Ok(()));
        assert_eq!(bucket.take(begun), Err(Duration::from_secs(1)));
        assert!(bucket.take(later).is_err());
    }

    #[test]
    fn a_rate_is_a_positive_number() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-12] {
            assert!(TokenBucket::new(rate, 1, Instant::now()).is_none(), "{rate}");
        }
        assert!(TokenBucket::new(1.0, 0, Instant::now()).is_none());
    }
}
