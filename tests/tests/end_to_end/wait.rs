//! Waits for effects, with a bound. Nothing here waits for a fixed time.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The bound for effects that take a few seconds on an idle machine.
pub(crate) const SOON: Duration = Duration::from_mins(2);
/// The bound for effects that wait for timeouts of queues and callbacks.
pub(crate) const LATER: Duration = Duration::from_mins(5);

/// Calls `look` until it finds the effect, and fails after `bound` with the last result of `look`.
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
