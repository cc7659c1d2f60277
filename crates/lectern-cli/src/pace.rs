//! The rate of changes: evenly spaced, without a burst after a pause.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior};

/// Ticks `rate` times per second.
pub(crate) fn per_second(rate: f64) -> Interval {
    let mut interval = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn steps_come_at_the_rate_and_never_in_a_burst() {
        let begun = tokio::time::Instant::now();
        let (mut pace, mut times) = (per_second(4.0), Vec::new());
        for pause_ms in [0, 0, 0, 60_000, 0] {
            tokio::time::advance(Duration::from_millis(pause_ms)).await;
            pace.tick().await;
            times.push(begun.elapsed().as_millis());
        }
        assert_eq!(times, [0, 250, 500, 60_500, 60_750], "ticks that a pause left out are not caught up");
    }
}
