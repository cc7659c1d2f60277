//! How fast work is done: a pure function of what happened, so that tests need no time to pass.

use std::time::Duration;

/// After this many failures in a row there is no point in going on.
pub const MAX_FAILURES: u32 = 8;
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_mins(1);

/// A steady rate, with exponential backoff and full jitter after failures. An allowance that was not used is not saved
/// up: after a pause there is no burst.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    interval: Duration,
    next: Duration,
    failures: u32,
}

impl Pace {
    /// So many steps a second; at least one in a hundred seconds, at most a thousand a second.
    pub fn per_second(rate: f64) -> Self {
        let interval = Duration::from_secs_f64(1.0 / rate.clamp(0.01, 1000.0));
        Self { interval, next: Duration::ZERO, failures: 0 }
    }

    /// How long to wait at `now` before `steps` are done at once. Times are counted from any one moment.
    #[must_use]
    pub fn wait(&mut self, now: Duration, steps: u32) -> Duration {
        let wait = self.next.saturating_sub(now);
        self.next = self.next.max(now) + self.interval * steps;
        wait
    }

    /// The step was done.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The step failed at `now`; `random` is in 0..1. `false` if there is no point in going on.
    #[must_use]
    pub fn failed(&mut self, now: Duration, random: f64) -> bool {
        self.failures += 1;
        let ceiling = FIRST_BACKOFF.saturating_mul(1 << (self.failures - 1).min(16)).min(LONGEST_BACKOFF);
        self.next = self.next.max(now + ceiling.mul_f64(random.clamp(0.0, 1.0)));
        self.failures < MAX_FAILURES
    }

    /// How many steps fit into a batch of at most `most` without running ahead by more than a second.
    pub fn batch(&self, most: usize) -> usize {
        let in_a_second = (1.0 / self.interval.as_secs_f64()).floor();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in 0..=1000")]
        (in_a_second as usize).clamp(1, most.max(1))
    }
}

/// A pace on the machine's clock.
#[derive(Debug)]
pub(crate) struct Timer {
    pace: Pace,
    begun: tokio::time::Instant,
}

impl Timer {
    pub(crate) fn per_second(rate: f64) -> Self {
        Self { pace: Pace::per_second(rate), begun: tokio::time::Instant::now() }
    }

    pub(crate) fn batch(&self, most: usize) -> usize {
        self.pace.batch(most)
    }

    pub(crate) async fn turn(&mut self, steps: usize) {
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        let wait = self.pace.wait(self.begun.elapsed(), steps);
        tokio::time::sleep(wait).await;
    }

    pub(crate) fn succeeded(&mut self) {
        self.pace.succeeded();
    }

    pub(crate) fn failed(&mut self) -> bool {
        self.pace.failed(self.begun.elapsed(), fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn steps_come_at_the_rate_and_never_in_a_burst() {
        let mut pace = Pace::per_second(4.0);
        let waits: Vec<Duration> = (0..4).map(|_| pace.wait(Duration::ZERO, 1)).collect();
        assert_eq!(waits, [MS(0), MS(250), MS(500), MS(750)]);
        assert_eq!(pace.wait(MS(60_000), 1), MS(0), "after a pause the next is due at once");
        assert_eq!(pace.wait(MS(60_000), 1), MS(250), "and what was not used is not made up for");
        assert_eq!(pace.wait(MS(60_500), 4), MS(0));
        assert_eq!(pace.wait(MS(60_500), 1), MS(1000), "a batch counts as many steps as it has");
    }

    #[test]
    fn failures_back_off_exponentially_with_jitter_and_end() {
        let mut pace = Pace::per_second(1000.0);
        let mut pauses = Vec::new();
        for failure in 1..=MAX_FAILURES {
            assert_eq!(pace.failed(Duration::ZERO, 1.0), failure < MAX_FAILURES);
            pauses.push(pace.next);
        }
        let seconds = [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000].map(MS);
        assert_eq!(pauses, seconds);
        let mut jittered = Pace::per_second(1000.0);
        assert!(jittered.failed(Duration::ZERO, 0.25));
        assert_eq!(jittered.next, MS(125));
        pace.succeeded();
        assert!(pace.failed(MS(60_000), 1.0), "a success forgets the failures before it");
        assert_eq!(pace.next, MS(60_500));
    }

    #[test]
    fn batches_do_not_run_ahead_of_the_rate() {
        let batch = |rate| Pace::per_second(rate).batch(10);
        assert_eq!([batch(0.5), batch(3.0), batch(10.0), batch(500.0)], [1, 3, 10, 10]);
    }

    proptest! {
        #[test]
        fn rate_is_never_exceeded(rate in 0.1f64..500.0, pauses in prop::collection::vec(0u64..3000, 1..60)) {
            let mut pace = Pace::per_second(rate);
            let (mut now, mut times) = (Duration::ZERO, Vec::new());
            for pause in pauses {
                now += MS(pause) + pace.wait(now + MS(pause), 1);
                times.push(now.as_secs_f64());
            }
            for pair in times.windows(2) {
                prop_assert!(pair[1] - pair[0] >= 1.0 / rate - 1e-6, "{pair:?}");
            }
        }
    }
}
