//! The reference third party, Lectern's adapter for it, and servers that break the contract.

use std::{path::PathBuf, time::Duration};

use aws_sdk_secretsmanager::{Client, operation::get_secret_value::GetSecretValueOutput};
use aws_smithy_mocks::{mock, mock_client};
use axum::Router;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use lectern::{
    contract::wire::{JobStatus, JobSucceeded},
    error::Error,
    ports::{ByteStream, Content, JobRequest, ThirdParty as _},
};
use lectern_aws::{CachedSecret, HttpThirdParty};
use lectern_content::MediaType;
use sha2::{Digest as _, Sha256};
use third_party::{Config, Fault, FaultRule, JobView, Secrets, Server, serve};
use tokio::{net::TcpListener, time::Instant};

/// The span of an attempt.
pub(crate) const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
pub(crate) const API_KEY: &str = "key-of-lectern";
/// A document and its first round.
pub(crate) const KEY: &str = "0f7c3c52-6f1a-5f43-9f3b-1f0e6d7a2b43-1";
pub(crate) const NOTES: &[u8] = b"Today we we read a poem. The pupils find the rhymes.\n";
/// The callback URL, which the tests search for in error texts.
pub(crate) const CALLBACK: &str = "http://127.0.0.1:9/callbacks/secret-callback-id";

const BOUND: Duration = Duration::from_secs(20);

pub(crate) struct ReferenceThirdParty {
    pub(crate) server: Server,
    pub(crate) adapter: HttpThirdParty,
    _folder: Folder,
}

impl ReferenceThirdParty {
    pub(crate) async fn start() -> Self {
        let dir = std::env::temp_dir().join(format!("lectern-aws-{}", uuid::Uuid::new_v4()));
        let secrets = Secrets::parse(API_KEY, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "admin").unwrap();
        let mut config = Config::new(secrets, &dir);
        config.delay = Duration::ZERO;
        config.callback_tries = 1;
        let server = serve(config, listener().await).await.unwrap();
        let adapter = adapter(server.url(), API_KEY, BOUND);
        Self { server, adapter, _folder: Folder(dir) }
    }

    pub(crate) fn fault_once(&self, fault: impl Into<Fault>) {
        self.server.add_fault(FaultRule::for_key(KEY, fault).times(1));
    }

    pub(crate) async fn push(&self, bytes: &[u8]) -> Result<String, Error> {
        self.adapter.submit(push(bytes)).await
    }

    /// The one job of the key, if there is one.
    pub(crate) fn job(&self) -> Option<JobView> {
        let mut jobs = self.server.jobs(KEY);
        assert!(jobs.len() <= 1, "one key has one job");
        jobs.pop()
    }

    /// Pushes the notes and waits for what the job returns.
    pub(crate) async fn notes_result(&self) -> JobSucceeded {
        self.push(NOTES).await.unwrap();
        eventually("the job's end", || self.job().filter(|job| job.status == "succeeded")).await;
        match self.adapter.status(KEY).await.unwrap() {
            Some(JobStatus::Succeeded(job)) => job,
            other => panic!("not succeeded: {other:?}"),
        }
    }
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn adapter(url: &str, key: &'static str, timeout: Duration) -> HttpThirdParty {
    let rule = mock!(Client::get_secret_value)
        .then_output(move || GetSecretValueOutput::builder().secret_string(key).build());
    let client = mock_client!(aws_sdk_secretsmanager, [&rule]);
    let secret = CachedSecret::new(client, "arn:key".to_owned());
    HttpThirdParty::new(url.to_owned(), secret, timeout)
}

/// A server of these routes; it ends with the test.
pub(crate) async fn server(router: Router) -> String {
    let listener = listener().await;
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

pub(crate) async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

pub(crate) fn push(bytes: &[u8]) -> JobRequest {
    push_body(bytes.len() as u64, odd_chunks(bytes))
}

pub(crate) fn push_body(size_bytes: u64, body: ByteStream) -> JobRequest {
    JobRequest {
        idempotency_key: KEY.to_owned(),
        media_type: MediaType::Text,
        size_bytes,
        callback_url: CALLBACK.to_owned(),
        traceparent: TRACE.parse().ok(),
        content: Content::Push(body),
    }
}

pub(crate) fn pull(source_url: impl Into<String>) -> JobRequest {
    JobRequest { content: Content::Pull(source_url.into()), ..push(NOTES) }
}

/// The bytes in chunks of irregular sizes, some of them empty.
pub(crate) fn odd_chunks(bytes: &[u8]) -> ByteStream {
    let (mut rest, mut chunks) = (bytes, Vec::new());
    for size in [1, 7, 0, 4093, 65_537, 3, 200_003].into_iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, after) = rest.split_at(rest.len().min(size));
        chunks.push(Ok(Bytes::copy_from_slice(chunk)));
        rest = after;
    }
    Box::pin(stream::iter(chunks))
}

pub(crate) fn content(size: usize) -> Vec<u8> {
    b"All pupils read a poem.\n".iter().copied().cycle().take(size).collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// All bytes, and whether the body ended well.
pub(crate) async fn collect(mut body: ByteStream) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        match chunk {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(_) => return (bytes, false),
        }
    }
    (bytes, true)
}

/// Checks that the error contains no URLs, keys or names, however it is printed.
pub(crate) fn assert_silent(error: &Error) {
    let printed = format!("{error} {error:?} {}", error.cause());
    for secret in ["127.0.0.1", "localhost", "http", "169.254", "secret", API_KEY, KEY] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}

/// Waits until `check` returns a value.
pub(crate) async fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(begun.elapsed() < BOUND, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
