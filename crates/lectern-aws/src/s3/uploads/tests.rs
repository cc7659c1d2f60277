//! Tests reading uploads: missing objects, denied access, and ranges that cover exactly the object.

use std::io;

use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    operation::{
        get_object::{GetObjectInput, GetObjectOutput},
        get_object_tagging::GetObjectTaggingOutput,
        head_object::{HeadObjectOutput, builders::HeadObjectOutputBuilder},
    },
    primitives::{ByteStream as Body, SdkBody},
    types::{ArchiveStatus, ServerSideEncryption, StorageClass, Tag},
};
use aws_smithy_mocks::{Rule, mock};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use lectern::{
    document::ObjectVersion,
    ports::{Protection, ScanResults as _, ScanStatus, Shown, UploadReader as _, Uploads as _},
};
use rstest::rstest;

use super::{RANGE_BYTES, SourceReadError, UploadsBucket};
use crate::s3::ReturnedBucket;
use crate::test_support::{Seen, answer, client, object, xml_error};

/// Chunks of zeros that cost no memory: each is the same static block.
static BLOCK: [u8; 1 << 20] = [0; 1 << 20];

fn bucket(rule: &Rule) -> UploadsBucket {
    UploadsBucket::new(client!(aws_sdk_s3, *rule))
}

fn head_of(version: &'static str, length: i64) -> Rule {
    mock!(Client::head_object)
        .match_requests(move |request| {
            request.bucket() == Some("uploads")
                && request.key() == Some("submissions/s1/plan.txt")
                && request.version_id().is_none_or(|asked| asked == version)
        })
        .then_output(move || {
            HeadObjectOutput::builder()
                .version_id(version)
                .content_length(length)
                .content_type("text/plain")
                .build()
        })
}

#[tokio::test]
async fn head_says_version_size_and_type() {
    let head = bucket(&head_of("v1", 12)).head(&object()).await.unwrap().unwrap();
    assert_eq!((head.version_id.as_str(), head.size_bytes), ("v1", 12));
    assert_eq!(head.content_type.as_deref(), Some("text/plain"));
}

#[tokio::test]
async fn bucket_without_versions_has_the_version_null() {
    let rule = mock!(Client::head_object).then_output(|| HeadObjectOutput::builder().build());
    let head = bucket(&rule).head(&object()).await.unwrap().unwrap();
    assert_eq!((head.version_id.as_str(), head.size_bytes), ("null", 0));
}

fn tagged(version: &str, tags: &[(&str, &str)]) -> GetObjectTaggingOutput {
    let tag = |(key, value): &(&str, &str)| Tag::builder().key(*key).value(*value).build().unwrap();
    let tags = Some(tags.iter().map(tag).collect());
    GetObjectTaggingOutput::builder().version_id(version).set_tag_set(tags).build().unwrap()
}

#[rstest]
#[case(&[], ScanStatus::Pending)]
#[case(&[("course", "NO_THREATS_FOUND")], ScanStatus::Pending)]
#[case(&[("course", "1"), ("GuardDutyMalwareScanStatus", "NO_THREATS_FOUND")], ScanStatus::Clean)]
#[case(&[("GuardDutyMalwareScanStatus", "THREATS_FOUND")], ScanStatus::Threats)]
#[case(&[("GuardDutyMalwareScanStatus", "UNSUPPORTED")], ScanStatus::Unsupported)]
#[case(&[("GuardDutyMalwareScanStatus", "ACCESS_DENIED")], ScanStatus::Failed)]
#[case(&[("GuardDutyMalwareScanStatus", "FAILED")], ScanStatus::Failed)]
#[case(&[("GuardDutyMalwareScanStatus", "SOMETHING_NEW")], ScanStatus::Failed)]
#[tokio::test]
async fn s02_only_the_tag_of_the_named_version_makes_it_clean(
    #[case] tags: &'static [(&'static str, &'static str)],
    #[case] expected: ScanStatus,
) {
    let rule = mock!(Client::get_object_tagging)
        .match_requests(|request| request.version_id() == Some("v1"))
        .then_output(move || tagged("v1", tags));
    assert_eq!(bucket(&rule).scan_status(&object()).await.unwrap(), expected);
}

/// S02: IAM would refuse the `HEAD` of a current version that is not clean.
#[tokio::test]
async fn s02_with_the_gate_the_current_version_is_known_without_reading_it() {
    let rule = mock!(Client::get_object_tagging)
        .match_requests(|request| request.version_id().is_none())
        .then_output(|| tagged("v2", &[("GuardDutyMalwareScanStatus", "THREATS_FOUND")]));
    let current = bucket(&rule).with_malware_gate(true).current_version(&object()).await.unwrap();
    assert_eq!(current.as_deref(), Some("v2"));
}

#[rstest]
#[case(404, None)]
#[case(405, None)]
#[case(403, Some("Store.Unavailable"))]
#[case(503, Some("Store.Unavailable"))]
#[tokio::test]
async fn s02_tags_of_a_deleted_version_are_those_of_nothing_and_refused_ones_are_unavailable(
    #[case] status: u16,
    #[case] error: Option<&str>,
) {
    let rule = mock!(Client::get_object_tagging).then_http_response(move || xml_error(status, ""));
    let bucket = bucket(&rule).with_malware_gate(true);
    let (current, scan) = (bucket.current_version(&object()).await, bucket.scan_status(&object()).await);
    match error {
        None => assert_eq!((current.unwrap(), scan.unwrap()), (None, ScanStatus::Gone)),
        Some(name) => assert_eq!([current.unwrap_err().name(), scan.unwrap_err().name()], [name; 2]),
    }
}

#[tokio::test]
async fn case_16_current_version_is_asked_for_without_a_version() {
    let rule = head_of("v2", 1);
    let current = bucket(&rule).current_version(&object()).await.unwrap();
    assert_eq!(current.as_deref(), Some("v2"), "a newer one than that of the document");
}

/// S3 answers 400 to a HEAD without the key of an object that is encrypted with the customer's key.
#[tokio::test]
async fn s04_head_says_what_prevents_reading() {
    let rule = mock!(Client::head_object).then_http_response(|| xml_error(400, ""));
    let head = bucket(&rule).head(&object()).await.unwrap().unwrap();
    assert_eq!((head.protection, head.version_id.as_str()), (Protection::CustomerKey, "v1"));

    let head = async |change: fn(HeadObjectOutputBuilder) -> HeadObjectOutputBuilder| {
        let rule =
            mock!(Client::head_object).then_output(move || change(HeadObjectOutput::builder()).build());
        bucket(&rule).head(&object()).await.unwrap().unwrap().protection
    };
    assert_eq!(head(|it| it.storage_class(StorageClass::Glacier)).await, Protection::Archived);
    assert_eq!(head(|it| it.storage_class(StorageClass::DeepArchive)).await, Protection::Archived);
    assert_eq!(head(|it| it.archive_status(ArchiveStatus::ArchiveAccess)).await, Protection::Archived);
    // The instant classes can be read at once.
    assert_eq!(head(|it| it.storage_class(StorageClass::GlacierIr)).await, Protection::None);
    assert_eq!(head(|it| it.server_side_encryption(ServerSideEncryption::AwsKms)).await, Protection::KmsKey);
    assert_eq!(head(|it| it.server_side_encryption(ServerSideEncryption::Aes256)).await, Protection::None);
}

/// A delete marker is a 404 for the key and a 405 for its own version.
#[rstest]
#[case(404)]
#[case(405)]
#[tokio::test]
async fn case_16_deleted_object_or_delete_marker_is_nothing(#[case] status: u16) {
    let rule = mock!(Client::head_object).then_http_response(move || xml_error(status, ""));
    let bucket = bucket(&rule);
    assert_eq!(bucket.head(&object()).await.unwrap(), None);
    assert_eq!(bucket.current_version(&object()).await.unwrap(), None);
}

#[rstest]
#[case(403)]
#[case(500)]
#[case(503)]
#[tokio::test]
async fn forbidden_or_failing_head_is_unavailable_and_never_gone(#[case] status: u16) {
    let rule = mock!(Client::head_object).then_http_response(move || xml_error(status, ""));
    let bucket = bucket(&rule);
    assert_eq!(bucket.head(&object()).await.unwrap_err().name(), "Store.Unavailable");
    assert_eq!(bucket.current_version(&object()).await.unwrap_err().name(), "Store.Unavailable");
}

#[rstest]
#[case(403, "AccessDenied")]
#[case(404, "NoSuchVersion")]
#[case(416, "InvalidRange")]
#[case(503, "SlowDown")]
#[tokio::test]
async fn first_bytes_that_cannot_be_read_are_an_error(#[case] status: u16, #[case] code: &'static str) {
    let rule = mock!(Client::get_object).then_http_response(move || xml_error(status, code));
    let error = bucket(&rule).read(&object(), 0..10).await.unwrap_err();
    assert_eq!(error.name(), "Store.Unavailable");
    assert!(error.to_string().contains(code), "{error}");
    assert!(!format!("{error:?}").contains("secret detail"));
}

#[tokio::test]
async fn first_bytes_are_a_range_of_the_version() {
    let rule = mock!(Client::get_object)
        .match_requests(|request| request.version_id() == Some("v1") && request.range() == Some("bytes=0-9"))
        .then_output(|| part("bytes 0-9/12", b"0123456789"));
    assert_eq!(bucket(&rule).read(&object(), 0..10).await.unwrap(), "0123456789");
}

#[tokio::test]
async fn f04_last_bytes_are_a_range_of_the_version() {
    let rule = mock!(Client::get_object)
        .match_requests(|request| request.version_id() == Some("v1") && request.range() == Some("bytes=8-11"))
        .then_output(|| part("bytes 8-11/12", b"89ab"));
    assert_eq!(bucket(&rule).read(&object(), 8..12).await.unwrap(), "89ab");
    let shifted = mock!(Client::get_object).then_output(|| part("bytes 0-3/12", b"0123"));
    assert_eq!(bucket(&shifted).read(&object(), 8..12).await.unwrap_err().name(), "Store.Unavailable");
}

#[tokio::test]
async fn first_bytes_of_a_small_object_are_all_of_it() {
    let rule = mock!(Client::get_object)
        .match_requests(|request| request.range() == Some("bytes=0-9"))
        .then_output(|| part("bytes 0-3/4", b"0123"));
    assert_eq!(bucket(&rule).read(&object(), 0..10).await.unwrap(), "0123");
}

#[rstest]
#[case::whole_object(200, None, 8)]
#[case::no_content_range(206, None, 8)]
#[case::unknown_size(206, Some("bytes 0-7/*"), 8)]
#[case::shorter_range(206, Some("bytes 0-6/8"), 7)]
#[case::other_range(206, Some("bytes 1-8/9"), 8)]
#[case::other_unit(206, Some("lines 0-7/8"), 8)]
#[case::no_text(206, Some(""), 8)]
#[case::body_without_bytes(206, Some("bytes 0-7/8"), 0)]
#[case::shorter_body(206, Some("bytes 0-7/8"), 7)]
#[case::longer_body(206, Some("bytes 0-7/8"), 9)]
#[tokio::test]
async fn v01_answer_other_than_the_range_is_a_fault_of_our_store(
    #[case] status: u16,
    #[case] content_range: Option<&'static str>,
    #[case] length: u64,
) {
    let rule = mock!(Client::get_object).then_http_response(move || {
        let body = "x".repeat(usize::try_from(length).unwrap());
        let mut answer = answer(status, body);
        if let Some(value) = content_range {
            answer.headers_mut().insert("content-range", value);
        }
        answer
    });
    let error = bucket(&rule).read(&object(), 0..8).await.unwrap_err();
    assert_eq!(error.name(), "Store.Unavailable");
    let (received, fault) = read_until_it_breaks(&rule, 8).await;
    assert!(received <= 8, "{received} bytes of 8");
    assert_eq!(
        matches!(fault, SourceReadError::TooLong { .. } | SourceReadError::TooShort { .. }),
        content_range == Some("bytes 0-7/8"),
        "{fault}"
    );
}

#[tokio::test]
async fn v01_object_of_another_size_than_registered_is_a_fault_of_our_store() {
    let rule = mock!(Client::get_object).then_output(|| part("bytes 0-7/9", b"01234567"));
    let (received, fault) = read_until_it_breaks(&rule, 8).await;
    assert_eq!((received, fault.to_string().contains("answered with bytes 0-7/9")), (0, true), "{fault}");
}

/// A body of any length takes no more memory than the requested range.
#[rstest]
#[case::range(Some("bytes 0-9/12"), 1)]
#[case::whole_object(None, 0)]
#[tokio::test]
async fn v01_first_bytes_take_nothing_of_a_body_that_does_not_end(
    #[case] content_range: Option<&'static str>,
    #[case] chunks: usize,
) {
    let taken = Seen::<()>::new();
    let noted = taken.clone();
    let rule = mock!(Client::get_object).then_output(move || {
        let noted = noted.clone();
        let endless = stream::repeat_with(move || {
            noted.note(&());
            Ok::<_, io::Error>(Bytes::from_static(&BLOCK))
        });
        GetObjectOutput::builder()
            .set_content_range(content_range.map(str::to_owned))
            .body(Body::new(SdkBody::from_body_1_x(reqwest::Body::wrap_stream(endless))))
            .build()
    });
    assert_eq!(bucket(&rule).read(&object(), 0..10).await.unwrap_err().name(), "Store.Unavailable");
    assert_eq!(taken.all().len(), chunks);
}

#[tokio::test]
async fn v01_body_that_breaks_off_in_mid_range_is_a_fault_of_our_store() {
    let rule = mock!(Client::get_object).then_output(|| {
        let broken = stream::iter([Ok(Bytes::from_static(b"0123")), Err(io::Error::other("reset"))]);
        GetObjectOutput::builder()
            .content_range("bytes 0-7/8")
            .body(Body::new(SdkBody::from_body_1_x(reqwest::Body::wrap_stream(broken))))
            .build()
    });
    let (received, fault) = read_until_it_breaks(&rule, 8).await;
    assert_eq!(received, 4);
    assert!(matches!(fault, SourceReadError::BrokenOff(_)), "{fault}");
}

#[rstest]
#[case(0, 0)]
#[case(1, 1)]
#[case(RANGE_BYTES - 1, 1)]
#[case(RANGE_BYTES, 1)]
#[case(RANGE_BYTES + 1, 2)]
#[case(3 * RANGE_BYTES, 3)]
#[case(3 * RANGE_BYTES + 5, 4)]
#[tokio::test]
async fn ranges_pinned_to_the_version_cover_exactly_the_object(#[case] size: u64, #[case] requests: usize) {
    let seen = Seen::<GetObjectInput>::new();
    let rule = zeros(&seen, size);
    let mut body = bucket(&rule).open(&object(), size).await.unwrap();
    let mut received = 0;
    while let Some(chunk) = body.next().await {
        received += chunk.unwrap().len() as u64;
    }
    assert_eq!(received, size);
    assert_eq!(seen.all().len(), requests);
    let mut next = 0;
    for request in seen.all() {
        let (first, last) = range_of(&request);
        assert_eq!((request.version_id(), first), (Some("v1"), next));
        assert!(last - first < RANGE_BYTES);
        next = last + 1;
    }
    assert_eq!(next, size);
}

#[tokio::test]
async fn case_16_object_that_goes_away_in_mid_read_breaks_the_body_off() {
    let rule = mock!(Client::get_object)
        .sequence()
        .output(|| {
            GetObjectOutput::builder()
                .content_range(format!("bytes 0-{}/{}", RANGE_BYTES - 1, RANGE_BYTES + 1))
                .body(zero_body(RANGE_BYTES))
                .build()
        })
        .http_response(|| xml_error(404, "NoSuchVersion"))
        .build();
    let (received, fault) = read_until_it_breaks(&rule, RANGE_BYTES + 1).await;
    assert_eq!(received, RANGE_BYTES);
    assert!(fault.to_string().contains("NoSuchVersion"), "{fault}");
    assert!(!format!("{fault:?}").contains("plan.txt"));
}

#[tokio::test]
async fn presigned_urls_name_the_version_and_end() {
    let object = ObjectVersion { key: "submissions/s1/a b+ü.txt".to_owned(), ..object() };
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("eu-central-1"))
        .credentials_provider(Credentials::for_tests())
        .build();
    let client = Client::from_conf(config);
    let uploads = UploadsBucket::new(client.clone());
    let pull = uploads.presign(&object).await.unwrap();
    assert!(pull.contains("versionId=v1") && pull.contains("X-Amz-Expires=21600"), "{pull}");
    assert!(pull.contains("a%20b%2B%C3%BC.txt"), "{pull}");
    let returned = ReturnedBucket::new(client, "returned".to_owned());
    let read = uploads.read_url(&object, Shown::Download("a b\"ü.txt")).await.unwrap();
    assert!(read.contains("X-Amz-Expires=300"), "{read}");
    assert!(read.contains("attachment%3B%20filename%2A%3DUTF-8%27%27a%2520b%2522%25C3%25BC.txt"), "{read}");
    let file = returned.read_url("returned/s1/d1/0", "x.vtt").await.unwrap();
    assert!(file.contains("/returned/s1/d1/0?") && file.contains("X-Amz-Expires=300"), "{file}");
}

/// Reads an object of this size. Returns the number of bytes read and the error at the end.
async fn read_until_it_breaks(rule: &Rule, size_bytes: u64) -> (u64, SourceReadError) {
    let mut body = bucket(rule).open(&object(), size_bytes).await.unwrap();
    let mut received = 0;
    loop {
        match body.next().await.expect("an error ends the body") {
            Ok(chunk) => received += chunk.len() as u64,
            Err(error) => {
                assert!(body.next().await.is_none(), "the body is over");
                return (received, error.downcast().expect("a fault of the source"));
            }
        }
    }
}

fn part(content_range: &str, bytes: &'static [u8]) -> GetObjectOutput {
    GetObjectOutput::builder().content_range(content_range).body(Body::from_static(bytes)).build()
}

/// Answers each range of an object that consists of this many zeros.
fn zeros(seen: &Seen<GetObjectInput>, size_bytes: u64) -> Rule {
    let seen = seen.clone();
    mock!(Client::get_object).then_compute_output(move |request| {
        seen.note(request);
        let (first, last) = range_of(request);
        GetObjectOutput::builder()
            .content_range(format!("bytes {first}-{last}/{size_bytes}"))
            .body(zero_body(last - first + 1))
            .build()
    })
}

fn zero_body(length: u64) -> Body {
    let block = BLOCK.len() as u64;
    let chunks = (0..length.div_ceil(block)).map(move |index| {
        let size = usize::try_from(block.min(length - index * block)).unwrap();
        Ok::<_, io::Error>(Bytes::from_static(&BLOCK[..size]))
    });
    Body::new(SdkBody::from_body_1_x(reqwest::Body::wrap_stream(stream::iter(chunks))))
}

fn range_of(request: &GetObjectInput) -> (u64, u64) {
    let range = request.range().unwrap().strip_prefix("bytes=").unwrap();
    let (first, last) = range.split_once('-').unwrap();
    (first.parse().unwrap(), last.parse().unwrap())
}
