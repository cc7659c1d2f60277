//! Measures how the server is used, independently of the limits that the server enforces.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::{clock, sliding_window::SlidingWindow};

/// The number of arrivals that are listed; later ones are only counted.
const LISTED_ARRIVALS: usize = 100_000;

/// Measures the usage of one server.
#[derive(Debug)]
pub(crate) struct Meter {
    /// The same moment on both clocks, from which times of day are computed with the monotonic clock.
    anchor: (Instant, OffsetDateTime),
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    requests: u64,
    accepted: u64,
    refused_by_rate: u64,
    refused_by_in_flight: u64,
    first: Option<Instant>,
    last: Option<Instant>,
    window: SlidingWindow,
    arrivals: Vec<Instant>,
    in_flight: InFlight,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self { anchor: (Instant::now(), clock::now()), book: Mutex::default() }
    }

    /// Counts a submission whose headers have just arrived, and returns the time.
    pub(crate) fn arrived(&self) -> Instant {
        let mut book = self.lock();
        // The clock is read under the lock, so that arrivals are in order of time.
        let now = Instant::now();
        book.requests += 1;
        book.first.get_or_insert(now);
        book.last = Some(now);
        book.window.note(now);
        if book.arrivals.len() < LISTED_ARRIVALS {
            book.arrivals.push(now);
        }
        now
    }

    /// Counts a submission that got a job, new or existing.
    pub(crate) fn accepted(&self) {
        self.lock().accepted += 1;
    }

    /// Counts a submission that the rate limit refused.
    pub(crate) fn refused_by_rate(&self) {
        self.lock().refused_by_rate += 1;
    }

    /// Counts a submission that the limit on jobs in flight refused.
    pub(crate) fn refused_by_in_flight(&self) {
        self.lock().refused_by_in_flight += 1;
    }

    /// Counts a new job, which is in flight until the returned value is dropped.
    pub(crate) fn job_began(self: &Arc<Self>) -> Running {
        let mut book = self.lock();
        let jobs = book.in_flight.jobs + 1;
        book.in_flight.change(Instant::now(), jobs);
        Running(Arc::clone(self))
    }

    /// Resets all counts. Jobs in flight stay in flight.
    pub(crate) fn reset(&self) {
        let mut book = self.lock();
        let jobs = book.in_flight.jobs;
        *book = Book::default();
        book.in_flight.change(Instant::now(), jobs);
    }

    /// The usage until now.
    pub(crate) fn view(&self) -> UsageView {
        let mut book = self.lock();
        let jobs = book.in_flight.jobs;
        book.in_flight.change(Instant::now(), jobs);
        let span = book.last.zip(book.first).map(|(last, first)| last - first);
        let later = u32::try_from(book.requests.saturating_sub(1)).unwrap_or(u32::MAX);
        UsageView {
            requests: book.requests,
            accepted: book.accepted,
            refused_by_rate: book.refused_by_rate,
            refused_by_in_flight: book.refused_by_in_flight,
            first_request_at_ms: book.first.map(|at| self.epoch_ms(at)),
            last_request_at_ms: book.last.map(|at| self.epoch_ms(at)),
            max_requests_in_any_second: book.window.most(),
            average_requests_per_second: span
                .filter(|span| !span.is_zero())
                .map(|span| f64::from(later) / span.as_secs_f64()),
            in_flight: book.in_flight.jobs,
            peak_in_flight: book.in_flight.peak,
            time_weighted_in_flight: book.in_flight.mean(),
            arrivals_ms: book
                .first
                .map(|first| book.arrivals.iter().map(|at| (*at - first).as_secs_f64() * 1000.0).collect())
                .unwrap_or_default(),
        }
    }

    fn epoch_ms(&self, at: Instant) -> u64 {
        let (instant, time_of_day) = self.anchor;
        let nanos = time_of_day.unix_timestamp_nanos() + signed(at.saturating_duration_since(instant));
        u64::try_from(nanos / 1_000_000).unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn signed(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}

/// A job that is in flight until this is dropped.
#[derive(Debug)]
pub(crate) struct Running(Arc<Meter>);

impl Drop for Running {
    fn drop(&mut self) {
        let mut book = self.0.lock();
        let left = book.in_flight.jobs.saturating_sub(1);
        book.in_flight.change(Instant::now(), left);
    }
}

/// The number of jobs in flight over time.
#[derive(Debug, Default)]
struct InFlight {
    jobs: u32,
    peak: u32,
    changed: Option<Instant>,
    /// The total time with at least one job in flight.
    busy: Duration,
    /// The sum of the jobs' times in flight.
    jobs_time: Duration,
}

impl InFlight {
    fn change(&mut self, now: Instant, jobs: u32) {
        if let Some(changed) = self.changed.filter(|_| self.jobs > 0) {
            let lasted = now.saturating_duration_since(changed);
            self.busy += lasted;
            self.jobs_time += lasted * self.jobs;
        }
        self.changed = Some(now);
        self.jobs = jobs;
        self.peak = self.peak.max(jobs);
    }

    fn mean(&self) -> Option<f64> {
        (!self.busy.is_zero()).then(|| self.jobs_time.as_secs_f64() / self.busy.as_secs_f64())
    }
}

/// Answer of `GET /admin/usage`: the usage since the start, or since the last `DELETE /admin/usage`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageView {
    /// Submissions with a valid API key, pushed or pulled, accepted or not.
    pub requests: u64,
    /// Submissions that got a job, new or existing, including those whose answer a fault lost.
    pub accepted: u64,
    /// Submissions that the rate limit refused. Refusals by a fault do not count.
    pub refused_by_rate: u64,
    /// Submissions that the limit on jobs in flight refused.
    pub refused_by_in_flight: u64,
    /// When the first submission arrived, in milliseconds since 1970; null without submissions.
    pub first_request_at_ms: Option<u64>,
    /// When the last submission arrived, in milliseconds since 1970, by a clock that is monotonic after the server's
    /// start.
    pub last_request_at_ms: Option<u64>,
    /// The largest number of submissions in any one-second window, whose end is exclusive.
    pub max_requests_in_any_second: usize,
    /// Submissions after the first, divided by the time from the first to the last; null for fewer than two.
    pub average_requests_per_second: Option<f64>,
    /// Jobs in flight now: accepted, but no callback sent yet.
    pub in_flight: u32,
    /// The largest number of jobs in flight at one time.
    pub peak_in_flight: u32,
    /// The mean number of jobs in flight while there was at least one; null without jobs.
    pub time_weighted_in_flight: Option<f64>,
    /// The arrivals of the first 100,000 submissions, in milliseconds after the first one, oldest first.
    pub arrivals_ms: Vec<f64>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_mean_and_the_peak_are_those_of_a_count_of_every_millisecond(
            jobs in prop::collection::vec((0_u64..300, 1_u64..200), 1..30),
        ) {
            let mut changes: Vec<(u64, i64)> =
                jobs.iter().flat_map(|(from, lasts)| [(*from, 1), (from + lasts, -1)]).collect();
            // If one job ends and another begins in the same millisecond, the end comes first.
            changes.sort_unstable();
            let begun = Instant::now();
            let mut in_flight = InFlight::default();
            for (at, change) in changes {
                let now = i64::from(in_flight.jobs) + change;
                in_flight.change(begun + Duration::from_millis(at), u32::try_from(now).unwrap());
            }
            let counts: Vec<u32> = (0..500)
                .map(|at| jobs.iter().filter(|(from, lasts)| (*from..from + lasts).contains(&at)).count())
                .map(|count| u32::try_from(count).unwrap())
                .collect();
            let busy = u32::try_from(counts.iter().filter(|count| **count > 0).count()).unwrap();
            let mean = f64::from(counts.iter().sum::<u32>()) / f64::from(busy);
            prop_assert!((in_flight.mean().unwrap() - mean).abs() < 1e-9);
            prop_assert_eq!(in_flight.peak, counts.into_iter().max().unwrap());
        }
    }

    #[test]
    fn a_reset_keeps_the_jobs_in_flight_and_nothing_else() {
        let meter = Arc::new(Meter::new());
        let running = [meter.job_began(), meter.job_began()];
        drop(meter.job_began());
        meter.arrived();
        meter.accepted();
        meter.reset();
        let view = meter.view();
        assert_eq!((view.in_flight, view.peak_in_flight), (2, 2));
        assert_eq!((view.requests, view.accepted, view.first_request_at_ms), (0, 0, None));
        assert!(view.arrivals_ms.is_empty());
        drop(running);
        assert_eq!((meter.view().in_flight, meter.view().peak_in_flight), (0, 2));
    }

    #[test]
    fn arrivals_count_from_the_first() {
        let meter = Meter::new();
        let arrived: Vec<Instant> = (0..3).map(|_| meter.arrived()).collect();
        let view = meter.view();
        let expected: Vec<f64> = arrived.iter().map(|at| (*at - arrived[0]).as_secs_f64() * 1000.0).collect();
        assert_eq!(view.arrivals_ms, expected);
        assert_eq!((view.requests, view.max_requests_in_any_second), (3, 3));
        assert!(view.first_request_at_ms <= view.last_request_at_ms);
    }
}
