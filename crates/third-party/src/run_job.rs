//! Runs one job from its acceptance to its callbacks: fetches the document, processes it, waits, and reports.

use std::{io, sync::Arc, time::Duration};

use http::StatusCode;
use lectern::contract::wire::{CallbackEvent, FileRole, JobError, JobFailed, JobSucceeded, ReturnedFile};
use lectern_content::MediaType;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until},
};
use url::Url;

use crate::{
    app::App,
    callbacks::{self, FirstAttempt, Receiver},
    fault_book::{Known, Pinned},
    faults::{FileFault, JobFault, ReportedStatus},
    intake::{BodyFault, Incoming, IntakeError, take_in},
    jobs::Reported,
    limits::Lease,
    traceparent::Traceparent,
    usage::Running,
    work,
};

/// The number of attempts to fetch a document before its job fails.
const PULL_TRIES: u32 = 4;
const PULL_BACKOFF: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(crate) enum Source {
    /// The document was pushed and is on disk.
    Received(Incoming),
    /// The document has to be fetched.
    Pull {
        /// The presigned URL.
        url: Url,
        /// The declared size.
        size_bytes: u64,
    },
}

/// An accepted job.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) job_id: String,
    pub(crate) key: String,
    pub(crate) media_type: MediaType,
    pub(crate) callback_url: Url,
    pub(crate) source: Source,
    pub(crate) pinned: Pinned,
    pub(crate) accepted: Instant,
    pub(crate) traceparent: Option<Traceparent>,
    pub(crate) in_flight: InFlight,
    /// Notified after the first attempt to send a callback.
    pub(crate) called: oneshot::Sender<()>,
}

/// A job that is in flight until this is dropped. `_measured` is dropped first, so that the measured number of jobs
/// never exceeds the number of leases.
#[derive(Debug)]
pub(crate) struct InFlight {
    _measured: Running,
    _lease: Lease,
}

impl InFlight {
    /// Starts to measure an accepted job, which holds `lease`.
    pub(crate) fn begin(app: &App, lease: Lease) -> Self {
        Self { _measured: app.usage.job_began(), _lease: lease }
    }
}

/// Runs the job to its end. If processing fails, the callback is `job.failed`. If all attempts to send the callback
/// fail, the status endpoint still returns the result.
pub(crate) async fn run(app: Arc<App>, work: Work) {
    let Work { job_id, key, media_type, callback_url, source, mut pinned, accepted, .. } = work;
    let Work { traceparent, in_flight, called, .. } = work;
    let event = match obtain(&app, source).await {
        Ok(incoming) => {
            let known_now = app.jobs.received(&job_id, incoming.received.clone());
            if known_now {
                pinned.extend(app.faults.pin(Known::Sha256(&key, &incoming.received.sha256)));
            }
            process(&app, &job_id, &key, media_type, incoming, &pinned).await
        }
        Err(error) => failed(&job_id, error),
    };
    if app.jobs.is_erased(&job_id) {
        // The job was erased while it ran, so its files may have been stored since.
        if let Err(error) = app.files.erase(&key).await {
            tracing::error!(%error, "a result file could not be deleted");
        }
        return;
    }
    let event = after_faults(&job_id, event, &pinned);
    let timing = Timing::of(&pinned, app.config.delay);
    sleep_until(accepted + timing.finished).await;
    let messages = callbacks::messages(&job_id, &event, &pinned);
    // The status endpoint returns the result of the first callback, even if a second one contradicts it.
    let event = messages.first().map_or(event, |first| first.event.clone());
    let reported = match timing.reported {
        Some(ReportedStatus::Working) => Reported::Working,
        Some(ReportedStatus::Unknown) => Reported::Unknown,
        Some(ReportedStatus::Succeeded) | None => Reported::Final(event.clone()),
    };
    app.jobs.report(&job_id, reported);
    if pinned.job.iter().any(|fault| matches!(fault, JobFault::NoCallback { .. })) {
        // As if the callback were lost: the job is no longer in flight.
        return;
    }
    sleep_until(accepted + timing.called_back).await;
    app.jobs.report(&job_id, Reported::Final(event));
    let receiver = Receiver { job_id: &job_id, url: &callback_url, traceparent: traceparent.as_ref() };
    callbacks::send(&app, receiver, &messages, FirstAttempt { in_flight, called }).await;
}

async fn obtain(app: &App, source: Source) -> Result<Incoming, JobError> {
    let (url, size_bytes) = match source {
        Source::Received(incoming) => return Ok(incoming),
        Source::Pull { url, size_bytes } => (url, size_bytes),
    };
    for tried in 0..PULL_TRIES {
        sleep(PULL_BACKOFF * tried).await;
        match pull(app, &url, size_bytes).await {
            Ok(incoming) => return Ok(incoming),
            // The error is logged without the URL, which is a secret.
            Err(error) => tracing::warn!(%error, tried, "a document could not be fetched"),
        }
    }
    let message =
        "The document could not be fetched from its source URL, or its size differs from the declared size.";
    Err(JobError { code: "sourceUnreadable".to_owned(), message: message.into() })
}

async fn pull(app: &App, url: &Url, size_bytes: u64) -> Result<Incoming, PullError> {
    let response = app.http.get(url.clone()).send().await.map_err(reqwest::Error::without_url)?;
    if response.status() != StatusCode::OK {
        return Err(PullError::Status(response.status()));
    }
    if response.content_length().is_some_and(|length| length != size_bytes) {
        return Err(PullError::Size);
    }
    let mut taken = 0;
    Ok(take_in(&app.incoming_dir, response.bytes_stream(), size_bytes, BodyFault::default(), &mut taken)
        .await?)
}

#[derive(Debug, thiserror::Error)]
enum PullError {
    #[error("the source URL cannot be reached")]
    Http(#[from] reqwest::Error),
    #[error("the source URL answered {0}")]
    Status(StatusCode),
    #[error("the document's size differs from the declared size")]
    Size,
    #[error(transparent)]
    Intake(#[from] IntakeError),
}

async fn process(
    app: &App,
    job_id: &str,
    key: &str,
    media_type: MediaType,
    incoming: Incoming,
    pinned: &Pinned,
) -> CallbackEvent {
    let sha256 = incoming.received.sha256.clone();
    // The semaphore is never closed, so this cannot fail.
    let permit = app.working.acquire().await.ok();
    let incoming = Arc::new(incoming);
    let read = Arc::clone(&incoming);
    let produced = tokio::task::spawn_blocking(move || work::process(&read, media_type)).await;
    let produced = match produced {
        Ok(Ok(produced)) => produced,
        Ok(Err(error)) => return failed(job_id, error),
        Err(_panicked_or_stopped) => return failed(job_id, work::unreadable()),
    };
    drop(permit);
    let mut files = Vec::with_capacity(produced.len());
    for produced in produced {
        match app.files.store(produced, &app.public_url, key, &sha256).await {
            Ok(file) => files.push(file),
            Err(error) => return failed(job_id, not_stored(&error)),
        }
    }
    if pinned.job.contains(&JobFault::ReturnDocument) {
        match app.files.keep(&incoming, media_type, &app.public_url, key).await {
            Ok(file) => files.push(file),
            Err(error) => return failed(job_id, not_stored(&error)),
        }
    }
    for (role, fault) in &pinned.declared {
        for file in files.iter_mut().filter(|file| role.is_none_or(|only| only == file.role)) {
            redeclare(file, fault);
        }
    }
    if let (Some(count), Some(first)) = (many_files(pinned), files.first().cloned()) {
        files.resize(count, ReturnedFile { role: FileRole::Attachment, ..first });
    }
    CallbackEvent::Succeeded(JobSucceeded { job_id: job_id.to_owned(), files })
}

fn not_stored(error: &io::Error) -> JobError {
    tracing::error!(%error, "a result could not be stored");
    let message = "The service could not store its result. Submit the file again.";
    JobError { code: "internal".to_owned(), message: message.into() }
}

fn many_files(pinned: &Pinned) -> Option<usize> {
    pinned
        .job
        .iter()
        .find_map(|fault| if let JobFault::ManyFiles { count } = fault { Some(*count) } else { None })
}

fn redeclare(file: &mut ReturnedFile, fault: &FileFault) {
    match fault {
        FileFault::DeclaredSize { extra_bytes } => {
            file.size_bytes = file.size_bytes.saturating_add(*extra_bytes);
        }
        FileFault::DeclaredSha256 { sha256 } => {
            file.sha256 = sha256.clone().unwrap_or_else(|| "0".repeat(64));
        }
        FileFault::DeclaredMediaType { media_type } => file.media_type.clone_from(media_type),
        FileFault::FileName { name } => file.name = name.as_str().into(),
        FileFault::FileUrl { url } => file.url.clone_from(url),
        FileFault::FileTruncated { .. }
        | FileFault::FileAltered
        | FileFault::FileOversized { .. }
        | FileFault::FileMissing
        | FileFault::FileUnavailable { .. }
        | FileFault::FileRedirect { .. } => {}
    }
}

/// The job's result, which a fault may turn into a failure.
fn after_faults(job_id: &str, event: CallbackEvent, pinned: &Pinned) -> CallbackEvent {
    let asked = pinned.job.iter().find_map(|fault| match fault {
        JobFault::JobFails { code, message } => {
            Some(JobError { code: code.clone(), message: message.clone().into() })
        }
        JobFault::NoCallback { .. }
        | JobFault::EarlyCallback
        | JobFault::LateCallback { .. }
        | JobFault::DoubleCallback { .. }
        | JobFault::ContradictoryCallback { .. }
        | JobFault::DefectiveCallback { .. }
        | JobFault::ReturnDocument
        | JobFault::ManyFiles { .. } => None,
    });
    asked.map_or(event, |error| failed(job_id, error))
}

/// A success for contradictory callbacks: the real one, or one without files.
pub(crate) fn succeeded_anyway(job_id: &str, event: CallbackEvent) -> CallbackEvent {
    match event {
        CallbackEvent::Succeeded(succeeded) => CallbackEvent::Succeeded(succeeded),
        CallbackEvent::Failed(_) => {
            CallbackEvent::Succeeded(JobSucceeded { job_id: job_id.to_owned(), files: Vec::new() })
        }
    }
}

pub(crate) fn failed(job_id: &str, error: JobError) -> CallbackEvent {
    CallbackEvent::Failed(JobFailed { job_id: job_id.to_owned(), error })
}

/// The times of a job, measured from its acceptance.
struct Timing {
    finished: Duration,
    called_back: Duration,
    /// The answer of the status endpoint between these times, if a fault decides it.
    reported: Option<ReportedStatus>,
}

impl Timing {
    fn of(pinned: &Pinned, delay: Duration) -> Self {
        let usual = Self { finished: delay, called_back: delay, reported: None };
        pinned.job.iter().fold(usual, |timing, fault| match fault {
            JobFault::EarlyCallback => {
                Self { finished: Duration::ZERO, called_back: Duration::ZERO, ..timing }
            }
            JobFault::LateCallback { delay_ms, status } => {
                Self { called_back: Duration::from_millis(*delay_ms), reported: Some(*status), ..timing }
            }
            JobFault::NoCallback { status } => Self { reported: Some(*status), ..timing },
            JobFault::DoubleCallback { .. }
            | JobFault::ContradictoryCallback { .. }
            | JobFault::DefectiveCallback { .. }
            | JobFault::JobFails { .. }
            | JobFault::ReturnDocument
            | JobFault::ManyFiles { .. } => timing,
        })
    }
}
