//! Tests the step with the in-memory ports: one request, and the first final answer counts.

use rstest::rstest;

use super::*;
use crate::{
    contract::wire::{CallbackEvent, FileRole, JobSucceeded, ReturnedFile},
    document::{Attempt, DocumentState, TaskToken},
    ports::Reopening as _,
    testing::{
        Cut,
        world::{MemoryWorld, START, failed, object, returned_file, s3_event, succeeded},
    },
};

/// A document whose callback is overdue.
async fn overdue() -> (MemoryWorld, Input) {
    let world = MemoryWorld::default();
    let object = object("lesson.pdf", "v1");
    world.objects.upload(&object, None, b"%PDF-1.7".as_slice());
    world.receive_upload(&s3_event(&[(&object, "01")])).await.unwrap();
    let document = world.document(&object).unwrap().reference;
    world.store.begin_transfer(&document, Attempt(1000), Round(1), START).await.unwrap();
    world.store.await_callback(&document, TaskToken::new("token"), START);
    world.states.expire(&TaskToken::new("token"));
    (world, Input { envelope: Envelope::new(document, Attempt(1000)), round: Round(1) })
}

fn job() -> JobSucceeded {
    let file = returned_file("text.txt", FileRole::Text, "text/plain", b"the lesson");
    JobSucceeded { job_id: "job".to_owned(), files: vec![file] }
}

fn set(world: &MemoryWorld, input: &Input, status: JobStatus) {
    world.third_party.set_status(&idempotency_key(input.envelope.document.document_id, input.round), status);
}

fn status_of(event: CallbackEvent) -> JobStatus {
    match event {
        CallbackEvent::Succeeded(job) => JobStatus::Succeeded(job),
        CallbackEvent::Failed(job) => JobStatus::Failed(job),
    }
}

#[tokio::test]
async fn case_33_result_of_a_callback_that_never_came_is_adopted() {
    let (world, input) = overdue().await;
    set(&world, &input, JobStatus::Succeeded(job()));
    assert_eq!(world.probe(input.clone()).await.unwrap().status, Status::ResultStored);
    assert_eq!(world.store.begin_verify(&input.envelope.document, START), Some(JobResult::Succeeded(job())));
    assert_eq!(world.count("status"), 1, "it asks once");
}

#[tokio::test]
async fn case_33_failure_of_a_callback_that_never_came_is_adopted() {
    let (world, input) = overdue().await;
    set(&world, &input, status_of(failed("encrypted")));
    assert_eq!(world.probe(input.clone()).await.unwrap().status, Status::ResultStored);
    assert!(matches!(world.store.begin_verify(&input.envelope.document, START), Some(JobResult::Failed(_))));
}

/// A new round is a new job: if the third party answers with the old job, it has no job of this round.
#[tokio::test]
async fn answer_with_a_job_that_was_failed_for_is_no_result() {
    let (world, input) = overdue().await;
    world.store.record_job(&input.envelope.document, Attempt(1000), "job").await.unwrap();
    world.store.reopen(&input.envelope.document, 0, true, START).await.unwrap();
    set(&world, &input, JobStatus::Succeeded(job()));
    assert_eq!(world.probe(input.clone()).await.unwrap().status, Status::Unknown);
    assert_eq!(world.store.get(&input.envelope.document).unwrap().result, None);
}

#[rstest]
#[case::working(Some(JobStatus::Working { job_id: "job".to_owned() }), Status::Working)]
#[case::unknown(None, Status::Unknown)]
#[tokio::test]
async fn case_33_job_without_a_result_is_answered_as_it_stands(
    #[case] status: Option<JobStatus>,
    #[case] expected: Status,
) {
    let (world, input) = overdue().await;
    if let Some(status) = status {
        set(&world, &input, status);
    }
    let before = world.store.get(&input.envelope.document).unwrap();
    assert_eq!(world.probe(input.clone()).await.unwrap().status, expected);
    let after = world.store.get(&input.envelope.document).unwrap();
    assert_eq!(Document { job_id: None, ..after }, before, "only the job's id may be news");
}

/// The answer to the submission was lost, so the probe is the first to learn the job's id.
#[tokio::test]
async fn s07_probe_learns_the_job_so_that_no_other_jobs_result_is_taken() {
    let (world, input) = overdue().await;
    set(&world, &input, JobStatus::Working { job_id: "job-1".to_owned() });
    assert_eq!(world.probe(input.clone()).await.unwrap().status, Status::Working);
    world.call_back(&input.envelope.document, succeeded(&[])).await;
    let document = world.store.get(&input.envelope.document).unwrap();
    assert_eq!((document.job_id.as_deref(), document.result), (Some("job-1"), None));
}

#[tokio::test]
async fn s07_job_that_the_third_party_gives_for_the_key_is_the_documents_job() {
    let (world, input) = overdue().await;
    world.store.record_job(&input.envelope.document, Attempt(1000), "job-0").await.unwrap();
    set(&world, &input, JobStatus::Succeeded(job()));
    assert_eq!(world.probe(input.clone()).await.unwrap().status, Status::ResultStored);
    let document = world.store.get(&input.envelope.document).unwrap();
    assert_eq!(
        (document.job_id.as_deref(), document.result),
        (Some("job"), Some(JobResult::Succeeded(job())))
    );
}

#[rstest]
#[case(JobStatus::Succeeded(JobSucceeded { job_id: "j".repeat(257), ..job() }))]
#[case(status_of(CallbackEvent::Failed(crate::contract::wire::JobFailed { job_id: String::new(), error: crate::contract::wire::JobError { code: "x".to_owned(), message: "x".into() } })))]
#[tokio::test]
async fn s12_answer_with_an_impossible_job_id_fails_the_document(#[case] status: JobStatus) {
    let (world, input) = overdue().await;
    set(&world, &input, status);
    assert_eq!(world.probe(input.clone()).await.unwrap().status, Status::ResultStored);
    let document = world.store.get(&input.envelope.document).unwrap();
    assert!(matches!(document.result, Some(JobResult::Failed(job)) if job.error.code == "contractBroken"));
    assert_eq!(document.job_id, None);
}

#[tokio::test]
async fn question_is_about_the_job_of_its_round() {
    let (world, input) = overdue().await;
    set(&world, &input, JobStatus::Succeeded(job()));
    assert_eq!(world.probe(Input { round: Round(2), ..input }).await.unwrap().status, Status::Unknown);
}

#[tokio::test]
async fn case_34_late_result_wins_and_nobody_is_asked() {
    let (world, input) = overdue().await;
    world.call_back(&input.envelope.document, succeeded(&[])).await;
    set(&world, &input, status_of(failed("encrypted")));
    assert_eq!(world.probe(input.clone()).await.unwrap().status, Status::ResultStored);
    assert_eq!(world.count("status"), 0);
    assert!(matches!(
        world.store.begin_verify(&input.envelope.document, START),
        Some(JobResult::Succeeded(_))
    ));
}

#[tokio::test]
async fn case_40_callback_that_contradicts_an_adopted_answer_changes_nothing() {
    let (world, input) = overdue().await;
    set(&world, &input, JobStatus::Succeeded(job()));
    world.probe(input.clone()).await.unwrap();
    world.call_back(&input.envelope.document, failed("late")).await;
    assert_eq!(world.store.get(&input.envelope.document).unwrap().result, Some(JobResult::Succeeded(job())));
}

#[tokio::test]
async fn answer_that_breaks_the_contracts_limits_fails_the_job() {
    let (world, input) = overdue().await;
    let file = ReturnedFile { sha256: "short".to_owned(), ..job().files.remove(0) };
    set(&world, &input, JobStatus::Succeeded(JobSucceeded { files: vec![file], ..job() }));
    assert_eq!(world.probe(input.clone()).await.unwrap().status, Status::ResultStored);
    let result = world.store.begin_verify(&input.envelope.document, START);
    assert!(matches!(result, Some(JobResult::Failed(job)) if job.error.code == "contractBroken"));
}

#[rstest]
#[case(Error::Unavailable("503".to_owned()))]
#[case(Error::Unauthorized)]
#[case(Error::RateLimited { retry_at: START })]
#[tokio::test]
async fn third_party_that_does_not_answer_is_an_error_for_the_state_machine(#[case] error: Error) {
    let (world, input) = overdue().await;
    let name = error.name();
    world.third_party.refuse_next(error);
    assert_eq!(world.probe(input.clone()).await.unwrap_err().name(), name);
    assert_eq!(world.probe(input).await.unwrap().status, Status::Unknown);
}

/// Cases 19 and 20, for this step.
#[tokio::test]
async fn case_19_case_20_run_killed_at_any_call_gives_the_same_result() {
    let calls = {
        let (world, input) = overdue().await;
        set(&world, &input, JobStatus::Succeeded(job()));
        let before = world.faults.calls().len();
        world.probe(input).await.unwrap();
        world.faults.calls().split_off(before)
    };
    assert_eq!(calls, ["load", "status", "record_job", "record_result"]);
    for call in calls {
        for cut in [Cut::Before, Cut::After] {
            let (world, input) = overdue().await;
            set(&world, &input, JobStatus::Succeeded(job()));
            world.faults.cut_next(call, cut);
            let name = if call == "status" { "ThirdParty.Unavailable" } else { "Store.Unavailable" };
            assert_eq!(world.probe(input.clone()).await.unwrap_err().name(), name);
            for _ in 0..2 {
                assert_eq!(world.probe(input.clone()).await.unwrap().status, Status::ResultStored);
            }
            let stored = world.store.get(&input.envelope.document).unwrap();
            assert_eq!(stored.result, Some(JobResult::Succeeded(job())), "{call} {cut:?}");
            assert_eq!(stored.state, DocumentState::Verifying, "{call} {cut:?}");
        }
    }
}
