//! Writes that meet another writer's, which the local cloud never answers: the store keeps the contract that the store in
//! memory keeps.

use aws_sdk_dynamodb::operation::put_item::PutItemOutput;
use aws_smithy_mocks::RuleMode;
use lectern::{
    document::{Attempt, Reason, Round},
    error::{Error, StoreError},
    ports::{AdmissionStore as _, Finishing as _, Register as _, Reopening as _, Transfers as _},
    testing::{
        port_contract::faults::write_that_meets_another_writer_can_be_repeated as repeated, world::failed_for,
    },
};
use rstest::rstest;

use super::{
    admission::{changes, state},
    moves::{failed, one_open},
    register::{new, no_file, no_submission},
    *,
};
use crate::{DynamoDbStore, dynamodb::repeat_conflicts, test_support::NOW};

/// Cancels the first transaction, for the second of its writes.
fn cancels_once(code: &'static str) -> Rule {
    mock!(Client::transact_write_items)
        .sequence()
        .http_response(move || cancelled(&["None", code]))
        .output(|| TransactWriteItemsOutput::builder().build())
        .build()
}

fn reads_submission() -> Rule {
    reads(&submission_key(&reference().submission_id), Some(submission_item(&one_open())))
}

#[rstest]
#[tokio::test]
async fn case_45_transaction_that_meets_another_one_can_be_repeated(
    #[values("TransactionConflict", "ConditionalCheckFailed")] code: &'static str,
) {
    let store = store!(reads_document(None), no_file(), no_submission(), cancels_once(code));
    repeated(async || store.register(new()).await).await.unwrap();

    let reads_open = reads_document(Some(stored(document(), |_| {})));
    let store = store!(reads_open, reads_submission(), cancels_once(code));
    let outcome = failed_for(Reason::new("internal", "It failed."));
    repeated(async || store.finish(&reference(), outcome.clone(), NOW).await).await.unwrap();

    let reads_failed = reads_document(Some(stored(failed(), |_| {})));
    let store = store!(reads_failed, reads_submission(), cancels_once(code));
    repeated(async || store.reopen(&reference(), 0, false, NOW).await).await.unwrap();

    let store = store!(cancels_once(code));
    repeated(async || store.commit(&state(), 41, changes().0).await).await.unwrap();
}

#[rstest]
#[tokio::test]
async fn case_45_write_that_meets_a_transaction_can_be_repeated(
    #[values("TransactionConflictException", "ConditionalCheckFailedException")] code: &'static str,
) {
    let put = mock!(Client::put_item)
        .sequence()
        .http_response(move || json_error(code))
        .output(|| PutItemOutput::builder().build())
        .build();
    let store = store!(reads_document(Some(stored(document(), |_| {}))), put);
    repeated(async || store.begin_transfer(&reference(), Attempt(2000), Round::FIRST, NOW).await)
        .await
        .unwrap();
}

/// A client as functions have it, which the SDK's retries make a real call.
fn repeating(rules: &[&Rule]) -> DynamoDbStore {
    let client = aws_smithy_mocks::mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, rules, |config| {
        repeat_conflicts(config, None)
    });
    DynamoDbStore::new(client, "table".to_owned())
}

#[tokio::test]
async fn a02_d11_write_that_only_met_other_transactions_is_repeated_by_the_sdk() {
    let transaction = mock!(Client::transact_write_items)
        .sequence()
        .http_response(|| cancelled(&["None", "TransactionConflict"]))
        .times(3)
        .output(|| TransactWriteItemsOutput::builder().build())
        .build();
    repeating(&[&transaction]).commit(&state(), 41, changes().0).await.unwrap();

    let put = mock!(Client::put_item)
        .sequence()
        .http_response(|| json_error("TransactionConflictException"))
        .output(|| PutItemOutput::builder().build())
        .build();
    let store = repeating(&[&reads_document(Some(stored(document(), |_| {}))), &put]);
    store.begin_transfer(&reference(), Attempt(2000), Round::FIRST, NOW).await.unwrap();
}

#[tokio::test]
async fn a02_write_whose_condition_failed_is_not_repeated() {
    for codes in [["ConditionalCheckFailed", "TransactionConflict"], ["None", "ConditionalCheckFailed"]] {
        let transaction = mock!(Client::transact_write_items).then_http_response(move || cancelled(&codes));
        let error = repeating(&[&transaction]).commit(&state(), 41, changes().0).await.unwrap_err();
        assert!(matches!(error, Error::Store(StoreError::Conflict)), "{error:?}");
        assert_eq!(transaction.num_calls(), 1);
    }
}
