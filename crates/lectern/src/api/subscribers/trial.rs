//! Tries a subscriber: sends one event, and shows the request and the answer.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::HeaderMap;
use serde::Serialize;
use uuid::Builder;

use super::{
    super::{ApiError, Backend, Caller},
    existing,
};
use crate::{
    display_text::{Label, lines},
    error::rfc3339,
    events::{EventRequest, Subscriber, test_event},
    ports::{Clock, Endpoints, NoAnswer, Random},
};

/// How much of an answer's body is shown.
const MAX_BODY_BYTES: usize = 2 * 1024;
/// How many headers are shown.
const MAX_HEADERS: usize = 50;

/// A trial of a subscriber. Either `response` or `error` is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SubscriberTrial {
    /// What was sent.
    pub request: SentRequest,
    /// What the endpoint has answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<TrialResponse>,
    /// Why there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The request of a trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SentRequest {
    /// The subscriber's URL.
    pub url: String,
    /// The headers that depend on the event, with the signature.
    pub headers: BTreeMap<String, String>,
    /// The body. If the subscriber wants gzip, this is the JSON before its compression; the signature is of the compressed
    /// body.
    pub body: String,
}

/// The answer to a trial. Characters that could control a terminal or deceive a reader are removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct TrialResponse {
    /// The status. The delivery of an event succeeds with 2xx.
    pub status: u16,
    /// The headers, at most 50.
    pub headers: BTreeMap<String, String>,
    /// The beginning of the body, at most 2 KB.
    pub body: String,
}

/// `POST /v1/subscribers/{subscriberId}/test`: sends an event of the type `subscriber.test` in one request, whatever the
/// subscriber's status and limits are, and shows the request and its answer. The answer changes nothing.
///
/// # Errors
/// [`ApiError::Forbidden`] unless the caller is an operator.
pub async fn test_subscriber(
    backend: &impl Backend,
    caller: &Caller,
    subscriber_id: &str,
) -> Result<SubscriberTrial, ApiError> {
    let subscriber = existing(backend, caller, subscriber_id).await?;
    let now = backend.clock().now();
    let id = Builder::from_random_bytes(backend.random().bits().to_be_bytes()).into_uuid();
    let event = test_event(&subscriber.subscriber_id, id, rfc3339(now));
    let request = EventRequest::new(&[&event], &subscriber, backend.source(), now)?;
    let readable = Subscriber { has_gzip: false, ..subscriber.clone() };
    let readable = EventRequest::new(&[&event], &readable, backend.source(), now)?;
    let sent = SentRequest {
        url: subscriber.url.clone(),
        headers: shown_headers(&request.headers),
        body: String::from_utf8_lossy(&readable.body).into_owned(),
    };
    let answer = backend.endpoints().post(&subscriber.url, request, subscriber.timeout()).await;
    let (response, error) = match answer {
        Ok(response) => (Some(shown_response(&response)), None),
        Err(NoAnswer(why)) => (None, Some(why)),
    };
    Ok(SubscriberTrial { request: sent, response, error })
}

fn shown_response(response: &http::Response<Bytes>) -> TrialResponse {
    let body = response.body();
    let beginning = &body[..body.len().min(MAX_BODY_BYTES)];
    TrialResponse {
        status: response.status().as_u16(),
        headers: shown_headers(response.headers()),
        body: lines(&String::from_utf8_lossy(beginning)),
    }
}

/// The headers for a person. The values of one that occurs several times are joined.
fn shown_headers(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut shown = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in headers.iter().take(MAX_HEADERS) {
        let value = Label::new(&String::from_utf8_lossy(value.as_bytes()));
        shown.entry(Label::new(name.as_str()).into()).or_default().push(value.into());
    }
    shown.into_iter().map(|(name, values)| (name, values.join(", "))).collect()
}
