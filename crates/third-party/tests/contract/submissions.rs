//! Push, pull, idempotency, and what can go wrong while a document is handed over.

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

use crate::support::{ADMIN_KEY, API_KEY, House, KEY, NOTES, eventually, hex_sha256, job_id, problem};

#[tokio::test]
async fn a_pushed_document_becomes_a_job_that_knows_its_bytes() {
    let house = House::start().await;
    let response = house.push_notes().await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let id = job_id(response).await;
    let delivery = house.receiver.wait_for(1).await.remove(0);
    assert_eq!(delivery.succeeded().job_id, id);
    let job = house.job().unwrap();
    assert_eq!(job.sha256, Some(hex_sha256(NOTES)));
    assert_eq!(job.bytes_received, NOTES.len() as u64);
    assert_eq!(job.submissions, 1);
}

#[tokio::test]
async fn a_document_of_many_chunks_arrives_whole_and_leaves_no_file_behind() {
    let house = House::start().await;
    let large = vec![b'x'; 33 * 1024 * 1024];
    assert_eq!(house.push("text/plain", large.clone()).send().await.unwrap().status(), StatusCode::CREATED);
    assert_eq!(house.receiver.wait_for(1).await[0].failed_code(), "tooLarge");
    let job = house.job().unwrap();
    assert_eq!((job.sha256, job.bytes_received), (Some(hex_sha256(&large)), large.len() as u64));
    eventually("the document's file to go", || (house.incoming_files() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_pulled_document_is_fetched_and_processed() {
    let house = House::start().await;
    let port = source(NOTES).await;
    // The name is one that only the .localhost rule can resolve.
    let url = format!("http://uploads.s3.localhost:{port}/lesson?signature=x");
    let response = house.pull(&url, NOTES.len() as u64).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    let succeeded = house.receiver.wait_for(1).await[0].succeeded();
    assert_eq!(succeeded.job_id, job_id(response).await);
    assert_eq!(house.job().unwrap().sha256, Some(hex_sha256(NOTES)));
}

#[tokio::test]
async fn a_pull_of_another_size_fails_its_job() {
    let house = House::start().await;
    let port = source(NOTES).await;
    let url = format!("http://127.0.0.1:{port}/lesson");
    assert_eq!(house.pull(&url, 7).send().await.unwrap().status(), StatusCode::CREATED);
    assert_eq!(house.receiver.wait_for(1).await[0].failed_code(), "sourceUnreadable");
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
    let house = House::start().await;
    let first = job_id(house.push_notes().await).await;
    let again = house.push_notes().await;
    assert_eq!(again.status(), StatusCode::OK);
    assert_eq!(job_id(again).await, first);
    let pulled = house.pull("http://127.0.0.1:1/gone", 3).send().await.unwrap();
    assert_eq!(pulled.status(), StatusCode::OK);
    assert_eq!(job_id(pulled).await, first);
    assert_eq!(house.job().unwrap().submissions, 3);
}

#[tokio::test]
async fn two_submissions_at_once_make_one_job() {
    let house = House::start().await;
    house.fault(SubmissionFault::SlowUpload { bytes_per_second: Some(200), pause_ms: None });
    let (one, two) = tokio::join!(house.push_notes(), house.push_notes());
    let mut statuses = [one.status().as_u16(), two.status().as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 201]);
    assert_eq!(job_id(one).await, job_id(two).await);
}

#[tokio::test]
async fn case_27_a_lost_answer_leaves_the_job_for_the_next_submission() {
    let house = House::start().await;
    house.fault_once(SubmissionFault::LoseAnswer);
    assert!(house.push("text/plain", NOTES).send().await.is_err());
    let created = house.job().unwrap();
    let again = house.push_notes().await;
    assert_eq!(again.status(), StatusCode::OK);
    assert_eq!(job_id(again).await, created.job_id);
    let status: JobStatus = house.get(&format!("/v1/jobs?idempotencyKey={KEY}")).await.json().await.unwrap();
    let (JobStatus::Working { job_id }
    | JobStatus::Succeeded(lectern::contract::wire::JobSucceeded { job_id, .. })) = status
    else {
        panic!("the job failed")
    };
    assert_eq!(job_id, created.job_id);
}

#[tokio::test]
async fn case_26_a_reset_in_mid_upload_leaves_no_half_job() {
    let house = House::start().await;
    house.fault_once(SubmissionFault::ResetUpload { after_bytes: 1_000_000 });
    let large = vec![b'x'; 8 * 1024 * 1024];
    assert!(house.push("text/plain", large.clone()).send().await.is_err());
    assert_eq!(house.job(), None);
    assert_eq!(house.incoming_files(), 0);
    let submissions = house.server.requests(KEY).submissions;
    assert!((1_000_000..large.len() as u64).contains(&submissions[0].bytes_received));
    assert_eq!(submissions[0].status, None);
    assert_eq!(house.push("text/plain", large).send().await.unwrap().status(), StatusCode::CREATED);
}

#[tokio::test]
async fn a_body_that_ends_early_leaves_no_half_job() {
    let house = House::start().await;
    let mut stream = TcpStream::connect(house.server.address()).await.unwrap();
    let head = house.push_head("content-length: 100");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(b"only this").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    // A reset is an answer too.
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 2"));
    eventually("the half document to go", || (house.incoming_files() == 0).then_some(())).await;
    assert_eq!(house.job(), None);
    assert_eq!(house.push_notes().await.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn a_body_without_content_length_is_refused() {
    let house = House::start().await;
    let mut stream = TcpStream::connect(house.server.address()).await.unwrap();
    let request = format!("{}4\r\nbody\r\n0\r\n\r\n", house.push_head("transfer-encoding: chunked"));
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 411 "), "{answer}");
    assert!(answer.contains("lengthRequired"), "{answer}");
}

#[tokio::test]
async fn malformed_submissions_are_refused_with_a_problem() {
    let house = House::start_with(|config| config.max_document_bytes = 1000).await;
    let push = |name: &'static str, value: &str| {
        let mut request = house.push("text/plain", NOTES).build().unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
        house.client.execute(request)
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
        problem(house.push("text/plain", "").header("content-length", "0").send().await.unwrap()).await;
    assert_eq!((empty.0, empty.1.as_str()), (422, "empty"));
    let (status, code, body) =
        problem(house.push("text/plain", vec![b'x'; 1001]).send().await.unwrap()).await;
    assert_eq!((status, code.as_str(), body.get("retryIn")), (413, "tooLarge", None));
    let pull = house.pull("file:///etc/passwd", 3).send().await.unwrap();
    assert_eq!(problem(pull).await.1, "sourceUrlInvalid");
    let pull = house.pull("http://127.0.0.1:1/x", 3).body("{}").send().await.unwrap();
    assert_eq!(problem(pull).await.1, "bodyInvalid");
    assert_eq!(house.job(), None);
}

#[tokio::test]
async fn the_status_endpoints_want_the_key_and_know_what_they_do_not_know() {
    let house = House::start().await;
    for path in ["/v1/jobs/job_nobody", "/v1/jobs/%FF", "/v1/jobs?idempotencyKey=nobody"] {
        assert_eq!(problem(house.get(path).await).await.0, 404, "{path}");
        let anonymous = house.client.get(format!("{}{path}", house.server.url())).send().await.unwrap();
        assert_eq!(problem(anonymous).await.0, 401, "{path}");
    }
    assert_eq!(problem(house.get("/v1/jobs").await).await.0, 400);
    assert_eq!(problem(house.get("/v1/nothing").await).await.0, 404);
    assert_eq!(problem(house.get("/v1/jobs/push/x").await).await.0, 404);
}

#[tokio::test]
async fn case_25_busy_answers_say_when_to_come_back() {
    let house = House::start().await;
    let limited = |retry_after| SubmissionFault::RateLimited { retry_after };
    house.fault_once(limited(Some(RetryAfter::Seconds(3))));
    house.fault_once(limited(Some(RetryAfter::Date { date_in_s: 60 })));
    house.fault_once(limited(Some(RetryAfter::Text("soon".to_owned()))));
    house.fault_once(limited(None));
    house.fault_once(SubmissionFault::NoRoom { retry_in: 7 });

    let seconds = house.push_notes().await;
    assert_eq!((seconds.status().as_u16(), &seconds.headers()["retry-after"]), (429, &"3".parse().unwrap()));
    let date = house.push_notes().await;
    let date = date.headers()["retry-after"].to_str().unwrap().to_owned();
    assert!(date.ends_with(" GMT") && date.len() == 29, "{date}");
    assert_eq!(house.push_notes().await.headers()["retry-after"], "soon");
    let silent = house.push_notes().await;
    assert_eq!((silent.status().as_u16(), silent.headers().get("retry-after")), (429, None));
    let (status, code, body) = problem(house.push_notes().await).await;
    assert_eq!((status, code.as_str(), &body["retryIn"]), (413, "noRoom", &json!(7)));

    assert_eq!(house.push_notes().await.status(), StatusCode::CREATED);
    assert!(house.server.faults().is_empty(), "each was used up");
    let statuses: Vec<_> = house.server.requests(KEY).submissions.iter().map(|note| note.status).collect();
    assert_eq!(statuses, [Some(429), Some(429), Some(429), Some(429), Some(413), Some(201)]);
}

#[tokio::test]
async fn refusals_come_with_the_status_that_was_asked_for() {
    let house = House::start().await;
    house.fault_once(SubmissionFault::ServerError { status: 503 });
    house.fault_once(SubmissionFault::Unauthorized { status: 401 });
    house.fault_once(SubmissionFault::Unauthorized { status: 403 });
    let rejected =
        SubmissionFault::Rejected { code: "language".to_owned(), message: "Only English.".to_owned() };
    house.fault_once(rejected);
    assert_eq!(problem(house.push_notes().await).await.0, 503);
    assert_eq!(problem(house.push_notes().await).await.0, 401);
    assert_eq!(problem(house.pull("http://127.0.0.1:1/x", 3).send().await.unwrap()).await.0, 403);
    let (status, code, body) = problem(house.push_notes().await).await;
    assert_eq!((status, code.as_str(), &body["message"]), (422, "language", &json!("Only English.")));
    assert_eq!(house.job(), None);
}

#[tokio::test]
async fn slow_submissions_take_their_time_and_succeed() {
    let house = House::start().await;
    house.fault_once(SubmissionFault::SlowUpload { bytes_per_second: Some(200), pause_ms: Some(50) });
    let begun = Instant::now();
    assert_eq!(house.push_notes().await.status(), StatusCode::CREATED);
    assert!(begun.elapsed() >= Duration::from_millis(50 + 1000 * NOTES.len() as u64 / 200));
}

#[tokio::test]
async fn a_fault_can_be_meant_for_the_bytes_or_for_all() {
    let house = House::start().await;
    let rule = |matches| FaultRule::new(matches, SubmissionFault::ServerError { status: 500 }).times(1);
    house.server.add_fault(rule(Matcher::Sha256(hex_sha256(b"others"))));
    house.server.add_fault(rule(Matcher::Sha256(hex_sha256(NOTES))));
    house.server.add_fault(rule(Matcher::IdempotencyKeyPrefix("others".to_owned())));
    assert_eq!(house.push_notes().await.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(house.job(), None);
    house.server.add_fault(rule(Matcher::Any(true)));
    assert_eq!(house.push_notes().await.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(house.push_notes().await.status(), StatusCode::CREATED);
    assert_eq!(house.server.faults().len(), 2);
}

#[tokio::test]
async fn the_admin_endpoints_do_what_the_rust_api_does() {
    let house = House::start().await;
    let url = |path: &str| format!("{}/admin/{path}", house.server.url());
    let anonymous = house.client.get(url("jobs")).bearer_auth(API_KEY).send().await.unwrap();
    assert_eq!(problem(anonymous).await.0, 401);

    let add =
        |rule: serde_json::Value| house.client.post(url("faults")).bearer_auth(ADMIN_KEY).json(&rule).send();
    let rule = json!({
        "match": { "idempotencyKeyPrefix": KEY },
        "fault": { "kind": "jobFails", "code": "tired", "message": "Not today." },
        "times": null,
    });
    assert_eq!(add(rule).await.unwrap().status(), StatusCode::CREATED);
    let unknown = json!({ "match": { "any": true }, "fault": { "kind": "nothing" } });
    assert_eq!(problem(add(unknown).await.unwrap()).await.0, 400);
    let listed = house.server.faults();
    let expected = JobFault::JobFails { code: "tired".to_owned(), message: "Not today.".to_owned() };
    assert_eq!(listed[0].rule, FaultRule::for_key(KEY, expected));

    house.push_notes().await;
    assert_eq!(house.receiver.wait_for(1).await[0].failed_code(), "tired");
    eventually("the callback to be noted", || house.job().filter(|job| !job.callbacks.is_empty())).await;
    let list = |path: &str| house.client.get(url(path)).bearer_auth(ADMIN_KEY).send();
    let jobs: serde_json::Value = list("jobs?idempotencyKeyPrefix=0f7c").await.unwrap().json().await.unwrap();
    assert_eq!(jobs, serde_json::to_value(house.server.jobs("")).unwrap());
    assert_eq!(jobs[0]["callbacks"][0]["status"], 204);
    let none: serde_json::Value = list("jobs?idempotencyKeyPrefix=x").await.unwrap().json().await.unwrap();
    assert_eq!(none, json!([]));
    let requests: serde_json::Value = list("requests").await.unwrap().json().await.unwrap();
    let pushed = json!({ "method": "POST", "route": "/v1/jobs/push", "status": 201, "count": 1 });
    assert_eq!(requests["counts"], json!([pushed]));
    assert_eq!(requests["submissions"][0]["bytesReceived"], NOTES.len());

    let clear = house.client.delete(url("faults")).bearer_auth(ADMIN_KEY).send().await.unwrap();
    assert_eq!(clear.status(), StatusCode::NO_CONTENT);
    assert!(house.server.faults().is_empty());
}
