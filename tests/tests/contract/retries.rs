//! The retry rules of the state machine, held against the error table of the design.

use lectern::error::Error;
use serde_json::Value;

use super::asl::Machine;

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

/// The sum of the mean waits of an exponential backoff with full jitter: each lies between nothing and its maximum.
fn mean_waits_s(rule: &Value) -> f64 {
    let (rate, limit_s) = (rule["BackoffRate"].as_f64().unwrap(), rule["MaxDelaySeconds"].as_f64().unwrap());
    let mut wait_s = rule["IntervalSeconds"].as_f64().unwrap();
    let mut sum_s = 0.0;
    for _ in 0..number(rule, "MaxAttempts") {
        sum_s += wait_s.min(limit_s) / 2.0;
        wait_s *= rate;
    }
    sum_s
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
                // A probe is no transfer: it has no Wait of its own, and its pauses grow like any other's.
                "ThirdParty.RateLimited" if state == "ProbeJob" => assert!(attempts > 0, "{told}"),
                "ThirdParty.RateLimited" | "ThirdParty.Rejected" | "Source.Gone" | "Record.Invalid" => {
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

#[test]
fn case_29_retries_outlast_eight_hours_without_the_third_party() {
    let machine = Machine::load();
    for state in ["TransferDocument", "ProbeJob", "VerifyReturnedFile"] {
        let hours = mean_waits_s(machine.retry_rule(state, "ThirdParty.Unavailable")) / 3600.0;
        assert!(
            hours >= 8.0,
            "{state}: the pauses of ThirdParty.Unavailable are {hours:.1} h in the mean; make it 8"
        );
    }
}

#[test]
fn attempts_stay_in_order_because_one_entry_has_fewer_than_a_thousand_retries() {
    let machine = Machine::load();
    let transfer = machine.state("TransferDocument");
    let attempt = "{% $entry * 1000 + $states.context.State.RetryCount %}";
    assert_eq!(transfer["Arguments"]["MessageBody"]["attempt"], attempt);
    assert_eq!(
        transfer["Assign"]["attempt"], attempt,
        "what comes after is logged with the attempt that led there"
    );
    let rules = transfer["Retry"].as_array().unwrap();
    let retries: u64 = rules.iter().map(|rule| number(rule, "MaxAttempts")).sum();
    assert!(
        retries < 1000,
        "TransferDocument may be retried {retries} times; the next entry starts at 1000 more"
    );
}
