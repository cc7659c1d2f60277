//! Callbacks: signs them, retries them until the receiver accepts them, and applies the faults of a job.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use lectern::{
    contract::webhook::{WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP, sign},
    contract::wire::{Callback, CallbackEvent, JobError},
    error::rfc3339,
};
use tokio::{sync::oneshot, time::sleep};
use url::Url;
use uuid::Uuid;

use crate::{
    app::App,
    clock,
    fault_book::Pinned,
    faults::{CallbackDefect, Contradiction, JobFault},
    jobs::CallbackView,
    run_job::{InFlight, failed, succeeded_anyway},
    traceparent::{TRACEPARENT, Traceparent},
};

/// The timeout for the receiver's answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
const FAULTY_TIMESTAMP_OFFSET: time::Duration = time::Duration::hours(1);

/// Sends the callbacks of a job one after the other.
pub(crate) async fn send(app: &App, receiver: Receiver<'_>, messages: &[Message], first: FirstAttempt) {
    let mut first = Some(first);
    for message in messages {
        deliver(app, receiver, message, &mut first).await;
    }
}

/// The receiver of a job's callbacks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receiver<'a> {
    pub(crate) job_id: &'a str,
    pub(crate) url: &'a Url,
    pub(crate) traceparent: Option<&'a Traceparent>,
}

/// What happens around the first delivery attempt of a job.
#[derive(Debug)]
pub(crate) struct FirstAttempt {
    /// Dropped just before the first attempt, because the receiver may then submit the next document at once.
    pub(crate) in_flight: InFlight,
    /// Notified after the first attempt, successful or not.
    pub(crate) called: oneshot::Sender<()>,
}

/// One callback to send.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) event: CallbackEvent,
    webhook_id: String,
    name: &'static str,
    body: Bytes,
    defect: Option<CallbackDefect>,
}

impl Message {
    fn new(event: CallbackEvent) -> Self {
        let name = match &event {
            CallbackEvent::Succeeded(_) => "job.succeeded",
            CallbackEvent::Failed(_) => "job.failed",
        };
        let callback = Callback { timestamp: rfc3339(clock::now()), event: event.clone() };
        // Serialising plain structs with string keys cannot fail.
        let body = serde_json::to_vec(&callback).unwrap_or_default().into();
        Self { webhook_id: format!("evt_{}", Uuid::new_v4().simple()), event, name, body, defect: None }
    }
}

/// The callbacks about a job that ended with `event`, as changed by the job's faults.
pub(crate) fn messages(job_id: &str, event: &CallbackEvent, pinned: &Pinned) -> Vec<Message> {
    let withdrawn = || JobError { code: "withdrawn".to_owned(), message: "The result was withdrawn.".into() };
    let mut messages = vec![Message::new(event.clone())];
    for fault in &pinned.job {
        match fault {
            JobFault::ContradictoryCallback { order } => {
                let bad = match event {
                    CallbackEvent::Failed(_) => event.clone(),
                    CallbackEvent::Succeeded(_) => failed(job_id, withdrawn()),
                };
                let good = succeeded_anyway(job_id, event.clone());
                messages = match order {
                    Contradiction::SucceededThenFailed => vec![Message::new(good), Message::new(bad)],
                    Contradiction::FailedThenSucceeded => vec![Message::new(bad), Message::new(good)],
                };
            }
            JobFault::DoubleCallback { same_id } => {
                let again = messages.first().cloned();
                messages.extend(again.map(|first| Message {
                    webhook_id: if *same_id {
                        first.webhook_id
                    } else {
                        format!("{}_again", first.webhook_id)
                    },
                    ..first
                }));
            }
            JobFault::DefectiveCallback { defect, then_proper } => {
                let proper = if *then_proper { messages.clone() } else { Vec::new() };
                for message in &mut messages {
                    message.defect = Some(*defect);
                }
                messages.extend(proper);
            }
            JobFault::NoCallback { .. }
            | JobFault::EarlyCallback
            | JobFault::LateCallback { .. }
            | JobFault::JobFails { .. }
            | JobFault::ReturnDocument
            | JobFault::ManyFiles { .. } => {}
        }
    }
    messages
}

/// Sends the callback until the receiver accepts it (2xx), refuses it for good (401, 410), all attempts have failed, or the
/// job is erased.
async fn deliver(app: &App, receiver: Receiver<'_>, message: &Message, first: &mut Option<FirstAttempt>) {
    let job_id = receiver.job_id;
    let mut pause = app.config.callback_backoff;
    for tried in 1..=app.config.callback_tries {
        if app.jobs.is_erased(job_id) {
            return;
        }
        let sent_at = rfc3339(clock::now());
        let (in_flight, called) = first.take().map(|first| (first.in_flight, first.called)).unzip();
        let answer = attempt(app, receiver, message, in_flight).await;
        let (status, error) = match &answer {
            Ok(status) => (Some(status.as_u16()), None),
            Err(error) => (None, Some(kind(error))),
        };
        tracing::info!(job_id, event = message.name, status, error, tried, "a callback was sent");
        app.jobs.called_back(
            job_id,
            CallbackView {
                webhook_id: message.webhook_id.clone(),
                event: message.name.to_owned(),
                status,
                error: error.map(str::to_owned),
                sent_at,
                ended_at: rfc3339(clock::now()),
            },
        );
        if let Some(called) = called {
            // Without the fault `earlyCallback`, the channel has no receiver.
            let _ = called.send(());
        }
        let over = answer.is_ok_and(|status| {
            status.is_success() || status == StatusCode::UNAUTHORIZED || status == StatusCode::GONE
        });
        if over {
            return;
        }
        if tried < app.config.callback_tries {
            sleep(pause).await;
            pause = (pause * 2).min(app.config.callback_backoff_max);
        }
    }
    tracing::warn!(job_id, event = message.name, "all attempts to send a callback have failed");
}

async fn attempt(
    app: &App,
    receiver: Receiver<'_>,
    message: &Message,
    in_flight: Option<InFlight>,
) -> Result<StatusCode, reqwest::Error> {
    // The semaphore is never closed, so this cannot fail.
    let _permit = app.calling_back.acquire().await.ok();
    drop(in_flight);
    let mut headers = headers(app, message);
    if let Some(traceparent) = receiver.traceparent.and_then(Traceparent::header) {
        headers.insert(TRACEPARENT, traceparent);
    }
    let response = app
        .http
        .post(receiver.url.clone())
        .headers(headers)
        .timeout(ANSWER_WITHIN)
        .body(message.body.clone())
        .send()
        .await?;
    Ok(response.status())
}

/// The headers of one attempt: each attempt has its own timestamp, but all share the callback's id.
fn headers(app: &App, message: &Message) -> HeaderMap {
    let now = clock::now();
    let timestamp = match message.defect {
        Some(CallbackDefect::StaleTimestamp) => now - FAULTY_TIMESTAMP_OFFSET,
        Some(CallbackDefect::FutureTimestamp) => now + FAULTY_TIMESTAMP_OFFSET,
        Some(
            CallbackDefect::BadSignature
            | CallbackDefect::MissingSignature
            | CallbackDefect::MissingId
            | CallbackDefect::MissingTimestamp,
        )
        | None => now,
    };
    // A signature of another body is invalid with every secret that the receiver may have.
    let signed: &[u8] =
        if message.defect == Some(CallbackDefect::BadSignature) { b"another" } else { &message.body };
    let signatures: Vec<String> = app
        .config
        .secrets
        .signing
        .iter()
        .map(|secret| sign(secret, &message.webhook_id, timestamp, signed))
        .collect();
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut put = |name: &'static str, value: &str, without: CallbackDefect| {
        if message.defect != Some(without)
            && let Ok(value) = HeaderValue::from_str(value)
        {
            headers.insert(name, value);
        }
    };
    put(WEBHOOK_ID, &message.webhook_id, CallbackDefect::MissingId);
    put(WEBHOOK_TIMESTAMP, &timestamp.unix_timestamp().to_string(), CallbackDefect::MissingTimestamp);
    put(WEBHOOK_SIGNATURE, &signatures.join(" "), CallbackDefect::MissingSignature);
    headers
}

fn kind(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "connect"
    } else {
        "other"
    }
}
