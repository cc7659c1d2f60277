//! Tests status requests, and answers that violate the contract.

use std::time::Duration;

use axum::{Router, routing::any};
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use lectern::{contract::wire::JobStatus, error::Error, ports::ThirdParty as _};
use rstest::rstest;
use third_party::{JobFault, ReportedStatus};

use crate::support::{
    API_KEY, KEY, NOTES, ReferenceThirdParty, adapter, assert_silent, eventually, push, server,
};

#[tokio::test]
async fn case_33_status_by_key_is_working_until_the_job_ends() {
    let third_party = ReferenceThirdParty::start().await;
    third_party.fault_once(JobFault::NoCallback { status: ReportedStatus::Working });
    let job_id = third_party.push(NOTES).await.unwrap();
    assert_eq!(third_party.adapter.status(KEY).await.unwrap(), Some(JobStatus::Working { job_id }));
}

#[tokio::test]
async fn case_33_status_by_key_is_the_result_that_the_callback_would_have_brought() {
    let third_party = ReferenceThirdParty::start().await;
    third_party.fault_once(JobFault::NoCallback { status: ReportedStatus::Succeeded });
    let result = third_party.notes_result().await;
    assert_eq!(result.job_id, third_party.job().unwrap().job_id);
    assert!(!result.files.is_empty());
}

#[tokio::test]
async fn case_33_failed_job_is_failed_with_their_reason() {
    let third_party = ReferenceThirdParty::start().await;
    third_party.fault_once(JobFault::JobFails { code: "encrypted".to_owned(), message: "No.".to_owned() });
    third_party.push(NOTES).await.unwrap();
    eventually("the job's end", || third_party.job().filter(|job| job.status == "failed")).await;
    let Some(JobStatus::Failed(job)) = third_party.adapter.status(KEY).await.unwrap() else {
        panic!("not failed")
    };
    assert_eq!((job.error.code.as_str(), job.error.message.as_str()), ("encrypted", "No."));
}

#[tokio::test]
async fn case_33_job_that_the_third_party_does_not_know_is_none() {
    let third_party = ReferenceThirdParty::start().await;
    assert_eq!(third_party.adapter.status(KEY).await.unwrap(), None);
    third_party.fault_once(JobFault::NoCallback { status: ReportedStatus::Unknown });
    third_party.push(NOTES).await.unwrap();
    eventually("the job's end", || third_party.job().filter(|job| job.status == "unknown")).await;
    assert_eq!(third_party.adapter.status(KEY).await.unwrap(), None);
}

/// The errors of a submission and of a status request that get this answer.
async fn errors_of(router: Router) -> [Error; 2] {
    let adapter = adapter(&server(router).await, API_KEY, Duration::from_secs(20));
    [adapter.submit(push(NOTES)).await.unwrap_err(), adapter.status(KEY).await.unwrap_err()]
}

/// After a failed submission there may be a job; after a failed status request there is none.
#[track_caller]
fn assert_outcome_unknown([submission, question]: [Error; 2], detail: &str) {
    let unknown = "it is unknown whether the third party took the document";
    assert_eq!(submission.to_string(), format!("{unknown}: {detail}"));
    assert_eq!(question.to_string(), format!("the third party is unavailable: {detail}"));
    assert_silent(&submission);
    assert_silent(&question);
}

#[rstest]
#[case("", "Eof")]
#[case("<html>secret http://127.0.0.1/</html>", "Syntax")]
#[case("[]", "Data")]
#[case(r#"{"jobId": 5}"#, "Data")]
#[case(r#"{"status":"secret","x":"j"}"#, "Data")]
#[tokio::test]
async fn success_that_breaks_the_contract_leaves_the_outcome_unknown_and_says_where(
    #[case] body: &'static str,
    #[case] kind: &str,
) {
    let [submission, question] = errors_of(Router::new().fallback(any(move || async move { body }))).await;
    assert_eq!((submission.name(), question.name()), ("ThirdParty.OutcomeUnknown", "ThirdParty.Unavailable"));
    for error in [&submission, &question] {
        let place = format!("it answered 200 with something else than promised ({kind} error at line ");
        assert!(error.to_string().contains(&place), "{error}");
        assert_silent(error);
    }
}

#[tokio::test]
async fn answer_without_end_is_cut_off() {
    let endless = || async {
        axum::body::Body::from_stream(stream::repeat_with(|| {
            Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 16384]))
        }))
    };
    assert_outcome_unknown(errors_of(Router::new().fallback(any(endless))).await, "its answer is too long");
}

/// A redirect is not followed, because the request would send our key to the redirect's target.
#[tokio::test]
async fn redirect_is_not_followed() {
    let redirect = || async { (StatusCode::TEMPORARY_REDIRECT, [("location", "/elsewhere")]) };
    let errors = errors_of(Router::new().fallback(any(redirect))).await.map(|error| error.to_string());
    assert_eq!(
        errors,
        [
            "the third party is unavailable: it answered 307",
            "the third party is unavailable: it answered 307 to a question"
        ]
    );
}

#[rstest]
#[case(401, "ThirdParty.Unauthorized")]
#[case(429, "ThirdParty.RateLimited")]
#[case(500, "ThirdParty.Unavailable")]
#[tokio::test]
async fn refused_question_has_the_same_errors_as_a_submission(#[case] status: u16, #[case] name: &str) {
    let refuse = move || async move { StatusCode::from_u16(status).unwrap() };
    let names = errors_of(Router::new().fallback(any(refuse))).await.map(|error| error.name());
    assert_eq!(names, [name, name]);
}

/// A gateway in front of the third party answers while the service behind it is deployed or misrouted.
#[rstest]
#[case(404, "<html><h1>404 Not Found</h1></html>")]
#[case(404, r#"{"message": "Not Found"}"#)]
#[case(410, "")]
#[case(400, "<html>Bad Request</html>")]
#[case(413, "<html>Request Entity Too Large</html>")]
#[tokio::test]
async fn d03_gateways_refusal_neither_rejects_the_document_nor_says_that_its_job_is_unknown(
    #[case] status: u16,
    #[case] body: &'static str,
) {
    let refuse = move || async move { (StatusCode::from_u16(status).unwrap(), body) };
    for error in errors_of(Router::new().fallback(any(refuse))).await {
        assert_eq!(error.name(), "ThirdParty.Unavailable", "{error}");
    }
}

#[tokio::test]
async fn d03_problem_document_of_the_contract_rejects_the_document_and_says_that_its_job_is_unknown() {
    let refuse = || async { (StatusCode::NOT_FOUND, r#"{"code": "notFound", "message": "No such job."}"#) };
    let adapter =
        adapter(&server(Router::new().fallback(any(refuse))).await, API_KEY, Duration::from_secs(20));
    let error = adapter.submit(push(NOTES)).await.unwrap_err();
    assert_eq!(error.name(), "ThirdParty.Rejected");
    assert_eq!(adapter.status(KEY).await.unwrap(), None);
}
