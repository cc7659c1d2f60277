//! What every handler and every job shares.

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

/// Documents that are worked on at one time: each may hold some 32 MiB and what was read out of it.
const WORK_AT_ONCE: usize = 4;
/// Callbacks that are under way at one time.
const CALLBACKS_AT_ONCE: usize = 64;

/// The state of one server.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) config: Config,
    /// Base of the result files' URLs, without a slash at its end.
    pub(crate) public_url: Url,
    /// Where documents are taken in.
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
    /// The state of a server that has seen nothing yet. `run_dir` has the folders `incoming` and `files`.
    ///
    /// # Errors
    /// The limits in `config` make no sense.
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

    /// Runs a job in the background, until it ends or the server stops.
    pub(crate) fn spawn(&self, job: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(job);
    }

    /// Ends all jobs that still run.
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
    // Hashes are compared, so that the time of the comparison says nothing about the key.
    let known = given.is_some_and(|given| keys.iter().any(|key| Sha256::digest(key) == given));
    if known { Ok(()) } else { Err(Problem::unauthorized()) }
}
