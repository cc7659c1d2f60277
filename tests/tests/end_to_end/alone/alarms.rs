//! Every alarm is set off and reaches a subscriber: alarms on our own metrics by real causes, alarms on metrics of AWS by
//! values that the test puts.
//!
//! The tests make all metrics a day older before they begin, so that no value of an earlier test counts.

use aws_sdk_sqs::types::QueueAttributeName;
use lectern::{
    admission::AdmissionState, document::DocumentState, message::SCHEMA_VERSION, ports::AdmissionStore as _,
    steps::admit_document::QueueChanges,
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use third_party::{JobFault, ReportedStatus, SubmissionFault};
use uuid::Uuid;

use crate::{
    alarms::{Subscriber, cloudwatch, now_ms},
    alone::then,
    callbacks::Delivery,
    case::Case,
    content::text,
    stack::Stack,
    third_party_admin::for_content,
    wait::{LATER, SOON, eventually},
};

const FOREIGN_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const DAY_S: u32 = 86_400;

/// The largest value of `ThirdPartyMaxInFlight`, so enough to take all leases of any stack.
const LEASES: u32 = 250;
/// Above the number of any test's attempt.
const FIRST_ATTEMPT: u32 = 4_000_000_000;
const HOUR_US: i128 = 3_600_000_000;

#[tokio::test]
async fn every_alarm_on_a_metric_of_aws_reaches_a_subscriber_and_ends() {
    let stack = Stack::open();
    stack.age_metrics(DAY_S).await;
    let mut subscriber = Subscriber::subscribe(&stack).await;
    let alarms = stack.alarms().await;
    let of_aws: Vec<&Value> =
        alarms.iter().filter(|alarm| alarm["Namespace"].as_str().unwrap().starts_with("AWS/")).collect();
    assert!(of_aws.len() > 30, "{} alarms", of_aws.len());
    for alarm in &of_aws {
        put_bad_values(&stack, alarm).await;
    }
    let id = |alarm: &Value| {
        let name = alarm["AlarmName"].as_str().unwrap().strip_prefix(&stack.is.stack_name).unwrap();
        name.trim_start_matches('-').split('-').next().unwrap().to_owned()
    };
    for alarm in &of_aws {
        subscriber.goes_off(&id(alarm)).await;
    }
    let status = stack.status().await;
    let on: Vec<&str> =
        status["alarms"].as_array().unwrap().iter().filter_map(|on| on["alarm"].as_str()).collect();
    for alarm in &of_aws {
        assert!(on.contains(&id(alarm).as_str()), "{status}");
    }
    subscriber.unsubscribe().await;
    stack.age_metrics(DAY_S).await;
    let on: Vec<Value> = stack.alarms().await;
    assert!(on.iter().all(|alarm| alarm["StateValue"] != "ALARM"), "{on:?}");
}

/// Puts a bad value into each of the periods that the alarm evaluates.
async fn put_bad_values(stack: &Stack, alarm: &Value) {
    assert_eq!(alarm["ComparisonOperator"], "GreaterThanThreshold", "teach this test the operator");
    let (period_s, count) = (alarm["Period"].as_i64().unwrap(), alarm["EvaluationPeriods"].as_i64().unwrap());
    let now_s = i64::try_from(now_ms() / 1000).unwrap();
    let data: Vec<Value> = (0..count)
        .map(|period| {
            json!({
                "MetricName": alarm["MetricName"], "Dimensions": alarm["Dimensions"],
                "Timestamp": now_s - period * period_s, "Value": alarm["Threshold"].as_f64().unwrap() + 1.0
            })
        })
        .collect();
    let request = json!({ "Namespace": alarm["Namespace"], "MetricData": data });
    cloudwatch(stack, "PutMetricData", &request).await;
}

fn failure(job_id: &str, code: &str) -> String {
    let error = json!({ "code": code, "message": "It cannot be read." });
    let data = json!({ "jobId": job_id, "error": error });
    json!({ "type": "job.failed", "timestamp": "2026-11-20T16:04:05.006Z", "data": data }).to_string()
}

/// The job of one document is done, but no callback comes, so the state machine probes the job. Meanwhile another document's
/// only callback is badly signed.
#[tokio::test]
async fn badly_signed_callback_and_jobs_without_any_callback_set_their_alarms_off() {
    let case = Case::begin();
    case.stack.age_metrics(DAY_S).await;
    let mut subscriber = Subscriber::subscribe(&case.stack).await;
    let silent = JobFault::NoCallback { status: ReportedStatus::Succeeded };
    let overdue = case.upload_with_lasting("overdue.txt", text(), silent).await;
    let (_, document) = case.upload_that_waits("forged.txt").await;
    let forged = Delivery::signed(FOREIGN_SECRET, failure("job_1", "forged"));
    let answer = case.stack.call_back(document.callback_id.expose(), &forged).await;
    assert_eq!(answer, StatusCode::UNAUTHORIZED);
    subscriber.goes_off("CallbackBadSignatureAlarm").await;
    subscriber.goes_off("CallbacksMissingAlarm").await;
    case.stack.ready(&overdue).await;
    subscriber.unsubscribe().await;
}

#[tokio::test]
async fn contradiction_sets_its_alarm_off_and_another_jobs_result_does_not() {
    let case = Case::begin();
    case.stack.age_metrics(DAY_S).await;
    let mut subscriber = Subscriber::subscribe(&case.stack).await;
    let began = now_ms();
    let (upload, document) = case.upload_that_waits("waits.txt").await;
    let (id, secret) = (document.callback_id.expose(), case.stack.shared_secrets().signing_secret);
    let own = document.job_id.as_deref().unwrap();
    for (job_id, code) in [(own, "unreadable"), ("job_2", "truncated"), (own, "truncated")] {
        let delivery = Delivery::signed(&secret, failure(job_id, code));
        assert_eq!(case.stack.call_back(id, &delivery).await, StatusCode::OK);
    }
    case.stack.not_accepted(&upload, "unreadable").await;
    subscriber.goes_off("CallbackContradictoryAlarm").await;
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
    subscriber.unsubscribe().await;
}

#[tokio::test]
async fn a08_upload_to_an_erased_submission_sets_its_alarm_off() {
    let case = Case::begin();
    case.stack.age_metrics(DAY_S).await;
    let rejected = case.upload("empty.txt", Vec::new()).await;
    case.stack.rejected(&rejected, "empty").await;
    let erased = case.stack.lectern(&["erase", case.submission.as_str(), "--yes"]).await;
    assert_eq!(erased.exit, lectern_cli::Exit::Done, "{}{}", erased.out, erased.err);
    let mut subscriber = Subscriber::subscribe(&case.stack).await;
    case.upload("new.txt", text()).await;
    subscriber.goes_off("UploadsToErasedAlarm").await;
    subscriber.unsubscribe().await;
}

/// One document that the third party does not accept sets off nothing.
#[tokio::test]
async fn many_failed_documents_set_their_alarm_off() {
    const THRESHOLD: usize = 25;
    let case = Case::begin();
    case.stack.age_metrics(DAY_S).await;
    let mut subscriber = Subscriber::subscribe(&case.stack).await;
    for number in 0..=THRESHOLD {
        let fault =
            JobFault::JobFails { code: "encrypted".to_owned(), message: "It is encrypted.".to_owned() };
        case.upload_with(&format!("{number}.txt"), text(), [fault.into()]).await;
    }
    subscriber.goes_off("DocumentsFailedAlarm").await;
    assert_eq!(case.settled(THRESHOLD + 1).await.0.counts.failed, THRESHOLD as u64 + 1);
    subscriber.unsubscribe().await;
}

/// Refused credentials also open the circuit breaker.
#[tokio::test]
async fn refused_credentials_set_their_alarm_and_the_breakers_off() {
    let case = Case::begin();
    case.stack.age_metrics(DAY_S).await;
    let mut subscriber = Subscriber::subscribe(&case.stack).await;
    let began = now_ms();
    let (bytes, refusal) = (text(), SubmissionFault::Unauthorized { status: 401 });
    let rule = case.stack.add_fault(&for_content(&bytes, refusal)).await;
    let upload = case.upload("refused.txt", bytes).await;
    subscriber.goes_off("ThirdPartyUnauthorizedAlarm").await;
    eventually("the breaker is open", LATER, async || {
        let lines = case.stack.metric_lines("AdmitDocument", began).await;
        if lines.iter().any(|line| line["BreakerOpen"] == 1) { Ok(()) } else { Err(format!("{lines:?}")) }
    })
    .await;
    // The minute in which the breaker opened does not count, so it passes first.
    case.stack.age_metrics(DAY_S).await;
    subscriber.goes_off("BreakerOpenAlarm").await;
    case.stack.remove_fault(rule).await;
    case.stack.ready(&upload).await;
    subscriber.unsubscribe().await;
}

/// Attempts that are never released hold all leases, and the stall began an hour ago.
#[tokio::test]
async fn stall_sets_its_alarm_off_and_ends_when_leases_are_released() {
    let (stack, case) = (Stack::open(), Case::begin());
    let now_us = now_ms() * 1000;
    let lease = move |number: u32| json!({ "attempt": FIRST_ATTEMPT + number, "startsAt": now_us, "endsAt": now_us + HOUR_US });
    stack
        .change_admission_state(move |state| {
            state["stalledSince"] = json!(now_us - HOUR_US);
            state["leases"].as_array_mut().unwrap().extend((0..LEASES).map(lease));
        })
        .await;
    let submission = case.submission.to_string();
    let body = async move {
        case.stack.age_metrics(DAY_S).await;
        let mut subscriber = Subscriber::subscribe(&case.stack).await;
        let upload = case.upload("waits.txt", text()).await;
        subscriber.goes_off("AdmissionStalledAlarm").await;
        subscriber.unsubscribe().await;
        let document = case.stack.load(&upload).await.unwrap();
        assert_eq!(document.state, DocumentState::Received, "the document has no permit yet");
    };
    let release = stack.change_admission_state(move |state| {
        let leases = state["leases"].as_array_mut().unwrap();
        leases.retain(|lease| lease["attempt"].as_u64().unwrap() < FIRST_ATTEMPT.into());
    });
    then(body, release).await;
    // The next order makes admit-document grant permits to all of them.
    let case = Case::begin_as(&submission);
    case.upload("moves.txt", text()).await;
    assert_eq!(case.settled(2).await.0.counts.ready, 2);
}

/// As after a rollback: newer code has sent a message to normalize-document and an order to admit-document.
#[tokio::test]
async fn a07_newer_messages_wait_and_set_their_alarm_off() {
    let (stack, case) = (Stack::open(), Case::begin());
    stack.age_metrics(DAY_S).await;
    let mut subscriber = Subscriber::subscribe(&stack).await;
    let began = now_ms();
    let id = Uuid::new_v4();
    let newer = json!({ "schemaVersion": SCHEMA_VERSION + 1, "submissionId": "s1", "documentId": id, "taskToken": "t" });
    let queues = &stack.is.queue_urls;
    stack.send(&queues.normalize_document, &newer.to_string()).await;
    let order = stack.sqs.send_message().queue_url(&queues.admit_document).message_body(newer.to_string());
    order.message_group_id("admission").send().await.unwrap();
    subscriber.goes_off("NewerInputsAlarm").await;
    subscriber.unsubscribe().await;
    let upload = case.upload("not-held-up.txt", text()).await;
    case.stack.ready(&upload).await;
    for (function, waits) in [("AdmitDocument", true), ("NormalizeDocument", false)] {
        eventually(&format!("{function} has met the newer message"), SOON, async || {
            let lines = stack.metric_lines(function, began).await;
            let met = lines.iter().any(|line| line["NewerInputs"] == 1);
            if met { Ok(()) } else { Err(format!("{} lines", lines.len())) }
        })
        .await;
        let url = if waits { &queues.admit_document } else { &queues.normalize_document };
        eventually(&format!("{function}: {waits}"), SOON, async || {
            let hidden = QueueAttributeName::ApproximateNumberOfMessagesNotVisible;
            let asked = stack.sqs.get_queue_attributes().queue_url(url).attribute_names(hidden.clone());
            let answer = asked.send().await.map_err(|error| format!("{error:?}"))?;
            let hidden = answer.attributes.unwrap_or_default().remove(&hidden).unwrap_or_default();
            if (hidden == "1") == waits { Ok(()) } else { Err(hidden) }
        })
        .await;
    }
    // The order would wait for four days.
    stack.sqs.purge_queue().queue_url(&queues.admit_document).send().await.unwrap();
}

impl Stack {
    /// Changes the stored admission state, and repeats that if another writer changed it meanwhile.
    async fn change_admission_state(&self, change: impl Fn(&mut Value)) {
        eventually("the admission state is changed", SOON, async || {
            let (state, revision) = self.store.admission_state().await.map_err(|error| error.to_string())?;
            let mut state = serde_json::to_value(state).unwrap();
            change(&mut state);
            let state: AdmissionState = serde_json::from_value(state).unwrap();
            let written = self.store.commit(&state, revision, QueueChanges::default()).await;
            written.map_err(|error| error.to_string())
        })
        .await;
    }
}
