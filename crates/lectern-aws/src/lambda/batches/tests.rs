//! Batches of a FIFO queue: handled at once, failed at once, and never held up by what cannot be read.

use std::sync::Mutex;

use aws_sdk_sqs::operation::{
    change_message_visibility::ChangeMessageVisibilityOutput,
    send_message::{SendMessageInput, SendMessageOutput},
};
use aws_smithy_mocks::{Rule, mock};
use lectern::{
    error::StoreError,
    steps::admit_document::{Input, Order},
};
use serde_json::{Value, json};

use super::*;
use crate::test_support::{Seen, client, json_error, reference};

const DEAD: &str = "https://dead.fifo";

fn order(count: u32) -> String {
    let document = reference();
    json!({
        "schemaVersion": 2, "submissionId": document.submission_id, "documentId": document.document_id,
        "kind": "renew", "attempt": 7, "count": count
    })
    .to_string()
}

fn batch(messages: &[(String, u32)]) -> SqsEvent {
    let records: Vec<Value> = messages
        .iter()
        .enumerate()
        .map(|(index, (body, receives))| {
            json!({
                "messageId": format!("m{index}"), "receiptHandle": format!("r{index}"), "body": body,
                "attributes": { "ApproximateReceiveCount": receives.to_string(), "MessageGroupId": "admission" }
            })
        })
        .collect();
    serde_json::from_value(json!({ "Records": records })).unwrap()
}

fn sends(seen: &Seen<SendMessageInput>) -> Rule {
    let seen = seen.clone();
    mock!(aws_sdk_sqs::Client::send_message).then_compute_output(move |request| {
        seen.note(request);
        SendMessageOutput::builder().build()
    })
}

fn pauses() -> Rule {
    mock!(aws_sdk_sqs::Client::change_message_visibility)
        .then_output(|| ChangeMessageVisibilityOutput::builder().build())
}

/// What was handled, batch by batch, and what the function answers to the queue.
async fn run(rules: [&Rule; 2], messages: &[(String, u32)], fails: bool) -> (Vec<(Vec<u32>, bool)>, Value) {
    let queue = SourceQueue::new(client!(aws_sdk_sqs, *rules[0], *rules[1]), "https://queue.fifo".to_owned());
    let handled = Mutex::new(Vec::new());
    let handle = async |inputs: Vec<Input>, again: bool| {
        let counts = inputs.iter().map(|input| match &input.order {
            Order::Renew { count } => *count,
            order @ (Order::Request { .. } | Order::Report { .. } | Order::Release) => {
                panic!("{order:?}")
            }
        });
        handled.lock().unwrap().push((counts.collect(), again));
        if fails { Err(StoreError::Conflict.into()) } else { Ok(()) }
    };
    let response = handle_all(DEAD, &queue, &handle, batch(messages)).await;
    (handled.into_inner().unwrap(), serde_json::to_value(response).unwrap())
}

fn failed(ids: &[&str]) -> Value {
    let items: Vec<Value> = ids.iter().map(|id| json!({ "itemIdentifier": id })).collect();
    json!({ "batchItemFailures": items })
}

#[tokio::test]
async fn batch_is_handled_at_once_and_in_its_order() {
    let messages = [3, 1, 2].map(|count| (order(count), 1));
    let (sends, pauses) = (sends(&Seen::new()), pauses());
    let (handled, response) = run([&sends, &pauses], &messages, false).await;
    assert_eq!((handled, response), (vec![(vec![3, 1, 2], false)], failed(&[])));
    assert_eq!((sends.num_calls(), pauses.num_calls()), (0, 0));
}

#[tokio::test]
async fn case_20_batch_with_a_redelivered_message_is_marked_as_such() {
    let messages = [(order(1), 1), (order(2), 4), (order(3), 1)];
    let (handled, _) = run([&sends(&Seen::new()), &pauses()], &messages, false).await;
    assert_eq!(handled, [(vec![1, 2, 3], true)]);
}

#[tokio::test]
async fn case_23_batch_that_fails_stays_whole_and_is_delivered_again_soon() {
    let messages = [1, 2, 3].map(|count| (order(count), 1));
    let pauses = pauses();
    let (_, response) = run([&sends(&Seen::new()), &pauses], &messages, true).await;
    assert_eq!(response, failed(&["m0", "m1", "m2"]));
    assert_eq!(pauses.num_calls(), 3);
}

#[tokio::test]
async fn case_17_case_18_unreadable_message_goes_to_the_dead_letter_queue_and_blocks_no_other_message() {
    let seen = Seen::new();
    let poison = order(9).replace("\"schemaVersion\":2", "\"schemaVersion\":1");
    let messages = [(order(1), 1), (poison.clone(), 1), (order(2), 1), ("not json".to_owned(), 1)];
    let (handled, response) = run([&sends(&seen), &pauses()], &messages, false).await;
    assert_eq!((handled, response), (vec![(vec![1, 2], false)], failed(&[])), "it is deleted from its queue");
    let sent: Vec<_> = seen.all().iter().map(|request| request.message_body().unwrap().to_owned()).collect();
    assert_eq!(sent, [poison, "not json".to_owned()]);
    assert!(seen.all().iter().all(|request| request.queue_url() == Some(DEAD)));
}

fn newer(count: u32) -> String {
    order(count).replace("\"schemaVersion\":2", "\"schemaVersion\":3")
}

#[tokio::test]
async fn case_50_a07_order_of_newer_code_moves_to_a_group_of_its_own_and_blocks_no_other_order() {
    let (seen, pauses) = (Seen::new(), pauses());
    let messages = [(order(1), 1), (newer(9), 1), (order(2), 1)];
    let (handled, response) = run([&sends(&seen), &pauses], &messages, false).await;
    assert_eq!((handled, response), (vec![(vec![1, 2], false)], failed(&[])));
    let moved = seen.only();
    assert_eq!(
        (moved.queue_url(), moved.message_body()),
        (Some("https://queue.fifo"), Some(newer(9).as_str()))
    );
    assert_eq!(moved.message_group_id(), Some("newer"));
    assert_eq!(moved.message_deduplication_id(), Some("m1"), "the same body was sent minutes ago");
    assert_eq!(pauses.num_calls(), 0);
}

#[tokio::test]
async fn a07_order_of_newer_code_waits_in_its_group_until_the_newer_code_is_back() {
    let (sends, pauses) = (sends(&Seen::new()), pauses());
    let queue = SourceQueue::new(client!(aws_sdk_sqs, sends, pauses), "https://queue.fifo".to_owned());
    let mut event = batch(&[(newer(9), 40), (order(1), 1)]);
    event.records[0].attributes.insert("MessageGroupId".to_owned(), "newer".to_owned());
    let handle = async |inputs: Vec<Input>, _: bool| {
        assert_eq!(inputs.len(), 1);
        Ok(())
    };
    let response = handle_all(DEAD, &queue, &handle, event).await;
    assert_eq!(serde_json::to_value(response).unwrap(), failed(&["m0"]));
    assert_eq!((sends.num_calls(), pauses.num_calls()), (0, 1));
}

#[tokio::test]
async fn a07_order_of_newer_code_that_cannot_be_moved_stays() {
    let refuses = mock!(aws_sdk_sqs::Client::send_message).then_http_response(|| json_error("AccessDenied"));
    let messages = [(newer(9), 1), (order(1), 1)];
    let (handled, response) = run([&refuses, &pauses()], &messages, false).await;
    assert_eq!((handled, response), (vec![(vec![1], false)], failed(&["m0"])));
}

#[tokio::test]
async fn unreadable_message_that_cannot_be_sent_to_the_dead_letter_queue_stays_and_its_neighbours_are_handled()
 {
    let refuses = mock!(aws_sdk_sqs::Client::send_message).then_http_response(|| json_error("AccessDenied"));
    let messages = [("not json".to_owned(), 1), (order(1), 1)];
    let (handled, response) = run([&refuses, &pauses()], &messages, false).await;
    assert_eq!((handled, response), (vec![(vec![1], false)], failed(&["m0"])));
}

#[tokio::test]
async fn batch_of_which_nothing_can_be_read_is_not_handled() {
    let messages = [("not json".to_owned(), 1), ("{}".to_owned(), 2)];
    let (handled, response) = run([&sends(&Seen::new()), &pauses()], &messages, true).await;
    assert_eq!((handled, response), (Vec::new(), failed(&[])));
}
