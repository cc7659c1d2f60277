//! Tests the step with the in-memory ports: accepted uploads, rejected uploads, and that a repetition changes nothing.

mod malware;
mod real_files;
mod removed;

use std::sync::atomic::{AtomicBool, Ordering};

use rstest::rstest;

use super::*;
use crate::error::StoreError;
use crate::testing::{
    Cut, Faults,
    world::{MAX_UPLOAD_BYTES, MemoryWorld, object, s3_event},
};

const PDF: &[u8] = b"%PDF-1.7\n1 0 obj";
const TEXT: &[u8] = b"A lesson in ten lines.";

async fn upload(
    world: &MemoryWorld,
    object: &ObjectVersion,
    sequencer: &str,
    bytes: &'static [u8],
) -> Document {
    world.objects.upload(object, None, bytes);
    world.receive_upload(&s3_event(&[(object, sequencer)])).await.unwrap();
    world.document(object).unwrap()
}

fn accepted(count: usize) -> Summary {
    Summary { accepted: count, ..Summary::default() }
}

fn rejected(count: usize) -> Summary {
    Summary { rejected: count, ..Summary::default() }
}

fn code(document: &Document) -> Option<&str> {
    document.reason.as_ref().map(|reason| reason.code.as_str())
}

#[tokio::test]
async fn good_upload_is_registered_and_its_execution_started() {
    let world = MemoryWorld::default();
    let object = object("lesson.pdf", "v1");
    let document = upload(&world, &object, "01", PDF).await;
    assert_eq!(document.state, DocumentState::Received);
    assert_eq!((document.size_bytes, document.media_type), (PDF.len() as u64, Some(MediaType::Pdf)));
    assert_eq!(document.object, object);
    assert!(world.states.started().contains(&document.reference));
    assert_eq!(world.store.submission_now(&document.reference.submission_id).unwrap().counts.open, 1);
    assert_eq!(world.count("open"), 0, "the file itself is not read");
}

#[tokio::test]
async fn document_has_the_owner_and_the_name_of_its_upload_also_if_it_is_rejected() {
    let world = MemoryWorld::default();
    for (bytes, state) in [(PDF, DocumentState::Received), (b"", DocumentState::Rejected)] {
        let object = object("0123456789abcdef.pdf", state.as_str());
        world.objects.upload_with_metadata(&object, "teacher-1", "Plan%201.pdf", bytes);
        world.receive_upload(&s3_event(&[(&object, "01")])).await.unwrap();
        let document = world.document(&object).unwrap();
        assert_eq!((document.state, document.owner.as_ref().unwrap().expose()), (state, "teacher-1"));
        assert_eq!(document.display_name(), "Plan 1.pdf");
    }
}

#[tokio::test]
async fn document_without_metadata_has_no_owner_and_the_name_in_its_key() {
    let world = MemoryWorld::default();
    let document = upload(&world, &object("lesson.pdf", "v1"), "01", PDF).await;
    assert_eq!((document.owner.as_ref(), document.name.as_ref()), (None, None));
    assert_eq!(document.display_name(), "lesson.pdf");
}

#[tokio::test]
async fn case_01_duplicate_event_is_one_document_and_one_execution() {
    let world = MemoryWorld::default();
    let object = object("lesson.pdf", "v1");
    let first = upload(&world, &object, "01", PDF).await;
    for _ in 0..3 {
        let summary = world.receive_upload(&s3_event(&[(&object, "01"), (&object, "01")])).await.unwrap();
        assert_eq!(summary, accepted(2));
    }
    assert_eq!(world.store.all(), [first]);
    assert_eq!(world.states.started().len(), 1);
    assert_eq!(world.store.submission_now(&"s1".parse().unwrap()).unwrap().counts.open, 1);
}

#[rstest]
#[case::in_order(["01", "02"])]
#[case::swapped(["02", "01"])]
#[case::shorter_is_padded(["0055AED6DCD90281E51", "0055AED6DCD90281E5"])]
#[tokio::test]
async fn case_02_newer_version_wins_in_whatever_order_the_events_come(#[case] sequencers: [&str; 2]) {
    let world = MemoryWorld::default();
    let objects = [object("lesson.pdf", "v1"), object("lesson.pdf", "v2")];
    for (object, sequencer) in objects.iter().zip(sequencers) {
        upload(&world, object, sequencer, PDF).await;
    }
    let newer = usize::from(Sequencer::new(sequencers[1]) > Sequencer::new(sequencers[0]));
    let [old, new] = [1 - newer, newer].map(|index| world.document(&objects[index]).unwrap());
    assert_eq!((new.state, new.superseded_by), (DocumentState::Received, None));
    assert_eq!(old.superseded_by, Some(new.reference.document_id));
    let counts = world.store.submission_now(&"s1".parse().unwrap()).unwrap().counts;
    assert_eq!((counts.open, counts.rejected), (1, 0), "only the newer one counts");
}

#[tokio::test]
async fn case_02_version_older_than_the_current_one_is_rejected_as_superseded() {
    let world = MemoryWorld::default();
    upload(&world, &object("lesson.pdf", "v2"), "02", PDF).await;
    let old = upload(&world, &object("lesson.pdf", "v1"), "01", PDF).await;
    assert_eq!((old.state, code(&old)), (DocumentState::Rejected, Some("superseded")));
    assert!(!world.states.started().contains(&old.reference));
}

#[tokio::test]
async fn case_03_overwrite_during_processing_is_a_new_document_with_its_own_execution() {
    let world = MemoryWorld::default();
    let old = upload(&world, &object("lesson.pdf", "v1"), "01", PDF).await;
    crate::ports::Transfers::begin_transfer(
        &world.store,
        &old.reference,
        crate::document::Attempt(1000),
        crate::document::Round(1),
        world.clock.now(),
    )
    .await
    .unwrap();
    let new = upload(&world, &object("lesson.pdf", "v2"), "02", PDF).await;
    assert_ne!(new.reference, old.reference);
    assert_eq!(world.states.started().len(), 2);
    let old = world.store.get(&old.reference).unwrap();
    assert_eq!(old.superseded_by, Some(new.reference.document_id));
    assert_eq!(old.state, DocumentState::Transferring, "its own execution ends it");
}

#[tokio::test]
async fn case_05_invalid_key_is_rejected_and_the_object_never_touched() {
    let world = MemoryWorld::default();
    let event = s3_event(&[(&object("x.pdf", "v1"), "01")]).replace("x%2Epdf", "%FF%00..%2Fx.pdf");
    assert_eq!(world.receive_upload(&event).await.unwrap(), rejected(1));
    let document = world.store.all().pop().unwrap();
    assert_eq!(document.reference.submission_id, SubmissionId::unassigned());
    assert_eq!(code(&document), Some("invalidKey"));
    assert_eq!(world.count("head") + world.count("read_upload"), 0);
}

#[tokio::test]
async fn case_05_encoded_form_of_an_invalid_key_is_another_file_than_the_key_that_reads_like_it() {
    let world = MemoryWorld::default();
    let invalid =
        s3_event(&[(&object("x.txt", "v9"), "09")]).replace("x%2Etxt", "a%00b.txt").replace("%2F", "/");
    world.receive_upload(&invalid).await.unwrap();
    let valid = upload(&world, &object("a%00b.txt", "v1"), "01", TEXT).await;
    assert_eq!(valid.state, DocumentState::Received);
    assert_eq!(world.store.all().len(), 2);
    assert!(world.store.all().iter().all(|document| document.superseded_by.is_none()));
}

#[tokio::test]
async fn case_06_nfc_and_nfd_twins_are_two_documents() {
    let world = MemoryWorld::default();
    let composed = upload(&world, &object("caf\u{e9}.txt", "v1"), "01", TEXT).await;
    let decomposed = upload(&world, &object("cafe\u{301}.txt", "v1"), "01", TEXT).await;
    assert_ne!(composed.reference, decomposed.reference);
    assert_eq!(world.states.started().len(), 2);
    assert_eq!((composed.superseded_by, decomposed.superseded_by), (None, None));
}

#[rstest]
#[case::test_event(r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"uploads"}"#, 0)]
#[case::no_records(r#"{"Records":[]}"#, 0)]
#[case::folder_marker(&s3_event(&[(&object("", "v1"), "01")]), 1)]
#[case::foreign_prefix(&s3_event(&[(&object("x.pdf", "v1"), "01")]).replace("submissions", "backup"), 1)]
#[case::expiry(&s3_event(&[(&object("x.pdf", "v1"), "01")]).replace("ObjectCreated:Put", "LifecycleExpiration:Delete"), 1)]
#[tokio::test]
async fn case_07_event_that_is_none_of_our_business_is_acknowledged_and_counted(
    #[case] body: &str,
    #[case] ignored: usize,
) {
    let world = MemoryWorld::default();
    assert_eq!(world.receive_upload(body).await.unwrap(), Summary { ignored, ..Summary::default() });
    assert!(world.store.all().is_empty());
    assert!(world.faults.calls().is_empty());
}

#[rstest]
#[case::not_json("secret")]
#[case::another_event(r#"{"Event":"secret"}"#)]
#[case::half_a_record(r#"{"Records":[{"eventName":"ObjectCreated:Put","s3":"secret"}]}"#)]
#[case::list("[]")]
#[tokio::test]
async fn case_18_unreadable_event_stays_on_the_queue_and_is_not_quoted(#[case] body: &str) {
    let error = MemoryWorld::default().receive_upload(body).await.unwrap_err();
    assert!(matches!(error, Retryable::Unreadable(_)));
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn case_09_empty_file_is_rejected_and_never_started() {
    let world = MemoryWorld::default();
    let document = upload(&world, &object("lesson.pdf", "v1"), "01", b"").await;
    assert_eq!((document.state, code(&document)), (DocumentState::Rejected, Some("empty")));
    assert!(world.states.started().is_empty());
    assert_eq!(world.store.submission_now(&"s1".parse().unwrap()).unwrap().counts.rejected, 1);
}

#[tokio::test]
async fn case_10_oversize_is_rejected_from_its_head_alone() {
    let world = MemoryWorld::default();
    let object = object("lesson.txt", "v1");
    let length = usize::try_from(MAX_UPLOAD_BYTES).unwrap() + 1;
    world.objects.upload(&object, None, vec![b'a'; length]);
    assert_eq!(world.receive_upload(&s3_event(&[(&object, "01")])).await.unwrap(), rejected(1));
    let document = world.document(&object).unwrap();
    assert_eq!((code(&document), document.size_bytes), (Some("tooLarge"), MAX_UPLOAD_BYTES + 1));
    assert_eq!(world.count("read_upload"), 0);
}

#[tokio::test]
async fn case_10_file_of_exactly_the_limit_is_accepted() {
    let world = MemoryWorld::default();
    let object = object("lesson.txt", "v1");
    world.objects.upload(&object, None, vec![b'a'; usize::try_from(MAX_UPLOAD_BYTES).unwrap()]);
    assert_eq!(world.receive_upload(&s3_event(&[(&object, "01")])).await.unwrap(), accepted(1));
}

#[rstest]
#[case::content("lesson.pdf", None, TEXT, Some("typeMismatch"))]
#[case::script("lesson.txt", None, b"\x7fELF\x02\x01\x01\0\0\0\0\0", Some("typeMismatch"))]
#[case::declared("lesson.pdf", Some("video/mp4"), PDF, Some("typeMismatch"))]
#[case::extension("lesson.mp4", Some("application/pdf"), PDF, Some("typeMismatch"))]
#[case::unsupported("lesson.exe", None, b"MZ", Some("unsupportedType"))]
#[case::no_extension("lesson", None, TEXT, Some("unsupportedType"))]
#[case::agreed("lesson.PDF", Some("Application/PDF; x=y"), PDF, None)]
#[case::says_nothing("lesson.pdf", Some("binary/octet-stream"), PDF, None)]
#[tokio::test]
async fn case_11_extension_declaration_and_content_have_to_agree(
    #[case] name: &str,
    #[case] declared: Option<&str>,
    #[case] bytes: &'static [u8],
    #[case] expected: Option<&str>,
) {
    let world = MemoryWorld::default();
    let object = object(name, "v1");
    world.objects.upload(&object, declared, bytes);
    world.receive_upload(&s3_event(&[(&object, "01")])).await.unwrap();
    let document = world.document(&object).unwrap();
    assert_eq!(code(&document), expected);
    assert_eq!(document.state == DocumentState::Rejected, expected.is_some());
}

#[tokio::test]
async fn case_22_lost_answer_of_the_start_leads_to_the_same_execution() {
    let world = MemoryWorld::default();
    let object = object("lesson.pdf", "v1");
    world.objects.upload(&object, None, PDF);
    let event = s3_event(&[(&object, "01")]);
    world.faults.cut_next("start", Cut::After);
    assert!(matches!(world.receive_upload(&event).await, Err(Retryable::Store(_))));
    assert_eq!(world.receive_upload(&event).await.unwrap(), accepted(1));
    assert_eq!((world.states.started().len(), world.store.all().len()), (1, 1));
}

#[tokio::test]
async fn case_23_throttled_start_lets_the_message_wait_and_loses_nothing() {
    let world = MemoryWorld::default();
    let object = object("lesson.pdf", "v1");
    world.objects.upload(&object, None, PDF);
    let event = s3_event(&[(&object, "01")]);
    for _ in 0..3 {
        world.faults.cut_next("start", Cut::Before);
        assert!(matches!(world.receive_upload(&event).await, Err(Retryable::Store(_))));
        assert!(world.states.started().is_empty());
    }
    assert_eq!(world.receive_upload(&event).await.unwrap(), accepted(1));
    assert_eq!(world.states.started().len(), 1);
}

#[tokio::test]
async fn execution_that_has_moved_the_document_is_not_started_again() {
    let world = MemoryWorld::default();
    let object = object("lesson.pdf", "v1");
    let document = upload(&world, &object, "01", PDF).await;
    let (attempt, round) = (crate::document::Attempt(1000), crate::document::Round(1));
    let now = world.clock.now();
    crate::ports::Transfers::begin_transfer(&world.store, &document.reference, attempt, round, now)
        .await
        .unwrap();
    world.receive_upload(&s3_event(&[(&object, "01")])).await.unwrap();
    assert_eq!(world.count("start"), 1);
}

#[tokio::test]
async fn each_record_of_an_event_is_handled() {
    let world = MemoryWorld::default();
    let [good, empty, gone] = ["good.pdf", "empty.pdf", "gone.pdf"].map(|name| object(name, "v1"));
    world.objects.upload(&good, None, PDF);
    world.objects.upload(&empty, None, b"".as_slice());
    let event = s3_event(&[(&good, "01"), (&object("", "v1"), "01"), (&empty, "02"), (&gone, "03")]);
    let summary = world.receive_upload(&event).await.unwrap();
    assert_eq!(summary, Summary { accepted: 1, rejected: 2, erased: 0, removed: 0, ignored: 1 });
    assert_eq!(code(&world.document(&gone).unwrap()), Some("sourceGone"));
}

/// A Step Functions port that refuses to start one document's execution once.
struct RefusesOnce<'w>(&'w MemoryWorld, DocumentId, AtomicBool);

impl Executions for RefusesOnce<'_> {
    async fn start(&self, execution: &StartExecution) -> Result<(), Error> {
        if execution.document.document_id == self.1 && !self.2.swap(true, Ordering::Relaxed) {
            return Err(StoreError::unavailable("ThrottlingException").into());
        }
        self.0.states.start(execution).await
    }
}

#[tokio::test]
async fn failing_record_in_mid_event_keeps_the_message_and_the_next_delivery_completes_it() {
    let world = MemoryWorld::default();
    let objects = ["a.pdf", "b.pdf", "c.pdf"].map(|name| object(name, "v1"));
    for object in &objects {
        world.objects.upload(object, None, PDF);
    }
    let second = DocumentId::of(&objects[1].bucket, objects[1].key.as_bytes(), "v1");
    let states = RefusesOnce(&world, second, AtomicBool::new(false));
    let event = s3_event(&objects.each_ref().map(|object| (object, "01")));
    assert!(world.receive_upload_with(&states, &event).await.is_err());
    assert_eq!(world.receive_upload_with(&states, &event).await.unwrap(), accepted(3));
    assert_eq!(world.states.started().len(), 3);
    assert_eq!(world.store.submission_now(&"s1".parse().unwrap()).unwrap().counts.open, 3);
}

#[tokio::test]
async fn object_deleted_before_it_was_looked_at_is_rejected() {
    let world = MemoryWorld::default();
    let document = object("lesson.pdf", "v1");
    world.receive_upload(&s3_event(&[(&document, "01")])).await.unwrap();
    let document = world.document(&document).unwrap();
    assert_eq!((document.state, code(&document)), (DocumentState::Rejected, Some("sourceGone")));
    assert!(world.states.started().is_empty());
}

/// Cases 19 and 20, for this step: whichever call is interrupted, the next delivery leads to the same final state.
#[tokio::test]
async fn case_19_case_20_run_killed_at_any_call_gives_the_same_result() {
    let object = object("lesson.pdf", "v1");
    let event = s3_event(&[(&object, "01")]);
    let calls = {
        let world = MemoryWorld::default();
        upload(&world, &object, "01", PDF).await;
        world.faults.calls()
    };
    assert_eq!(calls, ["head", "read_upload", "register", "start"]);
    for call in calls {
        for cut in [Cut::Before, Cut::After] {
            let world = MemoryWorld::default();
            world.objects.upload(&object, None, PDF);
            let faults: &Faults = &world.faults;
            faults.cut_next(call, cut);
            assert!(world.receive_upload(&event).await.is_err(), "{call} {cut:?}");
            assert_eq!(world.receive_upload(&event).await.unwrap(), accepted(1), "{call} {cut:?}");
            assert_eq!(world.receive_upload(&event).await.unwrap(), accepted(1), "{call} {cut:?}");
            assert_eq!((world.states.started().len(), world.store.all().len()), (1, 1), "{call} {cut:?}");
            let counts = world.store.submission_now(&"s1".parse().unwrap()).unwrap().counts;
            assert_eq!((counts.open, counts.rejected), (1, 0), "{call} {cut:?}");
        }
    }
}

const XRAY: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

async fn receive(world: &MemoryWorld, object: &ObjectVersion, xray_header: Option<&str>) {
    let MemoryWorld { objects: uploads, store, states: executions, clock, random, .. } = world;
    let max_upload_bytes = MAX_UPLOAD_BYTES;
    let event = s3_event(&[(object, "01")]);
    let message = Message { body: &event, xray_header };
    let ports =
        Ports { uploads, store, executions, clock, random, max_upload_bytes, scans_for_malware: false };
    ports.handle(message).await.unwrap();
}

#[tokio::test]
async fn trace_is_the_senders_and_its_execution_is_started_with_it() {
    let (world, object) = (MemoryWorld::default(), object("lesson.pdf", "v1"));
    world.objects.upload(&object, None, PDF);
    receive(&world, &object, Some(XRAY)).await;
    let document = world.document(&object).unwrap();
    assert_eq!(document.traceparent.unwrap().to_xray(), XRAY);
    let start = world.states.start_of(&document.reference).unwrap();
    assert_eq!(start.traceparent, document.traceparent);
}

#[tokio::test]
async fn trace_is_decided_once_whatever_later_deliveries_bring() {
    let (world, object) = (MemoryWorld::default(), object("lesson.pdf", "v1"));
    world.objects.upload(&object, None, PDF);
    receive(&world, &object, None).await;
    let first = world.document(&object).unwrap().traceparent;
    assert!(first.is_some(), "without a header there is a new trace");
    for header in [Some(XRAY), None] {
        receive(&world, &object, header).await;
        assert_eq!(world.document(&object).unwrap().traceparent, first);
    }
}

#[rstest]
#[case::s04_archived(Protection::Archived, "storage class STANDARD")]
#[case::s04_key_of_the_uploader(Protection::CustomerKey, "a key of its own")]
#[case::s04_foreign_key(Protection::KmsKey, "may not use")]
#[tokio::test]
async fn s04_upload_that_s3_does_not_let_us_read_is_rejected_with_a_way_out(
    #[case] protection: Protection,
    #[case] message: &str,
) {
    let world = MemoryWorld::default();
    let object = object("lesson.pdf", "v1");
    world.objects.protect(&object, protection);
    let document = upload(&world, &object, "01", PDF).await;
    assert_eq!((document.state, code(&document)), (DocumentState::Rejected, Some("unreadableUpload")));
    assert!(document.reason.unwrap().message.contains(message));
}

/// An outage of our own says nothing about the file.
#[tokio::test]
async fn s04_outage_while_a_file_with_a_key_is_read_leaves_the_message_on_the_queue() {
    let world = MemoryWorld::default();
    let object = object("lesson.pdf", "v1");
    world.objects.protect(&object, Protection::KmsKey);
    world.objects.upload(&object, None, PDF);
    world.faults.cut_next("read_upload", Cut::Before);
    assert!(world.receive_upload(&s3_event(&[(&object, "01")])).await.is_err());
    assert!(world.document(&object).is_none());
}

#[tokio::test]
async fn d14_upload_without_a_version_stays_on_the_queue() {
    let world = MemoryWorld::default();
    let object = object("lesson.pdf", "null");
    world.objects.upload(&object, None, PDF);
    let with_null = s3_event(&[(&object, "01")]);
    let without = with_null.replace(r#""versionId":"null","#, "");
    assert_ne!(with_null, without);
    for event in [with_null, without] {
        let error = world.receive_upload(&event).await.unwrap_err();
        assert!(error.to_string().contains("versioning is off"), "{error}");
    }
    assert!(world.store.all().is_empty());
}
