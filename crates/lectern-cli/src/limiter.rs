//! The third party's limits as they stand: whether anybody is let in, how many wait, and what is to be done about it.

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

/// What the gate tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Limiter {
    /// The open breaker; none while the third party is believed to work.
    #[serde(rename = "openBreaker", skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Breaker>,
    /// Documents that wait for a turn.
    pub waiting: u64,
    /// Places among the jobs in flight that are taken.
    pub places_taken: usize,
    /// How many places there are, if the stack tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub places: Option<usize>,
    /// How many times as far apart as usual requests are.
    pub slowdown: u32,
}

/// Why nobody is let in, and how that ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Breaker {
    /// Why it is open.
    pub cause: Cause,
    /// When one tries whether the third party is back, RFC 3339.
    pub trial_at: String,
    /// Whether it is settled who tries.
    pub has_trial: bool,
}

/// How a document stands at the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standpoint {
    /// It stands in a line.
    InLine,
    /// It has a place, and a turn or none yet.
    HasPlace,
    /// The gate does not know it.
    Unknown,
}

impl Limiter {
    /// The gate at this time, of so many places.
    pub fn of(gate: &AdmissionState, places: Option<usize>, now: OffsetDateTime) -> Self {
        let mut gate = gate.clone();
        gate.advance_to(now);
        let LimiterSnapshot { leases, waiting, slowdown, .. } = gate.snapshot();
        let breaker = gate.outage().map(|Outage { cause, probe_at, has_probe }| Breaker {
            cause,
            trial_at: rfc3339(probe_at),
            has_trial: has_probe,
        });
        Self { breaker, waiting, places_taken: leases, places, slowdown }
    }

    /// Reads it.
    pub(crate) async fn read(cloud: &Cloud, now: OffsetDateTime) -> Result<(Self, AdmissionState), Problem> {
        let (gate, _) = cloud.store.admission_state().await.map_err(|error| Problem::store(&error))?;
        Ok((Self::of(&gate, cloud.places().await, now), gate))
    }

    /// Whether somebody has to do something.
    pub fn needs_attention(&self) -> bool {
        self.breaker.as_ref().is_some_and(|breaker| breaker.cause == Cause::Unauthorized)
    }

    /// Whether all places are taken.
    pub fn is_full(&self) -> bool {
        self.places.is_some_and(|places| self.places_taken >= places)
    }

    /// A sentence on the breaker.
    pub fn breaker_text(&self, now: OffsetDateTime) -> String {
        let Some(Breaker { cause, trial_at, has_trial }) = &self.breaker else {
            return "The third party is believed to work.".to_owned();
        };
        let because = match cause {
            Cause::Unavailable => "The third party cannot be reached or is broken",
            Cause::Unauthorized => "The third party refuses our key",
        };
        let when = match crate::text::time(trial_at).filter(|at| *at > now) {
            Some(at) => format!("one tries in {}, at {trial_at}", duration(at - now)),
            None if *has_trial => "one tries just now".to_owned(),
            None => "whoever lines up next tries".to_owned(),
        };
        format!("{because}, so transfers wait (the breaker is open); {when}.")
    }

    /// Lines, places and pace in one sentence.
    pub fn numbers(&self) -> String {
        let of = self.places.map(|places| format!(" of {places}")).unwrap_or_default();
        let slow = match self.slowdown {
            0 | 1 => String::new(),
            times => {
                format!("; requests are {times} times as far apart as usual, as the third party asked for it")
            }
        };
        let waiting = count(usize::try_from(self.waiting).unwrap_or(usize::MAX), "document");
        let wait = if self.waiting == 1 { "waits" } else { "wait" };
        format!("{waiting} {wait} in line; {}{of} places are taken{slow}.", self.places_taken)
    }

    /// What is to be done so that transfers go on. Nothing, if they do or will by themselves.
    pub fn todo(&self, api_key: Option<&str>) -> Vec<String> {
        if !self.needs_attention() {
            return Vec::new();
        }
        let secret = api_key.unwrap_or("<the secret ThirdPartyApiKey>");
        vec![
            "Renew the key; what waits goes on by itself after the next trial:".to_owned(),
            format!("aws secretsmanager put-secret-value --secret-id {secret} --secret-string file://<key>"),
        ]
    }
}

/// How a document stands.
pub(crate) async fn standpoint(
    cloud: &Cloud,
    gate: &AdmissionState,
    document: &Document,
) -> Result<Standpoint, Problem> {
    let place =
        cloud.store.queue_position(&document.reference).await.map_err(|error| Problem::store(&error))?;
    Ok(match place {
        Some(_) => Standpoint::InLine,
        None if document.attempt.is_some_and(|attempt| gate.lease(attempt).is_some()) => Standpoint::HasPlace,
        None => Standpoint::Unknown,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lectern::{
        admission::{Limits, Report, Turn, Waiter, micros},
        document::{DocumentState, TaskToken},
    };
    use time::macros::datetime;

    use super::*;
    use crate::test_support::document;

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

    fn granted(gate: &mut Gate, number: u8, now: OffsetDateTime) -> Turn {
        let task_token = TaskToken::new("SECRET");
        let document = reference(number);
        let waiter = Waiter { document, traceparent: None, task_token, asked_us: micros(now) };
        gate.grant(waiter, &LIMITS, now).clone()
    }

    fn told(gate: &mut Gate, turn: &Turn, report: Report) {
        gate.report(turn.waiter.document.document_id, turn.attempt, report, NOW);
    }

    #[test]
    fn gate_of_a_quiet_night_has_nothing_to_tell() {
        let limiter = Limiter::of(&Gate::default(), Some(2), NOW);
        assert_eq!(limiter.breaker_text(NOW), "The third party is believed to work.");
        assert_eq!(limiter.numbers(), "0 documents wait in line; 0 of 2 places are taken.");
        assert!(limiter.todo(None).is_empty() && !limiter.is_full());
    }

    #[test]
    fn full_gate_that_was_slowed_down_tells_its_numbers() {
        let mut gate = Gate::default();
        let first = granted(&mut gate, 1, NOW);
        granted(&mut gate, 2, NOW);
        gate.line_up(&reference(3));
        told(&mut gate, &first, Report::RateLimited(None));
        let limiter = Limiter::of(&gate, Some(2), NOW);
        assert!(limiter.is_full() && limiter.breaker.is_none());
        assert_eq!(
            limiter.numbers(),
            "1 document waits in line; 2 of 2 places are taken; requests are 2 times as far apart as usual, as the \
             third party asked for it."
        );
        let later = Limiter::of(&gate, None, NOW + Duration::from_hours(6));
        assert_eq!(
            later.numbers(),
            "1 document waits in line; 0 places are taken.",
            "leases expire by themselves"
        );
    }

    #[test]
    fn refused_key_has_to_be_renewed_and_the_next_trial_is_told_before_and_after_it_is_settled() {
        let mut gate = Gate::default();
        let first = granted(&mut gate, 1, NOW);
        told(&mut gate, &first, Report::Unauthorized);
        let open = Limiter::of(&gate, Some(2), NOW);
        let text = open.breaker_text(NOW);
        assert!(
            text.contains("refuses our key") && text.contains("one tries in 15 s, at 2026-11-20T16:30:15"),
            "{text}"
        );
        assert!(open.breaker_text(NOW + Duration::from_mins(1)).contains("whoever lines up next tries"));
        assert!(open.needs_attention() && open.todo(Some("arn:key"))[1].contains("--secret-id arn:key"));
        granted(&mut gate, 2, NOW);
        let trial = Limiter::of(&gate, Some(2), NOW);
        assert!(trial.breaker_text(NOW).contains("one tries in 15 s"), "its slot lies ahead");
        assert!(trial.breaker_text(NOW + Duration::from_mins(1)).contains("one tries just now"));
        let json = serde_json::to_string(&trial).unwrap();
        assert!(
            json.contains(r#""openBreaker":{"cause":"unauthorized""#) && !json.contains("SECRET"),
            "{json}"
        );
    }

    #[test]
    fn third_party_that_is_down_needs_nobody() {
        let mut gate = Gate::default();
        for _ in 0..5 {
            let turn = granted(&mut gate, 1, NOW);
            told(&mut gate, &turn, Report::Unavailable { job_possible: false });
        }
        let limiter = Limiter::of(&gate, None, NOW);
        assert!(limiter.breaker_text(NOW).contains("cannot be reached"));
        assert!(!limiter.needs_attention() && limiter.todo(None).is_empty());
    }
}
