//! A third party that limits the rate, is unavailable, loses its answer or rejects a submitted document.

use third_party::{FaultRule, RetryAfter, SubmissionFault, SubmissionView};

use crate::{
    aws_json::sha256_hex,
    case::{Case, Upload},
    content::{text, text_of},
};

/// The status codes of the answers to the document's submissions; `None` means that the connection was cut.
async fn answers(case: &Case, upload: &Upload) -> Vec<Option<u16>> {
    let seen = case.stack.submissions(upload.id()).await;
    seen.into_iter().map(|SubmissionView { status, .. }| status).collect()
}

pub(crate) async fn waits_for_the_rate_limit(fault: SubmissionFault, status: u16) {
    let case = Case::begin();
    let upload = case.upload_with("busy.txt", text(), [fault.into()]).await;
    case.stack.ready(&upload).await;
    assert_eq!(answers(&case, &upload).await, [Some(status), Some(201)]);
    let entered = case.stack.states_entered(&upload).await;
    let permits = entered.iter().filter(|state| *state == "WaitForPermitStart").count();
    assert_eq!(permits, 2, "a permit for each request: {entered:?}");
    case.stack.only_job(&upload).await;
}

#[tokio::test]
async fn case_25_retry_after_in_seconds_is_honoured() {
    let retry_after = Some(RetryAfter::Seconds(30));
    waits_for_the_rate_limit(SubmissionFault::RateLimited { retry_after }, 429).await;
}

#[tokio::test]
async fn case_25_retry_after_as_a_date_is_honoured() {
    let retry_after = Some(RetryAfter::Date { date_in_s: 30 });
    waits_for_the_rate_limit(SubmissionFault::RateLimited { retry_after }, 429).await;
}

#[tokio::test]
async fn case_25_retry_after_in_the_past_or_garbage_or_missing_is_bounded() {
    let given =
        [Some(RetryAfter::Date { date_in_s: -90 }), Some(RetryAfter::Text("soon, maybe".to_owned())), None];
    for retry_after in given {
        waits_for_the_rate_limit(SubmissionFault::RateLimited { retry_after }, 429).await;
    }
}

#[tokio::test]
async fn case_25_413_with_retry_in_is_honoured() {
    waits_for_the_rate_limit(SubmissionFault::NoRoom { retry_in: 30 }, 413).await;
}

#[tokio::test]
async fn case_26_upload_that_is_reset_midway_is_streamed_again_and_makes_one_whole_job() {
    let case = Case::begin();
    let bytes = text_of(900_000);
    let hash = sha256_hex(&bytes);
    let reset = |id| FaultRule::for_key(id, SubmissionFault::ResetUpload { after_bytes: 300_000 }).times(2);
    let upload = case.upload_held("reset.txt", bytes, reset).await;
    case.stack.ready(&upload).await;
    let answers = answers(&case, &upload).await;
    assert_eq!(answers.iter().filter(|status| status.is_none()).count(), 2, "{answers:?}");
    let job = case.stack.only_job(&upload).await;
    assert_eq!((job.sha256.as_deref(), job.submissions), (Some(hash.as_str()), 1));
}

#[tokio::test]
async fn case_26_server_errors_are_retried() {
    let case = Case::begin();
    let errors = [500, 503, 502].map(|status| SubmissionFault::ServerError { status }.into());
    let upload = case.upload_with("broken.txt", text(), errors).await;
    case.stack.ready(&upload).await;
    assert_eq!(answers(&case, &upload).await, [Some(500), Some(503), Some(502), Some(201)]);
    case.stack.only_job(&upload).await;
}

#[tokio::test]
async fn case_27_d01_job_whose_answer_was_lost_is_found_by_its_key_and_not_sent_again() {
    let case = Case::begin();
    let upload = case.upload_with("lost.txt", text(), [SubmissionFault::LoseAnswer.into()]).await;
    case.stack.ready(&upload).await;
    let job = case.stack.only_job(&upload).await;
    assert_eq!(job.submissions, 1, "{job:?}");
    let entered = case.stack.states_entered(&upload).await;
    assert!(entered.iter().any(|state| state == "ProbeJob"), "{entered:?}");
    assert_eq!(entered.iter().filter(|state| *state == "AwaitPermit").count(), 1, "{entered:?}");
    assert_eq!(case.stack.record(&upload).await["provenance"]["jobId"], job.job_id.as_str());
}

#[tokio::test]
async fn case_27_job_whose_answer_came_too_late_is_adopted() {
    let case = Case::begin();
    // Longer than the parameter `TransferRequestSeconds` of the tests' stack.
    let slow = SubmissionFault::SlowUpload { bytes_per_second: None, pause_ms: Some(7_000) };
    let upload = case.upload_with("slow.txt", text(), [slow.into()]).await;
    case.stack.ready(&upload).await;
    case.stack.only_job(&upload).await;
}

#[tokio::test]
async fn case_28_refused_credentials_make_the_document_wait_until_they_are_accepted() {
    let case = Case::begin();
    let refusals = [401, 403].map(|status| SubmissionFault::Unauthorized { status }.into());
    let upload = case.upload_with("parked.txt", text(), refusals).await;
    case.stack.ready(&upload).await;
    assert_eq!(answers(&case, &upload).await, [Some(401), Some(403), Some(201)]);
}

#[tokio::test]
async fn case_30_document_that_is_refused_for_good_fails_with_the_reason_and_is_not_sent_again() {
    let case = Case::begin();
    let message = "The file is protected by a password. Remove it and upload the file again.".to_owned();
    let fault = SubmissionFault::Rejected { code: "encrypted".to_owned(), message: message.clone() };
    let upload = case.upload_with_lasting("locked.txt", text(), fault).await;
    case.stack.not_accepted(&upload, "encrypted").await;
    let reason = case.stack.load(&upload).await.unwrap().reason.unwrap();
    assert_eq!(reason.message, message.as_str());
    assert_eq!(answers(&case, &upload).await, [Some(422)]);
    let (submission, _) = case.settled(1).await;
    assert_eq!(submission.counts.failed, 1);
}
