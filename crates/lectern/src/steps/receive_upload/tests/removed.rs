//! Files that are deleted after, while or before their document is handled (F07).

use super::*;
use crate::{
    document::submission::{Counts, SubmissionState},
    ports::{FinalOutcome, Finishing as _},
    testing::world::{START, failed_for},
};

fn removed(object: &ObjectVersion, sequencer: &str, kind: &str) -> String {
    s3_event(&[(object, sequencer)]).replace("ObjectCreated:Put", &format!("ObjectRemoved:{kind}"))
}

/// Deletes a file without naming a version. The event names the delete marker's version.
async fn delete(world: &MemoryWorld, object: &ObjectVersion, sequencer: &str) {
    let marker = ObjectVersion { version_id: "marker".to_owned(), ..object.clone() };
    world.objects.delete(&marker);
    let summary = world.receive_upload(&removed(&marker, sequencer, "DeleteMarkerCreated")).await.unwrap();
    assert_eq!(summary, Summary { removed: 1, ..Summary::default() });
}

async fn finish(world: &MemoryWorld, document: &Document, is_ready: bool) {
    let outcome = if is_ready {
        FinalOutcome::Ready { record_key: "records/s1/d1/hash.json".to_owned() }
    } else {
        failed_for(Reason::new("internal", "It failed."))
    };
    world.store.finish(&document.reference, outcome, START).await.unwrap();
}

fn submission(world: &MemoryWorld) -> (SubmissionState, Counts) {
    let submission = world.store.submission_now(&"s1".parse().unwrap()).unwrap();
    (submission.state, submission.counts)
}

const ONE_READY: (SubmissionState, Counts) =
    (SubmissionState::Ready, Counts { open: 0, ready: 1, rejected: 0, failed: 0 });

#[rstest]
#[case::rejected_behind_a_marker(b"", false)]
#[case::rejected_for_good(b"", true)]
#[case::failed_behind_a_marker(PDF, false)]
#[case::failed_for_good(PDF, true)]
#[tokio::test]
async fn f07_deleted_file_without_a_record_no_longer_holds_its_submission(
    #[case] bytes: &'static [u8],
    #[case] for_good: bool,
) {
    let world = MemoryWorld::default();
    let good = upload(&world, &object("lesson.pdf", "v1"), "01", PDF).await;
    finish(&world, &good, true).await;
    let bad = object("bad.pdf", "v1");
    let document = upload(&world, &bad, "01", bytes).await;
    finish(&world, &document, false).await;
    assert_eq!(submission(&world).0, SubmissionState::NeedsAttention);
    let before = world.document(&bad).unwrap();
    for _ in 0..2 {
        if for_good {
            world.receive_upload(&removed(&bad, "02", "Delete")).await.unwrap();
        } else {
            delete(&world, &bad, "02").await;
        }
        assert_eq!(submission(&world), ONE_READY, "a repeated event changes nothing");
    }
    let withdrawn = world.document(&bad).unwrap();
    assert_eq!(withdrawn, Document { is_withdrawn: true, ..before }, "it keeps its state and its reason");
}

#[tokio::test]
async fn f07_deletion_of_a_submissions_only_file_leaves_nothing_that_needs_attention() {
    let world = MemoryWorld::default();
    let object = object("empty.pdf", "v1");
    upload(&world, &object, "01", b"").await;
    delete(&world, &object, "02").await;
    assert_eq!(submission(&world), (SubmissionState::Ready, Counts::default()));
}

#[rstest]
#[case::open(None)]
#[case::ready(Some(true))]
#[tokio::test]
async fn f07_deletion_changes_no_document_that_is_open_or_ready(#[case] end: Option<bool>) {
    let world = MemoryWorld::default();
    let object = object("lesson.pdf", "v1");
    let document = upload(&world, &object, "01", PDF).await;
    if let Some(is_ready) = end {
        finish(&world, &document, is_ready).await;
    }
    let (before, counts) = (world.document(&object), submission(&world));
    delete(&world, &object, "02").await;
    world.receive_upload(&removed(&object, "03", "Delete")).await.unwrap();
    assert_eq!((world.document(&object), submission(&world)), (before, counts));
}

#[tokio::test]
async fn f07_file_that_was_deleted_while_its_document_was_open_can_be_deleted_again() {
    let world = MemoryWorld::default();
    let object = object("lesson.pdf", "v1");
    let document = upload(&world, &object, "01", PDF).await;
    delete(&world, &object, "02").await;
    finish(&world, &document, false).await;
    assert_eq!(submission(&world).0, SubmissionState::NeedsAttention);
    delete(&world, &object, "03").await;
    assert_eq!(submission(&world), (SubmissionState::Ready, Counts::default()));
}

#[rstest]
#[case::late("02", false)]
#[case::in_order("04", true)]
#[tokio::test]
async fn f07_only_a_delete_marker_that_is_newer_than_the_newest_version_withdraws_it(
    #[case] sequencer: &str,
    #[case] withdrawn: bool,
) {
    let world = MemoryWorld::default();
    let old = object("empty.pdf", "v1");
    upload(&world, &old, "01", b"").await;
    let new = object("empty.pdf", "v2");
    upload(&world, &new, "03", b"").await;
    delete(&world, &old, sequencer).await;
    assert!(!world.document(&old).unwrap().is_withdrawn, "it is superseded");
    assert_eq!(world.document(&new).unwrap().is_withdrawn, withdrawn);
    assert_eq!(submission(&world).1.rejected, u64::from(!withdrawn));
}

#[tokio::test]
async fn f07_later_upload_of_a_deleted_file_counts() {
    let world = MemoryWorld::default();
    let old = object("lesson.pdf", "v1");
    upload(&world, &old, "01", b"").await;
    delete(&world, &old, "02").await;
    let new = upload(&world, &object("lesson.pdf", "v2"), "03", PDF).await;
    assert_eq!(submission(&world).1, Counts { open: 1, ..Counts::default() });
    finish(&world, &new, true).await;
    assert_eq!(submission(&world), ONE_READY);
    assert_eq!(world.document(&old).unwrap().superseded_by, Some(new.reference.document_id));
}

#[rstest]
#[case::marker(true)]
#[case::for_good(false)]
#[tokio::test]
async fn f07_rejected_file_whose_deletion_was_announced_first_does_not_hold_its_submission(
    #[case] by_marker: bool,
) {
    let object = object("empty.pdf", "v1");
    let event = s3_event(&[(&object, "01")]);
    for call in [None, Some("current_version"), Some("withdraw")] {
        for cut in [Cut::Before, Cut::After] {
            let world = MemoryWorld::default();
            if by_marker {
                world.objects.upload(&object, None, &b""[..]);
                delete(&world, &object, "02").await;
            } else {
                world.receive_upload(&removed(&object, "02", "Delete")).await.unwrap();
            }
            assert!(world.store.all().is_empty());
            if let Some(call) = call {
                world.faults.cut_next(call, cut);
                assert!(world.receive_upload(&event).await.is_err(), "{call} {cut:?}");
            }
            assert_eq!(world.receive_upload(&event).await.unwrap(), rejected(1));
            assert!(world.document(&object).unwrap().is_withdrawn);
            assert_eq!(submission(&world), (SubmissionState::Ready, Counts::default()));
        }
    }
}

#[rstest]
#[case::delete_marker_that_is_removed("lesson.pdf")]
#[case::companion_file(".DS_Store")]
#[tokio::test]
async fn f07_deletion_of_what_is_not_registered_changes_nothing(#[case] name: &str) {
    let world = MemoryWorld::default();
    for kind in ["DeleteMarkerCreated", "Delete"] {
        world.receive_upload(&removed(&object(name, "v1"), "01", kind)).await.unwrap();
    }
    assert!(world.store.all().is_empty());
}
