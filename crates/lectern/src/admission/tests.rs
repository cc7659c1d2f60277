//! The rules of turns, one by one, and all of them together against a plain model in virtual time.

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

/// So much that only pace and breaker are felt.
const ROOMY: Limits = Limits { max_in_flight: 1_000, ..LIMITS };

/// The third party could not be reached: there is no job.
const DOWN: Report = Report::Unavailable { job_possible: false };
/// Its answer was lost: there may be a job.
const UNAVAILABLE: Report = Report::Unavailable { job_possible: true };

fn at(seconds: f64) -> OffsetDateTime {
    START + Span::seconds_f64(seconds)
}

fn document(submission: &str, number: usize) -> DocumentRef {
    let document_id = DocumentId::of("uploads", submission.as_bytes(), &number.to_string());
    DocumentRef { submission_id: submission.parse().unwrap(), document_id }
}

fn waiter(document: &DocumentRef) -> Waiter {
    Waiter { document: document.clone(), traceparent: None, task_token: TaskToken::new("token"), asked_us: 0 }
}

/// A document that nobody asked for before gets a turn without waiting.
fn granted(gate: &mut Gate, number: usize, now: OffsetDateTime) -> Turn {
    gate.pass(now);
    gate.begin();
    gate.grant(waiter(&document("s1", number)), &ROOMY, now).clone()
}

fn told(gate: &mut Gate, turn: &Turn, report: Report, now: OffsetDateTime) {
    gate.pass(now);
    gate.report(turn.waiter.document.document_id, turn.attempt, report, now);
}

/// Milliseconds after the beginning.
fn slot(turn: &Turn) -> i128 {
    (time_of(turn.at_us) - START).whole_milliseconds()
}

fn open(gate: &Gate) -> bool {
    gate.standing().breaker_open
}

#[test]
fn attempts_are_numbered_by_turns_above_all_attempts_of_before() {
    let mut gate = Gate::default();
    let attempts: Vec<Attempt> = (0..3).map(|number| granted(&mut gate, number, START).attempt).collect();
    assert_eq!(attempts, [1, 2, 3].map(|turn| Attempt(Attempt::LAST_WITHOUT_TURN.0 + turn)));
    assert!(attempts.iter().all(|attempt| attempt.is_turn()));
    assert!(!Attempt::LAST_WITHOUT_TURN.is_turn());
}

#[test]
fn turn_may_be_used_for_as_long_as_the_burst_makes_good() {
    let turn = granted(&mut Gate::default(), 0, START);
    assert_eq!((turn.at_us, turn.until_us), (micros(START), micros(at(8.0 * 0.2))), "one token is kept back");
    for (burst, tolerance) in
        [(3, LIMITS.interval), (2, Duration::ZERO), (1, Duration::ZERO), (0, Duration::ZERO)]
    {
        assert_eq!(Limits { burst, ..LIMITS }.tolerance(), tolerance, "{burst}");
    }
}

#[test]
fn no_more_leases_are_granted_than_there_is_room_for() {
    let mut gate = Gate::default();
    for number in 0..5 {
        gate.line_up(&document("s1", number));
    }
    for number in 0..3 {
        let ticket = gate.next(&LIMITS).unwrap();
        gate.pass_by(&ticket);
        gate.grant(waiter(&document("s1", number)), &LIMITS, START);
    }
    assert_eq!(gate.next(&LIMITS), None);
    assert_eq!((gate.standing().leases, gate.standing().waiting), (3, 2));
    gate.release(document("s1", 1).document_id, Attempt(u32::MAX));
    assert!(gate.next(&LIMITS).is_some());
    gate.release(document("s1", 1).document_id, Attempt(u32::MAX));
    assert_eq!(gate.standing().leases, 2, "who has no place gives none back");
}

/// An order that comes late knows of no turn that is newer than its own.
#[test]
fn place_is_given_back_by_its_attempt_or_a_newer_one_and_never_by_an_older_one() {
    for (later, leases) in [(-1, 1), (0, 0), (1, 0)] {
        let mut gate = Gate::default();
        let turn = granted(&mut gate, 1, START);
        let attempt = Attempt(turn.attempt.0.checked_add_signed(later).unwrap());
        gate.release(turn.waiter.document.document_id, attempt);
        assert_eq!(gate.standing().leases, leases, "{later}");
    }
}

/// Seen in review: a refused connection gave back the place of the job whose answer had been lost before.
#[test]
fn place_of_a_possible_job_is_kept_whatever_comes_of_later_turns() {
    for (first, keeps) in [
        (UNAVAILABLE, true),
        (Report::Used, true),
        (Report::Accepted, true),
        (DOWN, false),
        (Report::Unused, false),
        (Report::Unauthorized, false),
        (Report::RateLimited(None), false),
    ] {
        let mut gate = Gate::default();
        let turn = granted(&mut gate, 1, START);
        told(&mut gate, &turn, first, at(1.0));
        for later in [Report::RateLimited(None), Report::Unused, DOWN] {
            let turn = granted(&mut gate, 1, at(400.0));
            told(&mut gate, &turn, later, at(401.0));
        }
        assert_eq!(gate.holds(document("s1", 1).document_id), keeps, "{first:?}");
        gate.release(document("s1", 1).document_id, Attempt(u32::MAX));
        let turn = granted(&mut gate, 1, at(900.0));
        told(&mut gate, &turn, DOWN, at(901.0));
        assert_eq!(gate.standing().leases, 0, "a place that is given back is forgotten");
    }
}

#[test]
fn line_stands_only_while_somebody_waits_and_nobody_is_granted_a_turn() {
    let mut gate = Gate::default();
    let stands = |gate: &Gate, now: f64| gate.stands(at(now)).whole_seconds();
    let decided = |gate: &mut Gate, now: f64| {
        gate.note_line(at(now));
        gate.begin();
    };
    decided(&mut gate, 0.0);
    assert_eq!(stands(&gate, 100.0), 0, "nobody waits");
    gate.line_up(&document("s1", 1));
    decided(&mut gate, 100.0);
    assert_eq!([100.0, 160.0].map(|now| stands(&gate, now)), [0, 60]);
    gate.line_up(&document("s1", 2));
    decided(&mut gate, 200.0);
    assert_eq!(stands(&gate, 300.0), 200, "it stands since the first one came");
    let ticket = gate.next(&ROOMY).unwrap();
    gate.pass_by(&ticket);
    gate.grant(waiter(&document("s1", 1)), &ROOMY, at(400.0));
    decided(&mut gate, 400.0);
    assert_eq!([400.0, 410.0].map(|now| stands(&gate, now)), [0, 10], "it moved, and the next one waits");
    let ticket = gate.next(&ROOMY).unwrap();
    gate.pass_by(&ticket);
    decided(&mut gate, 500.0);
    assert_eq!(stands(&gate, 1_000.0), 0, "whoever waited was passed by: nobody waits any more");
    let stored = serde_json::to_value(&gate).unwrap();
    assert!(stored.get("standsSinceUs").is_none(), "{stored}");
}

#[test]
fn case_21_lease_left_by_a_crash_expires_by_itself() {
    let mut gate = Gate::default();
    let id = granted(&mut gate, 0, START).waiter.document.document_id;
    gate.pass(START + LIMITS.lease - Span::microseconds(1));
    assert!(gate.holds(id));
    gate.pass(START + LIMITS.lease);
    assert!(!gate.holds(id));
}

#[test]
fn job_that_outlasts_its_lease_has_a_place_again_when_it_is_asked_for() {
    let mut gate = Gate::default();
    let turn = granted(&mut gate, 0, START);
    let id = turn.waiter.document.document_id;
    let late = START + LIMITS.lease * 3;
    gate.pass(late);
    gate.renew(id, turn.attempt, &LIMITS, late);
    assert!(gate.holds(id));
    gate.pass(late + LIMITS.lease - Span::microseconds(1));
    assert_eq!(gate.standing().leases, 1);
    gate.release(id, turn.attempt);
    assert_eq!(gate.standing().leases, 0);
}

/// A gate of more than 400 KB could not be stored, and the line would stand for everybody.
#[test]
fn gate_can_be_stored_however_many_documents_are_asked_for() {
    let mut gate = Gate::default();
    for number in 0..10_000 {
        let id = document("s1", number).document_id;
        for _ in 0..2 {
            gate.renew(id, Attempt(u32::MAX), &LIMITS, START);
        }
    }
    assert_eq!(gate.standing().leases, MAX_PLACES);
    let stored = serde_json::to_string(&gate).unwrap();
    assert!(stored.len() < 350_000, "{} bytes", stored.len());
    gate.renew(document("s1", 0).document_id, Attempt(u32::MAX), &LIMITS, at(5.0));
    gate.pass(START + LIMITS.lease);
    assert!(gate.holds(document("s1", 0).document_id), "who has a place keeps it");
}

/// Seen in review: a redrive asked for a second job under the place that its document had for the first.
#[test]
fn job_that_is_left_behind_keeps_its_place_beside_the_new_one() {
    let one_more = Limits { max_in_flight: 2, ..LIMITS };
    let mut gate = Gate::default();
    let turn = granted(&mut gate, 0, START);
    let document = turn.waiter.document.clone();
    gate.leave_behind(document.document_id, Attempt(turn.attempt.0 - 1));
    assert!(gate.holds(document.document_id), "its turn was not used by what is left behind");
    gate.leave_behind(document.document_id, turn.attempt);
    assert!(!gate.line_up(&document).is_returning(), "it needs a place of its own");
    assert_eq!(gate.next(&Limits { max_in_flight: 1, ..LIMITS }), None);
    let ticket = gate.next(&one_more).unwrap();
    gate.pass_by(&ticket);
    gate.grant(waiter(&document), &one_more, START);
    assert_eq!(gate.standing().leases, 2);
    gate.release(document.document_id, Attempt(u32::MAX));
    assert_eq!(gate.standing().leases, 1);
    let stored: Gate = serde_json::from_value(serde_json::to_value(&gate).unwrap()).unwrap();
    assert_eq!(stored, gate);
    gate.pass(START + LIMITS.lease);
    assert_eq!(gate.standing().leases, 0, "nobody gives it back, and it ends by itself");
}

#[test]
fn renewed_lease_lasts_as_long_again_and_never_shorter() {
    let mut gate = Gate::default();
    let Turn { waiter, attempt, .. } = granted(&mut gate, 0, START);
    let id = waiter.document.document_id;
    gate.renew(id, attempt, &Limits { lease: Duration::from_secs(1), ..LIMITS }, at(5.0));
    gate.pass(START + LIMITS.lease - Span::seconds(1));
    assert!(gate.holds(id), "a shorter limit takes nothing away");
    gate.renew(id, attempt, &LIMITS, at(3600.0));
    gate.pass(at(3600.0) + LIMITS.lease - Span::seconds(1));
    assert!(gate.holds(id));
    gate.pass(at(3600.0) + LIMITS.lease);
    assert!(!gate.holds(id));
}

#[test]
fn place_is_given_back_only_by_whoever_has_no_job_and_does_not_ask_again_at_once() {
    for (report, holds) in [
        (Report::Accepted, true),
        (Report::RateLimited(None), true),
        (UNAVAILABLE, true),
        (DOWN, false),
        (Report::Unauthorized, true),
        (Report::Unused, true),
        (Report::Used, true),
    ] {
        let mut gate = Gate::default();
        let turn = granted(&mut gate, 0, START);
        told(&mut gate, &turn, report, START);
        assert_eq!(gate.holds(turn.waiter.document.document_id), holds, "{report:?}");
    }
}

#[test]
fn report_of_an_older_attempt_or_a_second_one_changes_nothing() {
    let mut gate = Gate::default();
    let older = granted(&mut gate, 0, START);
    let newer = granted(&mut gate, 0, START);
    for report in [Report::Unauthorized, Report::RateLimited(Some(at(60.0))), Report::Unused] {
        let before = gate.clone();
        told(&mut gate, &older, report, START);
        assert_eq!(gate, before, "{report:?}");
    }
    told(&mut gate, &newer, UNAVAILABLE, START);
    let once = gate.clone();
    for _ in 0..5 {
        told(&mut gate, &newer, UNAVAILABLE, START);
    }
    assert_eq!(gate, once, "many deliveries of one report are one failure");
}

#[test]
fn document_that_has_its_place_needs_no_room_and_comes_before_those_that_have_none() {
    let mut gate = Gate::default();
    for number in 0..3 {
        granted(&mut gate, number, START);
    }
    let (back, new) = (document("s1", 1), document("s2", 9));
    let ticket = gate.line_up(&new);
    assert_eq!(gate.next(&LIMITS), None, "there is no room");
    let returning = gate.line_up(&back);
    assert_eq!(gate.next(&LIMITS), Some(returning.clone()));
    assert!(gate.may_have(&returning, back.document_id) && gate.may_have(&ticket, new.document_id));
    gate.release(back.document_id, Attempt(u32::MAX));
    assert!(!gate.may_have(&returning, back.document_id), "its place is gone: it lines up anew");
    gate.pass_by(&returning);
    assert_eq!(gate.next(&LIMITS), Some(ticket));
}

#[test]
fn gate_is_stored_and_read_back_whole_and_an_empty_one_is_a_new_one() {
    let mut gate = Gate::default();
    let first = granted(&mut gate, 0, START);
    granted(&mut gate, 1, START);
    gate.line_up(&document("s2", 2));
    told(&mut gate, &first, Report::RateLimited(Some(at(9.0))), START);
    let other = granted(&mut gate, 3, START);
    told(&mut gate, &other, Report::Unauthorized, START);
    granted(&mut gate, 4, START);
    let stored = serde_json::to_string(&gate).unwrap();
    assert_eq!(serde_json::from_str::<Gate>(&stored).unwrap(), gate);
    assert_eq!(serde_json::from_str::<Gate>("{}").unwrap(), Gate::default());
    assert!(!format!("{gate:?}").contains("token\""), "tokens are not printed");
}
