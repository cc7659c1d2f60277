//! Callbacks with invalid signatures, callbacks for unknown documents, and callbacks that contradict each other.

use aws_sdk_dynamodb::types::AttributeValue;
use lectern::document::DocumentState;
use reqwest::StatusCode;
use serde_json::json;
use third_party::{CallbackDefect, Contradiction, JobFault};
use uuid::Uuid;

use crate::{
    callbacks::Delivery,
    case::Case,
    content::text,
    stack::Stack,
    wait::{SOON, eventually},
};

const FOREIGN_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn failure(job_id: &str, code: &str) -> String {
    let error = json!({ "code": code, "message": "It cannot be read." });
    let data = json!({ "jobId": job_id, "error": error });
    json!({ "type": "job.failed", "timestamp": "2026-11-20T16:04:05.006Z", "data": data }).to_string()
}

/// The stored bytes of a callback for an unknown document.
async fn kept(stack: &Stack, event_id: &str) -> Option<Vec<u8>> {
    let request = stack.dynamodb.get_item().table_name(&stack.is.table).consistent_read(true);
    let request = request.key("pk", AttributeValue::S(format!("UNKNOWN_CALLBACK#{event_id}")));
    let answer = request.key("sk", AttributeValue::S("UNKNOWN_CALLBACK".to_owned())).send().await.unwrap();
    let item = answer.item?;
    Some(item.get("body")?.as_b().ok()?.as_ref().to_vec())
}

/// The system's resolver does not resolve `….localhost`; curl and browsers do.
#[tokio::test]
async fn v02_callback_url_is_one_that_any_client_reaches() {
    let stack = Stack::open();
    let url = &stack.is.callback_base_url;
    let parsed: reqwest::Url = url.parse().unwrap();
    let address = (parsed.host_str().unwrap().to_owned(), parsed.port_or_known_default().unwrap());
    assert!(tokio::net::lookup_host(address).await.unwrap().count() > 0, "{url}");
    let function = stack.function("TransferDocumentFunction").await;
    assert_eq!(stack.variable(&function, "CALLBACK_BASE_URL").await, *url);
    let callback = format!("{url}/callbacks/{}", Uuid::new_v4());
    let answer = stack.http.post(callback).body("{}").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "the request is not signed");
}

#[tokio::test]
async fn case_35_s07_badly_signed_callback_is_401_and_another_jobs_result_changes_nothing() {
    let case = Case::begin();
    let (upload, before) = case.upload_that_waits("waits.txt").await;
    let (id, job_id) = (before.callback_id.expose(), before.job_id.unwrap());
    let forged = Delivery::signed(FOREIGN_SECRET, failure(&job_id, "forged"));
    assert_eq!(case.stack.call_back(id, &forged).await, StatusCode::UNAUTHORIZED);
    let secret = case.stack.shared_secrets().signing_secret;
    let altered = Delivery {
        body: failure(&job_id, "forged").into(),
        ..Delivery::signed(&secret, failure(&job_id, "other"))
    };
    assert_eq!(case.stack.call_back(id, &altered).await, StatusCode::UNAUTHORIZED);
    assert_eq!(case.stack.load(&upload).await.unwrap().result, None);
    let foreign = Delivery::signed(&secret, failure("job_of_another_document", "unreadable"));
    assert_eq!(case.stack.call_back(id, &foreign).await, StatusCode::OK);
    assert_eq!(case.stack.load(&upload).await.unwrap().result, None, "it has no such job");
    let proper = Delivery::signed(&secret, failure(&job_id, "unreadable"));
    assert_eq!(case.stack.call_back(id, &proper).await, StatusCode::OK);
    case.stack.not_accepted(&upload, "unreadable").await;
}

#[tokio::test]
async fn case_35_well_signed_callback_that_belongs_to_nothing_is_kept() {
    let stack = Stack::open();
    let delivery = Delivery::signed(&stack.shared_secrets().signing_secret, failure("job_1", "unreadable"));
    let answer = stack.call_back(&Uuid::new_v4().to_string(), &delivery).await;
    assert!(answer.is_success(), "{answer}");
    assert_eq!(kept(&stack, &delivery.event_id).await.as_deref(), Some(delivery.body.as_slice()));
}

#[tokio::test]
async fn case_36_defective_callbacks_are_refused_and_the_proper_one_after_them_is_taken() {
    let case = Case::begin();
    let defects = [
        CallbackDefect::BadSignature,
        CallbackDefect::StaleTimestamp,
        CallbackDefect::FutureTimestamp,
        CallbackDefect::MissingSignature,
        CallbackDefect::MissingId,
        CallbackDefect::MissingTimestamp,
    ];
    let mut uploads = Vec::new();
    for defect in defects {
        let fault = JobFault::DefectiveCallback { defect, then_proper: true };
        uploads.push((defect, case.upload_with(&format!("{defect:?}.txt"), text(), [fault.into()]).await));
    }
    for (defect, upload) in uploads {
        case.stack.ready(&upload).await;
        let job = case.stack.only_job(&upload).await;
        let answers: Vec<_> = job.callbacks.iter().map(|callback| callback.status).collect();
        assert_eq!(answers, [Some(401), Some(200)], "{defect:?}");
    }
}

#[tokio::test]
async fn case_36_overflowing_and_double_headers_are_refused_without_a_panic() {
    let case = Case::begin();
    let (upload, document) = case.upload_that_waits("waits.txt").await;
    let (id, job_id) = (document.callback_id.expose(), document.job_id.unwrap());
    let secret = case.stack.shared_secrets().signing_secret;
    for timestamp in ["-9223372036854775808", "9223372036854775807", "99999999999999999999", "", "now", "1e9"]
    {
        let delivery = Delivery {
            timestamp: timestamp.to_owned(),
            ..Delivery::signed(&secret, failure(&job_id, "forged"))
        };
        assert_eq!(case.stack.call_back(id, &delivery).await, StatusCode::UNAUTHORIZED, "{timestamp}");
    }
    let delivery = Delivery::signed(&secret, failure(&job_id, "forged"));
    let single = [
        ("webhook-id", delivery.event_id.as_str()),
        ("webhook-timestamp", &delivery.timestamp),
        ("webhook-signature", &delivery.signature),
    ];
    for again in single {
        let mut headers = single.to_vec();
        headers.push(again);
        let answer = case.stack.post_callback(id, &headers, &delivery.body).await;
        // The gateway may join or drop duplicate headers. The signature may stay valid; the function must not panic.
        assert!(matches!(answer, StatusCode::UNAUTHORIZED | StatusCode::OK), "{answer}");
    }
    let proper = Delivery::signed(&secret, failure(&job_id, "forged"));
    assert_eq!(case.stack.call_back(id, &proper).await, StatusCode::OK);
    case.stack.not_accepted(&upload, "forged").await;
}

#[tokio::test]
async fn case_38_invalid_utf8_is_verified_over_the_raw_bytes() {
    let case = Case::begin();
    let secret = case.stack.shared_secrets().signing_secret;
    let bytes = b"\xFF\xFE{\"type\":\"job.failed\"}\x00\x80".to_vec();
    let delivery = Delivery::signed(&secret, bytes.clone());
    let answer = case.stack.call_back(&Uuid::new_v4().to_string(), &delivery).await;
    assert!(answer.is_success(), "the signature is valid: {answer}");
    assert_eq!(kept(&case.stack, &delivery.event_id).await, Some(bytes.clone()));
    let (upload, document) = case.upload_that_waits("waits.txt").await;
    let id = document.callback_id.expose();
    let malformed = Delivery::signed(&secret, bytes.clone());
    let answer = case.stack.call_back(id, &malformed).await;
    assert!(answer.is_success(), "the callback is stored and must not be repeated: {answer}");
    assert_eq!(kept(&case.stack, &malformed.event_id).await, Some(bytes));
    case.stack.failed(&upload, "contractBroken").await;
}

#[tokio::test]
async fn case_40_of_two_contradictory_callbacks_the_first_stands() {
    let case = Case::begin();
    let both = [Contradiction::SucceededThenFailed, Contradiction::FailedThenSucceeded];
    let mut uploads = Vec::new();
    for order in both {
        let fault = JobFault::ContradictoryCallback { order };
        uploads.push(case.upload_with(&format!("{order:?}.txt"), text(), [fault.into()]).await);
    }
    case.stack.ready(&uploads[0]).await;
    case.stack.not_accepted(&uploads[1], "withdrawn").await;
    for upload in &uploads {
        eventually("both callbacks are answered", SOON, async || {
            let callbacks = case.stack.only_job(upload).await.callbacks;
            let taken = callbacks.iter().filter(|callback| callback.status == Some(200)).count();
            if taken == 2 { Ok(()) } else { Err(format!("{callbacks:?}")) }
        })
        .await;
    }
    assert_eq!(case.stack.load(&uploads[0]).await.unwrap().state, DocumentState::Ready);
    assert_eq!(case.stack.load(&uploads[1]).await.unwrap().state, DocumentState::Failed);
}
