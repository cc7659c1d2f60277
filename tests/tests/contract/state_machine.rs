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
    assert_eq!(machine.state("FailDocument")["Next"], "ReleaseTurnOfFailed");
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
        assert!(machine.state(start)["Assign"][guard].is_u64(), "{start}: start the counter {guard}");
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
        // A redrive that goes on with a job has the place of its attempt.
        let begins = json!("{% $exists($states.input.attempt) ? $states.input.attempt : 0 %}");
        let expected = if edge.from == start { begins } else { json!("{% $states.result.attempt %}") };
        assert!([start, "AwaitTurn"].contains(&edge.from.as_str()), "{} makes up an attempt", edge.from);
        assert_eq!(edge.assign["attempt"], expected, "{}", edge.from);
    }
    let body = &machine.state("TransferDocument")["Arguments"]["MessageBody"];
    assert_eq!(
        (&body["attempt"], &body["turnEndsAt"]),
        (&json!("{% $attempt %}"), &json!("{% $turnEndsAt %}"))
    );
}

/// The ways on which no turn is given back.
fn without_release(machine: &Machine) -> Vec<Edge> {
    let releases = ["ReleaseTurn", "ReleaseTurnOfFailed"];
    machine.edges().into_iter().filter(|edge| !releases.contains(&edge.to.as_str())).collect()
}

/// A place is given back on every way to the end. If a job may be at the third party that nobody waits for, its lease
/// ends by itself, and the gate is told no more than that this attempt says nothing of the third party.
#[test]
fn whoever_had_a_turn_gives_it_back_on_every_way_to_the_end_unless_a_job_is_possible() {
    let machine = Machine::load();
    let after = reachable("AwaitTurn", &without_release(&machine));
    for end in ["Done", "Failed", "BeginVerify"] {
        assert!(!after.contains(end), "a way from AwaitTurn to {end} releases no turn");
    }
    let order = &machine.state("ReleaseTurnOfFailed")["Arguments"]["MessageBody"];
    assert_eq!(order["kind"], "{% $jobPossible ? 'report' : 'release' %}");
    let said = order["error"].as_str().unwrap();
    assert!(!Error::NAMES.contains(&said), "{said} would be taken for news of the third party");
}

#[test]
fn job_is_possible_from_its_transfer_until_the_third_party_says_that_there_is_none() {
    let machine = Machine::load();
    let edges = machine.edges();
    let start = machine.definition["StartAt"].as_str().unwrap();
    let held = reachable("AwaitTurn", &without_release(&machine));
    let fails = edges.iter().filter(|edge| edge.to == "FailDocument" && held.contains(&edge.from));
    let (mut possible, mut as_it_was) = (BTreeSet::new(), BTreeSet::new());
    for edge in fails {
        let said = &edge.assign["jobPossible"];
        // Whoever gives up because the third party knows no job is sure that there is none.
        if *said == json!(false) {
            assert_eq!(edge.from, "GiveUpWaiting");
            continue;
        }
        assert!(said.is_null() || *said == json!(true), "{}: {said}", edge.from);
        if said.is_null() { &mut as_it_was } else { &mut possible }.insert(edge.from.as_str());
    }
    let possible: Vec<&str> = possible.into_iter().collect();
    assert_eq!(
        possible,
        ["AwaitCallback", "GiveUpWorking", "ProbeJob", "TransferDocument"],
        "who fails there had a transfer whose end is not known"
    );
    let as_it_was: Vec<&str> = as_it_was.into_iter().collect();
    assert_eq!(
        as_it_was,
        ["AwaitTurn", "CheckTroubles", "CheckTurnWaits", "TransferDocument"],
        "who fails there waited for a turn or was refused"
    );
    let catches = machine.state("TransferDocument")["Catch"].as_array().unwrap();
    let refused: Vec<&Value> =
        catches.iter().filter(|catch| catch["Assign"].get("jobPossible").is_none()).collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0]["ErrorEquals"], json!(["ThirdParty.Rejected", "Source.Gone"]), "these make no job");
    // Once it is possible it stays so, until the third party says that it knows of none: a later request that certainly
    // made none says nothing of an earlier one.
    for edge in edges.iter().filter(|edge| edge.from != start && edge.to != "FailDocument") {
        let said = edge.assign.get("jobPossible").map(Value::to_string).unwrap_or_default();
        let lasts = said.ends_with(" ? true : $jobPossible %}\"");
        let is_gone = edge.from == "TransferAgain" && said == "false";
        assert!(said.is_empty() || said == "true" || lasts || is_gone, "{} takes it back: {said}", edge.from);
    }
    let begins = edges.iter().filter(|edge| edge.from == start);
    assert!(begins.into_iter().all(|edge| edge.assign["jobPossible"] == json!(false)));
    let reads = |name: &str| {
        let state = machine.state(name);
        format!("{}{}", state["Choices"], state["Arguments"]).contains("jobPossible")
    };
    let deciding: Vec<&String> = machine.states.keys().filter(|name| reads(name)).collect();
    assert_eq!(deciding, ["FailDocument", "ReleaseTurnOfFailed"]);
}

/// A second job would take a second place at the third party while the first one has its own.
#[test]
fn case_33_no_second_job_is_asked_for_while_the_first_one_works() {
    let machine = Machine::load();
    let choices = machine.state("CheckProbe")["Choices"].as_array().unwrap();
    let ways: Vec<(&str, &str)> = choices
        .iter()
        .map(|choice| (choice["Condition"].as_str().unwrap(), choice["Next"].as_str().unwrap()))
        .collect();
    let working = ways.iter().position(|way| *way == ("{% $probe = 'working' %}", "GiveUpWorking"));
    let again = ways.iter().position(|(_, next)| *next == "TransferAgain");
    assert!(working.unwrap() < again.unwrap(), "{ways:?}");
    assert!(ways[..working.unwrap()].iter().any(|(condition, next)| {
        condition.contains("'working' and $overdueWaits <=") && *next == "AwaitCallback"
    }));
    let timeout = |name: &str| {
        let catches = machine.state(name)["Catch"].as_array().unwrap().clone();
        catches.into_iter().find(|catch| catch["ErrorEquals"] == json!(["States.Timeout"])).unwrap()
    };
    assert_eq!(
        timeout("AwaitCallback")["Next"],
        "RenewTurn",
        "its place has to last for as long as asking may"
    );
    assert_eq!(machine.state("RenewTurn")["Next"], "ProbeJob");
    let edges = machine.edges();
    assert!(edges.iter().all(|edge| edge.to != "ProbeJob" || edge.from == "RenewTurn"));
}

/// A turn that was missed is missed again if nobody waits; a pause that the gate decides needs no other.
#[test]
fn document_backs_off_for_what_is_its_own_trouble_and_not_for_what_the_gate_decides() {
    let machine = Machine::load();
    let catch = &machine.state("TransferDocument")["Catch"][0];
    let backoff = catch["Assign"]["backoffSeconds"].as_str().unwrap();
    let none = captures(r"\$states\.errorOutput\.Error = '([\w.]+)' \? 0 :", backoff);
    assert_eq!(none, ["ThirdParty.RateLimited", "ThirdParty.Unauthorized"].map(str::to_owned).into());
    assert!(backoff.contains("$floor($random() * $min(["), "all others back off with full jitter: {backoff}");
}

#[test]
fn execution_has_an_end_that_its_states_do_not_reach() {
    let machine = Machine::load();
    let whole_s =
        machine.definition["TimeoutSeconds"].as_u64().expect("give the state machine TimeoutSeconds");
    let timeout_s = |name: &str| machine.state(name)["TimeoutSeconds"].as_u64().unwrap();
    let counted = |name: &str, counter: &str| {
        let found = captures(&format!(r"\${counter} <= (\d+)"), &machine.state(name).to_string());
        found.first().unwrap().parse::<u64>().unwrap()
    };
    let retried_s = |name: &str, error: &str| {
        let rule = machine.retry_rule(name, error);
        rule["MaxAttempts"].as_u64().unwrap() * rule["MaxDelaySeconds"].as_u64().unwrap()
    };
    let rounds = 2;
    let line_s = (1 + counted("CheckTurnWaits", "turnWaits")) * timeout_s("AwaitTurn");
    let overdue = rounds * (1 + counted("CheckProbe", "overdueWaits"));
    let asking_s = retried_s("ProbeJob", "ThirdParty.Unavailable");
    let longest_s = line_s
        + counted("CheckTroubles", "troubles") * 3600
        + rounds * timeout_s("TransferDocument")
        + overdue * (timeout_s("AwaitCallback") + asking_s)
        + retried_s("VerifyReturnedFile", "ThirdParty.Unavailable")
        + timeout_s("NormalizeDocument");
    assert!(whole_s >= longest_s, "TimeoutSeconds has to be {longest_s} s at least");
    assert!(whole_s <= 365 * 86_400, "a standard execution lasts a year at most");
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
