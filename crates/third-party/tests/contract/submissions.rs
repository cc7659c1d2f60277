//! Submissions: push, pull, idempotency, and their faults.

use std::time::Duration;

use axum::{Router, routing::get};
use http::StatusCode;
use lectern::contract::wire::JobStatus;
use serde_json::json;
use third_party::{FaultRule, JobFault, Matcher, RetryAfter, SubmissionFault};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::Instant,
};

use crate::support::{ADMIN_KEY, API_KEY, Harness, KEY, NOTES, eventually, hex_sha256, job_id, problem};

#[tokio::test]
async fn a_pushed_document_becomes_a_job_that_knows_its_bytes() {
    let harness = Harness::start().await;
    let response = harness.push_notes().await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let id = job_id(response).await;
    let delivery = harness.receiver.wait_for(1).await.remove(0);
    assert_eq!(delivery.succeeded().job_id, id);
    let job = harness.job().unwrap();
    assert_eq!(job.sha256, Some(hex_sha256(NOTES)));
    assert_eq!(job.bytes_received, NOTES.len() as u64);
    assert_eq!(job.submissions, 1);
}

#[tokio::test]
async fn a_document_of_many_chunks_arrives_whole_and_leaves_no_file_behind() {
    let harness = Harness::start().await;
    let large = vec![b'x'; 33 * 1024 * 1024];
    assert_eq!(harness.push("text/plain", large.clone()).send().await.unwrap().status(), StatusCode::CREATED);
    assert_eq!(harness.receiver.wait_for(1).await[0].failed_code(), "tooLarge");
    let job = harness.job().unwrap();
    assert_eq!((job.sha256, job.bytes_received), (Some(hex_sha256(&large)), large.len() as u64));
    eventually("the document's file to go", || (harness.incoming_files() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_pulled_document_is_fetched_and_processed() {
    let harness = Harness::start().await;
    let port = source(NOTES).await;
    // Only the .localhost rule can resolve this name.
    let url = format!("http://uploads.s3.localhost:{port}/lesson?signature=x");
    let response = harness.pull(&url, NOTES.len() as u64).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    let succeeded = harness.receiver.wait_for(1).await[0].succeeded();
    assert_eq!(succeeded.job_id, job_id(response).await);
    assert_eq!(harness.job().unwrap().sha256, Some(hex_sha256(NOTES)));
}

#[tokio::test]
async fn a_pull_of_another_size_fails_its_job() {
    let harness = Harness::start().await;
    let port = source(NOTES).await;
    let url = format!("http://127.0.0.1:{port}/lesson");
    assert_eq!(harness.pull(&url, 7).send().await.unwrap().status(), StatusCode::CREATED);
    assert_eq!(harness.receiver.wait_for(1).await[0].failed_code(), "sourceUnreadable");
}

async fn source(bytes: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = Router::new().route("/lesson", get(move || async move { bytes }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

#[tokio::test]
async fn the_same_key_gets_the_same_job() {
    let harness = Harness::start().await;
    let first = job_id(harness.push_notes().await).await;
    let again = harness.push_notes().await;
    assert_eq!(again.status(), StatusCode::OK);
    assert_eq!(job_id(again).await, first);
    let pulled = harness.pull("http://127.0.0.1:1/gone", 3).send().await.unwrap();
    assert_eq!(pulled.status(), StatusCode::OK);
    assert_eq!(job_id(pulled).await, first);
    assert_eq!(harness.job().unwrap().submissions, 3);
}

#[tokio::test]
async fn two_submissions_at_once_make_one_job() {
    let harness = Harness::start().await;
    harness.fault(SubmissionFault::SlowUpload { bytes_per_second: Some(200), pause_ms: None });
    let (one, two) = tokio::join!(harness.push_notes(), harness.push_notes());
    let mut statuses = [one.status().as_u16(), two.status().as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 201]);
    assert_eq!(job_id(one).await, job_id(two).await);
}

#[tokio::test]
async fn case_27_a_lost_answer_leaves_the_job_for_the_next_submission() {
    let harness = Harness::start().await;
    harness.fault_once(SubmissionFault::LoseAnswer);
    assert!(harness.push("text/plain", NOTES).send().await.is_err());
    let created = harness.job().unwrap();
    let again = harness.push_notes().await;
    assert_eq!(again.status(), StatusCode::OK);
    assert_eq!(job_id(again).await, created.job_id);
    let status: JobStatus =
        harness.get(&format!("/v1/jobs?idempotencyKey={KEY}")).await.json().await.unwrap();
    let (JobStatus::Working { job_id }
    | JobStatus::Succeeded(lectern::contract::wire::JobSucceeded { job_id, .. })) = status
    else {
        panic!("the job failed")
    };
    assert_eq!(job_id, created.job_id);
}

#[tokio::test]
async fn case_26_a_reset_during_the_upload_leaves_no_job() {
    let harness = Harness::start().await;
    harness.fault_once(SubmissionFault::ResetUpload { after_bytes: 1_000_000 });
    let large = vec![b'x'; 8 * 1024 * 1024];
    assert!(harness.push("text/plain", large.clone()).send().await.is_err());
    assert_eq!(harness.job(), None);
    assert_eq!(harness.incoming_files(), 0);
    let submissions = harness.server.requests(KEY).submissions;
    assert!((1_000_000..large.len() as u64).contains(&submissions[0].bytes_received));
    assert_eq!(submissions[0].status, None);
    assert_eq!(harness.push("text/plain", large).send().await.unwrap().status(), StatusCode::CREATED);
}

#[tokio::test]
async fn a_body_that_ends_early_leaves_no_job() {
    let harness = Harness::start().await;
    let mut stream = TcpStream::connect(harness.server.address()).await.unwrap();
    let head = harness.push_head("content-length: 100");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(b"only this").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    // The client may also see a reset.
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 2"));
    eventually("the half document to go", || (harness.incoming_files() == 0).then_some(())).await;
    assert_eq!(harness.job(), None);
    assert_eq!(harness.push_notes().await.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn a_body_without_content_length_is_refused() {
    let harness = Harness::start().await;
    let mut stream = TcpStream::connect(harness.server.address()).await.unwrap();
    let request = format!("{}4\r\nbody\r\n0\r\n\r\n", harness.push_head("transfer-encoding: chunked"));
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 411 "), "{answer}");
    assert!(answer.contains("lengthRequired"), "{answer}");
}

#[tokio::test]
async fn malformed_submissions_are_refused_with_a_problem() {
    let harness = Harness::start_with(|config| config.max_document_bytes = 1000).await;
    let push = |name: &'static str, value: &str| {
        let mut request = harness.push("text/plain", NOTES).build().unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
        harness.client.execute(request)
    };
    let long = format!("https://example.com/{}", "x".repeat(2048));
    for (name, value, status, code) in [
        ("authorization", "Bearer wrong", 401, "unauthorized"),
        ("authorization", "Basic key-of-lectern", 401, "unauthorized"),
        ("idempotency-key", "", 400, "idempotencyKeyInvalid"),
        ("idempotency-key", "two words", 400, "idempotencyKeyInvalid"),
        ("lectern-callback-url", "nowhere", 400, "callbackUrlInvalid"),
        ("lectern-callback-url", "ftp://example.com/", 400, "callbackUrlInvalid"),
        ("lectern-callback-url", long.as_str(), 400, "callbackUrlInvalid"),
        ("content-type", "application/zip", 415, "mediaTypeUnknown"),
    ] {
        let (found_status, found_code, _) = problem(push(name, value).await.unwrap()).await;
        assert_eq!((found_status, found_code.as_str()), (status, code), "{name}: {value}");
    }
    let empty =
        problem(harness.push("text/plain", "").header("content-length", "0").send().await.unwrap()).await;
    assert_eq!((empty.0, empty.1.as_str()), (422, "empty"));
    let (status, code, body) =
        problem(harness.push("text/plain", vec![b'x'; 1001]).send().await.unwrap()).await;
    assert_eq!((status, code.as_str(), body.get("retryIn")), (413, "tooLarge", None));
    let pull = harness.pull("file:///etc/passwd", 3).send().await.unwrap();
    assert_eq!(problem(pull).await.1, "sourceUrlInvalid");
    let zip = json!({
        "sourceUrl": "http://127.0.0.1:1/x", "mediaType": "application/zip", "sizeBytes": 3,
        "callbackUrl": "http://127.0.0.1:1/callback"
    });
    let pull = harness.pull("http://127.0.0.1:1/x", 3).body(zip.to_string()).send().await.unwrap();
    let (status, code, _) = problem(pull).await;
    assert_eq!((status, code.as_str()), (415, "mediaTypeUnknown"));
    let pull = harness.pull("http://127.0.0.1:1/x", 3).body("{}").send().await.unwrap();
    assert_eq!(problem(pull).await.1, "bodyInvalid");
    assert_eq!(harness.job(), None);
}

#[tokio::test]
async fn the_status_endpoints_require_the_key_and_answer_404_for_unknown_jobs() {
    let harness = Harness::start().await;
    for path in ["/v1/jobs/job_nobody", "/v1/jobs/%FF", "/v1/jobs?idempotencyKey=nobody"] {
        assert_eq!(problem(harness.get(path).await).await.0, 404, "{path}");
        let anonymous = harness.client.get(format!("{}{path}", harness.server.url())).send().await.unwrap();
        assert_eq!(problem(anonymous).await.0, 401, "{path}");
    }
    assert_eq!(problem(harness.get("/v1/jobs").await).await.0, 400);
    assert_eq!(problem(harness.get("/v1/nothing").await).await.0, 404);
    assert_eq!(problem(harness.get("/v1/jobs/push/x").await).await.0, 404);
}

#[tokio::test]
async fn case_25_busy_answers_say_when_to_try_again() {
    let harness = Harness::start().await;
    let limited = |retry_after| SubmissionFault::RateLimited { retry_after };
    harness.fault_once(limited(Some(RetryAfter::Seconds(3))));
    harness.fault_once(limited(Some(RetryAfter::Date { date_in_s: 60 })));
    harness.fault_once(limited(Some(RetryAfter::Text("soon".to_owned()))));
    harness.fault_once(limited(None));
    harness.fault_once(SubmissionFault::NoRoom { retry_in: 7 });

    let seconds = harness.push_notes().await;
    assert_eq!((seconds.status().as_u16(), &seconds.headers()["retry-after"]), (429, &"3".parse().unwrap()));
    let date = harness.push_notes().await;
    let date = date.headers()["retry-after"].to_str().unwrap().to_owned();
    assert!(date.ends_with(" GMT") && date.len() == 29, "{date}");
    assert_eq!(harness.push_notes().await.headers()["retry-after"], "soon");
    let silent = harness.push_notes().await;
    assert_eq!((silent.status().as_u16(), silent.headers().get("retry-after")), (429, None));
    let (status, code, body) = problem(harness.push_notes().await).await;
    assert_eq!((status, code.as_str(), &body["retryIn"]), (413, "noRoom", &json!(7)));

    assert_eq!(harness.push_notes().await.status(), StatusCode::CREATED);
    assert!(harness.server.faults().is_empty(), "each rule is used up");
    let statuses: Vec<_> = harness.server.requests(KEY).submissions.iter().map(|note| note.status).collect();
    assert_eq!(statuses, [Some(429), Some(429), Some(429), Some(429), Some(413), Some(201)]);
}

#[tokio::test]
async fn refusals_have_the_status_of_the_fault() {
    let harness = Harness::start().await;
    harness.fault_once(SubmissionFault::ServerError { status: 503 });
    harness.fault_once(SubmissionFault::Unauthorized { status: 401 });
    harness.fault_once(SubmissionFault::Unauthorized { status: 403 });
    let rejected =
        SubmissionFault::Rejected { code: "language".to_owned(), message: "Only English.".to_owned() };
    harness.fault_once(rejected);
    assert_eq!(problem(harness.push_notes().await).await.0, 503);
    assert_eq!(problem(harness.push_notes().await).await.0, 401);
    assert_eq!(problem(harness.pull("http://127.0.0.1:1/x", 3).send().await.unwrap()).await.0, 403);
    let (status, code, body) = problem(harness.push_notes().await).await;
    assert_eq!((status, code.as_str(), &body["message"]), (422, "language", &json!("Only English.")));
    assert_eq!(harness.job(), None);
}

#[tokio::test]
async fn slow_submissions_succeed() {
    let harness = Harness::start().await;
    harness.fault_once(SubmissionFault::SlowUpload { bytes_per_second: Some(200), pause_ms: Some(50) });
    let begun = Instant::now();
    assert_eq!(harness.push_notes().await.status(), StatusCode::CREATED);
    assert!(begun.elapsed() >= Duration::from_millis(50 + 1000 * NOTES.len() as u64 / 200));
}

#[tokio::test]
async fn a_fault_can_apply_to_certain_bytes_or_to_all_documents() {
    let harness = Harness::start().await;
    let rule = |matches| FaultRule::new(matches, SubmissionFault::ServerError { status: 500 }).times(1);
    harness.server.add_fault(rule(Matcher::Sha256(hex_sha256(b"others"))));
    harness.server.add_fault(rule(Matcher::Sha256(hex_sha256(NOTES))));
    harness.server.add_fault(rule(Matcher::IdempotencyKeyPrefix("others".to_owned())));
    assert_eq!(harness.push_notes().await.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(harness.job(), None);
    harness.server.add_fault(rule(Matcher::Any(true)));
    assert_eq!(harness.push_notes().await.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(harness.push_notes().await.status(), StatusCode::CREATED);
    assert_eq!(harness.server.faults().len(), 2);
}

#[tokio::test]
async fn the_admin_endpoints_do_what_the_rust_api_does() {
    let harness = Harness::start().await;
    let url = |path: &str| format!("{}/admin/{path}", harness.server.url());
    let anonymous = harness.client.get(url("jobs")).bearer_auth(API_KEY).send().await.unwrap();
    assert_eq!(problem(anonymous).await.0, 401);

    let add = |rule: serde_json::Value| {
        harness.client.post(url("faults")).bearer_auth(ADMIN_KEY).json(&rule).send()
    };
    let rule = json!({
        "match": { "idempotencyKeyPrefix": KEY },
        "fault": { "kind": "jobFails", "code": "tired", "message": "Not today." },
        "times": null,
    });
    assert_eq!(add(rule).await.unwrap().status(), StatusCode::CREATED);
    let unknown = json!({ "match": { "any": true }, "fault": { "kind": "nothing" } });
    assert_eq!(problem(add(unknown).await.unwrap()).await.0, 400);
    let listed = harness.server.faults();
    let expected = JobFault::JobFails { code: "tired".to_owned(), message: "Not today.".to_owned() };
    assert_eq!(listed[0].rule, FaultRule::for_key(KEY, expected));

    harness.push_notes().await;
    assert_eq!(harness.receiver.wait_for(1).await[0].failed_code(), "tired");
    eventually("the callback to be noted", || harness.job().filter(|job| !job.callbacks.is_empty())).await;
    let list = |path: &str| harness.client.get(url(path)).bearer_auth(ADMIN_KEY).send();
    let jobs: serde_json::Value = list("jobs?idempotencyKeyPrefix=0f7c").await.unwrap().json().await.unwrap();
    assert_eq!(jobs, serde_json::to_value(harness.server.jobs("")).unwrap());
    assert_eq!(jobs[0]["callbacks"][0]["status"], 204);
    let none: serde_json::Value = list("jobs?idempotencyKeyPrefix=x").await.unwrap().json().await.unwrap();
    assert_eq!(none, json!([]));
    let requests: serde_json::Value = list("requests").await.unwrap().json().await.unwrap();
    let pushed = json!({ "method": "POST", "route": "/v1/jobs/push", "status": 201, "count": 1 });
    assert_eq!(requests["counts"], json!([pushed]));
    assert_eq!(requests["submissions"][0]["bytesReceived"], NOTES.len());

    let clear = harness.client.delete(url("faults")).bearer_auth(ADMIN_KEY).send().await.unwrap();
    assert_eq!(clear.status(), StatusCode::NO_CONTENT);
    assert!(harness.server.faults().is_empty());
}
