//! Tests the step with the in-memory ports.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use lectern_content::MediaType;
use proptest::prelude::*;
use rstest::rstest;
use time::macros::datetime;

use super::*;
use crate::{
    contract::wire::{FileRole, ReturnedFile},
    document::submission::SubmissionState,
    document::{Attempt, CallbackId, Reason},
    message,
    ports::{NewDocument, Register as _, Reopening as _, Results as _, Sequencer},
    record,
    telemetry::trace::TraceParent,
    testing::{Cut, Faults, MemoryClock, MemoryObjects, MemoryStates, MemoryStore, world::failed_for},
};

type Returned = (ReturnedFile, Option<Bytes>);

struct World {
    faults: Arc<Faults>,
    store: MemoryStore,
    files: MemoryObjects,
    states: MemoryStates,
    clock: MemoryClock,
    document: DocumentRef,
}

impl World {
    /// A document whose returned files are verified.
    async fn with(returned: &[Returned]) -> Self {
        let faults = Arc::new(Faults::default());
        let clock = MemoryClock::at(datetime!(2026-11-20 16:00 UTC));
        let sample = record::tests::document("submissions/s1/lesson.docx", MediaType::Docx, returned);
        let world = Self {
            store: MemoryStore::new(faults.clone()),
            files: MemoryObjects::new(faults.clone()),
            states: MemoryStates::new(faults.clone()),
            faults,
            document: sample.reference.clone(),
            clock,
        };
        let new = NewDocument {
            reference: sample.reference,
            object: sample.object,
            sequencer: Sequencer::new("1"),
            owner: sample.owner,
            name: sample.name,
            upload: None,
            size_bytes: sample.size_bytes,
            media_type: sample.media_type,
            rejected: None,
            callback_id: CallbackId::new("callback"),
            traceparent: TraceParent::new(&crate::testing::SequentialRandom::default()),
            now: world.clock.now(),
        };
        world.store.register(new).await.unwrap();
        world.store.record_result(&world.document, &sample.result.unwrap(), world.clock.now()).await.unwrap();
        world.store.begin_verify(&world.document, world.clock.now()).unwrap();
        for (index, (_, content)) in returned.iter().enumerate() {
            if let Some(content) = content {
                world.files.put_returned(&keys::returned_file(&world.document, index), content.clone());
            }
        }
        world.clock.advance(Duration::from_mins(1));
        world
    }

    async fn run(&self, token: &str) -> Result<Outcome, Error> {
        let envelope = Envelope::new(self.document.clone(), Attempt(1000));
        self.ports().handle(Input { envelope, task_token: TaskToken::new(token) }, true).await
    }

    fn ports(&self) -> Ports<'_, MemoryStore, MemoryObjects, MemoryStates, MemoryClock> {
        let Self { store, files, states: tasks, clock, .. } = self;
        Ports { store, files, tasks, clock, provider: "the-service" }
    }

    fn answer(&self, token: &str) -> Option<Result<serde_json::Value, &'static str>> {
        self.states.answer(&TaskToken::new(token))
    }

    fn state(&self) -> DocumentState {
        self.store.get(&self.document).unwrap().state
    }

    async fn record(&self) -> Option<Record> {
        let key = self.store.get(&self.document)?.record_key?;
        Some(serde_json::from_slice(&self.files.get_record(&key).await.unwrap()?).unwrap())
    }
}

fn good() -> [Returned; 2] {
    let findings = r#"{"findings":[{"start":0,"end":3,"rule":"r","message":"m","severity":"info"}]}"#;
    [
        record::tests::returned("text.txt", FileRole::Text, "text/plain", "the lesson"),
        record::tests::returned("findings.json", FileRole::Findings, "application/json", findings),
    ]
}

#[tokio::test]
async fn record_is_written_and_the_state_machine_is_notified() {
    let world = World::with(&good()).await;
    assert_eq!(world.run("token").await.unwrap(), Outcome::Ready);
    assert_eq!(world.answer("token"), Some(Ok(json!({"state": "Ready"}))));
    assert_eq!(world.state(), DocumentState::Ready);
    let record = world.record().await.unwrap();
    assert_eq!(record.text.as_deref(), Some("the lesson"));
    assert_eq!(record.findings.len(), 1);
    assert_eq!(record.provenance.received_at, "2026-11-20T16:00:00.000Z");
    assert_eq!(record.provenance.normalized_at, "2026-11-20T16:01:00.000Z");
    let submission = world.store.submission_now(&world.document.submission_id).unwrap();
    assert_eq!((submission.state, submission.counts.ready), (SubmissionState::Ready, 1));
}

#[tokio::test]
async fn second_message_changes_nothing_and_reports_the_same() {
    let world = World::with(&good()).await;
    world.run("first").await.unwrap();
    let record = world.record().await;
    world.clock.advance(Duration::from_mins(1));
    assert_eq!(world.run("second").await.unwrap(), Outcome::Ready);
    assert_eq!(world.answer("second"), world.answer("first"));
    assert_eq!(world.record().await, record);
    assert_eq!(world.store.submission_now(&world.document.submission_id).unwrap().counts.ready, 1);
}

/// Whichever call is interrupted, before or after its effect: in the end the record is ready and counted once, and the
/// task token is answered. The token is that of the redelivered message, or that of the next message, sent by the state
/// machine's retry.
#[rstest]
#[case("is_awaited")]
#[case("begin_normalize")]
#[case("read")]
#[case("put_record")]
#[case("finish")]
#[case("succeed")]
#[case("load")]
#[tokio::test]
async fn case_19_case_20_run_killed_anywhere_gives_the_same_result(
    #[case] call: &'static str,
    #[values(Cut::Before, Cut::After)] cut: Cut,
    #[values(false, true)] killed_while_reporting: bool,
) {
    let world = World::with(&good()).await;
    world.faults.cut_next(call, cut);
    if killed_while_reporting {
        world.faults.cut_next("fail", cut);
    }
    let mut token = "token-0".to_owned();
    for retry in 1..=4 {
        // An `Err` leaves the message on the queue, and the same token comes again. After a reported error, the state
        // machine retries with a new token.
        if matches!(world.run(&token).await, Ok(Outcome::Ready)) {
            break;
        }
        if matches!(world.answer(&token), Some(Err(_))) {
            token = format!("token-{retry}");
        }
        world.clock.advance(Duration::from_mins(1));
    }
    assert_eq!(world.answer(&token), Some(Ok(json!({"state": "Ready"}))));
    assert_eq!(world.state(), DocumentState::Ready);
    assert!(world.record().await.is_some());
    let records = world.files.returned_keys().into_iter().filter(|key| key.starts_with("records/"));
    assert_eq!(records.count(), 1, "a repeated run writes the same object");
    assert_eq!(world.store.submission_now(&world.document.submission_id).unwrap().counts.ready, 1);
}

#[rstest]
#[case::transcript("t.vtt", FileRole::Transcript, "text/vtt", b"no captions", "malformed")]
#[case::transcript_not_utf8("t.vtt", FileRole::Transcript, "text/vtt", b"WEBVTT\n\n\xff\xfa", "notUtf8")]
#[case::findings("f.json", FileRole::Findings, "application/json", b"{", "badJson")]
#[tokio::test]
async fn unusable_returned_file_is_reported_and_the_document_is_not_ended(
    #[case] name: &str,
    #[case] role: FileRole,
    #[case] media_type: &str,
    #[case] content: &'static [u8],
    #[case] code: &str,
) {
    let world = World::with(&[record::tests::returned(name, role, media_type, content)]).await;
    assert_eq!(world.run("token").await.unwrap(), Outcome::Reported("Record.Invalid"));
    assert_eq!(world.answer("token"), Some(Err("Record.Invalid")));
    assert_eq!(
        world.state(),
        DocumentState::Normalizing,
        "the state machine invokes fail-document, which ends it"
    );
    assert_eq!(world.record().await, None);
    let document = world.store.get(&world.document).unwrap();
    let error = world.ports().build_record(&document).await.unwrap_err();
    assert_eq!(error.reason().code, code);
}

#[tokio::test]
async fn f02_attachments_are_listed_and_not_opened() {
    let attachment = |name: &str, media_type: MediaType, content: &'static [u8]| {
        record::tests::returned(name, FileRole::Attachment, media_type.as_str(), content)
    };
    let files = [
        attachment("a.docx", MediaType::Docx, include_bytes!("../../../../../samples/lesson-plan.docx")),
        attachment("a.pdf", MediaType::Pdf, include_bytes!("../../../../../samples/lesson-plan.pdf")),
        attachment("a.mp4", MediaType::Mp4, include_bytes!("../../../../../samples/lesson.mp4")),
        attachment("a.webm", MediaType::WebM, include_bytes!("../../../../../samples/lesson.webm")),
        attachment("b.mp4", MediaType::Mp4, include_bytes!("../../../../../samples/bad/truncated.mp4")),
    ];
    let world = World::with(&files).await;
    assert_eq!(world.run("token").await.unwrap(), Outcome::Ready);
    assert_eq!(world.record().await.unwrap().attachments.len(), files.len());
    assert_eq!(world.faults.calls().iter().filter(|call| **call == "read").count(), 0);
}

#[tokio::test]
async fn f05_dropped_cues_are_logged_for_the_operator() {
    let vtt = "WEBVTT\n\n00:58.000 --> 00:60.000\nlost\n\n01:00.000 --> 01:03.000\nkept";
    let world = World::with(&[record::tests::returned("c.vtt", FileRole::Transcript, "text/vtt", vtt)]).await;
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    assert_eq!(world.run("token").await.unwrap(), Outcome::Ready);
    drop(guard);
    let text = String::from_utf8(logged.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("The record can be read. droppedCues=1"), "{text}");
}

/// Collects log lines.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn lost_returned_file_is_reported() {
    let (file, _) = good()[0].clone();
    let world = World::with(&[(file, None)]).await;
    assert_eq!(world.run("token").await.unwrap(), Outcome::Reported("Record.Invalid"));
}

#[tokio::test]
async fn failing_store_is_reported_and_when_that_fails_the_message_stays() {
    let world = World::with(&good()).await;
    world.faults.cut_next("finish", Cut::Before);
    assert_eq!(world.run("first").await.unwrap(), Outcome::Reported("Store.Unavailable"));
    world.faults.cut_next("finish", Cut::Before);
    world.faults.cut_next("fail", Cut::Before);
    assert_eq!(world.run("second").await.unwrap_err().name(), "Store.Unavailable");
    assert_eq!(world.answer("second"), None);
}

#[tokio::test]
async fn document_that_failed_meanwhile_ends_the_task_with_its_reason() {
    let world = World::with(&good()).await;
    let reason = Reason::new("overdue", "It never came.");
    world.store.finish(&world.document, failed_for(reason.clone()), world.clock.now()).await.unwrap();
    assert_eq!(world.run("token").await.unwrap(), Outcome::Reported("Record.Invalid"));
    assert_eq!(world.store.get(&world.document).unwrap().reason, Some(reason));
    assert_eq!(world.record().await, None);
}

#[tokio::test]
async fn unknown_document_is_dropped_without_a_word() {
    let mut world = World::with(&good()).await;
    world.document.submission_id = "another".parse().unwrap();
    assert_eq!(world.run("token").await.unwrap(), Outcome::Dropped);
    assert_eq!(world.answer("token"), None);
}

/// Seen in review: a dead letter of an ended execution moved a redriven document past its transfer, and the new
/// execution waited for the callback for days.
#[rstest]
#[case::opened_again(true)]
#[case::failed_for(false)]
#[tokio::test]
async fn message_that_nobody_waits_for_changes_nothing(#[case] opened_again: bool) {
    let world = World::with(&good()).await;
    if opened_again {
        world.store.reopen(&world.document, 0, true, world.clock.now()).await.unwrap();
    }
    world.states.expire(&TaskToken::new("token"));
    let before = world.store.get(&world.document);
    assert_eq!(world.run("token").await.unwrap(), Outcome::Dropped);
    assert_eq!((world.store.get(&world.document), world.record().await), (before, None));
}

#[tokio::test]
async fn document_that_was_opened_again_is_not_normalized_before_it_is_verified() {
    let world = World::with(&good()).await;
    world.store.reopen(&world.document, 0, true, world.clock.now()).await.unwrap();
    assert_eq!(world.run("token").await.unwrap(), Outcome::Reported("Store.Unavailable"));
    assert_eq!(world.state(), DocumentState::Received);
}

#[tokio::test]
async fn case_24_data_over_256_kib_goes_by_reference() {
    let text = "lesson ".repeat(200_000);
    let world =
        World::with(&[record::tests::returned("t", FileRole::Text, "text/plain", text.clone())]).await;
    assert_eq!(world.run("token").await.unwrap(), Outcome::Ready);
    let answer = serde_json::to_string(&world.answer("token").unwrap().unwrap()).unwrap();
    assert!(text.len() > 256 * 1024 && answer.len() < 1024, "the state machine gets {} bytes", answer.len());
    assert_eq!(world.record().await.unwrap().text.unwrap().len(), text.len());
}

#[tokio::test]
async fn case_44_record_too_large_for_an_item_reaches_the_store_whole() {
    let text = "lesson ".repeat(100_000);
    let world = World::with(&[record::tests::returned("t", FileRole::Text, "text/plain", text)]).await;
    assert_eq!(world.run("token").await.unwrap(), Outcome::Ready);
    let length = serde_json::to_vec(&world.record().await.unwrap()).unwrap().len();
    assert!(length > 400 * 1024 && length < limits::MAX_RECORD_BYTES, "{length}");
}

#[rstest]
#[case::not_json("token secret")]
#[case::newer(r#"{"schemaVersion":3,"submissionId":"s1","documentId":"6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f","attempt":1,"taskToken":"secret"}"#)]
#[case::no_version(
    r#"{"submissionId":"s1","documentId":"6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f","attempt":1,"taskToken":"secret"}"#
)]
#[case::bad_submission(r#"{"schemaVersion":2,"submissionId":"../secret","documentId":"6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f","attempt":1,"taskToken":"t"}"#)]
#[case::no_token(
    r#"{"schemaVersion":2,"submissionId":"s1","documentId":"6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f","attempt":1}"#
)]
fn case_18_unreadable_message_is_a_typed_error_that_quotes_nothing(#[case] body: &str) {
    let error = message::parse::<Input>(body).unwrap_err().to_string();
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn message_of_the_state_machine_is_read() {
    let body = r#"{"schemaVersion":2,"submissionId":"s1","documentId":"6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f",
                   "attempt":2001,"taskToken":"token"}"#;
    let input: Input = message::parse(body).unwrap();
    assert_eq!((input.envelope.attempt, input.task_token.expose()), (Attempt(2001), "token"));
    assert!(!format!("{input:?}").contains("\"token\""));
}

proptest! {
    #[test]
    fn arbitrary_message_never_panics(body: String) {
        let _ = message::parse::<Input>(&body);
    }
}

/// The message may arrive before Step Functions knows its token.
#[tokio::test]
async fn a01_message_whose_token_is_not_known_yet_stays_on_the_queue() {
    let world = World::with(&good()).await;
    world.states.expire(&TaskToken::new("token"));
    let envelope = Envelope::new(world.document.clone(), Attempt(1));
    let input = Input { envelope, task_token: TaskToken::new("token") };
    assert_eq!(world.ports().handle(input, false).await.unwrap_err().name(), "Store.Unavailable");
    assert!(world.record().await.is_none());
}
