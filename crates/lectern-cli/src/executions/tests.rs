//! Tests of the answers of Step Functions.

use aws_sdk_sfn::operation::describe_execution::DescribeExecutionOutput;
use aws_smithy_mocks::mock;
use lectern::document::DocumentState;
use rstest::rstest;

use super::*;
use crate::testing::{client, document, json_error};

const ARN: &str = "arn:aws:states:r:a:stateMachine:m";

#[tokio::test]
async fn refused_call_is_a_failure_that_says_what_to_do_and_quotes_nothing() {
    let refused =
        mock!(Client::describe_execution).then_http_response(|| json_error("AccessDeniedException"));
    let document = document(DocumentState::Failed).reference;
    let problem = Executions::new(client!(aws_sdk_sfn, refused), ARN).find(&document, 0).await.unwrap_err();
    assert_eq!(problem.what, "AWS answered DescribeExecution with AccessDeniedException");
    assert!(problem.todo.contains("AWS_PROFILE") && !problem.text().contains("secret detail"));
}

#[rstest]
#[case("RUNNING", Status::Running)]
#[case("PENDING_REDRIVE", Status::Running)]
#[case("SUCCEEDED", Status::Succeeded)]
#[case("ABORTED", Status::Broken("was aborted"))]
#[case("TIMED_OUT", Status::Broken("timed out"))]
fn status_that_is_not_known_is_not_taken_for_an_end(#[case] name: &str, #[case] expected: Status) {
    assert_eq!(status(&AwsStatus::from(name)), expected);
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
                .status(AwsStatus::Running)
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
