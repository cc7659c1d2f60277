//! The golden set of the table's items (A07): the code writes exactly these, and reads those of every release.

use std::{collections::BTreeMap, time::Duration};

use aws_sdk_dynamodb::{
    operation::{
        put_item::{PutItemInput, PutItemOutput},
        query::QueryOutput,
    },
    primitives::Blob,
};
use lectern::{
    admission::QueuePosition,
    contract::wire::{FileRole, JobSucceeded},
    document::{
        DocumentState, JobResult, Reason, TaskToken,
        submission::{Counts, SubmissionState},
    },
    ports::{
        AdmissionStore as _, Audit as _, AuditAction, AuditEntry, AuditPage, NewDocument, Register as _,
        Results as _, Sequencer, Withdrawing as _,
    },
    testing::{
        golden::{self, Set, UNKNOWN},
        world::returned_file,
    },
};
use serde_json::json;

use super::{
    admission::{applied, changes, state},
    *,
};
use crate::{
    dynamodb::{
        AuditTrail,
        items::{admission_key, callback_key, file_key, position_key, waiting_key},
    },
    test_support::{NOW, client, object},
};

/// An attribute in `DynamoDB`'s own JSON.
#[expect(clippy::wildcard_enum_match_arm, reason = "the SDK's enumeration is open")]
fn json_of(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(number) => json!({ "N": number }),
        AttributeValue::Bool(bool) => json!({ "BOOL": bool }),
        AttributeValue::Null(_) => json!({ "NULL": true }),
        AttributeValue::B(bytes) => json!({ "B": String::from_utf8(bytes.as_ref().to_vec()).unwrap() }),
        AttributeValue::L(list) => json!({ "L": list.iter().map(json_of).collect::<Vec<_>>() }),
        AttributeValue::M(map) => json!({ "M": item_json(map) }),
        other => panic!("no item holds {other:?}"),
    }
}

/// Sorted, so that a written file changes only where the item does.
fn item_json(item: &Item) -> Value {
    let sorted: BTreeMap<_, _> = item.iter().collect();
    sorted.into_iter().map(|(name, value)| (name.clone(), json_of(value))).collect()
}

fn attribute(value: &Value) -> AttributeValue {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    let text = || value.as_str().unwrap().to_owned();
    match kind.as_str() {
        "S" => AttributeValue::S(text()),
        "N" => AttributeValue::N(text()),
        "BOOL" => AttributeValue::Bool(value.as_bool().unwrap()),
        "NULL" => AttributeValue::Null(true),
        "B" => AttributeValue::B(Blob::new(text())),
        "L" => AttributeValue::L(value.as_array().unwrap().iter().map(attribute).collect()),
        "M" => AttributeValue::M(item_of(value)),
        other => panic!("{other}"),
    }
}

fn item_of(json: &Value) -> Item {
    json.as_object().unwrap().iter().map(|(name, value)| (name.clone(), attribute(value))).collect()
}

/// Maps that newer code adds no attribute to: their keys are states, queues or lanes, or they are durations of the standard
/// library.
const FIXED: [&str; 4] = ["times", "open", "lanes", "pause"];

/// The item as newer code may write it: the item and each map in it have another attribute.
fn grown(item: &Item) -> Item {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the SDK's enumeration is open")]
    fn deep(name: &str, value: &AttributeValue) -> AttributeValue {
        match value {
            AttributeValue::M(map) if FIXED.contains(&name) => {
                AttributeValue::M(map.iter().map(|(key, value)| (key.clone(), deep(key, value))).collect())
            }
            AttributeValue::M(map) => AttributeValue::M(grown(map)),
            AttributeValue::L(list) => AttributeValue::L(list.iter().map(|value| deep("", value)).collect()),
            other => other.clone(),
        }
    }
    let known = item.iter().map(|(name, value)| (name.clone(), deep(name, value)));
    known.chain([(UNKNOWN.to_owned(), text("x"))]).collect()
}

/// A document in each state that differs in its attributes.
fn documents() -> Vec<(&'static str, Item)> {
    let with = |change: &dyn Fn(&mut StoredDocument)| stored(document(), change);
    let succeeded = JobResult::Succeeded(JobSucceeded {
        job_id: "job-1".to_owned(),
        files: vec![returned_file("plan.txt", FileRole::Text, "text/plain", b"Lesson plan")],
    });
    vec![
        (
            "document-processing",
            with(&|stored| {
                stored.task_token = Some(TaskToken::new("token"));
                stored.document.job_id = Some("job-1".to_owned());
                stored.document.earlier_jobs = ["job-0".to_owned()].into();
                stored.document.abandoned_jobs = ["job-a".to_owned()].into();
            }),
        ),
        (
            "document-verifying",
            with(&|stored| {
                stored.document.state = DocumentState::Verifying;
                stored.document.result = Some(succeeded.clone());
                stored.result_outcome = Some("succeeded".to_owned());
                stored.result_files = Some(1);
            }),
        ),
        (
            "document-ready",
            with(&|stored| {
                stored.document.state = DocumentState::Ready;
                stored.document.record_key = Some("records/s1/d/0.json".to_owned());
                stored.document.superseded_by = Some(reference().document_id);
            }),
        ),
        (
            "document-failed",
            with(&|stored| {
                stored.document.state = DocumentState::Failed;
                stored.document.reason = Some(Reason::new("internal", "It failed."));
                stored.document.redrives = 2;
                stored.document.is_withdrawn = true;
            }),
        ),
    ]
}

/// Every kind of item, as this code writes it.
async fn written() -> Set {
    let mut items: Vec<(&str, Item)> = documents();
    let seen = Seen::new();
    let nothing = mock!(Client::get_item).then_output(|| GetItemOutput::builder().build());
    let new = NewDocument {
        reference: reference(),
        object: object(),
        sequencer: Sequencer::new("0055AED6DCD90281E5"),
        owner: None,
        name: None,
        upload: None,
        size_bytes: 12,
        media_type: document().media_type,
        rejected: None,
        callback_id: document().callback_id,
        traceparent: document().traceparent.unwrap(),
        now: NOW,
    };
    store!(nothing, transacts(&seen)).register(new).await.unwrap();
    let registered = puts(&seen.only()).into_iter().map(|put| put.item().clone());
    items.extend(["document-received", "callback", "file"].into_iter().zip(registered));
    items.push((
        "submission",
        submission_item(&Submission {
            counts: Counts { open: 1, ready: 2, rejected: 3, failed: 4 },
            ..Submission::new(
                reference().submission_id,
                SubmissionState::InProgress,
                "2026-11-20T11:00:00.000Z".to_owned(),
            )
        }),
    ));

    let seen = Seen::new();
    store!(transacts(&seen)).commit(&state(), 41, changes().0).await.unwrap();
    let updates: Vec<Item> = seen
        .only()
        .transact_items()
        .iter()
        .filter_map(TransactWriteItem::update)
        .map(|update| applied(update, None))
        .collect();
    items.extend(["admission", "position", "waiting"].into_iter().zip(updates));

    let seen = Seen::<PutItemInput>::new();
    let noted = seen.clone();
    let put = mock!(Client::put_item).then_compute_output(move |request| {
        noted.note(request);
        PutItemOutput::builder().build()
    });
    store!(put).keep_unknown("event-1", "callback-x", b"{}", NOW).await.unwrap();
    items.push(("unknown-callback", seen.only().item().unwrap().clone()));
    items.push(("audit", audit_entry().await));
    items.into_iter().map(|(name, item)| (name.to_owned(), item_json(&item))).collect()
}

/// An entry of the audit trail, with zeros for the random part of its key.
async fn audit_entry() -> Item {
    let seen = Seen::<PutItemInput>::new();
    let noted = seen.clone();
    let put = mock!(Client::put_item).then_compute_output(move |request| {
        noted.note(request);
        PutItemOutput::builder().build()
    });
    let trail = AuditTrail::new(client!(aws_sdk_dynamodb, put), "table".to_owned());
    let trail = trail.with_retention(Some(Duration::from_hours(365 * 24)));
    trail.record(&reference().submission_id, &entry()).await.unwrap();
    let mut item = seen.only().item().unwrap().clone();
    let (time, random) = item["sk"].as_s().unwrap().split_once('#').unwrap();
    assert_eq!(random.len(), 32);
    let position = format!("{time}#{}", "0".repeat(32));
    item.insert("sk".to_owned(), text(&position));
    item
}

fn entry() -> AuditEntry {
    AuditEntry {
        at: NOW,
        subject: "teacher-7".parse().unwrap(),
        action: AuditAction::GetFileUrls,
        document_id: Some(reference().document_id),
        file: Some("0".repeat(32)),
    }
}

/// Reads an item as the store does.
async fn read(name: &str, item: Item) {
    let position = changes().1;
    let waits = changes().2.document;
    match name {
        document if document.starts_with("document-") => {
            let read = store!(reads_document(Some(item))).stored(&reference()).await.unwrap();
            assert!(read.is_some());
        }
        "submission" => {
            let key = submission_key(&reference().submission_id);
            let read = store!(reads(&key, Some(item))).submission_now(&reference().submission_id).await;
            assert_eq!(read.unwrap().unwrap().counts.ready, 2);
        }
        "file" => {
            let key = file_key(&reference().submission_id, &object());
            let stored = stored(document(), |_| {});
            let store = store!(reads(&key, Some(item)), reads_document(Some(stored)));
            let newest = store.newest_version(&reference().submission_id, &object()).await.unwrap();
            assert_eq!(newest, Some((reference(), Sequencer::new("0055AED6DCD90281E5"))));
        }
        "callback" => {
            let key = callback_key(&document().callback_id);
            let found = store!(reads(&key, Some(item))).resolve(&document().callback_id).await.unwrap();
            assert_eq!(found.unwrap().document, reference());
        }
        "admission" => {
            let read = store!(reads(&admission_key(), Some(item))).admission_state().await.unwrap();
            assert_eq!(read, (state(), 42));
        }
        "position" => {
            let read = store!(reads(&position_key(&position), Some(item))).waiting_document(&position).await;
            assert_eq!(read.unwrap(), Some(changes().2));
        }
        "waiting" => {
            let read: Option<QueuePosition> =
                store!(reads(&waiting_key(&waits), Some(item))).queue_position(&waits).await.unwrap();
            assert_eq!(read, Some(position));
        }
        "audit" => {
            let query =
                mock!(Client::query).then_output(move || QueryOutput::builder().items(item.clone()).build());
            let trail = AuditTrail::new(client!(aws_sdk_dynamodb, query), "table".to_owned());
            let page = trail.entries(&reference().submission_id, None, 10).await.unwrap();
            assert_eq!(page, AuditPage { entries: vec![entry()], next: None });
        }
        // Only people read it.
        "unknown-callback" => {}
        other => panic!("say in this test who reads {other}"),
    }
}

#[tokio::test]
async fn a07_items_are_exactly_those_of_the_golden_set() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let compared = golden::compare("items", &written().await, update);
    assert!(compared.is_ok(), "{}", compared.unwrap_err());
}

/// In a release before, this test also reads the sets of the releases after it (`make golden-before`).
#[tokio::test]
async fn a07_every_golden_set_is_read_from_the_table() {
    let sets = golden::every_version("items").unwrap();
    assert!(sets.contains_key(env!("CARGO_PKG_VERSION")));
    for (_, set) in sets {
        for (name, item) in &set {
            read(name, item_of(item)).await;
        }
    }
}

#[tokio::test]
async fn a07_d08_next_versions_unknown_attributes_are_read_and_kept() {
    for (name, item) in written().await {
        let newer = grown(&item_of(&item));
        read(&name, newer.clone()).await;
        if name.starts_with("document-") {
            let mut stored = StoredDocument::from_read(newer.clone()).unwrap();
            stored.document.attempt = Some(lectern::document::Attempt(4000));
            let written = stored.to_write().unwrap();
            assert_eq!(written[UNKNOWN], text("x"), "{name}");
            assert_eq!(written.get("result"), newer.get("result"), "{name}: with all its unknown fields");
            assert_eq!(written["attempt"], number(4000), "{name}");
        }
    }
}

/// Newer code may have moved a document to a state that this code does not know.
#[tokio::test]
async fn a07_item_that_only_newer_code_can_read_is_an_error_that_is_retried() {
    let mut item = stored(document(), |_| {});
    item.insert("state".to_owned(), text("Proofreading"));
    let error = store!(reads_document(Some(item))).stored(&reference()).await.unwrap_err();
    assert_eq!(error.name(), "Store.Unavailable");
    let mut admission = admission_key();
    admission.extend([("revision".to_owned(), number(5)), ("breaker".to_owned(), text("newer"))]);
    let error = store!(reads(&admission_key(), Some(admission))).admission_state().await.unwrap_err();
    assert_eq!(error.name(), "Store.Unavailable");
}
