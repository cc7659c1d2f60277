//! The retry rules of the state machine, held against the error table of the design.

use lectern::error::Error;
use serde_json::Value;

use super::{
    asl::Machine,
    sources::{captures, read},
    template::Template,
};

/// The errors that a state's work can report.
const REPORTED: [(&str, &[&str]); 5] = [
    (
        "TransferDocument",
        &[
            "ThirdParty.RateLimited",
            "ThirdParty.Unavailable",
            "ThirdParty.Rejected",
            "ThirdParty.Unauthorized",
            "Source.Gone",
            "Turn.Over",
            "Source.Unavailable",
            "Store.Unavailable",
        ],
    ),
    (
        "ProbeJob",
        &[
            "ThirdParty.RateLimited",
            "ThirdParty.Unavailable",
            "ThirdParty.Rejected",
            "ThirdParty.Unauthorized",
            "Store.Unavailable",
        ],
    ),
    ("VerifyReturnedFile", &["Returned.Mismatch", "ThirdParty.Unavailable", "Store.Unavailable"]),
    ("NormalizeDocument", &["Record.Invalid", "Store.Unavailable"]),
    ("FailDocument", &["Store.Unavailable"]),
];

fn number(rule: &Value, field: &str) -> u64 {
    rule[field].as_u64().unwrap_or_else(|| panic!("give {field} to the retry rule {rule}"))
}

/// What the waits of an exponential backoff with full jitter last in all, each anything between nothing and its maximum:
/// their mean and its standard deviation.
fn waits_s(rule: &Value) -> (f64, f64) {
    let (rate, limit_s) = (rule["BackoffRate"].as_f64().unwrap(), rule["MaxDelaySeconds"].as_f64().unwrap());
    let mut longest_s = rule["IntervalSeconds"].as_f64().unwrap();
    let (mut mean_s, mut variance) = (0.0, 0.0);
    for _ in 0..number(rule, "MaxAttempts") {
        let wait_s = longest_s.min(limit_s);
        mean_s += wait_s / 2.0;
        variance += wait_s * wait_s / 12.0;
        longest_s *= rate;
    }
    (mean_s, variance.sqrt())
}

#[test]
fn every_error_of_the_domain_is_reported_by_some_state() {
    for name in Error::NAMES {
        let reported = REPORTED.iter().any(|(_, errors)| errors.contains(&name));
        assert!(reported || name == "ThirdParty.Overdue", "say in REPORTED which state reports {name}");
    }
}

#[test]
fn retry_rules_are_those_of_the_error_table() {
    let machine = Machine::load();
    for (state, errors) in REPORTED {
        for error in errors {
            let rule = machine.retry_rule(state, error);
            let attempts = number(rule, "MaxAttempts");
            let told = format!("{state}, {error}: {rule}");
            match *error {
                // What needs another request to the third party needs another turn.
                _ if state == "TransferDocument" && ANOTHER_TURN.contains(error) => {
                    assert_eq!(attempts, 0, "{told}: it must not be retried without another turn");
                }
                // A probe is no transfer: it needs no turn, and its pauses grow like any other's.
                "ThirdParty.RateLimited" if state == "ProbeJob" => assert!(attempts > 0, "{told}"),
                "ThirdParty.Rejected" | "Source.Gone" | "Record.Invalid" => {
                    assert_eq!(attempts, 0, "{told}: it must not be retried");
                }
                "Returned.Mismatch" => assert!((1..=10).contains(&attempts), "{told}: a few times"),
                "ThirdParty.Unauthorized" => {
                    assert!(number(rule, "IntervalSeconds") >= 900, "{told}: at least 15 minutes apart");
                }
                _ => {
                    assert!(attempts > 0 && rule["BackoffRate"].as_f64() >= Some(2.0), "{told}: exponential");
                    assert_eq!(rule["JitterStrategy"], "FULL", "{told}");
                    let longest_s = number(rule, "MaxDelaySeconds");
                    assert!(longest_s <= 3600, "{told}: no pause longer than an hour");
                }
            }
        }
    }
}

#[test]
fn rendezvous_is_not_retried_when_the_result_came_first_or_too_late() {
    let machine = Machine::load();
    for error in ["DynamoDb.ConditionalCheckFailedException", "States.Timeout"] {
        assert_eq!(number(machine.retry_rule("AwaitCallback", error), "MaxAttempts"), 0, "{error}");
    }
    assert_eq!(
        number(machine.retry_rule("BeginVerify", "DynamoDb.ConditionalCheckFailedException"), "MaxAttempts"),
        0
    );
}

/// What leads from a transfer to another turn.
const ANOTHER_TURN: [&str; 5] = [
    "ThirdParty.RateLimited",
    "ThirdParty.Unavailable",
    "ThirdParty.Unauthorized",
    "Turn.Over",
    "Source.Unavailable",
];

#[test]
fn trouble_of_a_transfer_is_reported_and_leads_to_another_turn() {
    let machine = Machine::load();
    let catch = &machine.state("TransferDocument")["Catch"][0];
    assert_eq!(
        (&catch["ErrorEquals"], &catch["Next"]),
        (&serde_json::json!(ANOTHER_TURN), &"ReportTrouble".into())
    );
    let next = |state: &str| machine.state(state)["Next"].as_str().unwrap().to_owned();
    assert_eq!(next("ReportTrouble"), "CheckTroubles");
    assert_eq!(machine.state("CheckTroubles")["Choices"][0]["Next"], "WaitAfterTrouble");
    assert_eq!(next("WaitAfterTrouble"), "AwaitTurn");
}

/// The number that a counter may reach in a Choice.
fn bound(machine: &Machine, state: &str, counter: &str) -> u64 {
    let found = captures(&format!(r"\${counter} <= (\d+)"), &machine.state(state).to_string());
    found.first().unwrap_or_else(|| panic!("{state} has no limit on {counter}")).parse().unwrap()
}

#[test]
fn case_29_turns_outlast_eight_hours_of_trials_and_ten_days_in_the_line() {
    let machine = Machine::load();
    let breaker = read("crates/lectern/src/admission/breaker.rs").replace('_', "");
    let longest_us = captures(r"MAXPAUSEUS: i64 = (\d+);", &breaker);
    let pause_s = longest_us.first().unwrap().parse::<u64>().unwrap() / 1_000_000;
    let hours = bound(&machine, "CheckTroubles", "troubles") * pause_s / 3600;
    assert!(hours >= 8, "a document that makes every trial fails after {hours} h");
    let wait_s = machine.state("AwaitTurn")["TimeoutSeconds"].as_u64().unwrap();
    let days = bound(&machine, "CheckTurnWaits", "turnWaits") * wait_s / 86_400;
    assert!(days >= 10, "a document leaves the line after {days} days");
}

/// A place that expired under a transfer would let one more in than the third party allows.
#[test]
fn case_21_place_is_kept_for_as_long_as_a_transfer_and_its_crash_may_take() {
    let template = Template::load();
    let parameter = |name: &str| template.number(&serde_json::json!({ "Ref": name }));
    let queue = template.resource("AWS::SQS::Queue", "TransferDocumentQueue");
    let function = template.resource("AWS::Serverless::Function", "TransferDocumentFunction");
    let rate = template.resolved(&serde_json::json!({ "Ref": "ThirdPartyRequestsPerSecond" }));
    let rate: u64 = rate.as_str().unwrap().parse().expect("the default rate is a whole number");
    let tolerance_s = (parameter("ThirdPartyBurst") - 2).div_ceil(rate);
    let longest_s = tolerance_s + template.number(&queue["VisibilityTimeout"]) + template.timeout_s(function);
    assert!(
        parameter("LeaseMarginSeconds") >= longest_s,
        "LeaseMarginSeconds has to be {longest_s} at least"
    );
}

/// A lease is renewed before the third party is asked, and by nobody while it is asked in vain. The sum of so many waits
/// with full jitter lies within five standard deviations of its mean but for one time in millions.
#[test]
fn case_29_place_is_kept_for_as_long_as_the_third_party_may_be_asked_in_vain() {
    let template = Template::load();
    let parameter = |name: &str| template.number(&serde_json::json!({ "Ref": name }));
    let machine = Machine::load();
    assert_eq!(machine.state("RenewTurn")["Next"], "ProbeJob");
    let lease_s = seconds(parameter("LeaseMarginSeconds") + parameter("CallbackTimeoutSeconds"));
    let function = template.resource("AWS::Serverless::Function", "ProbeJobFunction");
    for error in ["ThirdParty.Unavailable", "ThirdParty.RateLimited"] {
        let rule = machine.retry_rule("ProbeJob", error);
        let (mean_s, deviation_s) = waits_s(rule);
        assert!(
            seconds(parameter("LeaseMarginSeconds")) >= mean_s,
            "LeaseMarginSeconds has to be {mean_s} s at least: {error} is waited out for as long in the mean"
        );
        let attempts = seconds(number(rule, "MaxAttempts"));
        let asking_s = (attempts + 1.0) * seconds(template.timeout_s(function));
        let longest_s = mean_s + 5.0 * deviation_s + asking_s;
        assert!(lease_s >= longest_s, "{error}: a lease of {lease_s} s has to last for {longest_s} s");
    }
    let rule = machine.retry_rule("ProbeJob", "ThirdParty.Unauthorized");
    let attempts = number(rule, "MaxAttempts");
    let longest_s =
        attempts * number(rule, "IntervalSeconds") + (attempts + 1) * template.timeout_s(function);
    assert!(
        parameter("LeaseMarginSeconds") >= longest_s,
        "LeaseMarginSeconds has to be {longest_s} at least"
    );
}

fn seconds(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap())
}

/// Events that one entry of a state writes into the history, by AWS's list of event types: entered and exited; and for a
/// task scheduled, started, with a token also submitted, and how it ended.
fn events(state: &Value) -> u64 {
    2 + attempt_events(state)
}

fn attempt_events(state: &Value) -> u64 {
    match state["Resource"].as_str() {
        Some(resource) if resource.ends_with(".waitForTaskToken") => 4,
        Some(_) => 3,
        None => 0,
    }
}

fn events_of_retries(state: &Value, error: &str) -> u64 {
    let rules = state["Retry"].as_array().unwrap();
    let named = rules.iter().find(|rule| rule["ErrorEquals"].to_string().contains(error)).unwrap();
    number(named, "MaxAttempts") * attempt_events(state)
}

/// Step Functions ends an execution whose history has 25,000 events, and no Catch sees it.
#[test]
fn history_of_the_worst_way_stays_below_the_limit() {
    let machine = Machine::load();
    let sum = |states: &[&str]| states.iter().map(|name| events(machine.state(name))).sum::<u64>();
    let troubles = 1 + bound(&machine, "CheckTroubles", "troubles");
    let trouble = [
        "AwaitTurn",
        "WaitForTurn",
        "TransferDocument",
        "ReportTrouble",
        "CheckTroubles",
        "WaitAfterTrouble",
    ];
    let turn_waits = 1 + bound(&machine, "CheckTurnWaits", "turnWaits");
    let rounds = 2;
    let overdue = rounds * (1 + bound(&machine, "CheckProbe", "overdueWaits"));
    let probe = machine.state("ProbeJob");
    let probing = sum(&["AwaitCallback", "ProbeJob", "CheckProbe", "RenewTurn"]);
    let file = machine.state("VerifyReturnedFile");
    let files = u64::try_from(lectern::limits::MAX_RETURNED_FILES).unwrap();
    let each_file = 2
        + events(file)
        + events_of_retries(file, "ThirdParty.Unavailable")
        + events_of_retries(file, "Returned.Mismatch");
    let once: u64 = machine.states.values().map(events).sum();
    let worst = troubles * sum(&trouble)
        + turn_waits * sum(&["AwaitTurn", "CheckTurnWaits"])
        + overdue * (probing + events_of_retries(probe, "ThirdParty.Unavailable"))
        + files * each_file
        + 2 * once;
    assert!(worst < 25_000, "{worst} events");
    assert!(worst > 20_000, "{worst} events: this test counts something else by now");
}

/// So many waits last for less than their mean without three standard deviations once in seven hundred times.
#[test]
fn case_29_retries_outlast_eight_hours_without_the_third_party() {
    let machine = Machine::load();
    for state in ["ProbeJob", "VerifyReturnedFile"] {
        let (mean_s, deviation_s) = waits_s(machine.retry_rule(state, "ThirdParty.Unavailable"));
        let hours = (mean_s - 3.0 * deviation_s) / 3600.0;
        assert!(
            hours >= 8.0,
            "{state}: the pauses of ThirdParty.Unavailable are {hours:.1} h if luck is bad; make it 8"
        );
    }
}
