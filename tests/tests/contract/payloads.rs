//! The functions read exactly what the state machine sends, and the `DynamoDB` adapter reads what it writes to the
//! table.

use std::collections::BTreeSet;

use lectern::{
    admission::Lane,
    contract::wire::JobSucceeded,
    document::{Attempt, DocumentRef, DocumentState, JobResult, Round, TaskToken},
    message::{self, Envelope},
    ports::{Resume, StartExecution},
    steps::admit_document,
    steps::fail_document,
    steps::normalize_document,
    steps::probe_job,
    steps::transfer_document,
    steps::verify_returned_file,
};
use lectern_aws::sfn::execution_input;
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

fn order(order: admit_document::Order) -> BTreeSet<String> {
    fields(admit_document::Input { envelope: envelope(), order })
}

/// An envelope with all its fields.
fn envelope() -> Envelope {
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().ok();
    Envelope { traceparent, ..Envelope::new(document(), Attempt(1_000_001)) }
}

/// The states that send orders to `admit-document`, and the fields that it reads from each.
fn orders() -> [(&'static str, BTreeSet<String>); 6] {
    let report = || order(admit_document::Order::Report { error: String::new(), cause: String::new() });
    let release = || order(admit_document::Order::Release);
    [
        (
            "AwaitPermit",
            order(admit_document::Order::Request {
                task_token: TaskToken::new("t"),
                failed_transfers: 0,
                lane: Some(Lane::of(None, &document().submission_id)),
                repeats: 0,
            }),
        ),
        ("ReportFailure", report()),
        ("ReportUnknownOutcome", report()),
        ("RenewLease", order(admit_document::Order::Renew { count: 0 })),
        ("ReleaseLease", release()),
        ("ReleaseUnknownJob", release()),
    ]
}

/// The names of an input's fields; the value must set all of them.
fn fields(input: impl Serialize) -> BTreeSet<String> {
    keys(&serde_json::to_value(input).unwrap())
}

#[test]
fn payloads_have_just_the_fields_that_the_inputs_read() {
    let (round, task_token) = (Round(1), TaskToken::new("t"));
    let permit_expires_at = time::OffsetDateTime::UNIX_EPOCH;
    let inputs = [
        (
            "TransferDocument",
            fields(transfer_document::Input {
                envelope: envelope(),
                permit_expires_at,
                report_success: false,
                round,
                task_token: task_token.clone(),
            }),
        ),
        ("ProbeJob", fields(probe_job::Input { envelope: envelope(), round })),
        ("VerifyReturnedFile", fields(verify_returned_file::Input { envelope: envelope(), index: 0 })),
        ("NormalizeDocument", fields(normalize_document::Input { envelope: envelope(), task_token })),
        (
            "FailDocument",
            fields(fail_document::Input {
                envelope: envelope(),
                error: "States.Timeout".to_owned(),
                redrives: 0,
                cause: String::new(),
            }),
        ),
    ];
    let inputs: Vec<(&str, BTreeSet<String>)> = inputs.into_iter().chain(orders()).collect();
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
    let listed: BTreeSet<String> = inputs.into_iter().map(|(state, _)| state.to_owned()).collect();
    assert_eq!(sending, listed, "every input is sent by its state");
}

#[test]
fn orders_are_of_the_kinds_that_admit_document_knows() {
    let machine = Machine::load();
    let kinds = [
        ("AwaitPermit", "request"),
        ("ReportFailure", "report"),
        ("ReportUnknownOutcome", "report"),
        ("RenewLease", "renew"),
        ("ReleaseLease", "release"),
        ("ReleaseUnknownJob", "release"),
    ];
    for (state, kind) in kinds {
        let mut sample = machine.state(state)["Arguments"]["MessageBody"].clone();
        assert_eq!(sample["kind"], kind, "{state}");
        for (field, value) in sample.as_object_mut().unwrap() {
            let expression = value.as_str().is_some_and(|text| text.starts_with("{%"));
            match field.as_str() {
                _ if !expression => {}
                "documentId" => *value = json!(document().document_id),
                "attempt" | "count" | "failedTransfers" | "repeats" => *value = json!(1_000_001),
                _ => *value = json!("text"),
            }
        }
        let read = message::parse::<admit_document::Input>(&sample.to_string());
        assert!(read.is_ok(), "{state}: {read:?}");
    }
}

#[test]
fn permit_has_the_fields_that_the_state_machine_reads() {
    let read_fields = captures(r"\$states\.result\.(\w+)", &Machine::load().state("AwaitPermit").to_string());
    let code = read("crates/lectern/src/steps/admit_document.rs");
    let given = code.split("let output = json!({").nth(1).unwrap().split("});").next().unwrap();
    assert_eq!(
        read_fields,
        captures(r#""(\w+)": "#, given),
        "left: AwaitPermit; right: admit_document::notify"
    );
}

#[test]
fn callback_has_the_output_that_the_state_machine_reads() {
    let state = Machine::load().state("AwaitCallback").to_string();
    let read_fields = captures(r"\$states\.result\.(\w+)", &state);
    let code = read("crates/lectern/src/steps/receive_callback.rs");
    let given = captures(r"tasks\.succeed\(token, json!\((.*)\)\)\.await", &code);
    let given = captures(r#""(\w+)":"#, given.first().unwrap());
    assert_eq!(read_fields, given, "left: AwaitCallback; right: receive_callback");
}

#[test]
fn execution_reads_only_what_starting_it_gives_and_asks_for_what_may_be_missing() {
    let states = ["Begin", "CheckResume"].map(|name| Machine::load().state(name).clone());
    let read_fields = states.iter().flat_map(|state| captures(r"\$states\.input\.(\w+)", &state.to_string()));
    let execution = |resume, traceparent| StartExecution {
        document: document(),
        traceparent,
        lane: Lane::of(None, &document().submission_id),
        redrives: 1,
        resume,
        round: Round(2),
        attempt: Attempt(7),
    };
    let given = keys(&execution_input(&execution(Resume::Probe, envelope().traceparent)));
    let always = keys(&execution_input(&execution(Resume::Transfer, None)));
    let optional: BTreeSet<String> = given.difference(&always).cloned().collect();
    assert_eq!(optional, ["resume", "traceparent"].map(str::to_owned).into());
    let read_fields: BTreeSet<String> = read_fields.collect();
    assert!(read_fields.is_subset(&given), "left: Begin and CheckResume; right: execution_input");
    let begin = states[0].to_string();
    for field in optional {
        let uses = begin.matches(&format!("$states.input.{field}")).count();
        let asks = begin.matches(&format!("$exists($states.input.{field})")).count();
        assert!(asks > 0 && uses <= 2 * asks, "Begin has to ask whether {field} exists");
    }
}

/// A resumed execution differs from others only in that it has started no job yet.
#[test]
fn both_ways_out_of_begin_set_the_same_variables() {
    let begin = Machine::load().state("Begin").clone();
    let mut resumed = begin["Choices"][0]["Assign"].clone();
    assert_eq!((&resumed["roundsUsed"], &begin["Assign"]["roundsUsed"]), (&json!(0), &json!(1)));
    resumed["roundsUsed"] = json!(1);
    assert_eq!(resumed, begin["Assign"]);
}

#[test]
fn words_that_choices_compare_are_those_that_the_code_writes() {
    let machine = Machine::load();
    let compared = captures(r"\$probe = '(\w+)'", &format!("{:?}", machine.states));
    let statuses = probe_job::Status::ALL;
    let written = statuses.map(|status| json!(status).as_str().unwrap().to_owned());
    assert_eq!(compared, written.into(), "left: the choices; right: probe_job::Status");
    let outcomes = captures(r"\$outcome = '(\w+)'", &machine.state("CheckOutcome").to_string());
    let success = JobResult::Succeeded(JobSucceeded { job_id: String::new(), files: Vec::new() });
    let stored = BTreeSet::from([success.outcome().to_owned()]);
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
            assert!(state.is_some(), "{name}: {placeholder} is {text}, which is not a document's state");
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
            "both sides need the condition that no result is stored"
        );
    }
    assert!(keeps.contains(r##".expression_attribute_names("#result", "result")"##));
    assert!(keeps.contains("ReturnValue::AllNew"), "the same write has to return the token");
}

/// The attributes that an update names, with placeholders resolved. Entries within maps are left out.
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
