//! The status of jobs, and answers that keep no contract.

use std::time::Duration;

use axum::{Router, routing::any};
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use lectern::{contract::wire::JobStatus, error::Error, ports::ThirdParty as _};
use rstest::rstest;
use third_party::{JobFault, ReportedStatus};

use crate::support::{API_KEY, House, KEY, NOTES, adapter, assert_silent, eventually, push, server};

#[tokio::test]
async fn case_33_status_by_key_is_working_until_the_job_ends() {
    let house = House::start().await;
    house.fault_once(JobFault::NoCallback { status: ReportedStatus::Working });
    let job_id = house.push(NOTES).await.unwrap();
    assert_eq!(house.adapter.status(KEY).await.unwrap(), Some(JobStatus::Working { job_id }));
}

#[tokio::test]
async fn case_33_status_by_key_is_what_the_callback_would_have_said() {
    let house = House::start().await;
    house.fault_once(JobFault::NoCallback { status: ReportedStatus::Succeeded });
    let result = house.notes_result().await;
    assert_eq!(result.job_id, house.job().unwrap().job_id);
    assert!(!result.files.is_empty());
}

#[tokio::test]
async fn case_33_failed_job_is_failed_with_their_reason() {
    let house = House::start().await;
    house.fault_once(JobFault::JobFails { code: "encrypted".to_owned(), message: "No.".to_owned() });
    house.push(NOTES).await.unwrap();
    eventually("the job's end", || house.job().filter(|job| job.status == "failed")).await;
    let Some(JobStatus::Failed(job)) = house.adapter.status(KEY).await.unwrap() else { panic!("not failed") };
    assert_eq!((job.error.code.as_str(), job.error.message.as_str()), ("encrypted", "No."));
}

#[tokio::test]
async fn case_33_job_that_they_do_not_know_is_nothing() {
    let house = House::start().await;
    assert_eq!(house.adapter.status(KEY).await.unwrap(), None);
    house.fault_once(JobFault::NoCallback { status: ReportedStatus::Unknown });
    house.push(NOTES).await.unwrap();
    eventually("the job's end", || house.job().filter(|job| job.status == "unknown")).await;
    assert_eq!(house.adapter.status(KEY).await.unwrap(), None);
}

/// What both questions make of an answer.
async fn made_of(router: Router) -> [Error; 2] {
    let adapter = adapter(&server(router).await, API_KEY, Duration::from_secs(20));
    [adapter.submit(push(NOTES)).await.unwrap_err(), adapter.status(KEY).await.unwrap_err()]
}

#[rstest]
#[case("")]
#[case("<html>secret http://127.0.0.1/</html>")]
#[case("[]")]
#[case(r#"{"jobId": 5}"#)]
#[case(r#"{"status":"secret","jobId":"j"}"#)]
#[tokio::test]
async fn success_that_says_nothing_of_the_contract_is_unavailable(#[case] body: &'static str) {
    // The last of them is a proper answer to a submission, but not to a question.
    let errors =
        made_of(Router::new().fallback(any(move || async move { body.replace("jobId\":\"", "x\":\"") })))
            .await;
    for error in errors {
        let expected = "the third party is unavailable: it answered 200 with something else than promised";
        assert_eq!(error.to_string(), expected);
        assert_silent(&error);
    }
}

#[tokio::test]
async fn answer_without_end_is_cut_off() {
    let endless = || async {
        axum::body::Body::from_stream(stream::repeat_with(|| {
            Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 16384]))
        }))
    };
    for error in made_of(Router::new().fallback(any(endless))).await {
        assert_eq!(error.to_string(), "the third party is unavailable: its answer is too long");
    }
}

/// A redirect is not followed: it would carry our key to wherever it points.
#[tokio::test]
async fn redirect_is_not_followed() {
    let redirect = || async { (StatusCode::TEMPORARY_REDIRECT, [("location", "/elsewhere")]) };
    for error in made_of(Router::new().fallback(any(redirect))).await {
        assert_eq!(error.to_string(), "the third party is unavailable: it answered 307");
    }
}

#[rstest]
#[case(401, "ThirdParty.Unauthorized")]
#[case(429, "ThirdParty.RateLimited")]
#[case(500, "ThirdParty.Unavailable")]
#[tokio::test]
async fn refused_question_has_the_same_errors_as_a_submission(#[case] status: u16, #[case] name: &str) {
    let refuse = move || async move { StatusCode::from_u16(status).unwrap() };
    let names = made_of(Router::new().fallback(any(refuse))).await.map(|error| error.name());
    assert_eq!(names, [name, name]);
}
