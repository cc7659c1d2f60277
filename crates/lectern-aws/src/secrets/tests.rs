//! Tests valid and invalid answers of Secrets Manager.

use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueOutput;
use aws_smithy_mocks::{Rule, mock};
use rstest::rstest;

use super::*;
use crate::test_support::{client, json_error};

const SIGNING: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn holding(text: &'static str) -> Rule {
    mock!(Client::get_secret_value)
        .match_requests(|request| request.secret_id() == Some("arn:s"))
        .then_output(move || GetSecretValueOutput::builder().secret_string(text).build())
}

fn secret(rule: &Rule) -> CachedSecret {
    CachedSecret::new(client!(aws_sdk_secretsmanager, *rule), "arn:s".to_owned())
}

#[tokio::test]
async fn secret_is_read_once_within_its_lifetime_and_again_after_it() {
    let rule = holding(" key-of-lectern\n");
    let secret = secret(&rule);
    for _ in 0..3 {
        assert_eq!(secret.get().await.unwrap().expose(), "key-of-lectern");
    }
    assert_eq!(rule.num_calls(), 1);
    let old = Instant::now().checked_sub(SECRET_LIFETIME).unwrap();
    secret.cached.lock().await.as_mut().unwrap().0 = old;
    secret.get().await.unwrap();
    assert_eq!(rule.num_calls(), 2);
}

#[rstest]
#[case("ResourceNotFoundException")]
#[case("DecryptionFailure")]
#[case("ThrottlingException")]
#[tokio::test]
async fn secret_that_cannot_be_read_is_unavailable_and_not_cached(#[case] code: &'static str) {
    let rule = mock!(Client::get_secret_value)
        .sequence()
        .http_response(move || json_error(code))
        .output(|| GetSecretValueOutput::builder().secret_string("later").build())
        .build();
    let secret = secret(&rule);
    let error = secret.get().await.unwrap_err();
    assert_eq!(error.name(), "Store.Unavailable");
    assert!(error.to_string().contains(code), "{error}");
    assert_eq!(secret.get().await.unwrap().expose(), "later");
}

#[rstest]
#[case("")]
#[case(" \n")]
#[tokio::test]
async fn empty_secret_is_an_error_and_not_cached(#[case] text: &'static str) {
    let rule = holding(text);
    let secret = secret(&rule);
    for _ in 0..2 {
        assert_eq!(secret.get().await.unwrap_err().name(), "Store.Unavailable");
    }
    assert_eq!(rule.num_calls(), 2);
}

#[tokio::test]
async fn secret_without_text_is_an_error() {
    let rule = mock!(Client::get_secret_value).then_output(|| GetSecretValueOutput::builder().build());
    assert_eq!(secret(&rule).get().await.unwrap_err().name(), "Store.Unavailable");
}

#[tokio::test]
async fn case_37_two_signing_secrets_are_read_at_once() {
    let rule = holding("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\nwhsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=");
    assert!(SigningSecretsSource::new(secret(&rule)).signing_secrets().await.is_ok());
}

#[rstest]
#[case("whsec_!!!")]
#[case("whsec_c2hvcnQ=")]
#[case("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw whsec_c2hvcnQ=")]
#[tokio::test]
async fn malformed_signing_secret_is_an_error_that_does_not_repeat_it(#[case] text: &'static str) {
    let rule = holding(text);
    let error = SigningSecretsSource::new(secret(&rule)).signing_secrets().await.unwrap_err();
    assert_eq!(error.name(), "Store.Unavailable");
    let printed = format!("{error} {error:?}");
    assert!(!printed.contains("c2hvcnQ") && !printed.contains("!!!"), "{printed}");
}

#[tokio::test]
async fn case_53_nothing_that_holds_a_secret_prints_it() {
    let rule = holding(SIGNING);
    let secret = secret(&rule);
    let text = secret.get().await.unwrap();
    let source = SigningSecretsSource::new(secret);
    let parsed = source.signing_secrets().await.unwrap();
    let printed = format!("{text:?} {source:?} {parsed:?}");
    assert!(!printed.contains("MfKQ9r8G"), "{printed}");
}
