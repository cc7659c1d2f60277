//! Unreadable messages: only they are delivered again, and they reach the dead-letter queue unchanged. The visibility
//! timeouts determine how long these tests take.

use lectern::document::{DocumentId, DocumentRef, SubmissionId};
use serde_json::json;
use uuid::Uuid;

use crate::{
    case::{Case, Upload},
    queues::{encoded_event_record, event},
    stack::Stack,
};

#[tokio::test]
async fn case_17_one_poisonous_message_of_ten_goes_to_the_dead_letter_queue_alone() {
    let stack = Case::begin().stack;
    let poison = json!({ "poison": Uuid::new_v4(), "text": "\u{1F480} <&> \"" }).to_string();
    let versions: Vec<String> = (0..9).map(|_| Uuid::new_v4().to_string()).collect();
    let mut bodies: Vec<String> = versions
        .iter()
        .map(|version| event(&[encoded_event_record(&stack, "submissions/x.txt", version, "1")]))
        .collect();
    bodies.insert(4, poison.clone());
    stack.send_batch(&stack.is.queue_urls.receive_upload, &bodies).await;
    for version in versions {
        let document_id = DocumentId::of(&stack.is.uploads_bucket, b"submissions/x.txt", &version);
        let document = DocumentRef { submission_id: SubmissionId::unassigned(), document_id };
        stack.rejected(&Upload { document, key: String::new(), version }, "invalidKey").await;
    }
    stack.dead_letter(&stack.is.dead_letter_queue_urls.receive_upload, &poison).await;
}

async fn unreadable_goes_to_the_dead_letter_queue(stack: &Stack, queue: &str, dead_letter_queue: &str) {
    let unique = Uuid::new_v4();
    let not_json = format!("no JSON at all: {unique} \u{1F480}");
    // No release wrote this version. A newer version waits (A07).
    let unknown_schema = json!({
        "schemaVersion": 0, "submissionId": "s1", "documentId": unique, "attempt": 1, "round": 1, "taskToken": "t"
    });
    let bodies = [not_json, unknown_schema.to_string()];
    stack.send_batch(queue, &bodies).await;
    for body in &bodies {
        stack.dead_letter(dead_letter_queue, body).await;
    }
}

#[tokio::test]
async fn case_18_unreadable_upload_events_go_to_the_dead_letter_queue_with_their_body() {
    let stack = Stack::open();
    let (queues, dead) = (&stack.is.queue_urls, &stack.is.dead_letter_queue_urls);
    unreadable_goes_to_the_dead_letter_queue(&stack, &queues.receive_upload, &dead.receive_upload).await;
}

#[tokio::test]
async fn case_18_unreadable_transfers_go_to_the_dead_letter_queue_with_their_body() {
    let stack = Stack::open();
    let (queues, dead) = (&stack.is.queue_urls, &stack.is.dead_letter_queue_urls);
    unreadable_goes_to_the_dead_letter_queue(&stack, &queues.transfer_document, &dead.transfer_document)
        .await;
}

#[tokio::test]
async fn case_18_unreadable_normalizations_go_to_the_dead_letter_queue_with_their_body() {
    let stack = Stack::open();
    let (queues, dead) = (&stack.is.queue_urls, &stack.is.dead_letter_queue_urls);
    unreadable_goes_to_the_dead_letter_queue(&stack, &queues.normalize_document, &dead.normalize_document)
        .await;
}
