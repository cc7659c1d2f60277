//! Tests redeliveries, the dead-letter queue, and the orders to `admit-document`.

use aws_sdk_sqs::operation::{
    change_message_visibility::{ChangeMessageVisibilityInput, ChangeMessageVisibilityOutput},
    send_message::{SendMessageInput, SendMessageOutput},
};
use aws_smithy_mocks::mock;
use lectern::{document::Attempt, message::Envelope, steps::admit_document::Order};

use super::*;
use crate::test_support::{Seen, client, json_error, reference};

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
