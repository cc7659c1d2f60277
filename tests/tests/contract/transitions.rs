//! The state changes that the state machine writes itself agree with `lectern::document::transitions`.

use std::collections::BTreeMap;

use lectern::{
    contract::wire::JobSucceeded,
    document::{Attempt, CallbackId, Document, DocumentState, JobResult, ObjectVersion, Round, transitions},
};
use lectern_content::MediaType;
use serde_json::{Value, json};
use time::{OffsetDateTime, macros::datetime};

use super::{
    asl::Machine,
    sources::{captures, regex},
};

const NOW: OffsetDateTime = datetime!(2026-11-20 12:00:00 UTC);
const NOW_TEXT: &str = "2026-11-20T12:00:00.000Z";

type Move = fn(&Document, OffsetDateTime) -> Option<Document>;

/// The states of the state machine that write a document, and the transition functions that they must agree with.
const MOVES: [(&str, Move); 2] =
    [("AwaitCallback", transitions::await_callback), ("BeginVerify", transitions::begin_verify)];

fn document(state: DocumentState, result: Option<JobResult>, times: BTreeMap<String, String>) -> Document {
    let id = "6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f";
    Document {
        reference: lectern::document::DocumentRef {
            submission_id: "s1".parse().unwrap(),
            document_id: id.parse().unwrap(),
        },
        object: ObjectVersion {
            bucket: "uploads".to_owned(),
            key: "submissions/s1/plan.txt".to_owned(),
            version_id: "v1".to_owned(),
        },
        owner: None,
        name: None,
        size_bytes: 12,
        media_type: Some(MediaType::Text),
        state,
        reason: None,
        times,
        superseded_by: None,
        is_withdrawn: false,
        callback_id: CallbackId::new("callback"),
        traceparent: None,
        attempt: Some(Attempt(1)),
        round: Round::FIRST,
        job_id: Some("j1".to_owned()),
        earlier_jobs: std::collections::BTreeSet::new(),
        result,
        redrives: 0,
        record_key: None,
        abandoned_jobs: std::collections::BTreeSet::new(),
        expires_at: None,
    }
}

/// Documents in every state, with and without a result, and with and without an earlier time for the target state.
fn documents() -> Vec<Document> {
    let result = JobResult::Succeeded(JobSucceeded { job_id: "j1".to_owned(), files: Vec::new() });
    let mut all = Vec::new();
    for state in DocumentState::ALL {
        for result in [None, Some(result.clone())] {
            for seen in [vec![], vec!["Processing"], vec!["Processing", "Verifying"]] {
                let earlier = |name: &str| (name.to_owned(), "2026-11-20T11:00:00.000Z".to_owned());
                all.push(document(state, result.clone(), seen.into_iter().map(earlier).collect()));
            }
        }
    }
    all
}

/// Applies a state's update to a document's item as `DynamoDB` does. Panics at an expression that it cannot interpret.
fn update(arguments: &Value, item: &Value) -> Option<Value> {
    let name = |word: &str| arguments["ExpressionAttributeNames"][word].as_str().unwrap_or(word).to_owned();
    let value = |word: &str| {
        let value = &arguments["ExpressionAttributeValues"][word];
        match value["S"].as_str().unwrap_or_else(|| panic!("{word} is not a string")) {
            "{% $states.context.State.EnteredTime %}" => json!(NOW_TEXT),
            "{% $states.context.Task.Token %}" => json!("token"),
            text => json!(text),
        }
    };
    let condition = arguments["ConditionExpression"].as_str().unwrap();
    let form = regex(r"^attribute_(not_exists|exists)\((#\w+)\) AND (#\w+) IN \(([^)]*)\)$");
    let parts = form.captures(condition).unwrap_or_else(|| panic!("teach this test to read {condition}"));
    let exists = !item[name(&parts[2])].is_null();
    let is_in = parts[4].split(", ").any(|word| item[name(&parts[3])] == value(word));
    if exists != (&parts[1] == "exists") || !is_in {
        return None;
    }
    let expression = arguments["UpdateExpression"].as_str().unwrap();
    let form = regex(r"^SET (.*) ADD revision :one$");
    let parts = form.captures(expression).unwrap_or_else(|| panic!("teach this test to read {expression}"));
    let mut item = item.clone();
    let old = item.clone();
    let assignment = regex(r"([\w#.]+) = (if_not_exists\([\w#.]+, :\w+\)|[\w#.:]+)(?:, |$)");
    for assigned in assignment.captures_iter(&parts[1]) {
        let pointer = |path: &str| {
            path.split('.').flat_map(|part| ["/".to_owned(), name(part).clone()]).collect::<String>()
        };
        let is_default = captures(r"^if_not_exists\(([\w#.]+), :", &assigned[2]).into_iter().next();
        let operand = assigned[2].trim_start_matches("if_not_exists(").trim_end_matches(')');
        let operand = operand.split(", ").last().unwrap();
        let new = match is_default.and_then(|path| old.pointer(&pointer(&path)).cloned()) {
            Some(present) => present,
            None if operand.starts_with(':') => value(operand),
            None => old[name(operand)].clone(),
        };
        let path: Vec<String> = assigned[1].split('.').map(name).collect();
        match path.as_slice() {
            [field] => item[field] = new,
            [map, entry] => item[map][entry] = new,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(assignment.replace_all(&parts[1], ""), "", "teach this test to read all of {expression}");
    Some(item)
}

#[test]
fn moves_that_the_state_machine_writes_are_those_of_transitions() {
    let machine = Machine::load();
    for (state, transition) in MOVES {
        let arguments = &machine.state(state)["Arguments"];
        let mut moved = 0;
        for document in documents() {
            let item = serde_json::to_value(&document).unwrap();
            // The item's attributes that are not part of the document.
            let beside = |item: &Value| {
                let mut item = item.clone();
                for attribute in ["taskToken", "resultOutcome", "resultFiles"] {
                    item.as_object_mut().unwrap().remove(attribute);
                }
                item
            };
            let written = update(arguments, &item).map(|item| beside(&item));
            let expected = transition(&document, NOW).map(|moved| serde_json::to_value(moved).unwrap());
            assert_eq!(written, expected, "{state}: left: the ASL; right: transitions; of {item}");
            moved += usize::from(expected.is_some());
        }
        assert!(moved > 0, "{state}");
    }
}

#[test]
fn every_state_that_writes_a_document_has_its_move() {
    let machine = Machine::load();
    let writing: Vec<&str> = machine
        .of_type("Task")
        .into_iter()
        .filter(|(_, task)| task["Resource"].as_str().unwrap().contains("dynamodb"))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(writing, MOVES.map(|(state, _)| state));
}
