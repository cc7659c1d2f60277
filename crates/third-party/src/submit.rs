//! The two ways to submit a document: as the request's body, or as a URL to fetch. The same idempotency key gets the
//! same job.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::{Body, BodyDataStream, to_bytes},
    extract::{ConnectInfo, State},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt as _;
use http::{HeaderMap, StatusCode, header};
use lectern::{
    contract::wire::{self, JobAccepted, PullRequest},
    limits::{MAX_SOURCE_URL_BYTES, MAX_URL_BYTES},
};
use lectern_content::MediaType;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};
use url::Url;

use crate::{
    admission::{admit, reserve},
    app::App,
    behaviour::Behaviour,
    connection::Cutter,
    fault_book::{Known, Pinned},
    faults::JobFault,
    intake::{Incoming, IntakeError, take_in},
    jobs::{Received, Submitted},
    limits::Lease,
    problem::Problem,
    refusal::{Cut, Refusal},
    requests::SubmissionView,
    run_job::{self, InFlight, Source, Work},
    traceparent::Traceparent,
};

const MAX_KEY_BYTES: usize = 255;
const MAX_PULL_BODY_BYTES: usize = 64 * 1024;
/// How much of a refused body is read, so that the client sees the answer and not a reset.
const MAX_DRAINED_BYTES: u64 = 64 * 1024 * 1024;
/// How long reading a refused body may take.
const MAX_DRAIN: Duration = Duration::from_mins(1);
/// How long an answer waits for an early callback.
const MAX_EARLY: Duration = Duration::from_secs(30);

/// `POST /v1/jobs/push`.
pub(crate) async fn push(
    State(app): State<Arc<App>>,
    ConnectInfo(cutter): ConnectInfo<Cutter>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let mut note = SubmissionView::begun(text(&headers, wire::IDEMPOTENCY_KEY).unwrap_or_default());
    let mut body = body.into_data_stream();
    let outcome = push_document(&app, &headers, &mut body, &mut note).await;
    match &outcome {
        // If the client were still sending, it would see a reset instead of the answer.
        Ok(_) => drain(&mut body, u64::MAX).await,
        Err(Refusal::Problem(_)) => drain(&mut body, MAX_DRAINED_BYTES).await,
        Err(Refusal::Cut) => {}
    }
    answer(&app, &cutter, note, outcome)
}

/// `POST /v1/jobs/pull`.
pub(crate) async fn pull(
    State(app): State<Arc<App>>,
    ConnectInfo(cutter): ConnectInfo<Cutter>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let mut note = SubmissionView::begun(text(&headers, wire::IDEMPOTENCY_KEY).unwrap_or_default());
    let outcome = pull_document(&app, &headers, body, &mut note).await;
    answer(&app, &cutter, note, outcome)
}

async fn push_document(
    app: &Arc<App>,
    headers: &HeaderMap,
    body: &mut BodyDataStream,
    note: &mut SubmissionView,
) -> Result<Submitted, Refusal> {
    admit(app, headers, note)?;
    let key = idempotency_key(headers)?;
    let callback_url = web_url(text(headers, wire::CALLBACK_URL).unwrap_or_default(), MAX_URL_BYTES)
        .ok_or_else(bad_callback_url)?;
    let media_type = text(headers, header::CONTENT_TYPE.as_str())
        .and_then(|value| value.parse::<MediaType>().ok())
        .ok_or_else(unknown_media_type)?;
    let length = text(headers, header::CONTENT_LENGTH.as_str())
        .and_then(|value| value.parse::<u64>().ok())
        .ok_or_else(|| {
        let message = "The Content-Length header with the document's exact size is missing.";
        Problem::new(StatusCode::LENGTH_REQUIRED, "lengthRequired", message)
    })?;
    let mut behaviour = Behaviour::default();
    if let Some(fault) = app.faults.submission(Known::Key(key)) {
        note.fault = Some(fault.clone());
        behaviour = Behaviour::of(&fault)?;
    }
    if let Some(existing) = app.jobs.resubmit(key) {
        return behaviour.finish(app, existing).await;
    }
    if length == 0 {
        let message = "An empty document cannot be processed.";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "empty", message).into());
    }
    check_size(app, length)?;

    let lease = reserve(app, key)?;
    let taken =
        take_in(&app.incoming_dir, body, length, behaviour.body_fault, &mut note.bytes_received).await;
    let incoming = taken.map_err(refuse_intake)?;
    if let Some(fault) = app.faults.submission(Known::Sha256(key, &incoming.received.sha256)) {
        note.fault = Some(fault.clone());
        behaviour = Behaviour::of(&fault)?;
        if behaviour.body_fault.cut_after.is_some() {
            return Err(Refusal::Cut);
        }
    }
    let order = Order { key, media_type, callback_url, traceparent: Traceparent::of(headers), lease };
    let submitted = submit(app, order, Taken::Pushed(incoming)).await;
    behaviour.finish(app, submitted).await
}

async fn pull_document(
    app: &Arc<App>,
    headers: &HeaderMap,
    body: Body,
    note: &mut SubmissionView,
) -> Result<Submitted, Refusal> {
    let admitted = admit(app, headers, note);
    // Read the body even if the request is refused, so that the client sees the answer and not a reset.
    let body = to_bytes(body, MAX_PULL_BODY_BYTES).await;
    admitted?;
    let key = idempotency_key(headers)?;
    let request = pull_request(&body.unwrap_or_default())?;
    let callback_url = web_url(&request.callback_url, MAX_URL_BYTES).ok_or_else(bad_callback_url)?;
    let url = web_url(&request.source_url, MAX_SOURCE_URL_BYTES).ok_or_else(|| {
        Problem::bad_request("sourceUrlInvalid", "The source URL is not a valid http or https URL.")
    })?;
    let mut behaviour = Behaviour::default();
    if let Some(fault) = app.faults.submission(Known::Key(key)) {
        note.fault = Some(fault.clone());
        behaviour = Behaviour::of(&fault)?;
    }
    if behaviour.body_fault.cut_after.is_some() {
        return Err(Refusal::Cut);
    }
    if let Some(existing) = app.jobs.resubmit(key) {
        return behaviour.finish(app, existing).await;
    }
    check_size(app, request.size_bytes)?;
    let taken = Taken::Pulled { url, size_bytes: request.size_bytes };
    let order = Order {
        key,
        media_type: request.media_type,
        callback_url,
        traceparent: Traceparent::of(headers),
        lease: reserve(app, key)?,
    };
    let submitted = submit(app, order, taken).await;
    behaviour.finish(app, submitted).await
}

struct Order<'h> {
    key: &'h str,
    media_type: MediaType,
    callback_url: Url,
    traceparent: Option<Traceparent>,
    lease: Lease,
}

enum Taken {
    Pushed(Incoming),
    Pulled { url: Url, size_bytes: u64 },
}

/// Creates the job and starts it. With the fault `earlyCallback`, waits for the callback.
async fn submit(app: &Arc<App>, order: Order<'_>, taken: Taken) -> Submitted {
    let Order { key, media_type, callback_url, traceparent, lease } = order;
    let received: Option<Received> = match &taken {
        Taken::Pushed(incoming) => Some(incoming.received.clone()),
        Taken::Pulled { .. } => None,
    };
    let submitted = app.jobs.submit(key, media_type, received.clone(), traceparent.clone());
    if !submitted.created {
        return submitted;
    }
    let in_flight = InFlight::begin(app, lease);
    let pinned: Pinned = match &received {
        Some(received) => app.faults.pin(Known::Both(key, &received.sha256)),
        None => app.faults.pin(Known::Key(key)),
    };
    let early = pinned.job.contains(&JobFault::EarlyCallback);
    let (called, wait_for_call) = oneshot::channel();
    let source = match taken {
        Taken::Pushed(incoming) => Source::Received(incoming),
        Taken::Pulled { url, size_bytes } => Source::Pull { url, size_bytes },
    };
    app.spawn(run_job::run(
        Arc::clone(app),
        Work {
            job_id: submitted.job_id.clone(),
            key: key.to_owned(),
            media_type,
            callback_url,
            source,
            pinned,
            accepted: Instant::now(),
            traceparent,
            in_flight,
            called,
        },
    ));
    if early {
        // If the job ends without a callback, or the timeout passes, the answer is sent anyway.
        let _ = timeout(MAX_EARLY, wait_for_call).await;
    }
    submitted
}

fn answer(
    app: &App,
    cutter: &Cutter,
    mut note: SubmissionView,
    outcome: Result<Submitted, Refusal>,
) -> Response {
    let response = match outcome {
        Ok(submitted) => {
            let status = if submitted.created { StatusCode::CREATED } else { StatusCode::OK };
            (status, Json(JobAccepted { job_id: submitted.job_id })).into_response()
        }
        Err(refusal) => refusal.into_response(cutter),
    };
    let cut = response.extensions().get::<Cut>().is_some();
    note.status = (!cut).then(|| response.status().as_u16());
    tracing::info!(status = note.status, bytes_received = note.bytes_received, "a submission was answered");
    app.requests.note(note);
    response
}

async fn drain(body: &mut BodyDataStream, mut budget: u64) {
    let drained = timeout(MAX_DRAIN, async {
        while let Some(Ok(chunk)) = body.next().await {
            budget = budget.saturating_sub(chunk.len() as u64);
            if budget == 0 {
                break;
            }
        }
    });
    // If the client is too slow, it may see a reset instead of the answer.
    let _ = drained.await;
}

fn idempotency_key(headers: &HeaderMap) -> Result<&str, Problem> {
    text(headers, wire::IDEMPOTENCY_KEY)
        .filter(|key| {
            (1..=MAX_KEY_BYTES).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
        })
        .ok_or_else(|| {
            let message = "Idempotency-Key is missing, or is not 1 to 255 visible ASCII characters.";
            Problem::bad_request("idempotencyKeyInvalid", message)
        })
}

fn pull_request(body: &[u8]) -> Result<PullRequest, Problem> {
    let invalid = || Problem::bad_request("bodyInvalid", "The body is not a PullRequest.");
    let value: serde_json::Value = serde_json::from_slice(body).map_err(|_| invalid())?;
    if value["mediaType"].as_str().is_some_and(|text| text.parse::<MediaType>().is_err()) {
        return Err(unknown_media_type());
    }
    serde_json::from_value(value).map_err(|_| invalid())
}

fn unknown_media_type() -> Problem {
    let message = "The service does not process documents with this media type.";
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "mediaTypeUnknown", message)
}

fn bad_callback_url() -> Problem {
    Problem::bad_request(
        "callbackUrlInvalid",
        "The callback URL is not an http or https URL of at most 2048 bytes.",
    )
}

fn check_size(app: &App, size_bytes: u64) -> Result<(), Problem> {
    if size_bytes <= app.config.max_document_bytes {
        return Ok(());
    }
    let message = format!("A document may have at most {} bytes.", app.config.max_document_bytes);
    Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "tooLarge", message))
}

fn refuse_intake(error: IntakeError) -> Refusal {
    match error {
        IntakeError::Cut => Refusal::Cut,
        // Not a 400, which would be final: the next submission may deliver the whole body.
        IntakeError::Incomplete | IntakeError::TooLong => {
            let message = "The body did not arrive with its declared Content-Length.";
            Problem::new(StatusCode::REQUEST_TIMEOUT, "bodyIncomplete", message).into()
        }
        IntakeError::Io(error) => {
            tracing::error!(%error, "a document could not be stored");
            Problem::internal().into()
        }
    }
}

fn web_url(text: &str, max_bytes: usize) -> Option<Url> {
    if text.len() > max_bytes {
        return None;
    }
    Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some())
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
