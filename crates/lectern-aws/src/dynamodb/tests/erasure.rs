//! The expiry of a document's items, and erasing them.

use std::time::Duration;

use aws_sdk_dynamodb::{
    Client,
    operation::update_item::{UpdateItemInput, UpdateItemOutput},
    types::ReturnValue,
};
use aws_smithy_mocks::mock;
use lectern::{
    document::{DocumentState, Reason, retention::Retention},
    error::Error,
    limits::ERASED_CALLBACK_LIFETIME,
    ports::{
        Erasures as _, Finish, Finishing as _, NewDocument, Register as _, Registration, Reopened,
        Reopening as _,
    },
    testing::world::failed_for,
};

use super::{
    moves::{failed, one_open},
    register::{new, no_file, no_submission},
    *,
};
use crate::{
    dynamodb::items::{callback_key, file_key, submission_key},
    test_support::{NOW, Seen, object},
};

const RETENTION: Retention =
    Retention { uploads: Some(Duration::from_hours(24)), records: Some(Duration::from_hours(48)) };

fn expiry() -> AttributeValue {
    AttributeValue::N(RETENTION.expires_at(NOW).unwrap().to_string())
}

fn updates(request: &TransactWriteItemsInput) -> Vec<Update> {
    request.transact_items().iter().filter_map(TransactWriteItem::update).cloned().collect()
}

fn submission(item: Option<Item>) -> Rule {
    reads(&submission_key(&reference().submission_id), item)
}

/// The item of a submission that is being erased.
fn erased() -> Item {
    let mut item = submission_key(&reference().submission_id);
    item.insert("submissionId".to_owned(), text("s1"));
    item.insert("erasureState".to_owned(), text("Erasing"));
    item.insert("erasedBy".to_owned(), text("arn:operator"));
    item.insert("erasureBeganAt".to_owned(), text("2026-11-20T12:00:00.000Z"));
    item
}

#[tokio::test]
async fn a08_all_items_of_a_document_expire_with_its_end() {
    let seen = Seen::new();
    let store = store!(
        reads_document(Some(stored(document(), |_| {}))),
        submission(Some(submission_item(&one_open()))),
        transacts(&seen)
    );
    let failed = failed_for(Reason::new("drm", "No."));
    let store = store.with_retention(RETENTION);
    assert_eq!(store.finish(&reference(), failed, NOW).await.unwrap(), Finish::Finished);
    let request = seen.only();
    assert_eq!(puts(&request)[0].item()["expiresAt"], expiry());
    let updates = updates(&request);
    let keys = [
        callback_key(&document().callback_id),
        file_key(&reference().submission_id, &object()),
        submission_key(&reference().submission_id),
    ];
    assert_eq!(updates.iter().map(Update::key).collect::<Vec<_>>(), keys.iter().collect::<Vec<_>>());
    for update in updates {
        assert!(update.update_expression().contains("SET "), "{update:?}");
        let values = update.expression_attribute_values().unwrap();
        assert!(values.values().any(|value| *value == expiry()), "{update:?}");
    }
}

#[tokio::test]
async fn a08_file_of_a_newer_version_does_not_expire_with_an_older_one() {
    let seen = Seen::new();
    let superseded = Document { superseded_by: Some(reference().document_id), ..document() };
    let store = store!(reads_document(Some(stored(superseded, |_| {}))), transacts(&seen));
    let outcome = failed_for(Reason::new("drm", "No."));
    store.with_retention(RETENTION).finish(&reference(), outcome, NOW).await.unwrap();
    let updates = updates(&seen.only());
    assert_eq!(updates.iter().map(Update::key).collect::<Vec<_>>(), [&callback_key(&document().callback_id)]);
}

#[tokio::test]
async fn a08_submission_does_not_expire_while_a_document_is_open() {
    let seen = Seen::new();
    let mut two_open = one_open();
    two_open.counts.open = 2;
    let store = store!(
        reads_document(Some(stored(document(), |_| {}))),
        submission(Some(submission_item(&two_open))),
        transacts(&seen)
    );
    let outcome = failed_for(Reason::new("drm", "No."));
    store.with_retention(RETENTION).finish(&reference(), outcome, NOW).await.unwrap();
    let count = updates(&seen.only()).pop().unwrap();
    assert!(count.update_expression().contains("REMOVE expiresAt"), "{count:?}");
}

#[tokio::test]
async fn a08_nothing_of_a_reopened_document_expires() {
    let seen = Seen::new();
    let expiring = Document { expires_at: RETENTION.expires_at(NOW), ..failed() };
    let store = store!(
        reads_document(Some(stored(expiring, |_| {}))),
        submission(Some(submission_item(&one_open()))),
        transacts(&seen)
    );
    let Reopened::Open(open) = store.reopen(&reference(), 0, false, NOW).await.unwrap() else {
        panic!("it is not open")
    };
    assert_eq!(open.expires_at, None);
    let request = seen.only();
    assert_eq!(puts(&request)[0].item().get("expiresAt"), None);
    let updates = updates(&request);
    assert_eq!(updates.len(), 3, "callback id, file and submission");
    for update in updates {
        let names = update.expression_attribute_names().unwrap();
        let removed = update.update_expression().contains("REMOVE expiresAt")
            || (update.update_expression().contains("REMOVE #removed0") && names["#removed0"] == "expiresAt");
        assert!(removed, "{update:?}");
    }
}

#[tokio::test]
async fn a08_rejected_upload_expires_from_its_registration() {
    let seen = Seen::new();
    let store = store!(reads_document(None), no_file(), no_submission(), transacts(&seen));
    let rejected = NewDocument { rejected: Some(Reason::new("empty", "It is empty.")), ..new() };
    store.with_retention(RETENTION).register(rejected).await.unwrap();
    let request = seen.only();
    for put in puts(&request) {
        assert_eq!(put.item()["expiresAt"], expiry(), "{put:?}");
    }
    assert!(updates(&request)[0].update_expression().contains("expiresAt = :expires"));
}

/// The items of a document do not expire in an order. Here the document is gone and its file's item still names it.
#[tokio::test]
async fn a08_newer_version_of_a_file_whose_document_has_expired_is_registered() {
    let seen = Seen::new();
    let older = lectern::document::DocumentRef {
        document_id: lectern::document::DocumentId::of("uploads", object().key.as_bytes(), "v0"),
        ..reference()
    };
    let mut file = file_key(&reference().submission_id, &object());
    file.extend(to_item(&older).unwrap());
    file.insert("sequencer".to_owned(), text("09"));
    file.insert("expiresAt".to_owned(), expiry());
    let store = store!(
        reads_document(None),
        reads(&file_key(&reference().submission_id, &object()), Some(file)),
        reads(&document_key(&older), None),
        no_submission(),
        transacts(&seen)
    );
    assert!(matches!(store.register(new()).await.unwrap(), Registration::New(_)));
    let put = puts(&seen.only())[2].clone();
    assert_eq!(put.condition_expression(), Some("documentId = :replaced"));
    assert_eq!(put.expression_attribute_values().unwrap()[":replaced"], text(&older.document_id.to_string()));
    assert_eq!(put.item().get("expiresAt"), None, "the new document is open");
}

#[tokio::test]
async fn a08_erased_submission_takes_no_document_and_every_count_depends_on_it() {
    let store = || store!(reads_document(None), no_file(), submission(Some(erased())));
    assert_eq!(store().register(new()).await.unwrap(), Registration::Erased);
    let seen = Seen::new();
    let store = store!(
        reads_document(Some(stored(document(), |_| {}))),
        submission(Some(erased())),
        transacts(&seen)
    );
    let outcome = failed_for(Reason::new("drm", "No."));
    assert_eq!(store.finish(&reference(), outcome, NOW).await.unwrap(), Finish::Finished);
    assert!(updates(&seen.only()).is_empty(), "the end is not counted");
    let store = store!(reads_document(Some(stored(failed(), |_| {}))), submission(Some(erased())));
    assert_eq!(store.reopen(&reference(), 0, false, NOW).await.unwrap(), Reopened::Unknown);
    // The erasure may begin between the read and the write.
    let seen = Seen::new();
    let store = store!(reads_document(None), no_file(), no_submission(), transacts(&seen));
    store.register(new()).await.unwrap();
    let condition = updates(&seen.only())[0].condition_expression().unwrap().to_owned();
    assert_eq!(condition, "attribute_not_exists(erasureState)");
}

#[tokio::test]
async fn a08_document_its_file_its_callback_id_and_the_count_are_one_write() {
    let seen = Seen::new();
    store!(transacts(&seen)).erase_document(&document(), NOW).await.unwrap();
    let request = seen.only();
    let deleted: Vec<&Item> = request
        .transact_items()
        .iter()
        .filter_map(TransactWriteItem::delete)
        .map(aws_sdk_dynamodb::types::Delete::key)
        .collect();
    assert_eq!(deleted, [&document_key(&reference()), &file_key(&reference().submission_id, &object())]);
    let updates = updates(&request);
    assert_eq!(updates[0].key(), &callback_key(&document().callback_id));
    let expires_at = (NOW + ERASED_CALLBACK_LIFETIME).unix_timestamp();
    let values = updates[0].expression_attribute_values().unwrap();
    assert_eq!(values[":expires"], AttributeValue::N(expires_at.to_string()));
    assert!(updates[0].update_expression().contains("REMOVE traceparent"));
    assert_eq!(updates[1].update_expression(), "ADD erasedDocuments :one");
    assert_eq!(updates[1].condition_expression(), Some("attribute_exists(erasureState)"));
}

#[tokio::test]
async fn a08_beginning_removes_the_submission_from_the_index_and_keeps_the_first_time() {
    let seen = Seen::<UpdateItemInput>::new();
    let noted = seen.clone();
    let begin = mock!(Client::update_item).then_compute_output(move |request| {
        noted.note(request);
        UpdateItemOutput::builder().build()
    });
    store!(begin).begin_erasure(&"s1".parse().unwrap(), "arn:operator", NOW).await.unwrap();
    let request = seen.only();
    let expression = request.update_expression().unwrap();
    for part in
        ["erasureBeganAt = if_not_exists(erasureBeganAt, :now)", "REMOVE #state, createdAt, createdOrder"]
    {
        assert!(expression.contains(part), "{part}: {expression}");
    }
    assert_eq!(request.condition_expression(), None, "an erasure may be begun again");
    assert_eq!(request.return_values(), None::<&ReturnValue>);
}

#[tokio::test]
async fn a08_writes_of_an_erasure_that_never_began_are_refused() {
    let refused =
        || mock!(Client::update_item).then_http_response(|| json_error("ConditionalCheckFailedException"));
    let error: Error = store!(refused()).count_erased_versions(&"s1".parse().unwrap(), 1).await.unwrap_err();
    assert_eq!(error.to_string(), "our own store failed: another writer came first");
    assert_eq!(document().state, DocumentState::Processing);
}
