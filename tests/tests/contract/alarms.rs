//! Alarms: each one watches a metric that exists and notifies the topic, and everything that can go wrong has an alarm.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    asl::Machine,
    metrics::{OURS, problem},
    queues::is_of_a_stream,
    sources::{captures, read},
    template::{Template, list},
};

const ALARM: &str = "AWS::CloudWatch::Alarm";

/// A string in the template, or the name of the resource that a reference names.
fn text(value: &Value) -> String {
    let reference = value["Ref"].as_str().or_else(|| value["Fn::GetAtt"].as_str());
    reference
        .or_else(|| value.as_str())
        .unwrap_or_else(|| panic!("{value} is neither a string nor a reference"))
        .to_owned()
}

fn dimensions(alarm: &Value) -> BTreeMap<String, String> {
    let all = list(&alarm["Dimensions"]).into_iter();
    all.map(|dimension| (text(&dimension["Name"]), text(&dimension["Value"]))).collect()
}

/// What an alarm watches: namespace, metric, and the values of the metric's dimensions.
fn subject(alarm: &Value) -> (String, String, Vec<String>) {
    (text(&alarm["Namespace"]), text(&alarm["MetricName"]), dimensions(alarm).into_values().collect())
}

#[test]
fn every_alarm_is_on_a_metric_that_exists() {
    for (name, alarm) in Template::load().resources(ALARM) {
        let (namespace, metric, _) = subject(alarm);
        assert_eq!(problem(&namespace, &metric, &dimensions(alarm)), None, "{name}");
        assert!(alarm.get("Metrics").is_none(), "{name}: the local cloud has no metric math in alarms");
    }
}

#[test]
fn every_alarm_notifies_the_topic_and_says_what_happened() {
    for (name, alarm) in Template::load().resources(ALARM) {
        assert_eq!(alarm["AlarmActions"], json!([{"Ref": "AlarmTopic"}]), "{name}: notify the topic");
        assert!(alarm["AlarmDescription"].as_str().is_some_and(|text| text.ends_with('.')), "{name}");
        assert!(alarm.get("ActionsEnabled").is_none(), "{name}");
        assert!(name.ends_with("Alarm"), "{name}");
    }
}

/// One bad value of the metric is enough: statistic and comparison must not average it away.
#[test]
fn every_alarm_goes_off_by_one_bad_value() {
    let template = Template::load();
    for (name, alarm) in template.resources(ALARM) {
        let statistic = alarm["Statistic"].as_str().unwrap();
        let threshold = template.number(&alarm["Threshold"]);
        let expected = match subject(alarm).1.as_str() {
            // Message counts and ages are gauges, so their sum over time means nothing.
            "ApproximateNumberOfMessagesVisible" => ("Maximum", "GreaterThanThreshold", 0),
            "ApproximateAgeOfOldestMessage" | "IteratorAge" | "OldestEventSeconds" => {
                ("Maximum", "GreaterThanThreshold", threshold)
            }
            // The SDK repeats such a write. Single documents fail for their content, which needs no operator.
            "TransactionConflict" | "Documents" => ("Sum", "GreaterThanThreshold", threshold),
            // If admission makes progress within a minute, at least one data point is 0.
            "AdmissionStalledSeconds" => ("Minimum", "GreaterThanThreshold", threshold),
            // A single 0 among the data points means that a callback came, or that the breaker closed.
            "CallbackMissed" | "BreakerOpen" => ("Minimum", "GreaterThanOrEqualToThreshold", 1),
            _ => ("Sum", "GreaterThanThreshold", 0),
        };
        let operator = alarm["ComparisonOperator"].as_str().unwrap();
        assert_eq!((statistic, operator, threshold), expected, "{name}");
        // admit-document and deliver-events emit these metrics only when they run; nothing changes for the better in
        // between.
        let of_runs = ["BreakerOpen", "AdmissionStalledSeconds", "OldestEventSeconds"]
            .contains(&subject(alarm).1.as_str());
        let missing = if of_runs { "ignore" } else { "notBreaching" };
        assert_eq!(alarm["TreatMissingData"], missing, "{name}: missing data must not set the alarm off");
        let period = template.number(&alarm["Period"]);
        assert!(period >= 60 && period.is_multiple_of(60), "{name}: AWS emits its metrics once a minute");
        let watched = period * template.number(&alarm["EvaluationPeriods"]);
        assert!(watched <= 86_400, "{name}: CloudWatch evaluates one day at most");
    }
}

#[test]
fn a15_everything_that_can_go_wrong_has_its_alarm() {
    let template = Template::load();
    let alarms = template.resources(ALARM);
    let subjects: BTreeMap<_, _> = alarms.iter().map(|(name, alarm)| (subject(alarm), *name)).collect();
    assert_eq!(subjects.len(), alarms.len(), "two alarms watch the same metric");
    let mut needed: BTreeSet<(String, String, Vec<String>)> = BTreeSet::new();
    let mut need = |namespace: &str, metric: &str, of: &[String]| {
        needed.insert((namespace.to_owned(), metric.to_owned(), of.to_vec()));
    };
    for (queue, properties) in template.resources("AWS::SQS::Queue") {
        let by = [format!("{queue}.QueueName")];
        if properties.get("RedrivePolicy").is_some() {
            need("AWS/SQS", "ApproximateAgeOfOldestMessage", &by);
        } else {
            need("AWS/SQS", "ApproximateNumberOfMessagesVisible", &by);
        }
    }
    for function in template.resources("AWS::Serverless::Function").keys() {
        need("AWS/Lambda", "Throttles", &[(*function).to_owned()]);
        need("AWS/Lambda", "Errors", &[(*function).to_owned()]);
    }
    for (_, mapping) in template.resources("AWS::Lambda::EventSourceMapping") {
        if is_of_a_stream(mapping) {
            let function = mapping["FunctionName"]["Ref"].as_str().unwrap().trim_end_matches(".Alias");
            need("AWS/Lambda", "IteratorAge", &[function.to_owned()]);
        }
    }
    for api in template.resources("AWS::ApiGatewayV2::Api").keys() {
        need("AWS/ApiGateway", "5xx", &[(*api).to_owned()]);
    }
    for machine in template.resources("AWS::Serverless::StateMachine").keys() {
        for metric in ["ExecutionThrottled", "ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted"] {
            need("AWS/States", metric, &[(*machine).to_owned()]);
        }
    }
    for table in template.resources("AWS::DynamoDB::Table").keys() {
        for metric in ["ReadThrottleEvents", "WriteThrottleEvents", "TransactionConflict"] {
            need("AWS/DynamoDB", metric, &[(*table).to_owned()]);
        }
    }
    for (metric, of) in [
        ("Callbacks", vec!["badSignature".to_owned()]),
        ("Callbacks", vec!["contradictory".to_owned()]),
        ("UploadsToErased", vec![]),
        ("CallbackMissed", vec![]),
        ("ThirdPartyErrors", vec!["ThirdParty.Unauthorized".to_owned()]),
        ("Documents", vec!["Failed".to_owned()]),
        ("BreakerOpen", vec![]),
        ("AdmissionStalledSeconds", vec![]),
        ("NewerInputs", vec![]),
        ("OldestEventSeconds", vec![]),
        ("EventsGivenUp", vec![]),
        ("SubscribersDisabled", vec![]),
        ("UnreadableChanges", vec![]),
    ] {
        need("AWS::StackName", metric, &of);
    }
    assert_eq!(subjects.into_keys().collect::<BTreeSet<_>>(), needed, "left: alarms; right: needed");
}

/// The third party repeats a callback that was answered 5xx. Its growing pauses soon exceed five minutes.
#[test]
fn api_errors_that_are_minutes_apart_set_the_alarm_off_within_the_hour() {
    let template = Template::load();
    let alarm = template.resource(ALARM, "ApiErrorsAlarm");
    let number = |name: &str| template.number(&alarm[name]);
    assert_eq!(number("Period") * number("EvaluationPeriods"), 3600);
    assert!(
        (2..=3).contains(&number("DatapointsToAlarm")),
        "a single 5xx is retried and must not set the alarm off"
    );
}

/// An alarm is trusted only if a test has set it off.
#[test]
fn every_alarm_on_a_metric_of_ours_is_driven_to_alarm_end_to_end() {
    let tests =
        ["alarms", "event_alarms"].map(|file| read(&format!("tests/tests/end_to_end/alone/{file}.rs")));
    let driven = captures(r#"goes_off\("(\w+)""#, &tests.concat());
    let template = Template::load();
    let alarms = template.resources(ALARM).into_iter();
    let ours = alarms.filter(|(_, alarm)| subject(alarm).0 == OURS).map(|(name, _)| name.to_owned());
    assert_eq!(ours.collect::<BTreeSet<_>>(), driven, "left: alarms of the template; right: driven");
}

/// During a stall, the only orders may be those of waiting documents, which repeat their requests after the timeout of
/// `AwaitPermit`. Unit tests of the admission state show that neither half-open trials nor permits of documents that
/// have failed hide a stall of other documents.
#[test]
fn stall_sets_its_alarm_off_when_the_first_document_repeats_its_request() {
    let template = Template::load();
    let threshold = template.number(&template.resource(ALARM, "AdmissionStalledAlarm")["Threshold"]);
    let repeats_s = Machine::load().state("AwaitPermit")["TimeoutSeconds"].as_u64().unwrap();
    assert!(threshold < repeats_s, "the first repeated request reports a stall of {repeats_s} s");
    let visibility = &template.resource("AWS::SQS::Queue", "AdmitDocumentQueue")["VisibilityTimeout"];
    assert!(threshold > 10 * template.number(visibility), "a redelivered order must not count as a stall");
}

/// An operator reads the alarm's name first.
#[test]
fn alarms_are_named_after_what_they_watch() {
    for (name, alarm) in Template::load().resources(ALARM) {
        let (_, metric, of) = subject(alarm);
        let suffix = match metric.as_str() {
            "ApproximateNumberOfMessagesVisible" => "DeadLetterAlarm",
            "ApproximateAgeOfOldestMessage" => "QueueAgeAlarm",
            "Throttles" => "ThrottlesAlarm",
            "Errors" => "ErrorsAlarm",
            "IteratorAge" => "AgeAlarm",
            _ => continue,
        };
        let stem = of[0].split('.').next().unwrap().trim_end_matches("Function").trim_end_matches("Queue");
        let stem = stem.trim_end_matches("DeadLetter");
        assert_eq!(name, format!("{stem}{suffix}"));
    }
}

/// The alarm leaves time for one redelivery after a crash, and for an operator before SQS deletes the message.
#[test]
fn case_49_old_message_sets_its_alarm_off_after_a_redelivery_and_days_before_it_is_lost() {
    let template = Template::load();
    let mut queues = 0;
    for (name, alarm) in template.resources(ALARM) {
        let (_, metric, of) = subject(alarm);
        if metric != "ApproximateAgeOfOldestMessage" {
            continue;
        }
        queues += 1;
        let queue = template.resource("AWS::SQS::Queue", of[0].trim_end_matches(".QueueName"));
        let (threshold, hidden, kept) = (
            template.number(&alarm["Threshold"]),
            template.number(&queue["VisibilityTimeout"]),
            template.number(&queue["MessageRetentionPeriod"]),
        );
        assert!(
            threshold > hidden,
            "{name}: one crash hides a message for {hidden} s and must not set the alarm off"
        );
        assert!(threshold * 4 < kept, "{name}: SQS deletes a message after {kept} s");
    }
    assert!(queues >= 3, "{queues}");
}
