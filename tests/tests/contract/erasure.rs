//! The state machine that erases withdrawn submissions: its waits, its limits and its permissions.

use std::collections::BTreeSet;

use lectern::{message, steps::erase_submission::Incomplete};
use serde_json::{Value, json};

use super::{
    asl::Machine,
    template::{Template, texts},
};

const STATE: &str = "EraseSubmission";

fn machine() -> Machine {
    Machine::of("statemachines/erase-submission.asl.json", "EraseSubmissionStateMachine")
}

fn number(rule: &Value, field: &str) -> u64 {
    rule[field].as_u64().unwrap_or_else(|| panic!("give the retry rule {rule} the field {field}"))
}

#[test]
fn a08_state_machine_repeats_exactly_the_errors_that_a_pass_ends_with() {
    let machine = machine();
    let rules = machine.state(STATE)["Retry"].as_array().unwrap();
    let named: Vec<&str> = rules.iter().flat_map(|rule| texts(&rule["ErrorEquals"])).collect();
    let ours: BTreeSet<&str> = named.iter().copied().filter(|name| name.starts_with("Erasure.")).collect();
    assert_eq!(ours, BTreeSet::from(Incomplete::NAMES), "left: retried; right: Incomplete::NAMES");
    assert!(named.contains(&"Input.Newer"), "{named:?}");
    assert_eq!(named.last(), Some(&"States.ALL"), "a crash and a failing store lead to another pass");
    assert!(rules.iter().all(|rule| number(rule, "MaxAttempts") > 0), "every error leads to another pass");
    assert_eq!(machine.definition["QueryLanguage"], "JSONata");
    assert!(
        machine.state(STATE).get("Catch").is_none(),
        "what still fails ends the execution and sets an alarm off"
    );
}

#[test]
fn a08_input_of_the_function_is_what_the_state_sends() {
    let machine = machine();
    let payload = &machine.state(STATE)["Arguments"]["Payload"];
    let input = json!({ "schemaVersion": message::SCHEMA_VERSION, "submissionId": "{% $states.input.submissionId %}" });
    assert_eq!(*payload, input);
}

/// A function that started before the execution was stopped may run for its whole timeout.
#[test]
fn a08_stopped_document_is_left_alone_for_longer_than_any_function_runs() {
    let (template, machine) = (Template::load(), machine());
    let waits_s = template.number(&json!({ "Ref": "StoppedDocumentSeconds" }));
    for (name, function) in template.resources("AWS::Serverless::Function") {
        let runs_s = template.timeout_s(function);
        assert!(waits_s >= runs_s + 60, "{name} runs for {runs_s} s, and the erasure waits {waits_s} s");
    }
    let rule = machine.retry_rule(STATE, "Erasure.DocumentsStopped");
    assert_eq!((number(rule, "IntervalSeconds"), number(rule, "BackoffRate")), (waits_s, 1));
    assert!(rule.get("JitterStrategy").is_none(), "jitter would make the wait too short");
    let function = template.resource("AWS::Serverless::Function", "EraseSubmissionFunction");
    let state_s = machine.state(STATE)["TimeoutSeconds"].as_u64().unwrap();
    assert!(state_s > template.timeout_s(function), "the state outlasts the function");
}

#[test]
fn a08_third_party_is_asked_for_weeks_and_all_waits_fit_into_one_execution() {
    let machine = machine();
    let rule = machine.retry_rule(STATE, "Erasure.Unconfirmed");
    let (mut pause_s, mut longest_s) = (number(rule, "IntervalSeconds"), 0);
    for _ in 0..number(rule, "MaxAttempts") {
        longest_s += pause_s.min(number(rule, "MaxDelaySeconds"));
        pause_s = pause_s.saturating_mul(number(rule, "BackoffRate"));
    }
    // Full jitter halves the waits on average.
    assert!(longest_s / 2 >= 10 * 86_400, "{longest_s} s at most");
    let stopped = machine.retry_rule(STATE, "Erasure.DocumentsStopped");
    let newer = machine.retry_rule(STATE, "Input.Newer");
    let waits_s = longest_s
        + number(stopped, "IntervalSeconds") * number(stopped, "MaxAttempts")
        + number(newer, "MaxDelaySeconds") * number(newer, "MaxAttempts");
    let runs =
        machine.state(STATE)["Retry"].as_array().unwrap().iter().map(|rule| number(rule, "MaxAttempts"));
    let runs: u64 = 1 + runs.sum::<u64>();
    let whole_s = waits_s + runs * machine.state(STATE)["TimeoutSeconds"].as_u64().unwrap();
    assert!(machine.definition["TimeoutSeconds"].as_u64().unwrap() >= whole_s, "{whole_s} s");
    assert!(2 + 3 * runs < 25_000, "Step Functions ends an execution with 25,000 events");
}

#[test]
fn a08_state_machine_may_invoke_its_function_and_nothing_else() {
    let template = Template::load();
    let machine = template.resource("AWS::Serverless::StateMachine", "EraseSubmissionStateMachine");
    let statements = Template::statements(machine);
    let [statement] = statements.as_slice() else { panic!("{statements:?}") };
    let expected = json!({
        "Effect": "Allow",
        "Action": ["lambda:InvokeFunction"],
        "Resource": { "Ref": "EraseSubmissionFunction.Alias" },
    });
    assert_eq!(**statement, expected);
}

/// Whoever may erase objects could destroy what teachers have handed in.
#[test]
fn a08_no_other_function_may_erase_versions() {
    let template = Template::load();
    for (name, function) in template.resources("AWS::Serverless::Function") {
        let actions: BTreeSet<&str> = Template::statements(function)
            .into_iter()
            .flat_map(|statement| texts(&statement["Action"]))
            .collect();
        let erases = actions.contains("s3:DeleteObjectVersion");
        assert_eq!(erases, name == "EraseSubmissionFunction", "{name}");
    }
}
