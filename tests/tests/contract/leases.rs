//! Permits and leases in the state machine: which states take them, when leases are released, and what follows a
//! attempt with an unknown outcome.

use std::collections::BTreeSet;

use lectern::error::Error;
use serde_json::{Value, json};

use super::{
    asl::{Edge, Machine, reachable},
    sources::{captures, read},
};

/// The transitions that do not enter any of these states.
fn without(machine: &Machine, states: &[&str]) -> Vec<Edge> {
    machine.edges().into_iter().filter(|edge| !states.contains(&edge.to.as_str())).collect()
}

#[test]
fn every_transfer_has_a_permit_of_its_own() {
    let machine = Machine::load();
    let edges = machine.edges();
    for (to, from) in [("TransferDocument", "WaitForPermitStart"), ("WaitForPermitStart", "AwaitPermit")] {
        assert!(edges.iter().all(|edge| edge.to != to || edge.from == from), "only {from} leads to {to}");
    }
    let start = machine.definition["StartAt"].as_str().unwrap();
    for edge in edges.iter().filter(|edge| edge.assign.get("attempt").is_some()) {
        // A redriven document that may have a job starts with that job's attempt.
        let begins = json!("{% $states.input.attempt %}");
        let expected = if edge.from == start { begins } else { json!("{% $states.result.attempt %}") };
        assert!(
            [start, "AwaitPermit"].contains(&edge.from.as_str()),
            "{} must not assign an attempt",
            edge.from
        );
        assert_eq!(edge.assign["attempt"], expected, "{}", edge.from);
    }
    let body = &machine.state("TransferDocument")["Arguments"]["MessageBody"];
    assert_eq!(
        (&body["attempt"], &body["permitExpiresAt"]),
        (&json!("{% $attempt %}"), &json!("{% $permitExpiresAt %}"))
    );
}

#[test]
fn lease_is_released_as_soon_as_the_third_party_is_done() {
    let machine = Machine::load();
    // receive-callback releases the lease before it answers the third party. ReleaseLease does so in all other cases.
    let by_callback = |edge: &Edge| edge.from == "AwaitCallback" && edge.to == "VerifyReturned";
    let mut others = without(&machine, &["ReleaseLease"]);
    others.retain(|edge| !by_callback(edge));
    for start in ["AwaitPermit", "CheckResume"] {
        let after = reachable(start, &others);
        for end in ["VerifyReturned", "BeginVerify"] {
            assert!(!after.contains(end), "{start} leads to {end} without the release of the lease");
        }
    }
}

/// Until then, the document still holds its lease, unless the lease has expired.
#[test]
fn document_queues_again_after_a_report_a_release_or_the_end_of_its_lease() {
    let machine = Machine::load();
    // receive-callback has released the lease of a job that could not fetch its document.
    let ends_lease = ["ReportFailure", "ReleaseUnknownJob", "CheckProbeTime", "CheckSourceUnreadable"];
    let after = reachable("WaitForPermitStart", &without(&machine, &ends_lease));
    assert!(!after.contains("AwaitPermit"), "a document queues while it holds a lease");
}

#[test]
fn every_failure_of_a_transfer_is_reported_before_anything_else_happens() {
    let machine = Machine::load();
    for name in Error::NAMES {
        let next = machine.catcher("TransferDocument", name)["Next"].as_str().unwrap();
        let report = ["ReportFailure", "ReportUnknownOutcome"].contains(&next);
        let is_of_transfers = [
            "ThirdParty.Overdue",
            "ThirdParty.SourceUnreadable",
            "Returned.Mismatch",
            "Record.Invalid",
            // Their retries take more than an hour, and meanwhile the lease ends by itself.
            "Store.Unavailable",
            "Input.Newer",
        ];
        assert_eq!(report, !is_of_transfers.contains(&name), "{name} leads to {next}");
    }
    for state in ["ReportFailure", "ReportUnknownOutcome"] {
        let body = &machine.state(state)["Arguments"]["MessageBody"];
        let expected = (&json!("report"), &json!("{% $failure.Error %}"));
        assert_eq!((&body["kind"], &body["error"]), expected, "{state}");
    }
}

/// If the third party has the job, submitting the document again at once would waste a permit (D01).
#[test]
fn d01_unknown_outcome_leads_to_a_probe_before_the_document_queues_again() {
    let machine = Machine::load();
    let catcher = machine.catcher("TransferDocument", "ThirdParty.OutcomeUnknown");
    assert_eq!(catcher["ErrorEquals"], json!(["ThirdParty.OutcomeUnknown", "Permit.AlreadyUsed"]));
    assert_eq!(
        (&catcher["Next"], &catcher["Assign"]["probing"]),
        (&json!("ReportUnknownOutcome"), &json!("unknownOutcome"))
    );
    let after = reachable("ReportUnknownOutcome", &without(&machine, &["ProbeJob"]));
    assert!(!after.contains("AwaitPermit"), "{after:?}");
    // The probe is for this round's job, and a new request uses the same idempotency key.
    let rounds: BTreeSet<String> = machine
        .edges()
        .into_iter()
        .filter(|edge| edge.assign.get("round").is_some())
        .map(|edge| edge.from)
        .collect();
    assert_eq!(rounds, ["Begin", "TransferAgain"].map(str::to_owned).into());
    let choices = machine.state("CheckUnknownJob")["Choices"].as_array().unwrap();
    assert_eq!(
        choices[0],
        json!({ "Condition": "{% $probing = 'unknownOutcome' and $probe = 'unknown' %}", "Next": "CheckUnknownOutcomes" })
    );
}

/// Half-open trials do not count as the document's attempts, because the third party was known to be down.
#[test]
fn d01_document_whose_outcome_stays_unknown_fails_after_some_ten_attempts() {
    let machine = Machine::load();
    let counted =
        &machine.catcher("TransferDocument", "ThirdParty.OutcomeUnknown")["Assign"]["unknownOutcomes"];
    assert_eq!(counted, "{% $halfOpenTrial ? $unknownOutcomes : $unknownOutcomes + 1 %}");
    assert!((8..=15).contains(&machine.limit("CheckUnknownOutcomes", "unknownOutcomes")));
    let check = machine.state("CheckUnknownOutcomes");
    assert_eq!(
        (&check["Choices"][0]["Next"], &check["Default"]),
        (&json!("WaitAfterFailure"), &json!("FailDocument"))
    );
    let before = without(&machine, &["CheckUnknownJob", "CheckProbeTime"]);
    assert!(
        !reachable("ReportUnknownOutcome", &before).contains("CheckUnknownOutcomes"),
        "its lease is released or has ended by then"
    );
    for error in [Error::OutcomeUnknown(String::new()), Error::PermitAlreadyUsed("")] {
        assert_eq!(error.reason().code, "outcomeUnknown");
    }
}

/// A second job would take a second lease while the first job is still in progress.
#[test]
fn case_33_no_second_job_is_requested_while_the_first_one_is_in_progress() {
    let machine = Machine::load();
    let choices = machine.state("CheckProbe")["Choices"].as_array().unwrap();
    let next: Vec<(String, &str)> = choices
        .iter()
        .map(|choice| {
            (
                choice["Condition"].as_str().unwrap().replace(char::is_numeric, "N"),
                choice["Next"].as_str().unwrap(),
            )
        })
        .collect();
    let next: Vec<(&str, &str)> = next.iter().map(|(condition, next)| (condition.as_str(), *next)).collect();
    assert_eq!(
        next,
        [
            ("{% $probe = 'resultStored' %}", "ReleaseLease"),
            ("{% $probe = 'sourceUnreadable' and $roundsUsed >= N %}", "ReleaseLease"),
            ("{% $probe = 'working' and $probeCount <= N %}", "RenewLease"),
            ("{% $probe = 'working' %}", "GiveUpWorking"),
        ]
    );
    let edges = machine.edges();
    let only = |to: &str| -> BTreeSet<&str> {
        edges.iter().filter(|edge| edge.to == to).map(|edge| edge.from.as_str()).collect()
    };
    assert_eq!(machine.state("CheckProbe")["Default"], "ReleaseUnknownJob");
    assert_eq!(only("ReleaseUnknownJob"), ["CheckProbe"].into());
    assert_eq!(only("CheckUnknownJob"), ["ReleaseUnknownJob"].into());
    assert_eq!(only("TransferAgain"), ["CheckSourceUnreadable", "CheckUnknownJob"].into());
}

#[test]
fn case_33_overdue_job_is_asked_about_and_keeps_its_lease_while_it_works() {
    let machine = Machine::load();
    let overdue = machine.catcher("AwaitCallback", "States.Timeout");
    assert_eq!((&overdue["Next"], &overdue["Assign"]["probing"]), (&json!("ProbeJob"), &json!("overdue")));
    assert_eq!(overdue["Assign"]["probeCount"], "{% $probeCount + 1 %}");
    assert_eq!(machine.state("RenewLease")["Next"], "AwaitCallback");
}

/// The admission state starts the lease later than the state machine assumes, so the state machine never relies on a
/// lease that has ended.
#[test]
fn leases_end_in_the_state_machine_when_they_do_at_the_limiter() {
    let machine = Machine::load();
    let template = super::template::Template::load();
    let parameter = |name: &str| template.number(&json!({ "Ref": name }));
    let (callback_s, margin_s) = (parameter("CallbackTimeoutSeconds"), parameter("LeaseMarginSeconds"));
    let renewed = machine.state("RenewLease")["Assign"]["leaseEndsAt"].as_str().unwrap();
    assert_eq!(
        renewed,
        format!(
            "{{% $fromMillis($toMillis($states.context.State.EnteredTime) + ({callback_s} + {margin_s}) * 1000) %}}"
        )
    );
    let config = read("crates/lectern-aws/src/config.rs");
    assert!(config.contains("let lease = Duration::from_secs(callback_s + margin_s);"));
    assert_eq!(machine.state("AwaitCallback")["TimeoutSeconds"], callback_s);
    assert_eq!(machine.state("AwaitPermit")["Assign"]["leaseEndsAt"], "{% $states.result.leaseEndsAt %}");
}

/// A document whose permit expired waits before its next request; otherwise the next permit would expire, too. After an
/// outcome that makes the limiter pause, the document needs no wait of its own.
#[test]
fn document_backs_off_for_its_own_failures_and_not_for_what_the_limiter_decides() {
    let machine = Machine::load();
    for error in [
        "ThirdParty.Unavailable",
        "ThirdParty.OutcomeUnknown",
        "Permit.Expired",
        "Source.Unavailable",
        "Transfer.TooSlow",
    ] {
        let backoff =
            machine.catcher("TransferDocument", error)["Assign"]["backoffSeconds"].as_str().unwrap();
        assert!(backoff.contains("$floor($random() * $min(["), "full jitter: {backoff}");
        let none = captures(r"\$states\.errorOutput\.Error = '([\w.]+)' \? 0 :", backoff);
        let decided: BTreeSet<String> =
            ["ThirdParty.RateLimited", "ThirdParty.Unauthorized"].map(str::to_owned).into();
        assert!(none.is_empty() || none == decided, "{backoff}");
    }
    let next = |state: &str| machine.state(state)["Next"].as_str().unwrap().to_owned();
    assert_eq!(next("ReportFailure"), "CheckFailure");
    let choices = machine.state("CheckFailure")["Choices"].as_array().unwrap();
    let last: Vec<&Value> = choices.iter().map(|choice| &choice["Next"]).collect();
    assert_eq!(last, ["FailDocument", "FailDocument", "FailDocument", "WaitAfterFailure"]);
    assert_eq!(next("WaitAfterFailure"), "AwaitPermit");
}
