//! The most events in any stretch of one second, wherever it begins.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// A window of one second that ends with the newest event; it holds what came less than a second before that.
#[derive(Debug, Default)]
pub(crate) struct SlidingWindow {
    events: VecDeque<Instant>,
    most: usize,
}

impl SlidingWindow {
    /// Notes an event, which is not older than the one before.
    pub(crate) fn note(&mut self, at: Instant) {
        while self.events.front().is_some_and(|oldest| at.saturating_duration_since(*oldest) >= SECOND) {
            self.events.pop_front();
        }
        self.events.push_back(at);
        self.most = self.most.max(self.events.len());
    }

    /// The most that were ever in the window.
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
            // A fullest second begins with an event.
            let in_second_from =
                |from: u64| events.iter().filter(|at| (from..from + 1000).contains(*at)).count();
            let most = events.iter().map(|from| in_second_from(*from)).max().unwrap_or(0);
            prop_assert_eq!(window.most(), most);
        }
    }
}
