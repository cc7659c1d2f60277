//! Tests of the subscribers of events: who may see and change them, and what their views show.

mod add;
mod replay;
mod resume;
mod trial;

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::*;
use crate::{
    document::submission::SubmissionState,
    error::rfc3339,
    events::{DisabledReason, EventItem, EventRequest, QueuedEvent, SubscriberId, SubscriberStatus},
    ports::{Clock as _, NoAnswer, Subscribers as _},
    steps::{
        deliver_events::{self, Batch, Message},
        route_events::in_messages,
    },
    testing::{MemoryAlarms, MemoryEndpoints},
};

fn operator() -> Caller {
    person("operator", "operators")
}

fn portal() -> SubscriberId {
    "portal".parse().unwrap()
}

/// The request that adds `portal`, with these settings.
fn settings(settings: &Value) -> AddSubscriber {
    let mut request = json!({ "subscriberId": "portal", "url": "https://portal.example/events" });
    request.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    serde_json::from_value(request).unwrap()
}

/// A backend with the subscriber `portal`.
async fn subscribed(with: Value) -> MemoryBackend {
    let backend = MemoryBackend::default();
    add_subscriber(&backend, &operator(), &settings(&with)).await.unwrap();
    backend
}

/// A backend without subscribers, with these endpoints.
fn backend_with(endpoints: MemoryEndpoints) -> MemoryBackend {
    MemoryBackend { endpoints, ..MemoryBackend::default() }
}

fn answer(status: u16, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    answer
}

/// Endpoints that answer every request with this status.
fn answering(status: u16) -> MemoryEndpoints {
    MemoryEndpoints::new(move |_, _| Ok(answer(status, "")))
}

/// The creation of a submission with this id, as the stream has it now; with a `+` behind the id, its completion.
fn event(backend: &MemoryBackend, submission: &str) -> QueuedEvent {
    let (id, state) = match submission.strip_suffix('+') {
        Some(id) => (id, SubmissionState::Ready),
        None => (submission, SubmissionState::Draft),
    };
    let submission = Submission::new(id.parse().unwrap(), state, rfc3339(backend.clock.now()));
    let mut events = events::of_item(&EventItem::Submission(Box::new(submission)));
    QueuedEvent { event: events.pop().unwrap(), changed_at: backend.clock.now().into() }
}

/// Delivers the events of new submissions with these ids to `portal`.
async fn deliver(backend: &MemoryBackend, submissions: &[&str]) {
    let events = submissions.iter().map(|submission| event(backend, submission));
    run(backend, in_messages(&portal(), events)).await;
}

/// What `deliver-events` does with these messages.
async fn run(backend: &MemoryBackend, inputs: Vec<Message>) {
    let ports = deliver_events::Ports {
        store: &backend.store,
        queue: &backend.events,
        endpoints: &backend.endpoints,
        alarms: &MemoryAlarms::default(),
        clock: &backend.clock,
        random: &backend.random,
        source: &backend.source,
    };
    ports.handle(Batch { inputs, again: false }).await.unwrap();
}

async fn shown(backend: &MemoryBackend) -> SubscriberView {
    read_subscriber(backend, &operator(), "portal").await.unwrap()
}

/// Calls every function for the subscriber of this id.
async fn call_all(backend: &MemoryBackend, caller: &Caller, id: &str) -> Vec<Result<(), ApiError>> {
    let (b, c) = (backend, caller);
    let replay = Replay { from: "2026-01-01".to_owned(), ..Replay::default() };
    vec![
        read_subscriber(b, c, id).await.map(drop),
        pause_subscriber(b, c, id).await.map(drop),
        resume_subscriber(b, c, id, ResumeSubscriber::default()).await.map(drop),
        test_subscriber(b, c, id).await.map(drop),
        rotate_secret(b, c, id).await.map(drop),
        replay_events(b, c, id, &replay).await.map(drop),
        remove_subscriber(b, c, id).await,
    ]
}

#[tokio::test]
async fn s01_only_operators_reach_the_ports_of_subscribers() {
    let backend = subscribed(json!({})).await;
    let calls = backend.faults.calls();
    for caller in [teacher(), evaluator(), person("both", "teachers evaluators")] {
        let mut answers = call_all(&backend, &caller, "portal").await;
        answers.push(list_subscribers(&backend, &caller).await.map(drop));
        answers.push(add_subscriber(&backend, &caller, &settings(&json!({}))).await.map(drop));
        for answer in answers {
            assert!(matches!(answer, Err(ApiError::Forbidden)), "{answer:?}");
        }
    }
    assert_eq!(backend.faults.calls(), calls);
    assert!(call_all(&backend, &operator(), "portal").await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn unknown_subscriber_and_malformed_id_are_not_found() {
    let backend = subscribed(json!({})).await;
    for id in ["unknown", "Portal", "", "portal/", &"a".repeat(41)] {
        for answer in call_all(&backend, &operator(), id).await {
            assert!(matches!(answer, Err(ApiError::NotFound)), "{id}: {answer:?}");
        }
    }
    assert!(backend.events.take().is_empty());
}

#[tokio::test]
async fn table_that_does_not_answer_is_temporary() {
    for call in ["subscribers", "delivery_state"] {
        let backend = subscribed(json!({})).await;
        backend.faults.cut_next(call, Cut::Before);
        let refused = list_subscribers(&backend, &operator()).await.unwrap_err();
        assert_eq!(refused.problem().status, 503, "{call}");
    }
}

#[tokio::test]
async fn list_has_every_subscriber_by_id_and_no_secret() {
    let backend = MemoryBackend::default();
    let mut secrets = Vec::new();
    for id in ["portal", "analytics"] {
        let request = settings(&json!({ "subscriberId": id, "gzip": false }));
        let added = add_subscriber(&backend, &operator(), &request).await.unwrap();
        secrets.push(added.secret.secret.unwrap());
    }
    let list = list_subscribers(&backend, &operator()).await.unwrap();
    let ids: Vec<&str> = list.subscribers.iter().map(|one| one.subscriber_id.as_str()).collect();
    assert_eq!(ids, ["analytics", "portal"]);
    let json = serde_json::to_string(&list).unwrap();
    for secret in secrets {
        let key = secret.strip_prefix("whsec_").unwrap();
        assert!(!json.contains(key));
    }
}

#[tokio::test]
async fn view_shows_what_waits_and_why() {
    let mut backend = subscribed(json!({ "maxInFlight": 2 })).await;
    let quiet = shown(&backend).await;
    let deliveries = serde_json::to_value(&quiet.deliveries).unwrap();
    let expected = json!({
        "waiting": 0, "retrying": [], "retryingCount": 0, "blocked": 0, "deadLetters": 0, "inFlight": 0,
        "breakerOpen": false,
    });
    assert_eq!(deliveries, expected);
    backend.endpoints = answering(500);
    deliver(&backend, &["s1", "s2", "s1+", "s3"]).await;
    let deliveries = shown(&backend).await.deliveries;
    assert_eq!(
        (deliveries.waiting, deliveries.blocked, deliveries.retrying_count),
        (4, 1, 2),
        "{deliveries:?}"
    );
    assert_eq!(deliveries.oldest_at.as_deref(), Some("2026-11-20T16:00:00.000Z"));
    assert_eq!(deliveries.failing_since.as_deref(), Some("2026-11-20T16:00:00.000Z"));
    let subjects: Vec<&str> = deliveries.retrying.iter().map(|event| event.subject.as_str()).collect();
    assert_eq!(subjects, ["s1", "s2"]);
    let first = &deliveries.retrying[0];
    assert_eq!(first.status, Some(500));
    assert!(first.attempts >= 1, "the jitter of this source of randomness is 0");
    assert_eq!(first.event_id, event(&backend, "s1").event.id);
    assert_eq!(first.event_type, events::EventType::SubmissionCreated);
    assert!(first.next_at >= rfc3339(backend.clock.now()));
}

#[tokio::test]
async fn view_lists_twenty_retried_events_and_counts_all() {
    let mut backend = subscribed(json!({ "maxInFlight": 50, "requestsPerSecond": 100 })).await;
    backend.endpoints = MemoryEndpoints::new(|_, _| Err(NoAnswer("there was no answer in time".to_owned())));
    let submissions: Vec<String> = (0..25).map(|number| format!("s{number}")).collect();
    deliver(&backend, &submissions.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let deliveries = shown(&backend).await.deliveries;
    assert_eq!((deliveries.retrying.len(), deliveries.retrying_count), (20, 25));
    assert!(deliveries.retrying.iter().all(|event| event.status.is_none()), "there was no answer");
    assert!(deliveries.breaker_open);
}

#[tokio::test]
async fn pause_stops_an_active_subscriber_and_changes_no_other() {
    let backend = subscribed(json!({})).await;
    for _ in 0..2 {
        let paused = pause_subscriber(&backend, &operator(), "portal").await.unwrap();
        assert_eq!(paused.status, SubscriberState::Paused);
    }
    deliver(&backend, &["s1"]).await;
    assert_eq!(shown(&backend).await.deliveries.waiting, 1, "it waits and is not lost");
    let at = "2026-11-20T16:00:00.000Z".to_owned();
    let disabled = SubscriberStatus::Disabled { reason: DisabledReason::Gone, at: at.clone() };
    backend.store.set_status(&portal(), &SubscriberStatus::Active).await.unwrap();
    backend.store.set_status(&portal(), &disabled).await.unwrap();
    let shown = pause_subscriber(&backend, &operator(), "portal").await.unwrap();
    assert_eq!(shown.status, SubscriberState::Disabled);
    assert_eq!((shown.disabled_reason, shown.disabled_at), (Some(DisabledReason::Gone), Some(at)));
    assert_eq!(backend.store.subscriber(&portal()).await.unwrap().unwrap().status, disabled);
}

#[tokio::test]
async fn removed_subscriber_is_gone_with_its_position() {
    let backend = subscribed(json!({})).await;
    pause_subscriber(&backend, &operator(), "portal").await.unwrap();
    deliver(&backend, &["s1"]).await;
    remove_subscriber(&backend, &operator(), "portal").await.unwrap();
    let again = remove_subscriber(&backend, &operator(), "portal").await;
    assert!(matches!(again, Err(ApiError::NotFound)), "{again:?}");
    assert!(list_subscribers(&backend, &operator()).await.unwrap().subscribers.is_empty());
    add_subscriber(&backend, &operator(), &settings(&json!({}))).await.unwrap();
    assert_eq!(shown(&backend).await.deliveries.waiting, 0);
}

#[tokio::test]
async fn rotated_secret_signs_beside_the_one_before_for_a_day() {
    let backend = MemoryBackend::default();
    let added = add_subscriber(&backend, &operator(), &settings(&json!({}))).await.unwrap();
    let rotated = rotate_secret(&backend, &operator(), "portal").await.unwrap();
    let [before, new] = [added.secret, rotated].map(|shown| shown.secret.unwrap());
    assert_ne!(before, new);
    let accepts = async |secret: &str| {
        let sent = test_subscriber(&backend, &operator(), "portal").await.unwrap().request;
        trial::is_signed(&sent, secret, backend.clock.now())
    };
    assert!(accepts(&before).await && accepts(&new).await);
    backend.clock.advance(Duration::from_hours(25));
    assert!(!accepts(&before).await && accepts(&new).await);
}

#[tokio::test]
async fn secret_that_could_not_be_stored_is_not_shown() {
    let backend = subscribed(json!({ "signature": "ed25519" })).await;
    backend.faults.cut_next("set_secrets", Cut::Before);
    assert_eq!(rotate_secret(&backend, &operator(), "portal").await.unwrap_err().problem().status, 503);
    let shown = rotate_secret(&backend, &operator(), "portal").await.unwrap();
    assert!(shown.secret.is_none() && shown.public_key.unwrap().starts_with("whpk_"));
}
