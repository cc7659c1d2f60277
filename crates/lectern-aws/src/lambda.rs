//! The code around Lambda's runtime: batches from SQS, and tasks of the state machine.

use std::{fmt::Display, future::Future, sync::Arc};

use http::StatusCode;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use lectern::{
    document::{Attempt, DocumentRef},
    error::Error,
    message::{self, Retryable},
    telemetry::trace::{self, TraceParent},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tracing::Instrument as _;

mod batches;

pub use self::batches::run_batches;
pub use crate::http_api::HttpRequest;
use crate::{config::Config, logging, sqs::SourceQueue};

#[cfg(test)]
mod tests;

/// Runs a function that is fed by SQS. Each message of a batch is handled alone: those that fail are reported
/// (`ReportBatchItemFailures`) and are delivered again, the others are done.
///
/// # Errors
/// If the runtime itself fails.
pub async fn run_sqs<H, F, T, E>(
    config: Config,
    queue: SourceQueue,
    handle: H,
) -> Result<(), lambda_runtime::Error>
where
    H: Fn(Received) -> F,
    F: Future<Output = Result<T, E>>,
    E: Display,
{
    let function = config.function_name()?;
    let (function, queue, handle) = (&function, &queue, &handle);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<SqsEvent>| async move {
        let trace = event.context.xray_trace_id;
        Ok::<_, Diagnostic>(handle_batch(function, trace.as_deref(), queue, handle, event.payload).await)
    }))
    .await
}

pub(crate) async fn handle_batch<H, F, T, E>(
    function: &str,
    invocation_trace: Option<&str>,
    queue: &SourceQueue,
    handle: &H,
    event: SqsEvent,
) -> BatchResponse
where
    H: Fn(Received) -> F,
    F: Future<Output = Result<T, E>>,
    E: Display,
{
    let mut failures = BatchResponse::default();
    for message in event.records {
        let span = logging::invocation_span(function, invocation_trace);
        About::in_message(&message.body).record(&span);
        let xray_header = message.attributes.trace_header.or_else(|| invocation_trace.map(str::to_owned));
        let received = Received { body: message.body, xray_header };
        let result = Box::pin(handle(received)).instrument(span.clone()).await;
        if let Err(error) = result {
            span.in_scope(|| {
                tracing::error!(
                    messageId = message.message_id,
                    receiveCount = message.attributes.receive_count,
                    detail = %error,
                    "A message stays on its queue."
                );
            });
            let receive_count = &message.attributes.receive_count;
            queue.pause(&message.receipt_handle, receive_count).instrument(span).await;
            failures.fail(message.message_id);
        }
    }
    failures
}

/// One message of a batch.
#[derive(Debug)]
pub struct Received {
    /// The body.
    pub body: String,
    /// X-Ray's header: the sender's, else the invocation's.
    pub xray_header: Option<String>,
}

/// The document of a message, read before the message itself, so that also the log lines of an unreadable message name it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct About {
    #[serde(flatten)]
    document: Option<DocumentRef>,
    #[serde(default, deserialize_with = "trace::optional")]
    traceparent: Option<TraceParent>,
}

impl About {
    fn in_message(body: &str) -> Self {
        serde_json::from_str(body).unwrap_or_default()
    }

    fn record(&self, span: &tracing::Span) {
        if let Some(document) = &self.document {
            span.record("submissionId", document.submission_id.as_str());
            span.record("documentId", document.document_id.to_string());
        }
        if let Some(traceparent) = self.traceparent {
            span.record("traceId", traceparent.trace_id());
        }
    }
}

/// Runs a function that is fed with messages of the state machine: [`run_sqs`], with the message read and the span of
/// its document entered.
///
/// # Errors
/// If the runtime itself fails.
pub async fn run_messages<I, H, F, T>(
    config: Config,
    queue: SourceQueue,
    handle: H,
) -> Result<(), lambda_runtime::Error>
where
    I: DeserializeOwned + TaskInput,
    H: Fn(I) -> F,
    F: Future<Output = Result<T, Error>>,
{
    let handle = &handle;
    run_sqs(config, queue, move |received: Received| handle_message(handle, received.body)).await
}

pub(crate) async fn handle_message<I, H, F, T>(handle: &H, body: String) -> Result<T, Retryable>
where
    I: DeserializeOwned + TaskInput,
    H: Fn(I) -> F,
    F: Future<Output = Result<T, Error>>,
{
    let input: I = message::parse(&body).map_err(Retryable::Unreadable)?;
    let span = task_span(&input);
    Box::pin(handle(input)).instrument(span).await.map_err(Retryable::Store)
}

/// Runs a function that the state machine invokes. A workflow error becomes `errorType` = its name, which
/// `ErrorEquals` matches, and `errorMessage` = its cause.
///
/// # Errors
/// If the runtime itself fails.
pub async fn run_task<I, O, H, F>(config: Config, handle: H) -> Result<(), lambda_runtime::Error>
where
    I: DeserializeOwned + TaskInput,
    O: Serialize,
    H: Fn(I) -> F,
    F: Future<Output = Result<O, Error>>,
{
    let function: Arc<str> = config.function_name()?.into();
    let (function, handle) = (&function, &handle);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<I>| async move {
        handle_task(function, event.context.xray_trace_id.as_deref(), handle, event.payload).await
    }))
    .await
}

pub(crate) async fn handle_task<I, O, H, F>(
    function: &str,
    invocation_trace: Option<&str>,
    handle: &H,
    input: I,
) -> Result<O, Diagnostic>
where
    I: TaskInput,
    H: Fn(I) -> F,
    F: Future<Output = Result<O, Error>>,
{
    let span = logging::invocation_span(function, invocation_trace).in_scope(|| task_span(&input));
    Box::pin(handle(input)).instrument(span.clone()).await.map_err(|error| {
        span.in_scope(|| tracing::warn!(error = error.name(), detail = %error, "The task did not succeed."));
        task_error(&error)
    })
}

fn task_error(error: &Error) -> Diagnostic {
    Diagnostic { error_type: error.name().to_owned(), error_message: error.cause().to_string() }
}

/// Runs a function behind a webhook route: a request in, a status without a body out.
///
/// # Errors
/// If the runtime itself fails.
pub async fn run_webhook<H, F>(config: Config, handle: H) -> Result<(), lambda_runtime::Error>
where
    H: Fn(HttpRequest) -> F,
    F: Future<Output = StatusCode>,
{
    let function = config.function_name()?;
    let (function, handle) = (&function, &handle);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<HttpRequest>| async move {
        let span = logging::invocation_span(function, event.context.xray_trace_id.as_deref());
        let status = Box::pin(handle(event.payload)).instrument(span).await;
        Ok::<_, Diagnostic>(serde_json::json!({ "statusCode": status.as_u16() }))
    }))
    .await
}

/// An input that names its document, for the log.
pub trait TaskInput {
    /// The document.
    fn document(&self) -> &DocumentRef;

    /// The document's trace, if the message has it.
    fn traceparent(&self) -> Option<TraceParent>;

    /// The transfer attempt, if the input is of one.
    fn attempt(&self) -> Option<Attempt> {
        None
    }
}

fn task_span(input: &impl TaskInput) -> tracing::Span {
    let document = input.document();
    tracing::info_span!(
        "task",
        submissionId = %document.submission_id,
        documentId = %document.document_id,
        attempt = input.attempt().map(|attempt| attempt.0),
        traceId = input.traceparent().map(TraceParent::trace_id)
    )
}

impl TaskInput for lectern::steps::transfer_document::Input {
    fn document(&self) -> &DocumentRef {
        &self.document
    }

    fn traceparent(&self) -> Option<TraceParent> {
        self.traceparent
    }

    fn attempt(&self) -> Option<Attempt> {
        Some(self.attempt)
    }
}

impl TaskInput for lectern::steps::normalize_document::Input {
    fn document(&self) -> &DocumentRef {
        &self.document
    }

    fn traceparent(&self) -> Option<TraceParent> {
        self.traceparent
    }

    fn attempt(&self) -> Option<Attempt> {
        self.attempt
    }
}

impl TaskInput for lectern::steps::probe_job::Input {
    fn document(&self) -> &DocumentRef {
        &self.document
    }

    fn traceparent(&self) -> Option<TraceParent> {
        self.traceparent
    }

    fn attempt(&self) -> Option<Attempt> {
        Some(self.attempt)
    }
}

impl TaskInput for lectern::steps::verify_returned_file::Input {
    fn document(&self) -> &DocumentRef {
        &self.document
    }

    fn traceparent(&self) -> Option<TraceParent> {
        self.traceparent
    }

    fn attempt(&self) -> Option<Attempt> {
        Some(self.attempt)
    }
}

impl TaskInput for lectern::steps::fail_document::Input {
    fn document(&self) -> &DocumentRef {
        &self.document
    }

    fn traceparent(&self) -> Option<TraceParent> {
        self.traceparent
    }

    fn attempt(&self) -> Option<Attempt> {
        Some(self.attempt)
    }
}

/// An SQS event, with just the fields used. Pinned by `events/receive-upload/`.
#[derive(Debug, Deserialize)]
pub struct SqsEvent {
    /// The batch.
    #[serde(rename = "Records")]
    pub records: Vec<SqsMessage>,
}

/// One message.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SqsMessage {
    /// Its id, by which a failure is reported.
    pub message_id: String,
    /// The id of this delivery.
    #[serde(default)]
    pub receipt_handle: String,
    /// The body.
    pub body: String,
    /// Its attributes of SQS.
    pub attributes: SqsAttributes,
}

/// The attributes of SQS.
#[derive(Debug, Deserialize)]
pub struct SqsAttributes {
    /// How often it was delivered.
    #[serde(rename = "ApproximateReceiveCount", default)]
    pub receive_count: String,
    /// The sender's trace.
    #[serde(rename = "AWSTraceHeader", default)]
    pub trace_header: Option<String>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BatchResponse {
    batch_item_failures: Vec<BatchItemFailure>,
}

impl BatchResponse {
    fn fail(&mut self, message_id: String) {
        self.batch_item_failures.push(BatchItemFailure { item_identifier: message_id });
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchItemFailure {
    item_identifier: String,
}
