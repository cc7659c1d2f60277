//! Erasing jobs.

use std::time::Duration;

use http::StatusCode;
use reqwest::Response;
use third_party::JobFault;

use crate::support::{Harness, KEY, NOTES, eventually, job_id, problem};

impl Harness {
    async fn erase(&self, key: &str) -> Response {
        let url = format!("{}/v1/jobs?idempotencyKey={key}", self.server.url());
        self.client.delete(url).bearer_auth(crate::support::API_KEY).send().await.unwrap()
    }

    fn result_files(&self) -> usize {
        let runs = std::fs::read_dir(self.folder()).unwrap();
        runs.flat_map(|run| std::fs::read_dir(run.unwrap().path().join("files")).unwrap()).count()
    }
}

#[tokio::test]
async fn a08_erased_job_is_unknown_and_its_files_are_gone() {
    let harness = Harness::start().await;
    let result = harness.notes_result().await;
    assert!(harness.result_files() > 0);
    assert_eq!(harness.erase(KEY).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(harness.result_files(), 0);
    assert_eq!(harness.incoming_files(), 0);
    assert_eq!(harness.job(), None);
    for file in &result.files {
        assert_eq!(harness.download(file).await.status(), StatusCode::NOT_FOUND);
    }
    for path in [format!("/v1/jobs?idempotencyKey={KEY}"), format!("/v1/jobs/{}", result.job_id)] {
        let (status, code, _) = problem(harness.get(&path).await).await;
        assert_eq!((status, code.as_str()), (404, "notFound"));
    }
    let (status, code, _) = problem(harness.erase(KEY).await).await;
    assert_eq!((status, code.as_str()), (404, "notFound"), "a second request finds nothing");
}

#[tokio::test]
async fn a08_only_the_job_of_the_key_is_erased() {
    let harness = Harness::start().await;
    let other = job_id(harness.push_notes_as("another-1").await).await;
    harness.push_notes().await;
    harness.receiver.wait_for(2).await;
    harness.erase(KEY).await;
    assert_eq!(harness.get(&format!("/v1/jobs/{other}")).await.status(), StatusCode::OK);
    assert!(harness.result_files() > 0);
}

#[tokio::test]
async fn a08_job_that_is_erased_while_it_runs_calls_nobody_back_and_leaves_no_file() {
    let harness = Harness::start_with(|config| config.delay = Duration::from_millis(300)).await;
    harness.push_notes().await;
    eventually("the results to be stored", || (harness.result_files() > 0).then_some(())).await;
    assert_eq!(harness.erase(KEY).await.status(), StatusCode::NO_CONTENT);
    // A job that was accepted later calls back later.
    harness.push_notes_as("another-1").await;
    harness.receiver.wait_for(1).await;
    let other = harness.server.jobs("another-1").remove(0).job_id;
    let deliveries = harness.receiver.deliveries();
    assert!(deliveries.iter().all(|delivery| delivery.succeeded().job_id == other), "{deliveries:?}");
    assert_eq!(harness.job(), None);
}

#[tokio::test]
async fn a08_callback_of_an_erased_job_is_not_sent_again() {
    let harness = Harness::start_with(|config| {
        config.callback_backoff = Duration::from_millis(300);
        config.callback_backoff_max = Duration::from_millis(300);
    })
    .await;
    harness.receiver.answer(&[503]);
    harness.push_notes().await;
    harness.receiver.wait_for(1).await;
    harness.erase(KEY).await;
    harness.server.add_fault(third_party::FaultRule::for_key(
        "another-1",
        JobFault::LateCallback { delay_ms: 600, status: third_party::ReportedStatus::Working },
    ));
    harness.push_notes_as("another-1").await;
    assert_eq!(harness.receiver.wait_for(2).await.len(), 2, "the refused one and that of the other job");
    let other = harness.server.jobs("another-1").remove(0).job_id;
    assert_eq!(harness.receiver.deliveries()[1].succeeded().job_id, other);
}

#[tokio::test]
async fn a08_erasure_needs_the_api_key_and_an_idempotency_key() {
    let harness = Harness::start().await;
    harness.push("text/plain", NOTES).send().await.unwrap();
    let url = format!("{}/v1/jobs", harness.server.url());
    let refused = harness.client.delete(format!("{url}?idempotencyKey={KEY}")).send().await.unwrap();
    assert_eq!(problem(refused).await.1, "unauthorized");
    let refused = harness.client.delete(&url).bearer_auth(crate::support::API_KEY).send().await.unwrap();
    assert_eq!(problem(refused).await.1, "idempotencyKeyMissing");
    assert!(harness.job().is_some());
}
