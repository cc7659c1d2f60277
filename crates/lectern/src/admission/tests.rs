//! Tests of each rule of admission, and of all rules together against a simple model in virtual time.

mod breaker;
mod queues;
mod rate_limiter;
mod together;

use time::{Duration as Span, OffsetDateTime};

use super::*;
use crate::{document::DocumentId, testing::world::START};

const LIMITS: Limits = Limits {
    interval: Duration::from_millis(200),
    burst: 10,
    max_in_flight: 3,
    lease: Duration::from_hours(6),
};

/// So many leases that only the rate limiter and the circuit breaker limit admission.
const ROOMY: Limits = Limits { max_in_flight: 1_000, ..LIMITS };

fn at(seconds: f64) -> OffsetDateTime {
    START + Span::seconds_f64(seconds)
}

fn document(submission: &str, number: usize) -> DocumentRef {
    let document_id = DocumentId::of("uploads", submission.as_bytes(), &number.to_string());
    DocumentRef { submission_id: submission.parse().unwrap(), document_id }
}

fn waiting(document: &DocumentRef, failed_transfers: u32) -> WaitingDocument {
    WaitingDocument {
        document: document.clone(),
        traceparent: None,
        task_token: TaskToken::new("token"),
        failed_transfers,
        enqueued_at: START.into(),
    }
}

/// Puts a document without an owner into its queue.
fn enqueue(state: &mut AdmissionState, waiting: &WaitingDocument) -> QueuePosition {
    state.enqueue(waiting, &lane_of(&waiting.document))
}

fn lane_of(document: &DocumentRef) -> Lane {
    Lane::of(None, &document.submission_id)
}

/// Grants a permit to a new document at once.
fn granted(state: &mut AdmissionState, number: usize, now: OffsetDateTime) -> Permit {
    state.advance_to(now);
    state.clear_granted();
    state.grant(waiting(&document("s1", number), 0), &ROOMY, now).clone()
}

fn reported(state: &mut AdmissionState, permit: &Permit, report: Report, now: OffsetDateTime) {
    state.advance_to(now);
    state.report(permit.attempt, report, now);
}

/// Removes the next document from its queue and grants it a permit.
fn serve(state: &mut AdmissionState, document: WaitingDocument, limits: &Limits, now: OffsetDateTime) {
    let position = state.next(limits).unwrap();
    state.dequeue(&position);
    state.grant(document, limits, now);
}

/// The permit's start in milliseconds after `START`.
fn starts_ms(permit: &Permit) -> i128 {
    (permit.starts_at.to_date() - START).whole_milliseconds()
}

fn is_open(state: &AdmissionState) -> bool {
    state.snapshot().breaker_open
}

#[test]
fn attempts_are_numbered_by_permits() {
    let mut state = AdmissionState::default();
    let attempts: Vec<Attempt> = (0..3).map(|number| granted(&mut state, number, START).attempt).collect();
    assert_eq!(attempts, [1, 2, 3].map(Attempt));
}

#[test]
fn permit_expires_when_the_burst_no_longer_absorbs_its_delay() {
    let permit = granted(&mut AdmissionState::default(), 0, START);
    assert_eq!(permit.starts_at, START.into());
    assert_eq!(permit.expires_at, at(8.0 * 0.2).into(), "two tokens of the burst are kept back");
    for (burst, tolerance) in
        [(3, LIMITS.interval), (2, Duration::ZERO), (1, Duration::ZERO), (0, Duration::ZERO)]
    {
        assert_eq!(Limits { burst, ..LIMITS }.tolerance(), tolerance, "{burst}");
    }
}

#[test]
fn no_more_leases_are_held_than_jobs_are_allowed_in_flight() {
    let mut state = AdmissionState::default();
    for number in 0..5 {
        enqueue(&mut state, &waiting(&document("s1", number), 0));
    }
    for number in 0..3 {
        serve(&mut state, waiting(&document("s1", number), 0), &LIMITS, START);
    }
    assert_eq!(state.next(&LIMITS), None);
    assert_eq!((state.snapshot().leases, state.snapshot().waiting), (3, 2));
    state.release(Attempt(2));
    assert!(state.next(&LIMITS).is_some());
    state.release(Attempt(2));
    assert_eq!(state.snapshot().leases, 2, "a second release changes nothing");
}

#[test]
fn case_21_lease_left_by_a_crash_ends_by_itself() {
    let mut state = AdmissionState::default();
    let permit = granted(&mut state, 0, START);
    assert_eq!(permit.lease_ends_at, (START + LIMITS.lease).into());
    state.advance_to(START + LIMITS.lease - Span::microseconds(1));
    assert!(state.lease(permit.attempt).is_some());
    state.advance_to(START + LIMITS.lease);
    assert!(state.lease(permit.attempt).is_none());
}

#[test]
fn lease_belongs_to_its_attempt_and_another_attempt_of_the_document_has_its_own() {
    let mut state = AdmissionState::default();
    let [first, second] = [0, 0].map(|number| granted(&mut state, number, START));
    state.release(second.attempt);
    assert!(state.lease(first.attempt).is_some() && state.lease(second.attempt).is_none());
}

/// D01 and D09: an attempt that certainly left no job holds no lease while its document backs off.
#[test]
fn d01_d09_lease_is_released_unless_the_third_party_has_or_may_have_the_job() {
    for (report, keeps) in [
        (Report::Accepted, true),
        (Report::OutcomeUnknown, true),
        (Report::AlreadyUsed, true),
        (Report::Rejected, false),
        (Report::RateLimited(None), false),
        (Report::Unavailable, false),
        (Report::Unauthorized, false),
        (Report::Unused, false),
    ] {
        let mut state = AdmissionState::default();
        let permit = granted(&mut state, 0, START);
        reported(&mut state, &permit, report, START);
        assert_eq!(state.lease(permit.attempt).is_some(), keeps, "{report:?}");
    }
}

#[test]
fn second_report_of_an_attempt_and_one_without_a_lease_change_nothing() {
    let mut state = AdmissionState::default();
    let [released, permit] = [0, 1].map(|number| granted(&mut state, number, START));
    state.release(released.attempt);
    for report in [Report::Unauthorized, Report::RateLimited(Some(at(60.0))), Report::Unused] {
        let before = state.clone();
        reported(&mut state, &released, report, START);
        assert_eq!(state, before, "{report:?}");
    }
    reported(&mut state, &permit, Report::OutcomeUnknown, START);
    let once = state.clone();
    for _ in 0..20 {
        reported(&mut state, &permit, Report::OutcomeUnknown, START);
    }
    assert_eq!(state, once, "many deliveries of one report are one failure");
}

#[test]
fn renewed_lease_starts_anew_and_never_ends_earlier() {
    let mut state = AdmissionState::default();
    let attempt = granted(&mut state, 0, START).attempt;
    state.renew(attempt, &Limits { lease: Duration::from_secs(1), ..LIMITS }, at(5.0));
    state.advance_to(START + LIMITS.lease - Span::seconds(1));
    assert!(state.lease(attempt).is_some(), "a shorter limit takes nothing away");
    state.renew(attempt, &LIMITS, at(3600.0));
    state.advance_to(at(3600.0) + LIMITS.lease - Span::seconds(1));
    assert!(state.lease(attempt).is_some());
    state.advance_to(at(3600.0) + LIMITS.lease);
    assert!(state.lease(attempt).is_none());
}

#[test]
fn job_that_is_at_work_after_its_lease_ended_gets_a_lease_although_all_are_taken() {
    let mut state = AdmissionState::default();
    let old = granted(&mut state, 0, START).attempt;
    let late = START + LIMITS.lease;
    for number in 1..=3 {
        granted(&mut state, number, late);
    }
    assert!(state.lease(old).is_none());
    state.renew(old, &LIMITS, late);
    assert_eq!(state.snapshot().leases, 4, "the job is in flight all the same");
    enqueue(&mut state, &waiting(&document("s1", 9), 0));
    assert_eq!(state.next(&LIMITS), None);
    state.advance_to(late + LIMITS.lease + Span::seconds(1));
    assert_eq!(state.snapshot().leases, 0);
}

/// `DynamoDB` does not store an item of more than 400 KB, so no document would be admitted any more.
#[test]
fn admission_state_can_be_stored_however_many_jobs_are_found_at_work() {
    let mut state = AdmissionState::default();
    for number in 0..10_000 {
        state.renew(Attempt(number), &LIMITS, START);
    }
    assert_eq!(state.snapshot().leases, Permits::MAX_LEASES);
    let stored = serde_json::to_string(&state).unwrap();
    assert!(stored.len() < 200_000, "{} bytes", stored.len());
}

#[test]
fn d01_admission_is_stalled_while_no_document_that_has_not_failed_is_served() {
    let mut state = AdmissionState::default();
    let stalled = |state: &AdmissionState, now: f64| state.stalled_for(at(now)).as_secs();
    let decided = |state: &mut AdmissionState, now: f64| {
        state.note_progress(at(now));
        state.clear_granted();
    };
    decided(&mut state, 0.0);
    assert_eq!(stalled(&state, 100.0), 0, "no document waits");
    let (new, failed) = (waiting(&document("s1", 1), 0), waiting(&document("s1", 2), 3));
    enqueue(&mut state, &new);
    decided(&mut state, 100.0);
    assert_eq!([100.0, 160.0].map(|now| stalled(&state, now)), [0, 60]);
    state.grant(failed.clone(), &ROOMY, at(200.0));
    decided(&mut state, 200.0);
    assert_eq!(stalled(&state, 300.0), 200, "a permit for a document that has failed before is no progress");
    serve(&mut state, new.clone(), &ROOMY, at(400.0));
    enqueue(&mut state, &failed);
    decided(&mut state, 400.0);
    assert_eq!([400.0, 410.0].map(|now| stalled(&state, now)), [0, 10]);
    serve(&mut state, failed.clone(), &ROOMY, at(500.0));
    enqueue(&mut state, &failed);
    decided(&mut state, 500.0);
    assert_eq!(
        stalled(&state, 510.0),
        10,
        "if only such documents wait, a permit for one of them is progress"
    );
    let position = state.next(&ROOMY).unwrap();
    state.dequeue(&position);
    decided(&mut state, 600.0);
    assert_eq!(stalled(&state, 1_000.0), 0, "the document that waited was skipped: no document waits");
    let stored = serde_json::to_value(&state).unwrap();
    assert!(stored.get("stalledSince").is_none(), "{stored}");
}

#[test]
fn d01_half_open_trials_are_no_progress() {
    let mut state = AdmissionState::default();
    let mut now = START;
    let first = granted(&mut state, 0, now);
    reported(&mut state, &first, Report::Unauthorized, now);
    for number in 1..=20 {
        state.clear_granted();
        let new = waiting(&document("s1", number), 0);
        enqueue(&mut state, &new);
        enqueue(&mut state, &new);
        serve(&mut state, new, &ROOMY, now);
        state.note_progress(now);
        let trial = state.granted()[0].clone();
        assert!(trial.half_open_trial);
        now = trial.starts_at.to_date() + Span::seconds(1);
        reported(&mut state, &trial, Report::Unavailable, now);
    }
    assert!(state.stalled_for(now) > Duration::from_hours(1), "{:?}", state.stalled_for(now));
}

#[test]
fn admission_state_is_stored_and_read_back_whole_and_an_empty_one_is_a_new_one() {
    let mut state = AdmissionState::default();
    let first = granted(&mut state, 0, START);
    granted(&mut state, 1, START);
    enqueue(&mut state, &waiting(&document("s2", 2), 1));
    reported(&mut state, &first, Report::RateLimited(Some(at(9.0))), START);
    let other = granted(&mut state, 3, START);
    reported(&mut state, &other, Report::Unauthorized, START);
    granted(&mut state, 4, START);
    let stored = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<AdmissionState>(&stored).unwrap(), state);
    assert_eq!(serde_json::from_str::<AdmissionState>("{}").unwrap(), AdmissionState::default());
    assert!(!format!("{state:?}").contains("token\""), "tokens are not printed");
}
