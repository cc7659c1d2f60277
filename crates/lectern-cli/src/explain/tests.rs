//! Explanations from recorded histories, items and log lines. Whatever is secret in them must not come out.

use aws_sdk_sfn::Client;
use aws_smithy_mocks::mock;
use lectern::document::{Document, DocumentState, Reason};
use lectern::turns::Cause;
use rstest::rstest;
use serde_json::json;
use time::{OffsetDateTime, macros::datetime};

use super::{
    advice::{AtGate, conclude},
    history::Step,
    logs::Line,
    report::DocumentReport,
    timeline::{Pending, Run, build},
    without_name,
};
use crate::{
    console::Report as _,
    executions::{Execution, Executions, Status},
    limiter::{Breaker, Limiter, Standpoint},
    test_support::{answer, client, document, succeeded},
};

const NOW: OffsetDateTime = datetime!(2026-11-20 16:30:00 UTC);
const BAD_DAY: &str = include_str!("fixtures/bad-day.json");
const WAITS: &str = include_str!("fixtures/waits-for-callback.json");

/// A recorded history, read by the real client.
async fn steps(history: &'static str) -> Vec<Step> {
    let rule = mock!(Client::get_execution_history).then_http_response(move || answer(200, history));
    let executions = Executions::new(client!(aws_sdk_sfn, rule), "arn:aws:states:r:a:stateMachine:m");
    executions.history("name").await.unwrap()
}

fn run(redrive: u32, steps: Vec<Step>) -> Run {
    Run { redrive, started: steps[0].at, steps }
}

fn execution(status: Status) -> Execution {
    Execution { name: "x".to_owned(), status, started: NOW, stopped: None }
}

fn line(document: &Document, function: &str, time: &str, message: &str) -> Line {
    let text = json!({
        "timestamp": time, "level": "INFO", "message": message, "documentId": document.reference.document_id,
        "callback": "accepted", "error": "https://secret.example", "detail": "SECRET", "attempt": 1_000_001,
    });
    Line::read(function, &text.to_string(), document.reference.document_id).unwrap()
}

fn shown(report: &DocumentReport) -> String {
    let mut out = Vec::new();
    report.write(&mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let json = serde_json::to_string(&report).unwrap();
    for secret in ["SECRET", "secret name", "secret.example", "callback-"] {
        assert!(!text.contains(secret) && !json.contains(secret), "{secret} is in\n{text}\n{json}");
    }
    text
}

fn explained(document: &Document, runs: &[Run], lines: &[Line], newest: Option<&Execution>) -> String {
    let (timeline, pending) = build(document, runs, lines);
    let mut conclusion = conclude(document, newest, pending.as_ref(), None, NOW);
    conclusion.why = without_name(&conclusion.why, document);
    shown(&DocumentReport::new(document, timeline, conclusion, Vec::new(), false))
}

#[tokio::test]
async fn bad_day_reads_as_one_timeline() {
    let mut failed = document(DocumentState::Failed);
    failed.reason = Some(Reason::new("sizeMismatch", "A returned file of secret name.txt is too short."));
    failed.times.insert("Failed".to_owned(), "2026-11-20T16:00:42.300Z".to_owned());
    failed.result = Some(succeeded());
    let lines = [line(&failed, "ReceiveCallback", "2026-11-20T16:00:29.900Z", "The result was kept.")];
    let runs = [run(0, steps(BAD_DAY).await)];
    insta::assert_snapshot!(explained(&failed, &runs, &lines, Some(&execution(Status::Broken("failed")))));
}

#[tokio::test]
async fn redriven_document_that_waits_tells_both_of_its_executions() {
    let mut open = document(DocumentState::Processing);
    open.redrives = 1;
    let runs = [run(0, steps(BAD_DAY).await), run(1, steps(WAITS).await)];
    let text = explained(&open, &runs, &[], Some(&execution(Status::Running)));
    assert!(text.contains("Redrive 1: a new execution started."), "{text}");
    assert!(text.contains("Where  Processing, in AwaitCallback, for 28 min 18 s."), "{text}");
    assert!(text.contains("Do     Nothing."), "{text}");
}

#[rstest]
#[case::nobody_moves_it(None, "nothing moves it")]
#[case::broken(Some(Status::Broken("timed out")), "Its execution timed out")]
#[case::contradiction(Some(Status::Succeeded), "contradict")]
fn open_document_without_a_running_execution_is_to_be_redriven(
    #[case] status: Option<Status>,
    #[case] says: &str,
) {
    let open = document(DocumentState::Processing);
    let found = conclude(&open, status.map(execution).as_ref(), None, None, NOW);
    assert!(found.needs_attention);
    assert!(format!("{} {}", found.place, found.why).contains(says), "{found:?}");
    assert_eq!(found.todo, [format!("lectern redrive s1/{}", open.reference.document_id)]);
}

#[rstest]
#[case("thirdPartyUnauthorized", "ThirdPartyApiKey")]
#[case("overdue", "lectern redrive --failed --reason overdue --yes")]
#[case("sourceGone", "uploads the file again")]
#[case("internal", "lectern redrive s1/")]
#[case("drmProtected", "another file")]
fn every_failure_says_what_to_do(#[case] code: &str, #[case] todo: &str) {
    let mut failed = document(DocumentState::Failed);
    failed.reason = Some(Reason::new(code, "Why."));
    let found = conclude(&failed, None, None, None, NOW);
    assert!(found.needs_attention && found.todo.join("\n").contains(todo), "{found:?}");
}

#[test]
fn message_that_is_not_taken_for_long_may_be_dead() {
    let open = document(DocumentState::Transferring);
    let pending = |minutes| Pending {
        state: "TransferDocument".to_owned(),
        since: NOW - time::Duration::minutes(minutes),
        tries: 1,
        failure: None,
    };
    let execution = execution(Status::Running);
    assert!(conclude(&open, Some(&execution), Some(&pending(2)), None, NOW).todo.is_empty());
    assert_eq!(conclude(&open, Some(&execution), Some(&pending(20)), None, NOW).todo, ["lectern dlq list"]);
}

fn gate(limiter: Limiter, standpoint: Standpoint) -> AtGate {
    AtGate { limiter, standpoint, api_key: Some("arn:key".to_owned()) }
}

fn limits(breaker: Option<Breaker>, places_taken: usize) -> Limiter {
    Limiter { breaker, waiting: 37, places_taken, places: Some(50), slowdown: 1 }
}

fn breaker(cause: Cause) -> Breaker {
    Breaker { cause, trial_at: "2026-11-20T16:31:00Z".to_owned(), has_trial: false }
}

#[rstest]
#[case::down(gate(limits(Some(breaker(Cause::Unavailable)), 3), Standpoint::InLine), "cannot be reached", &[])]
#[case::key(gate(limits(Some(breaker(Cause::Unauthorized)), 3), Standpoint::InLine), "refuses our key",
    &["Renew the key", "put-secret-value --secret-id arn:key"])]
#[case::full(gate(limits(None, 50), Standpoint::InLine), "All places at the third party are taken", &[])]
#[case::in_line(gate(limits(None, 3), Standpoint::InLine), "37 documents wait in line; 3 of 50 places", &[])]
#[case::returning(gate(limits(None, 3), Standpoint::HasPlace), "is being decided", &[])]
#[case::undecided(gate(limits(None, 3), Standpoint::Unknown), "grant-turn does not decide", &["lectern status"])]
fn document_that_lines_up_is_told_why_and_is_not_stuck_however_long_that_takes(
    #[case] gate: AtGate,
    #[case] why: &str,
    #[case] todo: &[&str],
) {
    let open = document(DocumentState::Received);
    let failure = super::history::Failure { error: "States.Timeout".to_owned(), reason: None };
    for failure in [None, Some(failure)] {
        let since = NOW - time::Duration::hours(5);
        let pending = Pending { state: "AwaitTurn".to_owned(), since, tries: 1, failure };
        let execution = execution(Status::Running);
        let found = conclude(&open, Some(&execution), Some(&pending), Some(&gate), NOW);
        assert!(found.place.contains("in AwaitTurn, for 5 h 0 min"), "{found:?}");
        assert!(found.why.contains(why), "{found:?}");
        let all = found.todo.join("\n");
        assert!(todo.iter().all(|part| all.contains(part)), "{found:?}");
        assert_eq!((found.todo.is_empty(), found.needs_attention), (todo.is_empty(), !todo.is_empty()));
        let unread =
            conclude(&open, Some(&execution), Some(&Pending { failure: None, ..pending }), None, NOW);
        assert!(unread.todo.is_empty() && !unread.needs_attention, "{unread:?}");
    }
}

#[test]
fn order_that_was_just_sent_is_being_decided() {
    let open = document(DocumentState::Received);
    let pending = Pending { state: "AwaitTurn".to_owned(), since: NOW, tries: 1, failure: None };
    let gate = gate(limits(None, 3), Standpoint::Unknown);
    let found = conclude(&open, Some(&execution(Status::Running)), Some(&pending), Some(&gate), NOW);
    assert!(found.why.contains("being decided") && !found.needs_attention, "{found:?}");
}

#[test]
fn trial_that_waits_for_its_time_is_told() {
    let open = document(DocumentState::Received);
    let pending = Pending { state: "WaitForTurn".to_owned(), since: NOW, tries: 0, failure: None };
    let limiter = limits(Some(Breaker { has_trial: true, ..breaker(Cause::Unavailable) }), 3);
    let gate = gate(limiter, Standpoint::HasPlace);
    let found = conclude(&open, Some(&execution(Status::Running)), Some(&pending), Some(&gate), NOW);
    assert!(found.why.contains("has its turn") && found.why.contains("one tries in 60 s"), "{found:?}");
    assert!(found.todo.is_empty());
}

#[rstest]
#[case::forgotten(
    Some("job-7"),
    false,
    "redriven 2 times\nOpened again: the result of job job-7 was forgotten"
)]
#[case::no_id(Some("https://secret.example/7"), false, "of job (an id that is not shown) was forgotten")]
#[case::kept(None, true, "redriven 2 times\nOpened again: the result that was kept is used.")]
#[case::nothing(None, false, "redriven 2 times\n\n")]
fn reopened_document_tells_what_became_of_its_result(
    #[case] forgotten: Option<&str>,
    #[case] keeps: bool,
    #[case] says: &str,
) {
    let mut open = document(DocumentState::Received);
    open.redrives = 2;
    open.forgotten_job = forgotten.map(str::to_owned);
    open.result = keeps.then(succeeded);
    let text = explained(&open, &[], &[], Some(&execution(Status::Running)));
    assert!(text.contains(says), "{text}");
}

#[test]
fn lines_of_others_and_of_no_sentence_are_not_told() {
    let id = document(DocumentState::Ready).reference.document_id;
    let other = "6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f";
    for text in [
        format!(r#"{{"timestamp":"2026-11-20T12:00:00Z","message":"about {id}","documentId":"{other}"}}"#),
        format!(r#"{{"timestamp":"2026-11-20T12:00:00Z","_aws":{{}},"documentId":"{id}"}}"#),
        format!("START RequestId: {id}"),
    ] {
        assert_eq!(Line::read("ReceiveUpload", &text, id), None, "{text}");
    }
}
