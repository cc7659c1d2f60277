//! Errors as `application/problem+json` (RFC 9457), with the contract's `code` and `message`.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

/// An error answer.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    /// The HTTP status.
    pub(crate) status: StatusCode,
    /// A camelCase code for programs.
    pub(crate) code: String,
    /// A sentence for people.
    pub(crate) message: String,
    /// Seconds until the next try, in the body.
    pub(crate) retry_in_s: Option<u64>,
    /// The `Retry-After` header.
    pub(crate) retry_after: Option<HeaderValue>,
}

impl Problem {
    /// An error without a time for the next try.
    pub(crate) fn new(status: StatusCode, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into(), retry_in_s: None, retry_after: None }
    }

    /// 400.
    pub(crate) fn bad_request(code: &str, message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 401, for the contract and for the admin endpoints.
    pub(crate) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "The bearer key is missing or wrong.")
    }

    /// 404.
    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "notFound", format!("There is no such {what}."))
    }

    /// 500 for an error of the server's own disk.
    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The file could not be stored. Try again.")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "code": self.code,
            "message": self.message,
        });
        if let Some(retry_in_s) = self.retry_in_s {
            body["retryIn"] = retry_in_s.into();
        }
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(retry_after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, retry_after);
        }
        response
    }
}
