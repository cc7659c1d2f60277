//! The command `third-party`: reads its settings and serves the contract until SIGTERM or SIGINT.

use std::{io::Write as _, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use serde::Deserialize;
use third_party::{Config, Limits, Secrets, serve};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};
use url::Url;

/// The reference third party of Lectern.
#[derive(Debug, Parser)]
#[command(name = "third-party", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the contract; print `{"listening":"http://…"}` when ready.
    Serve(ServeArgs),
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// Address to listen on; port 0 selects a free port.
    #[arg(long, default_value = "127.0.0.1:0", env = "THIRD_PARTY_LISTEN")]
    listen: SocketAddr,
    /// Folder for documents and results.
    #[arg(long, env = "THIRD_PARTY_DATA_DIR")]
    data_dir: PathBuf,
    /// Milliseconds from the acceptance of a job to its callback.
    #[arg(long, default_value_t = 1000, env = "THIRD_PARTY_DELAY_MS")]
    delay_ms: u64,
    /// Base of the result files' URLs; by default the listening address.
    #[arg(long, env = "THIRD_PARTY_PUBLIC_URL")]
    public_url: Option<Url>,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    secrets: SecretArgs,
}

#[derive(Debug, Args)]
struct LimitArgs {
    /// Submissions per second; unlimited by default.
    #[arg(long, env = "THIRD_PARTY_REQUESTS_PER_SECOND")]
    requests_per_second: Option<f64>,
    /// Submissions at once; needs a rate; 1 by default.
    #[arg(long, env = "THIRD_PARTY_BURST", requires = "requests_per_second")]
    burst: Option<u32>,
    /// Jobs in flight, each until its callback is first sent; unlimited by default.
    #[arg(long, env = "THIRD_PARTY_MAX_IN_FLIGHT")]
    max_in_flight: Option<u32>,
}

impl From<LimitArgs> for Limits {
    fn from(args: LimitArgs) -> Self {
        let LimitArgs { requests_per_second, burst, max_in_flight } = args;
        Self { requests_per_second, burst, max_in_flight }
    }
}

#[derive(Args)]
struct SecretArgs {
    /// JSON file with `apiKey`, `signingSecret` and `adminKey`; the options below override it.
    #[arg(long, env = "THIRD_PARTY_SECRETS_FILE")]
    secrets_file: Option<PathBuf>,
    /// Accepted API keys, separated by spaces.
    #[arg(long, env = "THIRD_PARTY_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// Signing secrets (`whsec_…`), separated by spaces; a callback carries one signature for each.
    #[arg(long, env = "THIRD_PARTY_SIGNING_SECRET", hide_env_values = true)]
    signing_secret: Option<String>,
    /// Key of the admin endpoints.
    #[arg(long, env = "THIRD_PARTY_ADMIN_KEY", hide_env_values = true)]
    admin_key: Option<String>,
}

impl std::fmt::Debug for SecretArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretArgs").field("secrets_file", &self.secrets_file).finish_non_exhaustive()
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct SecretsFile {
    api_key: String,
    signing_secret: String,
    admin_key: String,
}

impl SecretArgs {
    fn read(self) -> anyhow::Result<Secrets> {
        let file = match &self.secrets_file {
            Some(path) => {
                let text = std::fs::read(path).context("the secrets file cannot be read")?;
                // The parser's own message may quote a secret.
                serde_json::from_slice(&text).map_err(|_| anyhow::anyhow!("the secrets file is malformed"))?
            }
            None => SecretsFile::default(),
        };
        // An empty environment variable counts as absent.
        let given = |secret: Option<String>, in_file| {
            secret.filter(|text| !text.trim().is_empty()).unwrap_or(in_file)
        };
        Ok(Secrets::parse(
            &given(self.api_key, file.api_key),
            &given(self.signing_secret, file.signing_secret),
            &given(self.admin_key, file.admin_key),
        )?)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = Targets::new().with_default(LevelFilter::WARN).with_target("third_party", LevelFilter::INFO);
    let log = fmt::layer().json().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(log).with(filter).init();
    match Cli::parse().command {
        Command::Serve(args) => run(args).await,
    }
}

async fn run(args: ServeArgs) -> anyhow::Result<()> {
    let config = Config {
        delay: Duration::from_millis(args.delay_ms),
        public_url: args.public_url,
        limits: args.limits.into(),
        ..Config::new(args.secrets.read()?, args.data_dir)
    };
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind(args.listen).await.context("cannot listen on the address")?;
    let server = serve(config, listener).await?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", serde_json::json!({ "listening": server.url() }))?;
    stdout.flush()?;
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    tracing::info!("received a signal to stop");
    server.stop().await?;
    Ok(())
}
