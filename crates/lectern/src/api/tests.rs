//! Tests the API with the in-memory ports.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;
use rstest::rstest;
use time::macros::datetime;

use super::*;
use crate::{
    contract::wire::{FileRole, JobSucceeded},
    document::{CallbackId, ObjectVersion},
    ports::{FinalOutcome, Finishing as _, NewDocument, Register as _, Results as _, Sequencer},
    record,
    testing::{Cut, Faults, MemoryObjects, MemoryStore},
};

fn evaluator() -> Evaluator {
    let claims = HashMap::from([("cognito:groups".to_owned(), "[evaluators]".to_owned())]);
    Evaluator::from_claims(&claims).unwrap()
}

async fn register(
    store: &MemoryStore,
    submission: &str,
    file: &str,
    at_s: u64,
    rejected: bool,
) -> DocumentRef {
    let object = ObjectVersion {
        bucket: "uploads".to_owned(),
        key: format!("submissions/{submission}/{file}"),
        version_id: "v1".to_owned(),
    };
    let reference = DocumentRef {
        submission_id: submission.parse().unwrap(),
        document_id: DocumentId::of(&object.bucket, object.key.as_bytes(), &object.version_id),
    };
    let new = NewDocument {
        reference: reference.clone(),
        callback_id: CallbackId::new(&object.key),
        traceparent: crate::telemetry::trace::TraceParent::new(&crate::testing::SequentialRandom::default()),
        object,
        sequencer: Sequencer::new("1"),
        owner: None,
        name: None,
        size_bytes: 10,
        media_type: (!rejected).then_some(MediaType::Docx),
        rejected: rejected.then(|| Reason::new("empty", "The file is empty.")),
        now: datetime!(2026-11-20 16:00 UTC) + Duration::from_secs(at_s),
    };
    store.register(new).await.unwrap();
    reference
}

/// A submission with a document that is ready and one that was rejected.
async fn world() -> (MemoryStore, MemoryObjects, DocumentRef, DocumentRef) {
    let faults = Arc::new(Faults::default());
    let store = MemoryStore::new(faults.clone());
    let ready = register(&store, "s1", "the\u{301}.docx", 0, false).await;
    let rejected = register(&store, "s1", "empty.pdf", 1, true).await;
    let files = [record::tests::returned("the\u{301}.txt", FileRole::Text, "text/plain", "text")];
    let job = JobSucceeded { job_id: "job".to_owned(), files: vec![files[0].0.clone()] };
    let now = datetime!(2026-11-20 17:00 UTC);
    store.record_result(&ready, &JobResult::Succeeded(job), now).await.unwrap();
    let built = record::tests::build(&store.get(&ready).unwrap(), &files).unwrap();
    let (record_key, json) = built.to_object(&ready).unwrap();
    let objects = MemoryObjects::new(faults);
    for document in [&ready, &rejected] {
        objects.upload(&store.get(document).unwrap().object, None, &b"bytes"[..]);
    }
    objects.put_returned(&keys::returned_file(&ready, 0), "text");
    objects.put_record(&record_key, json).await.unwrap();
    store.finish(&ready, FinalOutcome::Ready { record_key }, now).await.unwrap();
    (store, objects, ready, rejected)
}

#[tokio::test]
async fn submission_is_read_with_its_documents_states_and_reasons() {
    let (store, _, ready, rejected) = world().await;
    let detail = read_submission(&evaluator(), &store, "s1").await.unwrap();
    assert_eq!(detail.submission.state, SubmissionState::NeedsAttention);
    let [first, second] = detail.documents.as_slice() else { panic!("{:?}", detail.documents) };
    assert_eq!(
        (first.document_id, first.state, first.file_name.as_str()),
        (ready.document_id, DocumentState::Ready, "thé.docx")
    );
    assert_eq!(second.document_id, rejected.document_id);
    assert_eq!(second.reason.as_ref().unwrap().code, "empty");
    let json = serde_json::to_value(&detail).unwrap();
    assert_eq!(json["documents"][0]["fileName"], "thé.docx");
    assert!(json["documents"][0].get("reason").is_none());
    assert!(json.to_string().find("callback").is_none(), "the callback id is a secret");
}

#[tokio::test]
async fn record_is_read_and_one_that_is_not_there_is_not_found() {
    let (store, objects, ready, rejected) = world().await;
    let read = async |document: &DocumentRef| {
        read_record(&evaluator(), &store, &objects, "s1", &document.document_id.to_string()).await
    };
    assert_eq!(read(&ready).await.unwrap().text.as_deref(), Some("text"));
    assert!(matches!(read(&rejected).await, Err(ApiError::NotFound)));
}

#[tokio::test]
async fn urls_are_given_for_the_upload_and_for_checked_files_only() {
    let (store, objects, ready, rejected) = world().await;
    let urls = async |document: &DocumentRef| {
        file_urls(&evaluator(), &store, &objects, "s1", &document.document_id.to_string())
            .await
            .unwrap()
            .files
    };
    let files = urls(&ready).await;
    assert_eq!(
        files.iter().map(|file| (file.index, file.kind)).collect::<Vec<_>>(),
        [(None, FileKind::Upload), (Some(0), FileKind::Returned)]
    );
    assert!(files.iter().all(|file| file.expires_in_s == 300 && file.file_name.starts_with("thé.")));
    assert!(!format!("{files:?}").contains("https://"));
    assert_eq!(urls(&rejected).await.len(), 1);
    let waiting = register(&store, "s1", "later.docx", 2, false).await;
    let files = vec![record::tests::returned("t", FileRole::Text, "text/plain", "text").0];
    let result = JobResult::Succeeded(JobSucceeded { job_id: "job".to_owned(), files });
    store.record_result(&waiting, &result, datetime!(2026-11-20 17:00 UTC)).await.unwrap();
    objects.upload(&store.get(&waiting).unwrap().object, None, &b"bytes"[..]);
    assert_eq!(urls(&waiting).await.len(), 1, "unchecked files stay in quarantine");
}

#[tokio::test]
async fn a08_what_has_expired_is_gone_and_not_an_error_of_ours() {
    let (store, _, ready, _) = world().await;
    let id = ready.document_id.to_string();
    let nothing = MemoryObjects::default();
    let record = read_record(&evaluator(), &store, &nothing, "s1", &id).await;
    assert_eq!(record.unwrap_err().problem().status, 410);
    let urls = file_urls(&evaluator(), &store, &nothing, "s1", &id).await;
    assert_eq!(urls.unwrap_err().problem().status, 410);
    // The upload has expired, and the returned file has not.
    nothing.put_returned(&keys::returned_file(&ready, 0), "text");
    let left = file_urls(&evaluator(), &store, &nothing, "s1", &id).await.unwrap().files;
    assert_eq!(left.iter().map(|file| file.kind).collect::<Vec<_>>(), [FileKind::Returned]);
}

#[rstest]
#[case::unknown_submission("s2", None)]
#[case::not_an_id("..", None)]
#[case::key_of_the_table("S#s1", None)]
#[case::not_a_document("s1", Some("x"))]
#[case::unknown_document("s1", Some("6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f"))]
#[case::document_of_another_submission("s2", Some("ready"))]
#[case::another_spelling("s1", Some("READY"))]
#[tokio::test]
async fn what_does_not_exist_is_not_found(#[case] submission: &str, #[case] document: Option<&str>) {
    let (store, objects, ready, _) = world().await;
    let id = match document {
        Some("ready") => ready.document_id.to_string(),
        Some("READY") => ready.document_id.to_string().to_uppercase(),
        other => other.unwrap_or("x").to_owned(),
    };
    if document.is_none() {
        assert!(matches!(read_submission(&evaluator(), &store, submission).await, Err(ApiError::NotFound)));
    }
    assert!(matches!(
        read_record(&evaluator(), &store, &objects, submission, &id).await,
        Err(ApiError::NotFound)
    ));
    let urls = file_urls(&evaluator(), &store, &objects, submission, &id).await;
    assert!(matches!(urls, Err(ApiError::NotFound)));
}

#[rstest]
#[case::zero("limit", "0")]
#[case::too_many("limit", "101")]
#[case::negative("limit", "-1")]
#[case::signed("limit", "+5")]
#[case::fraction("limit", "1.5")]
#[case::huge("limit", "99999999999999999999")]
#[case::empty("limit", "")]
#[case::state("state", "ready")]
#[case::no_state("state", "")]
#[case::cursor("cursor", "eyJ9")]
#[case::no_cursor("cursor", "")]
#[tokio::test]
async fn bad_query_is_refused_with_a_sentence(#[case] parameter: &str, #[case] value: &str) {
    let (store, ..) = world().await;
    let query: ListQuery = serde_json::from_value(serde_json::json!({ parameter: value })).unwrap();
    let problem = list_submissions(&evaluator(), &store, &query).await.unwrap_err().problem();
    assert_eq!(problem.status, 400);
    assert!(problem.detail.starts_with(parameter), "{}", problem.detail);
}

#[tokio::test]
async fn failing_store_is_a_503_that_tells_nothing() {
    let faults = Arc::new(Faults::default());
    let store = MemoryStore::new(faults.clone());
    faults.cut_next("submissions", Cut::Before);
    let error = list_submissions(&evaluator(), &store, &ListQuery::default()).await.unwrap_err();
    let problem = error.problem();
    assert_eq!(problem.status, 503);
    assert!(!problem.detail.contains("cut off"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn pages_are_complete_newest_first_and_repeat_nothing(
        created in proptest::collection::vec((0_u64..20, any::<bool>()), 0..40),
        limit in 1_usize..12,
        state in prop_oneof![Just(None), Just(Some(SubmissionState::InProgress)), Just(Some(SubmissionState::NeedsAttention))],
        added_meanwhile: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = MemoryStore::new(Arc::default());
            for (number, (at_s, rejected)) in created.iter().enumerate() {
                register(&store, &format!("s{number}"), "a.pdf", *at_s, *rejected).await;
            }
            let mut query = ListQuery {
                state: state.map(|state| state.as_str().to_owned()),
                limit: Some(limit.to_string()),
                cursor: None,
            };
            let mut seen = Vec::new();
            loop {
                let page = list_submissions(&evaluator(), &store, &query).await.unwrap();
                prop_assert!(page.submissions.len() <= limit);
                seen.extend(page.submissions.iter().map(|s| (s.created_at.clone(), s.submission_id.to_string())));
                if added_meanwhile && query.cursor.is_none() {
                    register(&store, "newest", "a.pdf", 100, false).await;
                }
                query.cursor = page.cursor;
                if query.cursor.is_none() {
                    break;
                }
                prop_assert_eq!(page.submissions.len(), limit);
            }
            let wanted = created.iter().filter(|(_, rejected)| match state {
                None => true,
                Some(state) => *rejected == (state == SubmissionState::NeedsAttention),
            });
            prop_assert_eq!(seen.len(), wanted.count());
            prop_assert!(seen.is_sorted_by(|newer, older| newer > older));
            prop_assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len());
            Ok(())
        })?;
    }
}
