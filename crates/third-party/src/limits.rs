//! The limits that the server keeps: how fast documents are submitted, and how many jobs are in flight.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::token_bucket::TokenBucket;

/// The limits in force, as `GET` and `PUT /admin/limits` have them. What is absent or null is without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Limits {
    /// Submission requests in a second, on and on: the rate at which a token bucket refills.
    pub requests_per_second: Option<f64>,
    /// Submission requests at once: the depth of the token bucket. The bucket holds one without it.
    pub burst: Option<u32>,
    /// Jobs that are in flight at one time: from the acceptance of a job until its callback is first sent.
    pub max_in_flight: Option<u32>,
}

impl Limits {
    fn bucket(self, now: Instant) -> Result<Option<TokenBucket>, InvalidLimits> {
        match (self.requests_per_second, self.burst) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(InvalidLimits("a burst needs requestsPerSecond")),
            (Some(rate), burst) => TokenBucket::new(rate, burst.unwrap_or(1), now)
                .map(Some)
                .ok_or(InvalidLimits("requestsPerSecond is a positive number and burst is at least 1")),
        }
    }
}

/// The limits make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidLimits(&'static str);

/// Keeps the limits of one server.
#[derive(Debug)]
pub(crate) struct Limiter(Mutex<Book>);

#[derive(Debug)]
struct Book {
    limits: Limits,
    bucket: Option<TokenBucket>,
    /// By idempotency key, how many uploads and jobs share the place of it.
    places: HashMap<String, usize>,
}

impl Limiter {
    /// Keeps `limits`, with nothing used up.
    ///
    /// # Errors
    /// [`InvalidLimits`].
    pub(crate) fn new(limits: Limits) -> Result<Self, InvalidLimits> {
        let bucket = limits.bucket(Instant::now())?;
        Ok(Self(Mutex::new(Book { limits, bucket, places: HashMap::new() })))
    }

    /// Keeps other limits from now on. The bucket starts full again if its rate or depth changes; jobs in flight
    /// stay in flight, also if they are more than the new limit.
    ///
    /// # Errors
    /// [`InvalidLimits`]; the limits stay as they were.
    pub(crate) fn set(&self, limits: Limits) -> Result<(), InvalidLimits> {
        let mut book = self.lock();
        let rate = |limits: Limits| (limits.requests_per_second, limits.burst);
        let bucket = limits.bucket(Instant::now())?;
        if rate(limits) != rate(book.limits) {
            book.bucket = bucket;
        }
        book.limits = limits;
        Ok(())
    }

    /// The limits in force.
    pub(crate) fn get(&self) -> Limits {
        self.lock().limits
    }

    /// Decides on a request that arrived `at`.
    ///
    /// # Errors
    /// It is one too many, and the next one is none after the time that is returned.
    pub(crate) fn admit(&self, at: Instant) -> Result<(), Duration> {
        self.lock().bucket.as_mut().map_or(Ok(()), |bucket| bucket.take(at))
    }

    /// A place in flight for `key`; `None` if all are taken. Everything that asks for one key shares one place, since
    /// it ends in one job.
    pub(crate) fn reserve(self: &Arc<Self>, key: &str) -> Option<Place> {
        let mut book = self.lock();
        let taken = book.places.len();
        let full = book
            .limits
            .max_in_flight
            .is_some_and(|most| usize::try_from(most).is_ok_and(|most| taken >= most));
        if full && !book.places.contains_key(key) {
            return None;
        }
        *book.places.entry(key.to_owned()).or_default() += 1;
        Some(Place { limiter: Arc::clone(self), key: key.to_owned() })
    }

    fn release(&self, key: &str) {
        let mut book = self.lock();
        if let Some(sharing) = book.places.get_mut(key) {
            *sharing -= 1;
            if *sharing == 0 {
                book.places.remove(key);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in flight, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    limiter: Arc<Limiter>,
    key: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.limiter.release(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(limits: Limits) -> Arc<Limiter> {
        Arc::new(Limiter::new(limits).unwrap())
    }

    #[test]
    fn one_key_takes_one_place_until_the_last_that_shares_it_goes() {
        let limiter = limiter(Limits { max_in_flight: Some(1), ..Limits::default() });
        let first = limiter.reserve("a").unwrap();
        let second = limiter.reserve("a").unwrap();
        assert!(limiter.reserve("b").is_none());
        drop(first);
        assert!(limiter.reserve("b").is_none());
        drop(second);
        assert!(limiter.reserve("b").is_some());
    }

    #[test]
    fn a_lower_limit_counts_what_was_in_flight_before() {
        let limiter = limiter(Limits::default());
        let before: Vec<_> = ["a", "b", "c"].map(|key| limiter.reserve(key).unwrap()).into();
        limiter.set(Limits { max_in_flight: Some(3), ..Limits::default() }).unwrap();
        assert!(limiter.reserve("d").is_none());
        drop(before);
        assert!(limiter.reserve("d").is_some());
    }

    #[test]
    fn only_another_rate_fills_the_bucket_again() {
        let slow = Limits { requests_per_second: Some(0.001), burst: Some(2), max_in_flight: None };
        let limiter = limiter(slow);
        let now = Instant::now();
        assert!(limiter.admit(now).is_ok());
        assert!(limiter.admit(now).is_ok());
        limiter.set(Limits { max_in_flight: Some(5), ..slow }).unwrap();
        assert!(limiter.admit(now).is_err());
        limiter.set(Limits { burst: None, ..slow }).unwrap();
        assert!(limiter.admit(now).is_ok());
        assert!(limiter.admit(now).is_err());
    }

    #[test]
    fn limits_that_make_no_sense_change_nothing() {
        let limiter = limiter(Limits::default());
        let rate = |requests_per_second, burst| Limits { requests_per_second, burst, max_in_flight: None };
        for limits in [rate(None, Some(1)), rate(Some(0.0), None), rate(Some(1.0), Some(0))] {
            assert!(limiter.set(limits).is_err());
            assert_eq!(limiter.get(), Limits::default());
        }
    }
}
