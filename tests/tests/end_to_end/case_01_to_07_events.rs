//! S3 events: repeated, overwritten, with unusual keys, and irrelevant. `case_02` needs the stack to itself.

use std::collections::BTreeSet;

use aws_sdk_sfn::{operation::start_execution::StartExecutionError, types::ExecutionStatus};
use lectern::{
    document::{DocumentId, DocumentRef, DocumentState, SubmissionId},
    message::SCHEMA_VERSION,
    ports::{Browse as _, Load as _},
};
use serde_json::json;
use third_party::{JobFault, ReportedStatus};
use uuid::Uuid;

use crate::{
    case::{Case, Upload},
    content::{text, video},
    queues::{encoded_event_record, event, event_record},
    stack::Stack,
};

#[tokio::test]
async fn case_01_duplicate_event_makes_one_execution_and_one_job() {
    let case = Case::begin();
    let upload = case.upload("twice.txt", text()).await;
    for _ in 0..3 {
        case.stack.send_event_again(&upload).await;
    }
    case.stack.ready(&upload).await;
    case.stack.send_event_again(&upload).await;
    // A second upload, whose event comes after the last repetition.
    let other = case.upload("other.txt", text()).await;
    case.stack.ready(&other).await;
    let job = case.stack.only_job(&upload).await;
    assert_eq!((job.submissions, job.callbacks.len()), (1, 1));
    let (submission, _) = case.settled(2).await;
    assert_eq!(submission.counts.ready, 2);
}

#[tokio::test]
async fn case_03_overwrite_during_processing_is_a_new_version_with_its_own_job() {
    let case = Case::begin();
    let late = JobFault::LateCallback { delay_ms: 4000, status: ReportedStatus::Working };
    let first = case.upload_with("plan.txt", text(), [late.into()]).await;
    case.stack.until(&first, "is processed", |document| document.state == DocumentState::Processing).await;
    let second = case.upload("plan.txt", text()).await;
    assert_ne!(first.id(), second.id());
    case.stack.ready(&second).await;
    let superseded = case.stack.ended(&first).await;
    assert_eq!(superseded.superseded_by, Some(second.id()));
    let (submission, _) = case.settled(2).await;
    assert_eq!((submission.counts.ready, submission.counts.failed), (1, 0), "only the newer version counts");
    for upload in [&first, &second] {
        case.stack.only_job(upload).await;
    }
}

#[tokio::test]
async fn case_04_odd_keys_name_the_exact_object() {
    let case = Case::begin();
    let mut uploads = Vec::new();
    for name in ["a+b c%.mp4", "教案 第1課.mp4", "🎓 Übung & more=1?.mp4", "100%25.mp4"] {
        let bytes = video();
        uploads.push((name, case.upload(name, bytes.clone()).await, bytes));
    }
    for (name, upload, bytes) in uploads {
        case.stack.ready(&upload).await;
        assert_eq!(case.stack.record(&upload).await["source"]["fileName"], name);
        let files = case.stack.read(&format!("{}/files", upload.path())).await;
        let url = files["files"][0]["url"].as_str().unwrap();
        assert!(case.stack.download(url).await == bytes, "the download of {name} is not the upload");
    }
}

/// The document of an event whose key has no valid submission.
fn unassigned(stack: &Stack, key: &[u8], version: &str) -> Upload {
    let document_id = DocumentId::of(&stack.is.uploads_bucket, key, version);
    let document = DocumentRef { submission_id: SubmissionId::unassigned(), document_id };
    Upload { document, key: String::new(), version: version.to_owned() }
}

#[tokio::test]
async fn case_05_bad_keys_are_rejected_and_never_a_path() {
    let case = Case::begin();
    let version = Uuid::new_v4().to_string();
    let keys: [(&str, &[u8]); 5] = [
        ("submissions/s1/%FF%FE.pdf", b"submissions/s1/\xFF\xFE.pdf"),
        ("submissions/s1/a%00b.pdf", b"submissions/s1/a\0b.pdf"),
        ("submissions/../secret.pdf", b"submissions/../secret.pdf"),
        ("submissions/s1/..%2F..%2Fsecret.pdf", b"submissions/s1/../../secret.pdf"),
        ("submissions/s1/..%5Csecret.pdf", b"submissions/s1/..\\secret.pdf"),
    ];
    let records: Vec<_> =
        keys.iter().map(|(key, _)| encoded_event_record(&case.stack, key, &version, "1")).collect();
    case.stack.send(&case.stack.is.queue_urls.receive_upload, &event(&records)).await;
    let key = case.key("folder/deeper.txt");
    let real = case.stack.put(&key, text(), None).await;
    for (_, bytes) in keys {
        case.stack.rejected(&unassigned(&case.stack, bytes, &version), "invalidKey").await;
    }
    case.stack.rejected(&unassigned(&case.stack, key.as_bytes(), &real), "invalidKey").await;
}

#[tokio::test]
async fn case_06_nfc_and_nfd_twins_are_two_documents() {
    let case = Case::begin();
    let composed = case.upload("\u{dc}bung.txt", text()).await;
    let decomposed = case.upload("U\u{308}bung.txt", text()).await;
    for upload in [&composed, &decomposed] {
        case.stack.ready(upload).await;
        assert_eq!(case.stack.record(upload).await["source"]["fileName"], "\u{dc}bung.txt", "shown as NFC");
        case.stack.only_job(upload).await;
    }
    let (submission, documents) = case.settled(2).await;
    assert_eq!(submission.counts.ready, 2);
    assert!(documents.iter().all(|document| document.superseded_by.is_none()));
    let keys: BTreeSet<_> = documents.into_iter().map(|document| document.object.key).collect();
    assert_eq!(keys, BTreeSet::from([composed.key, decomposed.key]));
}

#[tokio::test]
async fn case_07_test_events_folder_markers_and_foreign_prefixes_are_acknowledged() {
    let case = Case::begin();
    let stack = &case.stack;
    let (marker, foreign) = (case.key(""), format!("elsewhere/{}/x.txt", case.submission));
    let marker_version = stack.put(&marker, Vec::new(), None).await;
    let foreign_version = stack.put(&foreign, text(), None).await;
    let test = json!({ "Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": stack.is.uploads_bucket });
    stack.send(&stack.is.queue_urls.receive_upload, &test.to_string()).await;
    // One message with all of these events; the last event is valid and shows when the message was handled.
    let version = Uuid::new_v4().to_string();
    let records = [
        event_record(stack, &marker, &marker_version, "1"),
        event_record(stack, &foreign, &foreign_version, "1"),
        encoded_event_record(stack, "submissions/x.txt", &version, "1"),
    ];
    stack.send(&stack.is.queue_urls.receive_upload, &event(&records)).await;
    stack.rejected(&unassigned(stack, b"submissions/x.txt", &version), "invalidKey").await;
    assert!(stack.store.submission(&case.submission).await.unwrap().is_none());
    for (key, version) in [(&marker, &marker_version), (&foreign, &foreign_version)] {
        let document = unassigned(stack, key.as_bytes(), version).document;
        assert!(stack.store.load(&document).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn case_22_execution_that_is_started_again_is_the_same_one() {
    let case = Case::begin();
    let upload = case.upload("plan.txt", text()).await;
    let document = case.stack.until(&upload, "is registered", |_| true).await;
    // Start the execution twice, as if the first answer had been lost: once by the event, once by the test.
    case.stack.send_event_again(&upload).await;
    let input = json!({
        "schemaVersion": SCHEMA_VERSION, "submissionId": case.submission, "documentId": upload.id(),
        "traceparent": document.traceparent,
    });
    let request = case.stack.sfn.start_execution().state_machine_arn(&case.stack.is.state_machine_arn);
    match request.name(upload.id().to_string()).input(input.to_string()).send().await {
        Ok(answer) => assert_eq!(answer.execution_arn, case.stack.execution_arn(&upload)),
        Err(error) => {
            let exists =
                error.as_service_error().is_some_and(StartExecutionError::is_execution_already_exists);
            assert!(exists, "{error:?}");
        }
    }
    case.stack.ready(&upload).await;
    case.stack.execution_ends(&upload, &ExecutionStatus::Succeeded).await;
    assert_eq!(case.stack.only_job(&upload).await.submissions, 1);
}
