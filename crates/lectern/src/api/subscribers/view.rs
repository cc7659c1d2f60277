//! A subscriber as operators see it. No view contains a secret.

use std::collections::{BTreeMap, BTreeSet};

use lectern_content::MediaKind;
use serde::Serialize;
use uuid::Uuid;

use super::super::{ApiError, Backend};
use crate::{
    error::rfc3339,
    events::{
        DisabledReason, EventType, Format, Held, SignatureKind, Subscriber, SubscriberId, SubscriberStatus,
        Summary,
    },
    ports::{Clock, Deliveries},
};

/// Events of one subscriber that are listed while they are retried.
const RETRYING: usize = 20;

/// `GET /v1/subscribers`: all subscribers.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct SubscribersView {
    /// By id.
    pub subscribers: Vec<SubscriberView>,
}

/// A subscriber: its configuration, and the state of its deliveries.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubscriberView {
    /// The id that an operator has chosen.
    #[schema(value_type = String)]
    pub subscriber_id: SubscriberId,
    /// Where events are sent.
    pub url: String,
    /// The types of its events; all if there is none.
    pub event_types: BTreeSet<EventType>,
    /// Of events about documents, only those of files of these kinds; all if there is none.
    pub kinds: BTreeSet<MediaKind>,
    /// What the events contain.
    pub format: Format,
    /// How requests are signed.
    pub signature: SignatureKind,
    /// Whether the events of one submission are delivered one after the other.
    pub ordered: bool,
    /// How many events one request may contain. With 1, the body is one event; otherwise it is a list.
    pub max_batch: u32,
    /// How long an event may wait until a batch is full.
    pub max_batch_wait_seconds: u32,
    /// Whether bodies are compressed.
    pub gzip: bool,
    /// How many requests are made per second, on average.
    pub requests_per_second: f64,
    /// How many requests are in flight at most.
    pub max_in_flight: u32,
    /// How long one request may take.
    pub timeout_seconds: u32,
    /// Whether events are delivered.
    pub status: SubscriberState,
    /// Why Lectern has stopped the deliveries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled_reason: Option<DisabledReason>,
    /// When Lectern has stopped the deliveries, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled_at: Option<String>,
    /// When it was added, RFC 3339. Earlier events are not delivered, unless they are replayed.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// The state of its deliveries.
    pub deliveries: DeliveriesView,
}

/// Whether events are delivered to a subscriber. Meanwhile its events wait, so that nothing is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum SubscriberState {
    /// Events are delivered.
    Active,
    /// An operator has paused the deliveries.
    Paused,
    /// Lectern has stopped the deliveries.
    Disabled,
}

/// The state of the deliveries to a subscriber.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveriesView {
    /// Events that are not delivered.
    pub waiting: u64,
    /// Since when the oldest event waits, RFC 3339: the time of its change, or of its replay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_at: Option<String>,
    /// Events whose delivery has failed and is repeated, oldest first, at most 20.
    pub retrying: Vec<RetryingEvent>,
    /// How many events are retried in all.
    pub retrying_count: usize,
    /// Events that wait for another event of the same submission.
    pub blocked: u64,
    /// Events that were given up since the subscriber was added.
    pub dead_letters: u64,
    /// Requests in flight.
    pub in_flight: usize,
    /// Whether the circuit breaker is open or half-open.
    pub breaker_open: bool,
    /// Since when every request has failed, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<String>,
}

/// An event whose delivery has failed and is repeated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetryingEvent {
    /// The event's id.
    #[schema(value_type = String, format = "uuid")]
    pub event_id: Uuid,
    /// What has happened.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// To what: `<submission>`, `<submission>/<document>` or `<subscriber>`.
    pub subject: String,
    /// How many requests with it have failed.
    pub attempts: u32,
    /// When it may be sent again, RFC 3339.
    pub next_at: String,
    /// The status of the last answer; absent if there was no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// The view of a subscriber, with the state of its deliveries now.
pub(super) async fn view(
    backend: &impl Backend,
    subscriber: &Subscriber,
) -> Result<SubscriberView, ApiError> {
    let deliveries = deliveries(backend, &subscriber.subscriber_id).await?;
    let (status, disabled) = match subscriber.status.clone() {
        SubscriberStatus::Active => (SubscriberState::Active, None),
        SubscriberStatus::Paused => (SubscriberState::Paused, None),
        SubscriberStatus::Disabled { reason, at } => (SubscriberState::Disabled, Some((reason, at))),
    };
    let (disabled_reason, disabled_at) = disabled.unzip();
    Ok(SubscriberView {
        subscriber_id: subscriber.subscriber_id.clone(),
        url: subscriber.url.clone(),
        event_types: subscriber.event_types.clone(),
        kinds: subscriber.kinds.clone(),
        format: subscriber.format,
        signature: subscriber.signature,
        ordered: subscriber.is_ordered,
        max_batch: subscriber.max_batch,
        max_batch_wait_seconds: subscriber.max_batch_wait_seconds,
        gzip: subscriber.has_gzip,
        requests_per_second: subscriber.requests_per_second,
        max_in_flight: subscriber.max_in_flight,
        timeout_seconds: subscriber.timeout_seconds,
        status,
        disabled_reason,
        disabled_at,
        created_at: subscriber.created_at.clone(),
        deliveries,
    })
}

async fn deliveries(backend: &impl Backend, id: &SubscriberId) -> Result<DeliveriesView, ApiError> {
    let (mut state, _) = backend.store().delivery_state(id).await?;
    state.advance_to(backend.clock().now());
    let Summary { waiting, oldest, retrying, blocked, dead_letters, in_flight, breaker_open, failing_since } =
        state.summary();
    let listed = &retrying[..retrying.len().min(RETRYING)];
    let numbers: BTreeSet<u64> = listed.iter().map(|held| held.number).chain(oldest).collect();
    let numbers: Vec<u64> = numbers.into_iter().collect();
    let events = if numbers.is_empty() {
        BTreeMap::new()
    } else {
        backend.store().waiting_events(id, &numbers).await?
    };
    // An event that is delivered meanwhile is deleted.
    let retried = |held: &Held| {
        let event = &events.get(&held.number)?.event;
        Some(RetryingEvent {
            event_id: event.id,
            event_type: event.event_type,
            subject: event.subject(),
            attempts: held.attempts,
            next_at: rfc3339(held.due_at.to_date()),
            status: held.status,
        })
    };
    Ok(DeliveriesView {
        waiting,
        oldest_at: oldest
            .and_then(|number| events.get(&number))
            .map(|queued| rfc3339(queued.changed_at.to_date())),
        retrying: listed.iter().filter_map(retried).collect(),
        retrying_count: retrying.len(),
        blocked,
        dead_letters,
        in_flight,
        breaker_open,
        failing_since: failing_since.map(rfc3339),
    })
}
