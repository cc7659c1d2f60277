//! Every line that a metric becomes, held to the schema that AWS publishes for the format, and to what the
//! specification says in words.

use lectern::{
    document::{DocumentState, Reason},
    error::Error,
    steps::probe_job::Status,
    telemetry::metrics::{self, CallbackOutcome, Limiter},
};
use time::Duration;

use super::super::{filter::Wanted, invocation_span, subscriber};
use super::*;
use crate::test_support::{Captured, NOW, document};

const NAMESPACE: &str = "lectern-test";

/// The lines that `work` writes under this log filter.
fn written(filter: &str, work: impl FnOnce()) -> Vec<Value> {
    let captured = Captured::default();
    let writer = captured.clone();
    tracing::subscriber::with_default(
        subscriber(Wanted::new(filter.parse().unwrap(), None), NAMESPACE, move || writer.clone()),
        work,
    );
    captured.lines()
}

/// Every function of the catalogue, with every dimension it can have.
fn everything() {
    let received = lectern::document::Document { state: DocumentState::Received, ..document() };
    metrics::registered(&received);
    let reason = Reason::new("empty", "It is empty.");
    metrics::registered(&lectern::document::Document { reason: Some(reason.clone()), ..received });
    metrics::ended(&document(), None, NOW);
    metrics::ended(&document(), Some(&reason), NOW);
    metrics::transferred(7, Duration::milliseconds(1500));
    metrics::third_party_error(&Error::Unauthorized);
    metrics::callback(CallbackOutcome::Accepted, Some(Duration::seconds(3)));
    metrics::callback(CallbackOutcome::BadSignature, None);
    metrics::probed(Status::Unknown, true, None);
    metrics::permit_missed();
    metrics::newer_input();
    metrics::uploaded_to_erased();
    let granted_after = vec![Duration::seconds(1), Duration::seconds(2)];
    let portal = "portal".parse().unwrap();
    metrics::delivered(&portal, [1, 2].map(std::time::Duration::from_secs).into_iter());
    metrics::delivery_failed(&portal);
    metrics::events_given_up(&portal, 1);
    metrics::subscriber(&portal, 3, std::time::Duration::from_secs(4));
    metrics::subscriber_disabled(&portal);
    metrics::unreadable_change();
    metrics::limiter(&Limiter { granted_after, breaker_open: true, ..Limiter::default() });
}

/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html#CloudWatch_Embedded_Metric_Format_Specification_schema>
fn schema() -> Value {
    json!({
        "type": "object",
        "required": ["_aws"],
        "properties": { "_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "properties": {
                "Timestamp": { "type": "integer" },
                "CloudWatchMetrics": { "type": "array", "items": {
                    "type": "object",
                    "required": ["Namespace", "Dimensions", "Metrics"],
                    "properties": {
                        "Namespace": { "type": "string", "pattern": "^(.*)$", "minLength": 1, "maxLength": 1024 },
                        "Dimensions": { "type": "array", "minItems": 1, "items": {
                            "type": "array", "minItems": 0, "maxItems": 30, "items": {
                                "type": "string", "pattern": "^(.*)$", "minLength": 1, "maxLength": 250
                            }
                        }},
                        "Metrics": { "type": "array", "minItems": 1, "maxItems": 100, "items": {
                            "type": "object",
                            "required": ["Name"],
                            "properties": {
                                "Name": { "type": "string", "pattern": "^(.*)$", "minLength": 1, "maxLength": 1024 },
                                "Unit": { "enum": ["Seconds", "Bytes", "Count", "None"] }
                            },
                            "additionalProperties": false
                        }}
                    }
                }}
            }
        }}
    })
}

#[test]
fn every_line_keeps_the_schema_and_the_words_of_the_specification() {
    let schema = jsonschema::validator_for(&schema()).unwrap();
    let lines = written("off", everything);
    assert_eq!(lines.len(), 20);
    for line in &lines {
        schema.validate(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        let directives = line["_aws"]["CloudWatchMetrics"].as_array().unwrap();
        assert!(!directives.is_empty());
        for directive in directives {
            assert_eq!(directive["Namespace"], NAMESPACE);
            for dimension in
                directive["Dimensions"].as_array().unwrap().iter().flat_map(|set| set.as_array().unwrap())
            {
                let value = line[dimension.as_str().unwrap()].as_str();
                assert!(value.is_some_and(|text| (1..=1024).contains(&text.len())), "{dimension} in {line}");
            }
            for metric in directive["Metrics"].as_array().unwrap() {
                assert!(line[metric["Name"].as_str().unwrap()].is_number(), "{metric} in {line}");
            }
        }
    }
    let named = |line: &Value| -> Vec<String> {
        let directives = line["_aws"]["CloudWatchMetrics"].as_array().unwrap();
        let metrics = directives.iter().flat_map(|directive| directive["Metrics"].as_array().unwrap());
        metrics.map(|metric| metric["Name"].as_str().unwrap().to_owned()).collect()
    };
    let mut all: Vec<String> = lines.iter().flat_map(named).collect();
    all.sort();
    all.dedup();
    // The document of these tests has only been received.
    let missing = ["ProcessingSeconds", "TransferringSeconds", "VerifyingSeconds", "NormalizingSeconds"];
    for metric in ALL {
        assert_eq!(all.contains(&metric.name.to_owned()), !missing.contains(&metric.name), "{}", metric.name);
    }
}

#[test]
fn line_has_a_directive_for_each_group_of_dimensions_and_its_spans_as_properties() {
    let before = SystemClock.now().unix_timestamp() * 1000;
    let lines = written("info", || {
        let _invocation =
            invocation_span("receive-callback", Some("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=b"))
                .entered();
        let _callback = tracing::info_span!("callback", submissionId = "s1", documentId = "d1").entered();
        metrics::callback(CallbackOutcome::Late, Some(Duration::seconds(3)));
    });
    let [mut line] = <[Value; 1]>::try_from(lines).unwrap();
    let timestamp = line["_aws"]["Timestamp"].take().as_i64().unwrap();
    assert!((before..before + 60_000).contains(&timestamp), "{timestamp} is now, in milliseconds");
    assert_eq!(
        line,
        json!({
            "_aws": { "Timestamp": null, "CloudWatchMetrics": [
                {
                    "Namespace": NAMESPACE, "Dimensions": [[]],
                    "Metrics": [
                        {"Name": "ThirdPartySeconds", "Unit": "Seconds"}, {"Name": "CallbackMissed", "Unit": "None"}
                    ]
                },
                {
                    "Namespace": NAMESPACE, "Dimensions": [["Outcome"]],
                    "Metrics": [{"Name": "Callbacks", "Unit": "Count"}]
                },
            ]},
            "function": "receive-callback", "traceId": "5759e988bd862e3fe1be46a994272793", "submissionId": "s1", "documentId": "d1",
            "Callbacks": 1, "Outcome": "late", "CallbackMissed": 0, "ThirdPartySeconds": 3.0
        })
    );
}

#[test]
fn document_is_counted_by_its_reason_only_if_it_has_one() {
    let lines = written("info", || {
        metrics::ended(&document(), None, NOW);
        metrics::ended(&document(), Some(&Reason::new("empty", "It is empty.")), NOW);
    });
    let dimensions: Vec<Value> = lines
        .iter()
        .map(|line| {
            let directives = line["_aws"]["CloudWatchMetrics"].as_array().unwrap();
            let counts = |directive: &&Value| directive["Metrics"][0]["Name"] == "Documents";
            directives.iter().find(counts).unwrap()["Dimensions"].clone()
        })
        .collect();
    assert_eq!(dimensions, [json!([["State"]]), json!([["State"], ["State", "Reason"]])]);
}

#[test]
fn metrics_and_their_documents_are_written_whatever_the_log_filter_says() {
    for filter in ["off", "error", "lectern=off", "lectern::telemetry::metrics=off", "trace"] {
        let lines = written(filter, || {
            let span = tracing::info_span!("task", documentId = "d1", jobId = tracing::field::Empty);
            let _task = span.enter();
            span.record("jobId", "j1");
            metrics::probed(Status::Unknown, true, None);
        });
        assert_eq!(lines.len(), 1, "{filter}: written once, and not in the log too");
        assert_eq!((&lines[0]["documentId"], &lines[0]["jobId"]), (&json!("d1"), &json!("j1")), "{filter}");
    }
}

#[test]
fn case_53_fields_of_libraries_spans_below_info_are_on_no_line() {
    let lines = written("trace", || {
        let _quiet = tracing::debug_span!(target: "aws_smithy_runtime", "request", uri = "secret").entered();
        let _loud =
            tracing::info_span!(target: "lambda_runtime", "invoke", xrayTraceId = "Root=1-a").entered();
        metrics::probed(Status::Unknown, true, None);
    });
    assert!(lines[0].get("uri").is_none() && lines[0].get("xrayTraceId").is_none(), "{}", lines[0]);
}

#[test]
fn event_without_a_metric_of_the_catalogue_is_not_written() {
    let lines = written("trace", || {
        tracing::info!(target: "lectern::telemetry::metrics", Unheard = 1u64);
        tracing::info!(target: "lectern::telemetry::metrics", Callbacks = 1u64);
        tracing::info!(target: "lectern::telemetry::metrics", BreakerOpen = "open");
    });
    assert_eq!(lines, Vec::<Value>::new());
}
