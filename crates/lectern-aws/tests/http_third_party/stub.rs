//! Tests the adapter with the stub that a stage on AWS is tried with (`tools/smoke/stub`), which so keeps the contract.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use lectern::{
    contract::network::Network,
    contract::webhook::SigningSecrets,
    contract::wire::{FileRole, JobStatus, JobSucceeded},
    document::JobResult,
    error::Error,
    ports::{Clock as _, Fetch as _, JobRequest, ThirdParty as _},
};
use lectern_aws::{HttpThirdParty, SystemClock, http_third_party::ReturnedFileFetcher};
use lectern_content::MediaType;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::support::{API_KEY, KEY, NOTES, TRACE, adapter, collect, pull, push, server, sha256};

const SIGNING_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PATIENCE: Duration = Duration::from_secs(20);

type Delivery = (HeaderMap, Bytes);

/// The stub as a process of its own, and a receiver of its callbacks.
struct Stub {
    process: Child,
    url: String,
    callback_url: String,
    deliveries: UnboundedReceiver<Delivery>,
}

impl Stub {
    async fn start() -> Self {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/smoke/stub/local_server.py");
        let mut process = Command::new("python3")
            .args(["-B", program, API_KEY, SIGNING_SECRET])
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        let mut url = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let (sender, deliveries) = unbounded_channel();
        let receive = async |State(sender): State<UnboundedSender<Delivery>>, headers, body| {
            sender.send((headers, body)).unwrap();
        };
        let receiver =
            server(Router::new().route("/callbacks/secret", post(receive)).with_state(sender)).await;
        let callback_url = format!("{receiver}/callbacks/secret");
        Self { process, url: url.trim().to_owned(), callback_url, deliveries }
    }

    fn adapter(&self) -> HttpThirdParty {
        adapter(&self.url, API_KEY, PATIENCE)
    }

    fn request(&self, request: JobRequest) -> JobRequest {
        JobRequest { callback_url: self.callback_url.clone(), ..request }
    }

    /// The next callback, verified and parsed as receive-callback does; the code of an error.
    async fn result(&mut self) -> Result<JobSucceeded, String> {
        let delivery = tokio::time::timeout(PATIENCE, self.deliveries.recv()).await;
        let (headers, body) = delivery.expect("a callback comes").unwrap();
        assert_eq!(headers["traceparent"], TRACE);
        let secrets = SigningSecrets::parse(SIGNING_SECRET).unwrap();
        let verified = HttpThirdParty::verify_callback(&headers, &body, &secrets, SystemClock.now()).unwrap();
        match verified.result.unwrap() {
            JobResult::Succeeded(job) => Ok(job),
            JobResult::Failed(job) => Err(job.error.code),
        }
    }

    async fn status(&self) -> JobSucceeded {
        match self.adapter().status(KEY).await.unwrap() {
            Some(JobStatus::Succeeded(job)) => job,
            other => panic!("not succeeded: {other:?}"),
        }
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn pushed_text_has_one_job_and_comes_back_as_declared() {
    let mut stub = Stub::start().await;
    let job_id = stub.adapter().submit(stub.request(push(NOTES))).await.unwrap();
    let called_back = stub.result().await.unwrap();
    let again = stub.adapter().submit(stub.request(push(b"another text"))).await.unwrap();
    assert_eq!(again, job_id, "a known key has one job");
    let job = stub.status().await;
    assert_eq!(job.job_id, job_id);
    assert_eq!(job, called_back, "a probe is answered like the callback");
    let fetcher = ReturnedFileFetcher::new(&stub.url, Vec::new(), Network::Loopback, PATIENCE);
    for file in &job.files {
        let (bytes, whole) = collect(fetcher.fetch(file).await.unwrap()).await;
        assert!(whole);
        assert_eq!((bytes.len() as u64, sha256(&bytes)), (file.size_bytes, file.sha256.clone()));
        assert!(file.role != FileRole::Text || bytes == NOTES);
    }
    let roles: Vec<&FileRole> = job.files.iter().map(|file| &file.role).collect();
    assert_eq!(roles, [&FileRole::Text, &FileRole::Findings]);
}

#[tokio::test]
async fn pulled_document_is_fetched_and_a_source_of_another_size_fails_the_job() {
    let source = server(Router::new().route("/source", axum::routing::get(async || NOTES))).await;
    let mut stub = Stub::start().await;
    stub.adapter().submit(stub.request(pull(format!("{source}/source")))).await.unwrap();
    stub.result().await.unwrap();
    let mut short = stub.request(pull(format!("{source}/source")));
    (short.idempotency_key, short.size_bytes) = ("0f7c3c52-6f1a-5f43-9f3b-1f0e6d7a2b43-2".to_owned(), 5);
    stub.adapter().submit(short).await.unwrap();
    assert_eq!(stub.result().await.unwrap_err(), "sourceUnreadable");
}

#[tokio::test]
async fn truncated_video_fails_and_a_whole_one_has_media_facts_and_captions() {
    let samples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples");
    let mut stub = Stub::start().await;
    for (round, sample) in ["lesson.mp4", "bad/truncated.mp4"].into_iter().enumerate() {
        let bytes = std::fs::read(samples.join(sample)).unwrap();
        let mut request = stub.request(push(&bytes));
        request.idempotency_key = format!("0f7c3c52-6f1a-5f43-9f3b-1f0e6d7a2b43-{round}");
        request.media_type = MediaType::Mp4;
        stub.adapter().submit(request).await.unwrap();
        let files = stub.result().await.map(|job| job.files.len());
        assert_eq!(files, if round == 0 { Ok(2) } else { Err("truncated".to_owned()) }, "{sample}");
    }
}

#[tokio::test]
async fn wrong_key_is_refused_and_an_unknown_job_is_unknown() {
    let stub = Stub::start().await;
    let stranger = adapter(&stub.url, "another-key", PATIENCE);
    let refused = stranger.submit(stub.request(push(NOTES))).await.unwrap_err();
    assert!(matches!(refused, Error::Unauthorized), "{refused:?}");
    assert!(stub.adapter().status(KEY).await.unwrap().is_none());
    let empty = stub.adapter().submit(stub.request(push(b""))).await.unwrap_err();
    assert!(matches!(&empty, Error::Rejected(..)), "{empty:?}");
}
