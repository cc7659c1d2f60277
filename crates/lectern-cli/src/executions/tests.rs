//! What Step Functions answers an operator.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_sfn::operation::{
    describe_execution::DescribeExecutionOutput, redrive_execution::RedriveExecutionOutput,
};
use aws_smithy_mocks::{Rule, mock};
use lectern::document::DocumentState;
use rstest::rstest;
use serde_json::json;

use Says::{Because, NotRedrivable, Redrivable};

use super::*;
use crate::test_support::{answer, client, document, json_error};

const ARN: &str = "arn:aws:states:r:a:stateMachine:m";

fn history(last: &'static str) -> Rule {
    mock!(Client::get_execution_history)
        .match_requests(|request| request.reverse_order() == Some(true))
        .then_http_response(move || {
            answer(200, format!(r#"{{"events":[{{"id":9,"timestamp":1,"type":"{last}"}}]}}"#))
        })
}

/// What an execution's description says of redrives.
#[derive(Clone, Copy)]
enum Says {
    Nothing,
    Redrivable,
    NotRedrivable,
    /// With this reason.
    Because(&'static str),
}

/// AWS's words.
const RUNNING: Says = Because("Execution is RUNNING and cannot be redriven");
const SUCCEEDED: Says = Because("Execution is SUCCEEDED and cannot be redriven");

/// An execution that was redriven so often.
fn execution(status: &str, redrives: i32, says: Says) -> HttpResponse {
    let (redrive_status, reason) = match says {
        Says::Nothing => (None, None),
        Redrivable => (Some("REDRIVABLE"), None),
        NotRedrivable => (Some("NOT_REDRIVABLE"), None),
        Because(reason) => (Some("NOT_REDRIVABLE"), Some(reason)),
    };
    let execution = json!({
        "executionArn": "a",
        "stateMachineArn": "m",
        "status": status,
        "startDate": 1,
        "redriveCount": redrives,
        "redriveStatus": redrive_status,
        "redriveStatusReason": reason,
    });
    answer(200, execution.to_string())
}

/// One that was aborted, redriven so often.
fn described(redrives: i32) -> Rule {
    mock!(Client::describe_execution).then_http_response(move || execution("ABORTED", redrives, Redrivable))
}

#[tokio::test]
async fn redrive_is_step_functions_own_where_it_is_offered() {
    let redrive = mock!(Client::redrive_execution)
        .match_requests(|request| request.execution_arn() == Some("arn:aws:states:r:a:execution:m:name"))
        .then_output(|| {
            let date = aws_sdk_sfn::primitives::DateTime::from_secs(0);
            RedriveExecutionOutput::builder().redrive_date(date).build().unwrap()
        });
    let executions =
        Executions::new(client!(aws_sdk_sfn, described(0), history("ExecutionTimedOut"), redrive), ARN);
    assert_eq!(executions.redrive("name").await.unwrap(), Redriven::GoesOn);
}

#[rstest]
#[case("InvalidAction")]
#[case("UnknownOperationException")]
#[tokio::test]
async fn redrive_that_is_not_offered_is_no_failure(#[case] code: &'static str) {
    let redrive = mock!(Client::redrive_execution).then_http_response(move || json_error(code));
    let executions =
        Executions::new(client!(aws_sdk_sfn, described(0), history("ExecutionAborted"), redrive), ARN);
    assert_eq!(executions.redrive("name").await.unwrap(), Redriven::NotOffered);
}

/// Seen in review: however it stood, a second execution was started, also beside one that somebody else had had redriven
/// in the same moment.
#[rstest]
#[case::running("RUNNING", RUNNING, Redriven::Running)]
#[case::running_by_its_status("RUNNING", Says::Nothing, Redriven::Running)]
#[case::running_by_its_reason("ABORTED", RUNNING, Redriven::Running)]
#[case::pending("PENDING_REDRIVE", Says::Nothing, Redriven::Running)]
#[case::as_it_was_before("ABORTED", Redrivable, Redriven::Unclear)]
#[case::not_a_word("TIMED_OUT", Says::Nothing, Redriven::Unclear)]
#[case::no_reason("TIMED_OUT", NotRedrivable, Redriven::Unclear)]
#[case::succeeded("SUCCEEDED", SUCCEEDED, Redriven::Unclear)]
#[case::succeeded_by_its_reason("FAILED", SUCCEEDED, Redriven::Unclear)]
#[case::too_many_events("ABORTED", Because("Execution history event limit exceeded"), Redriven::NotOffered)]
#[case::too_old("TIMED_OUT", Because("Execution redrivable period exceeded"), Redriven::NotOffered)]
#[case::too_long("TIMED_OUT", Because("Execution has exceeded the max execution time"), Redriven::NotOffered)]
#[tokio::test]
async fn refused_redrive_is_judged_by_how_the_execution_stands_afterwards(
    #[case] status: &'static str,
    #[case] says: Says,
    #[case] expected: Redriven,
) {
    let descriptions = mock!(Client::describe_execution)
        .sequence()
        .http_response(|| execution("ABORTED", 0, Redrivable))
        .http_response(move || execution(status, 0, says))
        .build();
    let refusal =
        mock!(Client::redrive_execution).then_http_response(|| json_error("ExecutionNotRedrivable"));
    let sfn = client!(aws_sdk_sfn, descriptions, history("ExecutionAborted"), refusal);
    assert_eq!(Executions::new(sfn, ARN).redrive("name").await.unwrap(), expected);
}

/// It was redriven after the command had looked how it stands, and before it looked whether that had been done before.
#[rstest]
#[case("RUNNING", RUNNING)]
#[case("PENDING_REDRIVE", Says::Nothing)]
#[case("ABORTED", RUNNING)]
#[tokio::test]
async fn execution_that_was_redriven_and_runs_is_left_alone(
    #[case] status: &'static str,
    #[case] says: Says,
) {
    let description =
        mock!(Client::describe_execution).then_http_response(move || execution(status, 1, says));
    let executions = Executions::new(client!(aws_sdk_sfn, description), ARN);
    assert_eq!(executions.redrive("name").await.unwrap(), Redriven::Running);
}

#[tokio::test]
async fn execution_that_came_to_its_fail_state_would_only_fail_again() {
    let executions = Executions::new(client!(aws_sdk_sfn, described(0), history("FailStateEntered")), ARN);
    assert_eq!(executions.redrive("name").await.unwrap(), Redriven::NotOffered, "it is not even asked for");
}

/// It would go on by the definition that it was started with, also if that is what it broke off for.
#[tokio::test]
async fn execution_that_broke_off_again_needs_a_new_one() {
    let executions = Executions::new(client!(aws_sdk_sfn, described(1)), ARN);
    assert_eq!(executions.redrive("name").await.unwrap(), Redriven::NotOffered);
}

#[tokio::test]
async fn refused_redrive_is_a_failure_that_says_what_to_do_and_quotes_nothing() {
    let redrive = mock!(Client::redrive_execution).then_http_response(|| json_error("AccessDeniedException"));
    let executions =
        Executions::new(client!(aws_sdk_sfn, described(0), history("ExecutionAborted"), redrive), ARN);
    let problem = executions.redrive("name").await.unwrap_err();
    assert_eq!(problem.what, "RedriveExecution: it answered with an error (AccessDeniedException)");
    assert!(problem.todo.contains("AWS_PROFILE") && !problem.transient);
}

#[tokio::test]
async fn submission_of_a_document_is_in_its_executions_input() {
    let document = document(DocumentState::Failed).reference;
    let arn = format!("arn:aws:states:r:a:execution:m:{}", document.document_id);
    let known = mock!(Client::describe_execution)
        .match_requests(move |request| request.execution_arn() == Some(arn.as_str()))
        .then_output(|| {
            DescribeExecutionOutput::builder()
                .execution_arn("a")
                .state_machine_arn(ARN)
                .status(ExecutionStatus::Running)
                .start_date(aws_sdk_sfn::primitives::DateTime::from_secs(0))
                .input(r#"{"schemaVersion":1,"submissionId":"s1","documentId":"x"}"#)
                .build()
                .unwrap()
        });
    let unknown =
        mock!(Client::describe_execution).then_http_response(|| json_error("ExecutionDoesNotExist"));
    let executions = Executions::new(client!(aws_sdk_sfn, known, unknown), ARN);
    assert_eq!(executions.submission_of(document.document_id).await.unwrap().unwrap().as_str(), "s1");
    let other = DocumentId::of("b", b"k", "v");
    assert_eq!(executions.submission_of(other).await.unwrap(), None);
    assert_eq!(executions.find(&document, 3).await.unwrap(), None, "the third redrive has another name");
    assert_eq!(executions.find(&document, 0).await.unwrap().unwrap().status, Status::Running);
}
