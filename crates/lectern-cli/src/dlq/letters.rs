//! A dead-letter queue's messages, and moving them: every answer for a batch is looked at message by message.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
};

use aws_sdk_sqs::{
    Client,
    error::ProvideErrorMetadata as _,
    types::{
        DeleteMessageBatchRequestEntry, Message, MessageAttributeValue, MessageSystemAttributeName,
        QueueAttributeName, SendMessageBatchRequestEntry,
    },
};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use crate::{
    problem::{Problem, is_not_offered},
    stack::DeadLetters,
};

/// How often a letter was redriven, as a message attribute, so that every run knows.
pub(crate) const REDRIVES: &str = "LecternRedrives";
/// The run that redrove it last.
pub(crate) const RUN: &str = "LecternRedriveRun";
/// Others do not see a message for so long while it is worked on.
pub(crate) const HIDDEN_S: i32 = 300;
pub(crate) const BATCH: usize = 10;

/// One message of a dead-letter queue.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
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

impl Letter {
    fn of(message: Message) -> Self {
        let system = |name: MessageSystemAttributeName| {
            message.attributes.as_ref().and_then(|all| all.get(&name)).cloned()
        };
        let own = message.message_attributes.clone().unwrap_or_default();
        let text = |name: &str| own.get(name).and_then(|value| value.string_value.clone());
        let millis =
            system(MessageSystemAttributeName::SentTimestamp).and_then(|text| text.parse::<i128>().ok());
        Self {
            sent: millis.and_then(|at| OffsetDateTime::from_unix_timestamp_nanos(at * 1_000_000).ok()),
            received: system(MessageSystemAttributeName::ApproximateReceiveCount)
                .and_then(|text| text.parse().ok())
                .unwrap_or_default(),
            redrives: text(REDRIVES).and_then(|text| text.parse().ok()).unwrap_or_default(),
            run: text(RUN),
            group: system(MessageSystemAttributeName::MessageGroupId),
            id: message.message_id.unwrap_or_default(),
            handle: message.receipt_handle.unwrap_or_default(),
            body: message.body.unwrap_or_default(),
            attributes: own,
        }
    }

    /// SHA-256 of the body, lower-case hex.
    pub(crate) fn hash(&self) -> String {
        hash(&self.body)
    }

    /// Attributes that are text, for what is kept in quarantine.
    pub(crate) fn texts(&self) -> BTreeMap<&str, &str> {
        self.attributes
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.string_value.as_deref()?)))
            .collect()
    }

    fn entry(&self, id: usize, run: &str, is_fifo: bool) -> Option<SendMessageBatchRequestEntry> {
        let text = |kind: &str, value: String| {
            MessageAttributeValue::builder().data_type(kind).string_value(value).build().ok()
        };
        let redrives = self.redrives + 1;
        let mut attributes = self.attributes.clone();
        attributes.insert(REDRIVES.to_owned(), text("Number", redrives.to_string())?);
        attributes.insert(RUN.to_owned(), text("String", run.to_owned())?);
        // The same for whoever sends the same letter again after a kill, so that a FIFO queue takes it once.
        let once = is_fifo.then(|| hash(&format!("{redrives}/{}", self.body)));
        SendMessageBatchRequestEntry::builder()
            .id(id.to_string())
            .message_body(&self.body)
            .set_message_attributes(Some(attributes))
            .set_message_group_id(self.group.clone())
            .set_message_deduplication_id(once)
            .build()
            .ok()
    }
}

pub(crate) fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// How full a queue is, as SQS guesses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Depth {
    pub(crate) visible: u64,
    pub(crate) hidden: u64,
}

/// How full the queue of this URL is.
pub(crate) async fn depth(client: &Client, url: &str) -> Result<Depth, Problem> {
    let names = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    ];
    let request = client.get_queue_attributes().queue_url(url);
    let answer = request.set_attribute_names(Some(names.to_vec())).send().await;
    let answer = answer.map_err(|error| Problem::aws("GetQueueAttributes", &error))?;
    let number = |name| {
        let text = answer.attributes.as_ref().and_then(|all| all.get(name));
        text.and_then(|text| text.parse().ok()).unwrap_or_default()
    };
    Ok(Depth { visible: number(&names[0]), hidden: number(&names[1]) })
}

/// A dead-letter queue.
#[derive(Clone, Debug)]
pub(crate) struct Letters<'a> {
    pub(crate) client: &'a Client,
    pub(crate) queue: &'a DeadLetters,
}

impl Letters<'_> {
    pub(crate) async fn depth(&self) -> Result<Depth, Problem> {
        depth(self.client, &self.queue.url).await
    }

    /// Up to `most` messages; others do not see them for [`HIDDEN_S`].
    pub(crate) async fn receive(&self, most: usize, wait_s: i32) -> Result<Vec<Letter>, Problem> {
        let request = self
            .client
            .receive_message()
            .queue_url(&self.queue.url)
            .max_number_of_messages(i32::try_from(most.clamp(1, BATCH)).unwrap_or(1))
            .visibility_timeout(HIDDEN_S)
            .wait_time_seconds(wait_s)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .message_attribute_names("All");
        let answer = request.send().await.map_err(|error| Problem::aws("ReceiveMessage", &error))?;
        Ok(answer.messages.unwrap_or_default().into_iter().map(Letter::of).collect())
    }

    /// Sends letters back to `source`, counted. Tells for each whether that succeeded.
    pub(crate) async fn send(
        &self,
        source: &str,
        letters: &[Letter],
        run: &str,
    ) -> Result<Vec<bool>, Problem> {
        let is_fifo = DeadLetters::is_fifo(source);
        let entries: Vec<_> =
            letters.iter().enumerate().filter_map(|(id, letter)| letter.entry(id, run, is_fifo)).collect();
        let request = self.client.send_message_batch().queue_url(source).set_entries(Some(entries));
        let answer = request.send().await.map_err(|error| Problem::aws("SendMessageBatch", &error))?;
        let mut sent = vec![false; letters.len()];
        for done in &answer.successful {
            if let Some(flag) = done.id.parse().ok().and_then(|id: usize| sent.get_mut(id)) {
                *flag = true;
            }
        }
        Ok(sent)
    }

    /// Deletes letters, and tells for each whether that succeeded.
    pub(crate) async fn delete(&self, letters: &[Letter]) -> Result<Vec<bool>, Problem> {
        let entries = letters.iter().enumerate().filter_map(|(id, letter)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(id.to_string());
            entry.receipt_handle(&letter.handle).build().ok()
        });
        let request = self.client.delete_message_batch().queue_url(&self.queue.url);
        let answer = request.set_entries(Some(entries.collect())).send().await;
        let answer = answer.map_err(|error| Problem::aws("DeleteMessageBatch", &error))?;
        let mut deleted = vec![false; letters.len()];
        for done in &answer.successful {
            if let Some(flag) = done.id.parse().ok().and_then(|id: usize| deleted.get_mut(id)) {
                *flag = true;
            }
        }
        Ok(deleted)
    }

    /// Lets others see a letter again. If that fails, they see it when its time is over.
    pub(crate) async fn release(&self, handle: &str) {
        let request = self.client.change_message_visibility().queue_url(&self.queue.url);
        let _ = request.receipt_handle(handle).visibility_timeout(0).send().await;
    }

    async fn arn(&self) -> Result<String, Problem> {
        let request = self.client.get_queue_attributes().queue_url(&self.queue.url);
        let answer = request.attribute_names(QueueAttributeName::QueueArn).send().await;
        let answer = answer.map_err(|error| Problem::aws("GetQueueAttributes", &error))?;
        let arn = answer.attributes.and_then(|mut all| all.remove(&QueueAttributeName::QueueArn));
        arn.ok_or_else(|| Problem::new("a queue has no ARN", "Check the queue in the console."))
    }

    /// SQS's own moves of this queue; `None` where it has none of its own.
    pub(crate) async fn own_moves(&self) -> Result<Option<Vec<Move>>, Problem> {
        let request = self.client.list_message_move_tasks().source_arn(self.arn().await?).max_results(10);
        match request.send().await {
            Ok(answer) => Ok(Some(
                answer
                    .results
                    .unwrap_or_default()
                    .into_iter()
                    .map(|entry| Move {
                        running: matches!(entry.status.as_deref(), Some("RUNNING" | "CANCELLING")),
                        moved: u64::try_from(entry.approximate_number_of_messages_moved).unwrap_or_default(),
                        failure: entry.failure_reason,
                    })
                    .collect(),
            )),
            Err(error) if is_not_offered(error.code()) => Ok(None),
            Err(error) => Err(Problem::aws("ListMessageMoveTasks", &error)),
        }
    }

    /// Lets SQS move everything back at this rate. `false` where it has no such thing.
    pub(crate) async fn move_all(&self, rate: f64) -> Result<bool, Problem> {
        #[expect(clippy::cast_possible_truncation, reason = "a rate is at most 1000")]
        let rate = (rate.floor() as i32).clamp(1, 500);
        let request = self.client.start_message_move_task().source_arn(self.arn().await?);
        match request.max_number_of_messages_per_second(rate).send().await {
            Ok(_) => Ok(true),
            Err(error) if is_not_offered(error.code()) => Ok(false),
            Err(error) => Err(Problem::aws("StartMessageMoveTask", &error)),
        }
    }
}

/// One of SQS's own moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) running: bool,
    pub(crate) moved: u64,
    pub(crate) failure: Option<String>,
}
