//! Tests the mapping of AWS's errors.

use std::error::Error as _;

use aws_sdk_dynamodb::Client;
use aws_smithy_mocks::mock;
use rstest::rstest;

use super::*;
use crate::test_support::{answer, client, json_error};

async fn put_item(client: &Client) -> StoreError {
    let error = client.put_item().table_name("secret").send().await.unwrap_err();
    let Error::Store(error) = failed("PutItem", error) else { panic!("not an error of the store") };
    error
}

fn kind(error: &StoreError) -> &'static str {
    match error {
        StoreError::Unavailable { .. } => "unavailable",
        StoreError::Conflict => "conflict",
        StoreError::Defect { .. } => "defect",
    }
}

#[rstest]
#[case::condition("ConditionalCheckFailedException", "conflict")]
#[case::transaction("TransactionConflictException", "conflict")]
#[case::transaction_in_progress("TransactionInProgressException", "conflict")]
#[case::throttled("ThrottlingException", "unavailable")]
#[case::table_is_busy("ProvisionedThroughputExceededException", "unavailable")]
#[case::too_many("RequestLimitExceeded", "unavailable")]
#[case::wrong_request("ValidationException", "defect")]
#[case::no_permission("AccessDeniedException", "defect")]
#[case::no_table("ResourceNotFoundException", "defect")]
#[tokio::test]
async fn error_of_a_service_is_an_outage_a_conflict_or_a_defect(
    #[case] code: &'static str,
    #[case] expected: &str,
) {
    let rule = mock!(Client::put_item).then_http_response(move || json_error(code));
    let error = put_item(&client!(aws_sdk_dynamodb, rule)).await;
    assert_eq!(kind(&error), expected, "{error:?}");
    assert_eq!(error.source().is_some(), expected != "conflict", "the cause is kept");
    assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    assert_eq!(Error::from(error).name(), "Store.Unavailable");
}

#[rstest]
#[case(500)]
#[case(503)]
#[tokio::test]
async fn server_error_without_a_code_is_an_outage(#[case] status: u16) {
    let rule = mock!(Client::put_item).then_http_response(move || answer(status, "{}"));
    assert_eq!(kind(&put_item(&client!(aws_sdk_dynamodb, rule)).await), "unavailable");
}
