//! The HTTP client for the endpoints of subscribers. It follows no redirects and does not retry, and it connects only to
//! addresses of its network, which are checked after name resolution.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::{Request, Response, header::USER_AGENT};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use lectern::{
    contract::network::Network,
    events::EventRequest,
    ports::{Endpoints, NoAnswer},
};
use tokio::{
    sync::OnceCell,
    time::{Instant, timeout_at},
};

use crate::http_third_party::{self, Connector, ForbiddenAddress, connector, is_caused_by};

#[cfg(test)]
mod tests;

/// How much of an answer is read.
const MAX_ANSWER_BYTES: usize = 16 * 1024;
/// A connection that was idle while Lambda froze the function is usually dead. Within a run, connections are used again.
const IDLE: Duration = Duration::from_secs(4);

/// The endpoints of subscribers.
#[derive(Debug)]
pub struct HttpEndpoints {
    /// Built for the first request, because building it parses the system's root certificates.
    client: OnceCell<Client<Connector, Full<Bytes>>>,
    network: Network,
}

impl HttpEndpoints {
    /// Endpoints in this network.
    pub fn new(network: Network) -> Self {
        Self { client: OnceCell::new(), network }
    }

    async fn client(&self) -> Result<&Client<Connector, Full<Bytes>>, NoAnswer> {
        let build = async || {
            let connector = connector(self.network)?;
            let client = Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .build(connector);
            Ok::<_, std::io::Error>(client)
        };
        let client = self.client.get_or_try_init(build).await;
        client.map_err(|_| no_answer("the system's root certificates could not be read"))
    }
}

impl Endpoints for HttpEndpoints {
    async fn post(
        &self,
        url: &str,
        EventRequest { headers, body }: EventRequest,
        timeout: Duration,
    ) -> Result<Response<Bytes>, NoAnswer> {
        let deadline = Instant::now() + timeout;
        let uri = self.network.check_subscriber(url).map_err(|error| NoAnswer(error.to_string()))?;
        let mut request = Request::post(uri)
            .header(USER_AGENT, http_third_party::USER_AGENT)
            .body(Full::new(Bytes::from(body)))
            .map_err(|_| no_answer("the URL is malformed"))?;
        request.headers_mut().extend(headers);
        let response = match timeout_at(deadline, self.client().await?.request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) if is_caused_by::<ForbiddenAddress>(&error) => {
                return Err(no_answer("the host's address is not one that may be reached"));
            }
            Ok(Err(error)) if error.is_connect() => return Err(no_answer("no connection could be made")),
            Ok(Err(_)) => return Err(no_answer("the connection broke off")),
            Err(_) => return Err(no_answer("there was no answer in time")),
        };
        let (parts, body) = response.into_parts();
        let mut chunks = body.into_data_stream();
        let mut beginning = BytesMut::new();
        while beginning.len() < MAX_ANSWER_BYTES {
            match timeout_at(deadline, chunks.next()).await {
                Ok(Some(Ok(chunk))) => beginning.extend_from_slice(&chunk),
                // The status counts, also if the rest of the answer does not arrive.
                Ok(Some(Err(_)) | None) | Err(_) => break,
            }
        }
        beginning.truncate(MAX_ANSWER_BYTES);
        Ok(Response::from_parts(parts, beginning.freeze()))
    }

    fn check(&self, url: &str) -> Result<(), NoAnswer> {
        self.network.check_subscriber(url).map(drop).map_err(|error| NoAnswer(error.to_string()))
    }
}

fn no_answer(why: &str) -> NoAnswer {
    NoAnswer(why.to_owned())
}
