//! Explanations from recorded histories, items and log lines. Whatever is secret in them must not come out.

use aws_sdk_sfn::Client;
use aws_smithy_mocks::mock;
use lectern::admission::Cause;
use lectern::document::{Document, DocumentState, Reason};
use rstest::rstest;
use serde_json::json;
use time::{OffsetDateTime, macros::datetime};

use super::{
    advice::{AtGate, about_overdue, conclude},
    history::{Step, What},
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

fn entered(states: &[&str]) -> Vec<Step> {
    let step = |state: &&str| Step { at: NOW, what: What::Entered((*state).to_owned()), entry: None };
    states.iter().map(step).collect()
}

#[rstest]
#[case::still_at_work(
    &["ProbeJob", "CheckProbe", "GiveUpWorking", "FailDocument"],
    Some("The third party is still at work on it; it is given up."),
    &["place is kept", "asks the third party about that job first", "--anew    starts a second job"]
)]
#[case::unknown(
    &["ProbeJob", "CheckProbe", "GiveUpWaiting", "FailDocument"],
    Some("No callback came, and the third party does not know its job; it is given up."),
    &["the third party does not know the job, and gets the file again"]
)]
#[case::history_is_gone(&[], None, &["lectern redrive s1/"])]
fn overdue_document_is_redriven_by_what_the_third_party_said_last_of_its_job(
    #[case] states: &[&str],
    #[case] line: Option<&str>,
    #[case] todo: &[&str],
) {
    let mut failed = document(DocumentState::Failed);
    failed.reason = Some(Reason::new("overdue", "Why."));
    let steps = entered(states);
    let found = about_overdue(conclude(&failed, None, None, None, NOW), &failed, &steps);
    let all = found.todo.join("\n");
    assert!(todo.iter().all(|part| all.contains(part)), "{found:?}");
    assert!(all.contains("lectern redrive --failed --reason overdue --yes"), "{found:?}");
    let is_working = states.contains(&"GiveUpWorking");
    assert_eq!(
        (all.contains("--anew"), all.contains("gets the file again")),
        (is_working, states.contains(&"GiveUpWaiting"))
    );
    let run = Run { redrive: 0, started: NOW, steps };
    let (timeline, _) = build(&failed, &[run], &[]);
    let told: Vec<_> = timeline
        .iter()
        .filter(|entry| entry.phase == super::timeline::Phase::End && entry.source == "history")
        .collect();
    assert_eq!(told.iter().map(|entry| entry.text.as_str()).collect::<Vec<_>>(), Vec::from_iter(line));
    // Another failure, or a document that is on its way again, is not concerned.
    let open = document(DocumentState::Processing);
    let before = conclude(&open, None, None, None, NOW);
    assert_eq!(about_overdue(before.clone(), &open, &entered(states)), before);
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
#[case::undecided(gate(limits(None, 3), Standpoint::Unknown), "admit-document does not decide", &["lectern status"])]
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
    &["job-7"],
    false,
    "redriven 2 times\nOpened again without job job-7: a result that still comes for it is not taken.\n"
)]
#[case::more(&["job-7", "job-8"], false, "again without jobs job-7, job-8: a result that still comes for them")]
#[case::and_kept(&["job-7"], true, "Opened again without job job-7")]
#[case::no_id(&["https://secret.example/7"], false, "without job (an id that is not shown): a result")]
#[case::kept(&[], true, "redriven 2 times\nOpened again: the result that was kept is used.")]
#[case::nothing(&[], false, "redriven 2 times\n\n")]
fn reopened_document_tells_what_became_of_its_result(
    #[case] forgotten: &[&str],
    #[case] keeps: bool,
    #[case] says: &str,
) {
    let mut open = document(DocumentState::Received);
    open.redrives = 2;
    open.abandoned_jobs = forgotten.iter().map(|job| (*job).to_owned()).collect();
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

#[rstest]
#[case(DocumentState::Received, Some("Begin"))]
#[case(DocumentState::Received, Some("AwaitTurn"))]
#[case(DocumentState::Transferring, Some("AwaitTurn"))]
#[case(DocumentState::Transferring, Some("WaitForTurn"))]
#[case(DocumentState::Transferring, Some("TransferDocument"))]
#[case(DocumentState::Transferring, Some("ReportAccepted"))]
#[case(DocumentState::Transferring, Some("ReportTrouble"))]
#[case(DocumentState::Transferring, Some("WaitAfterTrouble"))]
#[case(DocumentState::Processing, Some("AwaitTurn"))]
#[case(DocumentState::Transferring, None)]
fn refused_key_is_to_be_renewed_wherever_a_document_is_before_the_third_party_has_it(
    #[case] state: DocumentState,
    #[case] step: Option<&str>,
    #[values(false, true)] has_trial: bool,
    #[values(None, Some("ThirdParty.Unauthorized"))] error: Option<&str>,
) {
    let failure = error.map(|error| super::history::Failure { error: error.to_owned(), reason: None });
    let pending = step.map(|step| Pending { state: step.to_owned(), since: NOW, tries: 1, failure });
    let limiter = limits(Some(Breaker { has_trial, ..breaker(Cause::Unauthorized) }), 3);
    let todo = limiter.todo(Some("arn:key"));
    let gate = gate(limiter, Standpoint::HasPlace);
    let document = document(state);
    for status in [None, Some(Status::Running), Some(Status::Broken("failed"))] {
        let execution = status.map(execution);
        let found = conclude(&document, execution.as_ref(), pending.as_ref(), Some(&gate), NOW);
        assert!(found.needs_attention && found.todo.starts_with(&todo), "{found:?}");
        assert_eq!(found.why.matches("refuses our key").count(), 1, "{found:?}");
        let redrive = format!("lectern redrive s1/{}", document.reference.document_id);
        assert_eq!(found.todo.contains(&redrive), status != Some(Status::Running), "{found:?}");
    }
}

#[rstest]
#[case(DocumentState::Processing, Some("AwaitCallback"))]
#[case(DocumentState::Received, Some("BeginVerify"))]
#[case(DocumentState::Verifying, None)]
fn refused_key_is_no_matter_of_a_document_that_the_third_party_is_done_with(
    #[case] state: DocumentState,
    #[case] step: Option<&str>,
) {
    let pending = step.map(|step| Pending { state: step.to_owned(), since: NOW, tries: 1, failure: None });
    let gate = gate(limits(Some(breaker(Cause::Unauthorized)), 3), Standpoint::HasPlace);
    let execution = execution(Status::Running);
    let found = conclude(&document(state), Some(&execution), pending.as_ref(), Some(&gate), NOW);
    assert!(found.todo.is_empty() && !found.needs_attention, "{found:?}");
}

/// Events of three files that are checked side by side, by id, the one before it, and what it is.
fn of_files(events: &[(i64, i64, &str)]) -> Vec<Step> {
    use aws_sdk_sfn::{primitives::DateTime, types};
    let mut reader = super::history::Reader::default();
    let read = |(id, before, kind): &(i64, i64, &str)| {
        let (kind, name) = kind.split_once(' ').unwrap_or((kind, ""));
        let event = types::HistoryEvent::builder()
            .id(*id)
            .previous_event_id(*before)
            .timestamp(DateTime::from_secs(1_795_176_000 + id))
            .r#type(types::HistoryEventType::from(kind));
        let event = match kind {
            kind if kind.ends_with("Entered") => event.state_entered_event_details(
                types::StateEnteredEventDetails::builder().name(name).build().unwrap(),
            ),
            kind if kind.ends_with("Exited") => event.state_exited_event_details(
                types::StateExitedEventDetails::builder().name(name).build().unwrap(),
            ),
            "TaskFailed" => event.task_failed_event_details(
                types::TaskFailedEventDetails::builder()
                    .resource_type("lambda")
                    .resource("invoke")
                    .error("Returned.Mismatch")
                    .build()
                    .unwrap(),
            ),
            _ => event,
        };
        reader.read(&event.build().unwrap())
    };
    events.iter().filter_map(read).collect()
}

fn told_of_files(events: &[(i64, i64, &str)]) -> (Vec<String>, Option<Pending>) {
    let (timeline, pending) = build(&document(DocumentState::Verifying), &[run(0, of_files(events))], &[]);
    let verify = timeline.into_iter().filter(|entry| entry.phase == super::timeline::Phase::Verify);
    (verify.map(|entry| entry.text).collect(), pending)
}

/// As Step Functions tells it: each iteration has its own chain.
const SIDE_BY_SIDE: [(i64, i64, &str); 17] = [
    (1, 0, "MapStateEntered VerifyReturned"),
    (2, 1, "MapStateStarted"),
    (3, 2, "MapIterationStarted"),
    (4, 3, "TaskStateEntered VerifyReturnedFile"),
    (5, 4, "TaskScheduled"),
    (6, 2, "MapIterationStarted"),
    (7, 6, "TaskStateEntered VerifyReturnedFile"),
    (8, 7, "TaskScheduled"),
    (9, 2, "MapIterationStarted"),
    (10, 9, "TaskStateEntered VerifyReturnedFile"),
    (11, 5, "TaskStarted"),
    (12, 8, "TaskStarted"),
    (13, 10, "TaskScheduled"),
    (14, 12, "TaskSucceeded"),
    (15, 14, "TaskStateExited VerifyReturnedFile"),
    (16, 11, "TaskSucceeded"),
    (17, 16, "TaskStateExited VerifyReturnedFile"),
];

#[test]
fn files_that_are_checked_side_by_side_are_one_line_and_no_retries() {
    let last = [(18, 13, "TaskSucceeded"), (19, 18, "MapStateSucceeded")];
    let exited = [(20, 19, "MapStateExited VerifyReturned")];
    let (told, _) = told_of_files(&[&SIDE_BY_SIDE[..], &last, &exited].concat());
    assert_eq!(told, ["VerifyReturned: 3 files checked."]);
    // The local cloud tells neither of iterations nor of what came before.
    let mut flat = vec![(1, 0, "MapStateEntered VerifyReturned")];
    flat.extend((2..5).map(|id| (id, 0, "TaskScheduled")));
    flat.extend((5..8).map(|id| (id, 0, "TaskSucceeded")));
    flat.push((8, 0, "MapStateExited VerifyReturned"));
    assert_eq!(told_of_files(&flat).0, ["VerifyReturned: 3 files checked."]);
}

#[test]
fn retry_of_one_file_is_its_own_and_files_that_are_not_accepted_were_not_checked() {
    let (_, pending) = told_of_files(&SIDE_BY_SIDE);
    let (state, tries) = pending.map(|pending| (pending.state, pending.tries)).unwrap();
    assert!(state == "VerifyReturned" && tries < 2, "{state} {tries}");

    let failed = [&SIDE_BY_SIDE[..], &[(18, 13, "TaskFailed"), (19, 18, "TaskScheduled")]].concat();
    let not_accepted = "A returned file was not accepted: Returned.Mismatch.";
    let (told, pending) = told_of_files(&failed);
    assert_eq!((told, pending.unwrap().tries), (vec![not_accepted.to_owned()], 2));

    let exited = (22, 21, "MapStateExited VerifyReturned");
    let mended = [(20, 19, "TaskSucceeded"), (21, 20, "MapStateSucceeded"), exited];
    let (told, _) = told_of_files(&[&failed[..], &mended].concat());
    assert_eq!(told, [not_accepted, "VerifyReturned: 3 files checked, with 1 retry."]);

    let given_up = [(20, 19, "TaskFailed"), (21, 20, "MapStateFailed"), exited];
    let (told, _) = told_of_files(&[&failed[..], &given_up].concat());
    assert_eq!(told, [not_accepted, not_accepted]);

    // The local cloud: the other file is done after the one that is given up.
    let flat = [
        (1, 0, "MapStateEntered VerifyReturned"),
        (2, 0, "TaskScheduled"),
        (3, 0, "TaskScheduled"),
        (4, 0, "TaskFailed"),
        (5, 0, "TaskSucceeded"),
        (6, 0, "MapStateExited VerifyReturned"),
        (7, 0, "TaskStateEntered FailDocument"),
    ];
    assert_eq!(told_of_files(&flat).0, [not_accepted]);
}
