//! The state that all handlers and jobs share.

use std::{
    future::Future,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};
use tokio::{sync::Semaphore, task::JoinSet};
use url::Url;

use crate::{
    config::Config,
    fault_book::FaultBook,
    files::Files,
    jobs::Jobs,
    limits::{InvalidLimits, Limiter},
    problem::Problem,
    requests::Requests,
    usage::Meter,
};

/// How many documents are processed at once. Each one may take 32 MiB of memory and the memory for its content.
const WORK_AT_ONCE: usize = 4;
/// How many callbacks are sent at once.
const CALLBACKS_AT_ONCE: usize = 64;

#[derive(Debug)]
pub(crate) struct App {
    pub(crate) config: Config,
    /// The base of the result files' URLs, without a trailing slash.
    pub(crate) public_url: Url,
    /// The folder for incoming documents.
    pub(crate) incoming_dir: PathBuf,
    pub(crate) jobs: Jobs,
    pub(crate) files: Files,
    pub(crate) faults: FaultBook,
    pub(crate) requests: Requests,
    pub(crate) limits: Arc<Limiter>,
    pub(crate) usage: Arc<Meter>,
    pub(crate) http: reqwest::Client,
    pub(crate) working: Semaphore,
    pub(crate) calling_back: Semaphore,
    tasks: Mutex<JoinSet<()>>,
}

impl App {
    /// The state of a new server. `run_dir` must contain the folders `incoming` and `files`.
    ///
    /// # Errors
    /// The limits in `config` are invalid.
    pub(crate) fn new(
        config: Config,
        public_url: Url,
        run_dir: &std::path::Path,
        http: reqwest::Client,
    ) -> Result<Self, InvalidLimits> {
        Ok(Self {
            limits: Arc::new(Limiter::new(config.limits)?),
            usage: Arc::new(Meter::new()),
            config,
            public_url,
            incoming_dir: run_dir.join("incoming"),
            jobs: Jobs::default(),
            files: Files::new(run_dir.join("files")),
            faults: FaultBook::default(),
            requests: Requests::default(),
            http,
            working: Semaphore::new(WORK_AT_ONCE),
            calling_back: Semaphore::new(CALLBACKS_AT_ONCE),
            tasks: Mutex::default(),
        })
    }

    /// Runs a job in the background until it ends or the server stops.
    pub(crate) fn spawn(&self, job: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(job);
    }

    /// Aborts all running jobs.
    pub(crate) fn abort_jobs(&self) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }

    /// Checks the API key of a request.
    pub(crate) fn authorize(&self, headers: &HeaderMap) -> Result<(), Problem> {
        authorize(headers, &self.config.secrets.api_keys)
    }

    /// Checks the admin key of a request.
    pub(crate) fn authorize_admin(&self, headers: &HeaderMap) -> Result<(), Problem> {
        authorize(headers, std::slice::from_ref(&self.config.secrets.admin_key))
    }
}

fn authorize(headers: &HeaderMap, keys: &[String]) -> Result<(), Problem> {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, key)| Sha256::digest(key.trim()));
    // Compares hashes, so that the duration of the comparison reveals nothing about the key.
    let known = given.is_some_and(|given| keys.iter().any(|key| Sha256::digest(key) == given));
    if known { Ok(()) } else { Err(Problem::unauthorized()) }
}
