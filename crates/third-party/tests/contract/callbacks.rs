//! Callbacks: signatures, retries and faults, and the answers of the status endpoint meanwhile.

use std::time::Duration;

use http::StatusCode;
use lectern::{
    contract::webhook::VerifyError,
    contract::wire::{CallbackEvent, FileRole, JobStatus},
};
use third_party::{CallbackDefect, Contradiction, JobFault, ReportedStatus, Secrets};
use tokio::time::Instant;

use crate::support::{ADMIN_KEY, API_KEY, Harness, KEY, NOTES, SIGNING_SECRET, eventually, job_id};

async fn status(harness: &Harness) -> Option<JobStatus> {
    let response = harness.get(&format!("/v1/jobs?idempotencyKey={KEY}")).await;
    if response.status() == StatusCode::NOT_FOUND { None } else { Some(response.json().await.unwrap()) }
}

#[tokio::test]
async fn the_callback_is_signed_and_agrees_with_the_status() {
    let harness = Harness::start().await;
    let succeeded = harness.notes_result().await;
    let delivery = harness.receiver.deliveries().remove(0);
    assert!(delivery.id().starts_with("evt_"));
    assert_eq!(delivery.headers["content-type"], "application/json");
    assert_eq!(status(&harness).await, Some(JobStatus::Succeeded(succeeded.clone())));
    let by_id = harness.get(&format!("/v1/jobs/{}", succeeded.job_id)).await;
    assert_eq!(by_id.json::<JobStatus>().await.unwrap(), JobStatus::Succeeded(succeeded));
}

#[tokio::test]
async fn the_callback_is_repeated_until_it_is_accepted() {
    let harness = Harness::start().await;
    harness.receiver.answer(&[500, 503, 302, 404]);
    harness.push_notes().await;
    let deliveries = harness.receiver.wait_for(5).await;
    let first = deliveries[0].id();
    assert!(deliveries.iter().all(|delivery| delivery.id() == first && delivery.body == deliveries[0].body));
    let job = eventually("five notes", || harness.job().filter(|job| job.callbacks.len() == 5)).await;
    let statuses: Vec<_> = job.callbacks.iter().map(|callback| callback.status).collect();
    assert_eq!(statuses, [Some(500), Some(503), Some(302), Some(404), Some(204)]);
}

#[tokio::test]
async fn the_callback_is_abandoned_after_the_last_attempt() {
    let harness = Harness::start_with(|config| config.callback_tries = 3).await;
    harness.receiver.answer(&[500; 10]);
    harness.push_notes().await;
    // A second job is called back after the first one's last attempt, so a fourth attempt would be seen.
    eventually("three notes", || harness.job().filter(|job| job.callbacks.len() == 3)).await;
    let mut other = harness.push("text/plain", NOTES).build().unwrap();
    other.headers_mut().insert("idempotency-key", "another-1".parse().unwrap());
    harness.client.execute(other).await.unwrap();
    harness.receiver.wait_for(6).await;
    assert_eq!(harness.job().unwrap().callbacks.len(), 3);
}

#[tokio::test]
async fn a_refused_or_unwanted_callback_is_not_repeated() {
    for answer in [401, 410] {
        let harness = Harness::start().await;
        harness.receiver.answer(&[answer]);
        harness.fault(JobFault::DoubleCallback { same_id: false });
        harness.push_notes().await;
        // The next delivery is the second event, not the first one again.
        let deliveries = harness.receiver.wait_for(2).await;
        assert_ne!(deliveries[0].id(), deliveries[1].id());
    }
}

#[tokio::test]
async fn a_callback_to_an_unreachable_receiver_is_retried() {
    let harness = Harness::start().await;
    let mut request = harness.push("text/plain", NOTES).build().unwrap();
    request.headers_mut().insert("lectern-callback-url", "http://127.0.0.1:1/nobody".parse().unwrap());
    harness.client.execute(request).await.unwrap();
    let job = eventually("all tries", || harness.job().filter(|job| job.callbacks.len() == 8)).await;
    assert!(job.callbacks.iter().all(|callback| callback.error.as_deref() == Some("connect")));
    assert!(matches!(status(&harness).await, Some(JobStatus::Succeeded(_))));
}

#[tokio::test]
async fn a_callback_reaches_a_localhost_name() {
    let harness = Harness::start().await;
    let url = format!("http://abc123.execute-api.localhost:{}/callbacks/one", harness.receiver.port);
    let mut request = harness.push("text/plain", NOTES).build().unwrap();
    request.headers_mut().insert("lectern-callback-url", url.parse().unwrap());
    harness.client.execute(request).await.unwrap();
    harness.receiver.wait_for(1).await[0].succeeded();
}

#[tokio::test]
async fn case_37_a_callback_carries_a_signature_of_each_secret() {
    let new = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let harness = Harness::start_with(|config| {
        config.secrets = Secrets::parse(API_KEY, &format!("{new} {SIGNING_SECRET}"), ADMIN_KEY).unwrap();
    })
    .await;
    harness.push_notes().await;
    let delivery = harness.receiver.wait_for(1).await.remove(0);
    delivery.verify().unwrap();
    assert_eq!(delivery.headers["webhook-signature"].to_str().unwrap().split(' ').count(), 2);
}

#[tokio::test]
async fn a_job_is_working_until_its_delay_has_passed() {
    let harness = Harness::start_with(|config| config.delay = Duration::from_hours(1)).await;
    let response = harness.push_notes().await;
    let working = JobStatus::Working { job_id: job_id(response).await };
    assert_eq!(status(&harness).await, Some(working));
    assert!(harness.receiver.deliveries().is_empty());
}

#[tokio::test]
async fn case_33_without_a_callback_the_status_is_the_one_that_the_fault_names() {
    for wanted in [ReportedStatus::Working, ReportedStatus::Succeeded, ReportedStatus::Unknown] {
        let harness = Harness::start().await;
        harness.fault(JobFault::NoCallback { status: wanted });
        harness.push_notes().await;
        let name = match wanted {
            ReportedStatus::Working => "working",
            ReportedStatus::Succeeded => "succeeded",
            ReportedStatus::Unknown => "unknown",
        };
        eventually("the status", || harness.job().filter(|job| job.status == name)).await;
        match (wanted, status(&harness).await) {
            (ReportedStatus::Working, Some(JobStatus::Working { .. }))
            | (ReportedStatus::Succeeded, Some(JobStatus::Succeeded(_)))
            | (ReportedStatus::Unknown, None) => {}
            (_, other) => panic!("{wanted:?}: {other:?}"),
        }
        assert!(harness.receiver.deliveries().is_empty());
    }
}

#[tokio::test]
async fn case_31_an_early_callback_comes_before_the_answer() {
    let harness = Harness::start_with(|config| config.delay = Duration::from_hours(1)).await;
    harness.fault(JobFault::EarlyCallback);
    let response = harness.push_notes().await;
    assert_eq!(harness.receiver.deliveries().len(), 1, "the callback came before the answer");
    assert_eq!(harness.receiver.deliveries()[0].succeeded().job_id, job_id(response).await);
}

#[tokio::test]
async fn case_34_a_late_callback_comes_although_the_job_has_long_ended() {
    let late = |delay_ms| JobFault::LateCallback { delay_ms, status: ReportedStatus::Succeeded };
    let harness = Harness::start().await;
    harness.fault(late(3_600_000));
    harness.push_notes().await;
    eventually("the job's end", || harness.job().filter(|job| job.status == "succeeded")).await;
    assert!(harness.receiver.deliveries().is_empty());

    let harness = Harness::start().await;
    harness.fault(late(100));
    let begun = Instant::now();
    harness.notes_result().await;
    assert!(begun.elapsed() >= Duration::from_millis(100));
}

#[tokio::test]
async fn case_32_a_double_callback_is_sent_twice() {
    for same_id in [true, false] {
        let harness = Harness::start().await;
        harness.fault(JobFault::DoubleCallback { same_id });
        harness.push_notes().await;
        let deliveries = harness.receiver.wait_for(2).await;
        assert_eq!(deliveries[0].id() == deliveries[1].id(), same_id);
        assert_eq!(deliveries[0].body, deliveries[1].body);
    }
}

#[tokio::test]
async fn case_40_contradictory_callbacks_come_in_the_requested_order() {
    for order in [Contradiction::SucceededThenFailed, Contradiction::FailedThenSucceeded] {
        let harness = Harness::start().await;
        harness.fault(JobFault::ContradictoryCallback { order });
        harness.push_notes().await;
        let deliveries = harness.receiver.wait_for(2).await;
        assert_ne!(deliveries[0].id(), deliveries[1].id());
        let (good, bad) = match order {
            Contradiction::SucceededThenFailed => (&deliveries[0], &deliveries[1]),
            Contradiction::FailedThenSucceeded => (&deliveries[1], &deliveries[0]),
        };
        assert!(!good.succeeded().files.is_empty());
        assert_eq!(bad.failed_code(), "withdrawn");
        let first_failed = matches!(deliveries[0].callback().event, CallbackEvent::Failed(_));
        let status_failed = matches!(status(&harness).await, Some(JobStatus::Failed(_)));
        assert_eq!(first_failed, status_failed, "the status agrees with the first callback");
    }
}

#[tokio::test]
async fn cases_35_and_36_a_defective_callback_is_invalid_and_a_valid_one_may_follow() {
    for (defect, expected) in [
        (CallbackDefect::BadSignature, VerifyError::Signature),
        (CallbackDefect::StaleTimestamp, VerifyError::Timestamp),
        (CallbackDefect::FutureTimestamp, VerifyError::Timestamp),
        (CallbackDefect::MissingSignature, VerifyError::Header("webhook-signature")),
        (CallbackDefect::MissingId, VerifyError::Header("webhook-id")),
        (CallbackDefect::MissingTimestamp, VerifyError::Header("webhook-timestamp")),
    ] {
        let harness = Harness::start().await;
        harness.fault(JobFault::DefectiveCallback { defect, then_proper: true });
        harness.receiver.answer(&[401]);
        harness.push_notes().await;
        let deliveries = harness.receiver.wait_for(2).await;
        assert_eq!(deliveries[0].verify(), Err(expected), "{defect:?}");
        deliveries[1].succeeded();
    }
}

#[tokio::test]
async fn a_job_fails_with_the_error_of_the_fault() {
    let harness = Harness::start().await;
    harness.fault(JobFault::JobFails { code: "tired".to_owned(), message: "Not today.".to_owned() });
    harness.push_notes().await;
    assert_eq!(harness.receiver.wait_for(1).await[0].failed_code(), "tired");
    assert!(matches!(status(&harness).await, Some(JobStatus::Failed(_))));
}

#[tokio::test]
async fn a_callback_can_declare_too_many_files() {
    let harness = Harness::start().await;
    harness.fault(JobFault::ManyFiles { count: 51 });
    assert_eq!(harness.notes_result().await.files.len(), 51);
}

#[tokio::test]
async fn a_job_can_return_the_document_itself() {
    let harness = Harness::start().await;
    harness.fault(JobFault::ReturnDocument);
    let result = harness.notes_result().await;
    let file = result.files.last().unwrap();
    assert_eq!((file.role, file.media_type.as_str()), (FileRole::Attachment, "text/plain"));
    assert_eq!(harness.download(file).await.bytes().await.unwrap(), NOTES);
}

#[tokio::test]
async fn stopping_ends_the_server_and_removes_its_files() {
    let harness = Harness::start().await;
    harness.notes_result().await;
    let url = harness.server.url().to_owned();
    let client = harness.client.clone();
    harness.stop().await;
    assert!(client.get(url).send().await.is_err());
}
