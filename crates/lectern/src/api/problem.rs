//! The API's error answers: problem details, RFC 9457.

use serde::Serialize;

use crate::error::Error;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The request has no verified access token. The HTTP API's authorizer normally rejects such requests before they reach
    /// the function.
    #[error("the request carries no verified access token")]
    Unauthenticated,
    /// The caller's roles do not allow this kind of request.
    #[error("the caller's roles do not allow the request")]
    Forbidden,
    /// The resource does not exist, or not yet, or is another person's.
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
    /// The body is malformed. Contains the message for the caller.
    #[error("the body is invalid")]
    InvalidRequest(String),
    /// Files of this type, size or name cannot be handed in. Contains the message for the teacher.
    #[error("the file cannot be handed in")]
    FileRefused(String),
    /// The teacher has as much open as one teacher may have. Contains the message for the teacher.
    #[error("the teacher's quota is used up")]
    QuotaExceeded(String),
    /// A file may only be replaced by one of the same type.
    #[error("the replacement has another type")]
    OtherType,
    /// The document is not its file's newest version, or its file was deleted.
    #[error("the document is superseded or withdrawn")]
    Superseded,
    /// The file is being processed, or has a record, so it cannot be removed alone.
    #[error("the file is in use")]
    FileInUse,
    /// The upload lacks these parts.
    #[error("the upload is not complete")]
    IncompleteUpload(Vec<u32>),
    /// The document cannot be redriven in its state. Contains the message for the operator.
    #[error("the document cannot be redriven")]
    NotRedrivable(String),
    /// There is a subscriber of this id.
    #[error("the subscriber's id is taken")]
    SubscriberExists,
    /// There are [`MAX_SUBSCRIBERS`](super::MAX_SUBSCRIBERS) subscribers.
    #[error("there are too many subscribers")]
    TooManySubscribers,
    /// The endpoint of a new subscriber has not answered the challenge. Contains the message for the operator.
    #[error("the endpoint has not answered the challenge")]
    ChallengeFailed(String),
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
                "Sign in and send the access token with the request.",
            ),
            Self::Forbidden => (
                "urn:problem-type:lectern:forbidden",
                "Not allowed",
                403,
                "Your account does not have the role that may do this. Ask an administrator.",
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
                "The API's description says which methods this path has.",
            ),
            Self::InvalidQuery(detail) => {
                ("urn:problem-type:lectern:invalid-query", "Invalid query", 400, detail.as_str())
            }
            Self::InvalidRequest(detail) => {
                ("urn:problem-type:lectern:invalid-request", "Invalid request", 400, detail.as_str())
            }
            Self::FileRefused(detail) => {
                ("urn:problem-type:lectern:file-refused", "File refused", 422, detail.as_str())
            }
            Self::QuotaExceeded(detail) => {
                ("urn:problem-type:lectern:quota-exceeded", "Too much open at once", 429, detail.as_str())
            }
            Self::OtherType => (
                "urn:problem-type:lectern:other-type",
                "Another type",
                409,
                "A file can only be replaced by one of the same type. Add the new file, and remove the old one.",
            ),
            Self::Superseded => (
                "urn:problem-type:lectern:superseded",
                "Superseded",
                409,
                "A newer version of this file exists, or the file was removed. Read the submission again.",
            ),
            Self::FileInUse => (
                "urn:problem-type:lectern:file-in-use",
                "File in use",
                409,
                "Only a file that was not accepted or has failed can be removed. Replace this file, or withdraw the submission.",
            ),
            Self::IncompleteUpload(_) => (
                "urn:problem-type:lectern:incomplete-upload",
                "Upload not complete",
                409,
                "Send the missing parts, then complete the upload.",
            ),
            Self::NotRedrivable(detail) => {
                ("urn:problem-type:lectern:not-redrivable", "Cannot be redriven", 409, detail.as_str())
            }
            Self::SubscriberExists => (
                "urn:problem-type:lectern:subscriber-exists",
                "Subscriber exists",
                409,
                "There is a subscriber of this id. Choose another id, or remove the subscriber first.",
            ),
            Self::TooManySubscribers => (
                "urn:problem-type:lectern:too-many-subscribers",
                "Too many subscribers",
                409,
                "There are as many subscribers as there may be. Remove one that is not needed any more.",
            ),
            Self::ChallengeFailed(detail) => {
                ("urn:problem-type:lectern:challenge-failed", "Challenge failed", 422, detail.as_str())
            }
            Self::Internal(_) => (
                "urn:problem-type:lectern:unavailable",
                "Temporarily unavailable",
                503,
                "Lectern cannot answer at the moment. Try again in a minute.",
            ),
        };
        let missing = if let Self::IncompleteUpload(missing) = self { Some(missing.clone()) } else { None };
        Problem { kind, title, status, detail: detail.to_owned(), missing }
    }
}

/// The body of an error, `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
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
    /// The numbers of the parts that an upload lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<Vec<u32>>,
}
