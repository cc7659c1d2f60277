//! Tests of the comparison of bucket and table.

use aws_sdk_s3::Client;
use aws_smithy_mocks::mock;
use lectern::{
    document::{Document, DocumentId, DocumentState, ObjectVersion, SubmissionId},
    ports::Sequencer,
    steps::receive_upload,
    testing::world::MemoryWorld,
};
use proptest::prelude::*;
use rstest::rstest;
use time::{Duration, OffsetDateTime, macros::datetime};

use super::{
    compare::{Compared, Unannounced, compare, document_of, event, events},
    listing::{Listing, UploadVersion},
};
use crate::testing::{answer, client, document};

const NOW: OffsetDateTime = datetime!(2026-11-20 14:00:00 UTC);
const BEFORE: OffsetDateTime = datetime!(2026-11-20 13:45:00 UTC);

fn version(name: &str, version_id: &str, is_latest: bool, age_min: i64) -> UploadVersion {
    UploadVersion {
        object: ObjectVersion {
            bucket: "uploads".to_owned(),
            key: format!("submissions/s1/{name}"),
            version_id: version_id.to_owned(),
        },
        is_latest,
        modified: NOW - Duration::minutes(age_min),
    }
}

fn compared(versions: &[UploadVersion], documents: &[Document]) -> Compared {
    compare(versions, documents, BEFORE)
}

/// The versions whose events were lost, as `<file> <version>`, by file.
fn lost(found: &Compared) -> Vec<Vec<String>> {
    let name = |(_, object): &Unannounced| {
        format!("{} {}", object.key.trim_start_matches("submissions/s1/"), object.version_id)
    };
    found.unannounced.iter().map(|file| file.iter().map(name).collect()).collect()
}

#[test]
fn case_08_versions_that_no_event_announced_are_found_newest_first_and_nothing_else() {
    let known = document(DocumentState::Ready);
    let versions = [
        version("secret name.txt", "v1", true, 60),
        version("lost.txt", "v1", false, 90),
        version("lost.txt", "v2", true, 60),
        version("just now.txt", "v2", true, 5),
        version("just now.txt", "v1", false, 60),
        version("deleted.txt", "v1", false, 60),
        version("", "v1", true, 60),
    ];
    let found = compared(&versions, &[known]);
    assert_eq!(lost(&found), [["lost.txt v2", "lost.txt v1"]]);
    assert_eq!((found.young, found.gone.len(), found.open.len()), (1, 0, 0));
}

#[test]
fn case_08_only_versions_newer_than_the_registered_one_are_announced() {
    let registered = document(DocumentState::Ready);
    let version =
        |number: i64| version("secret name.txt", &format!("v{number}"), number == 3, 100 - 10 * number);
    let versions: Vec<UploadVersion> = [3, 2, 1, 0].map(version).into();
    assert_eq!(
        lost(&compared(&versions, std::slice::from_ref(&registered))),
        [["secret name.txt v3", "secret name.txt v2"]],
        "v0 is older than the registered version"
    );
    let superseded = Document { superseded_by: Some(DocumentId::of("b", b"k", "gone")), ..registered };
    let found = compared(&versions, &[superseded]);
    assert_eq!(
        lost(&found),
        [["secret name.txt v3", "secret name.txt v2", "secret name.txt v0"]],
        "the registered version is no longer in the bucket"
    );
}

fn object(version_id: &str) -> ObjectVersion {
    ObjectVersion { version_id: version_id.to_owned(), ..document(DocumentState::Received).object }
}

fn unannounced(versions: &[&str]) -> Vec<Unannounced> {
    let version = |id: &&str| (document_of(&object(id)).unwrap(), object(id));
    versions.iter().map(version).collect()
}

/// A world with these versions of a file, all with the same text.
fn world(versions: &[&str]) -> MemoryWorld {
    let world = MemoryWorld::default();
    for version in versions {
        world.objects.upload(&object(version), None, &b"A lesson in ten lines."[..]);
    }
    world
}

fn standing(world: &MemoryWorld, version: &str) -> (DocumentState, Option<DocumentId>) {
    let found = world.document(&object(version)).unwrap();
    (found.state, found.superseded_by)
}

#[rstest]
#[case::nothing_was_registered(None)]
#[case::an_older_version_is_registered(Some("0055AED6DCD90281E5"))]
#[tokio::test]
async fn case_08_late_event_of_an_announced_older_version_changes_nothing(#[case] registered: Option<&str>) {
    let world = world(&["v0", "v1", "v2", "v3"]);
    if let Some(sequencer) = registered {
        world.receive_upload(&event(&object("v0"), Some(sequencer))).await.unwrap();
    }
    let sent = events(&unannounced(&["v2", "v1"]), registered.map(Sequencer::new).as_ref());
    let [(body, 2)] = sent.as_slice() else { panic!("{sent:?}") };
    world.receive_upload(body).await.unwrap();
    let newest = document_of(&object("v2")).unwrap().document_id;
    let expected = |world: &MemoryWorld| {
        assert_eq!(standing(world, "v2"), (DocumentState::Received, None));
        assert_eq!(
            standing(world, "v1"),
            (DocumentState::Rejected, Some(newest)),
            "the superseded version is rejected"
        );
        let started = world.states.started().into_iter().filter(|started| started.document_id == newest);
        assert_eq!(started.count(), 1);
        assert_eq!(world.store.submission_now(&"s1".parse().unwrap()).unwrap().counts.open, 1);
    };
    expected(&world);
    // The real events were only late, and their sequencers are greater than the made-up ones.
    for late in
        [event(&object("v1"), Some("0055AED6DCD90281E6")), event(&object("v2"), Some("0055AED6DCD90281E7"))]
    {
        world.receive_upload(&late).await.unwrap();
        expected(&world);
    }
    world.receive_upload(&event(&object("v3"), Some("0055AED6DCD90281E8"))).await.unwrap();
    assert_eq!(standing(&world, "v3").1, None, "a later upload is newer");
    assert_eq!(standing(&world, "v2").1, Some(document_of(&object("v3")).unwrap().document_id));
}

#[tokio::test]
async fn case_08_events_of_many_versions_end_with_the_newest_in_whatever_order_they_are_handled() {
    let ids: Vec<String> = (0..23).rev().map(|number| format!("v{number}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let sent = events(&unannounced(&ids), None);
    assert_eq!(sent.iter().map(|(_, number)| *number).collect::<Vec<_>>(), [10, 10, 3]);
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let world = world(&ids);
        for index in order {
            world.receive_upload(&sent[index].0).await.unwrap();
        }
        let current: Vec<DocumentId> = world
            .store
            .all()
            .into_iter()
            .filter(|found| found.superseded_by.is_none())
            .map(|found| found.reference.document_id)
            .collect();
        assert_eq!(current, [document_of(&object("v22")).unwrap().document_id], "{order:?}");
    }
}

#[test]
fn key_that_names_no_submission_is_registered_too() {
    let mut unassigned = version("x", "v1", true, 60);
    unassigned.object.key = "submissions/a/b/c.txt".to_owned();
    let found = compared(&[unassigned], &[]);
    assert_eq!(
        found.unannounced[0][0].0.submission_id,
        SubmissionId::unassigned(),
        "the upload is registered, and rejected with a reason"
    );
}

#[test]
fn open_document_whose_version_is_gone_is_reported() {
    let open = document(DocumentState::Transferring);
    let found = compared(&[version("secret name.txt", "v2", true, 60)], std::slice::from_ref(&open));
    assert_eq!(found.gone, std::slice::from_ref(&open.reference));
    assert_eq!(found.open, [open]);
    assert_eq!(found.unannounced.len(), 1);
    let ended = compared(&[], &[document(DocumentState::Failed)]);
    assert_eq!(ended, Compared::default(), "the object of a document that has ended may be deleted");
}

#[test]
fn young_open_document_is_left_alone() {
    let mut young = document(DocumentState::Received);
    young.times = [("Received".to_owned(), "2026-11-20T13:59:00.000Z".to_owned())].into();
    assert_eq!(compared(&[version("secret name.txt", "v1", true, 1)], &[young]), Compared::default());
}

proptest! {
    /// Uploaders choose keys freely; the sent event has to name exactly this object.
    #[test]
    fn event_names_the_exact_object(file in "[^/\\\\\\p{C}]{1,40}", version_id in "[a-z0-9]{1,8}") {
        prop_assume!(file != "." && file != "..");
        let key = format!("submissions/s1/{file}");
        let object = ObjectVersion { bucket: "uploads".to_owned(), key: key.clone(), version_id: version_id.clone() };
        let expected = lectern::document::DocumentId::of("uploads", key.as_bytes(), &version_id);
        prop_assert_eq!(document_of(&object).map(|found| found.document_id), Some(expected));
        prop_assert!(receive_upload::parse_event(&event(&object, Some("00A1"))).is_ok());
    }
}

#[tokio::test]
async fn encoded_keys_and_markers_are_decoded_page_by_page() {
    let page = |key: &str, more: &str| {
        format!(
            "<ListVersionsResult><EncodingType>url</EncodingType>{more}<Version><Key>{key}</Key><VersionId>v1</VersionId>\
             <IsLatest>true</IsLatest><LastModified>2026-11-20T12:00:00.000Z</LastModified></Version>\
             <DeleteMarker><Key>submissions/s1/deleted</Key><VersionId>v9</VersionId><IsLatest>true</IsLatest></DeleteMarker>\
             </ListVersionsResult>"
        )
    };
    let more = "<IsTruncated>true</IsTruncated><NextKeyMarker>submissions/s1/a+%2B%25</NextKeyMarker><NextVersionIdMarker>v1</NextVersionIdMarker>";
    let first = page("submissions/s1/a+%2B%25", more);
    let last = page("submissions/s1/%E6%95%99", "<IsTruncated>false</IsTruncated>");
    let one = mock!(Client::list_object_versions)
        .match_requests(|request| request.key_marker().is_none())
        .then_http_response(move || answer(200, first.clone()));
    let two = mock!(Client::list_object_versions)
        .match_requests(|request| {
            request.key_marker() == Some("submissions/s1/a +%") && request.version_id_marker() == Some("v1")
        })
        .then_http_response(move || answer(200, last.clone()));
    let s3 = client!(aws_sdk_s3, one, two);
    let mut listing = Listing::new(&s3, "uploads", None);
    let mut keys = Vec::new();
    while let Some(page) = listing.page().await.unwrap() {
        keys.extend(page.into_iter().map(|version| version.object.key));
    }
    assert_eq!(keys, ["submissions/s1/a +%", "submissions/s1/教"]);
}
