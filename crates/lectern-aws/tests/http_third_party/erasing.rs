//! Tests requests to erase a job.

use std::time::Duration;

use axum::{Router, routing::any};
use http::StatusCode;
use lectern::{
    error::Error,
    ports::{EraseJobs as _, JobErasure, ThirdParty as _},
};
use rstest::rstest;

use crate::support::{API_KEY, KEY, ReferenceThirdParty, adapter, assert_silent, server};

#[tokio::test]
async fn a08_job_is_erased_and_then_unknown() {
    let third_party = ReferenceThirdParty::start().await;
    assert_eq!(third_party.adapter.erase(KEY).await.unwrap(), JobErasure::Unknown);
    third_party.notes_result().await;
    assert_eq!(third_party.adapter.erase(KEY).await.unwrap(), JobErasure::Erased);
    assert_eq!(third_party.adapter.erase(KEY).await.unwrap(), JobErasure::Unknown);
    assert_eq!(third_party.adapter.status(KEY).await.unwrap(), None);
}

async fn answered(status: u16, body: &'static str) -> Result<JobErasure, Error> {
    let answer = move || async move { (StatusCode::from_u16(status).unwrap(), body) };
    let url = server(Router::new().fallback(any(answer))).await;
    adapter(&url, API_KEY, Duration::from_secs(20)).erase(KEY).await
}

#[rstest]
#[case(204, "", JobErasure::Erased)]
#[case(202, "", JobErasure::Accepted)]
#[case(404, r#"{"code": "notFound", "message": "No such job."}"#, JobErasure::Unknown)]
#[case(410, r#"{"code": "notFound", "message": "No such job."}"#, JobErasure::Unknown)]
#[tokio::test]
async fn a08_answers_of_the_contract_say_what_became_of_the_job(
    #[case] status: u16,
    #[case] body: &'static str,
    #[case] expected: JobErasure,
) {
    assert_eq!(answered(status, body).await.unwrap(), expected);
}

/// An answer that is not the contract's must not pass for an erasure: a gateway may have given it.
#[rstest]
#[case(200, "<html>Welcome</html>", "ThirdParty.Unavailable")]
#[case(404, "<html>404 Not Found</html>", "ThirdParty.Unavailable")]
#[case(405, "", "ThirdParty.Unavailable")]
#[case(422, r#"{"code": "bodyInvalid", "message": "secret"}"#, "ThirdParty.Unavailable")]
#[case(503, "", "ThirdParty.Unavailable")]
#[case(401, "", "ThirdParty.Unauthorized")]
#[case(429, "", "ThirdParty.RateLimited")]
#[tokio::test]
async fn a08_any_other_answer_confirms_nothing(
    #[case] status: u16,
    #[case] body: &'static str,
    #[case] name: &str,
) {
    let error = answered(status, body).await.unwrap_err();
    assert_eq!(error.name(), name);
    assert_silent(&error);
}

#[tokio::test]
async fn a08_third_party_that_cannot_be_reached_confirms_nothing() {
    let adapter = adapter("http://127.0.0.1:1", API_KEY, Duration::from_secs(20));
    let error = adapter.erase(KEY).await.unwrap_err();
    assert_eq!(error.name(), "ThirdParty.Unavailable");
    assert_silent(&error);
}
