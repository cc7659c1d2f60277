//! The largest number of events in any one-second window.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// The events less than one second before the newest event, and the newest event.
#[derive(Debug, Default)]
pub(crate) struct SlidingWindow {
    events: VecDeque<Instant>,
    most: usize,
}

impl SlidingWindow {
    /// Adds an event, which must not be older than the previous one.
    pub(crate) fn note(&mut self, at: Instant) {
        while self.events.front().is_some_and(|oldest| at.saturating_duration_since(*oldest) >= SECOND) {
            self.events.pop_front();
        }
        self.events.push_back(at);
        self.most = self.most.max(self.events.len());
    }

    /// The largest number of events that the window has held.
    pub(crate) fn most(&self) -> usize {
        self.most
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_finds_the_fullest_second(
            pauses_ms in prop::collection::vec(prop_oneof![Just(0), Just(500), Just(1000), 0_u64..1500], 0..60),
        ) {
            let begun = Instant::now();
            let events: Vec<u64> = pauses_ms
                .iter()
                .scan(0, |at, pause| { *at += pause; Some(*at) })
                .collect();
            let mut window = SlidingWindow::default();
            for at in &events {
                window.note(begun + Duration::from_millis(*at));
            }
            // Some one-second window with the most events begins with an event.
            let in_second_from =
                |from: u64| events.iter().filter(|at| (from..from + 1000).contains(*at)).count();
            let most = events.iter().map(|from| in_second_from(*from)).max().unwrap_or(0);
            prop_assert_eq!(window.most(), most);
        }
    }
}
