//! The settings of the server. Secrets are validated here and never printed.

use std::{fmt, path::PathBuf, time::Duration};

use lectern::{contract::webhook::SigningSecret, limits};
use url::Url;

use crate::limits::Limits;

/// The settings of one server.
#[derive(Clone, Debug)]
pub struct Config {
    /// The accepted keys, and the secrets that sign callbacks.
    pub secrets: Secrets,
    /// Folder for documents and results; created if it is missing.
    pub data_dir: PathBuf,
    /// The minimum time from the acceptance of a job to its callback.
    pub delay: Duration,
    /// The base of the result files' URLs; the listener's address if absent.
    pub public_url: Option<Url>,
    /// The largest document that is accepted.
    pub max_document_bytes: u64,
    /// The limits on rate and jobs in flight; unlimited by default.
    pub limits: Limits,
    /// The number of attempts to send a callback.
    pub callback_tries: u32,
    /// The pause after the first failed attempt; it doubles with each further one.
    pub callback_backoff: Duration,
    /// The longest pause between two attempts.
    pub callback_backoff_max: Duration,
}

impl Config {
    /// Settings with the default times: a callback after one second, and eight attempts 0.2 s to 5 s apart.
    pub fn new(secrets: Secrets, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            secrets,
            data_dir: data_dir.into(),
            delay: Duration::from_secs(1),
            public_url: None,
            max_document_bytes: limits::MAX_RETURNED_FILE_BYTES,
            limits: Limits::default(),
            callback_tries: 8,
            callback_backoff: Duration::from_millis(200),
            callback_backoff_max: Duration::from_secs(5),
        }
    }
}

/// The secrets of the server; never printed.
#[derive(Clone)]
pub struct Secrets {
    pub(crate) api_keys: Vec<String>,
    pub(crate) signing: Vec<SigningSecret>,
    pub(crate) admin_key: String,
}

impl Secrets {
    /// Parses the secrets. For rotation, `api_keys` and `signing_secrets` may contain several values, separated by
    /// white space: every key is accepted, and a callback carries one signature for each signing secret.
    ///
    /// # Errors
    /// [`InvalidConfig`] names the secret that is missing or malformed, but does not quote it.
    pub fn parse(api_keys: &str, signing_secrets: &str, admin_key: &str) -> Result<Self, InvalidConfig> {
        let api_keys: Vec<String> = api_keys.split_whitespace().map(str::to_owned).collect();
        let signing = signing_secrets
            .split_whitespace()
            .map(SigningSecret::parse)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| InvalidConfig("the signing secret"))?;
        let admin_key = admin_key.trim().to_owned();
        if api_keys.is_empty() {
            return Err(InvalidConfig("the API key"));
        }
        if signing.is_empty() {
            return Err(InvalidConfig("the signing secret"));
        }
        if admin_key.is_empty() {
            return Err(InvalidConfig("the admin key"));
        }
        Ok(Self { api_keys, signing, admin_key })
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(…)")
    }
}

/// A setting is missing or malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is missing or malformed")]
pub struct InvalidConfig(&'static str);
