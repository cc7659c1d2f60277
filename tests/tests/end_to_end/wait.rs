//! Waiting for an effect, with a bound. Nothing here waits for a time to pass.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// For what takes a few seconds on an idle machine.
pub(crate) const SOON: Duration = Duration::from_mins(2);
/// For what waits for timeouts of queues and callbacks.
pub(crate) const LATER: Duration = Duration::from_mins(5);

/// Looks again and again until `look` finds the effect, and fails after `bound` with what was last seen.
pub(crate) async fn eventually<T, E: Display>(
    what: &str,
    bound: Duration,
    mut look: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let begun = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let seen = match look().await {
            Ok(effect) => return effect,
            Err(seen) => seen,
        };
        assert!(begun.elapsed() < bound, "{what}: not within {} s; last seen: {seen}", bound.as_secs());
        tokio::time::sleep(pause).await;
        pause = (pause * 5 / 4).min(LONGEST_PAUSE);
    }
}
