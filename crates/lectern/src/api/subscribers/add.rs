//! Adds a subscriber: checks its configuration, and lets its endpoint answer a challenge.

use std::{collections::BTreeSet, ops::RangeInclusive};

use lectern_content::MediaKind;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    super::{ApiError, Backend, Caller, MAX_SUBSCRIBERS, Role},
    SubscriberView, new_secret,
    view::view,
};
use crate::{
    error::rfc3339,
    events::{
        CHALLENGE, EventRequest, EventType, Format, NewSecret, SignatureKind, Subscriber, SubscriberId,
        SubscriberStatus, challenge_event, is_challenge_answered,
    },
    limits::MAX_URL_BYTES,
    ports::{Clock, Endpoints, NoAnswer, Random, Subscribers},
};

/// The limits of the settings of a subscriber. Each range has its default.
const MAX_BATCH: (RangeInclusive<u32>, u32) = (1..=100, 1);
const MAX_BATCH_WAIT_SECONDS: (RangeInclusive<u32>, u32) = (0..=300, 0);
const MAX_IN_FLIGHT: (RangeInclusive<u32>, u32) = (1..=50, 4);
const TIMEOUT_SECONDS: (RangeInclusive<u32>, u32) = (1..=15, 10);
const REQUESTS_PER_SECOND: (RangeInclusive<f64>, f64) = (0.1..=100.0, 10.0);

/// The body of `POST /v1/subscribers`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddSubscriber {
    /// An id of your choice: 1 to 40 of `a-z 0-9 -`, starting with a letter.
    #[schema(min_length = 1, max_length = 40, pattern = "^[a-z][a-z0-9-]*$")]
    pub subscriber_id: String,
    /// Where events are sent: an `https` URL of at most 2048 bytes whose host has a public address.
    #[schema(max_length = 2048)]
    pub url: String,
    /// The types of its events, such as `document.ready`; all if there is none.
    #[serde(default)]
    pub event_types: Vec<String>,
    /// Of events about documents, only those of files of these kinds; all if there is none.
    #[serde(default)]
    pub kinds: BTreeSet<MediaKind>,
    /// What the events contain; `full` if absent.
    #[serde(default)]
    pub format: Format,
    /// How requests are signed; `hmac` if absent.
    #[serde(default)]
    pub signature: SignatureKind,
    /// Whether the events of one submission are delivered one after the other; `true` if absent. An event that fails then
    /// blocks the later events of its submission.
    #[serde(default)]
    pub ordered: Option<bool>,
    /// How many events one request may contain: 1 to 100; 1 if absent. With 1, the body is one event; otherwise it is a list.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 100)]
    pub max_batch: Option<u32>,
    /// How long an event may wait until a batch is full: 0 to 300 seconds; 0 if absent.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 300)]
    pub max_batch_wait_seconds: Option<u32>,
    /// Whether bodies are compressed; `false` if absent.
    #[serde(default)]
    pub gzip: bool,
    /// How many requests are made per second, on average: 0.1 to 100; 10 if absent.
    #[serde(default)]
    #[schema(minimum = 0.1, maximum = 100)]
    pub requests_per_second: Option<f64>,
    /// How many requests are in flight at most: 1 to 50; 4 if absent.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 50)]
    pub max_in_flight: Option<u32>,
    /// How long one request may take: 1 to 15 seconds; 10 if absent.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 15)]
    pub timeout_seconds: Option<u32>,
}

/// A new subscriber with its secret, which no other answer shows.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct AddedSubscriber {
    /// The subscriber.
    pub subscriber: SubscriberView,
    /// What its endpoint verifies signatures with.
    #[serde(flatten)]
    pub secret: NewSecret,
}

/// `POST /v1/subscribers`: adds a subscriber, after its endpoint has answered a challenge.
///
/// If two operators add subscribers at the same moment, there may be one more than [`MAX_SUBSCRIBERS`].
///
/// # Errors
/// [`ApiError::Forbidden`] unless the caller is an operator; [`ApiError::InvalidRequest`], [`ApiError::SubscriberExists`],
/// [`ApiError::TooManySubscribers`], [`ApiError::ChallengeFailed`].
pub async fn add_subscriber(
    backend: &impl Backend,
    caller: &Caller,
    request: &AddSubscriber,
) -> Result<AddedSubscriber, ApiError> {
    caller.require(Role::Operator)?;
    let subscriber = request.subscriber(backend)?;
    let known = backend.store().subscribers().await?;
    if known.iter().any(|known| known.subscriber_id == subscriber.subscriber_id) {
        return Err(ApiError::SubscriberExists);
    }
    if known.len() >= MAX_SUBSCRIBERS {
        return Err(ApiError::TooManySubscribers);
    }
    challenge(backend, &subscriber).await?;
    if !backend.store().add_subscriber(&subscriber).await? {
        return Err(ApiError::SubscriberExists);
    }
    let secret = subscriber.shown_secret();
    Ok(AddedSubscriber { subscriber: view(backend, &subscriber).await?, secret })
}

impl AddSubscriber {
    /// The subscriber that the request describes, with a new secret.
    fn subscriber(&self, backend: &impl Backend) -> Result<Subscriber, ApiError> {
        let subscriber_id: Result<SubscriberId, _> = self.subscriber_id.parse();
        let subscriber_id = subscriber_id.map_err(|_| {
            invalid(
                "subscriberId must have 1 to 40 small letters, digits or hyphens, and begin with a letter.",
            )
        })?;
        if self.url.len() > MAX_URL_BYTES {
            return Err(invalid(format!("url must have at most {MAX_URL_BYTES} bytes.")));
        }
        let checked = backend.endpoints().check(&self.url);
        checked.map_err(|NoAnswer(why)| invalid(format!("Give another url: {why}.")))?;
        let max_batch = within("maxBatch", self.max_batch, MAX_BATCH)?;
        let max_batch_wait_seconds =
            within("maxBatchWaitSeconds", self.max_batch_wait_seconds, MAX_BATCH_WAIT_SECONDS)?;
        if max_batch_wait_seconds > 0 && max_batch == 1 {
            return Err(invalid(
                "maxBatchWaitSeconds is the longest wait for a batch, so it needs a maxBatch of 2 or more.",
            ));
        }
        Ok(Subscriber {
            subscriber_id,
            url: self.url.clone(),
            event_types: self.event_types.iter().map(|name| event_type(name)).collect::<Result<_, _>>()?,
            kinds: self.kinds.clone(),
            format: self.format,
            signature: self.signature,
            is_ordered: self.ordered.unwrap_or(true),
            max_batch,
            max_batch_wait_seconds,
            has_gzip: self.gzip,
            requests_per_second: within("requestsPerSecond", self.requests_per_second, REQUESTS_PER_SECOND)?,
            max_in_flight: within("maxInFlight", self.max_in_flight, MAX_IN_FLIGHT)?,
            timeout_seconds: within("timeoutSeconds", self.timeout_seconds, TIMEOUT_SECONDS)?,
            status: SubscriberStatus::Active,
            created_at: rfc3339(backend.clock().now()),
            secrets: vec![new_secret(backend)],
        })
    }
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::InvalidRequest(message.into())
}

fn event_type(name: &str) -> Result<EventType, ApiError> {
    name.parse().map_err(|_| {
        let known = EventType::SUBSCRIBABLE.map(EventType::as_str).join(", ");
        invalid(format!("eventTypes may contain {known}."))
    })
}

/// A setting, which is the default if it is absent.
fn within<T: PartialOrd + Copy + std::fmt::Display>(
    name: &str,
    value: Option<T>,
    (range, default): (RangeInclusive<T>, T),
) -> Result<T, ApiError> {
    let value = value.unwrap_or(default);
    if range.contains(&value) {
        return Ok(value);
    }
    Err(invalid(format!("{name} must be a number from {} to {}.", range.start(), range.end())))
}

/// Makes the request that the endpoint has to answer before any event is sent to it. So nobody adds somebody else's
/// endpoint, by intent or by mistake.
async fn challenge(backend: &impl Backend, subscriber: &Subscriber) -> Result<(), ApiError> {
    let challenge = Uuid::from_u128(backend.random().bits());
    let event = challenge_event(&subscriber.subscriber_id, challenge);
    let request = EventRequest::new(&[&event], subscriber, backend.source(), backend.clock().now())?;
    let found = match backend.endpoints().post(&subscriber.url, request, subscriber.timeout()).await {
        Ok(answer) if answer.status().is_redirection() => {
            format!("The endpoint answered {}, and redirects are not followed", answer.status().as_u16())
        }
        Ok(answer) if !answer.status().is_success() => {
            format!("The endpoint answered {}", answer.status().as_u16())
        }
        Ok(answer) if is_challenge_answered(answer.body(), challenge) => return Ok(()),
        Ok(answer) => format!("The endpoint answered {} without the challenge", answer.status().as_u16()),
        Err(NoAnswer(why)) => format!("The endpoint gave no answer: {why}"),
    };
    Err(ApiError::ChallengeFailed(format!(
        "{found}. It has to answer 2xx within {} seconds, with the JSON object {{\"{CHALLENGE}\": \"…\"}} that repeats \
         data.{CHALLENGE} of the event in the request. Correct the endpoint, then add the subscriber again.",
        subscriber.timeout_seconds
    )))
}
