//! Tests the store with prepared answers of `DynamoDB`: the requests that the store sends, and every refused write.

mod admission;
mod browse;
mod conflicts;
mod erasure;
mod golden;
mod moves;
mod register;
mod results;

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client,
    config::http::HttpResponse,
    operation::{
        get_item::{GetItemInput, GetItemOutput},
        transact_write_items::{TransactWriteItemsInput, TransactWriteItemsOutput},
    },
    types::{AttributeValue, Put, TransactWriteItem, Update},
};
use aws_smithy_mocks::{Rule, mock};
use lectern::{document::Document, document::submission::Submission};
use serde_json::Value;

use super::items::{Item, StoredDocument, document_key, submission_key, to_item};
use crate::test_support::{Seen, answer, document, json_error, reference};

/// A store in the table `table`.
macro_rules! store {
    ($($rule:expr),*) => {
        crate::dynamodb::DynamoDbStore::new(
            crate::test_support::client!(aws_sdk_dynamodb, $($rule),*),
            "table".to_owned(),
        )
    };
}
use store;

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn stored(document: Document, change: impl FnOnce(&mut StoredDocument)) -> Item {
    let mut stored = StoredDocument { revision: 7, ..StoredDocument::new(document) };
    change(&mut stored);
    to_item(&stored).unwrap()
}

fn submission_item(submission: &Submission) -> Item {
    let mut item = submission_key(&submission.submission_id);
    item.extend(to_item(submission).unwrap());
    item
}

fn is_read_of(key: &Item) -> impl Fn(&GetItemInput) -> bool + use<> {
    let key = key.clone();
    move |request| {
        request.table_name() == Some("table")
            && request.consistent_read() == Some(true)
            && request.key() == Some(&key)
    }
}

/// Answers consistent reads of this key.
fn reads(key: &Item, item: Option<Item>) -> Rule {
    mock!(Client::get_item)
        .match_requests(is_read_of(key))
        .then_output(move || GetItemOutput::builder().set_item(item.clone()).build())
}

fn reads_document(item: Option<Item>) -> Rule {
    reads(&document_key(&reference()), item)
}

fn transacts(seen: &Seen<TransactWriteItemsInput>) -> Rule {
    let seen = seen.clone();
    mock!(Client::transact_write_items).then_compute_output(move |request| {
        seen.note(request);
        TransactWriteItemsOutput::builder().build()
    })
}

/// A cancelled transaction, with the code of each write's reason.
fn cancelled(codes: &[&str]) -> HttpResponse {
    let reasons: Vec<Value> = codes.iter().map(|code| serde_json::json!({ "Code": code })).collect();
    let body = serde_json::json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": "Transaction cancelled, please refer cancellation reasons for specific reasons [secret detail]",
        "CancellationReasons": reasons
    });
    answer(400, body.to_string())
}

fn puts(request: &TransactWriteItemsInput) -> Vec<Put> {
    request.transact_items().iter().filter_map(TransactWriteItem::put).cloned().collect()
}

fn values(pairs: &[(&str, AttributeValue)]) -> HashMap<String, AttributeValue> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

#[test]
fn keys_and_attributes_are_those_of_the_template_and_the_state_machine() {
    let template = include_str!("../../../../template.yaml");
    let machine = include_str!("../../../../statemachines/document.asl.json");
    let item = stored(document(), |_| {});
    assert_eq!(item["pk"], text("SUBMISSION#s1"));
    assert_eq!(item["sk"], text(&format!("DOCUMENT#{}", reference().document_id)));
    for part in ["'SUBMISSION#' & $submissionId", "'DOCUMENT#' & $documentId"] {
        assert!(machine.contains(part), "{part}");
    }
    for attribute in ["pk", "sk", "state", "createdOrder"] {
        assert!(template.contains(&format!("AttributeName: {attribute},")), "{attribute}");
    }
    assert!(template.contains(&format!("IndexName: {}", super::items::SUBMISSIONS_BY_STATE)));
    for attribute in ["state", "times", "revision"] {
        assert!(item.contains_key(attribute), "{attribute}");
        assert!(machine.contains(attribute), "{attribute}");
    }
    for attribute in ["taskToken", "result", "resultFiles", "resultOutcome"] {
        assert!(machine.contains(attribute), "{attribute}");
    }
    assert!(!item.contains_key("createdOrder"), "only submissions are in the index");
}

#[test]
fn what_the_state_machine_writes_is_read_back() {
    let mut item = stored(document(), |_| {});
    item.insert("taskToken".to_owned(), text("token"));
    item.insert("state".to_owned(), text("Verifying"));
    let read: StoredDocument = super::items::from_item(item).unwrap();
    assert_eq!(read.task_token.unwrap().expose(), "token");
    assert_eq!(read.document.state.as_str(), "Verifying");
}
