//! Starting and stopping the server, and looking into it from the same process.

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

/// How long open requests may take once the server is asked to stop.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// Starts a server on `listener`, which is bound already, and returns at once.
///
/// # Errors
/// [`StartError`] if the data folder or the HTTP client cannot be set up, or the limits make no sense.
pub async fn serve(config: Config, listener: TcpListener) -> Result<Server, StartError> {
    let address = listener.local_addr()?;
    let url = format!("http://{address}");
    let public_url = match &config.public_url {
        Some(public_url) => public_url.clone(),
        None => Url::parse(&url)?,
    };
    // A folder of this run, so that stopping removes nothing that others put there.
    let run_dir = config.data_dir.join(format!("run-{}", Uuid::new_v4().simple()));
    tokio::fs::create_dir_all(run_dir.join("incoming")).await?;
    tokio::fs::create_dir_all(run_dir.join("files")).await?;
    let app = Arc::new(App::new(config, public_url, &run_dir, outbound::client()?)?);
    let service = routes::router(Arc::clone(&app)).into_make_service_with_connect_info::<Cutter>();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = axum::serve(CuttableListener(listener), service).with_graceful_shutdown(async move {
        // A dropped sender asks for the end as well.
        let _ = stopped.await;
    });
    let served = tokio::spawn(serving.into_future());
    Ok(Server { url, address, run_dir, app, stop, served })
}

/// A running server. Dropping it stops it too, with its files left where they are.
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
    /// Where it listens, such as `http://127.0.0.1:4010`; no slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds a fault and returns its number: `POST /admin/faults`.
    pub fn add_fault(&self, rule: FaultRule) -> u64 {
        self.app.faults.add(rule)
    }

    /// The faults that are not used up: `GET /admin/faults`.
    pub fn faults(&self) -> Vec<FaultEntry> {
        self.app.faults.list()
    }

    /// Removes one fault; false if there is none with this number: `DELETE /admin/faults/{id}`.
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

    /// What was asked so far: `GET /admin/requests`.
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
    /// They make no sense; the ones in force stay.
    pub fn set_limits(&self, limits: Limits) -> Result<(), InvalidLimits> {
        self.app.limits.set(limits)
    }

    /// How the server was used: `GET /admin/usage`.
    pub fn usage(&self) -> UsageView {
        self.app.usage.view()
    }

    /// Measures the use anew: `DELETE /admin/usage`.
    pub fn reset_usage(&self) {
        self.app.usage.reset();
    }

    /// Takes no more requests, lets the open ones end within ten seconds, ends all jobs and removes their files.
    ///
    /// # Errors
    /// If serving had failed, or the files cannot be removed.
    pub async fn stop(self) -> io::Result<()> {
        // The server may have ended already; then there is nobody to tell.
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
    /// The listener or the data folder.
    #[error("the listener or the data folder cannot be used")]
    Io(#[from] io::Error),
    /// The limits.
    #[error("the limits make no sense")]
    Limits(#[from] InvalidLimits),
    /// The HTTP client.
    #[error("the HTTP client cannot be built")]
    Client(#[from] reqwest::Error),
    /// The listener's address is no URL.
    #[error("the listener's address cannot be written as a URL")]
    Address(#[from] url::ParseError),
}
