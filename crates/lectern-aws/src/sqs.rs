//! SQS: orders to `admit-document`, messages to `deliver-events`, redeliveries and dead-letter queues.

use std::time::Duration;

use aws_lambda_events::sqs::SqsMessage;
use aws_sdk_sqs::{
    Client,
    types::{QueueAttributeName, SendMessageBatchRequestEntry},
};
use futures_util::future::{try_join, try_join_all};
use lectern::{
    error::{Error, StoreError},
    events::SubscriberId,
    ports::{EventQueue, Orders, QueueDepth, Queues},
    steps::{admit_document::Input, deliver_events::Message},
};

use crate::{
    error::{defect, failed},
    lambda::receive_count,
};

#[cfg(test)]
mod tests;

/// Seconds until the second and the third delivery. Later deliveries follow the queue's visibility timeout, so that a
/// long outage does not use up all deliveries.
const FIRST_PAUSES_S: [i32; 2] = [2, 10];
/// Seconds between two later deliveries of a message that waits for something.
const WAITING_PAUSE_S: i32 = 60;

/// The message group of a FIFO queue in which messages of newer code wait, so that they block no other messages.
const NEWER_GROUP: &str = "newer";
/// Seconds between two deliveries of a waiting message. With 1,000 deliveries, the queue's retention ends the wait, and
/// SQS moves no message to the dead-letter queue.
const NEWER_PAUSE_S: i32 = 600;

/// Where a message of newer code is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// This message stays on the queue.
    Here,
    /// A copy of it is in the message group of newer messages, so this one is done with.
    InItsGroup,
}

/// The queue of orders to `admit-document`.
#[derive(Clone, Debug)]
pub struct AdmissionQueue {
    client: Client,
    url: String,
}

impl AdmissionQueue {
    /// One message group, so that orders are decided on one after the other.
    const GROUP: &str = "admission";

    /// Sends orders to the queue with this URL.
    pub fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }
}

impl Orders for AdmissionQueue {
    async fn send(&self, order: Input) -> Result<(), Error> {
        let body =
            serde_json::to_string(&order).map_err(|error| defect("an order could not be written", error))?;
        let request = self.client.send_message().queue_url(&self.url).message_group_id(Self::GROUP);
        let sent = request.message_body(body).send().await;
        sent.map(drop).map_err(|error| failed("SendMessage", error))
    }
}

/// The queue of `deliver-events`, and that of its timers.
#[derive(Clone, Debug)]
pub struct EventsQueue {
    client: Client,
    url: String,
    timers_url: String,
}

impl EventsQueue {
    /// Messages of one call.
    const ENTRIES: usize = 10;
    /// Bytes of the messages of one call, of the 1 MiB that SQS accepts.
    const BYTES: usize = 900_000;

    /// Sends messages to the queues with these URLs.
    pub fn new(client: Client, url: String, timers_url: String) -> Self {
        Self { client, url, timers_url }
    }

    async fn send_all(&self, messages: Vec<(SubscriberId, String)>) -> Result<(), Error> {
        let mut entries = Vec::with_capacity(messages.len());
        for (number, (subscriber, body)) in messages.into_iter().enumerate() {
            let entry = SendMessageBatchRequestEntry::builder()
                .id(number.to_string())
                .message_group_id(subscriber.as_str())
                .message_body(body)
                .build();
            entries.push(entry.map_err(|error| defect("a message could not be built", error))?);
        }
        let request = self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries));
        let answer = request.send().await.map_err(|error| failed("SendMessageBatch", error))?;
        if answer.failed.is_empty() {
            Ok(())
        } else {
            Err(StoreError::unavailable("SendMessageBatch: SQS did not take all messages").into())
        }
    }
}

impl EventQueue for EventsQueue {
    /// A call has at most one message of a subscriber: SQS may take a later message of a call and not an earlier one.
    async fn send_events(&self, messages: &[Message]) -> Result<(), Error> {
        let (mut call, mut bytes) = (Vec::<(SubscriberId, String)>::new(), 0);
        for message in messages {
            let body = body_of(message)?;
            let is_full = call.len() == Self::ENTRIES || bytes + body.len() > Self::BYTES;
            if is_full || call.iter().any(|(subscriber, _)| *subscriber == message.subscriber_id) {
                self.send_all(std::mem::take(&mut call)).await?;
                bytes = 0;
            }
            bytes += body.len();
            call.push((message.subscriber_id.clone(), body));
        }
        if call.is_empty() { Ok(()) } else { self.send_all(call).await }
    }

    async fn send_timer(&self, message: &Message, delay: Duration) -> Result<(), Error> {
        // Rounded up, so that the timer does not end too early.
        let delay_s = i32::try_from(delay.as_millis().div_ceil(1000)).unwrap_or(i32::MAX);
        let request = self.client.send_message().queue_url(&self.timers_url);
        let request = request.message_body(body_of(message)?).delay_seconds(delay_s);
        request.send().await.map(drop).map_err(|error| failed("SendMessage", error))
    }
}

fn body_of(message: &Message) -> Result<String, Error> {
    serde_json::to_string(message).map_err(|error| defect("a message could not be written", error))
}

/// A queue whose depth operators see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedQueue {
    /// The function that the queue invokes, such as `transfer-document`.
    pub name: String,
    /// The queue's URL.
    pub url: String,
    /// The URL of its dead-letter queue.
    pub dead_letter_url: String,
}

/// The queues of the stack.
#[derive(Clone, Debug)]
pub struct ObservedQueues {
    client: Client,
    queues: Vec<ObservedQueue>,
}

impl ObservedQueues {
    /// Reads the attributes of these queues.
    pub fn new(client: Client, queues: Vec<ObservedQueue>) -> Self {
        Self { client, queues }
    }

    /// The numbers of messages that wait, that are delayed, and that are in flight.
    async fn counts(&self, url: &str) -> Result<[u64; 3], Error> {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let request = self.client.get_queue_attributes().queue_url(url);
        let request = request.set_attribute_names(Some(names.to_vec()));
        let answer = request.send().await.map_err(|error| failed("GetQueueAttributes", error))?;
        let attributes = answer.attributes.unwrap_or_default();
        let number = |name| attributes.get(name).and_then(|text| text.parse().ok());
        let counts = names.each_ref().map(number);
        match counts {
            [Some(waiting), Some(delayed), Some(in_flight)] => Ok([waiting, delayed, in_flight]),
            _ => Err(StoreError::defect("GetQueueAttributes: an attribute is missing").into()),
        }
    }

    async fn depth(&self, queue: &ObservedQueue) -> Result<QueueDepth, Error> {
        let counts = try_join(self.counts(&queue.url), self.counts(&queue.dead_letter_url)).await?;
        let ([waiting, delayed, in_flight], dead) = counts;
        Ok(QueueDepth {
            name: queue.name.clone(),
            waiting: waiting + delayed,
            in_flight,
            dead_letters: dead.iter().sum(),
        })
    }
}

impl Queues for ObservedQueues {
    async fn depths(&self) -> Result<Vec<QueueDepth>, Error> {
        try_join_all(self.queues.iter().map(|queue| self.depth(queue))).await
    }
}

/// The queue that invokes a function, and perhaps a second one.
#[derive(Clone, Debug)]
pub struct SourceQueue {
    client: Client,
    url: String,
    second_url: Option<String>,
}

impl SourceQueue {
    /// `url` is that of the queue from which the function's messages come.
    pub fn new(client: Client, url: String) -> Self {
        Self { client, url, second_url: None }
    }

    /// Messages also come from the queue with this URL. Those of newer code wait in the first queue.
    #[must_use]
    pub fn and(self, second_url: String) -> Self {
        Self { second_url: Some(second_url), ..self }
    }

    /// The URL of the queue from which a message came. A queue's ARN and its URL end in the queue's name.
    fn url_of(&self, message: &SqsMessage) -> &str {
        let arn = message.event_source_arn.as_deref();
        let name = arn.and_then(|arn| arn.rsplit(':').next());
        let second = self.second_url.as_deref().filter(|url| url.rsplit('/').next() == name);
        second.unwrap_or(&self.url)
    }

    /// Sends an unreadable message to the dead-letter queue at once and unchanged, because in a FIFO queue it would
    /// block all messages behind it.
    pub(crate) async fn send_to_dlq(&self, dead_letter_url: &str, message: &SqsMessage) -> Result<(), Error> {
        let request = self
            .client
            .send_message()
            .queue_url(dead_letter_url)
            .set_message_body(message.body.clone())
            .message_group_id("unreadable")
            .set_message_deduplication_id(message.message_id.clone());
        request.send().await.map(drop).map_err(|error| failed("SendMessage", error))
    }

    /// Keeps a message that newer code wrote: moves it to the message group of such messages, or lets it wait there.
    pub(crate) async fn keep_newer(&self, message: &SqsMessage) -> Kept {
        if message.attributes.get("MessageGroupId").map(String::as_str) == Some(NEWER_GROUP) {
            self.pause(message, NEWER_PAUSE_S).await;
            return Kept::Here;
        }
        let request = self
            .client
            .send_message()
            .queue_url(&self.url)
            .set_message_body(message.body.clone())
            .message_group_id(NEWER_GROUP)
            .set_message_deduplication_id(message.message_id.clone());
        match request.send().await {
            Ok(_) => Kept::InItsGroup,
            Err(error) => {
                let detail = failed("SendMessage", error);
                tracing::error!(detail = %detail, "A message of newer code could not be moved out of the way.");
                Kept::Here
            }
        }
    }

    /// Makes SQS deliver a failed message again soon: the cause is usually a write conflict. If this call fails, SQS delivers
    /// the message after the visibility timeout.
    pub(crate) async fn redeliver_soon(&self, message: &SqsMessage) {
        if let Some(pause_s) = pause_s(receive_count(message)) {
            self.pause(message, pause_s).await;
        }
    }

    /// Makes SQS deliver a message again that waits for something: soon at first, then once a minute.
    pub(crate) async fn redeliver_waiting(&self, message: &SqsMessage) {
        self.pause(message, pause_s(receive_count(message)).unwrap_or(WAITING_PAUSE_S)).await;
    }

    async fn pause(&self, message: &SqsMessage, pause_s: i32) {
        let request = self
            .client
            .change_message_visibility()
            .queue_url(self.url_of(message))
            .set_receipt_handle(message.receipt_handle.clone())
            .visibility_timeout(pause_s);
        if let Err(error) = request.send().await {
            tracing::warn!(detail = %failed("ChangeMessageVisibility", error), "SQS delivers a message again only after the queue's visibility timeout.");
        }
    }
}

fn pause_s(receive_count: usize) -> Option<i32> {
    FIRST_PAUSES_S.get(receive_count.checked_sub(1)?).copied()
}
