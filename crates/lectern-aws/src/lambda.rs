//! The code around Lambda's runtime: batches of SQS, tasks of the state machine, and requests to the webhook.

use std::{future::Future, sync::Arc};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use http::StatusCode;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use lectern::{
    document::{Attempt, DocumentRef, TaskToken},
    error::{Error, StoreError, TaskError},
    message::{self, Retryable, Unreadable},
    ports::{Tasks, TokenUse},
    telemetry::{
        metrics,
        trace::{self, TraceParent},
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tracing::{Instrument as _, Span};

mod batches;

pub use self::batches::run_batches;
pub use crate::http_api::HttpRequest;
use crate::{Environment, logging, sqs::SourceQueue};

#[cfg(test)]
mod tests;

/// Runs a function that SQS invokes. The function handles each message of a batch separately and reports the messages
/// that fail (`ReportBatchItemFailures`); SQS delivers only these again.
///
/// # Errors
/// If a setting is missing or the runtime itself fails.
pub async fn run_sqs<H, F, T>(env: &Environment, handle: H) -> Result<(), lambda_runtime::Error>
where
    H: Fn(Received) -> F,
    F: Future<Output = Result<T, Retryable>>,
{
    let (function, queue) = (env.function_name()?, env.source_queue()?);
    let (function, queue, handle) = (&function, &queue, &handle);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<SqsEvent>| async move {
        let trace = event.context.xray_trace_id;
        let answer = Box::pin(handle_batch(function, trace.as_deref(), queue, handle, event.payload));
        Ok::<_, Diagnostic>(answer.await)
    }))
    .await
}

pub(crate) async fn handle_batch<H, F, T>(
    function: &str,
    invocation_trace: Option<&str>,
    queue: &SourceQueue,
    handle: &H,
    event: SqsEvent,
) -> SqsBatchResponse
where
    H: Fn(Received) -> F,
    F: Future<Output = Result<T, Retryable>>,
{
    let mut response = SqsBatchResponse::default();
    for message in event.records {
        let span = logging::invocation_span(function, invocation_trace);
        let body = message.body.clone().unwrap_or_default();
        LogFields::of(&body).record(&span);
        let xray_header = message.attributes.get("AWSTraceHeader").map(String::as_str).or(invocation_trace);
        let xray_header = xray_header.map(str::to_owned);
        let received = Received { body, xray_header, again: receive_count(&message) > 1 };
        let result = Box::pin(handle(received)).instrument(span.clone()).await;
        let Err(error) = result else { continue };
        let (message_id, receive_count) = (message.message_id.as_deref(), receive_count(&message));
        if matches!(error, Retryable::Waiting(_)) {
            span.in_scope(|| {
                tracing::info!(messageId = message_id, receiveCount = receive_count, detail = %error, "A message waits on its queue.");
            });
            queue.redeliver_waiting(&message).instrument(span).await;
        } else {
            span.in_scope(|| {
                tracing::error!(messageId = message_id, receiveCount = receive_count, detail = %error, "A message stays on its queue.");
            });
            queue.redeliver_soon(&message).instrument(span).await;
        }
        response.add_failure(message.message_id.unwrap_or_default());
    }
    response
}

/// How often SQS has delivered the message; 0 if the message does not contain the number.
pub(crate) fn receive_count(message: &SqsMessage) -> usize {
    let count = message.attributes.get("ApproximateReceiveCount");
    count.and_then(|count| count.parse().ok()).unwrap_or_default()
}

/// One message of a batch.
#[derive(Debug)]
pub struct Received {
    /// The body.
    pub body: String,
    /// X-Ray's trace header: that of the message, otherwise that of the invocation.
    pub xray_header: Option<String>,
    /// Whether the message was delivered before.
    pub again: bool,
}

/// The fields of a message that appear on its log lines. They are parsed separately, so that the log lines of an
/// unreadable message have them too.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogFields {
    #[serde(flatten)]
    document: Option<DocumentRef>,
    attempt: Option<Attempt>,
    #[serde(default, deserialize_with = "trace::optional")]
    traceparent: Option<TraceParent>,
}

impl LogFields {
    fn of(body: &str) -> Self {
        serde_json::from_str(body).unwrap_or_default()
    }

    fn record(&self, span: &Span) {
        if let Some(document) = &self.document {
            span.record("submissionId", document.submission_id.as_str());
            span.record("documentId", document.document_id.to_string());
        }
        if let Some(Attempt(number @ 1..)) = self.attempt {
            span.record("attempt", number);
        }
        if let Some(traceparent) = self.traceparent {
            span.record("traceId", traceparent.trace_id());
        }
    }
}

/// Runs a function that handles messages of the state machine: [`run_sqs`] with the message parsed. The handler also
/// learns whether the message was delivered before. A message of newer code is answered with `Input.Newer`, so that the
/// state machine sends it again later (A07).
///
/// # Errors
/// If a setting is missing or the runtime itself fails.
pub async fn run_messages<I, H, F, T>(env: &Environment, handle: H) -> Result<(), lambda_runtime::Error>
where
    I: DeserializeOwned,
    H: Fn(I, bool) -> F,
    F: Future<Output = Result<T, Error>>,
{
    let (handle, tasks) = (&handle, &env.task_tokens());
    run_sqs(env, move |received: Received| handle_message(tasks, handle, received)).await
}

pub(crate) async fn handle_message<I, H, F, T>(
    tasks: &impl Tasks,
    handle: &H,
    received: Received,
) -> Result<(), Retryable>
where
    I: DeserializeOwned,
    H: Fn(I, bool) -> F,
    F: Future<Output = Result<T, Error>>,
{
    let error = match message::parse(&received.body) {
        Ok(input) => return Ok(handle(input, received.again).await.map(drop)?),
        Err(error) => error,
    };
    match (&error, message::task_token(&received.body)) {
        (Unreadable::Newer(version), Some(token)) => {
            Ok(refuse_newer(tasks, &token, *version, received.again).await?)
        }
        _ => Err(error.into()),
    }
}

async fn refuse_newer(tasks: &impl Tasks, token: &TaskToken, version: u64, again: bool) -> Result<(), Error> {
    let answered = tasks.fail(token, &Error::InputNewer(version)).await?;
    if answered == TokenUse::NotAwaited && !again {
        // Step Functions may not know the token yet (A01).
        return Err(StoreError::unavailable("no task waits for the token of the message yet").into());
    }
    metrics::newer_input();
    tracing::warn!(
        schemaVersion = version,
        "Newer code wrote the message; the state machine sends it again later."
    );
    Ok(())
}

/// Runs a function that the state machine invokes. The name of a workflow error becomes `errorType`, which
/// `ErrorEquals` matches, and its cause becomes `errorMessage`.
///
/// # Errors
/// If a setting is missing or the runtime itself fails.
pub async fn run_task<I, O, E, H, F>(env: &Environment, handle: H) -> Result<(), lambda_runtime::Error>
where
    I: DeserializeOwned,
    O: Serialize,
    E: TaskError,
    H: Fn(I) -> F,
    F: Future<Output = Result<O, E>>,
{
    let function: Arc<str> = env.function_name()?.into();
    let (function, handle) = (&function, &handle);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| async move {
        handle_task(function, event.context.xray_trace_id.as_deref(), handle, event.payload).await
    }))
    .await
}

pub(crate) async fn handle_task<I, O, E, H, F>(
    function: &str,
    invocation_trace: Option<&str>,
    handle: &H,
    payload: Value,
) -> Result<O, Diagnostic>
where
    I: DeserializeOwned,
    E: TaskError,
    H: Fn(I) -> F,
    F: Future<Output = Result<O, E>>,
{
    let span = logging::invocation_span(function, invocation_trace);
    LogFields::deserialize(&payload).unwrap_or_default().record(&span);
    let input = message::input(payload).map_err(|error| {
        let _entered = span.enter();
        if let Unreadable::Newer(version) = error {
            metrics::newer_input();
            tracing::warn!(
                schemaVersion = version,
                "Newer code wrote the input; the state machine repeats the task later."
            );
            return task_error(&Error::InputNewer(version));
        }
        tracing::error!(detail = %error, "The input of the task is unreadable.");
        // The state machine has no rule for this error: the document fails as after any other defect.
        Diagnostic { error_type: "Input.Unreadable".to_owned(), error_message: error.to_string() }
    })?;
    Box::pin(handle(input)).instrument(span.clone()).await.map_err(|error| {
        span.in_scope(|| tracing::warn!(error = error.name(), detail = %error, "The task did not succeed."));
        task_error(&error)
    })
}

fn task_error(error: &impl TaskError) -> Diagnostic {
    Diagnostic { error_type: error.name().to_owned(), error_message: error.cause().to_string() }
}

/// Runs a function behind a webhook route, which answers a request with a status and no body.
///
/// # Errors
/// If a setting is missing or the runtime itself fails.
pub async fn run_webhook<H, F>(env: &Environment, handle: H) -> Result<(), lambda_runtime::Error>
where
    H: Fn(HttpRequest) -> F,
    F: Future<Output = StatusCode>,
{
    let function = env.function_name()?;
    let (function, handle) = (&function, &handle);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<HttpRequest>| async move {
        let span = logging::invocation_span(function, event.context.xray_trace_id.as_deref());
        let status = Box::pin(handle(event.payload)).instrument(span).await;
        Ok::<_, Diagnostic>(serde_json::json!({ "statusCode": status.as_u16() }))
    }))
    .await
}
