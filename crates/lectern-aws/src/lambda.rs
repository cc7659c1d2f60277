//! The glue to Lambda: batches from SQS, tasks of the state machine, and nothing of what they mean.

use std::{fmt::Display, future::Future, sync::Arc};

use http::StatusCode;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use lectern::{
    document::{Attempt, DocumentRef},
    error::Error,
    message::{self, Retained},
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
/// (`ReportBatchItemFailures`) and come again, the others are done.
///
/// # Errors
/// If the runtime itself fails.
pub async fn run_sqs<H, F, T, E>(
    config: Config,
    queue: SourceQueue,
    handle: H,
) -> Result<(), lambda_runtime::Error>
where
    H: Fn(String) -> F,
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
    H: Fn(String) -> F,
    F: Future<Output = Result<T, E>>,
    E: Display,
{
    let mut failures = BatchResponse::default();
    for message in event.records {
        let trace = message.attributes.trace_header.as_deref().or(invocation_trace);
        let span = logging::invocation_span(function, trace);
        let result = Box::pin(handle(message.body)).instrument(span.clone()).await;
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
    run_sqs(config, queue, move |body: String| handle_message(handle, body)).await
}

pub(crate) async fn handle_message<I, H, F, T>(handle: &H, body: String) -> Result<T, Retained>
where
    I: DeserializeOwned + TaskInput,
    H: Fn(I) -> F,
    F: Future<Output = Result<T, Error>>,
{
    let input: I = message::parse(&body).map_err(Retained::Unreadable)?;
    let span = task_span(&input);
    Box::pin(handle(input)).instrument(span).await.map_err(Retained::Store)
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
        let span = logging::invocation_span(function, event.context.xray_trace_id.as_deref());
        let input = event.payload;
        let span = span.in_scope(|| task_span(&input));
        Box::pin(handle(input)).instrument(span.clone()).await.map_err(|error| {
            span.in_scope(
                || tracing::warn!(error = error.name(), detail = %error, "The task did not succeed."),
            );
            task_error(&error)
        })
    }))
    .await
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
        attempt = input.attempt().map(|attempt| attempt.0)
    )
}

impl TaskInput for lectern::transfer_document::Input {
    fn document(&self) -> &DocumentRef {
        &self.document
    }

    fn attempt(&self) -> Option<Attempt> {
        Some(self.attempt)
    }
}

impl TaskInput for lectern::normalize_document::Input {
    fn document(&self) -> &DocumentRef {
        &self.document
    }

    fn attempt(&self) -> Option<Attempt> {
        self.attempt
    }
}

impl TaskInput for lectern::probe_job::Input {
    fn document(&self) -> &DocumentRef {
        &self.document
    }

    fn attempt(&self) -> Option<Attempt> {
        Some(self.attempt)
    }
}

impl TaskInput for lectern::verify_returned_file::Input {
    fn document(&self) -> &DocumentRef {
        &self.document
    }

    fn attempt(&self) -> Option<Attempt> {
        Some(self.attempt)
    }
}

impl TaskInput for lectern::fail_document::Input {
    fn document(&self) -> &DocumentRef {
        &self.document
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
    /// What a failure is reported by.
    pub message_id: String,
    /// This delivery.
    #[serde(default)]
    pub receipt_handle: String,
    /// As it was sent.
    pub body: String,
    /// What SQS knows of it.
    pub attributes: SqsAttributes,
}

/// What SQS knows of a message.
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
