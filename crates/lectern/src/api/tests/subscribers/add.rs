//! Tests of adding a subscriber: the settings, and the challenge.

use std::{
    io::Read as _,
    sync::{Arc, Mutex},
};

use flate2::read::GzDecoder;
use rstest::rstest;

use super::*;

#[tokio::test]
async fn new_subscriber_has_the_defaults_and_shows_its_secret_once() {
    let backend = MemoryBackend::default();
    let added = add_subscriber(&backend, &operator(), &settings(&json!({}))).await.unwrap();
    let json = serde_json::to_value(&added).unwrap();
    assert!(json["secret"].as_str().unwrap().starts_with("whsec_"));
    assert!(json.get("publicKey").is_none());
    let expected = json!({
        "subscriberId": "portal", "url": "https://portal.example/events", "eventTypes": [], "kinds": [],
        "format": "full", "signature": "hmac", "ordered": true, "maxBatch": 1, "maxBatchWaitSeconds": 0,
        "gzip": false, "requestsPerSecond": 10.0, "maxInFlight": 4, "timeoutSeconds": 10,
        "status": "active", "createdAt": "2026-11-20T16:00:00.000Z",
        "deliveries": {
            "waiting": 0, "retrying": [], "retryingCount": 0, "blocked": 0, "deadLetters": 0, "inFlight": 0,
            "breakerOpen": false,
        },
    });
    assert_eq!(json["subscriber"], expected);
    assert_eq!(shown(&backend).await, added.subscriber);
    let stored = backend.store.subscriber(&portal()).await.unwrap().unwrap();
    assert_eq!(stored.shown_secret(), added.secret);
}

#[tokio::test]
async fn settings_are_kept() {
    let all = json!({
        "eventTypes": ["document.ready", "submission.erased"], "kinds": ["video", "picture"], "format": "thin",
        "signature": "ed25519", "ordered": false, "maxBatch": 100, "maxBatchWaitSeconds": 300, "gzip": true,
        "requestsPerSecond": 0.1, "maxInFlight": 50, "timeoutSeconds": 15,
    });
    let backend = backend_with(MemoryEndpoints::new(|_, request| Ok(answer(200, honest(request)))));
    let added = add_subscriber(&backend, &operator(), &settings(&all)).await.unwrap();
    let shown = serde_json::to_value(&added.subscriber).unwrap();
    for (name, value) in all.as_object().unwrap() {
        let (mut shown, mut value) = (shown[name].clone(), value.clone());
        for list in [&mut shown, &mut value].into_iter().filter_map(Value::as_array_mut) {
            list.sort_by_key(ToString::to_string);
        }
        assert_eq!(shown, value, "{name}");
    }
    assert!(added.secret.secret.is_none(), "the private key is never shown");
    assert!(added.secret.public_key.unwrap().starts_with("whpk_"));
}

/// The body of a request, before its compression.
fn sent(request: &EventRequest) -> Value {
    let mut json = Vec::new();
    if request.headers.contains_key("content-encoding") {
        GzDecoder::new(request.body.as_slice()).read_to_end(&mut json).unwrap();
    } else {
        json.clone_from(&request.body);
    }
    serde_json::from_slice(&json).unwrap()
}

/// The right answer to a challenge, of which the body may be a list.
fn honest(request: &EventRequest) -> String {
    let body = sent(request);
    let event = body.get(0).unwrap_or(&body);
    json!({ "challenge": event["data"]["challenge"], "more": true }).to_string()
}

#[tokio::test]
async fn challenge_is_signed_with_the_secret_that_is_shown() {
    let requests = Arc::<Mutex<Vec<EventRequest>>>::default();
    let seen = Arc::clone(&requests);
    let backend = backend_with(MemoryEndpoints::new(move |url, request| {
        assert_eq!(url, "https://portal.example/events");
        seen.lock().unwrap().push(request.clone());
        Ok(answer(200, honest(request)))
    }));
    let added = add_subscriber(&backend, &operator(), &settings(&json!({}))).await.unwrap();
    let requests = requests.lock().unwrap();
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    let body = sent(request);
    assert_eq!(body["type"], "lectern.subscriber.challenge.v1");
    assert_eq!(body["subject"], "portal");
    let headers =
        request.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()));
    let request = SentRequest {
        url: String::new(),
        headers: headers.collect(),
        body: String::from_utf8(request.body.clone()).unwrap(),
    };
    assert!(trial::is_signed(&request, &added.secret.secret.unwrap(), backend.clock.now()));
}

#[rstest]
#[case::id_with_capitals(json!({"subscriberId": "Portal"}), "subscriberId must have")]
#[case::empty_id(json!({"subscriberId": ""}), "subscriberId must have")]
#[case::id_that_begins_with_a_digit(json!({"subscriberId": "1st"}), "subscriberId must have")]
#[case::long_id(json!({"subscriberId": "a".repeat(41)}), "subscriberId must have")]
#[case::plain_http(json!({"url": "http://portal.example/"}), "Give another url: its scheme is not https.")]
#[case::private_address(json!({"url": "http://169.254.169.254/"}), "Give another url: its scheme is not https.")]
#[case::no_url(json!({"url": "portal"}), "Give another url: its scheme is not https.")]
#[case::long_url(json!({"url": format!("https://portal.example/{}", "a".repeat(2030))}), "url must have at most 2048 bytes.")]
#[case::unknown_event(json!({"eventTypes": ["document.lost"]}), "eventTypes may contain submission.created, ")]
#[case::challenge_is_no_event_type(json!({"eventTypes": ["subscriber.challenge"]}), "eventTypes may contain ")]
#[case::test_is_no_event_type(json!({"eventTypes": ["document.ready", "subscriber.test"]}), "eventTypes may contain ")]
#[case::versioned_event(json!({"eventTypes": ["lectern.document.ready.v1"]}), "eventTypes may contain ")]
#[case::no_batch(json!({"maxBatch": 0}), "maxBatch must be a number from 1 to 100.")]
#[case::large_batch(json!({"maxBatch": 101}), "maxBatch must be a number from 1 to 100.")]
#[case::long_wait(json!({"maxBatch": 2, "maxBatchWaitSeconds": 301}), "maxBatchWaitSeconds must be a number from 0 to 300.")]
#[case::wait_without_batches(json!({"maxBatchWaitSeconds": 1}), "so it needs a maxBatch of 2 or more.")]
#[case::slow(json!({"requestsPerSecond": 0.09}), "requestsPerSecond must be a number from 0.1 to 100.")]
#[case::fast(json!({"requestsPerSecond": 100.1}), "requestsPerSecond must be a number from 0.1 to 100.")]
#[case::negative_rate(json!({"requestsPerSecond": -1}), "requestsPerSecond must be a number from 0.1 to 100.")]
#[case::nothing_in_flight(json!({"maxInFlight": 0}), "maxInFlight must be a number from 1 to 50.")]
#[case::much_in_flight(json!({"maxInFlight": 51}), "maxInFlight must be a number from 1 to 50.")]
#[case::no_time(json!({"timeoutSeconds": 0}), "timeoutSeconds must be a number from 1 to 15.")]
#[case::much_time(json!({"timeoutSeconds": 16}), "timeoutSeconds must be a number from 1 to 15.")]
#[tokio::test]
async fn setting_out_of_its_range_is_refused_before_any_request(#[case] with: Value, #[case] expected: &str) {
    let backend = backend_with(MemoryEndpoints::new(|_, _| panic!("no request is made")));
    let refused = add_subscriber(&backend, &operator(), &settings(&with)).await.unwrap_err();
    assert!(matches!(&refused, ApiError::InvalidRequest(text) if text.contains(expected)), "{refused:?}");
    assert!(refused.problem().detail.ends_with('.'));
    assert!(backend.faults.calls().is_empty());
}

#[rstest]
#[case::another_type(json!({"maxBatch": "5"}))]
#[case::negative(json!({"maxInFlight": -1}))]
#[case::unknown_kind(json!({"kinds": ["film"]}))]
#[case::unknown_format(json!({"format": "small"}))]
#[case::unknown_signature(json!({"signature": "rsa"}))]
#[case::secret_of_ones_own(json!({"secret": "whsec_MTIz"}))]
#[case::misspelt(json!({"timeout": 5}))]
fn request_that_is_no_such_object_is_not_parsed(#[case] with: Value) {
    let mut request = json!({ "subscriberId": "portal", "url": "https://portal.example/" });
    request.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
    assert!(serde_json::from_value::<AddSubscriber>(request).is_err());
}

#[rstest]
#[case::redirect(Ok(answer(302, "")), "answered 302, and redirects are not followed.")]
#[case::denied(Ok(answer(401, "")), "answered 401.")]
#[case::gone(Ok(answer(410, "")), "answered 410.")]
#[case::broken(Ok(answer(500, "{\"challenge\":\"guess\"}")), "answered 500.")]
#[case::nothing(Ok(answer(204, "")), "answered 204 without the challenge.")]
#[case::another_challenge(
    Ok(answer(200, "{\"challenge\":\"00000000000000000000000000000001\"}")),
    "answered 200 without the challenge."
)]
#[case::text(Ok(answer(200, "thanks")), "answered 200 without the challenge.")]
#[case::late(Err(NoAnswer("there was no answer in time".to_owned())), "gave no answer: there was no answer in time.")]
#[case::private_host(
    Err(NoAnswer("the host's address is not one that may be reached".to_owned())),
    "gave no answer: the host's address is not one that may be reached."
)]
#[tokio::test]
async fn endpoint_that_does_not_answer_the_challenge_is_not_added(
    #[case] answer: Result<Response<Bytes>, NoAnswer>,
    #[case] expected: &str,
) {
    let backend = backend_with(MemoryEndpoints::new(move |_, _| answer.clone()));
    let request = settings(&json!({ "timeoutSeconds": 7 }));
    let problem = add_subscriber(&backend, &operator(), &request).await.unwrap_err().problem();
    assert_eq!((problem.status, problem.kind), (422, "urn:problem-type:lectern:challenge-failed"));
    assert!(problem.detail.starts_with(&format!("The endpoint {expected}")), "{}", problem.detail);
    assert!(problem.detail.contains("answer 2xx within 7 seconds"), "{}", problem.detail);
    assert!(!backend.faults.calls().contains(&"add_subscriber"));
}

#[tokio::test]
async fn taken_id_is_a_conflict_and_its_endpoint_is_not_asked() {
    let mut backend = subscribed(json!({})).await;
    backend.endpoints = MemoryEndpoints::new(|_, _| panic!("no request is made"));
    let before = backend.store.subscriber(&portal()).await.unwrap();
    let request = settings(&json!({ "url": "https://another.example/" }));
    let problem = add_subscriber(&backend, &operator(), &request).await.unwrap_err().problem();
    assert_eq!((problem.status, problem.kind), (409, "urn:problem-type:lectern:subscriber-exists"));
    assert_eq!(backend.store.subscriber(&portal()).await.unwrap(), before);
}

#[tokio::test]
async fn there_are_not_more_subscribers_than_may_be() {
    let backend = MemoryBackend::default();
    let add = async |number: usize| {
        let request = settings(&json!({ "subscriberId": format!("portal-{number}") }));
        add_subscriber(&backend, &operator(), &request).await
    };
    for number in 0..MAX_SUBSCRIBERS {
        add(number).await.unwrap();
    }
    let problem = add(MAX_SUBSCRIBERS).await.unwrap_err().problem();
    assert_eq!((problem.status, problem.kind), (409, "urn:problem-type:lectern:too-many-subscribers"));
    remove_subscriber(&backend, &operator(), "portal-3").await.unwrap();
    add(MAX_SUBSCRIBERS).await.unwrap();
}

#[tokio::test]
async fn subscriber_that_could_not_be_stored_may_be_added_again() {
    let backend = MemoryBackend::default();
    backend.faults.cut_next("add_subscriber", Cut::Before);
    let add = async || add_subscriber(&backend, &operator(), &settings(&json!({}))).await;
    assert_eq!(add().await.unwrap_err().problem().status, 503);
    add().await.unwrap();
    backend.faults.cut_next("subscribers", Cut::Before);
    assert_eq!(add().await.unwrap_err().problem().status, 503);
}
