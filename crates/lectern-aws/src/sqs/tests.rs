//! Tests redeliveries, the dead-letter queue, and the orders to `admit-document`.

use aws_sdk_sqs::operation::{
    change_message_visibility::{ChangeMessageVisibilityInput, ChangeMessageVisibilityOutput},
    send_message::{SendMessageInput, SendMessageOutput},
};
use aws_smithy_mocks::mock;
use lectern::{document::Attempt, message::Envelope, steps::admit_document::Order};

use super::*;
use crate::test_support::{Seen, answer, client, json_error, reference};

fn message(body: &str, receive_count: u32) -> SqsMessage {
    let message = serde_json::json!({
        "messageId": "m1", "receiptHandle": "receipt", "body": body,
        "attributes": { "ApproximateReceiveCount": receive_count.to_string() }
    });
    serde_json::from_value(message).unwrap()
}

#[test]
fn first_redeliveries_are_soon_and_later_ones_after_the_visibility_timeout() {
    assert_eq!([1, 2, 3, 0].map(pause_s), [Some(2), Some(10), None, None]);
}

#[tokio::test]
async fn pause_is_set_for_just_this_delivery() {
    let seen = Seen::<ChangeMessageVisibilityInput>::new();
    let noted = seen.clone();
    let rule = mock!(Client::change_message_visibility).then_compute_output(move |request| {
        noted.note(request);
        ChangeMessageVisibilityOutput::builder().build()
    });
    let queue = SourceQueue::new(client!(aws_sdk_sqs, rule), "https://queue".to_owned());
    queue.redeliver_soon(&message("body", 2)).await;
    queue.redeliver_soon(&message("body", 3)).await;
    let request = seen.only();
    assert_eq!(request.queue_url(), Some("https://queue"));
    assert_eq!(request.receipt_handle(), Some("receipt"));
    assert_eq!(request.visibility_timeout(), Some(10));
}

/// `deliver-events` has two queues. A receipt handle is of one queue only.
#[tokio::test]
async fn pause_is_set_in_the_queue_from_which_the_message_came() {
    for (queue, url) in [("events.fifo", "https://sqs/1/events.fifo"), ("timers", "https://sqs/1/timers")] {
        let seen = Seen::<ChangeMessageVisibilityInput>::new();
        let noted = seen.clone();
        let rule = mock!(Client::change_message_visibility).then_compute_output(move |request| {
            noted.note(request);
            ChangeMessageVisibilityOutput::builder().build()
        });
        let queues = SourceQueue::new(client!(aws_sdk_sqs, rule), "https://sqs/1/events.fifo".to_owned());
        let queues = queues.and("https://sqs/1/timers".to_owned());
        let mut message = message("body", 1);
        message.event_source_arn = Some(format!("arn:aws:sqs:us-east-1:1:{queue}"));
        queues.redeliver_soon(&message).await;
        assert_eq!(seen.only().queue_url(), Some(url));
    }
}

#[tokio::test]
async fn order_is_a_message_that_admit_document_reads() {
    let seen = Seen::<SendMessageInput>::new();
    let noted = seen.clone();
    let rule = mock!(Client::send_message).then_compute_output(move |request| {
        noted.note(request);
        SendMessageOutput::builder().build()
    });
    let queue = AdmissionQueue::new(client!(aws_sdk_sqs, rule), "https://admission.fifo".to_owned());
    let released = Input { envelope: Envelope::new(reference(), Attempt(1_000_007)), order: Order::Release };
    queue.send(released.clone()).await.unwrap();
    let request = seen.only();
    assert_eq!(
        (request.queue_url(), request.message_group_id()),
        (Some("https://admission.fifo"), Some("admission"))
    );
    let order: Input = lectern::message::parse(request.message_body().unwrap()).unwrap();
    assert_eq!(order, released);
}

#[tokio::test]
async fn case_18_unreadable_message_is_put_into_the_dead_letter_queue_as_it_is_and_once() {
    let seen = Seen::<SendMessageInput>::new();
    let noted = seen.clone();
    let rule = mock!(Client::send_message).then_compute_output(move |request| {
        noted.note(request);
        SendMessageOutput::builder().build()
    });
    let queue = SourceQueue::new(client!(aws_sdk_sqs, rule), "https://queue".to_owned());
    queue.send_to_dlq("https://dlq.fifo", &message("not json", 1)).await.unwrap();
    let request = seen.only();
    assert_eq!((request.queue_url(), request.message_body()), (Some("https://dlq.fifo"), Some("not json")));
    assert!(request.message_group_id().is_some(), "a FIFO queue takes no message without a group");
    assert_eq!(
        request.message_deduplication_id(),
        Some("m1"),
        "a message that is delivered again is put there once"
    );
}

#[tokio::test]
async fn message_that_cannot_be_put_into_the_dead_letter_queue_is_an_error() {
    let rule = mock!(Client::send_message).then_http_response(|| json_error("AccessDenied"));
    let queue = SourceQueue::new(client!(aws_sdk_sqs, rule), "https://queue".to_owned());
    let error = queue.send_to_dlq("https://dlq.fifo", &message("secret body", 1)).await.unwrap_err();
    assert_eq!(error.name(), "Store.Unavailable");
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn pause_that_cannot_be_set_is_ignored() {
    let rule =
        mock!(Client::change_message_visibility).then_http_response(|| json_error("ReceiptHandleIsInvalid"));
    let queue = SourceQueue::new(client!(aws_sdk_sqs, rule), "https://queue".to_owned());
    queue.redeliver_soon(&message("body", 1)).await;
    assert_eq!(rule.num_calls(), 1);
}

#[tokio::test]
async fn depth_of_a_queue_counts_what_waits_what_is_handled_and_what_is_dead() {
    let attributes = |url: &'static str, [waiting, delayed, in_flight]: [u64; 3]| {
        mock!(Client::get_queue_attributes)
            .match_requests(move |request| {
                request.queue_url() == Some(url) && request.attribute_names().len() == 3
            })
            .then_http_response(move || {
                let attributes = serde_json::json!({
                    "ApproximateNumberOfMessages": waiting.to_string(),
                    "ApproximateNumberOfMessagesDelayed": delayed.to_string(),
                    "ApproximateNumberOfMessagesNotVisible": in_flight.to_string(),
                });
                answer(200, serde_json::json!({ "Attributes": attributes }).to_string())
            })
    };
    let (queue, dead) = (attributes("https://queue", [3, 1, 2]), attributes("https://dead", [5, 0, 1]));
    let observed = ObservedQueue {
        name: "transfer-document".to_owned(),
        url: "https://queue".to_owned(),
        dead_letter_url: "https://dead".to_owned(),
    };
    let queues = ObservedQueues::new(client!(aws_sdk_sqs, queue, dead), vec![observed]);
    let expected =
        QueueDepth { name: "transfer-document".to_owned(), waiting: 4, in_flight: 2, dead_letters: 6 };
    assert_eq!(queues.depths().await.unwrap(), [expected]);
}

#[tokio::test]
async fn queue_that_cannot_be_read_is_an_error() {
    let refused = mock!(Client::get_queue_attributes).then_http_response(|| json_error("AccessDenied"));
    let observed = ObservedQueue { name: String::new(), url: String::new(), dead_letter_url: String::new() };
    let queues = ObservedQueues::new(client!(aws_sdk_sqs, refused), vec![observed]);
    let error = queues.depths().await.unwrap_err();
    assert!(error.to_string().contains("GetQueueAttributes"), "{error}");
}
