//! The trace of a submission comes back with each callback of its job.

use lectern::contract::wire::JobStatus;
use third_party::JobFault;

use crate::support::{House, KEY, NOTES, eventually};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const OTHER_TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

#[tokio::test]
async fn every_callback_carries_the_trace_of_the_submission_that_made_the_job() {
    let house = House::start().await;
    house.fault(JobFault::DoubleCallback { same_id: false });
    house.receiver.answer(&[500]);
    let push = |trace: &str| house.push("text/plain", NOTES).header("traceparent", trace).send();
    assert_eq!(push(TRACE).await.unwrap().status(), 201);
    assert_eq!(push(OTHER_TRACE).await.unwrap().status(), 200);
    assert_eq!(house.push_notes().await.status(), 200);
    let deliveries = house.receiver.wait_for(3).await;
    assert!(deliveries.iter().all(|delivery| delivery.headers["traceparent"] == TRACE));
    assert_eq!(house.job().unwrap().traceparent.as_deref(), Some(TRACE));
}

#[tokio::test]
async fn a_pull_has_a_trace_too() {
    let house = House::start().await;
    let pull = house.pull("http://127.0.0.1:1/gone", 3).header("traceparent", TRACE);
    assert_eq!(pull.send().await.unwrap().status(), 201);
    assert_eq!(house.receiver.wait_for(1).await[0].headers["traceparent"], TRACE);
}

#[tokio::test]
async fn a_missing_or_malformed_trace_is_ignored() {
    for trace in [None, Some("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), Some("x")] {
        let house = House::start().await;
        let push = house.push("text/plain", NOTES);
        let push = trace.into_iter().fold(push, |push, trace| push.header("traceparent", trace));
        assert_eq!(push.send().await.unwrap().status(), 201);
        assert_eq!(house.receiver.wait_for(1).await[0].headers.get("traceparent"), None);
        assert_eq!(house.job().unwrap().traceparent, None);
        let path = format!("/v1/jobs?idempotencyKey={KEY}");
        let ended = eventually("the status", || house.job().filter(|job| job.status == "succeeded"));
        ended.await;
        let status: JobStatus = house.get(&path).await.json().await.unwrap();
        assert!(matches!(status, JobStatus::Succeeded(_)));
    }
}
