//! The API's error answers: problem details, RFC 9457.

use serde::Serialize;

use crate::error::Error;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The request has no verified token. The HTTP API's authorizer normally rejects such requests before they reach
    /// the function.
    #[error("the request carries no verified token")]
    Unauthenticated,
    /// The caller is signed in but is not an evaluator.
    #[error("the caller is no evaluator")]
    Forbidden,
    /// The resource does not exist, or not yet.
    #[error("there is no such thing")]
    NotFound,
    /// It existed, and its retention has ended.
    #[error("its retention has ended")]
    Expired,
    /// The path exists but does not support the method.
    #[error("the method is not allowed")]
    MethodNotAllowed,
    /// A query parameter is malformed. Contains the message for the caller.
    #[error("the query is invalid")]
    InvalidQuery(String),
    /// Lectern failed; the caller may try again.
    #[error(transparent)]
    Internal(#[from] Error),
}

impl ApiError {
    /// The answer to the caller. Its type is stable, and it reveals no internals.
    pub fn problem(&self) -> Problem {
        let (kind, title, status, detail) = match self {
            Self::Unauthenticated => (
                "urn:problem-type:lectern:unauthenticated",
                "Not signed in",
                401,
                "Sign in and send the token with the request.",
            ),
            Self::Forbidden => (
                "urn:problem-type:lectern:forbidden",
                "Not allowed",
                403,
                "Only members of the group of evaluators may read this.",
            ),
            Self::NotFound => (
                "urn:problem-type:lectern:not-found",
                "Not found",
                404,
                "This does not exist, or it is not ready yet.",
            ),
            Self::Expired => (
                "urn:problem-type:lectern:expired",
                "Expired",
                410,
                "This was deleted when its retention ended.",
            ),
            Self::MethodNotAllowed => (
                "urn:problem-type:lectern:method-not-allowed",
                "Method not allowed",
                405,
                "This can only be read, with GET.",
            ),
            Self::InvalidQuery(detail) => {
                ("urn:problem-type:lectern:invalid-query", "Invalid query", 400, detail.as_str())
            }
            Self::Internal(_) => (
                "urn:problem-type:lectern:unavailable",
                "Temporarily unavailable",
                503,
                "The data cannot be read at the moment. Try again in a minute.",
            ),
        };
        Problem { kind, title, status, detail: detail.to_owned() }
    }
}

/// The body of an error, `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// A stable URI that identifies the kind of problem.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The kind in words.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What to do about it.
    pub detail: String,
}
