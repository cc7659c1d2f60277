//! SQS: orders to `admit-document`, redeliveries and dead-letter queues.

use aws_sdk_sqs::Client;

use lectern::{
    document::{Attempt, DocumentRef},
    error::Error,
    message::SCHEMA_VERSION,
    ports::Leases,
    steps::admit_document::{Input, Order},
};

use crate::{lambda::SqsMessage, sfn::unavailable};

#[cfg(test)]
mod tests;

/// Seconds until the second and the third delivery. Later deliveries follow the queue's visibility timeout, so
/// that a long outage does not use them up.
const FIRST_PAUSES_S: [i32; 2] = [2, 10];

/// The queue of orders to `admit-document`.
#[derive(Clone, Debug)]
pub struct AdmissionQueue {
    client: Client,
    url: String,
}

impl AdmissionQueue {
    /// One message group, so that orders are decided on one after the other.
    const GROUP: &str = "admission";

    /// The queue of this URL.
    pub fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }
}

impl Leases for AdmissionQueue {
    async fn release(&self, document: &DocumentRef, attempt: Attempt) -> Result<(), Error> {
        let (schema_version, document, order) =
            (SCHEMA_VERSION, document.clone(), Order::Release { attempt });
        let order = Input { schema_version, document, traceparent: None, order };
        let body =
            serde_json::to_string(&order).map_err(|error| Error::StoreUnavailable(error.to_string()))?;
        let request = self.client.send_message().queue_url(&self.url).message_group_id(Self::GROUP);
        let sent = request.message_body(body).send().await;
        sent.map(drop).map_err(|error| unavailable("SendMessage", &error))
    }
}

/// The queue that feeds a function.
#[derive(Clone, Debug)]
pub struct SourceQueue {
    client: Client,
    url: String,
}

impl SourceQueue {
    /// The queue of this URL.
    pub fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    /// Sends an unreadable message to the dead-letter queue at once, unchanged: in a FIFO queue it would block all messages
    /// behind it.
    pub(crate) async fn send_to_dlq(&self, dead_letter_url: &str, message: &SqsMessage) -> Result<(), Error> {
        let request = self
            .client
            .send_message()
            .queue_url(dead_letter_url)
            .message_body(&message.body)
            .message_group_id("unreadable")
            .message_deduplication_id(&message.message_id);
        request.send().await.map(drop).map_err(|error| unavailable("SendMessage", &error))
    }

    /// Makes SQS deliver a failed message again soon: the cause is usually a write conflict. If this call fails, SQS delivers
    /// the message after the visibility timeout.
    pub(crate) async fn pause(&self, receipt_handle: &str, receive_count: &str) {
        let Some(pause_s) = pause_s(receive_count) else { return };
        let request = self
            .client
            .change_message_visibility()
            .queue_url(&self.url)
            .receipt_handle(receipt_handle)
            .visibility_timeout(pause_s);
        if let Err(error) = request.send().await {
            tracing::warn!(detail = %unavailable("ChangeMessageVisibility", &error), "A message comes again late.");
        }
    }
}

fn pause_s(receive_count: &str) -> Option<i32> {
    let received: usize = receive_count.parse().ok()?;
    FIRST_PAUSES_S.get(received.checked_sub(1)?).copied()
}
