//! Sends declared files to S3.

mod content;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use backon::Retryable as _;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryFutureExt as _, TryStreamExt as _, stream};
use indicatif::ProgressBar;
use reqwest::{
    Body, RequestBuilder, StatusCode,
    header::CONTENT_LENGTH,
    multipart::{Form, Part},
};
use serde_json::json;
use tokio::sync::Semaphore;

use self::content::Content;
use super::{declare::Work, files::LocalFile};
use crate::{
    api::{
        Call, Client,
        failure::{Failure, Refusal},
        http,
        wire::{SignedPart, SignedParts, UploadPlan, UploadedPart},
    },
    problem::Problem,
};

/// Up to this size, the API plans one request, and S3 checks the whole file's SHA-256.
const FORM_BYTES: u64 = 8 * 1024 * 1024;
/// A request of which nothing was sent or answered for so long is given up and repeated.
const STALL: Duration = Duration::from_mins(1);
/// The content is passed on in pieces of this size, so that progress is seen.
const PIECE_BYTES: usize = 64 * 1024;
/// How often parts that S3 lacks at the end are sent again.
const COMPLETIONS: usize = 3;

pub(super) struct Sender<'a> {
    client: &'a Client,
    submission: &'a str,
    bar: ProgressBar,
    parallel: usize,
    /// One permit for each request with content.
    permits: Semaphore,
}

impl<'a> Sender<'a> {
    pub(super) fn new(client: &'a Client, submission: &'a str, bar: ProgressBar, parallel: usize) -> Self {
        Self { client, submission, bar, parallel, permits: Semaphore::new(parallel) }
    }

    /// Sends a file; returns how many bytes of it S3 had before.
    pub(super) async fn send(&self, work: &Work) -> Result<u64, Problem> {
        if work.file.size_bytes <= FORM_BYTES {
            self.send_small(work).await.map(|()| 0)
        } else {
            match self.plan(work, None).await? {
                UploadPlan::Parts { part_size_bytes, part_count, uploaded } => {
                    self.send_parts(work, part_size_bytes, part_count, uploaded).await
                }
                // A file of this size would not fit into the memory that the command promises.
                UploadPlan::Post { .. } => Err(Failure::Unreadable.into()),
            }
        }
    }

    async fn plan(&self, work: &Work, checksum: Option<&str>) -> Result<UploadPlan, Failure> {
        let path = ["submissions", self.submission, "files", &work.file_id, "upload"];
        let body = checksum.map_or_else(|| json!({}), |checksum| json!({ "checksumSha256": checksum }));
        self.client.read(Call::post(&path, body)).await
    }

    async fn send_small(&self, work: &Work) -> Result<(), Problem> {
        let _permit = self.permits.acquire().await;
        let content = Content::read(&work.file, 0, work.file.size_bytes).await?;
        check_unchanged(&work.file)?;
        // Each attempt has a form of its own, because one that waited for the network may have expired.
        let was_posted = AtomicBool::new(false);
        let attempt = async || match self.plan(work, Some(&content.checksum)).await {
            Ok(UploadPlan::Post { url, fields }) => {
                was_posted.store(true, Ordering::Relaxed);
                let length = content.bytes.len() as u64;
                let sent = Sent::new(&self.bar);
                let file = Part::stream_with_length(sent.body(&content.bytes), length)
                    .file_name(work.file.name.clone());
                let form = fields.into_iter().fold(Form::new(), |form, (name, value)| form.text(name, value));
                self.exchange(self.client.http.post(url).multipart(form.part("file", file)), &sent).await
            }
            Ok(UploadPlan::Parts { .. }) => Err(NotSent::for_good(Failure::Unreadable)),
            Err(failure) => Err(NotSent::for_good(failure)),
        };
        let sent = attempt.retry(self.client.pace.backoff()).when(|error| error.is_temporary).await;
        match sent {
            // The answer to an attempt before was lost.
            Err(error) if error.is_not_pending && was_posted.into_inner() => {
                self.check_arrived(&work.file).await
            }
            sent => Ok(sent?),
        }
    }

    async fn send_parts(
        &self,
        work: &Work,
        part_size_bytes: u64,
        part_count: u32,
        mut uploaded: Vec<UploadedPart>,
    ) -> Result<u64, Problem> {
        let kept_bytes = AtomicU64::new(0);
        let mut numbers: Vec<u32> = (1..=part_count).collect();
        for _ in 0..COMPLETIONS {
            stream::iter(numbers.into_iter().map(Ok))
                .try_for_each_concurrent(self.parallel, |number| {
                    let here = uploaded.iter().find(|part| part.part_number == number);
                    let sending = self.send_part(work, number, part_size_bytes, here);
                    sending.map_ok(|kept| {
                        kept_bytes.fetch_add(kept, Ordering::Relaxed);
                    })
                })
                .await?;
            check_unchanged(&work.file)?;
            let path = ["submissions", self.submission, "files", &work.file_id, "complete"];
            match self.client.call(&Call::post(&path, json!({}))).await {
                Ok(_) => return Ok(kept_bytes.into_inner()),
                // The answer to a completion before was lost.
                Err(failure) if failure.kind() == "not-found" => {
                    self.check_arrived(&work.file).await?;
                    return Ok(kept_bytes.into_inner());
                }
                Err(Failure::Refused(Refusal { kind, missing, .. })) if kind == "incomplete-upload" => {
                    numbers = missing;
                    uploaded.clear();
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        Err(Problem::new(
            "the storage lacks parts that were sent",
            "Run the command again with --submission.",
        ))
    }

    /// Sends a part unless S3 has it; returns how many bytes S3 had.
    async fn send_part(
        &self,
        work: &Work,
        number: u32,
        part_size_bytes: u64,
        uploaded: Option<&UploadedPart>,
    ) -> Result<u64, Problem> {
        let _permit = self.permits.acquire().await;
        let start = u64::from(number - 1) * part_size_bytes;
        let length = part_size_bytes.min(work.file.size_bytes.saturating_sub(start));
        let content = Content::read(&work.file, start, length).await?;
        let is_same =
            |part: &UploadedPart| part.size_bytes == length && part.checksum_sha256 == content.checksum;
        if uploaded.is_some_and(is_same) {
            self.bar.inc(length);
            return Ok(length);
        }
        // Each attempt has a signature of its own, because one that waited for the network may have expired.
        let attempt = async || {
            let SignedPart { url, headers } = self.sign(work, number, &content.checksum).await?;
            let sent = Sent::new(&self.bar);
            let request = self.client.http.put(url).header(CONTENT_LENGTH, content.bytes.len());
            let request =
                headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
            self.exchange(request.body(sent.body(&content.bytes)), &sent).await
        };
        attempt.retry(self.client.pace.backoff()).when(|error: &NotSent| error.is_temporary).await?;
        Ok(0)
    }

    async fn sign(&self, work: &Work, number: u32, checksum: &str) -> Result<SignedPart, NotSent> {
        let path = ["submissions", self.submission, "files", &work.file_id, "parts"];
        let body = json!({ "parts": [{ "partNumber": number, "checksumSha256": checksum }] });
        let signed = self.client.read::<SignedParts>(Call::post(&path, body)).await;
        let signed = signed.map_err(NotSent::for_good)?.parts.into_iter().next();
        signed.ok_or_else(|| NotSent::for_good(Failure::Unreadable))
    }

    /// Sends a request with content, unless nothing moves for [`STALL`].
    async fn exchange(&self, request: RequestBuilder, sent: &Sent) -> Result<(), NotSent> {
        let answer = async {
            let mut answer = std::pin::pin!(request.send());
            let mut before = 0;
            loop {
                if let Ok(answer) = tokio::time::timeout(STALL, &mut answer).await {
                    return answer.map_err(|error| NotSent::lost(&http::describe(&error)));
                }
                let now = sent.bytes.load(Ordering::Relaxed);
                if now == before {
                    return Err(NotSent::lost("nothing was sent for a minute"));
                }
                before = now;
            }
        };
        let result = match answer.await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(NotSent::refused(answer.status())),
            Err(lost) => Err(lost),
        };
        if result.is_err() {
            self.bar.set_position(self.bar.position().saturating_sub(sent.bytes.load(Ordering::Relaxed)));
        }
        result
    }

    /// Whether a file that is not pending any more has arrived.
    async fn check_arrived(&self, file: &LocalFile) -> Result<(), Problem> {
        let detail = self.client.submission(self.submission).await?;
        if detail.documents.iter().any(|document| file.is(&document.file_name, document.size_bytes)) {
            return Ok(());
        }
        Err(Problem::not_found(
            "the submission no longer lists this file",
            "Somebody has removed it from the submission. Run the command again with --submission to add it again.",
        ))
    }
}

fn check_unchanged(file: &LocalFile) -> Result<(), Problem> {
    if file.is_unchanged() {
        return Ok(());
    }
    Err(Problem::new("the file was changed while it was sent", "Run the command again with --submission."))
}

/// How much of a request's content the connection has taken.
struct Sent {
    bytes: Arc<AtomicU64>,
    bar: ProgressBar,
}

impl Sent {
    fn new(bar: &ProgressBar) -> Self {
        Self { bytes: Arc::default(), bar: bar.clone() }
    }

    fn body(&self, content: &Bytes) -> Body {
        let (content, sent, bar) = (content.clone(), Arc::clone(&self.bytes), self.bar.clone());
        let pieces = stream::iter((0..content.len()).step_by(PIECE_BYTES)).map(move |start| {
            let piece = content.slice(start..content.len().min(start + PIECE_BYTES));
            sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
            bar.inc(piece.len() as u64);
            Ok::<_, std::convert::Infallible>(piece)
        });
        Body::wrap_stream(pieces)
    }
}

/// Why content was not sent. It names no URL.
#[derive(Debug)]
struct NotSent {
    problem: Problem,
    is_temporary: bool,
    /// The API does not know the file as pending.
    is_not_pending: bool,
}

impl NotSent {
    /// The API's failures, which the client has repeated already.
    fn for_good(failure: Failure) -> Self {
        let is_not_pending = failure.kind() == "not-found";
        Self { problem: failure.into(), is_temporary: false, is_not_pending }
    }

    fn lost(what: &str) -> Self {
        let problem = Problem::new(
            format!("the connection to the storage was lost: {what}"),
            "Check the network, then run the command again with --submission.",
        );
        Self { problem, is_temporary: true, is_not_pending: false }
    }

    /// S3 answers 403 to a signature that has expired, and 400 to content that was damaged or came too slowly.
    fn refused(status: StatusCode) -> Self {
        let is_temporary = status.is_server_error()
            || matches!(
                status,
                StatusCode::BAD_REQUEST
                    | StatusCode::FORBIDDEN
                    | StatusCode::REQUEST_TIMEOUT
                    | StatusCode::TOO_MANY_REQUESTS
            );
        let problem = Problem::new(
            format!("the storage answered with {}", status.as_u16()),
            "Run the command again with --submission.",
        );
        Self { problem, is_temporary, is_not_pending: false }
    }
}

impl From<NotSent> for Problem {
    fn from(error: NotSent) -> Self {
        error.problem
    }
}
