//! A server, a receiver of its callbacks, and a client of both.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::State, http::HeaderMap, routing::post};
use bytes::Bytes;
use http::{Method, StatusCode};
use lectern::{
    contract::webhook::{SigningSecrets, Verified, VerifyError, verify},
    contract::wire::{Callback, CallbackEvent, JobAccepted, JobSucceeded, ReturnedFile},
};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use third_party::{Config, Fault, FaultRule, JobView, Secrets, Server, serve};
use tokio::{net::TcpListener, time::Instant};

pub(crate) const API_KEY: &str = "key-of-lectern";
pub(crate) const ADMIN_KEY: &str = "key-of-admin";
pub(crate) const SIGNING_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// A document id with its first round.
pub(crate) const KEY: &str = "0f7c3c52-6f1a-5f43-9f3b-1f0e6d7a2b43-1";
pub(crate) const NOTES: &[u8] = b"Today we we read a poem. The pupils find the rhymes.\n";

const BOUND: Duration = Duration::from_secs(20);

pub(crate) struct Harness {
    pub(crate) server: Server,
    pub(crate) receiver: Receiver,
    pub(crate) client: Client,
    dir: Folder,
}

impl Harness {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = std::env::temp_dir().join(format!("third-party-{}", uuid::Uuid::new_v4()));
        let secrets = Secrets::parse(API_KEY, SIGNING_SECRET, ADMIN_KEY).unwrap();
        let mut config = Config::new(secrets, &dir);
        config.delay = Duration::ZERO;
        config.callback_backoff = Duration::from_millis(5);
        config.callback_backoff_max = Duration::from_millis(20);
        change(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = serve(config, listener).await.unwrap();
        let client =
            Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { server, receiver: Receiver::start().await, client, dir: Folder(dir) }
    }

    pub(crate) fn fault(&self, fault: impl Into<Fault>) {
        self.server.add_fault(FaultRule::for_key(KEY, fault));
    }

    pub(crate) fn fault_once(&self, fault: impl Into<Fault>) {
        self.server.add_fault(FaultRule::for_key(KEY, fault).times(1));
    }

    pub(crate) fn push(&self, media_type: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.push_as(KEY, media_type, body)
    }

    pub(crate) fn push_as(
        &self,
        key: &str,
        media_type: &str,
        body: impl Into<reqwest::Body>,
    ) -> RequestBuilder {
        self.client
            .post(format!("{}/v1/jobs/push", self.server.url()))
            .bearer_auth(API_KEY)
            .header("idempotency-key", key)
            .header("lectern-callback-url", &self.receiver.url)
            .header("content-type", media_type)
            .body(body)
    }

    /// Pushes the notes under another key than [`KEY`].
    pub(crate) async fn push_notes_as(&self, key: &str) -> Response {
        self.push_as(key, "text/plain", NOTES).send().await.unwrap()
    }

    /// The head of a push request. The test sends the body itself, and the server closes the connection after the
    /// answer.
    pub(crate) fn push_head(&self, framing: &str) -> String {
        format!(
            "POST /v1/jobs/push HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {API_KEY}\r\n\
             idempotency-key: {KEY}\r\nlectern-callback-url: {}\r\ncontent-type: text/plain\r\n{framing}\r\n\r\n",
            self.receiver.url
        )
    }

    pub(crate) fn admin(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}/admin/{path}", self.server.url())).bearer_auth(ADMIN_KEY)
    }

    pub(crate) async fn push_notes(&self) -> Response {
        self.push("text/plain", NOTES).send().await.unwrap()
    }

    pub(crate) fn pull(&self, source_url: &str, size_bytes: u64) -> RequestBuilder {
        self.client
            .post(format!("{}/v1/jobs/pull", self.server.url()))
            .bearer_auth(API_KEY)
            .header("idempotency-key", KEY)
            .json(&serde_json::json!({
                "sourceUrl": source_url,
                "mediaType": "text/plain",
                "sizeBytes": size_bytes,
                "callbackUrl": self.receiver.url,
            }))
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        let url = format!("{}{path}", self.server.url());
        self.client.get(url).bearer_auth(API_KEY).send().await.unwrap()
    }

    pub(crate) fn job(&self) -> Option<JobView> {
        let mut jobs = self.server.jobs(KEY);
        assert!(jobs.len() <= 1, "one key has one job");
        jobs.pop()
    }

    /// Pushes the notes and returns the result in the callback.
    pub(crate) async fn notes_result(&self) -> JobSucceeded {
        assert_eq!(self.push_notes().await.status(), StatusCode::CREATED);
        self.receiver.wait_for(1).await[0].succeeded()
    }

    pub(crate) async fn download(&self, file: &ReturnedFile) -> Response {
        self.client.get(&file.url).send().await.unwrap()
    }

    /// A folder that is deleted at the end of the test.
    pub(crate) fn folder(&self) -> &Path {
        &self.dir.0
    }

    pub(crate) async fn stop(self) {
        let Self { server, dir, .. } = self;
        server.stop().await.unwrap();
        assert_eq!(std::fs::read_dir(&dir.0).unwrap().count(), 0, "all files are removed");
    }

    pub(crate) fn incoming_files(&self) -> usize {
        std::fs::read_dir(&self.dir.0)
            .unwrap()
            .flat_map(|run| std::fs::read_dir(run.unwrap().path().join("incoming")).unwrap())
            .count()
    }
}

/// A folder that is deleted when dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Waits until `check` returns a value.
pub(crate) async fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(begun.elapsed() < BOUND, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn hex_sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

pub(crate) async fn job_id(response: Response) -> String {
    response.json::<JobAccepted>().await.unwrap().job_id
}

/// Checks that the answer is a problem and returns its code.
pub(crate) async fn problem(response: Response) -> (u16, String, Value) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["status"], status);
    assert!(!body["message"].as_str().unwrap().is_empty());
    (status, body["code"].as_str().unwrap().to_owned(), body)
}

/// Receives the callbacks.
pub(crate) struct Receiver {
    pub(crate) url: String,
    pub(crate) port: u16,
    state: Arc<Mutex<Inbox>>,
}

#[derive(Default)]
struct Inbox {
    deliveries: Vec<Delivery>,
    answers: VecDeque<StatusCode>,
}

#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    at: time::OffsetDateTime,
}

impl Delivery {
    pub(crate) fn verify(&self) -> Result<Verified, VerifyError> {
        verify(&self.headers, &self.body, &SigningSecrets::parse(SIGNING_SECRET).unwrap(), self.at)
    }

    pub(crate) fn id(&self) -> String {
        self.verify().unwrap().id
    }

    pub(crate) fn callback(&self) -> Callback {
        self.verify().unwrap();
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn succeeded(&self) -> JobSucceeded {
        match self.callback().event {
            CallbackEvent::Succeeded(succeeded) => succeeded,
            CallbackEvent::Failed(failed) => panic!("the job failed: {failed:?}"),
        }
    }

    pub(crate) fn failed_code(&self) -> String {
        match self.callback().event {
            CallbackEvent::Succeeded(succeeded) => panic!("the job succeeded: {succeeded:?}"),
            CallbackEvent::Failed(failed) => failed.error.code,
        }
    }
}

impl Receiver {
    async fn start() -> Self {
        let state = Arc::new(Mutex::new(Inbox::default()));
        let router = Router::new().route("/callbacks/one", post(receive)).with_state(Arc::clone(&state));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url: format!("http://127.0.0.1:{port}/callbacks/one"), port, state }
    }

    /// Answers the next deliveries with these statuses, and later ones with 204.
    pub(crate) fn answer(&self, answers: &[u16]) {
        let answers = answers.iter().map(|status| StatusCode::from_u16(*status).unwrap());
        self.state.lock().unwrap().answers.extend(answers);
    }

    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.state.lock().unwrap().deliveries.clone()
    }

    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Delivery> {
        eventually("callbacks", || Some(self.deliveries()).filter(|found| found.len() >= count)).await
    }
}

#[expect(clippy::disallowed_methods, reason = "callbacks are verified against the time of their arrival")]
async fn receive(State(state): State<Arc<Mutex<Inbox>>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut inbox = state.lock().unwrap();
    inbox.deliveries.push(Delivery { headers, body, at: time::OffsetDateTime::now_utc() });
    inbox.answers.pop_front().unwrap_or(StatusCode::NO_CONTENT)
}
