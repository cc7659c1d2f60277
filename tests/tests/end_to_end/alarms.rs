//! Alarms on our own metrics are set off by real causes.
//!
//! Unlike `CloudWatch`, the local cloud does not extract metrics from logs. So each test reads the log line that a
//! function wrote, puts the metrics that `CloudWatch` would extract, and waits for the alarm. The local cloud does not
//! compare the dimensions of alarms and metrics, so this file does.

use lectern::ports::Clock as _;
use lectern_aws::SystemClock;
use reqwest::StatusCode;
use serde_json::{Value, json};
use third_party::{JobFault, ReportedStatus, SubmissionFault};

use crate::{
    aws_json::call,
    callbacks::Delivery,
    case::Case,
    content::text,
    stack::Stack,
    wait::{LATER, SOON, eventually},
};

const FOREIGN_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn failure(job_id: &str, code: &str) -> String {
    let error = json!({ "code": code, "message": "It cannot be read." });
    let data = json!({ "jobId": job_id, "error": error });
    json!({ "type": "job.failed", "timestamp": "2026-11-20T16:04:05.006Z", "data": data }).to_string()
}

pub(crate) fn now_ms() -> i128 {
    SystemClock.now().unix_timestamp_nanos() / 1_000_000
}

#[tokio::test]
async fn badly_signed_callback_sets_its_alarm_off() {
    let case = Case::begin();
    let began = now_ms();
    let (_, document) = case.upload_that_waits("forged.txt").await;
    let forged = Delivery::signed(FOREIGN_SECRET, failure("job_1", "forged"));
    let answer = case.stack.call_back(document.callback_id.expose(), &forged).await;
    assert_eq!(answer, StatusCode::UNAUTHORIZED);
    case.stack.goes_off("CallbackBadSignatureAlarm", "ReceiveCallback", began).await;
}

#[tokio::test]
async fn contradiction_sets_its_alarm_off_and_another_jobs_result_does_not() {
    let case = Case::begin();
    let began = now_ms();
    let (upload, document) = case.upload_that_waits("waits.txt").await;
    let (id, secret) = (document.callback_id.expose(), case.stack.shared_secrets().signing_secret);
    let own = document.job_id.as_deref().unwrap();
    for (job_id, code) in [(own, "unreadable"), ("job_2", "truncated"), (own, "truncated")] {
        let delivery = Delivery::signed(&secret, failure(job_id, code));
        assert_eq!(case.stack.call_back(id, &delivery).await, StatusCode::OK);
    }
    case.stack.failed(&upload, "unreadable").await;
    case.stack.goes_off("CallbackContradictoryAlarm", "ReceiveCallback", began).await;
    let document = upload.id().to_string();
    let outcomes = eventually("all three callbacks are logged", SOON, async || {
        let mut lines = case.stack.metric_lines("ReceiveCallback", began).await;
        lines.retain(|line| line["documentId"] == document);
        lines.sort_by_key(|line| line["_aws"]["Timestamp"].as_i64());
        if lines.len() < 3 { Err(format!("{} lines", lines.len())) } else { Ok(lines) }
    })
    .await;
    let outcomes: Vec<&Value> = outcomes.iter().map(|line| &line["Outcome"]).collect();
    assert_eq!(outcomes, ["accepted", "otherJob", "contradictory"]);
}

/// The job is done, but no callback comes, so the state machine probes the job.
#[tokio::test]
async fn jobs_without_any_callback_set_the_alarm_off() {
    let case = Case::begin();
    let began = now_ms();
    let silent = JobFault::NoCallback { status: ReportedStatus::Succeeded };
    let upload = case.upload_with_lasting("overdue.txt", text(), silent).await;
    case.stack.ready(&upload).await;
    case.stack.goes_off("CallbacksMissingAlarm", "ProbeJob", began).await;
}

/// Refused credentials also open the circuit breaker.
#[tokio::test]
async fn refused_credentials_set_their_alarm_and_the_breakers_off() {
    let case = Case::begin();
    let began = now_ms();
    let refusal = SubmissionFault::Unauthorized { status: 401 };
    let upload = case.upload_with("refused.txt", text(), [refusal.into()]).await;
    // The metric has the time of its log line, and this alarm evaluates one minute only.
    case.stack.goes_off("BreakerOpenAlarm", "AdmitDocument", began).await;
    case.stack.goes_off("ThirdPartyUnauthorizedAlarm", "TransferDocument", began).await;
    case.stack.ready(&upload).await;
}

impl Stack {
    /// Waits until the function has logged a bad value of the alarm's metric since `began_ms`, puts that value, and
    /// waits until the alarm is on and `lectern status` shows it.
    pub(crate) async fn goes_off(&self, alarm: &str, function: &str, began_ms: i128) {
        let is = self.alarm(alarm).await;
        let name = is["AlarmName"].as_str().unwrap();
        let datum = eventually(&format!("{function} emits a bad value for {alarm}"), LATER, async || {
            let lines = self.metric_lines(function, began_ms).await;
            let values = lines.iter().flat_map(read_by_cloudwatch);
            let mut about = values.filter(|(namespace, datum)| is_about(&is, namespace, datum));
            about.next_back().map(|(_, datum)| datum).ok_or_else(|| format!("{} lines do not", lines.len()))
        })
        .await;
        // Another test may have set the alarm off before.
        let quiet = json!({ "AlarmName": name, "StateValue": "OK", "StateReason": "The test begins." });
        cloudwatch(self, "SetAlarmState", &quiet).await;
        let data = json!({ "Namespace": is["Namespace"], "MetricData": [datum] });
        cloudwatch(self, "PutMetricData", &data).await;
        eventually(&format!("{alarm} goes off"), SOON, async || {
            let state = self.alarm(alarm).await["StateValue"].take();
            if state == "ALARM" { Ok(()) } else { Err(state) }
        })
        .await;
        let status = self.status().await;
        let mut on = status["alarms"].as_array().unwrap().iter();
        assert!(on.any(|on| on["alarm"] == alarm), "{status}");
    }

    /// An alarm, by its logical id in the template.
    async fn alarm(&self, resource: &str) -> Value {
        let prefix = format!("{}-{resource}", self.is.stack_name);
        let mut found = cloudwatch(self, "DescribeAlarms", &json!({ "AlarmNamePrefix": prefix })).await;
        let alarms = found["MetricAlarms"].as_array_mut().unwrap();
        assert_eq!(alarms.len(), 1, "{alarms:?}");
        alarms.remove(0)
    }

    /// The lines in embedded metric format in a function's log.
    pub(crate) async fn metric_lines(&self, function: &str, began_ms: i128) -> Vec<Value> {
        let groups = call(self, "logs", "Logs_20140328.DescribeLogGroups", &json!({})).await;
        let mut names =
            groups["logGroups"].as_array().unwrap().iter().filter_map(|group| group["logGroupName"].as_str());
        let name = names.find(|name| name.ends_with(&format!("/{function}LogGroup")));
        let name = name.unwrap_or_else(|| panic!("{function} has no log group"));
        let body = json!({ "logGroupName": name, "startTime": began_ms, "limit": 10_000 });
        let page = call(self, "logs", "Logs_20140328.FilterLogEvents", &body).await;
        let events = page["events"].as_array().unwrap().iter();
        let texts = events.filter_map(|event| event["message"].as_str()).flat_map(str::lines);
        let lines = texts.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["_aws"].is_object()).collect()
    }
}

/// The metric data that `CloudWatch` extracts from a line: namespace, and one value per metric and dimension set.
fn read_by_cloudwatch(line: &Value) -> Vec<(String, Value)> {
    let mut read = Vec::new();
    for directive in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
        for set in directive["Dimensions"].as_array().unwrap() {
            let names = set.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
            let dimensions: Vec<Value> =
                names.map(|name| json!({ "Name": name, "Value": line[name] })).collect();
            for metric in directive["Metrics"].as_array().unwrap() {
                let name = metric["Name"].as_str().unwrap();
                let timestamp_s = line["_aws"]["Timestamp"].as_f64().unwrap() / 1000.0;
                let datum = json!({
                    "MetricName": name, "Unit": metric["Unit"], "Value": line[name],
                    "Dimensions": dimensions, "Timestamp": timestamp_s
                });
                read.push((directive["Namespace"].as_str().unwrap().to_owned(), datum));
            }
        }
    }
    read
}

/// Whether the alarm watches this metric and the value is bad.
fn is_about(alarm: &Value, namespace: &str, datum: &Value) -> bool {
    alarm["Namespace"] == namespace
        && alarm["MetricName"] == datum["MetricName"]
        && alarm["Dimensions"] == datum["Dimensions"]
        && datum["Value"].as_f64().is_some_and(|value| is_bad(alarm, value))
}

fn is_bad(alarm: &Value, value: f64) -> bool {
    let threshold = alarm["Threshold"].as_f64().expect("an alarm has a threshold");
    match alarm["ComparisonOperator"].as_str() {
        Some("GreaterThanThreshold") => value > threshold,
        Some("GreaterThanOrEqualToThreshold") => value >= threshold,
        other => panic!("teach this test the operator {other:?}"),
    }
}

async fn cloudwatch(stack: &Stack, operation: &str, body: &Value) -> Value {
    call(stack, "monitoring", &format!("GraniteServiceVersion20100801.{operation}"), body).await
}
