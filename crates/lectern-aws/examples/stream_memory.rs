//! Measures how much memory streaming a large file takes: `make bench`.
//!
//! The parent process starts one child with all servers (the required parts of S3, Secrets Manager and the third party)
//! and one child for each direction, which streams with the adapters and clients of the functions:
//! `transfer-document`'s from S3 to the third party, `verify-returned-file`'s from the third party to S3. The program
//! fails if the peak of either child's resident memory, as the kernel counts it, reaches [`LIMIT_MIB`].

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
    routing::{any, get},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{StatusCode, header};
use lectern::{
    contract::network::Network,
    contract::wire::{FileRole, ReturnedFile},
    document::ObjectVersion,
    ports::{Content, Fetch as _, JobRequest, ReturnedFiles as _, ThirdParty as _, UploadReader as _},
};
use lectern_aws::{
    CachedSecret, Clients, Config, HttpThirdParty, ReturnedBucket, UploadsBucket,
    http_third_party::ReturnedFileFetcher,
};
use lectern_content::MediaType;

const LIMIT_MIB: f64 = 64.0;
const DEFAULT_MIB: u64 = 4096;
const MIB: u64 = 1024 * 1024;
const TIMEOUT: Duration = Duration::from_mins(15);

static ZEROS: [u8; 65536] = [0; 65536];

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match args.as_slice() {
        [_, "servers", size] => runtime.block_on(serve(size.parse()?)),
        [_, "push", url, size] => runtime.block_on(push(url, size.parse()?)),
        [_, "fetch", url, size] => runtime.block_on(fetch(url, size.parse()?)),
        [this] => measure(this, DEFAULT_MIB),
        [this, mib] => measure(this, mib.parse().context("the size in MiB is no number")?),
        _ => bail!("usage: stream_memory [MiB]"),
    }
}

/// Runs both directions, each in a process of its own.
fn measure(this: &str, mib: u64) -> anyhow::Result<()> {
    let size = (mib * MIB).to_string();
    let servers = Command::new(this).args(["servers", &size]).stdout(Stdio::piped()).spawn()?;
    let mut servers = Running(servers);
    let output = servers.0.stdout.take().context("the servers have no output")?;
    let mut url = String::new();
    BufReader::new(output).read_line(&mut url)?;
    let mut worst: f64 = 0.0;
    for (what, role) in [("S3 to the third party", "push"), ("the third party to S3", "fetch")] {
        say(&format!("Streaming {mib} MiB from {what} …"))?;
        let begun = Instant::now();
        let output = Command::new(this)
            .args([role, url.trim(), &size])
            .env("AWS_ENDPOINT_URL", url.trim())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "bench")
            .env("AWS_SECRET_ACCESS_KEY", "bench")
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            bail!("streaming from {what} failed");
        }
        let peak: f64 = String::from_utf8(output.stdout)?.trim().parse().context("no figure was measured")?;
        say(&format!("  {peak:.1} MiB resident at the peak, {:.1} s", begun.elapsed().as_secs_f64()))?;
        worst = worst.max(peak);
    }
    if worst >= LIMIT_MIB {
        bail!("{worst:.1} MiB are too much: the limit is {LIMIT_MIB} MiB");
    }
    say(&format!("Fine: below {LIMIT_MIB} MiB."))
}

/// A child process that is killed on drop.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // The child may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn say(line: &str) -> anyhow::Result<()> {
    Ok(writeln!(io::stdout(), "{line}")?)
}

/// Streams the bytes as `transfer-document` does.
async fn push(url: &str, size_bytes: u64) -> anyhow::Result<()> {
    let clients = Clients::load(Config::from_env()).await;
    let uploads = UploadsBucket::new(clients.s3());
    let key = CachedSecret::new(clients.secrets_manager(), "arn:key".to_owned());
    let third_party = HttpThirdParty::new(url.to_owned(), key, TIMEOUT);
    let object = ObjectVersion {
        bucket: "uploads".to_owned(),
        key: "lesson.mp4".to_owned(),
        version_id: "v1".to_owned(),
    };
    let body = uploads.open(&object, size_bytes).await?;
    let request = JobRequest {
        idempotency_key: "bench".to_owned(),
        media_type: MediaType::Mp4,
        size_bytes,
        callback_url: format!("{url}/callback"),
        traceparent: None,
        content: Content::Push(body),
    };
    third_party.submit(request).await?;
    report()
}

/// Streams the bytes as `verify-returned-file` does.
async fn fetch(url: &str, size_bytes: u64) -> anyhow::Result<()> {
    let clients = Clients::load(Config::from_env()).await;
    let returned = ReturnedBucket::new(clients.s3(), "returned".to_owned());
    let third_party = ReturnedFileFetcher::new(url, Vec::new(), Network::Loopback, TIMEOUT);
    let file = ReturnedFile {
        name: "lesson.mp4".into(),
        role: FileRole::Attachment,
        url: format!("{url}/file"),
        size_bytes,
        sha256: "0".repeat(64),
        media_type: "video/mp4".to_owned(),
    };
    let body = third_party.fetch(&file).await?;
    let facts = returned.quarantine("quarantine/bench", body, size_bytes).await?;
    if facts.size_bytes != size_bytes {
        bail!("{} bytes came instead of {size_bytes}", facts.size_bytes);
    }
    report()
}

/// Prints the peak of this process's resident memory, in MiB.
fn report() -> anyhow::Result<()> {
    let status = std::fs::read_to_string("/proc/self/status").context("this needs Linux")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM is missing")?;
    let kib: u32 = peak.trim().trim_end_matches("kB").trim().parse()?;
    say(&format!("{}", f64::from(kib) / 1024.0))
}

/// All servers on one port: paths of buckets are S3, `/` is Secrets Manager, the rest is the third party.
async fn serve(size_bytes: u64) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    say(&format!("http://{}", listener.local_addr()?))?;
    let router = Router::new()
        .route("/", any(|| async { r#"{"ARN":"arn:key","Name":"key","SecretString":"key"}"# }))
        .route("/v1/jobs/push", any(take_document))
        .route("/file", get(|State(size): State<u64>| async move { zeros(StatusCode::OK, size) }))
        .route("/uploads/{*key}", get(object_range))
        .route("/returned/{*key}", any(take_part))
        .with_state(size_bytes);
    Ok(axum::serve(listener, router).await?)
}

async fn take_document(State(size): State<u64>, request: Request) -> Response {
    if swallow(request).await == size {
        (StatusCode::CREATED, r#"{"jobId":"bench"}"#).into_response()
    } else {
        StatusCode::BAD_REQUEST.into_response()
    }
}

async fn object_range(request: Request) -> Response {
    let range = request.headers().get(header::RANGE).and_then(|range| range.to_str().ok());
    let bounds = range
        .and_then(|range| range.strip_prefix("bytes=")?.split_once('-'))
        .and_then(|(first, last)| Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?)));
    match bounds {
        Some((first, last)) => zeros(StatusCode::PARTIAL_CONTENT, last + 1 - first),
        None => StatusCode::RANGE_NOT_SATISFIABLE.into_response(),
    }
}

/// Answers the requests of a multipart upload: its creation, its parts and its completion.
async fn take_part(request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let is_post = request.method() == http::Method::POST;
    swallow(request).await;
    if is_post && query.contains("uploads") {
        "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>"
            .into_response()
    } else if is_post {
        "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>".into_response()
    } else {
        ([(header::ETAG, "\"e\"")], "").into_response()
    }
}

async fn swallow(request: Request) -> u64 {
    let mut body = request.into_body().into_data_stream();
    let mut received = 0;
    while let Some(Ok(chunk)) = body.next().await {
        received += chunk.len() as u64;
    }
    received
}

fn zeros(status: StatusCode, size: u64) -> Response {
    let block = ZEROS.len() as u64;
    let chunks = (0..size.div_ceil(block)).map(move |index| {
        let length = usize::try_from(block.min(size - index * block)).unwrap_or_default();
        Ok::<_, io::Error>(Bytes::from_static(&ZEROS[..length]))
    });
    let body = Body::from_stream(stream::iter(chunks));
    (status, [(header::CONTENT_LENGTH, size.to_string())], body).into_response()
}
