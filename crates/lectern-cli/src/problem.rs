//! Failures, with what to do about them.

use std::fmt;

use aws_sdk_sfn::error::{ProvideErrorMetadata, SdkError};
use lectern::error::{Error, StoreError};

use crate::console::Exit;

/// A failure, and what to do about it.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) what: String,
    pub(crate) todo: String,
    pub(crate) exit: Exit,
    /// Two writers conflicted, or the table is throttled: the same call may succeed soon.
    pub(crate) is_transient: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Problem {}

impl Problem {
    pub(crate) fn new(what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { what: what.into(), todo: todo.into(), exit: Exit::Failed, is_transient: false }
    }

    pub(crate) fn not_found(what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { exit: Exit::NotFound, ..Self::new(what, todo) }
    }

    /// A call to AWS that failed after the SDK's retries. Only the error's code is printed, because the service's
    /// message may quote tokens and names.
    pub(crate) fn aws<E: ProvideErrorMetadata>(call: &str) -> impl Fn(SdkError<E>) -> Self {
        move |error| match (&error, error.code()) {
            (SdkError::ServiceError(_), code) => {
                Self::new(format!("AWS answered {call} with {}", code.unwrap_or("an error")), advice(code))
            }
            (SdkError::ConstructionFailure(_), _) => {
                Self::new(format!("the request {call} could not be built"), "Report this as a bug.")
            }
            _ => Self::new(
                format!("AWS could not be reached for {call}"),
                "Check the network, AWS_REGION and AWS_ENDPOINT_URL. For the local cloud, check that it runs: make status.",
            ),
        }
    }

    /// The failure and what to do about it, in one line.
    pub(crate) fn text(&self) -> String {
        format!("{}. {}", self.what, self.todo)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let todo = "Run the command again; completed work stays. If it fails again, check the credentials \
                    (AWS_PROFILE) and the network.";
        Self {
            is_transient: matches!(
                &error,
                Error::Store(StoreError::Unavailable { .. } | StoreError::Conflict)
            ),
            ..Self::new(error.to_string(), todo)
        }
    }
}

fn advice(code: Option<&str>) -> &'static str {
    match code.unwrap_or_default() {
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" => {
            "Use credentials with this permission (AWS_PROFILE); docs/deploying.md, The command lectern, lists the actions."
        }
        "ExpiredToken"
        | "ExpiredTokenException"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException" => {
            "Sign in again, then pass on the credentials, for example with: eval \"$(aws configure export-credentials --format env)\""
        }
        "Throttling"
        | "ThrottlingException"
        | "RequestThrottled"
        | "TooManyRequestsException"
        | "SlowDown" => {
            "AWS throttles these calls. Run the command again with a lower --rate; completed work stays."
        }
        _ => {
            "Run the command again; completed work stays. If it fails again, look up the code in AWS's documentation."
        }
    }
}
