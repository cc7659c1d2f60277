//! Registering a document once, with concurrent writes.

use aws_sdk_dynamodb::{Client, operation::get_item::GetItemOutput};
use aws_smithy_mocks::mock;
use lectern::{
    document::{CallbackId, DocumentId, DocumentRef},
    ports::{NewDocument, Register as _, Registration, Sequencer},
};
use lectern_content::MediaType;
use rstest::rstest;

use super::*;
use crate::{
    dynamodb::items::{file_key, submission_key},
    test_support::{NOW, Seen, object, traceparent},
};

pub(super) fn new() -> NewDocument {
    NewDocument {
        reference: reference(),
        object: object(),
        sequencer: Sequencer::new("0A"),
        owner: None,
        name: None,
        size_bytes: 12,
        media_type: Some(MediaType::Text),
        rejected: None,
        callback_id: CallbackId::new("callback-one"),
        traceparent: traceparent(),
        now: NOW,
    }
}

pub(super) fn no_submission() -> Rule {
    reads(&submission_key(&reference().submission_id), None)
}

pub(super) fn no_file() -> Rule {
    reads(&file_key(&reference().submission_id, &object()), None)
}

/// The previous version, and the item that names it as the file's current version.
fn older() -> (DocumentRef, Item) {
    let older =
        DocumentRef { document_id: DocumentId::of("uploads", object().key.as_bytes(), "v0"), ..reference() };
    let mut item = file_key(&reference().submission_id, &object());
    item.extend(to_item(&older).unwrap());
    item.insert("sequencer".to_owned(), text(Sequencer::new("09").as_str()));
    (older, item)
}

#[tokio::test]
async fn document_callback_file_and_count_are_one_write() {
    let seen = Seen::new();
    let store = store!(reads_document(None), no_file(), no_submission(), transacts(&seen));
    let Registration::New(registered) = store.register(new()).await.unwrap() else { panic!("known") };
    assert_eq!(registered.state.as_str(), "Received");
    let request = seen.only();
    assert_eq!(request.transact_items().len(), 4);
    let puts = puts(&request);
    let keys: Vec<_> = puts.iter().map(|put| put.item()["pk"].as_s().unwrap().as_str()).collect();
    assert_eq!(keys, ["SUBMISSION#s1", "CALLBACK#callback-one", "SUBMISSION#s1"]);
    for put in &puts {
        assert_eq!(put.condition_expression(), Some("attribute_not_exists(pk)"));
    }
    assert_eq!(puts[1].item()["documentId"], text(&reference().document_id.to_string()));
    assert!(request.transact_items()[3].update().is_some(), "the submission counts it");
}

#[tokio::test]
async fn case_1_document_that_is_known_is_left_alone() {
    let store = store!(reads_document(Some(stored(document(), |_| {}))));
    assert_eq!(store.register(new()).await.unwrap(), Registration::Known(document()));
}

#[tokio::test]
async fn case_3_d08_newer_version_replaces_just_the_version_that_was_read_and_keeps_unknown_attributes() {
    let (older, mut file) = older();
    let seen = Seen::new();
    let mut old = stored(Document { reference: older.clone(), ..document() }, |_| {});
    for item in [&mut file, &mut old] {
        item.insert("newer".to_owned(), text("kept"));
    }
    let store = store!(
        reads_document(None),
        reads(&file_key(&reference().submission_id, &object()), Some(file)),
        reads(&document_key(&older), Some(old)),
        no_submission(),
        transacts(&seen)
    );
    assert!(matches!(store.register(new()).await.unwrap(), Registration::New(_)));
    let puts = puts(&seen.only());
    assert_eq!(puts[2].condition_expression(), Some("documentId = :replaced"));
    let replaced = values(&[(":replaced", text(&older.document_id.to_string()))]);
    assert_eq!(puts[2].expression_attribute_values(), Some(&replaced));
    assert_eq!(puts[3].item()["supersededBy"], text(&reference().document_id.to_string()));
    assert_eq!(puts[3].condition_expression(), Some("revision = :read"));
    for put in &puts[2..] {
        assert_eq!(put.item()["newer"], text("kept"), "newer code wrote it (D08)");
    }
}

/// The first read finds nothing, the transaction is cancelled, and the second read finds `then`.
async fn cancelled_then(
    reasons: &'static [&'static str],
    then: Option<Item>,
) -> Result<Registration, String> {
    let read = mock!(Client::get_item)
        .match_requests(is_read_of(&document_key(&reference())))
        .sequence()
        .output(|| GetItemOutput::builder().build())
        .output(move || GetItemOutput::builder().set_item(then.clone()).build())
        .build();
    let transact = mock!(Client::transact_write_items).then_http_response(move || cancelled(reasons));
    let store = store!(read, no_file(), no_submission(), transact);
    store.register(new()).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn case_1_duplicate_event_that_comes_at_the_same_moment_finds_the_document_known() {
    let reasons = &["ConditionalCheckFailed", "None", "ConditionalCheckFailed", "None"];
    let known = cancelled_then(reasons, Some(stored(document(), |_| {}))).await;
    assert_eq!(known, Ok(Registration::Known(document())));
}

#[rstest]
#[case(&["None", "None", "ConditionalCheckFailed", "None"])]
#[case(&["None", "None", "None", "TransactionConflict"])]
#[case(&["None", "None", "None", "ConditionalCheckFailed"])]
#[tokio::test]
async fn case_45_write_that_meets_another_document_is_a_conflict_to_try_again(
    #[case] reasons: &'static [&'static str],
) {
    let error = cancelled_then(reasons, None).await.unwrap_err();
    assert_eq!(error, "our own store failed: another writer came first");
}

#[tokio::test]
async fn registration_that_cannot_be_written_is_unavailable() {
    let transact =
        mock!(Client::transact_write_items).then_http_response(|| json_error("ThrottlingException"));
    let store = store!(reads_document(None), no_file(), no_submission(), transact);
    let error = store.register(new()).await.unwrap_err();
    assert!(error.to_string().contains("ThrottlingException"), "{error}");
}
