//! Tests partially failed batches, and errors as the state machine receives them.

use std::sync::Mutex;

use aws_sdk_sqs::operation::change_message_visibility::ChangeMessageVisibilityOutput;
use aws_smithy_mocks::{Rule, mock};
use lectern::{document::Reason, error::StoreError, steps::transfer_document, testing::MemoryStates};
use serde_json::{Value, json};

use super::*;
use crate::test_support::{NOW, client, json_error, reference};

fn visibility() -> Rule {
    mock!(aws_sdk_sqs::Client::change_message_visibility)
        .then_output(|| ChangeMessageVisibilityOutput::builder().build())
}

fn queue(rule: &Rule) -> SourceQueue {
    SourceQueue::new(client!(aws_sdk_sqs, *rule), "https://queue".to_owned())
}

fn batch(bodies: &[String]) -> SqsEvent {
    let records: Vec<Value> = bodies
        .iter()
        .enumerate()
        .map(|(index, body)| {
            json!({
                "messageId": format!("m{index}"), "receiptHandle": format!("r{index}"), "body": body,
                "attributes": {"ApproximateReceiveCount": "1", "AWSTraceHeader": "Root=1-a;Sampled=1"},
                "messageAttributes": {}, "md5OfBody": "x", "eventSource": "aws:sqs",
                "eventSourceARN": "arn:q", "awsRegion": "us-east-1"
            })
        })
        .collect();
    serde_json::from_value(json!({ "Records": records })).unwrap()
}

fn message(attempt: u32) -> String {
    json!({
        "schemaVersion": 2, "permitExpiresAt": "2026-11-20T13:00:00Z", "reportSuccess": false, "submissionId": "s1", "documentId": reference().document_id,
        "attempt": attempt, "round": 1, "taskToken": "token"
    })
    .to_string()
}

fn unavailable() -> Retryable {
    Error::from(StoreError::unavailable("no store")).into()
}

fn ids(response: &SqsBatchResponse) -> Value {
    serde_json::to_value(response).unwrap()
}

#[tokio::test]
async fn case_17_one_poisonous_message_of_ten_alone_is_reported() {
    let bodies: Vec<String> = (0..10).map(|index| format!("body {index}")).collect();
    let (rule, handled) = (visibility(), Mutex::new(Vec::new()));
    let handle = async |received: Received| {
        let body = received.body;
        handled.lock().unwrap().push(body.clone());
        if body == "body 4" { Err(unavailable()) } else { Ok(()) }
    };
    let response = handle_batch("f", None, &queue(&rule), &handle, batch(&bodies)).await;
    assert_eq!(ids(&response), json!({"batchItemFailures": [{"itemIdentifier": "m4"}]}));
    assert_eq!(*handled.lock().unwrap(), bodies, "its neighbours were handled");
    assert_eq!(rule.num_calls(), 1, "only its delivery was changed");
}

#[tokio::test]
async fn case_18_unreadable_message_stays_on_its_queue_and_nothing_is_called() {
    let bodies = [
        "not json".to_owned(),
        message(1000).replace("\"schemaVersion\":2", "\"schemaVersion\":1"),
        message(1000),
        "{}".to_owned(),
    ];
    let (rule, handled) = (visibility(), Mutex::new(Vec::new()));
    let handle = async |input: transfer_document::Input, _| {
        handled.lock().unwrap().push(input.envelope.attempt);
        Ok(())
    };
    let states = MemoryStates::default();
    let parse = |received: Received| handle_message(&states, &handle, received);
    let response = handle_batch("f", None, &queue(&rule), &parse, batch(&bodies)).await;
    let unreadable = ["m0", "m1", "m3"].map(|id| json!({"itemIdentifier": id}));
    assert_eq!(ids(&response), json!({ "batchItemFailures": unreadable }));
    assert_eq!(*handled.lock().unwrap(), [Attempt(1000)]);
    assert_eq!(states.answer(&TaskToken::new("token")), None);
}

fn newer() -> String {
    json!({ "schemaVersion": 3, "taskToken": "token", "attempt": { "of": "another form" } }).to_string()
}

#[tokio::test]
async fn case_50_a07_message_of_newer_code_is_answered_so_that_the_state_machine_sends_it_again() {
    let states = MemoryStates::default();
    let handle = async |input: transfer_document::Input, _| -> Result<(), Error> { panic!("{input:?}") };
    let parse = |received: Received| handle_message(&states, &handle, received);
    let response = handle_batch("f", None, &queue(&visibility()), &parse, batch(&[newer()])).await;
    assert_eq!(
        ids(&response),
        json!({"batchItemFailures": []}),
        "no redelivery leads to the dead-letter queue"
    );
    assert_eq!(states.answer(&TaskToken::new("token")), Some(Err("Input.Newer")));
}

#[tokio::test]
async fn a01_a07_message_of_newer_code_whose_token_is_not_known_yet_is_delivered_again_once() {
    let states = MemoryStates::default();
    states.expire(&TaskToken::new("token"));
    let handle = async |_: transfer_document::Input, _| Ok(());
    for (again, kept) in [(false, true), (true, false)] {
        let received = Received { body: newer(), xray_header: None, again };
        assert_eq!(handle_message(&states, &handle, received).await.is_err(), kept, "{again}");
    }
}

#[tokio::test]
async fn a07_message_of_newer_code_without_a_token_stays_on_its_queue() {
    let handle = async |_: transfer_document::Input, _| Ok(());
    let body = json!({ "schemaVersion": 3 }).to_string();
    let received = Received { body, xray_header: None, again: false };
    let kept = handle_message(&MemoryStates::default(), &handle, received).await.unwrap_err();
    assert!(matches!(kept, Retryable::Unreadable(Unreadable::Newer(3))));
}

#[tokio::test]
async fn case_50_a07_task_with_an_input_of_newer_code_fails_with_the_error_that_is_retried_for_days() {
    let handle = async |_: transfer_document::Input| Ok::<_, Error>(());
    let payload = json!({ "schemaVersion": 3, "documentId": 7 });
    let diagnostic = handle_task("f", None, &handle, payload).await.unwrap_err();
    assert_eq!(diagnostic.error_type, "Input.Newer");
}

#[tokio::test]
async fn whole_batch_that_succeeds_reports_an_empty_list() {
    let handle = async |_: Received| Ok::<_, Retryable>(());
    let bodies = [message(1000), message(1001)];
    let response = handle_batch("f", None, &queue(&visibility()), &handle, batch(&bodies)).await;
    assert_eq!(ids(&response), json!({"batchItemFailures": []}));
}

#[tokio::test]
async fn message_whose_pause_cannot_be_set_is_reported_all_the_same() {
    let rule = mock!(aws_sdk_sqs::Client::change_message_visibility)
        .then_http_response(|| json_error("AccessDenied"));
    let handle = async |_: Received| Err::<(), _>(unavailable());
    let response = handle_batch("f", None, &queue(&rule), &handle, batch(&[message(1000)])).await;
    assert_eq!(ids(&response), json!({"batchItemFailures": [{"itemIdentifier": "m0"}]}));
}

/// Waiting is no failure, so it is no error in the log. A queue's visibility timeout may be longer than a minute.
#[tokio::test]
async fn s02_message_that_waits_is_delivered_again_within_a_minute() {
    let pauses = Arc::new(Mutex::new(Vec::new()));
    let noted = pauses.clone();
    let rule = mock!(aws_sdk_sqs::Client::change_message_visibility).then_compute_output(move |request| {
        noted.lock().unwrap().push(request.visibility_timeout());
        ChangeMessageVisibilityOutput::builder().build()
    });
    let handle = async |_: Received| Err::<(), _>(Retryable::Waiting("a test"));
    for count in [1, 2, 3, 50] {
        let mut event = batch(&[message(1000)]);
        event.records[0].attributes.insert("ApproximateReceiveCount".to_owned(), count.to_string());
        let response = handle_batch("f", None, &queue(&rule), &handle, event).await;
        assert_eq!(ids(&response), json!({"batchItemFailures": [{"itemIdentifier": "m0"}]}));
    }
    assert_eq!(*pauses.lock().unwrap(), [2, 10, 60, 60].map(Some));
}

#[tokio::test]
async fn case_23_message_that_meets_a_failing_store_is_delivered_again() {
    let handle = async |_: transfer_document::Input, _| Err::<(), _>(StoreError::Conflict.into());
    let states = MemoryStates::default();
    let parse = |received: Received| handle_message(&states, &handle, received);
    let response = handle_batch("f", None, &queue(&visibility()), &parse, batch(&[message(1000)])).await;
    assert_eq!(ids(&response), json!({"batchItemFailures": [{"itemIdentifier": "m0"}]}));
}

#[tokio::test]
async fn unreadable_input_of_a_task_fails_without_being_quoted() {
    let handle = async |_: transfer_document::Input| Ok::<_, Error>(());
    for payload in [json!("secret"), json!({ "schemaVersion": 2, "taskToken": "secret" })] {
        let diagnostic = handle_task("f", None, &handle, payload).await.unwrap_err();
        assert_eq!(diagnostic.error_type, "Input.Unreadable");
        assert!(!diagnostic.error_message.contains("secret"), "{}", diagnostic.error_message);
    }
}

#[test]
fn error_type_is_the_workflows_name_and_the_message_its_cause() {
    let errors = [
        Error::RateLimited { retry_at: NOW },
        Error::Unauthorized,
        Error::ReturnedMismatch(Reason::new("wrongHash", "Other bytes.")),
        StoreError::Conflict.into(),
    ];
    for error in errors {
        let diagnostic = task_error(&error);
        assert_eq!(diagnostic.error_type, error.name());
        let cause: Value = serde_json::from_str(&diagnostic.error_message).unwrap();
        assert_eq!(cause, error.cause());
    }
}

#[tokio::test]
async fn sender_of_a_message_gives_the_trace_and_else_the_invocation() {
    let seen = Mutex::new(Vec::new());
    let handle = async |received: Received| {
        seen.lock().unwrap().push(received.xray_header);
        Ok::<_, Retryable>(())
    };
    let mut event = batch(&[message(1000), message(1001)]);
    event.records[1].attributes.remove("AWSTraceHeader");
    handle_batch("f", Some("Root=1-b"), &queue(&visibility()), &handle, event).await;
    let seen = seen.lock().unwrap();
    assert_eq!(seen.iter().flatten().collect::<Vec<_>>(), ["Root=1-a;Sampled=1", "Root=1-b"]);
}

#[test]
fn log_fields_of_an_unreadable_message_are_read() {
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let body = message(1000)
        .replace("\"schemaVersion\":2", &format!("\"schemaVersion\":99,\"traceparent\":\"{trace}\""));
    let fields = LogFields::of(&body);
    assert_eq!((fields.document, fields.attempt), (Some(reference()), Some(Attempt(1000))));
    assert_eq!(fields.traceparent, Some(trace.parse().unwrap()));
    let nameless = r#"{"submissionId":"../etc","documentId":"secret","traceparent":"secret"}"#;
    for body in ["not json", "[]", "{}", nameless] {
        let fields = LogFields::of(body);
        assert!(fields.document.is_none() && fields.traceparent.is_none(), "{body}");
    }
}
