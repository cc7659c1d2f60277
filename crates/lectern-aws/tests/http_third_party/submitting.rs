//! Tests submitting documents, and its failures.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_sdk_s3::{operation::get_object::GetObjectOutput, primitives::SdkBody};
use aws_smithy_mocks::{mock, mock_client};
use axum::{Json, Router, body::Bytes, routing::any};
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, StatusCode};
use lectern::{
    contract::wire::JobAccepted,
    document::{ObjectVersion, Reason},
    error::Error,
    limits::CONNECT_TIMEOUT,
    ports::{Clock as _, JobRequest, ThirdParty as _},
    testing::port_contract::faults::upload_that_breaks_off_is_no_fault_of_the_third_party,
};
use lectern_aws::{SystemClock, UploadsBucket};
use lectern_content::MediaType;
use rstest::rstest;
use third_party::{RetryAfter, SubmissionFault};
use tokio::time::Instant;

use crate::support::{
    API_KEY, CALLBACK, KEY, NOTES, ReferenceThirdParty, TRACE, adapter, assert_silent, content, eventually,
    listener, odd_chunks, pull, push, push_body, server, sha256,
};

#[rstest]
#[case(1)]
#[case(52)]
#[case(1_000_003)]
#[tokio::test]
async fn pushed_bytes_arrive_as_they_are_in_whatever_chunks(#[case] size: usize) {
    let (third_party, content) = (ReferenceThirdParty::start().await, content(size));
    let job_id = third_party.push(&content).await.unwrap();
    let job = third_party.job().unwrap();
    assert_eq!((job.job_id, job.bytes_received), (job_id, size as u64));
    assert_eq!(job.sha256, Some(sha256(&content)));
    assert_eq!(job.media_type, MediaType::Text);
}

#[tokio::test]
async fn push_has_an_exact_length_and_the_contracts_headers() {
    let seen: Arc<Mutex<Option<(HeaderMap, usize)>>> = Arc::default();
    let noted = Arc::clone(&seen);
    let take = move |headers: HeaderMap, body: Bytes| async move {
        *noted.lock().unwrap() = Some((headers, body.len()));
        (StatusCode::CREATED, Json(JobAccepted { job_id: "j1".to_owned() }))
    };
    let url = server(Router::new().route("/v1/jobs/push", any(take))).await;
    let adapter = adapter(&url, API_KEY, Duration::from_secs(20));
    assert_eq!(adapter.submit(push(&content(300_007))).await.unwrap(), "j1");
    let (headers, received) = seen.lock().unwrap().take().unwrap();
    assert_eq!((headers["content-length"].to_str().unwrap(), received), ("300007", 300_007));
    assert!(!headers.contains_key("transfer-encoding"));
    assert_eq!(headers["authorization"], format!("Bearer {API_KEY}"));
    assert_eq!(headers["idempotency-key"], KEY);
    assert_eq!(headers["lectern-callback-url"], CALLBACK);
    assert_eq!(headers["traceparent"], TRACE);
    assert_eq!(headers["content-type"], "text/plain");
    assert_eq!(headers.get_all("content-length").iter().count(), 1);
}

#[tokio::test]
async fn pulled_document_is_fetched_from_its_url() {
    let third_party = ReferenceThirdParty::start().await;
    let source = server(Router::new().route("/source", any(|| async { NOTES }))).await;
    let request = pull(format!("{source}/source?signature=secret"));
    let job_id = third_party.adapter.submit(request).await.unwrap();
    let job = eventually("the pull", || third_party.job().filter(|job| job.sha256.is_some())).await;
    assert_eq!((job.job_id, job.sha256), (job_id, Some(sha256(NOTES))));
}

#[rstest]
#[case::seconds(SubmissionFault::RateLimited { retry_after: Some(RetryAfter::Seconds(30)) }, 30)]
#[case::date(SubmissionFault::RateLimited { retry_after: Some(RetryAfter::Date { date_in_s: 60 }) }, 60)]
#[case::past(SubmissionFault::RateLimited { retry_after: Some(RetryAfter::Date { date_in_s: -60 }) }, 1)]
#[case::garbage(SubmissionFault::RateLimited { retry_after: Some(RetryAfter::Text("soon".to_owned())) }, 5)]
#[case::none(SubmissionFault::RateLimited { retry_after: None }, 5)]
#[case::quota(SubmissionFault::NoRoom { retry_in: 12 }, 12)]
#[case::absurd(SubmissionFault::NoRoom { retry_in: u64::MAX }, 900)]
#[tokio::test]
async fn case_25_wait_that_they_ask_for_is_honoured_and_bounded(
    #[case] fault: SubmissionFault,
    #[case] expected_s: i64,
) {
    let third_party = ReferenceThirdParty::start().await;
    third_party.fault_once(fault);
    let before = SystemClock.now();
    let error = third_party.push(NOTES).await.unwrap_err();
    let after = SystemClock.now();
    let Error::RateLimited { retry_at } = error else { panic!("{error:?}") };
    // A date has whole seconds only.
    let earliest = before + time::Duration::seconds(expected_s - 1);
    assert!((earliest..=after + time::Duration::seconds(expected_s)).contains(&retry_at), "{retry_at}");
    assert!(third_party.job().is_none());
}

#[rstest]
#[case(0)]
#[case(100_000)]
#[tokio::test]
async fn case_26_connection_lost_before_the_bodys_end_is_unavailable_and_the_next_try_is_whole(
    #[case] after_bytes: u64,
) {
    let (third_party, content) = (ReferenceThirdParty::start().await, content(20_000_000));
    third_party.fault_once(SubmissionFault::ResetUpload { after_bytes });
    let error = third_party.push(&content).await.unwrap_err();
    assert_eq!(error.name(), "ThirdParty.Unavailable");
    assert_silent(&error);
    assert!(third_party.job().is_none(), "no half job");
    third_party.push(&content).await.unwrap();
    assert_eq!(third_party.job().unwrap().sha256, Some(sha256(&content)));
}

#[rstest]
#[case(500, "ThirdParty.Unavailable")]
#[case(503, "ThirdParty.Unavailable")]
#[case::gateway(502, "ThirdParty.OutcomeUnknown")]
#[case::gateway_timeout(504, "ThirdParty.OutcomeUnknown")]
#[tokio::test]
async fn case_26_server_error_is_unavailable_unless_a_gateway_may_have_answered(
    #[case] status: u16,
    #[case] name: &str,
) {
    let third_party = ReferenceThirdParty::start().await;
    third_party.fault_once(SubmissionFault::ServerError { status });
    let error = third_party.push(NOTES).await.unwrap_err();
    assert_eq!(error.name(), name);
    assert!(error.to_string().ends_with(&format!(": it answered {status}")), "{error}");
}

#[tokio::test]
async fn case_26_source_that_cannot_be_read_leaves_no_half_job_and_blames_nobody_else() {
    let third_party = ReferenceThirdParty::start().await;
    let broken = stream::iter([Ok(Bytes::from_static(b"half")), Err(io::Error::other("S3 broke off"))]);
    let error = third_party.adapter.submit(push_body(8, Box::pin(broken))).await.unwrap_err();
    assert_eq!(error.name(), "Source.Unavailable");
    assert_silent(&error);
    assert!(third_party.job().is_none());
}

/// S3 answers a ranged read with the whole object, or breaks off in the middle of it.
#[rstest]
#[case::whole_object(None)]
#[case::broken_off(Some("bytes 0-3999999/4000000"))]
#[tokio::test]
async fn d02_v01_upload_that_cannot_be_read_is_our_fault_and_not_the_third_partys(
    #[case] content_range: Option<&'static str>,
) {
    let rule = mock!(aws_sdk_s3::Client::get_object).then_output(move || {
        let chunks = [Ok(Bytes::from(content(1_000_000))), Err(io::Error::other("reset"))];
        GetObjectOutput::builder()
            .set_content_range(content_range.map(str::to_owned))
            .body(SdkBody::from_body_1_x(reqwest::Body::wrap_stream(stream::iter(chunks))).into())
            .build()
    });
    let uploads = UploadsBucket::new(mock_client!(aws_sdk_s3, [&rule]));
    let object = ObjectVersion {
        bucket: "uploads".to_owned(),
        key: "submissions/s1/notes.txt".to_owned(),
        version_id: "v1".to_owned(),
    };
    let third_party = ReferenceThirdParty::start().await;
    let case = upload_that_breaks_off_is_no_fault_of_the_third_party;
    let error = case(&uploads, &third_party.adapter, &object, 4_000_000).await.unwrap();
    assert_silent(&error);
    assert!(third_party.job().is_none(), "no half job");
}

/// A longer body cannot come: [`lectern_aws::UploadsBucket`] reads exactly the size that was registered.
#[tokio::test]
async fn case_26_body_that_is_shorter_than_declared_is_no_job() {
    let third_party = ReferenceThirdParty::start().await;
    let declared = NOTES.len() as u64 + 1;
    let error = third_party.adapter.submit(push_body(declared, odd_chunks(NOTES))).await.unwrap_err();
    assert_eq!(error.name(), "ThirdParty.Unavailable");
    assert_silent(&error);
    assert!(third_party.job().is_none());
}

#[tokio::test]
async fn case_27_connection_lost_after_the_bodys_end_leaves_the_outcome_unknown_and_the_key_finds_the_job() {
    let third_party = ReferenceThirdParty::start().await;
    third_party.fault_once(SubmissionFault::LoseAnswer);
    let error = third_party.push(NOTES).await.unwrap_err();
    assert_eq!(error.name(), "ThirdParty.OutcomeUnknown");
    assert_silent(&error);
    let lost = third_party.job().unwrap();
    assert_eq!(third_party.push(NOTES).await.unwrap(), lost.job_id);
    assert_eq!(third_party.job().unwrap().submissions, 2);
}

#[rstest]
#[case(401)]
#[case(403)]
#[tokio::test]
async fn case_28_refused_credentials_are_unauthorized(#[case] status: u16) {
    let third_party = ReferenceThirdParty::start().await;
    third_party.fault_once(SubmissionFault::Unauthorized { status });
    assert_eq!(third_party.push(NOTES).await.unwrap_err().name(), "ThirdParty.Unauthorized");
}

#[tokio::test]
async fn case_28_wrong_key_is_unauthorized_everywhere() {
    let third_party = ReferenceThirdParty::start().await;
    let stranger = adapter(third_party.server.url(), "another-key", Duration::from_secs(20));
    assert_eq!(stranger.submit(push(NOTES)).await.unwrap_err().name(), "ThirdParty.Unauthorized");
    assert_eq!(stranger.status(KEY).await.unwrap_err().name(), "ThirdParty.Unauthorized");
}

#[rstest]
#[case::push(push(NOTES))]
#[case::pull(pull("http://127.0.0.1:9/secret"))]
#[tokio::test]
async fn case_29_third_party_that_is_down_is_unavailable(#[case] request: JobRequest) {
    let listener = listener().await;
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let adapter = adapter(&url, API_KEY, Duration::from_secs(20));
    let error = adapter.submit(request).await.unwrap_err();
    assert_eq!(error.to_string(), "the third party is unavailable: no connection could be made");
    assert_silent(&error);
    let error = adapter.status(KEY).await.unwrap_err();
    assert_eq!(error.name(), "ThirdParty.Unavailable");
    assert_silent(&error);
}

/// A permit is used only if it expires later than that, so a slow connection cannot send a request too late.
#[rstest]
#[case::push(push(NOTES))]
#[case::pull(pull("http://127.0.0.1:9/secret"))]
#[tokio::test]
async fn d10_connection_that_takes_longer_than_the_connect_timeout_is_unavailable(
    #[case] request: JobRequest,
) {
    // The operating system accepts the connection, and no server answers the TLS handshake.
    let silent = listener().await;
    let url = format!("https://{}", silent.local_addr().unwrap());
    let adapter = adapter(&url, API_KEY, Duration::from_mins(2));
    let began = Instant::now();
    let error = adapter.submit(request).await.unwrap_err();
    let took = began.elapsed();
    assert_eq!(error.to_string(), "the third party is unavailable: no connection could be made");
    assert!((CONNECT_TIMEOUT..Duration::from_mins(1)).contains(&took), "{took:?}");
    assert_eq!(CONNECT_TIMEOUT, Duration::from_secs(1));
}

#[tokio::test]
async fn case_30_rejection_carries_their_reason() {
    let third_party = ReferenceThirdParty::start().await;
    third_party.fault_once(SubmissionFault::Rejected {
        code: "drmProtected".to_owned(),
        message: "The file is protected.".to_owned(),
    });
    let error = third_party.push(NOTES).await.unwrap_err();
    assert_eq!(error.name(), "ThirdParty.Rejected");
    assert_eq!(error.reason(), Reason::new("drmProtected", "The file is protected."));
}

#[tokio::test]
async fn case_29_answer_that_comes_too_late_leaves_the_outcome_unknown() {
    let slow = || std::future::pending::<StatusCode>();
    let url = server(Router::new().fallback(any(slow))).await;
    let hasty = adapter(&url, API_KEY, Duration::from_millis(300));
    let error = hasty.submit(push(NOTES)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "it is unknown whether the third party took the document: it did not answer in time"
    );
    assert_silent(&error);
}

/// The third party reads all the time, but the request's time is over before the document's end.
#[tokio::test]
async fn a05_push_that_moves_until_its_time_is_over_is_too_slow() {
    let third_party = ReferenceThirdParty::start().await;
    let timeout = Duration::from_secs(3);
    let adapter = adapter(third_party.server.url(), API_KEY, timeout);
    // The sleep does not wait for an effect; it is the pace of a slow source.
    let trickle = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Some((Ok(Bytes::from_static(b"some")), ()))
    });
    let error = adapter.submit(push_body(1 << 30, Box::pin(trickle))).await.unwrap_err();
    assert_eq!(error.name(), "Transfer.TooSlow");
    assert!(third_party.job().is_none());
}

/// If nothing moves, the third party is down and not slow.
#[tokio::test]
async fn body_that_never_ends_is_bounded_in_time() {
    let third_party = ReferenceThirdParty::start().await;
    let hasty = adapter(third_party.server.url(), API_KEY, Duration::from_millis(300));
    let stuck = stream::iter([Ok(Bytes::from_static(b"half"))]).chain(stream::pending());
    let error = hasty.submit(push_body(8, Box::pin(stuck))).await.unwrap_err();
    assert_eq!(error.name(), "ThirdParty.Unavailable");
    assert!(third_party.job().is_none());
}
