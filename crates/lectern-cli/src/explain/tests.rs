//! Explanations from recorded histories, items and log lines. Whatever is secret in them must not come out.

use aws_sdk_sfn::Client;
use aws_smithy_mocks::mock;
use lectern::document::{Document, DocumentState, Reason};
use rstest::rstest;
use serde_json::json;
use time::{OffsetDateTime, macros::datetime};

use super::{
    advice::conclude,
    history::Step,
    logs::Line,
    report::DocumentReport,
    timeline::{Pending, Run, build},
    without_name,
};
use crate::{
    console::Report as _,
    executions::{Execution, Executions, Status},
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
    let mut conclusion = conclude(document, newest, pending.as_ref(), NOW);
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
    let found = conclude(&open, status.map(execution).as_ref(), None, NOW);
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
    let found = conclude(&failed, None, None, NOW);
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
    assert!(conclude(&open, Some(&execution), Some(&pending(2)), NOW).todo.is_empty());
    assert_eq!(conclude(&open, Some(&execution), Some(&pending(20)), NOW).todo, ["lectern dlq list"]);
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
