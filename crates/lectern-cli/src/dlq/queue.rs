//! A dead-letter queue in SQS: receives its messages, and sends and deletes them one by one.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_sqs::{
    Client,
    types::{
        Message as SqsMessage, MessageAttributeValue, MessageSystemAttributeName as System,
        QueueAttributeName,
    },
};
use time::OffsetDateTime;

use crate::{problem::Problem, stack::DeadLetterQueue};

/// The message attribute that counts redrives, so that later runs know it.
pub(crate) const REDRIVES: &str = "LecternRedrives";
/// The message attribute with the id of the last run that redrove the message.
pub(crate) const RUN: &str = "LecternRedriveRun";
/// The visibility timeout of received messages.
pub(crate) const HIDDEN_S: i32 = 300;
/// SQS returns at most this number of messages per call.
const BATCH: usize = 10;

#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) handle: String,
    pub(crate) body: String,
    pub(crate) sent: Option<OffsetDateTime>,
    pub(crate) received: u32,
    pub(crate) redrives: u32,
    pub(crate) run: Option<String>,
    group: Option<String>,
    attributes: HashMap<String, MessageAttributeValue>,
}

impl From<SqsMessage> for Message {
    fn from(message: SqsMessage) -> Self {
        let system = message.attributes.unwrap_or_default();
        let own = message.message_attributes.unwrap_or_default();
        let text = |name: &str| own.get(name).and_then(|value| value.string_value.clone());
        let millis = system.get(&System::SentTimestamp).and_then(|text| text.parse::<i128>().ok());
        let received = system.get(&System::ApproximateReceiveCount);
        Self {
            sent: millis.and_then(|at| OffsetDateTime::from_unix_timestamp_nanos(at * 1_000_000).ok()),
            received: received.and_then(|text| text.parse().ok()).unwrap_or_default(),
            redrives: text(REDRIVES).and_then(|text| text.parse().ok()).unwrap_or_default(),
            run: text(RUN),
            group: system.get(&System::MessageGroupId).cloned(),
            id: message.message_id.unwrap_or_default(),
            handle: message.receipt_handle.unwrap_or_default(),
            body: message.body.unwrap_or_default(),
            attributes: own,
        }
    }
}

impl Message {
    /// The string attributes, which are stored with a quarantined message.
    pub(crate) fn texts(&self) -> BTreeMap<&str, &str> {
        let text = |(name, value)| Some((String::as_str(name), MessageAttributeValue::string_value(value)?));
        self.attributes.iter().filter_map(text).collect()
    }
}

/// The depth of a queue, as SQS estimates it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Depth {
    pub(crate) visible: u64,
    pub(crate) hidden: u64,
}

/// Reads the depth of the queue with this URL.
pub(crate) async fn depth(client: &Client, url: &str) -> Result<Depth, Problem> {
    let names = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    ];
    let request = client.get_queue_attributes().queue_url(url);
    let answer = request.set_attribute_names(Some(names.to_vec())).send().await;
    let attributes = answer.map_err(Problem::aws("GetQueueAttributes"))?.attributes.unwrap_or_default();
    let number = |name| attributes.get(name).and_then(|text| text.parse().ok()).unwrap_or_default();
    Ok(Depth { visible: number(&names[0]), hidden: number(&names[1]) })
}

#[derive(Clone, Debug)]
pub(crate) struct Queue<'a> {
    client: &'a Client,
    pub(crate) dead: &'a DeadLetterQueue,
}

impl<'a> Queue<'a> {
    pub(crate) fn new(client: &'a Client, dead: &'a DeadLetterQueue) -> Self {
        Self { client, dead }
    }

    pub(crate) async fn depth(&self) -> Result<Depth, Problem> {
        depth(self.client, &self.dead.url).await
    }

    /// Receives up to `most` messages, at most ten. They are hidden from other receivers for [`HIDDEN_S`].
    pub(crate) async fn receive(&self, most: usize) -> Result<Vec<Message>, Problem> {
        let request = self
            .client
            .receive_message()
            .queue_url(&self.dead.url)
            .max_number_of_messages(i32::try_from(most.clamp(1, BATCH)).unwrap_or(1))
            .visibility_timeout(HIDDEN_S)
            .wait_time_seconds(1)
            .message_system_attribute_names(System::All)
            .message_attribute_names("All");
        let answer = request.send().await.map_err(Problem::aws("ReceiveMessage"))?;
        Ok(answer.messages.unwrap_or_default().into_iter().map(Message::from).collect())
    }

    /// Sends the message to the queue with this URL, with an incremented count. If a run is killed before it deletes
    /// the message, the next run sends the message with the same deduplication id, so a FIFO queue accepts it once.
    pub(crate) async fn send(&self, url: &str, message: &Message, run: &str) -> Result<(), Problem> {
        let redrives = (message.redrives + 1).to_string();
        let once = message.group.as_ref().map(|_| format!("{}-redrive-{redrives}", message.id));
        let mut request = self
            .client
            .send_message()
            .queue_url(url)
            .message_body(&message.body)
            .set_message_attributes(Some(message.attributes.clone()))
            .set_message_group_id(message.group.clone())
            .set_message_deduplication_id(once);
        for (name, kind, value) in [(REDRIVES, "Number", redrives.as_str()), (RUN, "String", run)] {
            let value = MessageAttributeValue::builder().data_type(kind).string_value(value).build();
            let value = value.map_err(|error| Problem::new(error.to_string(), "Report this as a bug."))?;
            request = request.message_attributes(name, value);
        }
        request.send().await.map(drop).map_err(Problem::aws("SendMessage"))
    }

    pub(crate) async fn delete(&self, message: &Message) -> Result<(), Problem> {
        let request = self.client.delete_message().queue_url(&self.dead.url).receipt_handle(&message.handle);
        request.send().await.map(drop).map_err(Problem::aws("DeleteMessage"))
    }

    /// Makes a message visible at once. If the call fails, the message becomes visible after [`HIDDEN_S`].
    pub(crate) async fn release(&self, handle: &str) {
        let request = self.client.change_message_visibility().queue_url(&self.dead.url);
        let _ = request.receipt_handle(handle).visibility_timeout(0).send().await;
    }
}
