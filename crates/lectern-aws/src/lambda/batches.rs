//! Functions that decide on a whole batch of a FIFO queue at once.

use std::future::Future;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use lectern::{
    error::Error,
    message::{self, Unreadable},
    telemetry::metrics,
};
use serde::de::DeserializeOwned;
use tracing::{Instrument as _, field::Empty};

use super::{LogFields, receive_count};
use crate::{
    Environment, logging,
    sqs::{Kept, SourceQueue},
};

#[cfg(test)]
mod tests;

/// Runs a function that a FIFO queue invokes. `queue` is the queue that invokes the function. The handler gets all readable
/// messages of a batch together, and whether any of them was delivered before. If the handler fails, SQS delivers all of them again. Unreadable messages are sent
/// to the dead-letter queue at once. Messages of newer code wait in a message group of their own, where they block no
/// others (A07).
///
/// # Errors
/// If a setting is missing or the runtime itself fails.
pub async fn run_batches<I, H, F, T>(
    env: &Environment,
    queue: &SourceQueue,
    handle: H,
) -> Result<(), lambda_runtime::Error>
where
    I: DeserializeOwned,
    H: Fn(Vec<I>, bool) -> F,
    F: Future<Output = Result<T, Error>>,
{
    let (function, dead_letters) = (env.function_name()?, env.dead_letter_queue_url()?);
    let (function, dead_letters, handle) = (&function, &dead_letters, &handle);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<SqsEvent>| async move {
        let span = logging::invocation_span(function, event.context.xray_trace_id.as_deref());
        let answer = Box::pin(handle_all(dead_letters, queue, handle, event.payload)).instrument(span);
        Ok::<_, Diagnostic>(answer.await)
    }))
    .await
}

pub(crate) async fn handle_all<I, H, F, T>(
    dead_letters: &str,
    queue: &SourceQueue,
    handle: &H,
    event: SqsEvent,
) -> SqsBatchResponse
where
    I: DeserializeOwned,
    H: Fn(Vec<I>, bool) -> F,
    F: Future<Output = Result<T, Error>>,
{
    let mut response = SqsBatchResponse::default();
    let (mut readable, mut inputs) = (Vec::new(), Vec::new());
    for message in event.records {
        let error = match message::parse(message.body.as_deref().unwrap_or_default()) {
            Ok(input) => {
                inputs.push(input);
                readable.push(message);
                continue;
            }
            Err(Unreadable::Newer(version)) => {
                let span = tracing::info_span!(
                    "message",
                    submissionId = Empty,
                    documentId = Empty,
                    attempt = Empty,
                    traceId = Empty
                );
                LogFields::of(message.body.as_deref().unwrap_or_default()).record(&span);
                span.in_scope(|| {
                    metrics::newer_input();
                    tracing::warn!(
                        messageId = message.message_id,
                        schemaVersion = version,
                        "Newer code wrote the message; it waits in the queue."
                    );
                });
                if queue.keep_newer(&message).await == Kept::Here {
                    response.add_failure(message.message_id.unwrap_or_default());
                }
                continue;
            }
            Err(error) => error,
        };
        tracing::error!(messageId = message.message_id, detail = %error, "A message goes to the dead-letter queue.");
        if let Err(error) = queue.send_to_dlq(dead_letters, &message).await {
            tracing::error!(messageId = message.message_id, detail = %error, "A message could not be sent to the dead-letter queue and stays on its queue.");
            response.add_failure(message.message_id.unwrap_or_default());
        }
    }
    if inputs.is_empty() {
        return response;
    }
    let again = readable.iter().any(|message| receive_count(message) != 1);
    if let Err(error) = handle(inputs, again).await {
        tracing::error!(messages = readable.len(), detail = %error, "A batch stays on its queue.");
        for message in readable {
            queue.redeliver_soon(&message).await;
            response.add_failure(message.message_id.unwrap_or_default());
        }
    }
    response
}
