//! Tests erasing the objects of a submission: pages, encoded keys, and uploads that are not complete.

use aws_sdk_s3::{
    Client,
    operation::{
        abort_multipart_upload::{AbortMultipartUploadInput, AbortMultipartUploadOutput},
        delete_object::{DeleteObjectInput, DeleteObjectOutput},
    },
};
use aws_smithy_mocks::{Rule, mock};

use super::*;
use crate::test_support::{Seen, answer, client, xml_error};

fn empty_lists() -> [Rule; 2] {
    [
        mock!(Client::list_object_versions)
            .match_requests(|request| request.prefix() != Some("submissions/s1/"))
            .then_http_response(|| answer(200, "<ListVersionsResult/>")),
        mock!(Client::list_multipart_uploads)
            .match_requests(|request| request.prefix() != Some("returned/s1/"))
            .then_http_response(|| answer(200, "<ListMultipartUploadsResult/>")),
    ]
}

fn objects(client: Client) -> ObjectsOfSubmissions {
    ObjectsOfSubmissions::new(client, "uploads".to_owned(), "returned".to_owned())
}

#[tokio::test]
async fn a08_every_version_and_marker_of_every_page_is_deleted_by_its_decoded_key() {
    let page = |rest: &str, more: &str| {
        answer(
            200,
            format!("<ListVersionsResult><EncodingType>url</EncodingType>{more}{rest}</ListVersionsResult>"),
        )
    };
    let first = mock!(Client::list_object_versions)
        .match_requests(|request| {
            request.prefix() == Some("submissions/s1/")
                && request.bucket() == Some("uploads")
                && request.key_marker().is_none()
        })
        .then_http_response(move || {
            page(
                "<Version><Key>submissions/s1/a+%2B%25</Key><VersionId>v1</VersionId></Version>\
                 <DeleteMarker><Key>submissions/s1/a+%2B%25</Key><VersionId>m1</VersionId></DeleteMarker>",
                "<IsTruncated>true</IsTruncated><NextKeyMarker>submissions/s1/a+%2B%25</NextKeyMarker>\
                 <NextVersionIdMarker>m1</NextVersionIdMarker>",
            )
        });
    let second = mock!(Client::list_object_versions)
        .match_requests(|request| {
            request.key_marker() == Some("submissions/s1/a +%") && request.version_id_marker() == Some("m1")
        })
        .then_http_response(move || {
            page(
                "<Version><Key>submissions/s1/%E6%95%99</Key><VersionId>v2</VersionId></Version>",
                "<IsTruncated>false</IsTruncated>",
            )
        });
    let deleted = Seen::<DeleteObjectInput>::new();
    let noted = deleted.clone();
    let delete = mock!(Client::delete_object).then_compute_output(move |request| {
        noted.note(request);
        DeleteObjectOutput::builder().build()
    });
    let [no_versions, no_uploads] = empty_lists();
    let no_parts = mock!(Client::list_multipart_uploads)
        .then_http_response(|| answer(200, "<ListMultipartUploadsResult/>"));
    let s3 = client!(aws_sdk_s3, first, second, no_versions, no_uploads, no_parts, delete);
    assert_eq!(objects(s3).erase_objects(&"s1".parse().unwrap(), 100).await.unwrap().versions, 3);
    let mut names: Vec<(String, String)> = deleted
        .all()
        .iter()
        .map(|request| (request.key().unwrap().to_owned(), request.version_id().unwrap().to_owned()))
        .collect();
    names.sort();
    let expected =
        [("submissions/s1/a +%", "m1"), ("submissions/s1/a +%", "v1"), ("submissions/s1/教", "v2")];
    assert_eq!(names, expected.map(|(key, version)| (key.to_owned(), version.to_owned())));
}

#[tokio::test]
async fn a08_uploads_in_parts_that_are_not_complete_are_aborted() {
    let parts = mock!(Client::list_multipart_uploads)
        .match_requests(|request| request.prefix() == Some("returned/s1/") && request.bucket() == Some("returned"))
        .then_http_response(|| {
            answer(
                200,
                "<ListMultipartUploadsResult><EncodingType>url</EncodingType><Upload><Key>returned/s1/d1/0</Key>\
                 <UploadId>u1</UploadId></Upload></ListMultipartUploadsResult>",
            )
        });
    let aborted = Seen::<AbortMultipartUploadInput>::new();
    let noted = aborted.clone();
    let abort = mock!(Client::abort_multipart_upload).then_compute_output(move |request| {
        noted.note(request);
        AbortMultipartUploadOutput::builder().build()
    });
    let nothing =
        mock!(Client::list_object_versions).then_http_response(|| answer(200, "<ListVersionsResult/>"));
    let [_, no_uploads] = empty_lists();
    let s3 = client!(aws_sdk_s3, parts, no_uploads, nothing, abort);
    assert_eq!(objects(s3).erase_objects(&"s1".parse().unwrap(), 100).await.unwrap().versions, 0);
    let request = aborted.only();
    assert_eq!((request.key(), request.upload_id()), (Some("returned/s1/d1/0"), Some("u1")));
}

#[tokio::test]
async fn a08_version_that_cannot_be_deleted_ends_the_erasure_with_an_error() {
    let listed = mock!(Client::list_object_versions).then_http_response(|| {
        answer(
            200,
            "<ListVersionsResult><Version><Key>submissions/s1/a</Key><VersionId>v1</VersionId></Version></ListVersionsResult>",
        )
    });
    let delete = mock!(Client::delete_object).then_http_response(|| xml_error(403, "AccessDenied"));
    let [_, no_uploads] = empty_lists();
    let error = objects(client!(aws_sdk_s3, listed, no_uploads, delete))
        .erase_objects(&"s1".parse().unwrap(), 100)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("DeleteObject: it answered with an error (AccessDenied)"), "{error}");
    assert!(!format!("{error:?}").contains("secret detail"));
}
