//! Tests which records of the stream are changes, and what becomes of those that cannot be read.

use lectern::{events, events::EventType};
use serde_json::{Value, json};

use super::{StreamEvent, changes};

const DOCUMENT: &str = "6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f";

fn document(state: &str) -> Value {
    json!({
        "pk": { "S": "SUBMISSION#s1" }, "sk": { "S": format!("DOCUMENT#{DOCUMENT}") }, "revision": { "N": "3" },
        "submissionId": { "S": "s1" }, "documentId": { "S": DOCUMENT }, "bucket": { "S": "uploads" },
        "key": { "S": "submissions/s1/plan.pdf" }, "versionId": { "S": "v1" }, "sizeBytes": { "N": "12" },
        "mediaType": { "S": "application/pdf" }, "state": { "S": state }, "round": { "N": "1" },
        "callbackId": { "S": "callback" }, "redrives": { "N": "0" }, "taskToken": { "S": "token" },
        "times": { "M": { "Received": { "S": "2026-11-20T12:00:00.000Z" }, state: { "S": "2026-11-20T12:00:01.000Z" } } }
    })
}

fn event(records: &[Value]) -> StreamEvent {
    serde_json::from_value(json!({ "Records": records })).unwrap()
}

fn record(old: &Value, new: &Value) -> Value {
    json!({
        "eventID": "1", "eventName": "MODIFY", "eventSource": "aws:dynamodb",
        "dynamodb": {
            "ApproximateCreationDateTime": 1_796_000_000, "SequenceNumber": "1", "SizeBytes": 100,
            "StreamViewType": "NEW_AND_OLD_IMAGES", "Keys": { "pk": new["pk"], "sk": new["sk"] },
            "OldImage": old, "NewImage": new
        }
    })
}

fn types(records: &[Value]) -> Vec<EventType> {
    let changes = changes(event(records));
    let events = changes.iter().flat_map(|change| events::of_change(change.old.as_ref(), &change.new));
    events.map(|event| event.event_type).collect()
}

#[test]
fn document_that_becomes_ready_is_one_event() {
    let found = types(&[record(&document("Normalizing"), &document("Ready"))]);
    assert_eq!(found, [EventType::DocumentReady]);
}

#[test]
fn items_that_are_no_events_and_items_that_expired_are_skipped() {
    let other = json!({ "pk": { "S": "ADMISSION" }, "sk": { "S": "ADMISSION" } });
    let removed = json!({ "eventName": "REMOVE", "dynamodb": { "ApproximateCreationDateTime": 1.5, "OldImage": document("Ready") } });
    assert_eq!(types(&[record(&other, &other), removed]), []);
}

#[test]
fn unreadable_change_does_not_block_the_changes_after_it() {
    let mut unreadable = document("Ready");
    unreadable["sizeBytes"] = json!({ "S": "many" });
    let found = types(&[
        record(&document("Normalizing"), &unreadable),
        record(&document("Normalizing"), &document("Failed")),
    ]);
    assert_eq!(found, [EventType::DocumentFailed]);
}

#[test]
fn submission_and_its_erasure_are_events() {
    let submission = |open: &str, state: &str, changes: &str| {
        json!({
            "pk": { "S": "SUBMISSION#s1" }, "sk": { "S": "SUBMISSION" }, "submissionId": { "S": "s1" },
            "state": { "S": state }, "open": { "N": open }, "ready": { "N": "1" }, "rejected": { "N": "0" },
            "failed": { "N": "0" }, "createdAt": { "S": "2026-11-20T12:00:00.000Z" }, "countChanges": { "N": changes },
            "kinds": { "SS": ["document"] }, "owner": { "S": "teacher-7" }, "title": { "S": "Rivers" }
        })
    };
    let erased = json!({
        "pk": { "S": "SUBMISSION#s1" }, "sk": { "S": "SUBMISSION" }, "submissionId": { "S": "s1" },
        "erasureState": { "S": "Erased" }, "erasedBy": { "S": "owner" },
        "erasureBeganAt": { "S": "2026-11-20T12:00:00.000Z" }, "erasureEndedAt": { "S": "2026-11-20T12:00:01.000Z" },
        "erasedDocuments": { "N": "1" }
    });
    let (before, after) = (submission("1", "InProgress", "1"), submission("0", "Ready", "2"));
    let found = types(&[record(&before, &after), record(&after, &erased)]);
    assert_eq!(found, [EventType::SubmissionCompleted, EventType::SubmissionErased]);
}
