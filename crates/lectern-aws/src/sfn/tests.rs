//! Tests how answers of Step Functions are handled.

use aws_sdk_sfn::operation::{
    send_task_failure::{SendTaskFailureInput, SendTaskFailureOutput},
    send_task_success::SendTaskSuccessOutput,
    start_execution::{StartExecutionInput, StartExecutionOutput},
};
use aws_smithy_mocks::mock;
use lectern::{
    admission::Lane,
    document::{Attempt, Reason, Round},
    testing::port_contract::faults::token_that_nobody_waits_for_is_not_awaited,
};
use rstest::rstest;
use tokio::net::TcpListener;

use super::*;
use crate::test_support::{NOW, Seen, client, json_error, reference, traceparent};

const TOKEN: &str = "token-of-a-task";

fn execution() -> StartExecution {
    StartExecution {
        document: reference(),
        traceparent: Some(traceparent()),
        lane: Lane::of(None, &reference().submission_id),
        redrives: 0,
        resume: Resume::Transfer,
        round: Round::FIRST,
        attempt: Attempt::default(),
    }
}

#[tokio::test]
async fn execution_is_started_under_the_documents_id() {
    let seen = Seen::<StartExecutionInput>::new();
    let noted = seen.clone();
    let rule = mock!(Client::start_execution).then_compute_output(move |request| {
        noted.note(request);
        StartExecutionOutput::builder()
            .execution_arn("arn:e")
            .start_date(aws_sdk_sfn::primitives::DateTime::from_secs(0))
            .build()
            .unwrap()
    });
    let machine = StateMachine::new(client!(aws_sdk_sfn, rule), "arn:m".to_owned());
    machine.start(&execution()).await.unwrap();
    let request = seen.only();
    assert_eq!(
        request.trace_header(),
        Some("Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=1")
    );
    assert_eq!(request.state_machine_arn(), Some("arn:m"));
    assert_eq!(request.name(), Some(reference().document_id.to_string().as_str()));
    let input: Value = serde_json::from_str(request.input().unwrap()).unwrap();
    assert_eq!(
        input,
        json!({
            "schemaVersion": 2, "submissionId": "s1", "documentId": reference().document_id,
            "lane": "e8bc163c82eee187", "redrives": 0, "round": 1, "attempt": 0,
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        })
    );
}

#[rstest]
#[case(1, Resume::Transfer, json!({"redrives": 1, "round": 4, "attempt": 1_000_007}))]
#[case(1, Resume::Probe, json!({"redrives": 1, "resume": "probe", "round": 4, "attempt": 1_000_007}))]
#[case(2, Resume::Verify, json!({"redrives": 2, "resume": "verify", "round": 4, "attempt": 1_000_007}))]
#[tokio::test]
async fn case_48_redrive_is_an_execution_of_its_own_that_resumes_with_the_documents_round(
    #[case] redrives: u32,
    #[case] resume: Resume,
    #[case] more: Value,
) {
    let seen = Seen::<StartExecutionInput>::new();
    let noted = seen.clone();
    let rule =
        mock!(Client::start_execution).then_http_response(move || json_error("ExecutionAlreadyExists"));
    let first = mock!(Client::start_execution)
        .match_requests(move |request| noted.note(request) == 0)
        .then_output(|| {
            let started = aws_sdk_sfn::primitives::DateTime::from_secs(0);
            StartExecutionOutput::builder().execution_arn("arn:e").start_date(started).build().unwrap()
        });
    let machine = StateMachine::new(client!(aws_sdk_sfn, first, rule), "arn:m".to_owned());
    let attempt = Attempt(1_000_007);
    for _ in 0..2 {
        let start =
            StartExecution { redrives, resume, round: Round(4), attempt, traceparent: None, ..execution() };
        machine.start(&start).await.unwrap();
    }
    let request = seen.all().remove(0);
    let name = format!("{}-redrive-{redrives}", reference().document_id);
    assert_eq!(request.name(), Some(name.as_str()));
    assert!(name.len() <= 80, "as long as a name may be");
    let input: Value = serde_json::from_str(request.input().unwrap()).unwrap();
    let mut expected = json!({
        "schemaVersion": SCHEMA_VERSION, "submissionId": "s1", "documentId": reference().document_id,
        "lane": "e8bc163c82eee187",
    });
    expected.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    assert_eq!(input, expected);
}

#[tokio::test]
async fn case_22_execution_that_exists_is_a_success() {
    let rule = mock!(Client::start_execution).then_http_response(|| json_error("ExecutionAlreadyExists"));
    let machine = StateMachine::new(client!(aws_sdk_sfn, rule), "arn:m".to_owned());
    assert!(machine.start(&execution()).await.is_ok());
}

#[rstest]
#[case("ThrottlingException")]
#[case("ExecutionLimitExceeded")]
#[case("StateMachineDoesNotExist")]
#[case("AccessDeniedException")]
#[tokio::test]
async fn case_23_throttled_or_refused_start_lets_the_message_wait(#[case] code: &'static str) {
    let rule = mock!(Client::start_execution).then_http_response(move || json_error(code));
    let machine = StateMachine::new(client!(aws_sdk_sfn, rule), "arn:m".to_owned());
    let error = machine.start(&execution()).await.unwrap_err();
    assert_eq!(error.name(), "Store.Unavailable");
    assert!(error.to_string().contains(code), "{error}");
    assert!(!format!("{error:?}").contains("secret detail"));
}

#[rstest]
#[case("TaskTimedOut")]
#[case("TaskDoesNotExist")]
#[case("InvalidToken")]
#[tokio::test]
async fn case_34_token_that_nobody_waits_for_is_not_awaited(#[case] code: &'static str) {
    let success = mock!(Client::send_task_success).then_http_response(move || json_error(code));
    let failure = mock!(Client::send_task_failure).then_http_response(move || json_error(code));
    let heartbeat = mock!(Client::send_task_heartbeat).then_http_response(move || json_error(code));
    let tasks = TaskTokens::new(client!(aws_sdk_sfn, success, failure, heartbeat));
    token_that_nobody_waits_for_is_not_awaited(&tasks, &TaskToken::new(TOKEN)).await.unwrap();
}

/// A request to admit-document that was sent by hand: if its token were an error, it would block the messages behind
/// it.
#[tokio::test]
async fn invalid_token_is_not_awaited_but_an_invalid_output_is_an_error() {
    let heartbeat =
        mock!(Client::send_task_heartbeat).then_http_response(|| json_error("ValidationException"));
    let success = mock!(Client::send_task_success).then_http_response(|| json_error("ValidationException"));
    let tasks = TaskTokens::new(client!(aws_sdk_sfn, heartbeat, success));
    let token = TaskToken::new(TOKEN);
    assert_eq!(tasks.is_awaited(&token).await.unwrap(), TokenUse::NotAwaited);
    assert_eq!(tasks.succeed(&token, json!({})).await.unwrap_err().name(), "Store.Unavailable");
}

#[tokio::test]
async fn throttled_answer_to_a_token_is_unavailable_and_never_quotes_the_token() {
    let rule = mock!(Client::send_task_success).then_http_response(|| json_error("ThrottlingException"));
    let tasks = TaskTokens::new(client!(aws_sdk_sfn, rule));
    let error = tasks.succeed(&TaskToken::new(TOKEN), json!({})).await.unwrap_err();
    assert_eq!(error.name(), "Store.Unavailable");
    assert!(!format!("{error:?} {error}").contains(TOKEN));
}

#[tokio::test]
async fn success_carries_the_output() {
    let rule = mock!(Client::send_task_success)
        .match_requests(|request| {
            request.task_token() == Some(TOKEN) && request.output() == Some(r#"{"jobId":"j1"}"#)
        })
        .then_output(|| SendTaskSuccessOutput::builder().build());
    let tasks = TaskTokens::new(client!(aws_sdk_sfn, rule));
    let used = tasks.succeed(&TaskToken::new(TOKEN), json!({"jobId": "j1"})).await;
    assert_eq!(used.unwrap(), TokenUse::Delivered);
}

#[rstest]
#[case(Error::Rejected(Reason::new("drm", "No.")), json!({"reason": {"code": "drm", "message": "The processing service does not accept this file."}}))]
#[case(
    Error::RateLimited { retry_at: NOW },
    json!({"reason": Error::RateLimited { retry_at: NOW }.reason(), "retryAt": "2026-11-20T12:00:00.000Z"})
)]
#[tokio::test]
async fn failure_carries_the_name_and_the_cause(#[case] error: Error, #[case] cause: Value) {
    let seen = Seen::<SendTaskFailureInput>::new();
    let noted = seen.clone();
    let rule = mock!(Client::send_task_failure).then_compute_output(move |request| {
        noted.note(request);
        SendTaskFailureOutput::builder().build()
    });
    let tasks = TaskTokens::new(client!(aws_sdk_sfn, rule));
    assert_eq!(tasks.fail(&TaskToken::new(TOKEN), &error).await.unwrap(), TokenUse::Delivered);
    let request = seen.only();
    assert_eq!((request.task_token(), request.error()), (Some(TOKEN), Some(error.name())));
    let sent: Value = serde_json::from_str(request.cause().unwrap()).unwrap();
    assert_eq!(sent, cause);
}

/// A real client, without credentials and retries, of a service at this port.
fn real_client(port: u16) -> Client {
    use aws_sdk_sfn::config::{
        BehaviorVersion, Config, Credentials, Region, retry::RetryConfig, timeout::TimeoutConfig,
    };
    let timeout = std::time::Duration::from_secs(2);
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::for_tests())
        .endpoint_url(format!("http://127.0.0.1:{port}"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_timeout(timeout).build())
        .build();
    Client::from_conf(config)
}

#[tokio::test]
async fn service_that_never_answers_or_is_not_there_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let machine = StateMachine::new(real_client(port), "arn:m".to_owned());
    let slow = machine.start(&execution()).await.unwrap_err();
    assert_eq!(slow.to_string(), "our own store failed: StartExecution: it timed out (no code)");
    drop(listener);
    let gone = machine.start(&execution()).await.unwrap_err();
    assert!(gone.to_string().contains("it could not be reached"), "{gone}");
    assert_eq!(gone.name(), "Store.Unavailable");
}
