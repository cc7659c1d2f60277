//! The bucket against the table.

use aws_sdk_s3::Client;
use aws_smithy_mocks::mock;
use lectern::{
    document::{Document, DocumentState, ObjectVersion, SubmissionId},
    receive_upload,
};
use proptest::prelude::*;
use time::{Duration, OffsetDateTime, macros::datetime};

use super::{
    compare::{Compared, compare, document_of, event},
    listing::{Listing, Version},
};
use crate::test_support::{answer, client, document};

const NOW: OffsetDateTime = datetime!(2026-11-20 14:00:00 UTC);
const BEFORE: OffsetDateTime = datetime!(2026-11-20 13:45:00 UTC);

fn version(name: &str, version_id: &str, is_latest: bool, age_min: i64) -> Version {
    Version {
        key: format!("submissions/s1/{name}"),
        version_id: version_id.to_owned(),
        is_latest,
        modified: NOW - Duration::minutes(age_min),
    }
}

fn compared(versions: &[Version], documents: &[Document]) -> Compared {
    compare("uploads", versions, documents, BEFORE)
}

#[test]
fn case_08_latest_version_that_no_event_announced_is_found_and_nothing_else() {
    let known = document(DocumentState::Ready);
    let versions = [
        version("secret name.txt", "v1", true, 60),
        version("lost.txt", "v2", true, 60),
        version("lost.txt", "v1", false, 90),
        version("just now.txt", "v1", true, 5),
        version("", "v1", true, 60),
    ];
    let found = compared(&versions, &[known]);
    let lost: Vec<&str> = found.unannounced.iter().map(|(_, object)| object.key.as_str()).collect();
    assert_eq!(lost, ["submissions/s1/lost.txt"]);
    assert_eq!(found.unannounced[0].1.version_id, "v2", "older versions are superseded anyway");
    assert_eq!((found.young, found.gone.len(), found.open.len()), (1, 0, 0));
}

#[test]
fn key_that_names_no_submission_is_registered_too() {
    let object = Version { key: "submissions/a/b/c.txt".to_owned(), ..version("x", "v1", true, 60) };
    let found = compared(&[object], &[]);
    assert_eq!(
        found.unannounced[0].0.submission_id,
        SubmissionId::unassigned(),
        "to be rejected with a reason"
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
    assert_eq!(ended, Compared::default(), "of one that has ended the object may be gone");
}

#[test]
fn young_open_document_is_left_alone() {
    let mut young = document(DocumentState::Received);
    young.times = [("Received".to_owned(), "2026-11-20T13:59:00.000Z".to_owned())].into();
    assert_eq!(compared(&[version("secret name.txt", "v1", true, 1)], &[young]), Compared::default());
}

proptest! {
    /// S3 lets anyone choose a key; the event that is sent has to name the same object.
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
        keys.extend(page.into_iter().map(|version| version.key));
    }
    assert_eq!(keys, ["submissions/s1/a +%", "submissions/s1/教"]);
}
