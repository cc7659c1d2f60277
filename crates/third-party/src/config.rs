//! What the server is started with. Secrets are checked here and never printed.

use std::{fmt, path::PathBuf, time::Duration};

use lectern::{contract::webhook::SigningSecret, limits};
use url::Url;

use crate::limits::Limits;

/// Settings of one server.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who may call, and how callbacks are signed.
    pub secrets: Secrets,
    /// Folder for documents and results; created if it is missing.
    pub data_dir: PathBuf,
    /// Time from the acceptance of a job to its callback, at least.
    pub delay: Duration,
    /// Where the result files are reached from outside; the listener's own address if absent.
    pub public_url: Option<Url>,
    /// The largest document that is taken.
    pub max_document_bytes: u64,
    /// How fast and how many documents are taken; without limit by default.
    pub limits: Limits,
    /// How often a callback is tried before it is given up.
    pub callback_tries: u32,
    /// Pause after the first failed callback; it doubles with each further one.
    pub callback_backoff: Duration,
    /// The longest pause between two tries of a callback.
    pub callback_backoff_max: Duration,
}

impl Config {
    /// Settings with the usual times: a callback after one second, eight tries from 0.2 s to 5 s apart.
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

/// The secrets of one server; never printed.
#[derive(Clone)]
pub struct Secrets {
    pub(crate) api_keys: Vec<String>,
    pub(crate) signing: Vec<SigningSecret>,
    pub(crate) admin_key: String,
}

impl Secrets {
    /// Reads the secrets. `api_keys` and `signing_secrets` may hold several, separated by white space, so that one
    /// can be rotated: every key is accepted, and a callback carries one signature for each signing secret.
    ///
    /// # Errors
    /// [`InvalidConfig`] says which of them is missing or malformed, without repeating it.
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
