//! The HTTP client of the third party's contract, `docs/third-party.openapi.yaml`.
//!
//! The client follows no redirects and does not retry. [`lectern::contract::response`] maps answers to workflow errors;
//! [`lectern::contract::network`] decides which URLs may be fetched.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, TryStreamExt as _};
use lectern::{
    contract::json,
    contract::network::Network,
    contract::response::{error_of, says_unknown_job},
    contract::webhook::{SigningSecrets, VerifyError},
    contract::wire::{
        CALLBACK_URL, IDEMPOTENCY_KEY, JOBS_PATH, JobAccepted, JobStatus, PULL_PATH, PUSH_PATH, PullRequest,
        ReturnedFile,
    },
    document::Reason,
    error::{Error, StoreError},
    limits::CONNECT_TIMEOUT,
    ports::{ByteStream, Clock as _, Content, Fetch, JobRequest, ThirdParty},
    steps::receive_callback::{VerifiedCallback, verify_callback_body},
    telemetry::trace::TRACEPARENT,
};
use reqwest::{
    Body, Client, RequestBuilder, Response, StatusCode,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, RETRY_AFTER},
    redirect::Policy,
};
use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use tokio::sync::OnceCell;

use crate::{clock::SystemClock, secrets::CachedSecret};

/// A download fails if no bytes arrive for this long.
const STALLED_AFTER: Duration = Duration::from_mins(1);
/// The client reads at most this many bytes of an answer. A job's status with all its files is smaller.
const MAX_ANSWER_BYTES: usize = lectern::limits::MAX_CALLBACK_BYTES;

/// A third party that implements the contract.
#[derive(Debug)]
pub struct HttpThirdParty {
    client: BuiltOnFirstUse,
    base_url: String,
    api_key: CachedSecret,
}

impl HttpThirdParty {
    /// A client of the service at `base_url`. `timeout` limits one request, including upload and answer.
    pub fn new(base_url: String, api_key: CachedSecret, timeout: Duration) -> Self {
        Self { client: BuiltOnFirstUse::new(move || builder(timeout)), base_url, api_key }
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
        let source = Arc::new(SourceProgress::default());
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
        answer::<JobAccepted>(response).await.map(|accepted| accepted.job_id)
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

/// Fetches returned files from the URLs of callbacks.
#[derive(Debug)]
pub struct ReturnedFileFetcher {
    client: BuiltOnFirstUse,
    network: Network,
    allowed_hosts: Vec<String>,
}

impl ReturnedFileFetcher {
    /// Fetches from the third party's own host and from `more_hosts`. A name is resolved once, and the client connects
    /// to exactly the addresses that were checked.
    pub fn new(third_party_url: &str, more_hosts: Vec<String>, network: Network, timeout: Duration) -> Self {
        let client = BuiltOnFirstUse::new(move || {
            builder(timeout).dns_resolver(Arc::new(CheckedResolver(network))).read_timeout(STALLED_AFTER)
        });
        let own_host =
            url::Url::parse(third_party_url).ok().and_then(|url| url.host_str().map(str::to_owned));
        Self { client, network, allowed_hosts: own_host.into_iter().chain(more_hosts).collect() }
    }
}

impl Fetch for ReturnedFileFetcher {
    async fn fetch(&self, file: &ReturnedFile) -> Result<ByteStream, Error> {
        let url = self.network.check(&file.url, &self.allowed_hosts).map_err(|error| {
            tracing::debug!(detail = %error, "The URL of a returned file is forbidden.");
            mismatch(
                "forbiddenUrl",
                "The processing service returned a file at an address that may not be used.",
            )
        })?;
        let response = self.client.get().await?.get(url).send().await.map_err(|error| {
            if caused_by::<ForbiddenAddress>(&error).is_some() {
                return mismatch(
                    "forbiddenUrl",
                    "The processing service returned a file at an address that may not be used.",
                );
            }
            no_job(unavailable(&error))
        })?;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(Box::pin(response.bytes_stream().map_err(io::Error::other)));
        }
        if status.is_redirection() {
            return Err(mismatch(
                "redirected",
                "The processing service returned a file that is somewhere else.",
            ));
        }
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(Error::Unavailable(format!("a returned file's URL answered {}", status.as_u16())));
        }
        Err(mismatch("missing", "The processing service declared a file that is not there."))
    }
}

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
        .user_agent(concat!("lectern/", env!("CARGO_PKG_VERSION")))
}

/// How much of a pushed document was read, and whether reading it failed.
#[derive(Debug, Default)]
struct SourceProgress {
    unread_bytes: AtomicU64,
    has_failed: AtomicBool,
}

impl SourceProgress {
    fn note(&self, chunk: &io::Result<Bytes>) {
        match chunk {
            Ok(bytes) => {
                self.unread_bytes.fetch_sub(bytes.len() as u64, Relaxed);
            }
            Err(_) => self.has_failed.store(true, Relaxed),
        }
    }

    /// The third party has no job if the document was not sent completely.
    fn refine(&self, error: Error) -> Error {
        if matches!(error, Error::OutcomeUnknown(_)) && self.has_failed.load(Relaxed) {
            return Error::SourceUnavailable("reading it failed in the middle".to_owned());
        }
        if self.unread_bytes.load(Relaxed) > 0 { no_job(error) } else { error }
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
    json::from_slice(body).map_err(|error| {
        let status = status.as_u16();
        Error::OutcomeUnknown(format!("it answered {status} with something else than promised ({error})"))
    })
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

fn mismatch(code: &str, message: &str) -> Error {
    Error::ReturnedMismatch(Reason::new(code, message))
}

/// Resolves a name and refuses it if any of its addresses is forbidden.
#[derive(Clone, Copy, Debug)]
struct CheckedResolver(Network);

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let network = self.0;
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if addresses.iter().any(|address| !network.allows(address.ip())) {
                return Err(ForbiddenAddress.into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the name resolves to an address that may not be reached")]
struct ForbiddenAddress;

/// The error of this type among an error's causes.
fn caused_by<'a, E: std::error::Error + 'static>(error: &'a reqwest::Error) -> Option<&'a E> {
    let mut next: Option<&'a (dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        // The `source` of an `io::Error` skips the inner error.
        next = match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    None
}
