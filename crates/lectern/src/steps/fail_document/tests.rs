//! Tests the step with the in-memory ports: the recorded reason, and that a document ends once.

use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;
use time::Duration;

use super::*;
use crate::{
    contract::wire::{CallbackEvent, JobError, JobFailed},
    document::{Attempt, DocumentRef, DocumentState, ObjectVersion},
    ports::Reopening as _,
    testing::{
        Cut,
        world::{MemoryWorld, START, failed, object, s3_event},
    },
};

async fn registered() -> (MemoryWorld, DocumentRef) {
    let world = MemoryWorld::default();
    let object: ObjectVersion = object("lesson.pdf", "v1");
    world.objects.upload(&object, None, b"%PDF-1.7".as_slice());
    world.receive_upload(&s3_event(&[(&object, "01")])).await.unwrap();
    let document = world.document(&object).unwrap().reference;
    (world, document)
}

fn input(document: &DocumentRef, error: &str, cause: &str) -> Input {
    Input {
        envelope: Envelope::new(document.clone(), Attempt(1000)),
        error: error.to_owned(),
        cause: cause.to_owned(),
        redrives: 0,
    }
}

/// The cause as Lambda reports it: an envelope whose message is our cause.
fn envelope(error: &Error) -> String {
    json!({ "errorType": error.name(), "errorMessage": error.cause().to_string() }).to_string()
}

fn drm() -> Error {
    Error::Rejected(Reason::new("drmProtected", "No DRM, please."))
}

#[rstest]
#[case::our_cause("ThirdParty.Rejected", drm().cause().to_string(), "drmProtected")]
#[case::lambdas_envelope("ThirdParty.Rejected", envelope(&drm()), "drmProtected")]
#[case::rate_limited(
    "ThirdParty.RateLimited", Error::RateLimited { retry_at: START }.cause().to_string(), "rateLimited"
)]
#[case::source_gone("Source.Gone", Error::SourceGone("deleted".to_owned()).cause().to_string(), "sourceGone")]
#[case::overdue("ThirdParty.Overdue", String::new(), "overdue")]
#[case::timeout("States.Timeout", String::new(), "timeout")]
#[case::timeout_with_text("States.Timeout", "Task timed out after 3 s".to_owned(), "timeout")]
#[case::panic("Runtime.ExitError", r#"{"errorMessage":"RequestId: x Error: exit status 1"}"#.to_owned(), "internal")]
#[case::garbage("Lambda.Unknown", "\u{0}{]garbage".to_owned(), "internal")]
#[case::empty("", String::new(), "internal")]
#[case::half_a_reason("X", r#"{"reason":{"code":1}}"#.to_owned(), "internal")]
#[case::envelope_in_envelopes("X", json!({"errorMessage": envelope(&drm())}).to_string(), "drmProtected")]
#[tokio::test]
async fn reason_is_found_in_whatever_the_state_machine_caught(
    #[case] error: &str,
    #[case] cause: String,
    #[case] code: &str,
) {
    let (world, document) = registered().await;
    let output = world.fail(input(&document, error, &cause)).await.unwrap();
    assert_eq!(output.code, code);
    let stored = world.store.get(&document).unwrap();
    assert_eq!((stored.state, stored.reason.unwrap().code), (DocumentState::Failed, output.code));
    let counts = world.store.submission_now(&document.submission_id).unwrap().counts;
    assert_eq!((counts.open, counts.failed), (0, 1));
}

#[tokio::test]
async fn case_30_reason_of_a_failed_job_is_the_third_partys() {
    let (world, document) = registered().await;
    world.call_back(&document, failed("encrypted")).await;
    world.fail(input(&document, "ThirdParty.Rejected", "")).await.unwrap();
    let reason = world.store.get(&document).unwrap().reason;
    assert_eq!(reason, Some(Reason::new("encrypted", "The service gave it up.")));
}

#[tokio::test]
async fn case_30_third_partys_words_are_made_displayable() {
    let (world, document) = registered().await;
    let error = JobError {
        code: "<script>".to_owned(),
        message: format!("No\u{7} DRM{}", "!".repeat(10_000)).into(),
    };
    world.call_back(&document, CallbackEvent::Failed(JobFailed { job_id: "job".to_owned(), error })).await;
    world.fail(input(&document, "ThirdParty.Rejected", "")).await.unwrap();
    let reason = world.store.get(&document).unwrap().reason.unwrap();
    assert_eq!(reason.code, "rejected", "a code is a plain word");
    assert!(
        reason.message.starts_with("No DRM!") && reason.message.chars().count() <= 300,
        "{}",
        reason.message.len()
    );
}

/// A retry by the state machine can take effect minutes later, after a redrive.
#[tokio::test]
async fn late_execution_does_not_end_a_document_that_was_redriven() {
    let (world, document) = registered().await;
    let first = input(&document, "ThirdParty.Overdue", "");
    world.fail(first.clone()).await.unwrap();
    world.store.reopen(&document, 0, false, world.clock.now()).await.unwrap();
    world.fail(first.clone()).await.unwrap();
    assert_eq!(world.store.get(&document).unwrap().state, DocumentState::Received);
    world.fail(Input { redrives: 1, ..first }).await.unwrap();
    assert_eq!(world.store.get(&document).unwrap().state, DocumentState::Failed);
}

#[tokio::test]
async fn document_that_has_ended_is_left_as_it_is() {
    let (world, document) = registered().await;
    let first =
        world.fail(input(&document, "Source.Gone", &Error::SourceGone(String::new()).cause().to_string()));
    first.await.unwrap();
    let before = (world.store.all(), world.store.submission_now(&document.submission_id));
    world.clock.advance(Duration::minutes(1).unsigned_abs());
    world.fail(input(&document, "States.Timeout", "")).await.unwrap();
    assert_eq!((world.store.all(), world.store.submission_now(&document.submission_id)), before);
}

#[tokio::test]
async fn unknown_document_is_answered_and_nothing_written() {
    let (world, mut document) = registered().await;
    document.submission_id = "another".parse().unwrap();
    let before = world.store.all();
    world.fail(input(&document, "X", "")).await.unwrap();
    assert_eq!(world.store.all(), before);
}

#[test]
fn order_without_a_cause_is_read() {
    let order = r#"{"schemaVersion":2,"submissionId":"s1","documentId":"6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f","attempt":1000,"error":"X","redrives":0}"#;
    let input: Input = serde_json::from_str(order).unwrap();
    assert_eq!(input.cause, "");
}

/// Cases 19 and 20, for this step.
#[tokio::test]
async fn case_19_case_20_run_killed_at_any_call_gives_the_same_result() {
    for call in ["load", "finish"] {
        for cut in [Cut::Before, Cut::After] {
            let (world, document) = registered().await;
            world.faults.cut_next(call, cut);
            let order = input(&document, "X", &drm().cause().to_string());
            assert_eq!(world.fail(order.clone()).await.unwrap_err().name(), "Store.Unavailable");
            for _ in 0..2 {
                assert_eq!(world.fail(order.clone()).await.unwrap().code, "drmProtected");
            }
            let counts = world.store.submission_now(&document.submission_id).unwrap().counts;
            assert_eq!((counts.open, counts.failed), (0, 1), "{call} {cut:?}");
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_cause_never_panics(error: String, cause: String) {
        let document = DocumentRef { submission_id: "s1".parse().unwrap(), document_id: crate::document::DocumentId::of("b", b"k", "v") };
        let reason = reason_of(&input(&document, &error, &cause), None);
        prop_assert!(!reason.code.is_empty());
    }
}
