//! The retry rules of the state machine agree with the table in docs/errors.md.

use lectern::error::Error;
use serde_json::Value;

use super::{
    asl::Machine,
    sources::{captures, read},
    template::Template,
};

/// The errors that each state can report.
const REPORTED: [(&str, &[&str]); 6] = [
    (
        "TransferDocument",
        &[
            "ThirdParty.RateLimited",
            "ThirdParty.Unavailable",
            "ThirdParty.OutcomeUnknown",
            "ThirdParty.Rejected",
            "ThirdParty.Unauthorized",
            "Source.Gone",
            "Source.Unavailable",
            "Transfer.TooSlow",
            "Permit.Expired",
            "Permit.AlreadyUsed",
            "Input.Newer",
            "Store.Unavailable",
        ],
    ),
    ("AwaitCallback", &["ThirdParty.Rejected", "ThirdParty.SourceUnreadable"]),
    (
        "ProbeJob",
        &[
            "ThirdParty.RateLimited",
            "ThirdParty.Unavailable",
            "ThirdParty.Unauthorized",
            "Input.Newer",
            "Store.Unavailable",
        ],
    ),
    (
        "VerifyReturnedFile",
        &[
            "Record.Invalid",
            "Returned.Mismatch",
            "ThirdParty.Unavailable",
            "Input.Newer",
            "Store.Unavailable",
        ],
    ),
    ("NormalizeDocument", &["Record.Invalid", "Input.Newer", "Store.Unavailable"]),
    ("FailDocument", &["Input.Newer", "Store.Unavailable"]),
];

fn number(rule: &Value, field: &str) -> u64 {
    rule[field].as_u64().unwrap_or_else(|| panic!("give the retry rule {rule} the field {field}"))
}

/// The mean and the standard deviation of the total wait of an exponential backoff with full jitter: each wait is
/// uniformly distributed between zero and its maximum.
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
            let context = format!("{state}, {error}: {rule}");
            match *error {
                "Store.Unavailable" | "Input.Newer" => assert_exponential(rule, &context),
                // Each request to the third party needs its own permit.
                _ if state == "TransferDocument" => {
                    assert_eq!(attempts, 0, "{context}: it must not be retried without another permit");
                }
                // The state machine itself repeats the probe while the lease lasts.
                _ if state == "AwaitCallback" => assert_eq!(attempts, 0, "{context}: it must not be retried"),
                _ if state == "ProbeJob" => assert_eq!(attempts, 0, "{context}"),
                "Record.Invalid" => assert_eq!(attempts, 0, "{context}: it must not be retried"),
                "Returned.Mismatch" => assert!((1..=10).contains(&attempts), "{context}: a few times"),
                _ => assert_exponential(rule, &context),
            }
        }
    }
}

#[track_caller]
fn assert_exponential(rule: &Value, context: &str) {
    let attempts = number(rule, "MaxAttempts");
    assert!(attempts > 0 && rule["BackoffRate"].as_f64() >= Some(2.0), "{context}: exponential");
    assert_eq!(rule["JitterStrategy"], "FULL", "{context}");
    assert!(number(rule, "MaxDelaySeconds") <= 3600, "{context}: a pause must not exceed an hour");
}

#[test]
fn unanswered_probe_is_repeated_by_the_state_machine() {
    let machine = Machine::load();
    for error in ["ThirdParty.RateLimited", "ThirdParty.Unavailable", "ThirdParty.Unauthorized"] {
        assert_eq!(machine.catcher("ProbeJob", error)["Next"], "CheckProbeTime", "{error}");
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
fn case_29_permits_outlast_eight_hours_of_half_open_trials_and_ten_days_in_the_queue() {
    let machine = Machine::load();
    let breaker = read("crates/lectern/src/admission/breaker.rs");
    let longest = captures(r"MAX_PAUSE: Duration = Duration::from_mins\((\d+)\);", &breaker);
    let pause_s = longest.first().unwrap().parse::<u64>().unwrap() * 60;
    let hours = machine.limit("CheckFailure", "failedTransfers") * pause_s / 3600;
    assert!(hours >= 8, "a document that makes every half-open trial fails after {hours} h");
    let wait_s = machine.state("AwaitPermit")["TimeoutSeconds"].as_u64().unwrap();
    let days = machine.limit("CheckPermitRequests", "permitRequests") * wait_s / 86_400;
    assert!(days >= 10, "a document leaves the queue after {days} days");
}

/// If a lease ended while its transfer was running, the third party could get one job more than it allows.
#[test]
fn case_21_lease_lasts_for_as_long_as_a_transfer_and_its_crash_may_take() {
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
        "LeaseMarginSeconds has to be at least {longest_s}"
    );
}

/// A function that was rolled back answers so until the newer code is back. The queues keep a message for four days, and so
/// does the state machine. Every function reads a version before any writes it, so nothing else has to wait (A07).
#[test]
fn case_50_a07_input_of_newer_code_is_retried_for_as_long_as_a_queue_keeps_a_message() {
    let (template, machine) = (Template::load(), Machine::load());
    let kept = &template.resource("AWS::SQS::Queue", "TransferDocumentQueue")["MessageRetentionPeriod"];
    let mut refusing: Vec<&str> = Vec::new();
    for (state, _) in REPORTED.iter().filter(|(_, errors)| errors.contains(&"Input.Newer")) {
        refusing.push(state);
        let rule = machine.retry_rule(state, "Input.Newer");
        assert_eq!(
            rule["ErrorEquals"],
            serde_json::json!(["Input.Newer"]),
            "{state}: with a count of its own"
        );
        let (mean_s, deviation_s) = waits_s(rule);
        let lasts_s = mean_s - 3.0 * deviation_s;
        #[expect(clippy::cast_precision_loss, reason = "some days in seconds")]
        let kept_s = template.number(kept) as f64;
        assert!(mean_s >= kept_s && lasts_s >= 0.8 * kept_s, "{state}: {mean_s} s, at least {lasts_s} s");
    }
    let invoking = machine.of_type("Task").into_iter().filter(|(_, task)| {
        let resource = task["Resource"].as_str().unwrap();
        resource.ends_with("lambda:invoke") || resource.ends_with("sqs:sendMessage.waitForTaskToken")
    });
    let mut invoking: Vec<&str> =
        invoking.map(|(name, _)| name).filter(|name| *name != "AwaitPermit").collect();
    invoking.sort_unstable();
    refusing.sort_unstable();
    assert_eq!(
        invoking, refusing,
        "orders to admit-document wait in the queue; all other inputs are refused"
    );
}

/// The total wait falls below its mean minus three standard deviations in one of seven hundred cases.
#[test]
fn case_29_retries_outlast_eight_hours_without_the_third_party() {
    let machine = Machine::load();
    let (mean_s, deviation_s) = waits_s(machine.retry_rule("VerifyReturnedFile", "ThirdParty.Unavailable"));
    let hours = (mean_s - 3.0 * deviation_s) / 3600.0;
    assert!(
        hours >= 8.0,
        "the pauses of ThirdParty.Unavailable last only {hours:.1} h in the worst case; make it 8 h"
    );
}

/// While the third party does not answer, the lease of an overdue job is renewed when it ends, as often as the lease of
/// a job in progress.
#[test]
fn case_29_probes_of_an_overdue_job_outlast_eight_hours_without_the_third_party() {
    let (template, machine) = (Template::load(), Machine::load());
    let parameter = |name: &str| template.number(&serde_json::json!({ "Ref": name }));
    let probes = machine.limit("CheckProbeTime", "probeCount");
    let hours = probes * (parameter("CallbackTimeoutSeconds") + parameter("LeaseMarginSeconds")) / 3600;
    assert!(hours >= 8, "an overdue job fails after {hours} h without an answer");
    let wait = machine.state("WaitBeforeProbe")["Assign"]["probeWaitSeconds"].as_str().unwrap();
    let longest = captures(r"\$min\(\[(\d+),", wait);
    let longest_s: u64 = longest.first().unwrap().parse().unwrap();
    assert!(parameter("LeaseMarginSeconds") >= 3 * longest_s, "a lease has to last for several probes");
}
