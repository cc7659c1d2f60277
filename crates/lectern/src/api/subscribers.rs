//! The subscribers of domain events: operators add them, watch their deliveries, and pause, resume, try and remove them.
//!
//! Every function requires an operator and makes a bounded number of calls. None leaves an entry in the audit trail,
//! which is of submissions. A missing subscriber and a malformed id are both [`ApiError::NotFound`].

mod add;
mod replay;
mod trial;
mod view;

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};

use self::view::view;
pub use self::{
    add::{AddSubscriber, AddedSubscriber, add_subscriber},
    replay::{Replay, ReplayedPage, replay_events},
    trial::{SentRequest, SubscriberTrial, TrialResponse, test_subscriber},
    view::{DeliveriesView, RetryingEvent, SubscriberState, SubscriberView, SubscribersView},
};
use super::{ApiError, Backend, Caller, Role};
use crate::{
    error::{Error, StoreError},
    events::{NewSecret, Secret, Subscriber, SubscriberId, SubscriberStatus},
    ports::{Clock, Deliveries, EventQueue, Random, Subscribers},
    steps::deliver_events::Message,
};

/// How often the position of a subscriber is read and written at most, if other writers come first.
const COMMITS: usize = 3;

/// `GET /v1/subscribers`: all subscribers, by id, each with the state of its deliveries.
///
/// # Errors
/// [`ApiError::Forbidden`] unless the caller is an operator.
pub async fn list_subscribers(backend: &impl Backend, caller: &Caller) -> Result<SubscribersView, ApiError> {
    caller.require(Role::Operator)?;
    let subscribers = backend.store().subscribers().await?;
    let subscribers = try_join_all(subscribers.iter().map(|subscriber| view(backend, subscriber))).await?;
    Ok(SubscribersView { subscribers })
}

/// `GET /v1/subscribers/{subscriberId}`: a subscriber with the state of its deliveries.
///
/// # Errors
/// [`ApiError::Forbidden`] unless the caller is an operator.
pub async fn read_subscriber(
    backend: &impl Backend,
    caller: &Caller,
    subscriber_id: &str,
) -> Result<SubscriberView, ApiError> {
    view(backend, &existing(backend, caller, subscriber_id).await?).await
}

/// `POST /v1/subscribers/{subscriberId}/pause`: stops the deliveries. Meanwhile the subscriber's events wait. A subscriber
/// that is paused or disabled stays as it is.
///
/// # Errors
/// [`ApiError::Forbidden`] unless the caller is an operator.
pub async fn pause_subscriber(
    backend: &impl Backend,
    caller: &Caller,
    subscriber_id: &str,
) -> Result<SubscriberView, ApiError> {
    let mut subscriber = existing(backend, caller, subscriber_id).await?;
    if subscriber.status == SubscriberStatus::Active {
        subscriber.status = SubscriberStatus::Paused;
        backend.store().set_status(&subscriber.subscriber_id, &subscriber.status).await?;
    }
    view(backend, &subscriber).await
}

/// The body of `POST /v1/subscribers/{subscriberId}/resume`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResumeSubscriber {
    /// Where the deliveries go on; `position` if absent.
    #[serde(default)]
    pub from: ResumeFrom,
}

/// Where the deliveries to a subscriber go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ResumeFrom {
    /// With the events that wait.
    #[default]
    Position,
    /// With the events that come from now on. The events that wait are skipped for good.
    Now,
}

/// The answer to a resumption.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ResumedSubscriber {
    /// From the position: how many events wait and will be sent. From now: how many events were skipped.
    pub events: u64,
    /// The subscriber.
    pub subscriber: SubscriberView,
}

/// `POST /v1/subscribers/{subscriberId}/resume`: starts the deliveries to a subscriber that is paused or disabled, with a
/// closed circuit breaker. An active subscriber is retried at once; a request that is in flight at this moment may be
/// repeated, with the same event ids.
///
/// A call that has failed may be repeated. If it had skipped events before, the answer does not count them again.
///
/// # Errors
/// [`ApiError::Forbidden`] unless the caller is an operator.
pub async fn resume_subscriber(
    backend: &impl Backend,
    caller: &Caller,
    subscriber_id: &str,
    request: ResumeSubscriber,
) -> Result<ResumedSubscriber, ApiError> {
    let mut subscriber = existing(backend, caller, subscriber_id).await?;
    let id = subscriber.subscriber_id.clone();
    // The position comes first: an active subscriber would be sent events that are to be skipped.
    let events = move_position(backend, &id, request.from).await?;
    subscriber.status = SubscriberStatus::Active;
    backend.store().set_status(&id, &subscriber.status).await?;
    let after = format!("resumed {:032x}", backend.random().bits());
    backend.events().send_events(&[Message::run(id, after)]).await?;
    Ok(ResumedSubscriber { events, subscriber: view(backend, &subscriber).await? })
}

/// Prepares the position for the deliveries. Returns the number of events that wait or are skipped.
async fn move_position(backend: &impl Backend, id: &SubscriberId, from: ResumeFrom) -> Result<u64, ApiError> {
    for _ in 0..COMMITS {
        let (mut state, revision) = backend.store().delivery_state(id).await?;
        let now = backend.clock().now();
        state.advance_to(now);
        let skipped = match from {
            ResumeFrom::Position => None,
            ResumeFrom::Now => Some(state.skip()),
        };
        let waiting = state.resume(now);
        match backend.store().commit_deliveries(id, &state, revision).await {
            Ok(()) => return Ok(skipped.unwrap_or(waiting)),
            Err(Error::Store(StoreError::Conflict)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::from(StoreError::Conflict).into())
}

/// `DELETE /v1/subscribers/{subscriberId}`: removes a subscriber with its position and secrets. The events that wait for it
/// are never sent.
///
/// # Errors
/// [`ApiError::Forbidden`] unless the caller is an operator.
pub async fn remove_subscriber(
    backend: &impl Backend,
    caller: &Caller,
    subscriber_id: &str,
) -> Result<(), ApiError> {
    let subscriber = existing(backend, caller, subscriber_id).await?;
    Ok(backend.store().remove_subscriber(&subscriber.subscriber_id).await?)
}

/// `POST /v1/subscribers/{subscriberId}/rotate`: makes a new secret. Requests carry a signature of the new secret and, for
/// 24 hours, one of the secret before. A second rotation within this time ends the older secret at once.
///
/// # Errors
/// [`ApiError::Forbidden`] unless the caller is an operator.
pub async fn rotate_secret(
    backend: &impl Backend,
    caller: &Caller,
    subscriber_id: &str,
) -> Result<NewSecret, ApiError> {
    let mut subscriber = existing(backend, caller, subscriber_id).await?;
    subscriber.rotate(new_secret(backend), backend.clock().now());
    backend.store().set_secrets(&subscriber).await?;
    Ok(subscriber.shown_secret())
}

fn new_secret(backend: &impl Backend) -> Secret {
    Secret::of([backend.random().bits(), backend.random().bits()])
}

/// The subscriber of this id, for an operator.
async fn existing(backend: &impl Backend, caller: &Caller, id: &str) -> Result<Subscriber, ApiError> {
    caller.require(Role::Operator)?;
    let id: SubscriberId = id.parse().map_err(|_| ApiError::NotFound)?;
    backend.store().subscriber(&id).await?.ok_or(ApiError::NotFound)
}
