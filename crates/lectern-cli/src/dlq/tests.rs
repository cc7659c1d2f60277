//! What dead letters are, and that none of them is lost by moving it.

use std::sync::{Arc, Mutex};

use aws_sdk_sqs::{
    Client,
    operation::{
        delete_message_batch::DeleteMessageBatchOutput, get_queue_attributes::GetQueueAttributesOutput,
        list_message_move_tasks::ListMessageMoveTasksOutput, send_message_batch::SendMessageBatchOutput,
        start_message_move_task::StartMessageMoveTaskOutput,
    },
    types::{
        BatchResultErrorEntry, DeleteMessageBatchResultEntry, ListMessageMoveTasksResultEntry,
        QueueAttributeName, SendMessageBatchResultEntry,
    },
};
use aws_smithy_mocks::{MockResponse, Rule, mock};
use lectern::document::{Document, DocumentState};
use rstest::rstest;
use serde_json::json;

use super::{
    classify::{Action, Class, Content, Known, Mail, Verdict, judge},
    judged::{Judge, Judged, Seen},
    letters::{Depth, Letter, Letters, REDRIVES, RUN},
    native::nothing_to_sort,
    outcome::Stop,
    redact::redact,
    report::{ListReport, QueueReport},
};
use crate::{
    args::{Cli, Command, DlqCommand, DlqRedrive},
    console::Report as _,
    stack::{DeadLetters, Source},
    test_support::{answer, client, cloud, document, json_error},
};

fn queue() -> DeadLetters {
    DeadLetters {
        name: "TransferDocument".to_owned(),
        url: "http://q/dead".to_owned(),
        source: Source::Queue("http://q/source".to_owned()),
    }
}

/// The queue gives these messages once, and nothing afterwards.
pub(super) fn received_once(messages: &[serde_json::Value]) -> Rule {
    let all = json!({ "Messages": messages }).to_string();
    mock!(Client::receive_message)
        .sequence()
        .http_response(move || answer(200, all.clone()))
        .http_response(|| answer(200, "{}"))
        .repeatedly()
        .build()
}

pub(super) fn task(document: &Document, attempt: u32) -> String {
    let reference = &document.reference;
    json!({
        "schemaVersion": 1, "submissionId": reference.submission_id, "documentId": reference.document_id,
        "attempt": attempt, "round": 1, "taskToken": "SECRET-TOKEN",
    })
    .to_string()
}

/// Another text that asks for the same.
fn twin(document: &Document, attempt: u32) -> String {
    task(document, attempt).replace("\"round\"", "\"traceparent\":\"x\",\"round\"")
}

fn known(state: DocumentState, runs: bool) -> Known {
    Known { document: Some(document(state)), runs }
}

#[rstest]
#[case::waits(DocumentState::Transferring, true, 1001, 0, Class::MayWork)]
#[case::waits_again(DocumentState::Transferring, true, 1001, 1, Class::MayWork)]
#[case::poison(DocumentState::Transferring, true, 1001, 2, Class::CameBack)]
#[case::older_attempt(DocumentState::Transferring, true, 1000, 0, Class::Over)]
#[case::ended(DocumentState::Failed, false, 1001, 0, Class::Over)]
#[case::ended_and_came_back(DocumentState::Ready, false, 1001, 5, Class::Over)]
#[case::execution_is_over(DocumentState::Transferring, false, 1001, 0, Class::Over)]
fn task_is_judged_by_its_document(
    #[case] state: DocumentState,
    #[case] runs: bool,
    #[case] attempt: u32,
    #[case] redrives: u32,
    #[case] expected: Class,
) {
    let content = Content::read(Mail::Tasks, &task(&document(state), attempt));
    assert_eq!(judge(&content, redrives, &[known(state, runs)], &[]).class, expected);
    let unknown = Known { document: None, runs: false };
    assert_eq!(judge(&content, 0, &[unknown], &[]).class, Class::Over);
}

#[rstest]
#[case("ask", Class::Over, Action::Drop)]
#[case("report", Class::Over, Action::Drop)]
#[case("renew", Class::Over, Action::Drop)]
#[case("release", Class::MayWork, Action::Send)]
#[case("x SECRET", Class::Unreadable, Action::Quarantine)]
fn order_for_a_turn_is_judged_by_its_kind_whatever_became_of_its_document(
    #[case] kind: &str,
    #[case] class: Class,
    #[case] action: Action,
) {
    let open = document(DocumentState::Transferring);
    let order = |attempt: u32| {
        json!({
            "schemaVersion": 2, "submissionId": open.reference.submission_id,
            "documentId": open.reference.document_id, "kind": kind, "attempt": attempt, "taskToken": "SECRET",
        })
    };
    for known in [
        known(DocumentState::Transferring, true),
        known(DocumentState::Transferring, false),
        known(DocumentState::Ready, false),
        Known { document: None, runs: false },
    ] {
        for attempt in [1000, 1001] {
            let content = Content::read(Mail::Tasks, &order(attempt).to_string());
            let verdict = judge(&content, 0, std::slice::from_ref(&known), &[]);
            assert_eq!((verdict.class, verdict.class.action()), (class, action), "{known:?}");
            assert!(!verdict.why.contains("SECRET"));
        }
    }
}

#[rstest]
#[case("no json SECRET", Class::Unreadable, Action::Quarantine)]
#[case("{}", Class::Unreadable, Action::Quarantine)]
#[case(r#"{"schemaVersion":0}"#, Class::Unreadable, Action::Quarantine)]
#[case(r#"{"schemaVersion":99,"x":"SECRET"}"#, Class::UnknownVersion, Action::Keep)]
fn case_18_unreadable_is_poison_and_newer_is_kept(
    #[case] body: &str,
    #[case] class: Class,
    #[case] action: Action,
) {
    let verdict = judge(&Content::read(Mail::Tasks, body), 0, &[], &[]);
    assert_eq!((verdict.class, verdict.class.action()), (class, action));
    assert!(!verdict.why.contains("SECRET"), "{}", verdict.why);
}

#[test]
fn upload_event_may_work_while_one_of_its_uploads_is_not_on_its_way() {
    let event = crate::reconcile::compare::event(&document(DocumentState::Received).object, None);
    let content = Content::read(Mail::Uploads, &event);
    assert_eq!(content.documents(), [document(DocumentState::Received).reference]);
    let class = |known: &[Known]| judge(&content, 0, known, &[]).class;
    assert_eq!(class(&[Known { document: None, runs: false }]), Class::MayWork);
    assert_eq!(class(&[known(DocumentState::Received, false)]), Class::MayWork, "registered, never started");
    assert_eq!(class(&[known(DocumentState::Received, true)]), Class::Over);
    assert_eq!(class(&[known(DocumentState::Ready, false)]), Class::Over);
    let foreign = Content::read(Mail::Uploads, r#"{"Records":[]}"#);
    assert_eq!(judge(&foreign, 0, &[], &[]).class, Class::Over);
}

#[test]
fn failed_invocation_is_judged_by_its_function() {
    let record = json!({
        "version": "1.0",
        "requestContext": { "requestId": "r", "functionArn": "arn:aws:lambda:r:a:function:ours:$LATEST", "condition": "RetriesExhausted", "approximateInvokeCount": 3 },
        "requestPayload": { "token": "SECRET" },
        "responsePayload": { "errorType": "Store.Unavailable", "errorMessage": "SECRET" },
    });
    let content = Content::read(Mail::Invocations, &record.to_string());
    let verdict = judge(&content, 0, &[], &["ours"]);
    assert_eq!(
        verdict,
        Verdict { class: Class::MayWork, why: "RetriesExhausted: Store.Unavailable".to_owned() }
    );
    assert_eq!(judge(&content, 2, &[], &["ours"]).class, Class::CameBack);
    assert_eq!(judge(&content, 0, &[], &["theirs"]).class.action(), Action::Keep);
    assert_eq!(judge(&Content::read(Mail::Invocations, "[]"), 0, &[], &[]).class, Class::Unreadable);
    assert!(!redact(&record.to_string()).unwrap().to_string().contains("SECRET"));
}

#[test]
fn only_what_is_known_to_be_harmless_is_shown() {
    let body = task(&document(DocumentState::Ready), 1001)
        .replace("\"round\"", "\"url\":\"https://secret\",\"round\"");
    let shown = redact(&body).unwrap();
    assert_eq!((&shown["taskToken"], &shown["url"]), (&json!("(12 bytes)"), &json!("(14 bytes)")));
    assert_eq!((&shown["submissionId"], &shown["attempt"]), (&json!("s1"), &json!(1001)));
    assert_eq!(redact("no json"), None);
}

async fn letters(bodies: &[String]) -> Vec<Letter> {
    let messages: Vec<_> = bodies
        .iter()
        .enumerate()
        .map(|(id, body)| {
            json!({
                "MessageId": format!("m{id}"), "ReceiptHandle": format!("h{id}"), "Body": body,
                "Attributes": { "SentTimestamp": "1795176000000", "ApproximateReceiveCount": "6", "MessageGroupId": "g" },
                "MessageAttributes": {
                    "LecternRedrives": { "DataType": "Number", "StringValue": "1" },
                    "trace": { "DataType": "String", "StringValue": "t" },
                },
            })
        })
        .collect();
    let body = json!({ "Messages": messages }).to_string();
    let rule = mock!(Client::receive_message).then_http_response(move || answer(200, body.clone()));
    let client = client!(aws_sdk_sqs, rule);
    Letters { client: &client, queue: &queue() }.receive(10, 1).await.unwrap()
}

type Sent = Arc<Mutex<Vec<aws_sdk_sqs::types::SendMessageBatchRequestEntry>>>;

/// Takes all but the second of each batch.
fn takes_all_but_one(seen: &Sent) -> Rule {
    let seen = seen.clone();
    mock!(Client::send_message_batch).then_compute_output(move |request| {
        seen.lock().unwrap().extend(request.entries().to_vec());
        let mut output =
            SendMessageBatchOutput::builder().set_successful(Some(Vec::new())).set_failed(Some(Vec::new()));
        for entry in request.entries() {
            output = if entry.id() == "1" {
                let error =
                    BatchResultErrorEntry::builder().id("1").code("InternalError").sender_fault(false);
                output.failed(error.build().unwrap())
            } else {
                let done = SendMessageBatchResultEntry::builder()
                    .id(entry.id())
                    .message_id("n")
                    .md5_of_message_body("x");
                output.successful(done.build().unwrap())
            };
        }
        output.build().unwrap()
    })
}

#[tokio::test]
async fn partial_failure_of_a_batch_is_told_for_each_message() {
    let all = letters(&["a", "b", "c"].map(str::to_owned)).await;
    let seen = Sent::default();
    let client = client!(aws_sdk_sqs, takes_all_but_one(&seen));
    let dead = queue();
    let letters = Letters { client: &client, queue: &dead };
    assert_eq!(letters.send("http://q/source.fifo", &all, "run").await.unwrap(), [true, false, true]);
    let sent = seen.lock().unwrap();
    let attributes = sent[0].message_attributes().unwrap();
    assert_eq!(attributes[REDRIVES].string_value(), Some("2"), "counted on the message");
    assert_eq!(attributes["trace"].string_value(), Some("t"), "and what was there stays");
    assert_eq!(sent[0].message_group_id(), Some("g"));
    assert!(
        sent[0].message_deduplication_id().is_some_and(|id| Some(id) != sent[1].message_deduplication_id())
    );
}

#[rstest]
#[case("InvalidAction")]
#[case("UnsupportedOperation")]
#[tokio::test]
async fn native_move_that_is_not_offered_is_no_failure(#[case] code: &'static str) {
    let attributes = attributes();
    let list = mock!(Client::list_message_move_tasks).then_http_response(move || json_error(code));
    let start = mock!(Client::start_message_move_task).then_http_response(move || json_error(code));
    let client = client!(aws_sdk_sqs, attributes, list, start);
    let dead = queue();
    let letters = Letters { client: &client, queue: &dead };
    assert_eq!(letters.own_moves().await.unwrap(), None);
    assert!(!letters.move_all(10.0).await.unwrap());
}

fn attributes() -> Rule {
    mock!(Client::get_queue_attributes).then_output(|| {
        GetQueueAttributesOutput::builder().attributes(QueueAttributeName::QueueArn, "arn:dead").build()
    })
}

#[tokio::test]
async fn native_move_is_started_at_the_rate_where_it_is_offered() {
    let list = mock!(Client::list_message_move_tasks).then_output(|| {
        let running = ListMessageMoveTasksResultEntry::builder().status("RUNNING").build();
        ListMessageMoveTasksOutput::builder().results(running).build()
    });
    let start = mock!(Client::start_message_move_task)
        .match_requests(|request| {
            request.source_arn() == Some("arn:dead") && request.max_number_of_messages_per_second() == Some(7)
        })
        .then_output(|| StartMessageMoveTaskOutput::builder().task_handle("t").build());
    let client = client!(aws_sdk_sqs, attributes(), list, start);
    let dead = queue();
    let letters = Letters { client: &client, queue: &dead };
    assert!(letters.own_moves().await.unwrap().unwrap()[0].running);
    assert!(letters.move_all(7.9).await.unwrap());
}

fn judged(letter: &Letter, redrives: u32) -> Judged {
    let content = Content::read(Mail::Tasks, &letter.body);
    let verdict = Verdict { class: Class::MayWork, why: String::new() };
    Judged { letter: letter.clone(), content, verdict, redrives }
}

#[tokio::test]
async fn letters_of_one_attempt_and_token_are_the_same_and_have_to_be_sorted() {
    let open = document(DocumentState::Transferring);
    // Of two tokens only one is still awaited, so neither letter stands for the other.
    let new_token = task(&open, 1001).replace("SECRET-TOKEN", "another token");
    let all = letters(&[task(&open, 1001), twin(&open, 1001), task(&open, 2001), new_token]).await;
    let [one, twin, other, new_token] = [0, 1, 2, 3].map(|index| judged(&all[index], 0));
    assert!(one.keys().iter().any(|key| twin.keys().contains(key)));
    for different in [&other, &new_token] {
        assert!(!one.keys().iter().any(|key| different.keys().contains(key)));
    }
    assert!(nothing_to_sort(&[one.clone(), new_token], 2));
    assert!(!one.keys().concat().contains("SECRET"), "the token itself is kept nowhere");
    assert!(nothing_to_sort(&[one.clone(), other.clone()], 2));
    assert!(!nothing_to_sort(&[one.clone(), other.clone()], 3), "not all was looked at");
    assert!(!nothing_to_sort(&[one.clone(), twin], 2), "one is there twice");
    assert!(!nothing_to_sort(&[one, judged(&other.letter, 1)], 2), "one has been back");
    assert!(!nothing_to_sort(&[], 0));
}

pub(super) fn options(arguments: &[&str]) -> DlqRedrive {
    use clap::Parser as _;
    let all = [&["lectern", "dlq", "redrive", "--all", "--yes", "--rate", "1000"], arguments].concat();
    let command = Cli::try_parse_from(all).unwrap().command;
    let Command::Dlq(crate::args::Dlq { command: DlqCommand::Redrive(options) }) = command else {
        panic!("{command:?}")
    };
    options
}

/// Three letters come once; the second is refused by the source, and comes again.
#[tokio::test(start_paused = true)]
async fn letter_that_was_not_taken_is_not_deleted_and_its_twin_neither() {
    let open = document(DocumentState::Transferring);
    let bodies = [task(&open, 1001), task(&open, 1002), twin(&open, 1002)];
    let messages: Vec<_> = bodies
        .iter()
        .enumerate()
        .map(|(id, body)| json!({ "MessageId": format!("m{id}"), "ReceiptHandle": format!("h{id}"), "Body": body }))
        .collect();
    let receive = received_once(&messages);
    let deleted = Arc::new(Mutex::new(Vec::new()));
    let noted = deleted.clone();
    let delete = mock!(Client::delete_message_batch).then_compute_output(move |request| {
        let mut output = DeleteMessageBatchOutput::builder().set_failed(Some(Vec::new()));
        for entry in request.entries() {
            noted.lock().unwrap().push(entry.receipt_handle().to_owned());
            output =
                output.successful(DeleteMessageBatchResultEntry::builder().id(entry.id()).build().unwrap());
        }
        output.build().unwrap()
    });
    let release = mock!(Client::change_message_visibility).then_http_response(|| answer(200, "{}"));
    let seen = Sent::default();
    let sqs = client!(aws_sdk_sqs, attributes(), receive, takes_all_but_one(&seen), delete, release);
    let describe = mock!(aws_sdk_sfn::Client::describe_execution).then_http_response(|| {
        let body = json!({
            "executionArn": "a", "stateMachineArn": "m", "status": "RUNNING", "startDate": 1, "input": "{}"
        });
        answer(200, body.to_string())
    });
    let cloud = cloud(&[open], sqs, client!(aws_sdk_s3), client!(aws_sdk_sfn, describe));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let console = crate::Console::new(&mut out, &mut err, false);
    let options = options(&["--no-native", "--watch", "0"]);
    let outcome = super::redrive::redrive(&cloud, &queue(), &options, &console).await.unwrap();
    assert_eq!((outcome.sent, outcome.duplicates), (1, 0));
    assert_eq!(*deleted.lock().unwrap(), ["h0"], "only what was sent is deleted");
    assert_eq!(seen.lock().unwrap().len(), 2, "the twin was not sent");
}

/// What was sent lies in the dead-letter queue again at once, with what was noted on it.
#[tokio::test(start_paused = true)]
async fn redrive_stops_when_its_letters_come_straight_back() {
    let open = document(DocumentState::Transferring);
    let body = task(&open, 1001);
    let seen = Sent::default();
    let sent = seen.clone();
    let receive = mock!(Client::receive_message).then_compute_response(move |_| {
        let mut message = json!({ "MessageId": "m", "ReceiptHandle": "h", "Body": body });
        if let Some(entry) = sent.lock().unwrap().first() {
            let text =
                |name: &str| entry.message_attributes().unwrap()[name].string_value().unwrap().to_owned();
            message["MessageAttributes"] = json!({
                REDRIVES: { "DataType": "Number", "StringValue": text(REDRIVES) },
                RUN: { "DataType": "String", "StringValue": text(RUN) },
            });
            message["ReceiptHandle"] = "returned".into();
        }
        MockResponse::Http(answer(200, json!({ "Messages": [message] }).to_string()))
    });
    let deleted = Arc::new(Mutex::new(Vec::new()));
    let noted = deleted.clone();
    let delete = mock!(Client::delete_message_batch).then_compute_output(move |request| {
        noted.lock().unwrap().extend(request.entries().iter().map(|entry| entry.receipt_handle().to_owned()));
        let done = DeleteMessageBatchResultEntry::builder().id("0").build().unwrap();
        DeleteMessageBatchOutput::builder().successful(done).set_failed(Some(Vec::new())).build().unwrap()
    });
    let release = mock!(Client::change_message_visibility).then_http_response(|| answer(200, "{}"));
    let describe = mock!(aws_sdk_sfn::Client::describe_execution).then_http_response(|| {
        let body = json!({
            "executionArn": "a", "stateMachineArn": "m", "status": "RUNNING", "startDate": 1, "input": "{}"
        });
        answer(200, body.to_string())
    });
    let sqs = client!(aws_sdk_sqs, attributes(), receive, takes_all_but_one(&seen), delete, release);
    let history = mock!(aws_sdk_sfn::Client::get_execution_history)
        .then_http_response(|| answer(200, r#"{"events":[]}"#));
    let cloud = cloud(&[open], sqs, client!(aws_sdk_s3), client!(aws_sdk_sfn, describe, history));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let console = crate::Console::new(&mut out, &mut err, false);
    let outcome =
        super::redrive::redrive(&cloud, &queue(), &options(&["--no-native"]), &console).await.unwrap();
    assert_eq!(outcome.stopped, Some(Stop::StraightBack { messages: 1 }));
    assert!(outcome.needs_attention() && outcome.sent == 1);
    assert_eq!(*deleted.lock().unwrap(), ["h"], "what came back stays, for whoever mends the cause");
    assert_eq!(release.num_calls(), 1, "and can be seen at once");
}

#[tokio::test]
async fn list_reads_well_and_holds_no_secret() {
    let open = document(DocumentState::Transferring);
    let mut ready = document(DocumentState::Ready);
    ready.reference.submission_id = "s2".parse().unwrap();
    let all = letters(&[task(&open, 1001), "no json SECRET".to_owned(), task(&open, 1000)]).await;
    let describe = mock!(aws_sdk_sfn::Client::describe_execution)
        .then_http_response(|| json_error("ExecutionDoesNotExist"));
    let cloud = cloud(&[open], client!(aws_sdk_sqs), client!(aws_sdk_s3), client!(aws_sdk_sfn, describe));
    let dead = queue();
    let mut judge = Judge::new(&cloud, &dead);
    let mut found = Vec::new();
    for letter in all {
        found.push(judge.judge(letter).await.unwrap());
    }
    let now = time::macros::datetime!(2026-11-20 14:00:00 UTC);
    let depth = Depth { visible: 5, hidden: 1 };
    let report = ListReport { queues: vec![QueueReport::new(&dead, &Seen { letters: found, depth }, now)] };
    let mut out = Vec::new();
    report.write(&mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(!text.contains("SECRET") && !serde_json::to_string(&report).unwrap().contains("SECRET"));
    insta::assert_snapshot!(text);
}
