//! Tests of an erasure with the in-memory ports: what is refused, what has to wait, and what the reports say.

use std::time::Duration as StdDuration;

use lectern::{
    document::{Attempt, DocumentState, Round},
    error::Error,
    ports::{ErasureState, Transfers as _},
    testing::world::{MemoryWorld, START, object, s3_event},
};

use super::*;
use crate::console::Report as _;

const BY: &str = "arn:aws:sts::1:assumed-role/operator/session";

fn id() -> SubmissionId {
    "s1".parse().unwrap()
}

/// A submission with one document that was rejected and, if wanted, one that is in progress.
async fn world(is_open: bool) -> MemoryWorld {
    let world = MemoryWorld::default();
    let files = [("secret name.txt", ""), ("open.txt", "A lesson.")];
    for (name, text) in &files[..=usize::from(is_open)] {
        let object = object(name, "v1");
        world.objects.upload(&object, None, text.as_bytes());
        world.receive_upload(&s3_event(&[(&object, "01")])).await.unwrap();
    }
    world
}

async fn erase(world: &MemoryWorld, stops: bool) -> EraseReport {
    let MemoryWorld { store, objects, third_party, states: executions, clock, .. } = world;
    let seen = look(store, objects, &id()).await.unwrap();
    let functions_end_within = StdDuration::from_mins(16);
    let ports = erasure::Ports { store, objects, third_party, executions, clock, functions_end_within };
    Work { ports, by: BY }.erase(seen, stops).await.unwrap()
}

fn text(report: &EraseReport) -> String {
    let mut out = Vec::new();
    report.write(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[tokio::test]
async fn a08_plan_says_what_would_be_erased_and_changes_nothing() {
    let world = world(true).await;
    let report = look(&world.store, &world.objects, &id()).await.unwrap().report(Outcome::Would);
    assert!(report.is_complete());
    assert_eq!(
        text(&report),
        "Submission s1 would be erased. Nothing was changed.\n  now      2 documents (1 in progress), 2 versions of objects\n\
         Do     To erase it for good: lectern erase s1 --yes\n"
    );
    assert_eq!(world.store.erasure_now(&id()), None);
}

#[tokio::test]
async fn a08_submission_that_never_existed_is_not_found() {
    let world = MemoryWorld::default();
    let problem = look(&world.store, &world.objects, &id()).await.err().unwrap();
    assert_eq!(problem.exit, Exit::NotFound);
}

#[tokio::test]
async fn a08_submission_is_erased_and_the_report_proves_it_without_a_name() {
    let world = world(false).await;
    let report = erase(&world, false).await;
    assert!(report.is_complete(), "{report:?}");
    let said = text(&report);
    let expected = "Submission s1 is erased.\n  erasure  complete\n  began    2026-11-20T16:00:00.000Z\n  \
                    ended    2026-11-20T16:00:00.000Z\n  by       arn:aws:sts::1:assumed-role/operator/session\n  \
                    erased   1 document, 1 version of objects\n  now      0 documents, 0 versions of objects\n\
                    Do     Nothing.\n";
    assert_eq!(said, expected);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((&json["outcome"], &json["erasure"]["erasedDocuments"]), (&"erased".into(), &1.into()));
    let shown = look(&world.store, &world.objects, &id()).await.unwrap().report(Outcome::Shown);
    assert!(shown.is_complete() && !text(&shown).contains("secret name"), "{shown:?}");
}

#[tokio::test]
async fn a08_documents_in_progress_keep_a_submission_from_being_erased_unless_they_are_stopped() {
    let world = world(true).await;
    let refused = erase(&world, false).await;
    assert!(!refused.is_complete());
    assert!(text(&refused).contains("was not erased: 1 document is in progress."), "{}", text(&refused));
    assert_eq!(world.store.erasure_now(&id()), None, "nothing was changed");
    assert!(world.states.stopped().is_empty());
}

/// A function that was working on a document may still write objects and submit the document.
#[tokio::test]
async fn a08_stopped_documents_are_erased_when_no_function_can_work_on_them_any_more() {
    let world = world(true).await;
    let open = world.document(&object("open.txt", "v1")).unwrap().reference;
    let waiting = erase(&world, true).await;
    assert_eq!(world.states.stopped(), [(open.clone(), 0)].into());
    assert!(!waiting.is_complete());
    assert!(text(&waiting).contains("again after 2026-11-20T16:16:00.000Z"), "{}", text(&waiting));
    assert_eq!(world.store.get(&open).unwrap().state, DocumentState::Failed);
    // A message that is still in the queue.
    let begun = world.store.begin_transfer(&open, Attempt(1000), Round::FIRST, START).await.unwrap();
    assert_eq!(begun, lectern::ports::Begin::Stale);
    world.clock.advance(StdDuration::from_mins(15));
    assert!(matches!(erase(&world, false).await.outcome, Outcome::Waiting { .. }));
    world.clock.advance(StdDuration::from_mins(1));
    let erased = erase(&world, false).await;
    assert!(erased.is_complete(), "{erased:?}");
    assert_eq!(world.count("stop"), 1);
    assert!(world.store.all().is_empty());
}

#[tokio::test]
async fn a08_third_party_that_cannot_be_told_leaves_the_erasure_open_and_says_what_to_do() {
    let world = world(true).await;
    let open = world.document(&object("open.txt", "v1")).unwrap().reference;
    world.store.begin_transfer(&open, Attempt(1000), Round::FIRST, START).await.unwrap();
    erase(&world, true).await;
    world.clock.advance(StdDuration::from_mins(16));
    world.third_party.refuse_next(Error::Unavailable("no connection could be made".to_owned()));
    let report = erase(&world, false).await;
    assert!(!report.is_complete());
    let said = text(&report);
    assert!(
        said.contains("has not confirmed it for 1 document.") || said.contains("for 2 documents."),
        "{said}"
    );
    assert!(said.contains("when the third party can be reached"), "{said}");
    assert_eq!(report.object_versions, 0, "the content is erased");
    let report = erase(&world, false).await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(world.store.erasure_now(&id()).unwrap().state, ErasureState::Erased);
}

#[tokio::test]
async fn a08_what_was_added_since_an_erasure_is_shown_and_erased_by_the_next_run() {
    let world = world(false).await;
    erase(&world, false).await;
    world.objects.upload(&object("new.txt", "v1"), None, &b"A lesson."[..]);
    let shown = look(&world.store, &world.objects, &id()).await.unwrap().report(Outcome::Shown);
    assert!(!shown.is_complete() && text(&shown).contains("something was added since"), "{}", text(&shown));
    assert!(erase(&world, false).await.is_complete());
}

#[tokio::test]
async fn a08_messages_in_dead_letter_queues_are_reported() {
    let world = world(false).await;
    let mut report = erase(&world, false).await;
    report.dead_letters = 2;
    assert!(text(&report).contains("hold 2 messages"), "{}", text(&report));
}
