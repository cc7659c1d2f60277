//! The limits on rate and jobs in flight, and how they are set.

use std::time::Duration;

use futures_util::{StreamExt as _, future::join_all, stream::FuturesUnordered};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use third_party::{FaultRule, JobFault, Limits, ReportedStatus, SubmissionFault};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::support::{API_KEY, Harness, KEY, NOTES, eventually, problem};

/// A bucket of `burst` tokens with a rate so low that it does not refill during a test.
fn at_once(burst: u32) -> Limits {
    Limits { requests_per_second: Some(0.001), burst: Some(burst), max_in_flight: None }
}

fn in_flight(most: u32) -> Limits {
    Limits { max_in_flight: Some(most), ..Limits::default() }
}

async fn harness_with(limits: Limits, delay: Duration) -> Harness {
    Harness::start_with(|config| {
        config.limits = limits;
        config.delay = delay;
    })
    .await
}

const NEVER: Duration = Duration::from_hours(1);

#[tokio::test]
async fn every_submission_with_a_valid_key_counts_towards_the_rate() {
    let harness = harness_with(at_once(4), Duration::ZERO).await;
    let mut anonymous = harness.push("text/plain", NOTES).build().unwrap();
    anonymous.headers_mut().insert("authorization", "Bearer wrong".parse().unwrap());
    assert_eq!(problem(harness.client.execute(anonymous).await.unwrap()).await.0, 401);
    assert_eq!(harness.push_notes().await.status(), StatusCode::CREATED);
    assert_eq!(harness.push_notes().await.status(), StatusCode::OK);
    assert_eq!(harness.pull("file:///etc/passwd", 3).send().await.unwrap().status(), StatusCode::BAD_REQUEST);
    assert_eq!(harness.pull("http://127.0.0.1:1/x", 3).send().await.unwrap().status(), StatusCode::OK);
    for response in
        [harness.push_notes().await, harness.pull("http://127.0.0.1:1/x", 3).send().await.unwrap()]
    {
        let wait: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((990..=1000).contains(&wait), "{wait}");
        let (status, code, _) = problem(response).await;
        assert_eq!((status, code.as_str()), (429, "rateLimited"));
    }
    // Requests for a job's status are not limited.
    assert_eq!(harness.get(&format!("/v1/jobs?idempotencyKey={KEY}")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_rate_is_decided_on_when_the_headers_arrive() {
    let harness = harness_with(at_once(1), Duration::ZERO).await;
    assert_eq!(harness.push_notes().await.status(), StatusCode::CREATED);
    let mut upload = TcpStream::connect(harness.server.address()).await.unwrap();
    upload.write_all(harness.push_head("content-length: 9").as_bytes()).await.unwrap();
    eventually("the decision", || (harness.server.usage().refused_by_rate == 1).then_some(())).await;
    // The limit was lifted after the headers arrived, and the submission is still refused.
    harness.server.set_limits(Limits::default()).unwrap();
    upload.write_all(b"only this").await.unwrap();
    let mut answer = String::new();
    upload.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("rateLimited"), "{answer}");
}

#[tokio::test]
async fn a_refused_submission_passes_once_the_bucket_has_refilled() {
    let limits = Limits { requests_per_second: Some(20.0), burst: Some(2), max_in_flight: None };
    let harness = harness_with(limits, Duration::ZERO).await;
    let responses =
        join_all((0..4).map(async |document| harness.push_notes_as(&format!("{document}-1")).await)).await;
    let refused = responses.iter().find(|response| response.status() == StatusCode::TOO_MANY_REQUESTS);
    if let Some(refused) = refused {
        assert_eq!(refused.headers()["retry-after"], "1", "a part of a second is rounded up");
    }
    let mut tries = 0;
    while harness.push_notes().await.status() != StatusCode::CREATED {
        tries += 1;
        assert!(tries < 10_000, "the bucket never refills");
    }
    // By the server's own times, the accepted submissions fit into a bucket of two tokens.
    let usage = harness.server.usage();
    let lasted_s = usage.arrivals_ms.last().unwrap() / 1000.0;
    assert_eq!(usage.requests, usage.accepted + usage.refused_by_rate);
    assert!(f64::from(u32::try_from(usage.accepted).unwrap()) <= 2.0 + 20.0 * lasted_s);
}

#[tokio::test]
async fn concurrent_uploads_never_make_more_jobs_than_may_be_in_flight() {
    let harness = harness_with(in_flight(3), NEVER).await;
    // All uploads are in progress at the same time.
    let slow = SubmissionFault::SlowUpload { bytes_per_second: Some(500), pause_ms: None };
    harness.server.add_fault(FaultRule::for_all(slow));
    let responses =
        join_all((0..12).map(async |document| harness.push_notes_as(&format!("{document}-1")).await)).await;
    let created = responses.iter().filter(|response| response.status() == StatusCode::CREATED).count();
    assert_eq!(created, 3);
    for response in responses.into_iter().filter(|response| response.status() != StatusCode::CREATED) {
        assert_eq!(response.headers()["retry-after"], "1");
        let (status, code, _) = problem(response).await;
        assert_eq!((status, code.as_str()), (429, "tooManyJobs"));
    }
    let usage = harness.server.usage();
    assert_eq!((usage.peak_in_flight, usage.in_flight, usage.refused_by_in_flight), (3, 3, 9));
    assert_eq!(harness.server.jobs("").len(), 3);
    eventually("the jobs to be done with their bytes", || (harness.incoming_files() == 0).then_some(()))
        .await;
}

#[tokio::test]
async fn jobs_that_start_and_end_never_exceed_the_limit() {
    let harness = harness_with(in_flight(2), Duration::from_millis(3)).await;
    let submit = async |document: usize| {
        while harness.push_notes_as(&format!("{document}-1")).await.status() != StatusCode::CREATED {}
    };
    let all = (0..24).map(submit).collect::<FuturesUnordered<_>>().collect::<Vec<()>>();
    timeout(Duration::from_secs(20), all).await.unwrap();
    harness.receiver.wait_for(24).await;
    let usage = harness.server.usage();
    assert_eq!((usage.peak_in_flight, usage.in_flight, usage.accepted), (2, 0, 24));
    let mean = usage.time_weighted_in_flight.unwrap();
    assert!((1.0..=2.0).contains(&mean), "{mean}");
}

#[tokio::test]
async fn an_existing_key_makes_no_new_job() {
    let harness = harness_with(in_flight(1), NEVER).await;
    harness.fault_once(SubmissionFault::SlowUpload { bytes_per_second: Some(500), pause_ms: None });
    let (one, two) = tokio::join!(harness.push_notes(), harness.push_notes());
    let mut statuses = [one.status().as_u16(), two.status().as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 201], "two uploads of one key share its lease");
    assert_eq!(harness.push_notes().await.status(), StatusCode::OK);
    assert_eq!(harness.pull("http://127.0.0.1:1/x", 3).send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(problem(harness.push_notes_as("another-1").await).await.1, "tooManyJobs");
}

#[tokio::test]
async fn pulls_count_as_pushes_do() {
    let harness = harness_with(in_flight(1), NEVER).await;
    assert_eq!(harness.pull("http://127.0.0.1:1/x", 3).send().await.unwrap().status(), StatusCode::CREATED);
    assert_eq!(problem(harness.push_notes_as("another-1").await).await.1, "tooManyJobs");

    let harness = harness_with(in_flight(1), NEVER).await;
    assert_eq!(harness.push_notes_as("another-1").await.status(), StatusCode::CREATED);
    let pull = harness.pull("http://127.0.0.1:1/x", 3).send().await.unwrap();
    assert_eq!(problem(pull).await.1, "tooManyJobs");
    assert_eq!(harness.job(), None);
}

#[tokio::test]
async fn a_submission_without_a_job_releases_its_lease() {
    let harness = harness_with(in_flight(1), NEVER).await;
    let mut upload = TcpStream::connect(harness.server.address()).await.unwrap();
    upload.write_all(harness.push_head("content-length: 100").as_bytes()).await.unwrap();
    upload.write_all(b"only this").await.unwrap();
    eventually("the upload to begin", || (harness.incoming_files() == 1).then_some(())).await;
    assert_eq!(problem(harness.push_notes_as("another-1").await).await.1, "tooManyJobs");
    assert_eq!(harness.server.usage().in_flight, 0, "an upload is not a job yet");
    upload.shutdown().await.unwrap();
    eventually("the half document to go", || (harness.incoming_files() == 0).then_some(())).await;

    harness.fault_once(SubmissionFault::ResetUpload { after_bytes: 3 });
    harness.fault_once(SubmissionFault::Rejected { code: "no".to_owned(), message: "No.".to_owned() });
    assert!(harness.push("text/plain", NOTES).send().await.is_err());
    assert_eq!(problem(harness.push_notes().await).await.1, "no");
    assert_eq!(harness.push_notes().await.status(), StatusCode::CREATED);
    assert_eq!(problem(harness.push_notes_as("another-1").await).await.1, "tooManyJobs");
}

#[tokio::test]
async fn a_job_is_in_flight_until_its_callback_is_first_sent() {
    let harness = harness_with(in_flight(1), Duration::ZERO).await;
    // The receiver may submit the next document at once, even if it refuses the first delivery.
    harness.receiver.answer(&[500; 20]);
    for document in 1..=3 {
        assert_eq!(harness.push_notes_as(&format!("{document}-1")).await.status(), StatusCode::CREATED);
        let called = || {
            let deliveries = harness.receiver.deliveries();
            let jobs: std::collections::BTreeSet<_> =
                deliveries.iter().map(|delivery| delivery.succeeded().job_id).collect();
            (jobs.len() == document).then_some(())
        };
        eventually("a callback", called).await;
        assert_eq!(harness.server.usage().in_flight, 0);
    }

    let late = JobFault::LateCallback { delay_ms: 3_600_000, status: ReportedStatus::Succeeded };
    harness.fault_once(late);
    assert_eq!(harness.push_notes().await.status(), StatusCode::CREATED);
    eventually("the job's end", || harness.job().filter(|job| job.status == "succeeded")).await;
    assert_eq!(harness.server.usage().in_flight, 1);
    assert_eq!(problem(harness.push_notes_as("another-1").await).await.1, "tooManyJobs");
}

#[tokio::test]
async fn a_job_without_a_callback_is_in_flight_until_its_result_is_decided() {
    for status in [ReportedStatus::Working, ReportedStatus::Succeeded, ReportedStatus::Unknown] {
        let harness = harness_with(in_flight(1), Duration::ZERO).await;
        harness.fault_once(JobFault::NoCallback { status });
        assert_eq!(harness.push_notes().await.status(), StatusCode::CREATED);
        eventually("the job's end", || (harness.server.usage().in_flight == 0).then_some(())).await;
        assert_eq!(harness.push_notes_as("another-1").await.status(), StatusCode::CREATED);
    }
}

#[tokio::test]
async fn the_limits_are_set_at_run_time() {
    let harness = harness_with(at_once(1), NEVER).await;
    let get = async || -> Value {
        harness.admin(Method::GET, "limits").send().await.unwrap().json().await.unwrap()
    };
    assert_eq!(get().await, json!({ "requestsPerSecond": 0.001, "burst": 1, "maxInFlight": null }));
    assert_eq!(harness.push_notes_as("1-1").await.status(), StatusCode::CREATED);
    assert_eq!(problem(harness.push_notes_as("2-1").await).await.1, "rateLimited");

    let put = |limits: Value| harness.admin(Method::PUT, "limits").json(&limits).send();
    let other = json!({ "requestsPerSecond": null, "burst": null, "maxInFlight": 2 });
    let answered = put(other.clone()).await.unwrap();
    assert_eq!(answered.status(), StatusCode::OK);
    assert_eq!(answered.json::<Value>().await.unwrap(), other);
    assert_eq!(get().await, other);
    assert_eq!(harness.server.limits(), in_flight(2));
    assert_eq!(harness.push_notes_as("2-1").await.status(), StatusCode::CREATED);
    assert_eq!(problem(harness.push_notes_as("3-1").await).await.1, "tooManyJobs");

    for bad in [
        json!({ "burst": 8 }),
        json!({ "requestsPerSecond": 0 }),
        json!({ "requestsPerSecond": -8.0, "burst": 8 }),
        json!({ "requestsPerSecond": 8.0, "burst": 0 }),
        json!({ "maxInFlight": -1 }),
        json!({ "maxInFlights": 1 }),
        json!("fast"),
    ] {
        assert_eq!(problem(put(bad.clone()).await.unwrap()).await.1, "limitsInvalid", "{bad}");
    }
    assert_eq!(get().await, other);

    assert_eq!(put(json!({})).await.unwrap().status(), StatusCode::OK);
    assert_eq!(harness.server.limits(), Limits::default());
    assert_eq!(harness.push_notes_as("3-1").await.status(), StatusCode::CREATED);
    let url = format!("{}/admin/limits", harness.server.url());
    let anonymous = harness.client.put(url).bearer_auth(API_KEY).json(&json!({})).send().await.unwrap();
    assert_eq!(problem(anonymous).await.0, 401);
}
