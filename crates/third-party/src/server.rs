//! Starts and stops the server, and gives access to its state from the same process.

use std::{future::IntoFuture as _, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use url::Url;
use uuid::Uuid;

use crate::{
    admin::FaultEntry,
    app::App,
    config::Config,
    connection::{CuttableListener, Cutter},
    faults::FaultRule,
    jobs::JobView,
    limits::{InvalidLimits, Limits},
    outbound,
    requests::RequestsView,
    routes,
    usage::UsageView,
};

/// How long open requests may take after the server is asked to stop.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// Starts a server on a bound listener, and returns at once.
///
/// # Errors
/// [`StartError`] if the data folder or the HTTP client cannot be set up, or the limits are invalid.
pub async fn serve(config: Config, listener: TcpListener) -> Result<Server, StartError> {
    let address = listener.local_addr()?;
    let url = format!("http://{address}");
    let public_url = match &config.public_url {
        Some(public_url) => public_url.clone(),
        None => Url::parse(&url)?,
    };
    // A folder for this run only, so that stopping the server removes no foreign files.
    let run_dir = config.data_dir.join(format!("run-{}", Uuid::new_v4().simple()));
    tokio::fs::create_dir_all(run_dir.join("incoming")).await?;
    tokio::fs::create_dir_all(run_dir.join("files")).await?;
    let app = Arc::new(App::new(config, public_url, &run_dir, outbound::client()?)?);
    let service = routes::router(Arc::clone(&app)).into_make_service_with_connect_info::<Cutter>();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = axum::serve(CuttableListener(listener), service).with_graceful_shutdown(async move {
        // Dropping the sender stops the server, too.
        let _ = stopped.await;
    });
    let served = tokio::spawn(serving.into_future());
    Ok(Server { url, address, run_dir, app, stop, served })
}

/// A running server. Dropping it stops the server, but leaves its files.
#[derive(Debug)]
pub struct Server {
    url: String,
    address: SocketAddr,
    run_dir: PathBuf,
    app: Arc<App>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<io::Result<()>>,
}

impl Server {
    /// The base URL without a trailing slash, such as `http://127.0.0.1:4010`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The listener's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds a fault and returns its number: `POST /admin/faults`.
    pub fn add_fault(&self, rule: FaultRule) -> u64 {
        self.app.faults.add(rule)
    }

    /// The faults that can still apply: `GET /admin/faults`.
    pub fn faults(&self) -> Vec<FaultEntry> {
        self.app.faults.list()
    }

    /// Removes one fault; false if no fault has this number: `DELETE /admin/faults/{id}`.
    pub fn remove_fault(&self, id: u64) -> bool {
        self.app.faults.remove(id)
    }

    /// Removes all faults: `DELETE /admin/faults`.
    pub fn clear_faults(&self) {
        self.app.faults.clear();
    }

    /// The jobs whose idempotency key starts with `prefix`, oldest first: `GET /admin/jobs`.
    pub fn jobs(&self, prefix: &str) -> Vec<JobView> {
        self.app.jobs.list(prefix)
    }

    /// The requests so far: `GET /admin/requests`.
    pub fn requests(&self, prefix: &str) -> RequestsView {
        self.app.requests.view(prefix)
    }

    /// The limits in force: `GET /admin/limits`.
    pub fn limits(&self) -> Limits {
        self.app.limits.get()
    }

    /// Sets all limits: `PUT /admin/limits`. The token bucket starts full again if its rate or depth changes.
    ///
    /// # Errors
    /// The limits are invalid; the old ones then stay in force.
    pub fn set_limits(&self, limits: Limits) -> Result<(), InvalidLimits> {
        self.app.limits.set(limits)
    }

    /// The measured usage: `GET /admin/usage`.
    pub fn usage(&self) -> UsageView {
        self.app.usage.view()
    }

    /// Resets the measured usage: `DELETE /admin/usage`.
    pub fn reset_usage(&self) {
        self.app.usage.reset();
    }

    /// Stops accepting requests, gives open ones ten seconds to end, aborts all jobs and removes their files.
    ///
    /// # Errors
    /// Serving had failed, or the files cannot be removed.
    pub async fn stop(self) -> io::Result<()> {
        // This fails only if the server has already ended.
        let _ = self.stop.send(());
        let mut served = self.served;
        let ended = tokio::time::timeout(STOP_WITHIN, &mut served).await;
        served.abort();
        self.app.abort_jobs();
        tokio::fs::remove_dir_all(&self.run_dir).await?;
        match ended {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }
}

/// The server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The listener or the data folder cannot be used.
    #[error("the listener or the data folder cannot be used")]
    Io(#[from] io::Error),
    /// The limits are invalid.
    #[error("the limits are invalid")]
    Limits(#[from] InvalidLimits),
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be built")]
    Client(#[from] reqwest::Error),
    /// The listener's address does not form a URL.
    #[error("the listener's address cannot be written as a URL")]
    Address(#[from] url::ParseError),
}
