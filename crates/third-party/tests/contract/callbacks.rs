//! Callbacks: signed, retried, and wrong on demand; and what the status endpoint says meanwhile.

use std::time::Duration;

use http::StatusCode;
use lectern::{
    contract::webhook::VerifyError,
    contract::wire::{CallbackEvent, FileRole, JobStatus},
};
use third_party::{CallbackDefect, Contradiction, JobFault, ReportedStatus, Secrets};
use tokio::time::Instant;

use crate::support::{ADMIN_KEY, API_KEY, House, KEY, NOTES, SIGNING_SECRET, eventually, job_id};

async fn status(house: &House) -> Option<JobStatus> {
    let response = house.get(&format!("/v1/jobs?idempotencyKey={KEY}")).await;
    if response.status() == StatusCode::NOT_FOUND { None } else { Some(response.json().await.unwrap()) }
}

#[tokio::test]
async fn the_callback_is_signed_and_says_what_the_status_says() {
    let house = House::start().await;
    let succeeded = house.notes_result().await;
    let delivery = house.receiver.deliveries().remove(0);
    assert!(delivery.id().starts_with("evt_"));
    assert_eq!(delivery.headers["content-type"], "application/json");
    assert_eq!(status(&house).await, Some(JobStatus::Succeeded(succeeded.clone())));
    let by_id = house.get(&format!("/v1/jobs/{}", succeeded.job_id)).await;
    assert_eq!(by_id.json::<JobStatus>().await.unwrap(), JobStatus::Succeeded(succeeded));
}

#[tokio::test]
async fn the_callback_is_repeated_until_it_is_taken() {
    let house = House::start().await;
    house.receiver.answer(&[500, 503, 302, 404]);
    house.push_notes().await;
    let deliveries = house.receiver.wait_for(5).await;
    let first = deliveries[0].id();
    assert!(deliveries.iter().all(|delivery| delivery.id() == first && delivery.body == deliveries[0].body));
    let job = eventually("five notes", || house.job().filter(|job| job.callbacks.len() == 5)).await;
    let statuses: Vec<_> = job.callbacks.iter().map(|callback| callback.status).collect();
    assert_eq!(statuses, [Some(500), Some(503), Some(302), Some(404), Some(204)]);
}

#[tokio::test]
async fn the_callback_is_given_up_after_its_tries() {
    let house = House::start_with(|config| config.callback_tries = 3).await;
    house.receiver.answer(&[500; 10]);
    house.push_notes().await;
    // A second job of the same server comes after the first is given up, so that a fourth try would be seen.
    eventually("three notes", || house.job().filter(|job| job.callbacks.len() == 3)).await;
    let mut other = house.push("text/plain", NOTES).build().unwrap();
    other.headers_mut().insert("idempotency-key", "another-1".parse().unwrap());
    house.client.execute(other).await.unwrap();
    house.receiver.wait_for(6).await;
    assert_eq!(house.job().unwrap().callbacks.len(), 3);
}

#[tokio::test]
async fn a_refused_or_unwanted_callback_is_not_repeated() {
    for answer in [401, 410] {
        let house = House::start().await;
        house.receiver.answer(&[answer]);
        house.fault(JobFault::DoubleCallback { same_id: false });
        house.push_notes().await;
        // The second event comes next, not the first one again.
        let deliveries = house.receiver.wait_for(2).await;
        assert_ne!(deliveries[0].id(), deliveries[1].id());
    }
}

#[tokio::test]
async fn a_receiver_that_cannot_be_reached_is_tried_again() {
    let house = House::start().await;
    let mut request = house.push("text/plain", NOTES).build().unwrap();
    request.headers_mut().insert("lectern-callback-url", "http://127.0.0.1:1/nobody".parse().unwrap());
    house.client.execute(request).await.unwrap();
    let job = eventually("all tries", || house.job().filter(|job| job.callbacks.len() == 8)).await;
    assert!(job.callbacks.iter().all(|callback| callback.error.as_deref() == Some("connect")));
    assert!(matches!(status(&house).await, Some(JobStatus::Succeeded(_))));
}

#[tokio::test]
async fn a_callback_reaches_a_localhost_name() {
    let house = House::start().await;
    let url = format!("http://abc123.execute-api.localhost:{}/callbacks/one", house.receiver.port);
    let mut request = house.push("text/plain", NOTES).build().unwrap();
    request.headers_mut().insert("lectern-callback-url", url.parse().unwrap());
    house.client.execute(request).await.unwrap();
    house.receiver.wait_for(1).await[0].succeeded();
}

#[tokio::test]
async fn case_37_a_callback_carries_a_signature_of_each_secret() {
    let new = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let house = House::start_with(|config| {
        config.secrets = Secrets::parse(API_KEY, &format!("{new} {SIGNING_SECRET}"), ADMIN_KEY).unwrap();
    })
    .await;
    house.push_notes().await;
    let delivery = house.receiver.wait_for(1).await.remove(0);
    delivery.verify().unwrap();
    assert_eq!(delivery.headers["webhook-signature"].to_str().unwrap().split(' ').count(), 2);
}

#[tokio::test]
async fn a_job_is_working_until_its_time_has_come() {
    let house = House::start_with(|config| config.delay = Duration::from_hours(1)).await;
    let response = house.push_notes().await;
    let working = JobStatus::Working { job_id: job_id(response).await };
    assert_eq!(status(&house).await, Some(working));
    assert!(house.receiver.deliveries().is_empty());
}

#[tokio::test]
async fn case_33_without_a_callback_the_status_says_what_was_asked_for() {
    for wanted in [ReportedStatus::Working, ReportedStatus::Succeeded, ReportedStatus::Unknown] {
        let house = House::start().await;
        house.fault(JobFault::NoCallback { status: wanted });
        house.push_notes().await;
        let name = match wanted {
            ReportedStatus::Working => "working",
            ReportedStatus::Succeeded => "succeeded",
            ReportedStatus::Unknown => "unknown",
        };
        eventually("the status", || house.job().filter(|job| job.status == name)).await;
        match (wanted, status(&house).await) {
            (ReportedStatus::Working, Some(JobStatus::Working { .. }))
            | (ReportedStatus::Succeeded, Some(JobStatus::Succeeded(_)))
            | (ReportedStatus::Unknown, None) => {}
            (_, other) => panic!("{wanted:?}: {other:?}"),
        }
        assert!(house.receiver.deliveries().is_empty());
    }
}

#[tokio::test]
async fn case_31_an_early_callback_comes_before_the_answer() {
    let house = House::start_with(|config| config.delay = Duration::from_hours(1)).await;
    house.fault(JobFault::EarlyCallback);
    let response = house.push_notes().await;
    assert_eq!(house.receiver.deliveries().len(), 1, "it was there before the answer");
    assert_eq!(house.receiver.deliveries()[0].succeeded().job_id, job_id(response).await);
}

#[tokio::test]
async fn case_34_a_late_callback_comes_although_the_job_has_long_ended() {
    let late = |delay_ms| JobFault::LateCallback { delay_ms, status: ReportedStatus::Succeeded };
    let house = House::start().await;
    house.fault(late(3_600_000));
    house.push_notes().await;
    eventually("the job's end", || house.job().filter(|job| job.status == "succeeded")).await;
    assert!(house.receiver.deliveries().is_empty());

    let house = House::start().await;
    house.fault(late(100));
    let begun = Instant::now();
    house.notes_result().await;
    assert!(begun.elapsed() >= Duration::from_millis(100));
}

#[tokio::test]
async fn case_32_a_double_callback_repeats_itself() {
    for same_id in [true, false] {
        let house = House::start().await;
        house.fault(JobFault::DoubleCallback { same_id });
        house.push_notes().await;
        let deliveries = house.receiver.wait_for(2).await;
        assert_eq!(deliveries[0].id() == deliveries[1].id(), same_id);
        assert_eq!(deliveries[0].body, deliveries[1].body);
    }
}

#[tokio::test]
async fn case_40_contradictory_callbacks_come_in_the_order_that_was_asked_for() {
    for order in [Contradiction::SucceededThenFailed, Contradiction::FailedThenSucceeded] {
        let house = House::start().await;
        house.fault(JobFault::ContradictoryCallback { order });
        house.push_notes().await;
        let deliveries = house.receiver.wait_for(2).await;
        assert_ne!(deliveries[0].id(), deliveries[1].id());
        let (good, bad) = match order {
            Contradiction::SucceededThenFailed => (&deliveries[0], &deliveries[1]),
            Contradiction::FailedThenSucceeded => (&deliveries[1], &deliveries[0]),
        };
        assert!(!good.succeeded().files.is_empty());
        assert_eq!(bad.failed_code(), "withdrawn");
        let first_failed = matches!(deliveries[0].callback().event, CallbackEvent::Failed(_));
        let status_failed = matches!(status(&house).await, Some(JobStatus::Failed(_)));
        assert_eq!(first_failed, status_failed, "the status says what came first");
    }
}

#[tokio::test]
async fn cases_35_and_36_a_defective_callback_cannot_be_believed_and_a_proper_one_may_follow() {
    for (defect, expected) in [
        (CallbackDefect::BadSignature, VerifyError::Signature),
        (CallbackDefect::StaleTimestamp, VerifyError::Timestamp),
        (CallbackDefect::FutureTimestamp, VerifyError::Timestamp),
        (CallbackDefect::MissingSignature, VerifyError::Header("webhook-signature")),
        (CallbackDefect::MissingId, VerifyError::Header("webhook-id")),
        (CallbackDefect::MissingTimestamp, VerifyError::Header("webhook-timestamp")),
    ] {
        let house = House::start().await;
        house.fault(JobFault::DefectiveCallback { defect, then_proper: true });
        house.receiver.answer(&[401]);
        house.push_notes().await;
        let deliveries = house.receiver.wait_for(2).await;
        assert_eq!(deliveries[0].verify(), Err(expected), "{defect:?}");
        deliveries[1].succeeded();
    }
}

#[tokio::test]
async fn a_job_fails_with_the_words_that_were_asked_for() {
    let house = House::start().await;
    house.fault(JobFault::JobFails { code: "tired".to_owned(), message: "Not today.".to_owned() });
    house.push_notes().await;
    assert_eq!(house.receiver.wait_for(1).await[0].failed_code(), "tired");
    assert!(matches!(status(&house).await, Some(JobStatus::Failed(_))));
}

#[tokio::test]
async fn a_callback_can_declare_too_many_files() {
    let house = House::start().await;
    house.fault(JobFault::ManyFiles { count: 51 });
    assert_eq!(house.notes_result().await.files.len(), 51);
}

#[tokio::test]
async fn a_job_can_return_the_document_itself() {
    let house = House::start().await;
    house.fault(JobFault::ReturnDocument);
    let result = house.notes_result().await;
    let file = result.files.last().unwrap();
    assert_eq!((file.role, file.media_type.as_str()), (FileRole::Attachment, "text/plain"));
    assert_eq!(house.download(file).await.bytes().await.unwrap(), NOTES);
}

#[tokio::test]
async fn stopping_ends_the_server_and_removes_its_files() {
    let house = House::start().await;
    house.notes_result().await;
    let url = house.server.url().to_owned();
    let client = house.client.clone();
    house.stop().await;
    assert!(client.get(url).send().await.is_err());
}
