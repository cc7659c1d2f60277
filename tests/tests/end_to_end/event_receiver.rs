//! A subscriber of events: an HTTP server whose answers a test decides, which verifies every signature with the crate
//! `standardwebhooks`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::post,
};
use reqwest::Method;
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::{
    api::Person,
    stack::Stack,
    wait::{LATER, eventually},
};

/// How the server answers a request: the status, and `Retry-After` if there is one. The argument is the number of the
/// request, from 0.
type Answer = dyn Fn(usize) -> (StatusCode, Option<&'static str>) + Send + Sync;

struct Received {
    secret: Option<String>,
    answer: Box<Answer>,
    requests: usize,
    /// The events of answered requests, in the order of their arrival.
    accepted: Vec<Value>,
    forged: usize,
}

/// A subscriber that is added to a stack.
pub(crate) struct Receiver<'s> {
    stack: &'s Stack,
    pub(crate) id: String,
    received: Arc<Mutex<Received>>,
    server: tokio::task::JoinHandle<()>,
}

impl<'s> Receiver<'s> {
    /// Adds a subscriber. `settings` are further members of the request.
    pub(crate) async fn subscribe(
        stack: &'s Stack,
        settings: &Value,
        answer: impl Fn(usize) -> (StatusCode, Option<&'static str>) + Send + Sync + 'static,
    ) -> Self {
        let received =
            Received { secret: None, answer: Box::new(answer), requests: 0, accepted: Vec::new(), forged: 0 };
        let received = Arc::new(Mutex::new(received));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/events", listener.local_addr().unwrap());
        let app = Router::new().route("/events", post(receive)).with_state(received.clone());
        let server = tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
        let id = format!("test-{}", &Uuid::new_v4().simple().to_string()[..12]);
        let mut request = json!({ "subscriberId": id, "url": url, "requestsPerSecond": 100 });
        for (name, value) in settings.as_object().unwrap() {
            request[name] = value.clone();
        }
        let added = stack.post(Person::Operator, "/v1/subscribers", &request).await;
        let secret = added["secret"].as_str().unwrap().to_owned();
        lock(&received).secret = Some(secret);
        Self { stack, id, received, server }
    }

    /// The events about a submission that were accepted, in the order of their arrival.
    pub(crate) fn events_of(&self, submission: &str) -> Vec<Value> {
        let accepted = &lock(&self.received).accepted;
        let of = |event: &&Value| event["subject"].as_str().unwrap().split('/').next() == Some(submission);
        accepted.iter().filter(of).cloned().collect()
    }

    /// The types of a submission's events, each id once, in the order of the first arrival.
    pub(crate) fn types_of(&self, submission: &str) -> Vec<String> {
        let mut ids = BTreeSet::new();
        let events = self.events_of(submission);
        let first = events.iter().filter(|event| ids.insert(event["id"].as_str().unwrap()));
        first.map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until the subscriber has accepted an event of this type about a submission.
    pub(crate) async fn hears(&self, submission: &str, event_type: &str) {
        let what = format!("{} hears of {event_type}", self.id);
        eventually(&what, LATER, async || {
            let heard = self.types_of(submission);
            if heard.iter().any(|heard| heard == event_type) { Ok(()) } else { Err(format!("{heard:?}")) }
        })
        .await;
    }

    /// The number of requests so far, without the challenge.
    pub(crate) fn requests(&self) -> usize {
        lock(&self.received).requests
    }

    pub(crate) async fn call(&self, method: Method, action: &str, body: &Value) -> Value {
        let path = format!("/v1/subscribers/{}{action}", self.id);
        let answer = self.stack.request(Person::Operator, method, &path, body).await;
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status}: {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// The subscriber as the API shows it.
    pub(crate) async fn shown(&self) -> Value {
        self.call(Method::GET, "", &Value::Null).await
    }

    /// Removes the subscriber, and fails if a signature was wrong.
    pub(crate) async fn unsubscribe(self) {
        self.call(Method::DELETE, "", &Value::Null).await;
        self.server.abort();
        assert_eq!(lock(&self.received).forged, 0, "every signature is valid");
    }
}

fn lock(received: &Mutex<Received>) -> MutexGuard<'_, Received> {
    received.lock().unwrap()
}

async fn receive(State(received): State<Arc<Mutex<Received>>>, headers: HeaderMap, body: Bytes) -> Response {
    let json: Value = serde_json::from_slice(&body).unwrap();
    let events = if let Value::Array(events) = json { events } else { vec![json] };
    let received = &mut *lock(&received);
    if let Some(challenge) = events[0]["data"]["challenge"].as_str() {
        return axum::Json(json!({ "challenge": challenge })).into_response();
    }
    if let Some(secret) = &received.secret
        && Webhook::new(secret).unwrap().verify(&body, &headers).is_err()
    {
        received.forged += 1;
    }
    let (status, retry_after) = (received.answer)(received.requests);
    received.requests += 1;
    if status.is_success() {
        received.accepted.extend(events);
    }
    let retry_after = retry_after.map(|text| [(header::RETRY_AFTER, text)]);
    match retry_after {
        Some(headers) => (status, headers).into_response(),
        None => status.into_response(),
    }
}

/// How often each event id was accepted, and the bodies under one id, which have to be equal.
pub(crate) fn by_id(events: &[Value]) -> BTreeMap<String, Vec<Value>> {
    let mut ids = BTreeMap::<String, Vec<Value>>::new();
    for event in events {
        ids.entry(event["id"].as_str().unwrap().to_owned()).or_default().push(event.clone());
    }
    ids
}
