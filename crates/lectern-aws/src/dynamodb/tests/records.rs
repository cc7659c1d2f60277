//! Records: in their item as long as it holds them, otherwise in S3 with a pointer.

use aws_sdk_s3::operation::{get_object::GetObjectOutput, put_object::PutObjectOutput};
use aws_smithy_mocks::mock;
use lectern::{
    limits::MAX_INLINE_RECORD_BYTES,
    ports::{Browse as _, FinalOutcome, Finish, Finishing as _},
    record::{Provenance, Record, SCHEMA_VERSION, Source},
};
use lectern_content::MediaType;

use super::*;
use crate::{
    dynamodb::items::record_key,
    test_support::{NOW, Seen, client, xml_error},
};

/// A record whose JSON has just this size.
fn record_of(size: usize) -> Record {
    let time = "2026-11-20T12:00:00.000Z".to_owned();
    let mut record = Record {
        schema_version: SCHEMA_VERSION,
        submission_id: "s1".to_owned(),
        document_id: reference().document_id.to_string(),
        source: Source {
            file_name: "plan.txt".to_owned(),
            media_type: MediaType::Text,
            size_bytes: 12,
            received_at: time.clone(),
        },
        media: None,
        transcript: None,
        text: Some(String::new()),
        findings: Vec::new(),
        attachments: Vec::new(),
        provenance: Provenance {
            provider: "the-service".to_owned(),
            job_id: "j1".to_owned(),
            received_at: time.clone(),
            normalized_at: time,
            source_version_id: "v1".to_owned(),
            returned_sha256: Vec::new(),
        },
    };
    record.text = Some("x".repeat(size - serde_json::to_string(&record).unwrap().len()));
    record
}

fn object_key() -> String {
    lectern::document::keys::record(&reference())
}

/// Finishes with a record and returns its item, and key, type and size of what was put into S3.
async fn finished(record: &Record) -> (Item, Vec<(String, String, u64)>) {
    let (seen, objects) = (Seen::new(), Seen::new());
    let noted = objects.clone();
    let put = mock!(aws_sdk_s3::Client::put_object).then_compute_output(move |request| {
        let key = request.key().unwrap_or_default().to_owned();
        let content_type = request.content_type().unwrap_or_default().to_owned();
        noted.note(&(key, content_type, request.body().size_hint().0));
        PutObjectOutput::builder().build()
    });
    let store = store!(
        s3: client!(aws_sdk_s3, put);
        reads_document(Some(stored(document(), |_| {}))),
        reads(&submission_key(&reference().submission_id), None),
        transacts(&seen)
    );
    let outcome = FinalOutcome::Ready(Box::new(record.clone()));
    assert_eq!(store.finish(&reference(), outcome, NOW).await.unwrap(), Finish::Finished);
    let item = puts(&seen.only())[1].item().clone();
    (item, objects.all())
}

#[tokio::test]
async fn case_44_record_that_an_item_holds_is_in_its_item() {
    let record = record_of(MAX_INLINE_RECORD_BYTES);
    let (item, objects) = finished(&record).await;
    assert_eq!(objects, []);
    assert_eq!(item["sk"], text(&format!("RECORD#{}", reference().document_id)));
    assert_eq!(item["record"], text(&serde_json::to_string(&record).unwrap()));
    let store = store!(reads(&record_key(&reference()), Some(item)));
    assert_eq!(store.record(&reference()).await.unwrap(), Some(record));
}

#[tokio::test]
async fn case_44_larger_record_is_in_s3_with_a_pointer() {
    let record = record_of(MAX_INLINE_RECORD_BYTES + 1);
    let (item, objects) = finished(&record).await;
    let size = MAX_INLINE_RECORD_BYTES as u64 + 1;
    assert_eq!(objects, [(object_key(), "application/json".to_owned(), size)]);
    assert_eq!(item["recordObject"], text(&object_key()));
    assert!(!item.contains_key("record"));
    let json = serde_json::to_vec(&record).unwrap();
    let get = mock!(aws_sdk_s3::Client::get_object)
        .match_requests(|request| {
            request.key() == Some(object_key().as_str()) && request.bucket() == Some("returned")
        })
        .then_output(move || GetObjectOutput::builder().body(json.clone().into()).build());
    let store = store!(s3: client!(aws_sdk_s3, get); reads(&record_key(&reference()), Some(item)));
    assert_eq!(store.record(&reference()).await.unwrap(), Some(record));
}

#[tokio::test]
async fn case_44_document_is_not_ready_before_its_large_record_is_in_s3() {
    let seen = Seen::new();
    let put = mock!(aws_sdk_s3::Client::put_object).then_http_response(|| xml_error(503, "SlowDown"));
    let store = store!(
        s3: client!(aws_sdk_s3, put);
        reads_document(Some(stored(document(), |_| {}))),
        reads(&submission_key(&reference().submission_id), None),
        transacts(&seen)
    );
    let outcome = FinalOutcome::Ready(Box::new(record_of(MAX_INLINE_RECORD_BYTES + 1)));
    assert_eq!(store.finish(&reference(), outcome, NOW).await.unwrap_err().name(), "Store.Unavailable");
    assert!(seen.all().is_empty(), "nothing was written");
}

#[tokio::test]
async fn record_that_is_not_there_is_nothing_and_an_unreadable_one_an_error() {
    let key = record_key(&reference());
    assert_eq!(store!(reads(&key, None)).record(&reference()).await.unwrap(), None);
    let mut empty = key.clone();
    assert!(store!(reads(&key, Some(empty.clone()))).record(&reference()).await.is_err());
    empty.insert("record".to_owned(), text("{\"secret detail\":1}"));
    let error = store!(reads(&key, Some(empty))).record(&reference()).await.unwrap_err();
    assert_eq!(error.name(), "Store.Unavailable");
}

#[tokio::test]
async fn pointer_to_a_record_that_cannot_be_read_is_an_error() {
    let mut item = record_key(&reference());
    item.insert("recordObject".to_owned(), text(&object_key()));
    let get = mock!(aws_sdk_s3::Client::get_object).then_http_response(|| xml_error(404, "NoSuchKey"));
    let store = store!(s3: client!(aws_sdk_s3, get); reads(&record_key(&reference()), Some(item)));
    assert_eq!(store.record(&reference()).await.unwrap_err().name(), "Store.Unavailable");
}
