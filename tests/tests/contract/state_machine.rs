//! The state machine's shape: names, bounds, ways to the end, and nothing that should not be remembered.

use std::collections::BTreeSet;

use lectern::error::Error;
use serde_json::{Value, json};

use super::{
    asl::{Edge, Machine, reachable, substitutions},
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
            named.extend(value.as_str().map(str::to_owned));
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
                "{path}: {unknown:?}: see in AWS's documentation that they exist, then list them"
            );
        }
    });
}

#[test]
fn substitutions_used_and_defined_are_the_same() {
    let used = captures(r"\$\{(\w+)\}", &read("statemachines/document.asl.json"));
    let template = Template::load();
    let defined: BTreeSet<String> = substitutions(&template).into_keys().map(str::to_owned).collect();
    assert_eq!(used, defined, "left: used in the ASL; right: DefinitionSubstitutions of template.yaml");
    for (name, value) in substitutions(&template) {
        assert!(
            !template.resolved(value).is_null(),
            "{name}: give {value} a value or a default in template.yaml"
        );
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
        // An order that cannot be given costs a delay and nothing else; and whatever happens, a failed document ends.
        let goes_on = task["Resource"] == "arn:aws:states:::sqs:sendMessage" || name == "FailDocument";
        let end = if goes_on { task["Next"].clone() } else { json!("FailDocument") };
        assert_eq!(catch["Next"], end, "{catching}: its Catch has to end there");
        if !goes_on {
            assert_eq!(
                catch["Assign"]["failure"], "{% $states.errorOutput %}",
                "{catching}: keep what failed"
            );
        }
    }
    let fail = machine.state("FailDocument");
    assert_eq!(fail["Next"], "ReleaseTurnOfFailed");
    assert_eq!(
        (&machine.state("ReleaseTurnOfFailed")["Next"], &machine.state("Failed")["Type"]),
        (&json!("Failed"), &json!("Fail"))
    );
}

#[test]
fn every_way_ends_done_or_failed_and_every_state_is_on_one() {
    let machine = Machine::load();
    let edges = machine.edges();
    let start = machine.definition["StartAt"].as_str().unwrap();
    let mut reached = reachable(start, &edges);
    reached.insert(start.to_owned());
    assert_eq!(reached, machine.states.keys().cloned().collect(), "left: can be reached; right: all states");
    let ends = |name: &str| ["Succeed", "Fail"].iter().any(|kind| machine.state(name)["Type"] == *kind);
    for name in machine.states.keys().filter(|name| !ends(name) && !machine.maps.contains_key(*name)) {
        let after = reachable(name, &edges);
        let dead = after.iter().find(|to| !ends(to) && reachable(to, &edges).is_empty());
        assert!(dead.is_none_or(|dead| machine.maps.contains_key(dead)), "{dead:?} leads nowhere");
        assert!(after.iter().any(|to| ends(to)), "{name} never ends");
    }
    assert!(ends("Done") && ends("Failed"));
    assert_eq!((machine.of_type("Succeed").len(), machine.of_type("Fail").len()), (1, 1));
}

#[test]
fn every_loop_passes_a_limit_on_a_counter_that_only_grows() {
    let machine = Machine::load();
    let edges = machine.edges();
    let free: Vec<Edge> = edges.iter().filter(|edge| edge.guard.is_none()).cloned().collect();
    for name in machine.states.keys() {
        let looping = reachable(name, &free).contains(name);
        assert!(!looping, "{name} is on a loop without a Choice on a counter; bound it");
    }
    let start = machine.definition["StartAt"].as_str().unwrap();
    for guard in edges.iter().filter_map(|edge| edge.guard.as_deref()) {
        let starts = &machine.state(start)["Assign"][guard];
        let round = "{% $exists($states.input.round) ? $states.input.round : 1 %}";
        assert!(
            starts.is_u64() || (guard == "round" && starts == round),
            "{start}: start the counter {guard}"
        );
        assert!(edges.iter().all(|edge| edge.from == start || edge.assign.get("lastRound").is_none()));
        let more = format!("{{% ${guard} + 1 %}}");
        assert!(edges.iter().any(|edge| edge.assign[guard] == more), "nothing counts {guard} up");
        for edge in edges.iter().filter(|edge| edge.from != start && edge.assign[guard].is_u64()) {
            let entries: Vec<&Edge> = edges.iter().filter(|entry| entry.to == edge.from).collect();
            let bounded =
                entries.iter().all(|entry| entry.guard.as_deref().is_some_and(|other| other != guard));
            assert!(bounded, "{} sets {guard} back without a limit on how often", edge.from);
        }
    }
}

#[test]
fn every_wait_has_a_bound() {
    let machine = Machine::load();
    let edges = machine.edges();
    let entries = |name: &str| edges.iter().filter(|edge| edge.to == name).cloned().collect::<Vec<Edge>>();
    let waits: Vec<&str> = machine.of_type("Wait").into_iter().map(|(name, _)| name).collect();
    assert_eq!(waits, ["WaitAfterTrouble", "WaitForTurn"]);
    // The gate gives the time of a slot, and limits::MAX_RATE_LIMIT_WAIT bounds what the third party may ask for.
    assert_eq!(machine.state("WaitForTurn")["Timestamp"], "{% $turnAt %}");
    assert!(entries("WaitForTurn").iter().all(|edge| edge.from == "AwaitTurn"));
    assert_eq!(machine.state("WaitAfterTrouble")["Seconds"], "{% $backoffSeconds %}");
    assert!(entries("WaitAfterTrouble").iter().all(|edge| edge.guard.as_deref() == Some("troubles")));
    let backoff = edges.iter().filter_map(|edge| edge.assign["backoffSeconds"].as_str());
    for expression in backoff {
        let longest = captures(r"\$floor\(\$random\(\) \* \$min\(\[(\d+), ", expression);
        let longest: u64 = longest.first().and_then(|number| number.parse().ok()).unwrap_or(u64::MAX);
        assert!(longest <= 3600, "no pause longer than an hour: {expression}");
    }
}

#[test]
fn every_way_into_the_transfer_takes_a_new_turn() {
    let machine = Machine::load();
    let edges = machine.edges();
    for (to, from) in [("TransferDocument", "WaitForTurn"), ("WaitForTurn", "AwaitTurn")] {
        assert!(edges.iter().all(|edge| edge.to != to || edge.from == from), "only {from} leads to {to}");
    }
    let start = machine.definition["StartAt"].as_str().unwrap();
    for edge in edges.iter().filter(|edge| edge.assign.get("attempt").is_some()) {
        let expected = if edge.from == start { json!(0) } else { json!("{% $states.result.attempt %}") };
        assert!([start, "AwaitTurn"].contains(&edge.from.as_str()), "{} makes up an attempt", edge.from);
        assert_eq!(edge.assign["attempt"], expected, "{}", edge.from);
    }
    let body = &machine.state("TransferDocument")["Arguments"]["MessageBody"];
    assert_eq!(
        (&body["attempt"], &body["turnEndsAt"]),
        (&json!("{% $attempt %}"), &json!("{% $turnEndsAt %}"))
    );
}

#[test]
fn whoever_had_a_turn_gives_it_back_on_every_way_to_the_end() {
    let machine = Machine::load();
    let edges = machine.edges();
    let releases = ["ReleaseTurn", "ReleaseTurnOfFailed"];
    let kept: Vec<Edge> =
        edges.iter().filter(|edge| !releases.contains(&edge.to.as_str())).cloned().collect();
    let after = reachable("AwaitTurn", &kept);
    for end in ["Done", "Failed", "BeginVerify"] {
        assert!(!after.contains(end), "a way from AwaitTurn to {end} releases no turn");
    }
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

/// A history is read by more people than the table is.
#[test]
fn case_53_no_token_url_or_returned_data_is_passed_on_between_states() {
    let machine = Machine::load();
    let files = ["resultOutcome.S", "resultFiles.N"];
    for (name, state) in &machine.states {
        walk(state, name, &mut |path, value| {
            let passed_on = path.contains("/Assign") || path.contains("/Output");
            let text = value.as_str().filter(|_| passed_on).unwrap_or_default();
            let lower = text.to_lowercase();
            assert!(!lower.contains("token") && !lower.contains("url"), "{path} passes a secret on: {text}");
            let whole = text.contains("$states.result %}") || text.contains("Attributes %}");
            let attributes = captures(r"\.Attributes\.([\w.]+)", text);
            let foreign = attributes.iter().any(|attribute| !files.contains(&attribute.as_str()));
            assert!(!whole && !foreign, "{path} passes on more than it has to: {text}");
        });
        let written = state["Arguments"]["UpdateExpression"].as_str().unwrap_or_default();
        let returned = state["Arguments"]["ReturnValues"].as_str().unwrap_or("NONE");
        let secret = ["taskToken", "#result "].iter().any(|name| written.contains(name));
        assert!(
            returned == "NONE" || (returned == "UPDATED_NEW" && !secret),
            "{name}: with ReturnValues {returned} its result would hold a token or URLs"
        );
        let token = state["Arguments"].to_string().contains("Task.Token");
        let waits =
            state["Resource"].as_str().is_some_and(|resource| resource.ends_with(".waitForTaskToken"));
        assert_eq!(token, waits, "{name}: the token goes exactly where somebody waits for it");
    }
}
