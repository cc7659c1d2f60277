//! AWS's errors as [`StoreError`]s.

use aws_runtime::retries::classifiers::{THROTTLING_ERRORS, TRANSIENT_ERRORS};
use aws_sdk_dynamodb::{
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId as _,
};
use lectern::error::{BoxError, Error, StoreError};

#[cfg(test)]
mod tests;

/// AWS error codes for a conflict between two writers.
const CONFLICTS: [&str; 6] = [
    "ConditionalCheckFailedException",
    "TransactionConflictException",
    "TransactionInProgressException",
    "ConditionalRequestConflict",
    "OperationAborted",
    "PreconditionFailed",
];

/// The error for a failed call.
pub fn failed<E>(call: &str, error: SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let kind = match &error {
        SdkError::ConstructionFailure(_) => "the request could not be built",
        SdkError::TimeoutError(_) => "it timed out",
        SdkError::DispatchFailure(failure) if failure.is_timeout() => "it timed out",
        SdkError::DispatchFailure(_) => "it could not be reached",
        SdkError::ResponseError(_) => "its answer could not be read",
        SdkError::ServiceError(_) => "it answered with an error",
        _ => "it failed",
    };
    let code = error.code().unwrap_or("no code");
    let status = error.raw_response().map(|response| response.status().as_u16());
    tracing::debug!(call, kind, code, status, requestId = error.request_id(), "A call to AWS failed.");
    let what = format!("{call}: {kind} ({code})");
    if CONFLICTS.contains(&code) {
        return StoreError::Conflict.into();
    }
    let is_refused = matches!(error, SdkError::ServiceError(_))
        && !is_transient(code)
        && status.is_some_and(|status| status < 500);
    let is_defect = is_refused || matches!(error, SdkError::ConstructionFailure(_));
    let source = Some(Box::from(error) as BoxError);
    let failure = if is_defect {
        StoreError::Defect { what, source }
    } else {
        StoreError::Unavailable { what, source }
    };
    failure.into()
}

/// Whether the same call may succeed later, according to AWS's error code.
pub(crate) fn is_transient(code: &str) -> bool {
    THROTTLING_ERRORS.contains(&code) || TRANSIENT_ERRORS.contains(&code)
}

/// A request or an item that cannot be built, or data that cannot be read.
pub(crate) fn defect(what: &str, error: impl Into<BoxError>) -> Error {
    StoreError::defect_of(what, error).into()
}
