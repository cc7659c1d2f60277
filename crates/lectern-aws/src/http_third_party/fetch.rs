//! Fetches returned files from the URLs of callbacks. [`lectern::contract::network`] decides which URLs may be fetched.
//!
//! The request line contains the declared URL byte for byte (V05). `reqwest` cannot do that: it takes only URLs that the
//! WHATWG URL standard has rewritten, where `'` becomes `%27` and `%2e%2e` is resolved. So this client is `hyper-util`'s.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
    vec,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::{
    Request, StatusCode,
    header::{ACCEPT, ACCEPT_ENCODING, USER_AGENT},
};
use http_body_util::{BodyExt as _, Empty};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{HttpConnector, dns::Name},
    },
    rt::TokioExecutor,
};
use lectern::{
    contract::{network::Network, wire::ReturnedFile},
    document::Reason,
    error::{Error, StoreError},
    limits::CONNECT_TIMEOUT,
    ports::{ByteStream, Fetch},
};
use rustls::crypto::ring;
use tokio::{
    sync::OnceCell,
    time::{Instant, timeout, timeout_at},
};
use tower::Service;

/// A download fails if neither an answer nor bytes arrive for this long.
const STALLED_AFTER: Duration = Duration::from_mins(1);

/// Connects only to addresses of its network.
pub(crate) type Connector = HttpsConnector<HttpConnector<CheckedResolver>>;

/// Fetches returned files.
#[derive(Debug)]
pub struct ReturnedFileFetcher {
    /// Built for the first request, because building it parses the system's root certificates.
    client: OnceCell<Client<Connector, Empty<Bytes>>>,
    network: Network,
    allowed_hosts: Vec<String>,
    timeout: Duration,
}

impl ReturnedFileFetcher {
    /// Fetches from the third party's own host and from `more_hosts`. A name is resolved once, and the client connects
    /// to exactly the addresses that were checked. `timeout` limits one download.
    pub fn new(third_party_url: &str, more_hosts: Vec<String>, network: Network, timeout: Duration) -> Self {
        let own_host =
            url::Url::parse(third_party_url).ok().and_then(|url| url.host_str().map(str::to_owned));
        let allowed_hosts = own_host.into_iter().chain(more_hosts).collect();
        Self { client: OnceCell::new(), network, allowed_hosts, timeout }
    }
}

fn client(network: Network) -> io::Result<Client<Connector, Empty<Bytes>>> {
    Ok(Client::builder(TokioExecutor::new())
        // A connection that was idle while Lambda froze the function is usually dead.
        .pool_max_idle_per_host(0)
        .build(connector(network)?))
}

/// Connects to the addresses of names and checks each of them ([`Network::allows`]).
pub(crate) fn connector(network: Network) -> io::Result<Connector> {
    let mut http = HttpConnector::new_with_resolver(CheckedResolver(network));
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT_TIMEOUT));
    Ok(HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(ring::default_provider())?
        .https_or_http()
        .enable_http1()
        .wrap_connector(http))
}

impl Fetch for ReturnedFileFetcher {
    async fn fetch(&self, file: &ReturnedFile) -> Result<ByteStream, Error> {
        let deadline = Instant::now() + self.timeout;
        let uri = self.network.check(&file.url, &self.allowed_hosts).map_err(|error| {
            tracing::debug!(detail = %error, "The URL of a returned file is forbidden.");
            forbidden()
        })?;
        let request = Request::get(uri)
            .header(USER_AGENT, super::USER_AGENT)
            .header(ACCEPT, "*/*")
            .header(ACCEPT_ENCODING, "identity")
            .body(Empty::new())
            .map_err(|_| forbidden())?;
        let client = self.client.get_or_try_init(async || client(self.network)).await;
        let client = client.map_err(|error| {
            StoreError::defect_of("the system's root certificates could not be read", error)
        })?;
        let response = match timeout_at(overdue(deadline), client.request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) if is_caused_by::<ForbiddenAddress>(&error) => return Err(forbidden()),
            Ok(Err(error)) if error.is_connect() => return Err(unavailable("no connection could be made")),
            Ok(Err(_)) => return Err(unavailable("the connection broke off")),
            Err(_) => return Err(unavailable("it did not answer in time")),
        };
        let status = response.status();
        if status == StatusCode::OK {
            let body = response.into_body().into_data_stream().map_err(io::Error::other);
            return Ok(bounded(Box::pin(body), deadline));
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

/// The body, which fails at the deadline or when it stalls.
fn bounded(body: ByteStream, deadline: Instant) -> ByteStream {
    Box::pin(stream::unfold(Some(body), move |body| async move {
        let mut body = body?;
        match timeout_at(overdue(deadline), body.next()).await {
            Ok(chunk) => chunk.map(|chunk| (chunk, Some(body))),
            Err(_) => Some((Err(io::ErrorKind::TimedOut.into()), None)),
        }
    }))
}

/// When the next bytes are overdue.
fn overdue(deadline: Instant) -> Instant {
    deadline.min(Instant::now() + STALLED_AFTER)
}

fn forbidden() -> Error {
    mismatch("forbiddenUrl", "The processing service returned a file at an address that may not be used.")
}

fn mismatch(code: &str, message: &str) -> Error {
    Error::ReturnedMismatch(Reason::new(code, message))
}

fn unavailable(what: &str) -> Error {
    Error::Unavailable(what.to_owned())
}

/// Resolves a name and refuses it if any of its addresses is forbidden.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CheckedResolver(Network);

impl Service<Name> for CheckedResolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let network = self.0;
        Box::pin(async move {
            let lookup = tokio::net::lookup_host((name.as_str(), 0));
            let addresses: Vec<SocketAddr> = timeout(CONNECT_TIMEOUT, lookup).await??.collect();
            if addresses.iter().any(|address| !network.allows(address.ip())) {
                return Err(io::Error::other(ForbiddenAddress));
            }
            Ok(addresses.into_iter())
        })
    }
}

#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the name resolves to an address that may not be reached")]
pub(crate) struct ForbiddenAddress;

/// Whether an error of this type is among an error's causes.
pub(crate) fn is_caused_by<E: std::error::Error + 'static>(
    error: &(dyn std::error::Error + 'static),
) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        if cause.is::<E>() {
            return true;
        }
        // The `source` of an `io::Error` skips the inner error.
        next = match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    false
}
