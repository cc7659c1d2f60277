//! The state machine: its error names, timeouts and final states; it uses `JSONata` only and keeps secrets out of the
//! history.

use std::collections::BTreeSet;

use lectern::error::Error;
use serde_json::{Value, json};

use super::{
    asl::{Machine, reachable, substitutions},
    sources::{captures, read},
    template::{Template, texts, walk},
};

#[test]
fn error_names_of_the_state_machine_and_of_the_domain_are_the_same() {
    let machine = Machine::load();
    let mut named = BTreeSet::new();
    walk(&machine.definition, "", &mut |path, value| {
        if path.ends_with("/ErrorEquals") {
            named.extend(texts(value).into_iter().map(str::to_owned));
        }
        if path.ends_with("/failure/Error") {
            // An expression chooses one of two names, which other states match, too.
            named.extend(value.as_str().filter(|name| !name.starts_with("{%")).map(str::to_owned));
        }
    });
    let aws = ["States.", "DynamoDb.", "Lambda."];
    named.retain(|name| !aws.iter().any(|prefix| name.starts_with(prefix)));
    let domain = BTreeSet::from(Error::NAMES.map(str::to_owned));
    assert_eq!(
        named, domain,
        "left: matched by ErrorEquals or produced by a Pass; right: Error::NAMES. Match what is missing on the left, \
         correct what is missing on the right"
    );
}

#[test]
fn names_of_aws_in_error_equals_are_real() {
    let known = [
        "States.ALL",
        "States.Timeout",
        "DynamoDb.ConditionalCheckFailedException",
        "Lambda.TooManyRequestsException",
        "Lambda.ServiceException",
        "Lambda.AWSLambdaException",
        "Lambda.SdkClientException",
    ];
    walk(&Machine::load().definition, "", &mut |path, value| {
        if path.ends_with("/ErrorEquals") {
            let unknown: Vec<&str> = texts(value)
                .into_iter()
                .filter(|name| !known.contains(name) && !Error::NAMES.contains(name))
                .collect();
            assert!(
                unknown.is_empty(),
                "{path}: {unknown:?}: check in AWS's documentation that they exist, then list them"
            );
        }
    });
}

/// Step Functions uses the first catcher that matches, so a second one for the same error would never be used.
#[test]
fn each_error_is_caught_once_in_a_state_and_the_rest_last() {
    for (name, state) in &Machine::load().states {
        for rules in ["Catch", "Retry"] {
            let rules = state[rules].as_array().into_iter().flatten();
            let names: Vec<&str> = rules.flat_map(|rule| texts(&rule["ErrorEquals"])).collect();
            let distinct: BTreeSet<&&str> = names.iter().collect();
            assert_eq!(names.len(), distinct.len(), "{name} lists an error twice: {names:?}");
            let all = names.iter().position(|name| *name == "States.ALL");
            assert!(all.is_none_or(|all| all + 1 == names.len()), "{name}: States.ALL comes last: {names:?}");
        }
    }
}

/// The state machine distinguishes errors by name. It passes a cause on to functions and never searches its text.
#[test]
fn nothing_in_the_state_machine_searches_a_text() {
    let machine = Machine::load();
    let functions =
        ["contains", "match", "split", "substring", "substringBefore", "substringAfter", "replace", "eval"];
    walk(&machine.definition, "", &mut |path, value| {
        let Some(expression) = value.as_str().filter(|text| text.starts_with("{%")) else { return };
        let called = captures(r"\$(\w+)\(", expression);
        let searching = functions.iter().find(|function| called.contains(**function));
        assert_eq!(searching, None, "{path}: {expression}");
        assert!(!expression.contains("~>") && !expression.contains(" in "), "{path}: {expression}");
        let passed_on = "{% $exists($failure.Cause) ? $failure.Cause : '' %}";
        assert!(!expression.contains("Cause") || expression == passed_on, "{path}: {expression}");
        for name in captures(r"Error = '([^']+)'", expression) {
            assert!(
                Error::NAMES.contains(&name.as_str()),
                "{path} compares with {name}, which is not an error's name"
            );
        }
    });
}

#[test]
fn errors_that_admit_document_distinguishes_are_those_of_the_domain() {
    let code = read("crates/lectern/src/steps/admit_document.rs");
    let function = code.split("fn report(error: &str").nth(1).unwrap().split("\n}\n").next().unwrap();
    let distinguished = captures(r#""([^"]+)" =>"#, function);
    assert!(distinguished.len() > 3, "{distinguished:?}: correct the test");
    let unknown: Vec<&String> =
        distinguished.iter().filter(|name| !Error::NAMES.contains(&name.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn substitutions_used_and_defined_are_the_same() {
    let template = Template::load();
    for (file, resource) in [
        ("statemachines/document.asl.json", "DocumentStateMachine"),
        ("statemachines/erase-submission.asl.json", "EraseSubmissionStateMachine"),
    ] {
        let used = captures(r"\$\{(\w+)\}", &read(file));
        let defined = substitutions(&template, resource);
        let names: BTreeSet<String> = defined.keys().map(|name| (*name).to_owned()).collect();
        assert_eq!(used, names, "left: used in {file}; right: DefinitionSubstitutions of template.yaml");
        for (name, value) in defined {
            assert!(
                !template.resolved(value).is_null(),
                "{name}: give {value} a value or a default in template.yaml"
            );
        }
    }
}

#[test]
fn every_task_has_a_timeout_a_retry_and_the_common_catch() {
    let machine = Machine::load();
    for (name, task) in machine.of_type("Task") {
        assert!(task["TimeoutSeconds"].as_u64().is_some_and(|s| s > 0), "{name}: give it TimeoutSeconds");
        let last = task["Retry"].as_array().and_then(|rules| rules.last()).unwrap_or(&Value::Null);
        assert_eq!(last["ErrorEquals"], json!(["States.ALL"]), "{name}: end its Retry with States.ALL");
        assert!(
            last["MaxAttempts"].as_u64().is_some_and(|times| (1..=20).contains(&times)),
            "{name}: {last}"
        );
        let catching = machine.maps.get(name).map_or(name, String::as_str);
        let catch = machine.state(catching)["Catch"].as_array().and_then(|catch| catch.last());
        let catch = catch.unwrap_or_else(|| panic!("{name}: give it, or the Map it is in, the common Catch"));
        assert_eq!(catch["ErrorEquals"], json!(["States.ALL"]), "{catching}: end its Catch with States.ALL");
        // If an order to admit-document cannot be sent, only time is lost.
        let goes_on = task["Resource"] == "arn:aws:states:::sqs:sendMessage";
        let end = match name {
            "FailDocument" => json!("Failed"),
            _ if goes_on => task["Next"].clone(),
            _ => json!("FailDocument"),
        };
        assert_eq!(catch["Next"], end, "{catching}: its Catch has to end there");
        if !goes_on && name != "FailDocument" {
            assert_eq!(
                catch["Assign"]["failure"], "{% $states.errorOutput %}",
                "{catching}: keep the error's output"
            );
        }
    }
    assert_eq!(
        (&machine.state("FailDocument")["Next"], &machine.state("Failed")["Type"]),
        (&json!("CheckCause"), &json!("Fail"))
    );
}

#[test]
fn every_state_is_reached_and_leads_to_done_or_failed() {
    let machine = Machine::load();
    let edges = machine.edges();
    let start = machine.definition["StartAt"].as_str().unwrap();
    let mut reached = reachable(start, &edges);
    reached.insert(start.to_owned());
    assert_eq!(reached, machine.states.keys().cloned().collect(), "left: can be reached; right: all states");
    let is_in_a_map = |name: &str| machine.maps.contains_key(name);
    let ends = |name: &str| {
        let state = machine.state(name);
        ["Fail", "Succeed"].contains(&state["Type"].as_str().unwrap())
            || (state["End"] == true && !is_in_a_map(name))
    };
    for name in machine.states.keys().filter(|name| !ends(name) && !is_in_a_map(name)) {
        let after = reachable(name, &edges);
        let dead = after.iter().find(|to| !ends(to) && reachable(to, &edges).is_empty());
        assert!(dead.is_none_or(|dead| is_in_a_map(dead)), "{dead:?} leads nowhere");
        assert!(after.iter().any(|to| ends(to)), "{name} never ends");
    }
    let last: Vec<&String> = machine.states.keys().filter(|name| ends(name)).collect();
    assert_eq!(last, ["Failed", "NormalizeDocument", "NotAccepted"]);
}

#[test]
fn only_jsonata_is_used() {
    let machine = Machine::load();
    assert_eq!(machine.definition["QueryLanguage"], "JSONata");
    let json_path = [
        "InputPath",
        "OutputPath",
        "ResultPath",
        "ResultSelector",
        "Parameters",
        "ItemsPath",
        "SecondsPath",
        "TimestampPath",
        "TimeoutSecondsPath",
        "Variable",
        "QueryLanguage",
    ];
    for state in machine.states.values() {
        walk(state, "", &mut |path, value| {
            let field = path.rsplit('/').next().unwrap_or_default();
            assert!(
                !json_path.contains(&field) && !field.ends_with(".$"),
                "{path} is JSONPath; write JSONata"
            );
            assert!(
                !value.as_str().is_some_and(|text| text.starts_with("$.")),
                "{path}: {value} is JSONPath"
            );
        });
    }
}

/// More people may read an execution's history than may read the table.
#[test]
fn case_53_no_token_url_or_returned_data_is_passed_on_between_states() {
    let machine = Machine::load();
    let files = ["resultOutcome.S", "resultFiles.N"];
    for (name, state) in &machine.states {
        walk(state, name, &mut |path, value| {
            let passed_on = path.contains("/Assign") || path.contains("/Output");
            let text = value.as_str().filter(|_| passed_on).unwrap_or_default();
            let lower = text.to_lowercase();
            assert!(!lower.contains("token") && !lower.contains("url"), "{path} passes a secret: {text}");
            let whole = text.contains("$states.result %}") || text.contains("Attributes %}");
            let attributes = captures(r"\.Attributes\.([\w.]+)", text);
            let foreign = attributes.iter().any(|attribute| !files.contains(&attribute.as_str()));
            assert!(!whole && !foreign, "{path} passes more than it needs to: {text}");
        });
        let written = state["Arguments"]["UpdateExpression"].as_str().unwrap_or_default();
        let returned = state["Arguments"]["ReturnValues"].as_str().unwrap_or("NONE");
        let secret = ["taskToken", "#result "].iter().any(|name| written.contains(name));
        assert!(
            returned == "NONE" || (returned == "UPDATED_NEW" && !secret),
            "{name}: with ReturnValues {returned} its result would contain a token or URLs"
        );
        let token = state["Arguments"].to_string().contains("Task.Token");
        let waits =
            state["Resource"].as_str().is_some_and(|resource| resource.ends_with(".waitForTaskToken"));
        assert_eq!(token, waits, "{name}: exactly the states that wait for a token send it");
    }
}

/// Single files that the third party does not accept need no operator.
#[test]
fn a09_execution_succeeds_only_if_the_file_itself_is_the_cause() {
    let machine = Machine::load();
    let choices = machine.state("CheckCause")["Choices"].as_array().unwrap();
    let errors = |choice: &Value| {
        captures(r"^\{% \$failure.Error = '([\w.]+)' %\}$", choice["Condition"].as_str().unwrap())
    };
    assert!(choices.iter().all(|choice| choice["Next"] == "NotAccepted"), "{choices:?}");
    let accepted: BTreeSet<String> = choices.iter().flat_map(errors).collect();
    assert_eq!(accepted, ["Source.Gone", "ThirdParty.Rejected"].map(str::to_owned).into());
    assert_eq!(machine.state("CheckCause")["Default"], "Failed");
    assert_eq!(machine.state("FailDocument")["Catch"][0]["Next"], "Failed");
}
