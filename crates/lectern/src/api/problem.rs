//! What the API answers instead of data: problem details, RFC 9457.

use serde::Serialize;

use crate::error::Error;

/// Why a request was not answered with data.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No verified token came with it. The HTTP API's authorizer stops these before us.
    #[error("the request carries no verified token")]
    Unauthenticated,
    /// Signed in, but not as someone who may read this.
    #[error("the caller is no evaluator")]
    Forbidden,
    /// There is no such thing, or not yet.
    #[error("there is no such thing")]
    NotFound,
    /// The path exists, the method does not.
    #[error("the method is not allowed")]
    MethodNotAllowed,
    /// A query parameter is not of its form. Holds the sentence for the caller.
    #[error("the query is invalid")]
    InvalidQuery(String),
    /// Our own trouble: the caller may try again.
    #[error(transparent)]
    Internal(#[from] Error),
}

impl ApiError {
    /// What the caller gets. The type is stable, and tells nothing of what is inside.
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
                "There is no such thing here, or it is not ready yet.",
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
    /// A stable URI of the kind of problem.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The kind in words.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What to do about it.
    pub detail: String,
}
