//! The circuit breaker: when it opens, which attempt is the trial, when it closes.

use super::*;

/// A state whose breaker opened at 0 s.
fn opened() -> AdmissionState {
    let mut state = AdmissionState::default();
    let permit = granted(&mut state, 0, START);
    reported(&mut state, &permit, Report::Unauthorized, START);
    state
}

/// Whether a waiting document could get a permit.
fn allows_request(state: &AdmissionState) -> bool {
    let mut state = state.clone();
    enqueue(&mut state, &waiting(&document("s9", 99), 0));
    state.next(&ROOMY).is_some()
}

#[test]
fn case_29_ten_consecutive_failures_open_it_and_nine_do_not() {
    for failure in [Report::Unavailable, Report::OutcomeUnknown] {
        let mut state = AdmissionState::default();
        for number in 1..=10 {
            let permit = granted(&mut state, number, START);
            assert_eq!(permit.report_success, number > 1, "success matters once an attempt failed");
            assert!(!permit.half_open_trial);
            reported(&mut state, &permit, failure, START);
            assert_eq!(is_open(&state), number == 10);
        }
    }
}

/// D04: the successes of such attempts were not reported, so their failures do not count as consecutive.
#[test]
fn d04_failures_of_attempts_admitted_before_the_first_failure_count_once() {
    let mut state = AdmissionState::default();
    let permits: Vec<Permit> = (0..50).map(|number| granted(&mut state, number, START)).collect();
    for permit in &permits {
        reported(&mut state, permit, Report::Unavailable, START);
    }
    assert!(!is_open(&state));
    for number in 0..9 {
        assert!(!is_open(&state));
        let permit = granted(&mut state, number, START);
        reported(&mut state, &permit, Report::Unavailable, START);
    }
    assert!(is_open(&state), "nine more, admitted since");
}

#[test]
fn d04_success_between_failures_starts_the_count_again() {
    let mut state = AdmissionState::default();
    for round in 0..3 {
        for number in 0..9 {
            let permit = granted(&mut state, number, START);
            reported(&mut state, &permit, Report::Unavailable, START);
        }
        let permit = granted(&mut state, 10 + round, START);
        let answered = if round == 1 { Report::Rejected } else { Report::Accepted };
        reported(&mut state, &permit, answered, START);
    }
    assert!(!is_open(&state));
    assert!(!granted(&mut state, 99, START).report_success);
}

#[test]
fn case_28_one_refusal_of_our_credentials_opens_it() {
    assert!(is_open(&opened()));
}

#[test]
fn errors_that_say_nothing_about_the_third_party_do_not_open_it() {
    let mut state = AdmissionState::default();
    for number in 0..30 {
        let permit = granted(&mut state, number, START);
        let report = [Report::Unused, Report::RateLimited(None), Report::AlreadyUsed][number % 3];
        reported(&mut state, &permit, report, START);
    }
    assert!(!is_open(&state));
}

#[test]
fn case_29_one_trial_is_allowed_after_the_pause_and_no_other_attempt() {
    let mut state = opened();
    assert!(allows_request(&state));
    let trial = granted(&mut state, 1, at(1.0));
    assert_eq!((starts_ms(&trial), trial.report_success, trial.half_open_trial), (15_000, true, true));
    assert!(!allows_request(&state) && is_open(&state));
    state.advance_to(at(600.0));
    assert!(!allows_request(&state), "the trial is under way");
    reported(&mut state, &trial, Report::Accepted, at(601.0));
    assert!(!is_open(&state) && allows_request(&state));
    assert_eq!(starts_ms(&granted(&mut state, 2, at(601.0))), 601_000);
}

#[test]
fn case_29_failing_trials_double_the_pause_up_to_five_minutes() {
    let mut state = opened();
    let mut now = START;
    let mut pauses = Vec::new();
    for number in 1..=8 {
        let trial = granted(&mut state, number, now);
        pauses.push((trial.starts_at.to_date() - now).whole_seconds());
        now = trial.starts_at.to_date();
        reported(&mut state, &trial, Report::Unavailable, now);
        assert!(is_open(&state));
    }
    assert_eq!(pauses, [15, 30, 60, 120, 240, 300, 300, 300]);
    let trial = granted(&mut state, 9, now);
    reported(&mut state, &trial, Report::Accepted, trial.starts_at.to_date());
    let permit = granted(&mut state, 10, trial.starts_at.to_date());
    reported(&mut state, &permit, Report::Unauthorized, permit.starts_at.to_date());
    let trial = granted(&mut state, 11, permit.starts_at.to_date());
    assert_eq!(
        trial.starts_at - permit.starts_at,
        Span::seconds(15),
        "after it closed, the pauses start again"
    );
}

#[test]
fn attempts_admitted_before_it_opened_neither_close_it_nor_prolong_its_pause() {
    let mut state = AdmissionState::default();
    let [earlier, other] = [1, 2].map(|number| granted(&mut state, number, START));
    let permit = granted(&mut state, 0, START);
    reported(&mut state, &permit, Report::Unauthorized, START);
    reported(&mut state, &earlier, Report::Accepted, at(1.0));
    assert!(is_open(&state));
    let trial = granted(&mut state, 3, at(2.0));
    reported(&mut state, &other, Report::Unavailable, at(14.0));
    assert!(is_open(&state) && !allows_request(&state), "only the trial counts");
    reported(&mut state, &trial, Report::Unavailable, at(15.0));
    assert_eq!(starts_ms(&granted(&mut state, 4, at(15.0))), 45_000, "30 s after the first trial");
}

#[test]
fn inconclusive_trial_is_replaced_at_once() {
    for report in [Report::Unused, Report::RateLimited(None), Report::AlreadyUsed] {
        let mut state = opened();
        let trial = granted(&mut state, 1, START);
        reported(&mut state, &trial, report, at(16.0));
        assert!(is_open(&state) && allows_request(&state));
        assert_eq!(starts_ms(&granted(&mut state, 2, at(16.0))), 16_000);
    }
}

#[test]
fn trial_that_is_never_reported_is_replaced() {
    for vanishes in ["released", "silent"] {
        let mut state = opened();
        let trial = granted(&mut state, 1, START);
        let now = if vanishes == "released" {
            state.release(trial.attempt);
            at(15.0)
        } else {
            state.advance_to(at(15.0 + 1_199.0));
            assert!(!allows_request(&state));
            at(15.0 + 1_200.0)
        };
        state.advance_to(now);
        assert!(is_open(&state) && allows_request(&state), "{vanishes}");
        let next = granted(&mut state, 2, now);
        reported(&mut state, &trial, Report::Accepted, now);
        assert!(is_open(&state), "{vanishes}: a replaced trial no longer counts");
        reported(&mut state, &next, Report::Accepted, now);
        assert!(!is_open(&state), "{vanishes}");
    }
}

/// D01: documents that always fail must not be the only half-open trials.
#[test]
fn d01_half_open_trial_prefers_a_document_that_has_not_failed() {
    let mut state = opened();
    for number in 0..5 {
        enqueue(&mut state, &waiting(&document("s1", number), 1));
    }
    let next = |state: &AdmissionState| state.next(&ROOMY).unwrap().queue;
    assert!(next(&state).ends_with("/s1!"), "no other document waits");
    state.clear_granted();
    let good = waiting(&document("s2", 9), 0);
    enqueue(&mut state, &good);
    assert!(next(&state).ends_with("/s2"));
    serve(&mut state, good, &ROOMY, START);
    let trial = state.granted()[0].clone();
    reported(&mut state, &trial, Report::Accepted, at(16.0));
    assert!(next(&state).ends_with("/s1!"), "retrying documents have their turn again");
}
