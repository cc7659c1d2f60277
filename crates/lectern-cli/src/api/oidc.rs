//! The OpenID Connect code flow with PKCE (RFC 7636), as a client without a secret.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::{StatusCode, header::CONTENT_TYPE};
use serde::{Deserialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};
use time::Duration;
use url::{Url, form_urlencoded};

use super::http;
use crate::problem::Problem;

/// Used if an issuer does not say how long a token is valid.
const ASSUMED_LIFETIME_S: i64 = 300;

/// How people sign in to a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Provider {
    pub(crate) client_id: String,
    pub(crate) authorize_url: Url,
    pub(crate) token_url: Url,
    pub(crate) scope: String,
}

impl Provider {
    /// Reads how people sign in: from the pages' settings, and from the issuer's description if the settings name no
    /// addresses.
    pub(crate) async fn of(client: &reqwest::Client, pages: &Url) -> Result<Self, Problem> {
        let config: PagesConfig = read(client, &format!("{pages}web/config.json")).await?;
        let SignInConfig { issuer, client_id, scope, authorize_url, token_url } = config.sign_in;
        let (authorize_url, token_url) = match (authorize_url, token_url) {
            (Some(authorize_url), Some(token_url)) => (authorize_url, token_url),
            _ => {
                let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
                let issuer: IssuerConfig = read(client, &url).await?;
                (issuer.authorization_endpoint, issuer.token_endpoint)
            }
        };
        Ok(Self {
            client_id,
            scope,
            authorize_url: private(&authorize_url)?,
            token_url: private(&token_url)?,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PagesConfig {
    sign_in: SignInConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignInConfig {
    issuer: String,
    client_id: String,
    scope: String,
    authorize_url: Option<String>,
    token_url: Option<String>,
}

#[derive(Deserialize)]
struct IssuerConfig {
    authorization_endpoint: String,
    token_endpoint: String,
}

async fn read<T: DeserializeOwned>(client: &reqwest::Client, url: &str) -> Result<T, Problem> {
    let get = async || {
        client.get(private(url)?).send().await?.error_for_status()?.bytes().await.map_err(Unread::Http)
    };
    let problem = |what: String| {
        Problem::new(format!("{url} could not be read: {what}"), "Check the address (--url) and the network.")
    };
    let bytes = get().await.map_err(|error| match error {
        Unread::Address(problem) => problem,
        Unread::Http(error) => problem(match error.status() {
            Some(status) => format!("the answer is {}", status.as_u16()),
            None => http::describe(&error),
        }),
    })?;
    serde_json::from_slice(&bytes).map_err(|_| problem("it does not say how to sign in".to_owned()))
}

enum Unread {
    Address(Problem),
    Http(reqwest::Error),
}

impl From<Problem> for Unread {
    fn from(problem: Problem) -> Self {
        Self::Address(problem)
    }
}

impl From<reqwest::Error> for Unread {
    fn from(error: reqwest::Error) -> Self {
        Self::Http(error)
    }
}

fn private(url: &str) -> Result<Url, Problem> {
    http::private_url(url).ok_or_else(|| {
        Problem::new(
            "the sign-in would send tokens without encryption",
            "Ask an administrator: the issuer needs https.",
        )
    })
}

/// One attempt to sign in.
pub(crate) struct Attempt {
    verifier: String,
    /// What the redirect has to repeat.
    pub(crate) state: String,
}

impl Attempt {
    /// # Errors
    /// The operating system has no random numbers.
    pub(crate) fn begin() -> Result<Self, Problem> {
        Ok(Self { verifier: random_text()?, state: random_text()? })
    }

    /// The page on which the person signs in.
    pub(crate) fn authorize_url(&self, provider: &Provider, redirect_uri: &str) -> Url {
        let mut url = provider.authorize_url.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &provider.client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", &provider.scope)
            .append_pair("state", &self.state)
            .append_pair("code_challenge", &challenge(&self.verifier))
            .append_pair("code_challenge_method", "S256");
        url
    }

    /// Turns the code of the redirect into tokens.
    pub(crate) async fn redeem(
        &self,
        client: &reqwest::Client,
        provider: &Provider,
        redirect_uri: &str,
        code: &str,
    ) -> Result<Tokens, TokenFailure> {
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", &provider.client_id),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", &self.verifier),
        ];
        request_tokens(client, &provider.token_url, &form).await
    }
}

fn random_text() -> Result<String, Problem> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        Problem::new(format!("the system gives no random numbers: {error}"), "Try again.")
    })?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

/// An issuer's answer. It is a secret, so it has no `Debug`.
#[derive(Deserialize)]
pub(crate) struct Tokens {
    pub(crate) access_token: String,
    /// Seconds.
    #[serde(default)]
    pub(crate) expires_in: Option<i64>,
    #[serde(default)]
    pub(crate) refresh_token: Option<String>,
}

impl Tokens {
    pub(crate) fn lifetime(&self) -> Duration {
        Duration::seconds(self.expires_in.unwrap_or(ASSUMED_LIFETIME_S))
    }
}

/// Why there are no tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TokenFailure {
    /// The issuer does not accept the code or the refresh token any more.
    Refused,
    /// The issuer gave no usable answer; it may do so later.
    Unreachable(String),
}

/// Gets a new access token.
pub(crate) async fn refresh(
    client: &reqwest::Client,
    token_url: &Url,
    client_id: &str,
    refresh_token: &str,
) -> Result<Tokens, TokenFailure> {
    let form = [("grant_type", "refresh_token"), ("client_id", client_id), ("refresh_token", refresh_token)];
    request_tokens(client, token_url, &form).await
}

async fn request_tokens(
    client: &reqwest::Client,
    token_url: &Url,
    form: &[(&str, &str)],
) -> Result<Tokens, TokenFailure> {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request =
        client.post(token_url.clone()).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
    let unreachable = |error: reqwest::Error| TokenFailure::Unreachable(http::describe(&error));
    let response = request.timeout(super::TIMEOUT).send().await.map_err(unreachable)?;
    match response.status() {
        StatusCode::OK => {
            let bytes = response.bytes().await.map_err(unreachable)?;
            let unreadable =
                |_| TokenFailure::Unreachable("the issuer's answer could not be read".to_owned());
            serde_json::from_slice(&bytes).map_err(unreadable)
        }
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Err(TokenFailure::Refused)
        }
        status => Err(TokenFailure::Unreachable(format!("the issuer answered with {}", status.as_u16()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7636, appendix B.
    #[test]
    fn challenge_is_that_of_the_standard() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(challenge(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn each_attempt_has_a_verifier_and_a_state_of_its_own() {
        let (one, two) = (Attempt::begin().unwrap(), Attempt::begin().unwrap());
        assert_eq!(one.verifier.len(), 43);
        assert!(one.verifier != two.verifier && one.state != two.state && one.state != one.verifier);
    }
}
