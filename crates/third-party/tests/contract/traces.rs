//! The trace of a submission comes back with each callback of its job.

use lectern::contract::wire::JobStatus;
use third_party::JobFault;

use crate::support::{Harness, KEY, NOTES, eventually};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const OTHER_TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

#[tokio::test]
async fn every_callback_carries_the_trace_of_the_submission_that_made_the_job() {
    let harness = Harness::start().await;
    harness.fault(JobFault::DoubleCallback { same_id: false });
    harness.receiver.answer(&[500]);
    let push = |trace: &str| harness.push("text/plain", NOTES).header("traceparent", trace).send();
    assert_eq!(push(TRACE).await.unwrap().status(), 201);
    assert_eq!(push(OTHER_TRACE).await.unwrap().status(), 200);
    assert_eq!(harness.push_notes().await.status(), 200);
    let deliveries = harness.receiver.wait_for(3).await;
    assert!(deliveries.iter().all(|delivery| delivery.headers["traceparent"] == TRACE));
    assert_eq!(harness.job().unwrap().traceparent.as_deref(), Some(TRACE));
}

#[tokio::test]
async fn a_pull_has_a_trace_too() {
    let harness = Harness::start().await;
    let pull = harness.pull("http://127.0.0.1:1/gone", 3).header("traceparent", TRACE);
    assert_eq!(pull.send().await.unwrap().status(), 201);
    assert_eq!(harness.receiver.wait_for(1).await[0].headers["traceparent"], TRACE);
}

#[tokio::test]
async fn a_missing_or_malformed_trace_is_ignored() {
    for trace in [None, Some("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), Some("x")] {
        let harness = Harness::start().await;
        let push = harness.push("text/plain", NOTES);
        let push = trace.into_iter().fold(push, |push, trace| push.header("traceparent", trace));
        assert_eq!(push.send().await.unwrap().status(), 201);
        assert_eq!(harness.receiver.wait_for(1).await[0].headers.get("traceparent"), None);
        assert_eq!(harness.job().unwrap().traceparent, None);
        let path = format!("/v1/jobs?idempotencyKey={KEY}");
        let ended = eventually("the status", || harness.job().filter(|job| job.status == "succeeded"));
        ended.await;
        let status: JobStatus = harness.get(&path).await.json().await.unwrap();
        assert!(matches!(status, JobStatus::Succeeded(_)));
    }
}
