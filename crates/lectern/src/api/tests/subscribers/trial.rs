//! Tests of trying a subscriber: the request and the answer are shown, and nothing changes.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use time::OffsetDateTime;

use super::*;
use crate::{
    contract::webhook::{self, SigningSecret},
    ports::{Deliveries as _, Random as _},
};

/// Whether a request that was not compressed carries a signature of this `whsec_…` secret.
pub(super) fn is_signed(sent: &SentRequest, secret: &str, now: OffsetDateTime) -> bool {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let secret = SigningSecret::of_key(key).unwrap();
    let expected = webhook::sign(&secret, &sent.headers["webhook-id"], now, sent.body.as_bytes());
    assert_eq!(sent.headers["webhook-timestamp"], now.unix_timestamp().to_string());
    sent.headers["webhook-signature"].split(' ').any(|signature| signature == expected)
}

async fn tried(backend: &MemoryBackend) -> SubscriberTrial {
    test_subscriber(backend, &operator(), "portal").await.unwrap()
}

#[tokio::test]
async fn trial_shows_the_request_and_the_answer() {
    let mut backend = MemoryBackend::default();
    let added = add_subscriber(&backend, &operator(), &settings(&json!({}))).await.unwrap();
    backend.endpoints = MemoryEndpoints::new(|url, request| {
        assert_eq!(url, "https://portal.example/events");
        let mut answer = answer(202, request.body.clone());
        answer.headers_mut().insert("server", "portal/1".parse().unwrap());
        answer.headers_mut().append("x-seen", "a".parse().unwrap());
        answer.headers_mut().append("x-seen", "b".parse().unwrap());
        Ok(answer)
    });
    let SubscriberTrial { request, response, error } = tried(&backend).await;
    assert_eq!(request.url, "https://portal.example/events");
    assert!(is_signed(&request, &added.secret.secret.unwrap(), backend.clock.now()));
    let body: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!((&body["type"], &body["subject"]), (&"lectern.subscriber.test.v1".into(), &"portal".into()));
    assert_eq!(request.headers["content-type"], "application/cloudevents+json; charset=utf-8");
    let response = response.unwrap();
    assert_eq!((response.status, error), (202, None));
    assert_eq!(response.body, request.body, "what was sent is what is shown");
    assert_eq!(
        (response.headers["server"].as_str(), response.headers["x-seen"].as_str()),
        ("portal/1", "a, b")
    );
}

#[tokio::test]
async fn every_trial_has_an_event_id_of_its_own() {
    let backend = subscribed(json!({})).await;
    let first = tried(&backend).await.request;
    let second = tried(&backend).await.request;
    assert_ne!(first.headers["webhook-id"], second.headers["webhook-id"]);
}

#[tokio::test]
async fn trial_of_a_stalled_endpoint_says_why_there_is_no_answer() {
    let mut backend = subscribed(json!({})).await;
    backend.endpoints = MemoryEndpoints::new(|_, _| Err(NoAnswer("there was no answer in time".to_owned())));
    let trial = tried(&backend).await;
    assert_eq!((trial.response, trial.error.as_deref()), (None, Some("there was no answer in time")));
}

#[tokio::test]
async fn refusal_is_shown_and_neither_disables_nor_delays() {
    let mut backend = subscribed(json!({})).await;
    let before = backend.store.delivery_state(&portal()).await.unwrap();
    for status in [302, 410, 429, 500] {
        backend.endpoints = answering(status);
        assert_eq!(tried(&backend).await.response.unwrap().status, status);
    }
    assert_eq!(shown(&backend).await.status, SubscriberState::Active);
    assert_eq!(backend.store.delivery_state(&portal()).await.unwrap(), before);
    assert!(backend.events.take().is_empty());
}

#[tokio::test]
async fn paused_subscriber_may_be_tried() {
    let backend = subscribed(json!({})).await;
    pause_subscriber(&backend, &operator(), "portal").await.unwrap();
    assert_eq!(tried(&backend).await.response.unwrap().status, 204);
}

#[tokio::test]
async fn v03_answer_is_cut_and_controls_no_terminal() {
    let mut backend = subscribed(json!({})).await;
    let hostile = "a\u{1b}[2J\u{202e}b\u{7}\r\nsecond\0 line ";
    backend.endpoints = MemoryEndpoints::new(move |_, _| {
        let body = [hostile.as_bytes(), b"\xff\xfe", "x".repeat(5000).as_bytes()].concat();
        let mut answer = answer(200, body);
        let value = http::HeaderValue::from_bytes(b"\xe2\x80\xaename\xff").unwrap();
        answer.headers_mut().insert("x-name", value);
        for number in 0..100 {
            let name: http::HeaderName = format!("x-{number}").parse().unwrap();
            answer.headers_mut().insert(name, "y".repeat(2000).parse().unwrap());
        }
        Ok(answer)
    });
    let response = tried(&backend).await.response.unwrap();
    assert!(
        response.body.starts_with("a[2Jb\nsecond line \u{fffd}\u{fffd}xxx"),
        "{:?}",
        &response.body[..40]
    );
    assert!(response.body.len() <= 2048);
    assert_eq!(response.headers.len(), 50);
    assert!(response.headers.values().all(|value| value.chars().count() <= 1024));
    assert_eq!(response.headers["x-name"], "name\u{fffd}");
}

#[tokio::test]
async fn compressed_trial_is_shown_as_json() {
    let backend = subscribed(json!({ "maxBatch": 5 })).await;
    let mut compressed = backend.store.subscriber(&portal()).await.unwrap().unwrap();
    compressed.has_gzip = true;
    compressed.subscriber_id = "archive".parse().unwrap();
    compressed.secrets = vec![events::Secret::of([backend.random.bits(), 2])];
    backend.store.add_subscriber(&compressed).await.unwrap();
    let sent = test_subscriber(&backend, &operator(), "archive").await.unwrap().request;
    assert_eq!(sent.headers["content-encoding"], "gzip");
    let body: Value = serde_json::from_str(&sent.body).unwrap();
    assert_eq!(body[0]["type"], "lectern.subscriber.test.v1");
}
