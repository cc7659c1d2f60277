//! Tests of signing in again, and of repeating requests.

use serde_json::json;

use super::{testing::*, wire::Detail, *};
use crate::console::Exit;

fn read(stack: &FakeStack) -> impl Future<Output = Result<Detail, Failure>> + '_ {
    stack.client.read(Call::get(&["submissions", SUBMISSION]))
}

#[tokio::test]
async fn refused_token_is_refreshed_once_and_kept() {
    let stack = FakeStack::start().await;
    stack.shared().access_token = "access-1".to_owned();
    let (one, two) = tokio::join!(read(&stack), read(&stack));
    assert!(one.is_ok() && two.is_ok());
    assert_eq!(stack.number_of("POST /token"), 1, "requests at the same time share one refresh");
    let kept = stack.kept();
    assert_eq!(
        (kept.access_token.as_str(), kept.refresh_token.as_deref()),
        ("access-1+", Some("refresh-0+"))
    );
    assert!(read(&stack).await.is_ok());
    assert_eq!(stack.number_of("POST /token"), 1);
}

#[tokio::test]
async fn token_that_nearly_expires_is_refreshed_before_it_is_used() {
    let stack = FakeStack::start().await;
    stack.client.sign_in.lock().await.expires_at = SystemClock.now() + Duration::from_secs(30);
    // The file has the same token with a later expiry, as if another process had refreshed it.
    assert!(read(&stack).await.is_ok());
    assert_eq!(stack.number_of("POST /token"), 0, "the sign-in of the other process is used");
    let mut kept = stack.kept();
    kept.expires_at = SystemClock.now();
    stack.client.sign_ins.write(&kept).unwrap();
    *stack.client.sign_in.lock().await = kept;
    assert!(read(&stack).await.is_ok());
    assert_eq!(
        stack.shared().requests.last_chunk().unwrap(),
        &["POST /token".to_owned(), format!("GET /v1/submissions/{SUBMISSION}")]
    );
}

#[tokio::test]
async fn sign_in_that_has_ended_is_said_and_no_token_is_named() {
    let stack = FakeStack::start().await;
    (stack.shared().access_token, stack.shared().refresh_token) = ("other".to_owned(), "other".to_owned());
    let failure = read(&stack).await.unwrap_err();
    let problem = Problem::from(failure);
    assert_eq!(problem.text(), "the sign-in has ended. Sign in again with `lectern login`.");
    assert!(!format!("{problem:?}").contains("refresh-0"));
}

#[tokio::test]
async fn temporary_failures_are_repeated_and_refusals_are_not() {
    let stack = FakeStack::start().await;
    stack.fail("GET /v1/submissions", 503, 2);
    assert!(read(&stack).await.is_ok());
    assert_eq!(stack.number_of("GET /v1"), 3);
    stack.refuse("GET /v1/submissions", 403, problem("forbidden", 403, "Ask an administrator."), 1);
    let problem = Problem::from(read(&stack).await.unwrap_err());
    assert_eq!((problem.text().as_str(), problem.exit), ("forbidden. Ask an administrator.", Exit::Failed));
    assert_eq!(stack.number_of("GET /v1"), 4);
}

#[tokio::test]
async fn request_that_creates_something_is_not_repeated_if_it_may_have_arrived() {
    let stack = FakeStack::start().await;
    let call = Call::create(&["submissions"], json!({ "title": "T", "files": [] }));
    let create = || stack.client.call(&call);
    stack.lose_answer("POST /v1/submissions", 1);
    assert!(create().await.is_err());
    assert_eq!(stack.number_of("POST /v1"), 1);
    stack.fail("POST /v1/submissions", 429, 1);
    assert!(create().await.is_ok(), "API Gateway's 429 has not reached the API");
    assert_eq!(stack.number_of("POST /v1"), 3);
    stack.refuse("POST /v1/submissions", 429, problem("quota-exceeded", 429, "Withdraw one."), 1);
    assert_eq!(Problem::from(create().await.unwrap_err()).exit, Exit::Attention, "a quota needs a person");
    assert_eq!(stack.number_of("POST /v1"), 4);
}

#[tokio::test]
async fn ids_of_a_command_line_stay_in_their_segment() {
    let stack = FakeStack::start().await;
    assert!(stack.client.call(&Call::get(&["submissions", "../me?x=1#"])).await.is_err());
    assert_eq!(stack.shared().requests, ["GET /v1/submissions/..%2Fme%3Fx=1%23"]);
}
