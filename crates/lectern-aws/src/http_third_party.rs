//! The HTTP client of the third party's contract, `docs/third-party.openapi.yaml`.
//!
//! The client follows no redirects and does not retry. [`lectern::contract::response`] maps answers to workflow errors.

mod fetch;

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use lectern::{
    contract::callback::{VerifiedCallback, verify_callback_body},
    contract::json,
    contract::response::{error_of, says_unknown_job},
    contract::webhook::{SigningSecrets, VerifyError},
    contract::wire::{
        CALLBACK_URL, IDEMPOTENCY_KEY, JOBS_PATH, JobAccepted, JobStatus, PULL_PATH, PUSH_PATH, PullRequest,
        is_job_id,
    },
    error::{Error, StoreError},
    limits::CONNECT_TIMEOUT,
    ports::{Clock as _, Content, EraseJobs, JobErasure, JobRequest, ThirdParty},
    telemetry::trace::TRACEPARENT,
};
use reqwest::{
    Body, Client, RequestBuilder, Response, StatusCode,
    header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, RETRY_AFTER},
    redirect::Policy,
};
use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use tokio::sync::OnceCell;

pub use self::fetch::ReturnedFileFetcher;
pub(crate) use self::fetch::{Connector, ForbiddenAddress, connector, is_caused_by};
use crate::{clock::SystemClock, secrets::CachedSecret};

/// The client reads at most this many bytes of an answer. A job's status with all its files is smaller.
const MAX_ANSWER_BYTES: usize = lectern::limits::MAX_CALLBACK_BYTES;

/// A third party that implements the contract.
#[derive(Debug)]
pub struct HttpThirdParty {
    client: BuiltOnFirstUse,
    timeout: Duration,
    base_url: String,
    api_key: CachedSecret,
}

impl HttpThirdParty {
    /// A client of the service at `base_url`. `timeout` limits one request, including upload and answer.
    pub fn new(base_url: String, api_key: CachedSecret, timeout: Duration) -> Self {
        Self { client: BuiltOnFirstUse::new(move || builder(timeout)), timeout, base_url, api_key }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        let key = self.api_key.get().await?;
        let request =
            request.bearer_auth(key.expose()).header(ACCEPT, "application/json, application/problem+json");
        let response = request.send().await.map_err(|error| unavailable(&error))?;
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        // Only a number is logged: other text comes from the third party and must not be logged.
        let retry_after_s = retry_after.and_then(|text| text.parse::<u64>().ok());
        tracing::debug!(
            status = response.status().as_u16(),
            sizeBytes = response.content_length(),
            retryAfterS = retry_after_s,
            "The third party answered."
        );
        Ok(response)
    }
}

impl ThirdParty for HttpThirdParty {
    async fn prepare(&self) -> Result<(), Error> {
        self.client.get().await?;
        self.api_key.get().await.map(drop)
    }

    async fn submit(&self, job: JobRequest) -> Result<String, Error> {
        let client = self.client.get().await?;
        let source = Arc::new(SourceProgress::new(self.timeout));
        let request = match job.content {
            Content::Push(body) => {
                let progress = source.clone();
                progress.unread_bytes.store(job.size_bytes, Relaxed);
                let body = body.inspect(move |chunk| progress.note(chunk));
                client
                    .post(format!("{}{PUSH_PATH}", self.base_url))
                    .header(CALLBACK_URL, job.callback_url)
                    .header(CONTENT_TYPE, job.media_type.as_str())
                    .header(CONTENT_LENGTH, job.size_bytes)
                    .body(Body::wrap_stream(body))
            }
            Content::Pull(source_url) => {
                client.post(format!("{}{PULL_PATH}", self.base_url)).json(&PullRequest {
                    source_url,
                    media_type: job.media_type,
                    size_bytes: job.size_bytes,
                    callback_url: job.callback_url,
                })
            }
        };
        let request = match job.traceparent {
            Some(traceparent) => request.header(TRACEPARENT, traceparent.to_string()),
            None => request,
        };
        let sent = self.send(request.header(IDEMPOTENCY_KEY, job.idempotency_key)).await;
        let response = sent.map_err(|error| source.refine(error))?;
        let status = response.status();
        let JobAccepted { job_id } = answer(response).await?;
        if is_job_id(&job_id) { Ok(job_id) } else { Err(broken(status, &"an impossible job id")) }
    }

    async fn status(&self, idempotency_key: &str) -> Result<Option<JobStatus>, Error> {
        // The key is a UUID and a number, so it needs no encoding.
        let url = format!("{}{JOBS_PATH}?idempotencyKey={idempotency_key}", self.base_url);
        let response = self.send(self.client.get().await?.get(url)).await.map_err(no_job)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = beginning(response).await.map_err(no_job)?;
        if status.is_success() {
            return parsed(status, &body).map(Some).map_err(no_job);
        }
        if says_unknown_job(status, &body) {
            return Ok(None);
        }
        let error = error_of(status, &headers, &body, SystemClock.now());
        if matches!(error, Error::RateLimited { .. } | Error::Unauthorized) {
            return Err(error);
        }
        // A rejected status request says nothing about the document.
        Err(Error::Unavailable(format!("it answered {} to a question", status.as_u16())))
    }

    fn verify_callback(
        headers: &HeaderMap,
        body: &[u8],
        secrets: &SigningSecrets,
        now: OffsetDateTime,
    ) -> Result<VerifiedCallback, VerifyError> {
        verify_callback_body(headers, body, secrets, now)
    }
}

impl EraseJobs for HttpThirdParty {
    async fn erase(&self, idempotency_key: &str) -> Result<JobErasure, Error> {
        let url = format!("{}{JOBS_PATH}?idempotencyKey={idempotency_key}", self.base_url);
        let response = self.send(self.client.get().await?.delete(url)).await.map_err(no_job)?;
        let (status, headers) = (response.status(), response.headers().clone());
        match status {
            StatusCode::NO_CONTENT => return Ok(JobErasure::Erased),
            StatusCode::ACCEPTED => return Ok(JobErasure::Accepted),
            _ => {}
        }
        let body = beginning(response).await.map_err(no_job)?;
        if says_unknown_job(status, &body) {
            return Ok(JobErasure::Unknown);
        }
        let error = error_of(status, &headers, &body, SystemClock.now());
        if matches!(error, Error::RateLimited { .. } | Error::Unauthorized) {
            return Err(error);
        }
        // Also 405, which a third party answers that implements an older contract.
        Err(Error::Unavailable(format!("it answered {} to a request to erase", status.as_u16())))
    }
}

pub(crate) const USER_AGENT: &str = concat!("lectern/", env!("CARGO_PKG_VERSION"));

/// An HTTP client that is built for its first request, because building one parses the system's root certificates.
struct BuiltOnFirstUse {
    builder: Box<dyn Fn() -> reqwest::ClientBuilder + Send + Sync>,
    client: OnceCell<Client>,
}

impl BuiltOnFirstUse {
    fn new(builder: impl Fn() -> reqwest::ClientBuilder + Send + Sync + 'static) -> Self {
        Self { builder: Box::new(builder), client: OnceCell::new() }
    }

    async fn get(&self) -> Result<&Client, StoreError> {
        let build = async || (self.builder)().build();
        let client = self.client.get_or_try_init(build).await;
        client.map_err(|error| StoreError::defect_of("the HTTP client could not be built", error))
    }
}

impl fmt::Debug for BuiltOnFirstUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.client.fmt(f)
    }
}

fn builder(timeout: Duration) -> reqwest::ClientBuilder {
    // If another client of this process has installed a provider, that provider stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .redirect(Policy::none())
        // A proxy from the environment would resolve names itself and bypass the check of addresses.
        .no_proxy()
        // A connection that was idle while Lambda froze the function is usually dead.
        .pool_max_idle_per_host(0)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(timeout)
        .user_agent(USER_AGENT)
}

/// How much of a pushed document was read, when its newest chunk was read, and whether reading it failed.
#[derive(Debug)]
struct SourceProgress {
    began: Instant,
    timeout: Duration,
    unread_bytes: AtomicU64,
    newest_chunk_ms: AtomicU64,
    has_failed: AtomicBool,
}

impl SourceProgress {
    fn new(timeout: Duration) -> Self {
        Self {
            began: Instant::now(),
            timeout,
            unread_bytes: AtomicU64::new(0),
            newest_chunk_ms: AtomicU64::new(0),
            has_failed: AtomicBool::new(false),
        }
    }

    fn note(&self, chunk: &io::Result<Bytes>) {
        match chunk {
            Ok(bytes) => {
                self.unread_bytes.fetch_sub(bytes.len() as u64, Relaxed);
                let elapsed_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
                self.newest_chunk_ms.store(elapsed_ms, Relaxed);
            }
            Err(_) => self.has_failed.store(true, Relaxed),
        }
    }

    /// The third party has no job if the document was not sent completely.
    fn refine(&self, error: Error) -> Error {
        if matches!(error, Error::OutcomeUnknown(_)) && self.has_failed.load(Relaxed) {
            return Error::SourceUnavailable("reading it failed in the middle".to_owned());
        }
        match self.unread_bytes.load(Relaxed) {
            0 => error,
            _ if self.is_too_slow() => Error::TooSlow,
            _ => no_job(error),
        }
    }

    /// Whether the request's time is over, although the document was being sent until then. If nothing was sent in the
    /// last tenth of the time, then the third party stalled and is not slow (A05).
    fn is_too_slow(&self) -> bool {
        let newest_chunk = Duration::from_millis(self.newest_chunk_ms.load(Relaxed));
        self.began.elapsed() >= self.timeout && newest_chunk >= self.timeout * 9 / 10
    }
}

async fn answer<T: DeserializeOwned>(response: Response) -> Result<T, Error> {
    let (status, headers) = (response.status(), response.headers().clone());
    let body = beginning(response).await;
    if !status.is_success() {
        // The status and its headers count even if the body breaks off.
        return Err(error_of(status, &headers, &body.unwrap_or_default(), SystemClock.now()));
    }
    parsed(status, &body?)
}

/// After a 2xx answer that violates the contract, it is unknown whether there is a job.
fn parsed<T: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<T, Error> {
    json::from_slice(body).map_err(|error| broken(status, &error))
}

fn broken(status: StatusCode, error: &dyn fmt::Display) -> Error {
    let status = status.as_u16();
    Error::OutcomeUnknown(format!("it answered {status} with something else than promised ({error})"))
}

async fn beginning(response: Response) -> Result<BytesMut, Error> {
    let mut body = response.bytes_stream();
    let mut bytes = BytesMut::new();
    while let Some(chunk) = body.next().await {
        bytes.extend_from_slice(&chunk.map_err(|error| unavailable(&error))?);
        if bytes.len() > MAX_ANSWER_BYTES {
            return Err(Error::OutcomeUnknown("its answer is too long".to_owned()));
        }
    }
    Ok(bytes)
}

/// Describes the error without the URL, which may be a secret.
fn unavailable(error: &reqwest::Error) -> Error {
    if error.is_connect() {
        return Error::Unavailable("no connection could be made".to_owned());
    }
    let what = if error.is_timeout() { "it did not answer in time" } else { "the connection broke off" };
    Error::OutcomeUnknown(what.to_owned())
}

/// Turns an unknown outcome into `Unavailable` where there can be no job: after a status request, a download, or an
/// incomplete upload.
fn no_job(error: Error) -> Error {
    if let Error::OutcomeUnknown(what) = error { Error::Unavailable(what) } else { error }
}
