//! A client of Lectern's HTTP API for a person who has signed in with `lectern login`.
//!
//! A request is repeated after temporary failures, and the access token is refreshed when it has expired. Errors contain
//! neither tokens nor signed URLs.

pub(crate) mod failure;
pub(crate) mod http;
pub(crate) mod oidc;
pub(crate) mod pages;
pub(crate) mod sign_ins;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use bytes::Bytes;
use lectern::ports::Clock as _;
use lectern_aws::SystemClock;
use reqwest::{
    Method, StatusCode,
    header::{ETAG, IF_NONE_MATCH},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;

use self::{
    failure::{Failure, Refusal},
    oidc::TokenFailure,
    sign_ins::{SignIn, SignIns},
    wire::{Detail, DocumentsPage},
};
use crate::{args::Common, problem::Problem};

/// How long one request to the API may take. API Gateway ends a request after 30 seconds.
const TIMEOUT: Duration = Duration::from_secs(35);

/// The pauses between the attempts of one request. Each has a random part of up to its own length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
    pub(crate) retries: usize,
}

impl Pace {
    /// Eleven attempts, with about four minutes of pauses in all.
    pub(crate) const PATIENT: Self =
        Self { first: Duration::from_millis(500), longest: Duration::from_secs(30), retries: 10 };

    pub(crate) fn backoff(self) -> ExponentialBuilder {
        ExponentialBuilder::default()
            .with_min_delay(self.first)
            .with_max_delay(self.longest)
            .with_max_times(self.retries)
            .with_jitter()
    }
}

/// One request to the API.
#[derive(Clone, Debug)]
pub(crate) struct Call<'a> {
    method: Method,
    /// The segments of the path after `/v1`.
    path: Vec<&'a str>,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
    if_none_match: Option<&'a str>,
    /// Whether a second request has no further effect, so that the request can be repeated after its answer was lost.
    is_idempotent: bool,
}

impl<'a> Call<'a> {
    pub(crate) fn get(path: &[&'a str]) -> Self {
        let (query, body, if_none_match) = (Vec::new(), None, None);
        Self { method: Method::GET, path: path.to_vec(), query, body, if_none_match, is_idempotent: true }
    }

    /// A request that has its effect once, however often it is sent.
    pub(crate) fn post(path: &[&'a str], body: Value) -> Self {
        Self { method: Method::POST, body: Some(body), ..Self::get(path) }
    }

    /// A request that creates something each time.
    pub(crate) fn create(path: &[&'a str], body: Value) -> Self {
        Self { is_idempotent: false, ..Self::post(path, body) }
    }

    pub(crate) fn delete(path: &[&'a str]) -> Self {
        Self { method: Method::DELETE, ..Self::get(path) }
    }

    pub(crate) fn query(mut self, name: &'static str, value: Option<&str>) -> Self {
        self.query.extend(value.map(|value| (name, value.to_owned())));
        self
    }

    pub(crate) fn unless(mut self, etag: Option<&'a str>) -> Self {
        self.if_none_match = etag;
        self
    }
}

/// A successful answer; 304 is one.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) etag: Option<String>,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|_| Failure::Unreadable)
    }
}

/// The client. Requests may run at the same time; they share one sign-in.
pub(crate) struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) pace: Pace,
    pages: Url,
    sign_ins: SignIns,
    sign_in: Mutex<SignIn>,
}

impl Client {
    /// The client of the person who has signed in to the stack that the command line selects. If it selects none, the only
    /// sign-in is used.
    pub(crate) async fn open(common: &Common) -> Result<Self, Problem> {
        let sign_ins = SignIns::in_folder(common.state_dir.as_deref())?;
        let sign_in = match pages::find(common).await? {
            Some(pages) => sign_ins.read(&pages)?.ok_or_else(|| {
                Problem::new(format!("you are not signed in at {pages}"), "Sign in with `lectern login`.")
            })?,
            None => sign_ins.only()?,
        };
        Self::new(sign_ins, sign_in, Pace::PATIENT)
    }

    pub(crate) fn new(sign_ins: SignIns, sign_in: SignIn, pace: Pace) -> Result<Self, Problem> {
        let pages = sign_in.pages.clone();
        Ok(Self { http: http::client()?, pace, pages, sign_ins, sign_in: Mutex::new(sign_in) })
    }

    pub(crate) async fn read<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, Failure> {
        self.call(&call).await?.json()
    }

    /// A submission with all its documents.
    pub(crate) async fn submission(&self, id: &str) -> Result<Detail, Failure> {
        let detail = self.read(Call::get(&["submissions", id])).await?;
        self.with_all_documents(detail).await
    }

    /// Reads the further pages of a submission's documents.
    pub(crate) async fn with_all_documents(&self, mut detail: Detail) -> Result<Detail, Failure> {
        while let Some(cursor) = detail.cursor.take() {
            let path = ["submissions", &detail.submission.submission_id, "documents"];
            let page: DocumentsPage = self.read(Call::get(&path).query("cursor", Some(&cursor))).await?;
            detail.documents.extend(page.documents);
            detail.cursor = page.cursor;
        }
        Ok(detail)
    }

    /// Sends a request, again after temporary failures.
    pub(crate) async fn call(&self, call: &Call<'_>) -> Result<Answer, Failure> {
        let attempt = async || self.signed_in(call).await;
        let may_repeat = |failure: &Failure| failure.is_temporary(call.is_idempotent);
        attempt.retry(self.pace.backoff()).when(may_repeat).await
    }

    async fn signed_in(&self, call: &Call<'_>) -> Result<Answer, Failure> {
        let token = self.access_token(None).await?;
        let answer = self.send(call, &token).await;
        if !matches!(&answer, Err(Failure::Refused(refusal)) if refusal.status == StatusCode::UNAUTHORIZED) {
            return answer;
        }
        let fresh = self.access_token(Some(&token)).await?;
        self.send(call, &fresh).await
    }

    async fn send(&self, call: &Call<'_>, token: &str) -> Result<Answer, Failure> {
        let mut url = self.pages.clone();
        // The pages' address is one of HTTP, which has a path.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("v1").extend(&call.path);
        }
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        let mut request = self.http.request(call.method.clone(), url).bearer_auth(token).timeout(TIMEOUT);
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        if let Some(etag) = call.if_none_match {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let response = request.send().await.map_err(|error| Failure::unreachable(&error))?;
        let status = response.status();
        let etag = response.headers().get(ETAG).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = response.bytes().await.map_err(|error| Failure::unreachable(&error))?;
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(Answer { status, etag, body });
        }
        Err(Failure::Refused(Refusal::read(status, &body)))
    }

    /// A token that is valid for a while, and is not the one that the API has refused.
    async fn access_token(&self, refused: Option<&str>) -> Result<String, Failure> {
        let mut sign_in = self.sign_in.lock().await;
        let now = SystemClock.now();
        if sign_in.is_fresh(refused, now) {
            return Ok(sign_in.access_token.clone());
        }
        // Another process may have refreshed the sign-in. Some issuers accept each refresh token once.
        if let Ok(Some(stored)) = self.sign_ins.read(&self.pages)
            && stored.is_fresh(refused, now)
        {
            *sign_in = stored;
            return Ok(sign_in.access_token.clone());
        }
        let refresh_token = sign_in.refresh_token.clone().ok_or(Failure::SignedOut)?;
        let refreshed =
            oidc::refresh(&self.http, &sign_in.token_url, &sign_in.client_id, &refresh_token).await;
        let tokens = refreshed.map_err(|failure| match failure {
            TokenFailure::Refused => Failure::SignedOut,
            TokenFailure::Unreachable(what) => Failure::Unreachable { what, may_have_arrived: false },
        })?;
        sign_in.renew(tokens, now);
        // If the file cannot be written, this process still has its token.
        let _ = self.sign_ins.write(&sign_in);
        Ok(sign_in.access_token.clone())
    }
}
