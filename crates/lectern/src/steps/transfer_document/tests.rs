//! Tests the step with the in-memory ports: push and pull delivery, every refusal, and that one document is one job.

mod crashes;
mod late;

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::stream;
use rstest::rstest;
use time::macros::datetime;

use super::*;
use crate::{
    document::{Attempt, DocumentRef, DocumentState, JobResult, ObjectVersion, Reason},
    ports::{ByteStream, ObjectHead},
    steps::fail_document,
    testing::{
        Cut,
        world::{MemoryWorld, START, failed_for, object, of_job, s3_event, succeeded},
    },
};

const PDF: &[u8] = b"%PDF-1.7\n1 0 obj and more";

async fn registered() -> (MemoryWorld, DocumentRef) {
    let world = MemoryWorld::default();
    let object = object("lesson.pdf", "v1");
    world.objects.upload(&object, None, PDF);
    world.receive_upload(&s3_event(&[(&object, "01")])).await.unwrap();
    let document = world.document(&object).unwrap().reference;
    (world, document)
}

fn input(document: &DocumentRef, attempt: u32, round: u32, token: &str) -> Input {
    Input {
        envelope: Envelope::new(document.clone(), Attempt(attempt)),
        permit_expires_at: START + time::Duration::hours(1),
        report_success: false,
        round: Round(round),
        task_token: TaskToken::new(token),
    }
}

/// The message of an attempt whose permit expires at `expires_at`.
fn expiring(document: &DocumentRef, attempt: u32, expires_at: OffsetDateTime, token: &str) -> Input {
    Input { permit_expires_at: expires_at, ..input(document, attempt, 1, token) }
}

fn answer(world: &MemoryWorld, token: &str) -> Option<Result<serde_json::Value, &'static str>> {
    world.states.answer(&TaskToken::new(token))
}

#[tokio::test]
async fn document_is_pushed_whole_and_the_state_machine_notified() {
    let (world, document) = registered().await;
    assert_eq!(world.transfer(input(&document, 1000, 1, "token")).await.unwrap(), Outcome::Transferred);
    let key = idempotency_key(document.document_id, Round(1));
    assert_eq!(world.third_party.jobs()[&key], PDF);
    assert_eq!(answer(&world, "token"), Some(Ok(json!({}))));
    let stored = world.store.get(&document).unwrap();
    assert_eq!((stored.state, stored.attempt), (DocumentState::Transferring, Some(Attempt(1000))));
    assert_eq!(stored.job_id, Some(format!("job-{key}")));
    assert_eq!(world.count("presign"), 0);
}

#[tokio::test]
async fn document_is_handed_over_by_url_and_its_bytes_not_read() {
    let (world, document) = registered().await;
    let outcome = world.transfer_by(6, &world.third_party, input(&document, 1000, 1, "token"), false).await;
    assert_eq!(outcome.unwrap(), Outcome::Transferred);
    let jobs = world.third_party.jobs();
    assert_eq!(jobs[&idempotency_key(document.document_id, Round(1))], b"https://uploads.example/v1");
    assert_eq!(world.count("open"), 0);
}

/// A third party that records and accepts each request.
#[derive(Default)]
struct Asked(std::sync::Mutex<Vec<JobRequest>>);

impl ThirdParty for Asked {
    async fn submit(&self, request: JobRequest) -> Result<String, Error> {
        self.0.lock().unwrap().push(request);
        Ok("job".to_owned())
    }

    async fn status(&self, _: &str) -> Result<Option<crate::contract::wire::JobStatus>, Error> {
        Ok(None)
    }

    fn verify_callback(
        _: &http::HeaderMap,
        _: &[u8],
        _: &crate::contract::webhook::SigningSecrets,
        _: time::OffsetDateTime,
    ) -> Result<crate::contract::callback::VerifiedCallback, crate::contract::webhook::VerifyError> {
        Err(crate::contract::webhook::VerifyError::Signature)
    }
}

#[tokio::test]
async fn request_tells_size_type_and_the_opaque_callback_url_and_no_token() {
    let (world, document) = registered().await;
    let asked = Asked::default();
    world.transfer_by(u64::MAX, &asked, input(&document, 1000, 2, "token"), false).await.unwrap();
    let request = asked.0.lock().unwrap().pop().unwrap();
    assert_eq!(request.idempotency_key, format!("{}-2", document.document_id));
    assert_eq!((request.size_bytes, request.media_type), (PDF.len() as u64, lectern_content::MediaType::Pdf));
    assert_eq!(request.callback_url, "https://lectern.example/callbacks/callback-0");
}

#[tokio::test]
async fn case_16_object_deleted_before_the_transfer_is_source_gone() {
    let (world, document) = registered().await;
    world.objects.delete(&object("lesson.pdf", "delete-marker"));
    let outcome = world.transfer(input(&document, 1000, 1, "token")).await.unwrap();
    assert_eq!(outcome, Outcome::Reported("Source.Gone"));
    assert_eq!(answer(&world, "token"), Some(Err("Source.Gone")));
    assert!(world.third_party.jobs().is_empty());
}

#[tokio::test]
async fn case_16_object_replaced_before_the_transfer_is_source_gone() {
    let (world, document) = registered().await;
    world.objects.upload(&object("lesson.pdf", "v2"), None, PDF);
    let outcome = world.transfer(input(&document, 1000, 1, "token")).await.unwrap();
    assert_eq!(outcome, Outcome::Reported("Source.Gone"));
    assert!(world.third_party.jobs().is_empty());
}

#[rstest]
#[case::rate_limited(Error::RateLimited { retry_at: datetime!(2026-11-20 16:05 UTC) }, "ThirdParty.RateLimited")]
#[case::unavailable(Error::Unavailable("503".to_owned()), "ThirdParty.Unavailable")]
#[case::unauthorized(Error::Unauthorized, "ThirdParty.Unauthorized")]
#[case::case_30_rejected(Error::Rejected(Reason::new("drm", "No.")), "ThirdParty.Rejected")]
#[tokio::test]
async fn refusal_is_reported_by_name_and_not_tried_again_here(
    #[case] error: Error,
    #[case] name: &'static str,
) {
    let (world, document) = registered().await;
    world.third_party.refuse_next(error);
    assert_eq!(world.transfer(input(&document, 1000, 1, "token")).await.unwrap(), Outcome::Reported(name));
    assert_eq!(answer(&world, "token"), Some(Err(name)));
    assert!(world.third_party.jobs().is_empty());
    assert_eq!(world.store.get(&document).unwrap().state, DocumentState::Transferring);
    assert_eq!(world.transfer(input(&document, 1001, 1, "next")).await.unwrap(), Outcome::Transferred);
}

/// Step Functions keeps an execution's history for 90 days, and other people may read it than the document.
#[tokio::test]
async fn a14_s11_third_partys_words_are_stored_with_the_document_and_not_in_the_executions_history() {
    let (world, document) = registered().await;
    let reason = Reason::new("drm", "The lesson of Ms Miller is protected.");
    world.third_party.refuse_next(Error::Rejected(reason.clone()));
    let outcome = world.transfer(input(&document, 1000, 1, "token")).await.unwrap();
    assert_eq!(outcome, Outcome::Reported("ThirdParty.Rejected"));
    let cause = world.states.cause(&TaskToken::new("token")).unwrap();
    assert_eq!(cause["reason"]["code"], "drm");
    assert!(!cause.to_string().contains("Miller"), "{cause}");

    let failed = world.fail(fail_document::Input {
        envelope: Envelope::new(document.clone(), Attempt(1000)),
        error: "ThirdParty.Rejected".to_owned(),
        cause: cause.to_string(),
        redrives: 0,
    });
    assert_eq!(failed.await.unwrap().code, "drm");
    assert_eq!(world.store.get(&document).unwrap().reason, Some(reason));
}

/// The refusal itself is certain, so only its words are lost.
#[tokio::test]
async fn a14_refusal_whose_words_cannot_be_stored_still_fails_the_document() {
    let (world, document) = registered().await;
    world.third_party.refuse_next(Error::Rejected(Reason::new("drm", "No.")));
    world.faults.cut_nth("record_result", 1, Cut::Before);
    let outcome = world.transfer(input(&document, 1000, 1, "token")).await.unwrap();
    assert_eq!(outcome, Outcome::Reported("ThirdParty.Rejected"));
    let cause = world.states.cause(&TaskToken::new("token")).unwrap();
    assert_eq!(cause["reason"]["message"], "The processing service does not accept this file.");
}

#[tokio::test]
async fn document_above_the_limit_for_pushes_is_pulled() {
    let (world, document) = registered().await;
    let size = world.store.get(&document).unwrap().size_bytes;
    for (limit, attempt, opened) in [(size - 1, 1000, 0), (size, 1001, 1)] {
        let message = input(&document, attempt, 1, &format!("token-{attempt}"));
        let outcome = world.transfer_by(limit, &world.third_party, message, false).await;
        assert_eq!((outcome.unwrap(), world.count("open")), (Outcome::Transferred, opened));
    }
}

#[tokio::test]
async fn case_20_message_that_is_delivered_again_after_its_effect_is_dropped() {
    let (world, document) = registered().await;
    assert_eq!(world.transfer(input(&document, 1000, 1, "token")).await.unwrap(), Outcome::Transferred);
    for _ in 0..3 {
        assert_eq!(world.transfer(input(&document, 1000, 1, "token")).await.unwrap(), Outcome::Dropped);
    }
    assert_eq!((world.third_party.jobs().len(), world.count("submit")), (1, 1));
    assert_eq!(answer(&world, "token"), Some(Ok(json!({}))));
}

/// Uploads whose first stream breaks after some bytes.
struct BreaksOnce<'w>(&'w MemoryWorld, AtomicBool);

impl Uploads for BreaksOnce<'_> {
    async fn head(&self, object: &ObjectVersion) -> Result<Option<ObjectHead>, Error> {
        self.0.objects.head(object).await
    }

    async fn current_version(&self, object: &ObjectVersion) -> Result<Option<String>, Error> {
        self.0.objects.current_version(object).await
    }

    async fn read(&self, object: &ObjectVersion, range: std::ops::Range<u64>) -> Result<Bytes, Error> {
        Uploads::read(&self.0.objects, object, range).await
    }
}

impl UploadReader for BreaksOnce<'_> {
    async fn open(&self, object: &ObjectVersion, size_bytes: u64) -> Result<ByteStream, Error> {
        if self.1.swap(true, Ordering::Relaxed) {
            return self.0.objects.open(object, size_bytes).await;
        }
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        Ok(Box::pin(stream::iter([Ok(Bytes::from_static(&PDF[..5])), Err(reset)])))
    }

    async fn presign(&self, object: &ObjectVersion) -> Result<String, Error> {
        self.0.objects.presign(object).await
    }
}

#[tokio::test]
async fn case_26_v01_stream_of_ours_that_breaks_is_no_fault_of_the_third_party_and_leaves_no_half_job() {
    let (world, document) = registered().await;
    let uploads = BreaksOnce(&world, AtomicBool::new(false));
    let settings = &Settings { push_max_bytes: u64::MAX, callback_base_url: "https://l.example".to_owned() };
    let MemoryWorld { store, third_party, states: tasks, clock, .. } = &world;
    let ports = Ports { store, uploads: &uploads, third_party, tasks, orders: tasks, clock, settings };
    let first = input(&document, 1000, 1, "first");
    let outcome = ports.handle(first, false).await.unwrap();
    assert_eq!(outcome, Outcome::Reported("Source.Unavailable"));
    assert!(third_party.jobs().is_empty(), "no half job");
    let second = input(&document, 1001, 1, "second");
    let outcome = ports.handle(second, false).await.unwrap();
    assert_eq!(outcome, Outcome::Transferred);
    assert_eq!(third_party.jobs()[&idempotency_key(document.document_id, Round(1))], PDF);
}

#[tokio::test]
async fn case_27_job_that_was_accepted_and_whose_answer_was_lost_is_adopted() {
    let (world, document) = registered().await;
    world.faults.cut_next("submit", Cut::After);
    let outcome = world.transfer(input(&document, 1000, 1, "first")).await.unwrap();
    assert_eq!(outcome, Outcome::Reported("ThirdParty.OutcomeUnknown"));
    assert_eq!(world.transfer(input(&document, 1001, 1, "second")).await.unwrap(), Outcome::Transferred);
    assert_eq!(world.third_party.jobs().len(), 1);
    let key = idempotency_key(document.document_id, Round(1));
    assert_eq!(world.store.get(&document).unwrap().job_id, Some(format!("job-{key}")));
}

#[tokio::test]
async fn message_of_an_older_attempt_is_dropped_and_its_token_left_alone() {
    let (world, document) = registered().await;
    world.transfer(input(&document, 2000, 2, "newer")).await.unwrap();
    assert_eq!(world.transfer(input(&document, 1003, 1, "older")).await.unwrap(), Outcome::Dropped);
    assert_eq!(answer(&world, "older"), None);
    assert_eq!(world.third_party.jobs().len(), 1);
}

/// D10: the request must arrive before the permit expires, and opening a connection takes time.
#[tokio::test]
async fn d10_permit_that_expires_before_a_connection_is_made_is_not_used() {
    let (world, document) = registered().await;
    let enough = world.clock.now() + CONNECT_TIMEOUT;
    let late = expiring(&document, 1, enough - time::Duration::milliseconds(1), "late");
    assert_eq!(world.transfer(late).await.unwrap(), Outcome::Reported("Permit.Expired"));
    assert_eq!(answer(&world, "late"), Some(Err("Permit.Expired")));
    assert_eq!(world.count("submit"), 0);
    let just_in_time = expiring(&document, 2, enough, "in time");
    assert_eq!(world.transfer(just_in_time).await.unwrap(), Outcome::Transferred);
}

/// A redelivery could not use the permit and would look like a delivery after a crash.
#[rstest]
#[case("current_version")]
#[case("open")]
#[case("prepare")]
#[tokio::test]
async fn case_23_permit_that_an_outage_of_aws_made_useless_is_expired(#[case] call: &'static str) {
    let (world, document) = registered().await;
    world.faults.cut_next(call, Cut::Before);
    let message = input(&document, 1, 1, "token");
    assert_eq!(world.transfer(message).await.unwrap(), Outcome::Reported("Permit.Expired"));
    assert_eq!(world.count("submit"), 0);
}

#[tokio::test]
async fn case_19_permit_that_was_used_by_a_run_that_died_is_not_used_twice() {
    let (world, document) = registered().await;
    let message = input(&document, 1, 1, "token");
    world.faults.cut_next("succeed", Cut::Before);
    assert!(world.transfer(message.clone()).await.is_err(), "it is delivered again");
    assert_eq!(world.transfer(message).await.unwrap(), Outcome::Reported("Permit.AlreadyUsed"));
    assert_eq!(world.count("submit"), 1);
    let next = input(&document, 2, 1, "next");
    assert_eq!(world.transfer(next).await.unwrap(), Outcome::Transferred);
    assert_eq!(world.third_party.jobs().len(), 1, "the same round is the same job");
}

/// D12: the state machine asks the third party, which knows the job, so the file is not sent a second time.
#[tokio::test]
async fn d12_job_that_was_accepted_and_could_not_be_stored_is_asked_for_and_not_sent_again() {
    for cut in [Cut::Before, Cut::After] {
        let (world, document) = registered().await;
        world.faults.cut_next("record_job", cut);
        let outcome = world.transfer(input(&document, 1, 1, "token")).await.unwrap();
        assert_eq!(outcome, Outcome::Reported("Permit.AlreadyUsed"));
        assert_eq!((world.count("submit"), world.third_party.jobs().len()), (1, 1));
    }
}

#[tokio::test]
async fn message_for_a_document_that_was_failed_for_ends_its_task_with_the_reason() {
    let (world, document) = registered().await;
    let failed = failed_for(Reason::new("x", "y"));
    crate::ports::Finishing::finish(&world.store, &document, failed, world.clock.now()).await.unwrap();
    let outcome = world.transfer(input(&document, 2000, 2, "later")).await.unwrap();
    assert_eq!(outcome, Outcome::Reported("ThirdParty.Rejected"));
    let cause = world.states.cause(&TaskToken::new("later")).unwrap();
    assert_eq!(cause["reason"]["code"], "x");
    assert_eq!(world.third_party.jobs().len(), 0);
}

#[tokio::test]
async fn late_result_that_is_there_already_is_used_and_nothing_sent_again() {
    let (world, document) = registered().await;
    world.transfer(input(&document, 1000, 1, "first")).await.unwrap();
    let job_id = world.store.get(&document).unwrap().job_id.unwrap();
    let job = crate::contract::wire::JobSucceeded { job_id, files: Vec::new() };
    world.store.record_result(&document, &JobResult::Succeeded(job), START).await.unwrap();
    assert_eq!(world.transfer(input(&document, 2000, 2, "second")).await.unwrap(), Outcome::Transferred);
    assert_eq!(answer(&world, "second"), Some(Ok(json!({}))));
    assert_eq!((world.third_party.jobs().len(), world.count("submit")), (1, 1));
}

#[rstest]
#[case::of_success("succeed", false)]
#[case::of_failure("fail", true)]
#[tokio::test]
async fn report_that_fails_leaves_the_message_on_the_queue(
    #[case] report: &'static str,
    #[case] refused: bool,
) {
    let (world, document) = registered().await;
    if refused {
        world.third_party.refuse_next(Error::Unauthorized);
    }
    world.faults.cut_next(report, Cut::Before);
    assert!(world.transfer(input(&document, 1000, 1, "token")).await.is_err());
    assert_eq!(answer(&world, "token"), None);
    let again = world.transfer(input(&document, 1000, 1, "token")).await.unwrap();
    assert_eq!(again, Outcome::Reported("Permit.AlreadyUsed"));
}

#[tokio::test]
async fn message_whose_token_nobody_waits_for_is_dropped_and_nothing_sent() {
    let (world, document) = registered().await;
    world.states.expire(&TaskToken::new("token"));
    assert_eq!(world.transfer(input(&document, 1000, 1, "token")).await.unwrap(), Outcome::Dropped);
    assert!(world.third_party.jobs().is_empty());
}

#[test]
fn message_is_read_and_prints_no_token() {
    let body = r#"{"schemaVersion":2,"submissionId":"s1","documentId":"6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f",
                   "attempt":2001,"permitExpiresAt":"2026-11-20T16:00:01.800Z","reportSuccess":true,"round":2,"taskToken":"sesame"}"#;
    let input: Input = crate::message::parse(body).unwrap();
    assert_eq!((input.envelope.attempt, input.round), (Attempt(2001), Round(2)));
    assert_eq!(input.permit_expires_at, datetime!(2026-11-20 16:00:01.8 UTC));
    assert!(!format!("{input:?}").contains("sesame"));
}

#[tokio::test]
async fn each_attempt_is_a_span_of_its_own_in_the_documents_trace() {
    let (world, document) = registered().await;
    let trace = world.store.get(&document).unwrap().traceparent.unwrap();
    let mut spans = Vec::new();
    for (attempt, round) in [(1000, 1), (1001, 1), (1002, 1)] {
        let asked = Asked::default();
        let token = format!("token-{attempt}-{}", spans.len());
        world.transfer_by(u64::MAX, &asked, input(&document, attempt, round, &token), false).await.unwrap();
        spans.push(asked.0.lock().unwrap().pop().unwrap().traceparent.unwrap());
    }
    assert!(spans.iter().all(|span| span.is_of_the_trace_of(trace) && *span != trace), "{spans:?}");
    assert!(spans[0] != spans[1] && spans[1] != spans[2]);
}
