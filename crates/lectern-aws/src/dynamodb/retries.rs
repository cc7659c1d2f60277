//! Which answers of `DynamoDB` the SDK repeats besides its own list.

use std::time::Duration;

use aws_sdk_dynamodb::{
    config::{Builder, retry::RetryConfig},
    operation::{
        put_item::PutItemError, transact_write_items::TransactWriteItemsError, update_item::UpdateItemError,
    },
    types::CancellationReason,
};
use aws_smithy_runtime_api::client::{
    interceptors::context::InterceptorContext,
    retries::classifiers::{ClassifyRetry, RetryAction},
};

/// Attempts of one call. With the pauses below, all of them together take less than four seconds.
const ATTEMPTS: u32 = 7;
/// The longest pause before the second attempt. The SDK doubles it for each further attempt, with full jitter.
const INITIAL_BACKOFF: Duration = Duration::from_millis(50);

/// Lets the SDK repeat a write that meets a transaction on the same item (A02). `DynamoDB` cancels such a write even if
/// both only add to a counter. In a bulk upload, many documents of one submission are registered at the same time; the
/// redelivery of a message by SQS would delay a document by minutes.
pub(crate) fn repeat_conflicts(config: Builder, given: Option<&RetryConfig>) -> Builder {
    let retries = given.cloned().unwrap_or_else(|| RetryConfig::standard().with_max_attempts(ATTEMPTS));
    config.retry_config(retries.with_initial_backoff(INITIAL_BACKOFF)).retry_classifier(TransactionConflicts)
}

#[derive(Debug)]
struct TransactionConflicts;

impl ClassifyRetry for TransactionConflicts {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let error =
            context.output_or_error().and_then(Result::err).and_then(|error| error.as_operation_error());
        let is_conflict = error.is_some_and(|error| {
            error.downcast_ref().is_some_and(cancels)
                || error.downcast_ref().is_some_and(PutItemError::is_transaction_conflict_exception)
                || error.downcast_ref().is_some_and(UpdateItemError::is_transaction_conflict_exception)
        });
        if is_conflict { RetryAction::transient_error() } else { RetryAction::NoActionIndicated }
    }

    fn name(&self) -> &'static str {
        "transaction conflicts"
    }
}

/// Whether only conflicts cancelled the transaction. A condition that failed would fail again.
fn cancels(error: &TransactWriteItemsError) -> bool {
    let TransactWriteItemsError::TransactionCanceledException(error) = error else { return false };
    let mut codes = error
        .cancellation_reasons()
        .iter()
        .filter_map(CancellationReason::code)
        .filter(|code| *code != "None");
    codes.next() == Some("TransactionConflict") && codes.all(|code| code == "TransactionConflict")
}
