//! Summarises admission control: whether permits are granted, how many documents wait, and what to do about it.

use lectern::{
    admission::{AdmissionState, Cause, LimiterSnapshot, Outage},
    document::Document,
    error::rfc3339,
    ports::AdmissionStore as _,
};
use serde::Serialize;
use time::OffsetDateTime;

use crate::{
    cloud::Cloud,
    problem::Problem,
    text::{count, duration},
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Limiter {
    /// The circuit breaker; `None` while it is closed.
    #[serde(rename = "openBreaker")]
    pub(crate) breaker: Option<Breaker>,
    /// The number of documents that wait for a permit.
    pub(crate) waiting: u64,
    /// The number of held leases.
    pub(crate) leases: usize,
    /// The limit of jobs in flight, if it can be read.
    pub(crate) max_leases: Option<usize>,
    /// The interval between two requests, as a multiple of the configured interval.
    pub(crate) slowdown: u32,
}

/// The open circuit breaker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Breaker {
    pub(crate) cause: Cause,
    /// The time of the next half-open trial, RFC 3339.
    pub(crate) trial_at: String,
    /// Whether a document has the permit for the half-open trial.
    pub(crate) has_trial: bool,
}

/// The position of a document in admission control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standpoint {
    /// The document waits in a submission queue.
    Queued,
    /// The document has a lease.
    HoldsLease,
    Unknown,
}

impl Limiter {
    /// The state at `now`, with a limit of `max_leases` jobs in flight.
    pub(crate) fn of(state: &AdmissionState, max_leases: Option<usize>, now: OffsetDateTime) -> Self {
        let mut state = state.clone();
        state.advance_to(now);
        let LimiterSnapshot { leases, waiting, slowdown, .. } = state.snapshot();
        let breaker = state.outage().map(|Outage { cause, trial_at, has_trial }| Breaker {
            cause,
            trial_at: rfc3339(trial_at),
            has_trial,
        });
        Self { breaker, waiting, leases, max_leases, slowdown }
    }

    pub(crate) async fn read(cloud: &Cloud, now: OffsetDateTime) -> Result<(Self, AdmissionState), Problem> {
        let (state, _) = cloud.store.admission_state().await?;
        Ok((Self::of(&state, cloud.max_leases().await, now), state))
    }

    /// Whether a person has to do something.
    pub(crate) fn needs_attention(&self) -> bool {
        self.breaker.as_ref().is_some_and(|breaker| breaker.cause == Cause::Unauthorized)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.max_leases.is_some_and(|max_leases| self.leases >= max_leases)
    }

    /// A sentence about the circuit breaker.
    pub(crate) fn breaker_text(&self, now: OffsetDateTime) -> String {
        let Some(Breaker { cause, trial_at, has_trial }) = &self.breaker else {
            return "The circuit breaker is closed: documents are submitted as the limits allow.".to_owned();
        };
        let because = match cause {
            Cause::Unavailable => "The third party cannot be reached or is broken",
            Cause::Unauthorized => "The third party refuses our key",
        };
        let when = match crate::text::time(trial_at).filter(|at| *at > now) {
            Some(at) => format!("the next half-open trial is in {}, at {trial_at}", duration(at - now)),
            None if *has_trial => "a half-open trial is in progress".to_owned(),
            None => "the next document is the half-open trial".to_owned(),
        };
        format!("{because}, so transfers wait (the circuit breaker is open); {when}.")
    }

    /// A sentence with the numbers.
    pub(crate) fn numbers(&self) -> String {
        let of = self.max_leases.map(|max_leases| format!(" of {max_leases}")).unwrap_or_default();
        let slow = match self.slowdown {
            0 | 1 => String::new(),
            times => {
                format!(
                    "; the interval between requests is {times} times the configured one, because the third party requested a slowdown"
                )
            }
        };
        let waiting = count(usize::try_from(self.waiting).unwrap_or(usize::MAX), "document");
        let wait = if self.waiting == 1 { "waits" } else { "wait" };
        format!("{waiting} {wait} for a permit; {}{of} leases are held{slow}.", self.leases)
    }

    /// What a person has to do so that transfers continue; empty if they will continue by themselves.
    pub(crate) fn todo(&self, api_key: Option<&str>) -> Vec<String> {
        if !self.needs_attention() {
            return Vec::new();
        }
        let secret = api_key.unwrap_or("<the secret ThirdPartyApiKey>");
        vec![
            "Renew the key; waiting documents continue by themselves after the next half-open trial:"
                .to_owned(),
            format!("aws secretsmanager put-secret-value --secret-id {secret} --secret-string file://<key>"),
        ]
    }
}

pub(crate) async fn standpoint(
    cloud: &Cloud,
    state: &AdmissionState,
    document: &Document,
) -> Result<Standpoint, Problem> {
    if cloud.store.queue_position(&document.reference).await?.is_some() {
        return Ok(Standpoint::Queued);
    }
    let lease = document.attempt.and_then(|attempt| state.lease(attempt));
    Ok(if lease.is_some() { Standpoint::HoldsLease } else { Standpoint::Unknown })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lectern::{
        admission::{Lane, Limits, Permit, Report, WaitingDocument},
        document::{DocumentRef, DocumentState, TaskToken},
    };
    use time::macros::datetime;

    use super::*;
    use crate::testing::document;

    const NOW: OffsetDateTime = datetime!(2026-11-20 16:30:00 UTC);
    const LIMITS: Limits = Limits {
        interval: Duration::from_millis(200),
        burst: 10,
        max_in_flight: 2,
        lease: Duration::from_hours(5),
    };

    fn reference(number: u8) -> DocumentRef {
        let document_id = lectern::document::DocumentId::of("b", &[number], "v");
        DocumentRef { document_id, ..document(DocumentState::Received).reference }
    }

    fn waiting(number: u8, now: OffsetDateTime) -> WaitingDocument {
        WaitingDocument {
            document: reference(number),
            traceparent: None,
            task_token: TaskToken::new("SECRET"),
            failed_transfers: 0,
            enqueued_at: now.into(),
        }
    }

    fn granted(state: &mut AdmissionState, number: u8, now: OffsetDateTime) -> Permit {
        state.grant(waiting(number, now), &LIMITS, now).clone()
    }

    #[test]
    fn quiet_night_needs_no_action() {
        let limiter = Limiter::of(&AdmissionState::default(), Some(2), NOW);
        assert_eq!(
            limiter.breaker_text(NOW),
            "The circuit breaker is closed: documents are submitted as the limits allow."
        );
        assert_eq!(limiter.numbers(), "0 documents wait for a permit; 0 of 2 leases are held.");
        assert!(limiter.todo(None).is_empty() && !limiter.is_full());
    }

    #[test]
    fn numbers_show_full_leases_and_a_slowdown() {
        let mut state = AdmissionState::default();
        let first = granted(&mut state, 1, NOW);
        state.report(first.attempt, Report::RateLimited(None), NOW);
        for number in [1, 2] {
            granted(&mut state, number, NOW);
        }
        let waiting = waiting(3, NOW);
        state.enqueue(&waiting, &Lane::of(None, &waiting.document.submission_id));
        let limiter = Limiter::of(&state, Some(2), NOW);
        assert!(limiter.is_full() && limiter.breaker.is_none());
        assert_eq!(
            limiter.numbers(),
            "1 document waits for a permit; 2 of 2 leases are held; the interval between requests is 2 times the \
             configured one, because the third party requested a slowdown."
        );
        let later = Limiter::of(&state, None, NOW + Duration::from_hours(6));
        assert_eq!(
            later.numbers(),
            "1 document waits for a permit; 0 leases are held.",
            "leases expire by themselves"
        );
    }

    #[test]
    fn refused_key_has_to_be_renewed_and_the_next_half_open_trial_is_named() {
        let mut state = AdmissionState::default();
        let first = granted(&mut state, 1, NOW);
        state.report(first.attempt, Report::Unauthorized, NOW);
        let open = Limiter::of(&state, Some(2), NOW);
        let text = open.breaker_text(NOW);
        assert!(
            text.contains("refuses our key") && text.contains("trial is in 15 s, at 2026-11-20T16:30:15"),
            "{text}"
        );
        assert!(
            open.breaker_text(NOW + Duration::from_mins(1)).contains("next document is the half-open trial")
        );
        assert!(open.needs_attention() && open.todo(Some("arn:key"))[1].contains("--secret-id arn:key"));
        granted(&mut state, 2, NOW);
        let open = Limiter::of(&state, Some(2), NOW);
        assert!(open.breaker_text(NOW).contains("trial is in 15 s"), "the trial's time has not come yet");
        assert!(open.breaker_text(NOW + Duration::from_mins(1)).contains("trial is in progress"));
        let json = serde_json::to_string(&open).unwrap();
        assert!(
            json.contains(r#""openBreaker":{"cause":"unauthorized""#) && !json.contains("SECRET"),
            "{json}"
        );
    }

    #[test]
    fn third_party_that_is_down_needs_no_action() {
        let mut state = AdmissionState::default();
        for _ in 0..10 {
            let permit = granted(&mut state, 1, NOW);
            state.report(permit.attempt, Report::Unavailable, NOW);
        }
        let limiter = Limiter::of(&state, None, NOW);
        assert!(limiter.breaker_text(NOW).contains("cannot be reached"));
        assert!(!limiter.needs_attention() && limiter.todo(None).is_empty());
    }
}
