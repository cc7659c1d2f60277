//! Why a request to the API did not succeed.

use reqwest::StatusCode;
use serde::Deserialize;

use super::http;
use crate::{console::Exit, problem::Problem};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// There was no answer.
    #[error("Lectern could not be reached: {what}")]
    Unreachable { what: String, may_have_arrived: bool },
    /// The API refused the request.
    #[error("{}", .0.title)]
    Refused(Refusal),
    /// The sign-in has ended and cannot be refreshed.
    #[error("the sign-in has ended")]
    SignedOut,
    /// The answer is not what the API's description promises.
    #[error("Lectern's answer could not be read")]
    Unreadable,
}

/// The API's problem details (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// The end of the problem's type, such as `file-refused`; empty if something before the API answered.
    pub(crate) kind: String,
    pub(crate) title: String,
    /// What to do about it.
    pub(crate) detail: String,
    /// The parts that an upload lacks.
    pub(crate) missing: Vec<u32>,
}

impl Refusal {
    pub(crate) fn read(status: StatusCode, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Details {
            #[serde(rename = "type")]
            kind: String,
            title: String,
            detail: String,
            #[serde(default)]
            missing: Vec<u32>,
        }
        match serde_json::from_slice(body) {
            Ok(Details { kind, title, detail, missing }) => {
                let kind = kind.rsplit(':').next().unwrap_or_default().to_owned();
                Self { status, kind, title, detail, missing }
            }
            // API Gateway answers with texts of its own.
            Err(_) => Self {
                status,
                kind: String::new(),
                title: format!("Lectern answered with {}", status.as_u16()),
                detail: "Check the address (--url), or try again in a minute.".to_owned(),
                missing: Vec::new(),
            },
        }
    }
}

impl Failure {
    pub(crate) fn unreachable(error: &reqwest::Error) -> Self {
        Self::Unreachable { what: http::describe(error), may_have_arrived: !error.is_connect() }
    }

    /// The kind of the API's problem, such as `not-found`.
    pub(crate) fn kind(&self) -> &str {
        match self {
            Self::Refused(refusal) => &refusal.kind,
            Self::Unreachable { .. } | Self::SignedOut | Self::Unreadable => "",
        }
    }

    /// Whether the same request may succeed soon. One that creates something is not repeated if the first may have arrived.
    pub(super) fn is_temporary(&self, is_idempotent: bool) -> bool {
        match self {
            Self::Unreachable { may_have_arrived, .. } => is_idempotent || !may_have_arrived,
            // 429 with a problem of the API is a quota. API Gateway's own 429 never reached the API.
            Self::Refused(Refusal { status, kind, .. }) => match *status {
                StatusCode::TOO_MANY_REQUESTS => kind.is_empty(),
                status => is_idempotent && status.is_server_error(),
            },
            Self::SignedOut | Self::Unreadable => false,
        }
    }

    /// One line for a report.
    pub(crate) fn text(self) -> String {
        match self {
            // Details of files begin with the file's name and are sentences of their own.
            Self::Refused(refusal) => refusal.detail,
            other => Problem::from(other).text(),
        }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let what = failure.to_string();
        match failure {
            Failure::Unreachable { .. } => {
                Self::new(what, "Check the network and the address (--url), then run the command again.")
            }
            Failure::SignedOut => Self::new(what, "Sign in again with `lectern login`."),
            Failure::Unreadable => {
                Self::new(what, "Check the address (--url), and use the command of the stack's version.")
            }
            Failure::Refused(refusal) => {
                let exit = match refusal.status {
                    StatusCode::NOT_FOUND | StatusCode::GONE => Exit::NotFound,
                    StatusCode::CONFLICT
                    | StatusCode::UNPROCESSABLE_ENTITY
                    | StatusCode::TOO_MANY_REQUESTS => Exit::Attention,
                    _ => Exit::Failed,
                };
                Self { exit, ..Self::new(what, refusal.detail) }
            }
        }
    }
}
