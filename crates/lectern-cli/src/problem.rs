//! Failures that say what to do.

use std::fmt;

use aws_sdk_sfn::error::{ProvideErrorMetadata, SdkError};
use lectern_aws::sfn::unavailable;

use crate::console::Exit;

/// What went wrong, and what to do about it.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) what: String,
    pub(crate) todo: String,
    pub(crate) exit: Exit,
    /// Whether trying again soon may help.
    pub(crate) transient: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Problem {}

impl Problem {
    pub(crate) fn new(what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { what: what.into(), todo: todo.into(), exit: Exit::Failed, transient: false }
    }

    pub(crate) fn not_found(what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { exit: Exit::NotFound, ..Self::new(what, todo) }
    }

    /// A call to AWS that failed. Of the service's answer only the code is told: its text may quote tokens and names.
    pub(crate) fn aws<E>(call: &str, error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let what = unavailable(call, error).to_string();
        let what = what.rsplit_once("unavailable: ").map_or(what.as_str(), |(_, call)| call);
        let unreachable = !matches!(error, SdkError::ServiceError(_) | SdkError::ConstructionFailure(_));
        let status = error.raw_response().map_or(0, |response| response.status().as_u16());
        let transient = unreachable || status >= 500 || error.code().is_some_and(is_throttling);
        Self { transient, ..Self::new(what, advice(error.code(), unreachable)) }
    }

    /// A failure of Lectern's own store.
    pub(crate) fn store(error: &lectern::error::Error) -> Self {
        let what = error.to_string();
        let code = what.rsplit_once('(').map(|(_, code)| code.trim_end_matches(')').to_owned());
        let unreachable = what.contains("could not be reached");
        // Most often two writers met, or the table is throttled.
        Self { transient: true, ..Self::new(what, advice(code.as_deref(), unreachable)) }
    }
}

/// Whether that is what clouds answer that lack the call.
pub(crate) fn is_not_offered(code: Option<&str>) -> bool {
    const CODES: [&str; 6] = [
        "InvalidAction",
        "UnsupportedOperation",
        "AWS.SimpleQueueService.UnsupportedOperation",
        "UnknownOperationException",
        "NotImplemented",
        "UnknownAction",
    ];
    code.is_some_and(|code| CODES.contains(&code))
}

fn is_throttling(code: &str) -> bool {
    ["Throttl", "TooManyRequests", "ProvisionedThroughputExceeded", "RequestLimitExceeded", "SlowDown"]
        .iter()
        .any(|part| code.contains(part))
}

fn advice(code: Option<&str>, unreachable: bool) -> &'static str {
    match code {
        Some("AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation") => {
            "Use credentials that may do this (AWS_PROFILE); README.md, Coming back, lists the actions."
        }
        Some(
            "ExpiredToken"
            | "ExpiredTokenException"
            | "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException",
        ) => {
            "Sign in again, then give the credentials on, for instance with: eval \"$(aws configure export-credentials --format env)\""
        }
        Some(code) if is_throttling(code) => {
            "AWS asks for patience: run the command again with a smaller --rate. What was done stays done."
        }
        _ if unreachable => {
            "Check the network, AWS_REGION and AWS_ENDPOINT_URL. For the local cloud: is it up (make status)?"
        }
        _ => "Run the command again; what was done stays done. If it fails again, look up the code at AWS.",
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Some("InvalidAction"), true)]
    #[case(Some("AWS.SimpleQueueService.UnsupportedOperation"), true)]
    #[case(Some("UnknownOperationException"), true)]
    #[case(Some("NotImplemented"), true)]
    #[case(Some("AccessDenied"), false)]
    #[case(Some("ExecutionNotRedrivable"), false)]
    #[case(None, false)]
    fn call_that_a_cloud_lacks_is_told_from_one_that_failed(#[case] code: Option<&str>, #[case] lacks: bool) {
        assert_eq!(is_not_offered(code), lacks);
    }
}
