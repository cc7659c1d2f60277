//! The metrics that exist: our own are in the catalogue `lectern::telemetry::metrics`, those of AWS in its
//! documentation. An alarm or a widget on any other metric would never show anything.

use std::collections::{BTreeMap, BTreeSet};

use lectern::{
    contract::wire::{CONTRACT_BROKEN, SOURCE_UNREADABLE},
    document::DocumentState,
    error::Error,
    steps::probe_job::Status,
    telemetry::metrics::{self, ALL, OTHER, REASONS},
};
use lectern_content::MediaType;

use super::sources::{captures, is_test_file, product_code, read, rust_files};

/// The AWS metrics in use: namespace, dimension names, metric names, and the address of AWS's documentation.
const AWS: [(&str, &[&str], &[&str], &str); 5] = [
    (
        "AWS/SQS",
        &["QueueName"],
        &["ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"],
        "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html",
    ),
    (
        "AWS/States",
        &["StateMachineArn"],
        &[
            "ExecutionThrottled",
            "ExecutionsAborted",
            "ExecutionsFailed",
            "ExecutionsStarted",
            "ExecutionsSucceeded",
            "ExecutionsTimedOut",
        ],
        "https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html",
    ),
    (
        "AWS/DynamoDB",
        &["TableName"],
        &["ReadThrottleEvents", "TransactionConflict", "WriteThrottleEvents"],
        "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html",
    ),
    (
        "AWS/Lambda",
        &["FunctionName"],
        &["Duration", "Errors", "IteratorAge", "Throttles"],
        "https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html",
    ),
    (
        "AWS/ApiGateway",
        &["ApiId"],
        &["4xx", "5xx", "Count", "IntegrationLatency", "Latency"],
        "https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html",
    ),
];

/// The template's expression for the functions' namespace; a test in `settings` compares it with `METRICS_NAMESPACE`.
pub(crate) const OURS: &str = "AWS::StackName";

/// Returns why the metric does not exist, or `None` if it exists. Dimensions are names with values.
pub(crate) fn problem(namespace: &str, name: &str, dimensions: &BTreeMap<String, String>) -> Option<String> {
    let names: BTreeSet<&str> = dimensions.keys().map(String::as_str).collect();
    if namespace == OURS {
        let Some(metric) = ALL.iter().find(|metric| metric.name == name) else {
            return Some(format!("lectern::telemetry::metrics has no {name}"));
        };
        let emitted =
            metric.dimensions.iter().any(|set| set.iter().copied().collect::<BTreeSet<_>>() == names);
        if !emitted {
            return Some(format!("{name} has the dimensions {:?}, not {names:?}", metric.dimensions));
        }
        let wrong = dimensions.iter().find(|(name, value)| !values(name).contains(value.as_str()));
        return wrong.map(|(dimension, value)| format!("{name}: {dimension} is never {value}"));
    }
    let Some((_, needed, metrics, address)) = AWS.iter().find(|(known, ..)| *known == namespace) else {
        return Some(format!("{namespace} is neither our namespace nor one that {} lists", file!()));
    };
    let known = metrics.contains(&name) && names == needed.iter().copied().collect();
    (!known).then(|| {
        format!("{} does not list {namespace} {name} with the dimensions {names:?}; see {address}", file!())
    })
}

/// The id of a subscriber, which stands for all of them: operators choose these ids.
pub(crate) const A_SUBSCRIBER: &str = "school-portal";

/// Every possible value of one of our own dimensions.
fn values(dimension: &str) -> BTreeSet<&'static str> {
    match dimension {
        "State" => DocumentState::ALL.map(DocumentState::as_str).into(),
        "Reason" => REASONS.into_iter().chain([OTHER]).collect(),
        "MediaType" => MediaType::ALL.map(MediaType::as_str).into(),
        "Error" => Error::NAMES.into(),
        "Status" => [Status::ResultStored, Status::Working, Status::Unknown].map(Status::as_str).into(),
        "Outcome" => metrics::CallbackOutcome::ALL.map(metrics::CallbackOutcome::as_str).into(),
        "Subscriber" => [A_SUBSCRIBER].into(),
        other => panic!("say in this test which values {other} can have"),
    }
}

/// A metric that no step emits would stay empty.
#[test]
fn every_metric_is_emitted_by_some_step_or_around_all_of_them() {
    let functions = captures(r"(?m)^pub fn (\w+)\(", &read("crates/lectern/src/telemetry/metrics.rs"));
    let calls: BTreeSet<String> = rust_files(&["crates/lectern/src", "crates/lectern-aws/src"])
        .iter()
        .filter(|file| !is_test_file(&file.path) && !file.path.ends_with("/metrics.rs"))
        .flat_map(|file| captures(r"\bmetrics::(\w+)", &product_code(&file.text)))
        .collect();
    let unused: BTreeSet<&str> =
        functions.iter().filter(|name| !calls.contains(*name)).map(String::as_str).collect();
    assert!(unused.is_empty(), "functions of lectern::telemetry::metrics that nothing calls: {unused:?}");
}

/// A reason that the list lacks would be counted as one of the third party's.
#[test]
fn every_reason_that_the_code_gives_is_counted_by_its_code() {
    let patterns = [
        r#"(?:Reason::new|\bmismatch|\binvalid|\bRefused::new)\(\s*"([a-z]\w*)""#,
        r#"\breason\(body, "([a-z]\w*)""#,
        r#"\bcode: "([a-z]\w*)""#,
        r#"\belse \{ "([a-z]\w*)""#,
    ];
    let mut given: BTreeSet<String> = BTreeSet::new();
    for file in rust_files(&["crates/lectern/src", "crates/lectern-aws/src"]) {
        // A message alone has no code, and the in-memory ports return whatever a test asks for.
        if !is_test_file(&file.path) && !file.path.contains("/testing") {
            let code = product_code(&file.text);
            given.extend(patterns.iter().flat_map(|pattern| captures(pattern, &code)));
        }
    }
    given.extend([SOURCE_UNREADABLE, CONTRACT_BROKEN].map(str::to_owned));
    let content = read("crates/lectern-content/src/lib.rs");
    let codes = content.split("pub fn code(").nth(1).unwrap().split("\n    }\n").next().unwrap();
    given.extend(captures(r#"=> "(\w+)","#, codes));
    let invented = |code: &String| code == OTHER;
    assert!(!given.iter().any(invented), "{OTHER} is reserved for the third party's reasons");
    let counted: BTreeSet<String> = REASONS.map(str::to_owned).into();
    assert_eq!(given, counted, "left: used in the code; right: metrics::REASONS");
}

#[test]
fn metric_that_does_not_exist_is_found() {
    let by = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
    assert_eq!(problem(OURS, "Callbacks", &by("Outcome", "badSignature")), None);
    assert_eq!(problem("AWS/SQS", "ApproximateAgeOfOldestMessage", &by("QueueName", "q")), None);
    for (namespace, name, dimensions) in [
        (OURS, "Callback", by("Outcome", "badSignature")),
        (OURS, "Callbacks", BTreeMap::new()),
        (OURS, "Callbacks", by("Outcome", "bad")),
        ("lectern", "Callbacks", by("Outcome", "badSignature")),
        ("AWS/SQS", "ApproximateAgeOfOldestMessage", by("Queue", "q")),
        ("AWS/Lambda", "ApproximateAgeOfOldestMessage", by("FunctionName", "f")),
        // The name of the metric for REST APIs.
        ("AWS/ApiGateway", "5XXError", by("ApiId", "a")),
        ("AWS/ApiGateway", "5xx", by("ApiName", "a")),
    ] {
        assert!(problem(namespace, name, &dimensions).is_some(), "{namespace} {name} {dimensions:?}");
    }
}
