//! No event contains a name, a title, an owner, a URL or a secret, whatever the items contain.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    super::*,
    fixtures::{Deed, Version, perform, subscriber},
};
use crate::{
    document::submission::Submission,
    testing::{MemoryStore, world::START},
};

/// Stands for everything that says something about a person.
const PERSONAL: &str = "Quillfeather";
/// Members of items that hold ids, states, codes and times.
const PLAIN: [&str; 9] = [
    "submissionId",
    "documentId",
    "supersededBy",
    "state",
    "mediaType",
    "code",
    "traceparent",
    "outcome",
    "role",
];
/// Members of items whose members hold only times.
const TIMES: &str = "times";
/// All members that an event may have.
const ALLOWED: [&str; 19] = [
    "id",
    "type",
    "time",
    "data",
    "submissionId",
    "documentId",
    "mediaType",
    "sizeBytes",
    "redrives",
    "reasonCode",
    "supersededBy",
    "state",
    "ready",
    "rejected",
    "failed",
    "subscriberId",
    "reason",
    "challenge",
    "changedAt",
];

/// Puts the personal text into every text except those that are known to be none.
fn personalize(value: &mut Value) {
    match value {
        Value::String(text) => PERSONAL.clone_into(text),
        Value::Array(all) => all.iter_mut().for_each(personalize),
        Value::Object(members) => {
            let hidden = |name: &str| !PLAIN.contains(&name) && name != TIMES && !name.ends_with("At");
            members.iter_mut().filter(|(name, _)| hidden(name)).for_each(|(_, value)| personalize(value));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn members(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(all) => all.iter().for_each(|value| members(value, found)),
        Value::Object(map) => {
            found.extend(map.keys().cloned());
            map.values().for_each(|value| members(value, found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A document in which every member has a value.
fn full_document(state: DocumentState) -> Document {
    let version = Version { submission: 0, file: 0, number: 1 };
    let store = MemoryStore::default();
    perform(&store, version, Deed::Register { acceptable: true }, START);
    let mut item = serde_json::to_value(store.get(&version.reference()).unwrap()).unwrap();
    let times: Map<String, Value> =
        DocumentState::ALL.iter().map(|state| (state.to_string(), json!("2026-11-20T16:00:00Z"))).collect();
    let file = json!({
        "name": "a", "role": "transcript", "url": "a", "sizeBytes": 1, "sha256": "a", "mediaType": "text/vtt",
    });
    let optional = json!({
        "owner": "a",
        "name": "a",
        "state": state,
        "reason": { "code": "unreadable", "message": "a" },
        "times": times,
        "supersededBy": DocumentId::of("uploads", b"a", "v2"),
        "isWithdrawn": true,
        "attempt": 1,
        "jobId": "a",
        "earlierJobs": ["a"],
        "abandonedJobs": ["a"],
        "result": { "outcome": "succeeded", "jobId": "a", "files": [file] },
        "recordKey": "a",
        "redrives": 2,
        "expiresAt": 1,
    });
    item.as_object_mut().unwrap().extend(optional.as_object().unwrap().clone());
    personalize(&mut item);
    let document: Document = serde_json::from_value(item.clone()).unwrap();
    assert_eq!(serde_json::to_value(&document).unwrap(), item, "every member has a value");
    document
}

fn full_submission(state: SubmissionState) -> Submission {
    let mut item = serde_json::to_value(Submission {
        owner: Some("a".parse().unwrap()),
        title: Some(crate::display_text::Label::new("a")),
        count_changes: 3,
        counted_at: Some("2026-11-20T16:00:00Z".to_owned()),
        ..Submission::new("s0".parse().unwrap(), state, "2026-11-20T16:00:00Z".to_owned())
    })
    .unwrap();
    personalize(&mut item);
    serde_json::from_value(item).unwrap()
}

fn full_items() -> Vec<EventItem> {
    let mut items = Vec::new();
    items.extend(DocumentState::ALL.map(|state| EventItem::Document(Box::new(full_document(state)))));
    items.extend(SubmissionState::ALL.map(|state| EventItem::Submission(Box::new(full_submission(state)))));
    items.push(EventItem::Erasure(Erasure {
        submission_id: "s0".parse().unwrap(),
        state: ErasureState::Erased,
        by: PERSONAL.to_owned(),
        began_at: "2026-11-20T16:00:00Z".to_owned(),
        ended_at: Some("2026-11-20T16:00:00Z".to_owned()),
        documents: 1,
        object_versions: 1,
    }));
    for reason in [DisabledReason::Gone, DisabledReason::Unreachable] {
        let status = SubscriberStatus::Disabled { reason, at: "2026-11-20T16:00:00Z".to_owned() };
        let url = format!("https://{PERSONAL}.example/");
        items.push(EventItem::Subscriber(Box::new(Subscriber { url, status, ..subscriber("portal") })));
    }
    items
}

#[test]
fn events_have_no_personal_data_whatever_the_items_contain() {
    let items = full_items();
    let source =
        Source { name: "urn:lectern:test".to_owned(), api_url: "https://lectern.example".to_owned() };
    let mut types = BTreeSet::new();
    for item in &items {
        for event in of_item(item) {
            types.insert(event.event_type);
            let queued = QueuedEvent { event: event.clone(), changed_at: START.into() };
            let json = serde_json::to_value(&queued).unwrap();
            let mut names = BTreeSet::new();
            members(&json, &mut names);
            names.remove("event");
            assert!(names.iter().all(|name| ALLOWED.contains(&name.as_str())), "{names:?}");
            for format in [Format::Full, Format::Thin] {
                let subscriber = Subscriber { format, ..subscriber("portal") };
                let request = EventRequest::new(&[&event], &subscriber, &source, START).unwrap();
                let sent =
                    format!("{json} {} {:?}", String::from_utf8(request.body).unwrap(), request.headers);
                let secret = &subscriber.shown_secret().secret.unwrap()["whsec_".len()..];
                for forbidden in [PERSONAL, &subscriber.url, secret] {
                    assert!(!sent.to_lowercase().contains(&forbidden.to_lowercase()), "{forbidden}: {sent}");
                }
            }
        }
    }
    assert_eq!(types, BTreeSet::from(EventType::SUBSCRIBABLE), "every type was looked at");
}

#[test]
fn secrets_are_never_printed() {
    let subscriber = subscriber("portal");
    let secret = subscriber.shown_secret().secret.unwrap();
    assert!(!format!("{subscriber:?}").contains(&secret["whsec_".len()..]));
}
