//! Tests of an erasure with the in-memory ports: what is left, and that an interrupted run is completed by the next one.

use rstest::rstest;

use super::*;
use crate::{
    contract::wire::{FileRole, JobStatus},
    document::{Attempt, DocumentRef, DocumentState, TaskToken},
    ports::{
        Content, ErasureState, FinalOutcome, JobRequest, Load as _, Reopening as _, ThirdParty as _,
        Transfers as _,
    },
    steps::{receive_callback::Answer, receive_upload::Summary},
    testing::{
        Cut,
        world::{MemoryWorld, START, failed_for, object, returned_file, s3_event, succeeded},
    },
};

const BY: &str = "arn:aws:sts::1:assumed-role/operator/session";

const FUNCTIONS_END_WITHIN: Duration = Duration::from_mins(16);

fn id() -> SubmissionId {
    "s1".parse().unwrap()
}

async fn erase(world: &MemoryWorld) -> Result<Outcome, Error> {
    let MemoryWorld { store, objects, third_party, states: executions, clock, .. } = world;
    let functions_end_within = FUNCTIONS_END_WITHIN;
    let ports = Ports { store, objects, third_party, executions, clock, functions_end_within };
    ports.handle(&id(), BY).await
}

/// The erasure that a complete pass has ended.
#[track_caller]
fn erased(outcome: Result<Outcome, Error>) -> Erasure {
    match outcome {
        Ok(Outcome::Erased(erasure)) => erasure,
        other => panic!("{other:?}"),
    }
}

/// The number of documents that the third party has not confirmed, and whether it could be asked for all.
#[track_caller]
fn unconfirmed(outcome: Result<Outcome, Error>) -> (usize, Option<Error>) {
    match outcome {
        Ok(Outcome::Unconfirmed { documents, trouble }) => (documents, trouble),
        other => panic!("{other:?}"),
    }
}

async fn submitted(world: &MemoryWorld, document: &DocumentRef, attempt: u32, round: u32) {
    let (attempt, round) = (Attempt(attempt), Round(round));
    world.store.begin_transfer(document, attempt, round, START).await.unwrap();
    let request = JobRequest {
        idempotency_key: idempotency_key(document.document_id, round),
        media_type: lectern_content::MediaType::Text,
        size_bytes: 7,
        callback_url: String::new(),
        traceparent: None,
        content: Content::Pull("https://uploads.example".to_owned()),
    };
    world.third_party.submit(request).await.unwrap();
}

/// A submission with a document that failed in its second round, one that was rejected, and one that is ready; and a
/// document of another submission.
async fn world() -> (MemoryWorld, Vec<DocumentRef>) {
    let world = MemoryWorld::default();
    let files = [("failed.txt", "A lesson."), ("empty.txt", ""), ("ready.txt", "Another lesson.")];
    let mut documents = Vec::new();
    for (file, text) in files {
        let object = object(file, "v1");
        world.objects.upload(&object, None, text.as_bytes());
        world.receive_upload(&s3_event(&[(&object, "01")])).await.unwrap();
        documents.push(world.document(&object).unwrap().reference);
    }
    let [failed, _, ready] = documents.as_slice() else { panic!("{documents:?}") };
    submitted(&world, failed, 1000, 1).await;
    submitted(&world, failed, 1001, 2).await;
    let reason = crate::document::Reason::new("internal", "It failed.");
    world.store.finish(failed, failed_for(reason), START).await.unwrap();
    submitted(&world, ready, 1002, 1).await;
    let record_key = crate::document::keys::record(ready, "hash");
    world.objects.put_returned(&record_key, "{}");
    world.objects.put_returned(&crate::document::keys::returned_file(ready, 0), "text");
    world.objects.put_returned(&crate::document::keys::quarantined_file(failed, 0), "text");
    world.store.finish(ready, FinalOutcome::Ready { record_key }, START).await.unwrap();
    let other =
        crate::document::ObjectVersion { key: "submissions/s2/plan.txt".to_owned(), ..object("", "v1") };
    world.objects.upload(&other, None, &b"A plan."[..]);
    world.receive_upload(&s3_event(&[(&other, "01")])).await.unwrap();
    (world, documents)
}

async fn assert_erased(world: &MemoryWorld, documents: &[DocumentRef]) {
    for document in documents {
        assert_eq!(world.store.get(document), None);
    }
    assert_eq!(world.store.all().len(), 1, "the other submission's document stays");
    assert_eq!(world.objects.count_versions(&"s1".parse().unwrap()).await.unwrap(), 0);
    assert_eq!(world.objects.count_versions(&"s2".parse().unwrap()).await.unwrap(), 1);
    assert!(world.third_party.jobs().is_empty(), "{:?}", world.third_party.jobs().keys());
    let erasure = world.store.erasure_now(&"s1".parse().unwrap()).unwrap();
    assert_eq!((erasure.state, erasure.documents, erasure.by.as_str()), (ErasureState::Erased, 3, BY));
}

#[tokio::test]
async fn a08_everything_is_erased_and_the_erasure_says_how_much() {
    let (world, documents) = world().await;
    let first = erased(erase(&world).await);
    assert_eq!(first.object_versions, 6);
    assert_erased(&world, &documents).await;
    let again = erased(erase(&world).await);
    assert_eq!((again.documents, again.object_versions, again.began_at), (3, 6, first.began_at));
}

#[rstest]
#[tokio::test]
async fn a08_erasure_that_is_interrupted_at_any_call_is_completed_by_the_next_run(
    #[values(
        "begin_erasure",
        "documents_to_erase",
        "erase",
        "erase_objects",
        "count_erased_versions",
        "erase_document",
        "end_erasure",
        "erasure"
    )]
    call: &'static str,
    #[values(Cut::Before, Cut::After)] cut: Cut,
    #[values(0, 1, 2)] nth: usize,
) {
    let (world, documents) = world().await;
    world.faults.cut_nth(call, nth, cut);
    if let Ok(Outcome::Erased(_)) = erase(&world).await {
        // The call was made less often.
        assert!(nth > 0, "{call} was not made");
        return assert_erased(&world, &documents).await;
    }
    erased(erase(&world).await);
    assert_erased(&world, &documents).await;
}

#[tokio::test]
async fn a08_third_party_that_does_not_answer_keeps_no_content_from_being_erased() {
    let (world, documents) = world().await;
    world.third_party.refuse_next(Error::Unavailable("down".to_owned()));
    let (documents_left, trouble) = unconfirmed(erase(&world).await);
    assert!((1..=3).contains(&documents_left) && matches!(trouble, Some(Error::Unavailable(_))));
    assert_eq!(world.store.erasure_now(&id()).unwrap().state, ErasureState::Erasing);
    assert_eq!(world.objects.count_versions(&id()).await.unwrap(), 0);
    erased(erase(&world).await);
    assert_erased(&world, &documents).await;
}

#[tokio::test]
async fn a08_job_that_is_erased_later_is_asked_for_again() {
    let (world, documents) = world().await;
    world.third_party.erase_later(&format!("{}-1", documents[0].document_id));
    let (documents_left, trouble) = unconfirmed(erase(&world).await);
    assert!(documents_left == 1 && trouble.is_none(), "{documents_left} {trouble:?}");
    assert!(world.store.load(&documents[0]).await.unwrap().is_some(), "its item names the job");
    assert_eq!(world.store.load(&documents[2]).await.unwrap(), None);
    erased(erase(&world).await);
    assert_erased(&world, &documents).await;
}

#[tokio::test]
async fn a08_late_messages_bring_nothing_back() {
    let (world, documents) = world().await;
    let callback_id = world.store.get(&documents[0]).unwrap().callback_id;
    erase(&world).await.unwrap();
    // The event of an erased file comes again.
    let late = world.receive_upload(&s3_event(&[(&object("ready.txt", "v1"), "01")])).await.unwrap();
    assert_eq!(late, Summary { erased: 1, ..Summary::default() });
    let event = succeeded(&[returned_file("text.txt", FileRole::Text, "text/plain", b"text")]);
    let body = crate::testing::world::callback_body(event);
    let headers = crate::testing::world::signed(crate::testing::world::SECRET, "event", START, &body);
    assert_eq!(world.callback(callback_id.expose(), &headers, &body).await, Answer::Kept);
    assert!(world.store.unknown_callbacks().is_empty());
    assert!(!world.store.await_callback(&documents[0], TaskToken::new("token"), START));
    assert_erased(&world, &documents).await;
}

#[tokio::test]
async fn a08_file_that_is_uploaded_to_an_erased_submission_is_not_registered_and_the_next_run_erases_it() {
    let (world, documents) = world().await;
    erase(&world).await.unwrap();
    let new = object("new.txt", "v1");
    world.objects.upload(&new, None, &b"A new lesson."[..]);
    let summary = world.receive_upload(&s3_event(&[(&new, "01")])).await.unwrap();
    assert_eq!(summary, Summary { erased: 1, ..Summary::default() });
    assert_eq!(world.document(&new), None);
    assert!(
        !world
            .states
            .started()
            .iter()
            .any(|started| !documents.contains(started) && started.submission_id.as_str() == "s1")
    );
    assert_eq!(erased(erase(&world).await).object_versions, 7);
    assert_erased(&world, &documents).await;
}

/// The state of the third party does not matter for a document that was never submitted.
#[tokio::test]
async fn a08_third_party_is_not_asked_about_documents_that_it_never_got() {
    let world = MemoryWorld::default();
    let object = object("empty.txt", "v1");
    world.objects.upload(&object, None, &b""[..]);
    world.receive_upload(&s3_event(&[(&object, "01")])).await.unwrap();
    let document = world.document(&object).unwrap();
    assert_eq!(document.state, DocumentState::Rejected);
    erase(&world).await.unwrap();
    assert_eq!(world.count("erase"), 0);
    assert_eq!(
        world.store.reopen(&document.reference, 0, false, START).await.unwrap(),
        crate::ports::Reopened::Unknown
    );
}

/// A job of an earlier round may still exist at the third party.
#[tokio::test]
async fn a08_jobs_of_all_rounds_are_erased() {
    let (world, documents) = world().await;
    let status = JobStatus::Working { job_id: "job".to_owned() };
    world.third_party.set_status(&format!("{}-1", documents[0].document_id), status);
    erase(&world).await.unwrap();
    assert_eq!(world.count("erase"), 3, "two rounds of one document and one of another");
    let first = world.third_party.status(&format!("{}-1", documents[0].document_id)).await.unwrap();
    assert_eq!(first, None);
}

/// A function that was working on a document may still write objects and submit the document.
#[tokio::test]
async fn a08_documents_in_progress_are_stopped_and_erased_when_no_function_can_work_on_them_any_more() {
    let (world, mut documents) = world().await;
    let object = object("open.txt", "v1");
    world.objects.upload(&object, None, &b"A lesson."[..]);
    world.receive_upload(&s3_event(&[(&object, "01")])).await.unwrap();
    let open = world.document(&object).unwrap().reference;
    let until = START + FUNCTIONS_END_WITHIN;
    for _ in 0..2 {
        let stopped = erase(&world).await.unwrap();
        assert!(matches!(stopped, Outcome::Stopped { until: time } if time == until), "{stopped:?}");
        assert_eq!(world.states.stopped(), [(open.clone(), 0)].into());
        assert_eq!(world.store.get(&open).unwrap().state, DocumentState::Failed);
        assert_eq!(world.count("erase_objects"), 0, "a function may still read the file");
    }
    world.clock.advance(FUNCTIONS_END_WITHIN);
    assert_eq!(erased(erase(&world).await).documents, 4);
    documents.push(open);
    for document in &documents {
        assert_eq!(world.store.get(document), None);
    }
}

#[tokio::test]
async fn a08_stop_that_is_interrupted_is_completed_by_the_next_pass() {
    for (call, cut) in
        [("stop", Cut::Before), ("stop", Cut::After), ("finish", Cut::Before), ("finish", Cut::After)]
    {
        let world = MemoryWorld::default();
        for file in ["one.txt", "two.txt"] {
            let object = object(file, "v1");
            world.objects.upload(&object, None, &b"A lesson."[..]);
            world.receive_upload(&s3_event(&[(&object, "01")])).await.unwrap();
        }
        world.faults.cut_nth(call, 1, cut);
        erase(&world).await.unwrap_err();
        assert!(matches!(erase(&world).await.unwrap(), Outcome::Stopped { .. }), "{call} {cut:?}");
        assert_eq!(world.states.stopped().len(), 2, "{call} {cut:?}");
        world.clock.advance(FUNCTIONS_END_WITHIN);
        assert_eq!(erased(erase(&world).await).documents, 2, "{call} {cut:?}");
    }
}

#[tokio::test]
async fn a08_owner_begins_an_erasure_once_and_the_tombstone_does_not_name_the_owner() {
    let (world, _) = world().await;
    let MemoryWorld { store, states: state_machine, clock, .. } = &world;
    let begin = Begin { store, state_machine, clock };
    for _ in 0..2 {
        begin.handle(&id()).await.unwrap();
    }
    assert_eq!(world.states.erasures(), [id()]);
    let erasure = world.store.erasure_now(&id()).unwrap();
    assert_eq!((erasure.state, erasure.by.as_str()), (ErasureState::Erasing, "owner"));
    assert_eq!(world.store.submission_now(&id()), None, "the API does not show it");
}

/// The execution is started first, so that an erasure that is marked is carried out.
#[tokio::test]
async fn a08_erasure_that_cannot_be_started_changes_nothing() {
    let (world, _) = world().await;
    world.faults.cut_next("start_erasure", Cut::Before);
    let MemoryWorld { store, states: state_machine, clock, .. } = &world;
    Begin { store, state_machine, clock }.handle(&id()).await.unwrap_err();
    assert_eq!(world.store.erasure_now(&id()), None);
}
