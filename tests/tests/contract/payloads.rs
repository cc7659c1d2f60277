//! What the state machine sends is what the functions read, and what it writes to the table is what the adapter reads.

use std::collections::BTreeSet;

use lectern::{
    document::{Attempt, DocumentRef, DocumentState, Round, TaskToken},
    fail_document, message, normalize_document, probe_job,
    trace::TRACEPARENT,
    transfer_document, verify_returned_file,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    asl::Machine,
    sources::{captures, read},
};

fn document() -> DocumentRef {
    let id = "6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f";
    DocumentRef { submission_id: "s1".parse().unwrap(), document_id: id.parse().unwrap() }
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

/// The names of an input's fields, all of them given.
fn fields(input: impl Serialize) -> BTreeSet<String> {
    keys(&serde_json::to_value(input).unwrap())
}

#[test]
fn payloads_have_just_the_fields_that_the_inputs_read() {
    let (schema_version, document, task_token) = (message::SCHEMA_VERSION, document(), TaskToken::new("t"));
    let (attempt, round) = (Attempt(1000), Round(1));
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().ok();
    let inputs = [
        (
            "TransferDocument",
            fields(transfer_document::Input {
                schema_version,
                document: document.clone(),
                attempt,
                round,
                task_token: task_token.clone(),
                traceparent,
            }),
        ),
        (
            "ProbeJob",
            fields(probe_job::Input {
                schema_version,
                document: document.clone(),
                attempt,
                round,
                traceparent,
            }),
        ),
        (
            "VerifyReturnedFile",
            fields(verify_returned_file::Input {
                schema_version,
                document: document.clone(),
                attempt,
                index: 0,
                traceparent,
            }),
        ),
        (
            "NormalizeDocument",
            fields(normalize_document::Input {
                schema_version,
                document: document.clone(),
                attempt: Some(attempt),
                task_token,
                traceparent,
            }),
        ),
        (
            "FailDocument",
            fields(fail_document::Input {
                schema_version,
                document,
                attempt,
                error: "States.Timeout".to_owned(),
                cause: String::new(),
                traceparent,
            }),
        ),
    ];
    let machine = Machine::load();
    let mut sending = BTreeSet::new();
    for (name, task) in machine.of_type("Task") {
        let arguments = &task["Arguments"];
        let payload = ["MessageBody", "Payload"].iter().find_map(|field| arguments.get(*field));
        let Some(payload) = payload else { continue };
        sending.insert(name.to_owned());
        let input = inputs.iter().find(|(state, _)| *state == name);
        let (_, expected) = input.unwrap_or_else(|| panic!("list the input of {name} in this test"));
        assert_eq!(
            keys(payload),
            *expected,
            "{name}: left: sent by the ASL; right: read by the function's Input"
        );
        assert_eq!(
            payload["schemaVersion"],
            message::SCHEMA_VERSION,
            "{name}: send the current schema version"
        );
    }
    assert_eq!(sending, inputs.map(|(state, _)| state.to_owned()).into(), "every input is sent by its state");
}

#[test]
fn execution_reads_only_what_starting_it_gives() {
    let begin = Machine::load().state("Begin").to_string();
    let read_fields = captures(r"\$states\.input\.(\w+)", &begin);
    let sfn = read("crates/lectern-aws/src/sfn.rs");
    let given = captures(r#""(\w+)": (?:SCHEMA_VERSION|document\.)"#, &sfn);
    assert_eq!(given, ["schemaVersion", "submissionId", "documentId"].map(str::to_owned).into());
    // What may be absent, as in executions that were started by version 1, is read only if it is there.
    assert!(sfn.contains("input[TRACEPARENT] = "));
    let optional = captures(r"\$exists\(\$states\.input\.(\w+)\) \?", &begin);
    assert_eq!(optional, [TRACEPARENT.to_owned()].into());
    let known: BTreeSet<String> = given.union(&optional).cloned().collect();
    assert!(read_fields.is_subset(&known), "Begin reads {read_fields:?}, StartExecution gives {known:?}");
}

#[test]
fn words_that_choices_compare_are_those_that_the_code_writes() {
    let machine = Machine::load();
    let compared = captures(r"\$probe = '(\w+)'", &machine.state("CheckProbe").to_string());
    let statuses = [probe_job::Status::ResultKept, probe_job::Status::Working];
    let written = statuses.map(|status| json!(status).as_str().unwrap().to_owned());
    assert_eq!(compared, written.into(), "left: CheckProbe; right: probe_job::Status");
    let outcomes = captures(r"\$outcome = '(\w+)'", &machine.state("CheckOutcome").to_string());
    let results = read("crates/lectern-aws/src/dynamodb/results.rs");
    let stored = captures(r#"JobResult::Succeeded\(job\) => \("(\w+)""#, &results);
    assert_eq!(outcomes, stored, "left: CheckOutcome; right: what record_result stores");
}

#[test]
fn attributes_that_the_state_machine_writes_are_those_of_the_dynamodb_adapter() {
    let machine = Machine::load();
    let items = read("crates/lectern-aws/src/dynamodb/items.rs");
    let document = read("crates/lectern/src/document.rs");
    for name in ["AwaitCallback", "BeginVerify"] {
        let arguments = &machine.state(name)["Arguments"];
        for attribute in attributes(arguments) {
            let field = snake_case(&attribute);
            let known = items.contains(&format!("    pub(super) {field}: "))
                || document.contains(&format!("    pub {field}: "));
            assert!(
                known,
                "{name} writes {attribute}, which neither StoredDocument nor Document has as {field}"
            );
        }
        for (key, prefix) in [("pk", "SUBMISSION#"), ("sk", "DOCUMENT#")] {
            let built = arguments["Key"][key]["S"].as_str().unwrap();
            assert!(built.contains(&format!("'{prefix}' & ")), "{name}: {key} is {built}");
            assert!(
                items.contains(&format!("format!(\"{prefix}{{id}}\")")),
                "items.rs builds {key} otherwise"
            );
        }
        for (placeholder, value) in arguments["ExpressionAttributeValues"].as_object().unwrap() {
            let Some(text) = value["S"].as_str().filter(|text| !text.starts_with("{%")) else { continue };
            let state = DocumentState::ALL.iter().find(|state| state.as_str() == text);
            assert!(state.is_some(), "{name}: {placeholder} is {text}, which is no state of a document");
        }
    }
}

#[test]
fn rendezvous_of_the_state_machine_and_of_receive_callback_use_the_same_condition() {
    let waits = Machine::load();
    let condition = waits.state("AwaitCallback")["Arguments"]["ConditionExpression"].as_str().unwrap();
    let keeps = read("crates/lectern-aws/src/dynamodb/results.rs");
    for side in [condition, keeps.as_str()] {
        assert!(
            side.contains("attribute_not_exists(#result)"),
            "both sides have to ask for a result that is not there"
        );
    }
    assert!(keeps.contains(r##".expression_attribute_names("#result", "result")"##));
    assert!(keeps.contains("ReturnValue::AllNew"), "the token is read back in the same write");
}

/// The attributes that an update names, with placeholders replaced and the entries of maps left out.
fn attributes(arguments: &Value) -> BTreeSet<String> {
    let text =
        ["UpdateExpression", "ConditionExpression"].map(|field| arguments[field].as_str().unwrap()).join(" ");
    let words = captures(r"([:#.\w]+)", &text);
    let keywords = ["SET", "ADD", "AND", "IN", "if_not_exists", "attribute_exists", "attribute_not_exists"];
    let names = words.iter().filter(|word| !word.starts_with(':') && !keywords.contains(&word.as_str()));
    names
        .map(|word| {
            let first = word.split('.').next().unwrap();
            let meant = arguments["ExpressionAttributeNames"][first].as_str();
            assert!(!first.starts_with('#') || meant.is_some(), "{first} is not in ExpressionAttributeNames");
            meant.unwrap_or(first).to_owned()
        })
        .collect()
}

fn snake_case(camel: &str) -> String {
    let mut snake = String::new();
    for letter in camel.chars() {
        if letter.is_uppercase() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}
