//! The filter of the event source that invokes `route-events` lets every change through that is an event.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html>

use std::sync::LazyLock;

use lectern::{
    document::DocumentState,
    events::{EventItem, of_change},
};
use lectern_aws::stream::{self, StreamEvent};
use serde_json::{Value, json};

use super::{sources::files, template::Template};

/// The patterns of the filter.
fn patterns() -> Vec<Value> {
    let template = Template::load();
    let mapping = template.resource("AWS::Lambda::EventSourceMapping", "RouteEventsEventSource");
    let filters = mapping["FilterCriteria"]["Filters"].as_array().unwrap();
    assert!(filters.len() <= 5, "Lambda takes five filters, or ten after a request to AWS");
    filters.iter().map(|filter| serde_json::from_str(filter["Pattern"].as_str().unwrap()).unwrap()).collect()
}

/// Whether Lambda hands a record to the function.
fn passes(record: &Value) -> bool {
    static PATTERNS: LazyLock<Vec<Value>> = LazyLock::new(patterns);
    PATTERNS.iter().any(|pattern| fits(pattern, record))
}

fn fits(pattern: &Value, value: &Value) -> bool {
    match pattern {
        Value::Object(fields) => fields.iter().all(|(name, pattern)| fits(pattern, &value[name])),
        Value::Array(rules) => rules.iter().any(|rule| is_met(rule, value)),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
            panic!("{other} is neither an object nor a list of rules")
        }
    }
}

/// A rule is a value, or an object with one comparison. A field that is missing meets no rule here.
fn is_met(rule: &Value, value: &Value) -> bool {
    let text = value.as_str();
    match rule.as_object().and_then(|rule| rule.iter().next()) {
        None => rule == value,
        Some((comparison, of)) => match (comparison.as_str(), text) {
            (_, None) => false,
            ("prefix", Some(text)) => text.starts_with(of.as_str().unwrap()),
            ("anything-but", Some(text)) => !of.as_array().unwrap().iter().any(|other| other == text),
            ("exists", Some(_)) => of == true,
            (other, _) => panic!("teach this test the comparison {other}"),
        },
    }
}

/// A document's item.
fn document(state: DocumentState, redrives: u32, more: &Value) -> Value {
    let id = "6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f";
    let mut item = json!({
        "pk": { "S": "SUBMISSION#s1" }, "sk": { "S": format!("DOCUMENT#{id}") },
        "submissionId": { "S": "s1" }, "documentId": { "S": id },
        "bucket": { "S": "uploads" }, "key": { "S": "submissions/s1/plan.txt" }, "versionId": { "S": "v1" },
        "sizeBytes": { "N": "12" }, "state": { "S": state.as_str() }, "callbackId": { "S": "callback" },
        "round": { "N": "1" }, "redrives": { "N": redrives.to_string() },
        "times": { "M": { "Received": { "S": "2026-11-20T12:00:00.000Z" } } }
    });
    for (name, value) in more.as_object().unwrap() {
        item[name] = value.clone();
    }
    item
}

fn record(old: Option<&Value>, new: &Value) -> Value {
    json!({
        "eventName": if old.is_some() { "MODIFY" } else { "INSERT" },
        "dynamodb": {
            "ApproximateCreationDateTime": 1_795_190_645,
            "Keys": { "pk": new["pk"], "sk": new["sk"] }, "NewImage": new, "OldImage": old
        }
    })
}

/// How many events a change is.
fn events(record: &Value) -> usize {
    let batch: StreamEvent = serde_json::from_value(json!({ "Records": [record] })).unwrap();
    let changes = stream::changes(batch);
    changes.iter().map(|change| of_change(change.old.as_ref(), &change.new).len()).sum()
}

#[test]
fn every_change_that_is_an_event_passes_the_filter() {
    let mut items = Vec::new();
    for state in DocumentState::ALL {
        for redrives in [0, 1] {
            let superseded = json!({ "supersededBy": { "S": "5ef50d77-7ac8-59e4-8f6b-d135110e39de" } });
            for more in [json!({}), superseded, json!({ "isWithdrawn": { "BOOL": true } })] {
                // Only a document whose file is refused can be withdrawn.
                let is_refused = matches!(state, DocumentState::Rejected | DocumentState::Failed);
                if is_refused || more.get("isWithdrawn").is_none() {
                    items.push(document(state, redrives, &more));
                }
            }
        }
    }
    let mut seen = (0, 0);
    for new in &items {
        for old in items.iter().map(Some).chain([None]) {
            let change = record(old, new);
            // A new item is a document that was received or refused.
            let is_possible =
                old.is_some() || ["Received", "Rejected"].iter().any(|it| new["state"]["S"] == *it);
            if is_possible && events(&change) > 0 {
                assert!(passes(&change), "the filter holds back an event: {change:#}");
                seen.0 += 1;
            } else if is_possible && !passes(&change) {
                seen.1 += 1;
            }
        }
    }
    assert!(seen.0 > 100 && seen.1 > 10, "{seen:?} changes passed and were held back");
}

#[test]
fn every_sample_passes_the_filter() {
    for sample in files(&["events/route-events"], "json") {
        let event: Value = serde_json::from_str(&sample.text).unwrap();
        for record in event["Records"].as_array().unwrap() {
            assert!(passes(record), "{}: {record:#}", sample.path);
        }
    }
}

/// Without a subscriber, each change that passes costs one invocation, so these must not.
#[test]
fn steps_of_the_workflow_and_the_items_of_deliveries_do_not_pass_the_filter() {
    let working = document(DocumentState::Transferring, 0, &json!({}));
    let next = document(DocumentState::Processing, 0, &json!({}));
    assert!(!passes(&record(Some(&working), &next)));
    for (pk, sk) in [
        ("ADMISSION", "ADMISSION"),
        ("AUDIT#s1", "2026-11-20T12:00:00.000Z#1"),
        ("CALLBACK#c", "CALLBACK"),
        ("DELIVERIES#portal", "DELIVERIES"),
        ("EVENTS#portal", "17"),
        ("SUBMISSION#s1", "UPLOAD#u"),
        ("SUBMISSION#s1", "FILE#f"),
    ] {
        let item = json!({ "pk": { "S": pk }, "sk": { "S": sk } });
        assert!(!passes(&record(None, &item)) && !passes(&record(Some(&item), &item)), "{pk} {sk}");
    }
    let removed = json!({
        "eventName": "REMOVE",
        "dynamodb": { "Keys": { "pk": next["pk"], "sk": next["sk"] }, "OldImage": next }
    });
    assert!(!passes(&removed), "DynamoDB deletes items that have expired");
}

#[test]
fn submissions_and_subscribers_are_items_that_can_be_events() {
    let submission = json!({
        "pk": { "S": "SUBMISSION#s1" }, "sk": { "S": "SUBMISSION" }, "submissionId": { "S": "s1" },
        "state": { "S": "Draft" }, "open": { "N": "0" }, "ready": { "N": "0" }, "rejected": { "N": "0" },
        "failed": { "N": "0" }, "createdAt": { "S": "2026-11-20T12:00:00.000Z" }
    });
    let created = record(None, &submission);
    assert_eq!((events(&created), passes(&created)), (1, true));
    let batch: StreamEvent = serde_json::from_value(json!({ "Records": [created] })).unwrap();
    assert!(matches!(stream::changes(batch)[0].new, EventItem::Submission(_)));
}
