//! Enforces the server's limits: the rate of submissions, and the number of jobs in flight.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::token_bucket::TokenBucket;

/// The limits, as JSON of `GET` and `PUT /admin/limits`. Fields that are absent or null mean no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Limits {
    /// Submissions per second: the rate at which a token bucket refills.
    pub requests_per_second: Option<f64>,
    /// Submissions at once: the depth of the token bucket, 1 if absent.
    pub burst: Option<u32>,
    /// Jobs in flight at one time. A job is in flight from its acceptance until its callback is first sent.
    pub max_in_flight: Option<u32>,
}

impl Limits {
    fn bucket(self, now: Instant) -> Result<Option<TokenBucket>, InvalidLimits> {
        match (self.requests_per_second, self.burst) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(InvalidLimits("a burst needs requestsPerSecond")),
            (Some(rate), burst) => TokenBucket::new(rate, burst.unwrap_or(1), now)
                .map(Some)
                .ok_or(InvalidLimits("requestsPerSecond must be a positive number and burst at least 1")),
        }
    }
}

/// The limits are invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidLimits(&'static str);

/// Enforces the limits of one server.
#[derive(Debug)]
pub(crate) struct Limiter(Mutex<Book>);

#[derive(Debug)]
struct Book {
    limits: Limits,
    bucket: Option<TokenBucket>,
    /// The number of uploads and jobs that share the lease of each idempotency key.
    leases: HashMap<String, usize>,
}

impl Limiter {
    /// Starts with a full bucket and no leases.
    ///
    /// # Errors
    /// [`InvalidLimits`].
    pub(crate) fn new(limits: Limits) -> Result<Self, InvalidLimits> {
        let bucket = limits.bucket(Instant::now())?;
        Ok(Self(Mutex::new(Book { limits, bucket, leases: HashMap::new() })))
    }

    /// Changes the limits. The bucket starts full again if its rate or depth changes. Jobs in flight continue, even if
    /// there are more than the new limit allows.
    ///
    /// # Errors
    /// [`InvalidLimits`]; the limits then stay unchanged.
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

    /// Takes a token for a submission that arrived at `at`.
    ///
    /// # Errors
    /// The bucket is empty. The error is the time until the next token.
    pub(crate) fn admit(&self, at: Instant) -> Result<(), Duration> {
        self.lock().bucket.as_mut().map_or(Ok(()), |bucket| bucket.take(at))
    }

    /// Takes a lease for the job of `key`; `None` if all leases are taken. All uploads and the job of one key share one
    /// lease, because they result in one job.
    pub(crate) fn reserve(self: &Arc<Self>, key: &str) -> Option<Lease> {
        let mut book = self.lock();
        let taken = book.leases.len();
        let full = book
            .limits
            .max_in_flight
            .is_some_and(|most| usize::try_from(most).is_ok_and(|most| taken >= most));
        if full && !book.leases.contains_key(key) {
            return None;
        }
        *book.leases.entry(key.to_owned()).or_default() += 1;
        Some(Lease { limiter: Arc::clone(self), key: key.to_owned() })
    }

    fn release(&self, key: &str) {
        let mut book = self.lock();
        if let Some(sharing) = book.leases.get_mut(key) {
            *sharing -= 1;
            if *sharing == 0 {
                book.leases.remove(key);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts as one job in flight until it is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    limiter: Arc<Limiter>,
    key: String,
}

impl Drop for Lease {
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
    fn one_key_takes_one_lease_until_the_last_holder_drops_it() {
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
    fn invalid_limits_change_nothing() {
        let limiter = limiter(Limits::default());
        let rate = |requests_per_second, burst| Limits { requests_per_second, burst, max_in_flight: None };
        for limits in [rate(None, Some(1)), rate(Some(0.0), None), rate(Some(1.0), Some(0))] {
            assert!(limiter.set(limits).is_err());
            assert_eq!(limiter.get(), Limits::default());
        }
    }
}
