//! Every loop of the state machine ends by a counter or by time, and before the limits of the execution itself.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    asl::{Edge, Machine, reachable},
    sources::captures,
};

fn is_on_a_loop(edge: &Edge, edges: &[Edge]) -> bool {
    edge.to == edge.from || reachable(&edge.to, edges).contains(&edge.from)
}

fn grows(edge: &Edge, counter: &str) -> bool {
    edge.assign[counter] == format!("{{% ${counter} + 1 %}}")
}

fn is_set(edge: &Edge, counter: &str) -> bool {
    edge.assign.get(counter).is_some() && !grows(edge, counter)
}

/// Splits each edge by the values of `probing` with which it can be taken, because `probing` decides whether the
/// document requests another permit.
fn by_probing(edges: &[Edge]) -> Vec<Edge> {
    let values: BTreeSet<&str> = edges.iter().filter_map(|edge| edge.assign["probing"].as_str()).collect();
    assert!(values.len() > 1 && values.iter().all(|value| !value.starts_with("{%")), "{values:?}");
    let mut split = Vec::new();
    for edge in edges {
        let condition = edge.condition.as_deref().unwrap_or_default();
        let needs = captures(r"\$probing = '(\w+)'", condition);
        let excludes = captures(r"\$probing != '(\w+)'", condition);
        for value in values.iter().copied() {
            if needs.iter().any(|needed| needed != value) || excludes.contains(value) {
                continue;
            }
            let next = edge.assign["probing"].as_str().unwrap_or(value);
            let (from, to) = (format!("{} {value}", edge.from), format!("{} {next}", edge.to));
            split.push(Edge { from, to, ..edge.clone() });
        }
    }
    split
}

/// Removes the edges that can be taken only a bounded number of times. Such an edge needs a counter below its limit.
/// The counter grows before the edge can be taken again, and no remaining loop resets the counter.
fn unbounded(mut edges: Vec<Edge>) -> Vec<Edge> {
    loop {
        let is_bounded = |edge: &Edge| {
            edge.limited_by().iter().any(|counter| {
                let without: Vec<Edge> =
                    edges.iter().filter(|other| !grows(other, counter)).cloned().collect();
                let mut resets = edges.iter().filter(|other| is_set(other, counter));
                !is_on_a_loop(edge, &without) && resets.all(|reset| !is_on_a_loop(reset, &edges))
            })
        };
        match edges.iter().position(is_bounded) {
            Some(bounded) => drop(edges.remove(bounded)),
            None => return edges,
        }
    }
}

fn looping(edges: &[Edge]) -> BTreeSet<&str> {
    edges.iter().filter(|edge| is_on_a_loop(edge, edges)).map(|edge| edge.from.as_str()).collect()
}

#[test]
fn every_loop_passes_a_limit_on_a_counter_that_only_grows() {
    let machine = Machine::load();
    let edges = machine.edges();
    let rest = unbounded(by_probing(&edges));
    assert_eq!(looping(&rest), BTreeSet::new(), "bound these loops by a Choice on a counter");
    let start = machine.definition["StartAt"].as_str().unwrap();
    for counter in edges.iter().flat_map(Edge::limited_by) {
        assert!(
            machine.state(start)["Assign"][&counter].is_u64(),
            "{start}: initialise the counter {counter}"
        );
    }
}

#[test]
fn loop_whose_counter_does_not_grow_or_is_set_back_is_found() {
    let edge = |from: &str, to: &str, condition: &str, assign: Value| Edge {
        from: from.to_owned(),
        to: to.to_owned(),
        condition: Some(condition.to_owned()),
        assign,
    };
    let check = |condition: &str| edge("Check", "Work", condition, Value::Null);
    let work = |assign: Value| edge("Work", "Check", "", assign);
    let more = serde_json::json!({ "n": "{% $n + 1 %}" });
    let is_found = |edges: Vec<Edge>| !looping(&unbounded(edges)).is_empty();
    assert!(!is_found(vec![check("{% $n <= 5 %}"), work(more.clone())]));
    assert!(is_found(vec![check("{% $n <= 5 %}"), work(Value::Null)]));
    assert!(is_found(vec![check("{% $n <= 5 %}"), work(serde_json::json!({ "n": 0 }))]));
    assert!(is_found(vec![check("{% $n <= 5 or $ok %}"), work(more.clone())]));
    assert!(is_found(vec![check("{% $ok %}"), work(more.clone())]));
    assert!(is_found(vec![check("{% $n <= 5 %}"), work(Value::Null), work(more.clone())]));
    let reset = edge("Work", "Work", "", serde_json::json!({ "n": 0 }));
    assert!(is_found(vec![check("{% $n <= 5 %}"), work(more), reset]));
}

/// Without an answer it is unknown whether the lease is needed, so the probe repeats until the lease has ended.
#[test]
fn unanswered_probe_is_repeated_only_while_the_lease_lasts() {
    let machine = Machine::load();
    let again: Vec<Edge> = machine
        .edges()
        .into_iter()
        .filter(|edge| edge.from == "CheckProbeTime" && edge.to == "WaitBeforeProbe")
        .collect();
    let [again] = again.as_slice() else { panic!("{again:?}") };
    let lasts = "{% $toMillis($states.context.State.EnteredTime) + ($probeWaitSeconds + 60) * 1000 < \
                 $toMillis($leaseEndsAt) and $unansweredProbes <= ";
    assert!(again.condition.as_ref().unwrap().starts_with(lasts), "{again:?}");
    let first = &machine.state("CheckProbeTime")["Choices"][0]["Next"];
    assert_eq!(
        first, "WaitBeforeProbe",
        "only after this choice may a transition assume that the lease has ended or is about to end"
    );
    for edge in machine.edges() {
        if edge.assign.get("leaseEndsAt").is_some() {
            let assigning = ["Begin", "AwaitPermit", "RenewLease"];
            assert!(
                assigning.contains(&edge.from.as_str()),
                "{} must not assign the end of a lease",
                edge.from
            );
        }
    }
}

#[test]
fn every_wait_has_a_bound() {
    let machine = Machine::load();
    let edges = machine.edges();
    let waits: Vec<&str> = machine.of_type("Wait").into_iter().map(|(name, _)| name).collect();
    assert_eq!(waits, ["WaitAfterFailure", "WaitBeforeProbe", "WaitForPermitStart"]);
    // The admission state sets the time of a reservation, and limits::MAX_RATE_LIMIT_WAIT bounds a requested pause.
    assert_eq!(machine.state("WaitForPermitStart")["Timestamp"], "{% $startsAt %}");
    let mut entries = edges.iter().filter(|edge| edge.to == "WaitForPermitStart");
    assert!(entries.all(|edge| edge.from == "AwaitPermit"));
    assert_eq!(machine.state("WaitAfterFailure")["Seconds"], "{% $backoffSeconds %}");
    assert_eq!(machine.state("WaitBeforeProbe")["Seconds"], "{% $probeWaitSeconds %}");
    let longest = |variable: &str, pattern: &str| -> Vec<u64> {
        let assigned = edges.iter().filter_map(|edge| edge.assign.get(variable));
        assigned
            .filter(|value| !value.is_u64())
            .map(|value| {
                let found = captures(pattern, value.as_str().unwrap());
                found.first().and_then(|number| number.parse().ok()).unwrap_or(u64::MAX)
            })
            .collect()
    };
    let backoff = longest("backoffSeconds", r"\$floor\(\$random\(\) \* \$min\(\[(\d+), ");
    let probing = longest("probeWaitSeconds", r"^\{% \$min\(\[(\d+), 2 \* \$probeWaitSeconds\]\) %\}$");
    assert!(!backoff.is_empty() && !probing.is_empty());
    assert!(backoff.iter().chain(&probing).all(|seconds| *seconds <= 3600), "{backoff:?} {probing:?}");
}

#[test]
fn execution_has_an_end_that_its_states_do_not_reach() {
    let machine = Machine::load();
    let whole_s =
        machine.definition["TimeoutSeconds"].as_u64().expect("give the state machine TimeoutSeconds");
    let timeout_s = |name: &str| machine.state(name)["TimeoutSeconds"].as_u64().unwrap();
    let retried_s = |name: &str, error: &str| {
        let rule = machine.retry_rule(name, error);
        rule["MaxAttempts"].as_u64().unwrap() * rule["MaxDelaySeconds"].as_u64().unwrap()
    };
    let rounds = 2;
    let queue_s = (1 + machine.limit("CheckPermitRequests", "permitRequests")) * timeout_s("AwaitPermit");
    let overdue = rounds * (1 + machine.limit("CheckProbe", "probeCount"));
    let asking_s = machine.limit("CheckProbeTime", "unansweredProbes") * 3600;
    let longest_s = queue_s
        + machine.limit("CheckFailure", "failedTransfers") * 3600
        + rounds * timeout_s("TransferDocument")
        + overdue * timeout_s("AwaitCallback")
        + asking_s
        + retried_s("VerifyReturnedFile", "ThirdParty.Unavailable")
        + timeout_s("NormalizeDocument");
    assert!(whole_s >= longest_s, "TimeoutSeconds has to be at least {longest_s} s");
    assert!(whole_s <= 365 * 86_400, "a standard execution lasts at most a year");
}

/// The number of history events that one visit to a state writes, by AWS's list of event types: entered and exited, and
/// for a task also scheduled, started, submitted (with a token), and succeeded or failed.
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

/// Step Functions ends an execution whose history has 25,000 events, and no Catch handles that.
#[test]
fn longest_history_stays_below_the_limit() {
    let machine = Machine::load();
    let sum = |states: &[&str]| states.iter().map(|name| events(machine.state(name))).sum::<u64>();
    let failures = 1 + machine.limit("CheckFailure", "failedTransfers");
    let doubtful = [
        "AwaitPermit",
        "WaitForPermitStart",
        "TransferDocument",
        "ReportUnknownOutcome",
        "CheckUnknownOutcomes",
        "WaitBeforeProbe",
        "ProbeJob",
        "CheckProbe",
        "ReleaseUnknownJob",
        "CheckUnknownJob",
        "WaitAfterFailure",
    ];
    let refused = [
        "AwaitPermit",
        "WaitForPermitStart",
        "TransferDocument",
        "ReportFailure",
        "CheckFailure",
        "WaitAfterFailure",
    ];
    assert!(sum(&doubtful) > sum(&refused), "assume the path that writes more events");
    let requests = 1 + machine.limit("CheckPermitRequests", "permitRequests");
    let unanswered = 1 + machine.limit("CheckProbeTime", "unansweredProbes");
    let rounds = 2;
    let overdue = rounds * (1 + machine.limit("CheckProbe", "probeCount"));
    let file = machine.state("VerifyReturnedFile");
    let retries = |error: &str| {
        let attempts = machine.retry_rule("VerifyReturnedFile", error)["MaxAttempts"].as_u64().unwrap();
        attempts * attempt_events(file)
    };
    let files = u64::try_from(lectern::limits::MAX_RETURNED_FILES).unwrap();
    let each_file = 2 + events(file) + retries("ThirdParty.Unavailable") + retries("Returned.Mismatch");
    let once: u64 = machine.states.values().map(events).sum();
    let longest = failures * sum(&doubtful)
        + requests * sum(&["AwaitPermit", "CheckPermitRequests"])
        + unanswered * sum(&["WaitBeforeProbe", "ProbeJob", "CheckProbeTime"])
        + overdue * sum(&["AwaitCallback", "ProbeJob", "CheckProbe", "RenewLease"])
        + files * each_file
        + 2 * once;
    assert!(longest < 25_000, "{longest} events");
    assert!(longest > 20_000, "only {longest} events: correct the way that this test counts");
}
