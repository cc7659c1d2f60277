//! Queues: S3 events as S3 sends them, and the messages in dead-letter queues.

use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::{
    case::Upload,
    stack::Stack,
    wait::{LATER, eventually},
};

/// The characters that S3 does not encode in a key, besides letters and digits.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'*');

/// One record of an S3 event. The key is form-encoded, as S3 does it.
pub(crate) fn event_record(stack: &Stack, key: &str, version: &str, sequencer: &str) -> Value {
    let encoded = utf8_percent_encode(key, KEPT).to_string().replace("%20", "+");
    encoded_event_record(stack, &encoded, version, sequencer)
}

/// One record of an S3 event with a key that is already encoded, correctly or not.
pub(crate) fn encoded_event_record(stack: &Stack, key: &str, version: &str, sequencer: &str) -> Value {
    json!({
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": {
            "bucket": { "name": stack.is.uploads_bucket },
            "object": { "key": key, "versionId": version, "sequencer": sequencer }
        }
    })
}

pub(crate) fn event(records: &[Value]) -> String {
    json!({ "Records": records }).to_string()
}

impl Stack {
    /// Sends the S3 event of an upload again.
    pub(crate) async fn send_event_again(&self, upload: &Upload) {
        let record = event_record(self, &upload.key, &upload.version, "0001");
        self.send(&self.is.queue_urls.receive_upload, &event(&[record])).await;
    }

    pub(crate) async fn send(&self, queue_url: &str, body: &str) {
        self.sqs.send_message().queue_url(queue_url).message_body(body).send().await.unwrap();
    }

    /// Sends up to ten messages at once.
    pub(crate) async fn send_batch(&self, queue_url: &str, bodies: &[String]) {
        let entries = bodies.iter().enumerate().map(|(index, body)| {
            SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(body).build().unwrap()
        });
        let request = self.sqs.send_message_batch().queue_url(queue_url).set_entries(Some(entries.collect()));
        let answer = request.send().await.unwrap();
        assert!(answer.failed.is_empty(), "{:?}", answer.failed);
    }

    /// Waits for a message with exactly this body in a dead-letter queue, and deletes it.
    pub(crate) async fn dead_letter(&self, queue_url: &str, body: &str) {
        eventually("the message is in the dead-letter queue", LATER, async || {
            let request = self.sqs.receive_message().queue_url(queue_url).max_number_of_messages(10);
            // Other tests read the same queue, so no message is hidden from them.
            let answer = request.visibility_timeout(0).send().await.map_err(|error| format!("{error:?}"))?;
            let messages = answer.messages.unwrap_or_default();
            let Some(found) = messages.iter().find(|message| message.body() == Some(body)) else {
                return Err(format!("{} other messages", messages.len()));
            };
            let handle = found.receipt_handle().unwrap_or_default();
            let deleted = self.sqs.delete_message().queue_url(queue_url).receipt_handle(handle).send().await;
            deleted.map(drop).map_err(|error| format!("{error:?}"))
        })
        .await;
    }
}
