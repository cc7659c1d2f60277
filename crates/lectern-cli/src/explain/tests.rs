//! Tests of explanations from recorded histories, items and log lines. Their secrets must not be printed.

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
    timeline::{Run, build},
    without_name,
};
use crate::{
    console::Report as _,
    executions::{Execution, Executions, Status},
    testing::{answer, client, document, succeeded},
};

pub(super) const NOW: OffsetDateTime = datetime!(2026-11-20 16:30:00 UTC);
const BAD_DAY: &str = include_str!("fixtures/bad-day.json");
const WAITS: &str = include_str!("fixtures/waits-for-callback.json");

/// A recorded history, which the real client reads.
async fn steps(history: &'static str) -> Vec<Step> {
    let rule = mock!(Client::get_execution_history).then_http_response(move || answer(200, history));
    let executions = Executions::new(client!(aws_sdk_sfn, rule), "arn:aws:states:r:a:stateMachine:m");
    executions.history("name").await.unwrap()
}

pub(super) fn run(redrive: u32, steps: Vec<Step>) -> Run {
    Run { redrive, started: steps[0].at, steps }
}

pub(super) fn execution(status: Status) -> Execution {
    Execution { name: "x".to_owned(), status, started: NOW }
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
    let lines = [line(&failed, "ReceiveCallback", "2026-11-20T16:00:29.900Z", "The result was stored.")];
    let runs = [run(0, steps(BAD_DAY).await)];
    insta::assert_snapshot!(explained(&failed, &runs, &lines, Some(&execution(Status::Broken("failed")))));
}

#[tokio::test]
async fn redriven_document_that_waits_shows_both_of_its_executions() {
    let mut open = document(DocumentState::Processing);
    open.redrives = 1;
    let runs = [run(0, steps(BAD_DAY).await), run(1, steps(WAITS).await)];
    let text = explained(&open, &runs, &[], Some(&execution(Status::Running)));
    assert!(text.contains("Redrive 1: a new execution started."), "{text}");
    assert!(text.contains("Where  Processing, in AwaitCallback, for 28 min 18 s."), "{text}");
    assert!(text.contains("Do     Nothing."), "{text}");
}

#[rstest]
#[case::abandoned(
    &["job-7"],
    false,
    "redriven 2 times\nRedriven without job-7, whose results are ignored.\n"
)]
#[case::more(&["job-7", "job-8"], false, "without job-7, job-8, whose results")]
#[case::and_kept(&["job-7"], true, "Redriven without job-7")]
#[case::no_id(&["https://secret.example/7"], false, "without (an id that is not shown), whose")]
#[case::kept(&[], true, "redriven 2 times\nRedriven with the stored result.")]
#[case::nothing(&[], false, "redriven 2 times\n\n")]
fn redriven_document_shows_how_its_result_was_used(
    #[case] abandoned: &[&str],
    #[case] keeps: bool,
    #[case] says: &str,
) {
    let mut open = document(DocumentState::Received);
    open.redrives = 2;
    open.abandoned_jobs = abandoned.iter().map(|job| (*job).to_owned()).collect();
    open.result = keeps.then(succeeded);
    let text = explained(&open, &[], &[], Some(&execution(Status::Running)));
    assert!(text.contains(says), "{text}");
}

#[test]
fn log_lines_of_other_documents_and_without_a_message_are_left_out() {
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
