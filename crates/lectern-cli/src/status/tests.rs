//! Tests of the status report.

use aws_smithy_mocks::{MockResponse, mock};
use lectern::{
    admission::Cause,
    document::submission::{Counts, Submission},
    document::{Document, DocumentState},
};
use rstest::rstest;
use serde_json::json;
use time::{Duration, macros::datetime};

use super::{
    trouble::{Alarm, BrokenOff},
    *,
};
use crate::{
    console::Report as _,
    limiter::Breaker,
    testing::{answer, client, cloud, document},
};

const NOW: OffsetDateTime = datetime!(2026-11-20 03:12:00 UTC);

fn submission(id: &str, counts: Counts) -> Submission {
    let created_at = "2026-11-19T12:00:00.000Z".to_owned();
    Submission { counts, ..Submission::new(id.parse().unwrap(), counts.state(), created_at) }
}

fn counted(all: &[Submission]) -> Submissions {
    let mut counted = Submissions::default();
    for one in all {
        counted.add(one);
    }
    counted
}

fn shown(report: &StatusReport) -> String {
    let mut out = Vec::new();
    report.write(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn status_of_an_incident_says_what_to_do() {
    let stack = crate::stack::Stack::of("lectern-prod", &crate::testing::resources()).unwrap();
    let breaker = Breaker {
        cause: Cause::Unauthorized,
        trial_at: "2026-11-20T03:14:10.000Z".to_owned(),
        has_trial: true,
    };
    let limiter =
        Limiter { breaker: Some(breaker), waiting: 1204, leases: 12, max_leases: Some(50), slowdown: 4 };
    let depth = |visible, hidden| crate::dlq::queue::Depth { visible, hidden };
    let queues = stack.dead_letter_queues.iter().map(|queue| QueueRow::new(queue, depth(3, 10), depth(2, 1)));
    let looked_at = counted(&[
        submission("spring-1", Counts { ready: 5, failed: 2, ..Counts::default() }),
        submission("spring-2", Counts { ready: 1, rejected: 1, ..Counts::default() }),
    ]);
    let mut in_progress = counted(&[submission("spring-3", Counts { open: 1204, ..Counts::default() })]);
    in_progress.at_least = true;
    let aborted = BrokenOff {
        document: document(DocumentState::Processing).reference,
        state: "Processing",
        execution: "was aborted",
    };
    let alarm =
        |name: &str, since: Option<&str>| Alarm { alarm: name.to_owned(), since: since.map(str::to_owned) };
    let trouble = Trouble {
        alarms: vec![
            alarm("BreakerOpenAlarm", Some("2026-11-20T03:02:00.000Z")),
            alarm("ExecutionsAbortedAlarm", None),
        ],
        broken_off: vec![aborted],
        unread: Vec::new(),
    };
    let counts = [looked_at, in_progress];
    let report = StatusReport::new(&stack, limiter, queues.collect(), counts, trouble, NOW);
    insta::assert_snapshot!(shown(&report));
}

fn quiet(sfn: aws_sdk_sfn::Client, documents: &[Document]) -> Cloud {
    let depths = mock!(aws_sdk_sqs::Client::get_queue_attributes)
        .then_compute_response(|_| MockResponse::Http(answer(200, json!({ "Attributes": {} }).to_string())));
    cloud(documents, client!(aws_sdk_sqs, depths), client!(aws_sdk_s3), sfn)
}

fn no_executions() -> aws_sdk_sfn::Client {
    client!(
        aws_sdk_sfn,
        mock!(aws_sdk_sfn::Client::list_executions)
            .then_http_response(|| answer(200, r#"{"executions":[]}"#))
    )
}

async fn shown_of(cloud: &Cloud) -> (String, serde_json::Value) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let report = status(cloud, NOW, &Console::new(&mut out, &mut err, false)).await.unwrap();
    (shown(&report), serde_json::to_value(&report).unwrap())
}

#[tokio::test]
async fn status_without_trouble_reads_by_keys_and_the_index_and_says_nothing_is_to_do() {
    let (text, json) = shown_of(&quiet(no_executions(), &[])).await;
    for expected in [
        "The circuit breaker is closed: documents are submitted as the limits allow.",
        "0 documents wait for a permit; 0 of 2 leases are held.",
        "0 submissions need attention: ",
        "No alarm is on, and no execution ended before its document.",
        "Do     Nothing.",
    ] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    assert_eq!((&json["alarms"], &json["brokenOff"]), (&json!([]), &json!([])));
    assert_eq!(json["queues"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&json["queues"][0]["queue"], &json["queues"][0]["deadLetters"]),
        (&json!("AdmitDocument"), &json!(0))
    );
}

#[tokio::test]
async fn alarm_that_is_on_is_named_by_its_heading_in_the_guide_and_another_stacks_is_not() {
    let alarm = |name: &str| {
        let on = aws_sdk_cloudwatch::types::MetricAlarm::builder().alarm_name(name);
        let at = aws_sdk_cloudwatch::primitives::DateTime::from_secs(
            (NOW - Duration::minutes(10)).unix_timestamp(),
        );
        on.state_transitioned_timestamp(at).build()
    };
    let on = [alarm("s-BreakerOpenAlarm-1A"), alarm("s-2-BreakerOpenAlarm-3C")];
    let describe = mock!(aws_sdk_cloudwatch::Client::describe_alarms)
        .match_requests(|request| {
            request.alarm_name_prefix() == Some("s-")
                && request.state_value() == Some(&aws_sdk_cloudwatch::types::StateValue::Alarm)
        })
        .then_output(move || {
            let alarms = Some(on.to_vec());
            aws_sdk_cloudwatch::operation::describe_alarms::DescribeAlarmsOutput::builder()
                .set_metric_alarms(alarms)
                .build()
        });
    let cloudwatch = client!(aws_sdk_cloudwatch, describe);
    let (text, json) = shown_of(&Cloud { cloudwatch, ..quiet(no_executions(), &[]) }).await;
    assert!(text.contains("1 alarm on: BreakerOpenAlarm for 10 min 0 s."), "{text}");
    assert!(text.contains("Do     docs/operating.md, BreakerOpenAlarm    the alarm is on"), "{text}");
    let since = json!([{ "alarm": "BreakerOpenAlarm", "since": "2026-11-20T03:02:00.000Z" }]);
    assert_eq!(json["alarms"], since);
}

#[rstest]
#[case::open(DocumentState::Processing, "ABORTED", false, Some("its execution was aborted"))]
#[case::timed_out(DocumentState::Received, "TIMED_OUT", false, Some("its execution timed out"))]
#[case::not_ended(DocumentState::Transferring, "FAILED", false, Some("its execution failed"))]
#[case::goes_on(DocumentState::Processing, "RUNNING", false, None)]
#[case::ended(DocumentState::Failed, "ABORTED", false, None)]
#[case::superseded(DocumentState::Processing, "ABORTED", true, None)]
#[tokio::test]
async fn execution_that_broke_off_is_to_be_redriven_if_its_document_is_open_and_none_runs(
    #[case] state: DocumentState,
    #[case] newest: &'static str,
    #[case] superseded: bool,
    #[case] expected: Option<&str>,
) {
    let mut document = document(state);
    document.redrives = 1;
    document.superseded_by = superseded.then_some(document.reference.document_id);
    let id = document.reference.document_id.to_string();
    let name = id.clone();
    let list = mock!(aws_sdk_sfn::Client::list_executions).then_compute_response(move |request| {
        assert_eq!(request.max_results(), Some(100), "the list is bounded");
        let filter = request.status_filter().unwrap().as_str().to_owned();
        let first = json!({
            "executionArn": "a", "stateMachineArn": "m", "name": name, "status": filter, "startDate": 1
        });
        let mut all = vec![first.clone()];
        // An execution that belongs to no document.
        all.push(json!({ "name": "by hand", "executionArn": "a", "stateMachineArn": "m", "status": filter, "startDate": 1 }));
        MockResponse::Http(answer(200, json!({ "executions": all }).to_string()))
    });
    let last = format!("{id}-redrive-1");
    let describe = mock!(aws_sdk_sfn::Client::describe_execution).then_compute_response(move |request| {
        let is_last = request.execution_arn().unwrap().ends_with(&last);
        let status = if is_last { newest } else { "ABORTED" };
        let body = json!({
            "executionArn": "a", "stateMachineArn": "m", "status": status, "startDate": 1,
            "input": r#"{"submissionId":"s1"}"#,
        });
        MockResponse::Http(answer(200, body.to_string()))
    });
    let (text, json) = shown_of(&quiet(client!(aws_sdk_sfn, list, describe), &[document])).await;
    let Some(how) = expected else {
        assert!(text.contains("Do     Nothing."), "{text}");
        return;
    };
    assert!(text.contains(&format!("Do     lectern redrive s1/{id}    {how}")), "{text}");
    assert_eq!(json["brokenOff"][0]["documentId"], id);
    assert_eq!(json["brokenOff"].as_array().unwrap().len(), 1, "once");
}

#[tokio::test]
async fn status_reports_what_could_not_be_read_and_does_not_say_nothing_is_to_do() {
    let denied = mock!(aws_sdk_sfn::Client::list_executions)
        .then_http_response(|| crate::testing::json_error("AccessDeniedException"));
    let (text, json) = shown_of(&quiet(client!(aws_sdk_sfn, denied), &[])).await;
    assert!(text.contains("Do     The executions could not be read: AWS answered ListExecutions"), "{text}");
    assert!(text.contains("AWS_PROFILE") && !text.contains("Nothing."), "{text}");
    assert_eq!(json["unread"].as_array().unwrap().len(), 1);
}
