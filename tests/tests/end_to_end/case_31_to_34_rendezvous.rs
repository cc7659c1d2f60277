//! Callbacks that come early, twice, late or never.

use lectern::document::DocumentState;
use third_party::{JobFault, JobView, ReportedStatus};

use crate::{
    case::{Case, Upload},
    content::text,
    wait::{LATER, SOON, eventually},
};

/// Waits until the third party has sent this number of callbacks for the document's first job, and returns the job.
async fn called_back(case: &Case, upload: &Upload, times: usize) -> JobView {
    eventually("the callbacks are sent", LATER, async || {
        let job = case.stack.jobs(upload.id()).await.into_iter().next().ok_or("there is no job")?;
        let count = job.callbacks.len();
        if count == times { Ok(job) } else { Err(format!("{count} of {times}")) }
    })
    .await
}

#[tokio::test]
async fn case_31_callback_before_the_token_is_met_at_the_rendezvous() {
    let case = Case::begin();
    let upload = case.upload_with("early.txt", text(), [JobFault::EarlyCallback.into()]).await;
    let document = case.stack.ready(&upload).await;
    assert_eq!(case.stack.only_job(&upload).await.callbacks[0].status, Some(200));
    assert!(!document.times.contains_key("Processing"), "the execution never waited: {:?}", document.times);
    let entered = case.stack.states_entered(&upload).await;
    assert!(!entered.iter().any(|state| state == "ProbeJob"), "{entered:?}");
}

#[tokio::test]
async fn case_32_duplicate_callback_is_answered_2xx_and_changes_nothing() {
    let case = Case::begin();
    let mut uploads = Vec::new();
    for same_id in [true, false] {
        let fault = JobFault::DoubleCallback { same_id };
        uploads.push(case.upload_with(&format!("double-{same_id}.txt"), text(), [fault.into()]).await);
    }
    for upload in &uploads {
        let first = case.stack.ready(upload).await;
        let job = called_back(&case, upload, 2).await;
        assert!(job.callbacks.iter().all(|callback| callback.status == Some(200)), "{:?}", job.callbacks);
        let then = case.stack.load(upload).await.unwrap();
        assert_eq!((then.state, then.times), (DocumentState::Ready, first.times));
    }
}

#[tokio::test]
async fn case_33_result_of_a_job_that_never_calls_back_is_adopted_by_the_probe() {
    let case = Case::begin();
    let silent = JobFault::NoCallback { status: ReportedStatus::Succeeded };
    let upload = case.upload_with_lasting("silent.txt", text(), silent).await;
    case.stack.ready(&upload).await;
    let job = case.stack.only_job(&upload).await;
    assert_eq!((job.submissions, job.callbacks.len()), (1, 0));
    let entered = case.stack.states_entered(&upload).await;
    assert_eq!(entered.iter().filter(|state| *state == "ProbeJob").count(), 1, "probed once: {entered:?}");
}

#[tokio::test]
async fn case_33_job_that_the_third_party_does_not_know_is_transferred_again() {
    let case = Case::begin();
    let forgotten = JobFault::NoCallback { status: ReportedStatus::Unknown };
    let upload = case.upload_with("forgotten.txt", text(), [forgotten.into()]).await;
    case.stack.ready(&upload).await;
    let jobs = case.stack.jobs(upload.id()).await;
    let keys: Vec<&str> = jobs.iter().map(|job| job.idempotency_key.as_str()).collect();
    assert_eq!(keys, [format!("{}-1", upload.id()), format!("{}-2", upload.id())]);
    assert!(jobs.iter().all(|job| job.submissions == 1));
}

#[tokio::test]
async fn case_33_document_whose_job_never_ends_fails_after_a_bounded_time() {
    let case = Case::begin();
    let endless = JobFault::NoCallback { status: ReportedStatus::Working };
    let upload = case.upload_with_lasting("endless.txt", text(), endless).await;
    assert_eq!(case.stack.failed(&upload, "overdue").await, "ThirdParty.Overdue");
    case.stack.only_job(&upload).await;
}

#[tokio::test]
async fn case_34_callback_after_the_timeout_ends_the_wait_that_follows() {
    let case = Case::begin();
    let late = JobFault::LateCallback { delay_ms: 20_000, status: ReportedStatus::Working };
    let upload = case.upload_with_lasting("late.txt", text(), late).await;
    case.stack.ready(&upload).await;
    assert_eq!(called_back(&case, &upload, 1).await.callbacks[0].status, Some(200));
    let entered = case.stack.states_entered(&upload).await;
    assert!(entered.iter().any(|state| state == "ProbeJob"), "the job was overdue before: {entered:?}");
    case.stack.only_job(&upload).await;
}

#[tokio::test]
async fn case_34_callback_after_the_document_has_failed_is_kept() {
    let case = Case::begin();
    let too_late = JobFault::LateCallback { delay_ms: 40_000, status: ReportedStatus::Unknown };
    let upload = case.upload_with_lasting("too-late.txt", text(), too_late).await;
    assert_eq!(case.stack.failed(&upload, "overdue").await, "ThirdParty.Overdue");
    assert!(case.stack.load(&upload).await.unwrap().result.is_none());
    assert_eq!(called_back(&case, &upload, 1).await.callbacks[0].status, Some(200));
    let document = eventually("the late result is stored", SOON, async || {
        let document = case.stack.load(&upload).await.ok_or("gone")?;
        if document.result.is_some() { Ok(document) } else { Err("no result") }
    })
    .await;
    assert_eq!(document.state, DocumentState::Failed, "the document stays failed until a redrive");
}
