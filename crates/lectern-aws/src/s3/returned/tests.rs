//! Tests writing returned files: parts, limits, and bodies that break off.

use std::{collections::HashMap, io};

use aws_sdk_s3::{
    Client,
    operation::{
        abort_multipart_upload::AbortMultipartUploadOutput,
        complete_multipart_upload::{CompleteMultipartUploadInput, CompleteMultipartUploadOutput},
        copy_object::{CopyObjectInput, CopyObjectOutput},
        create_multipart_upload::CreateMultipartUploadOutput,
        delete_object::{DeleteObjectInput, DeleteObjectOutput},
        get_object::GetObjectOutput,
        get_object_tagging::GetObjectTaggingOutput,
        head_object::{HeadObjectOutput, builders::HeadObjectOutputBuilder},
        put_object::PutObjectOutput,
        upload_part::UploadPartOutput,
    },
    primitives::ByteStream as Body,
    types::{MetadataDirective, Tag},
};
use aws_smithy_mocks::{Rule, mock};
use bytes::Bytes;
use futures_util::stream;
use lectern::ports::{
    ByteStream, Promoted, ReadUrls as _, Records as _, ReturnedFiles as _, Shown, StreamFacts,
};
use rstest::rstest;

use super::{PART_BYTES, ReturnedBucket};
use crate::test_support::{Seen, client, sha256, xml_error};

const KEY: &str = "quarantine/s1/d1/0";

/// A bucket that records objects written as a whole or in parts.
struct Fake {
    put: Rule,
    create: Rule,
    part: Rule,
    complete: Rule,
    abort: Rule,
    /// Key, content type and size of what was put whole.
    puts: Seen<(String, String, u64)>,
    /// Number and size of each part.
    parts: Seen<(i32, u64)>,
    completed: Seen<CompleteMultipartUploadInput>,
}

impl Fake {
    fn new() -> Self {
        let (puts, parts, completed) = (Seen::new(), Seen::new(), Seen::new());
        let (put_seen, part_seen, complete_seen) = (puts.clone(), parts.clone(), completed.clone());
        Self {
            put: mock!(Client::put_object).then_compute_output(move |request| {
                let key = request.key().unwrap_or_default().to_owned();
                let content_type = request.content_type().unwrap_or_default().to_owned();
                put_seen.note(&(key, content_type, size(request.body())));
                PutObjectOutput::builder().build()
            }),
            create: mock!(Client::create_multipart_upload)
                .match_requests(|request| {
                    request.key() == Some(KEY) && request.content_type() == Some("application/octet-stream")
                })
                .then_output(|| CreateMultipartUploadOutput::builder().upload_id("u1").build()),
            part: mock!(Client::upload_part)
                .match_requests(|request| request.upload_id() == Some("u1"))
                .then_compute_output(move |request| {
                    let number = request.part_number().unwrap();
                    part_seen.note(&(number, size(request.body())));
                    UploadPartOutput::builder().e_tag(format!("e{number}")).build()
                }),
            complete: mock!(Client::complete_multipart_upload).then_compute_output(move |request| {
                complete_seen.note(request);
                CompleteMultipartUploadOutput::builder().build()
            }),
            abort: mock!(Client::abort_multipart_upload)
                .match_requests(|request| request.upload_id() == Some("u1"))
                .then_output(|| AbortMultipartUploadOutput::builder().build()),
            puts,
            parts,
            completed,
        }
    }

    fn bucket(&self) -> ReturnedBucket {
        let client = client!(aws_sdk_s3, self.put, self.create, self.part, self.complete, self.abort);
        ReturnedBucket::new(client, "returned".to_owned())
    }

    fn part_sizes(&self) -> Vec<usize> {
        self.parts.all().iter().map(|(_, size)| usize::try_from(*size).unwrap()).collect()
    }
}

fn size(body: &Body) -> u64 {
    body.size_hint().0
}

fn content(size: usize) -> Vec<u8> {
    (0..=250u8).cycle().take(size).collect()
}

/// A body in chunks whose size does not divide a part.
fn chunks(bytes: &[u8]) -> Vec<io::Result<Bytes>> {
    bytes.chunks(1_000_003).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect()
}

fn body(chunks: Vec<io::Result<Bytes>>) -> ByteStream {
    Box::pin(stream::iter(chunks))
}

fn facts(bytes: &[u8]) -> StreamFacts {
    let first_bytes = Bytes::copy_from_slice(&bytes[..bytes.len().min(4096)]);
    StreamFacts { size_bytes: bytes.len() as u64, sha256: sha256(bytes), first_bytes, tag: String::new() }
}

#[rstest]
#[case(0)]
#[case(1)]
#[case(4097)]
#[case(PART_BYTES - 1)]
#[tokio::test]
async fn file_smaller_than_a_part_is_put_whole(#[case] size: usize) {
    let (fake, content) = (Fake::new(), content(size));
    let found = fake.bucket().quarantine(KEY, body(chunks(&content)), u64::MAX).await.unwrap();
    assert_eq!(found, facts(&content));
    let put = (KEY.to_owned(), "application/octet-stream".to_owned(), size as u64);
    assert_eq!(fake.puts.only(), put);
    assert_eq!(fake.create.num_calls(), 0);
}

#[rstest]
#[case(PART_BYTES, vec![PART_BYTES])]
#[case(PART_BYTES + 1, vec![PART_BYTES, 1])]
#[case(2 * PART_BYTES, vec![PART_BYTES, PART_BYTES])]
#[case(3 * PART_BYTES + 5, vec![PART_BYTES, PART_BYTES, PART_BYTES, 5])]
#[tokio::test]
async fn larger_file_is_uploaded_in_parts(#[case] size: usize, #[case] parts: Vec<usize>) {
    let (fake, content) = (Fake::new(), content(size));
    let found = fake.bucket().quarantine(KEY, body(chunks(&content)), size as u64).await.unwrap();
    assert_eq!(found, facts(&content));
    assert_eq!(fake.part_sizes(), parts);
    let completed = fake.completed.only();
    let listed = completed.multipart_upload().unwrap().parts();
    let numbers: Vec<_> = listed.iter().map(|part| (part.part_number().unwrap(), part.e_tag())).collect();
    assert_eq!(numbers.len(), parts.len());
    for (index, (number, e_tag)) in numbers.iter().enumerate() {
        assert_eq!(
            (usize::try_from(*number).unwrap(), *e_tag),
            (index + 1, Some(format!("e{number}").as_str()))
        );
    }
    assert_eq!((fake.abort.num_calls(), fake.put.num_calls()), (0, 0));
}

#[rstest]
#[case(100, 99)]
#[case(3 * PART_BYTES, 2 * PART_BYTES)]
#[case(3 * PART_BYTES, PART_BYTES - 1)]
#[case(2 * PART_BYTES, 0)]
#[tokio::test]
async fn case_42_file_larger_than_declared_stops_at_one_byte_more(#[case] size: usize, #[case] limit: usize) {
    let (fake, content) = (Fake::new(), content(size));
    let found = fake.bucket().quarantine(KEY, body(chunks(&content)), limit as u64).await.unwrap();
    assert_eq!(found, facts(&content[..=limit]));
    let whole: u64 = fake.puts.all().iter().map(|put| put.2).sum();
    let parts: u64 = fake.parts.all().iter().map(|part| part.1).sum();
    assert_eq!(whole + parts, limit as u64 + 1, "what came so far is kept, and no more");
}

#[tokio::test]
async fn case_42_endless_file_stops_at_the_limit() {
    let fake = Fake::new();
    let endless = stream::repeat_with(|| Ok(Bytes::from_static(&[7; 16384])));
    let found = fake.bucket().quarantine(KEY, Box::pin(endless), 20 << 20).await.unwrap();
    assert_eq!(found.size_bytes, (20 << 20) + 1);
}

#[rstest]
#[case(10)]
#[case(PART_BYTES + 10)]
#[case(2 * PART_BYTES)]
#[tokio::test]
async fn case_42_d02_body_that_breaks_off_is_kept_as_far_as_it_came_and_is_an_outage(#[case] size: usize) {
    let (fake, content) = (Fake::new(), content(size));
    let mut broken = chunks(&content);
    broken.push(Err(io::Error::other("reset")));
    broken.push(Ok(Bytes::from_static(b"never read")));
    let error = fake.bucket().quarantine(KEY, body(broken), u64::MAX).await.unwrap_err();
    assert_eq!(error.name(), "ThirdParty.Unavailable");
    let whole: u64 = fake.puts.all().iter().map(|(_, _, size)| size).sum();
    let parts: usize = fake.part_sizes().iter().sum();
    assert_eq!(usize::try_from(whole).unwrap() + parts, size);
}

#[tokio::test]
async fn record_is_written_as_json_and_read_back_whole() {
    let fake = Fake::new();
    fake.bucket().put_record("records/s1/d1/hash.json", Bytes::from_static(b"{}")).await.unwrap();
    let json = "application/json".to_owned();
    assert_eq!(fake.puts.only(), ("records/s1/d1/hash.json".to_owned(), json, 2));
    let get = mock!(Client::get_object)
        .match_requests(|request| request.key() == Some("records/s1/d1/hash.json"))
        .then_output(|| GetObjectOutput::builder().body(Body::from_static(b"{}")).build());
    let bucket = ReturnedBucket::new(client!(aws_sdk_s3, get), "returned".to_owned());
    let read = bucket.get_record("records/s1/d1/hash.json").await.unwrap();
    assert_eq!(read, Some(Bytes::from_static(b"{}")));
}

#[tokio::test]
async fn a08_record_that_is_not_there_has_expired_and_a_busy_bucket_is_an_outage() {
    for (status, code, expected) in
        [(404, "NoSuchKey", "Ok(None)"), (403, "AccessDenied", "Defect"), (503, "SlowDown", "Unavailable")]
    {
        let get = mock!(Client::get_object).then_http_response(move || xml_error(status, code));
        let bucket = ReturnedBucket::new(client!(aws_sdk_s3, get), "returned".to_owned());
        let found = bucket.get_record("records/s1/d1/hash.json").await;
        assert!(format!("{found:?}").contains(expected), "{found:?}");
    }
}

#[tokio::test]
async fn a08_no_url_is_made_of_a_file_that_has_expired() {
    let head = mock!(Client::head_object).then_http_response(|| xml_error(404, ""));
    let bucket = ReturnedBucket::new(client!(aws_sdk_s3, head), "returned".to_owned());
    assert_eq!(bucket.returned_url("returned/s1/d1/0", "x.vtt").await.unwrap(), None);
    let object = crate::test_support::object();
    assert_eq!(bucket.upload_url(&object, Shown::Download("plan.txt")).await.unwrap(), None);
    assert_eq!(head.num_calls(), 2);
}

/// S02: with the malware gate, a file that is not clean is left out, and S3 is not even asked for it.
#[tokio::test]
async fn s02_no_url_is_made_of_a_file_that_is_not_clean() {
    let object = crate::test_support::object();
    for (tag, asked) in [(None, 0), (Some("THREATS_FOUND"), 0), (Some("NO_THREATS_FOUND"), 2)] {
        let tags = move || {
            let tag = tag.map(|value| Tag::builder().key("GuardDutyMalwareScanStatus").value(value).build());
            let tags = tag.into_iter().map(Result::unwrap).collect();
            GetObjectTaggingOutput::builder().set_tag_set(Some(tags)).build().unwrap()
        };
        let tags = mock!(Client::get_object_tagging).then_output(tags);
        let head = mock!(Client::head_object).then_http_response(|| xml_error(404, ""));
        let bucket = ReturnedBucket::new(client!(aws_sdk_s3, tags, head), "returned".to_owned());
        let bucket = bucket.with_malware_gate(true);
        assert_eq!(bucket.returned_url("returned/s1/d1/0", "x.vtt").await.unwrap(), None);
        assert_eq!(bucket.upload_url(&object, Shown::Download("plan.txt")).await.unwrap(), None);
        assert_eq!((tags.num_calls(), head.num_calls()), (2, asked), "{tag:?}");
    }
}

#[tokio::test]
async fn empty_chunks_end_nothing() {
    let fake = Fake::new();
    let chunks = [&b""[..], b"ab", b"", b"", b"c", b""].map(|chunk| Ok(Bytes::from_static(chunk)));
    let found = fake.bucket().quarantine(KEY, body(chunks.into()), 3).await.unwrap();
    assert_eq!(found, facts(b"abc"));
}

#[tokio::test]
async fn part_that_cannot_be_uploaded_aborts_the_upload() {
    let mut fake = Fake::new();
    fake.part = mock!(Client::upload_part)
        .sequence()
        .output(|| UploadPartOutput::builder().e_tag("e1").build())
        .http_response(|| xml_error(503, "SlowDown"))
        .build();
    let long = body(chunks(&content(3 * PART_BYTES)));
    let error = fake.bucket().quarantine(KEY, long, u64::MAX).await.unwrap_err();
    assert_eq!(error.to_string(), "our own store failed: UploadPart: it answered with an error (SlowDown)");
    assert_eq!((fake.abort.num_calls(), fake.complete.num_calls()), (1, 0));
}

#[tokio::test]
async fn failed_abort_hides_not_why_the_upload_failed() {
    let mut fake = Fake::new();
    fake.part = mock!(Client::upload_part).then_http_response(|| xml_error(500, "InternalError"));
    fake.abort = mock!(Client::abort_multipart_upload).then_http_response(|| xml_error(403, "AccessDenied"));
    let long = body(chunks(&content(PART_BYTES)));
    let error = fake.bucket().quarantine(KEY, long, u64::MAX).await.unwrap_err();
    assert!(error.to_string().contains("UploadPart"), "{error}");
    assert_eq!(fake.abort.num_calls(), 1);
}

#[tokio::test]
async fn upload_that_cannot_be_completed_is_unavailable_and_leaves_no_parts() {
    let mut fake = Fake::new();
    fake.complete =
        mock!(Client::complete_multipart_upload).then_http_response(|| xml_error(500, "InternalError"));
    let long = body(chunks(&content(PART_BYTES)));
    let error = fake.bucket().quarantine(KEY, long, u64::MAX).await.unwrap_err();
    assert!(error.to_string().contains("CompleteMultipartUpload"), "{error}");
    assert_eq!(fake.abort.num_calls(), 1);
}

#[rstest]
#[case(1)]
#[case(PART_BYTES)]
#[tokio::test]
async fn bucket_that_takes_nothing_is_unavailable(#[case] size: usize) {
    let mut fake = Fake::new();
    fake.put = mock!(Client::put_object).then_http_response(|| xml_error(403, "AccessDenied"));
    fake.create = mock!(Client::create_multipart_upload).then_http_response(|| xml_error(503, "SlowDown"));
    let error = fake.bucket().quarantine(KEY, body(chunks(&content(size))), u64::MAX).await.unwrap_err();
    assert_eq!(error.name(), "Store.Unavailable");
}

const CONTENT: &[u8] = b"WEBVTT\n";

fn checked() -> StreamFacts {
    StreamFacts { tag: "tag".to_owned(), ..facts(CONTENT) }
}

fn hash_of_it() -> HashMap<String, String> {
    HashMap::from([("sha256".to_owned(), sha256(CONTENT))])
}

fn head() -> HeadObjectOutputBuilder {
    HeadObjectOutput::builder().content_length(7).content_type("text/vtt")
}

#[tokio::test]
async fn promoted_file_is_copied_with_its_type_and_its_hash_and_then_removed_from_quarantine() {
    let (copies, removals) = (Seen::<CopyObjectInput>::new(), Seen::<DeleteObjectInput>::new());
    let (noted_copies, noted_removals) = (copies.clone(), removals.clone());
    let copy = mock!(Client::copy_object).then_compute_output(move |request| {
        noted_copies.note(request);
        CopyObjectOutput::builder().build()
    });
    let delete = mock!(Client::delete_object).then_compute_output(move |request| {
        noted_removals.note(request);
        DeleteObjectOutput::builder().build()
    });
    let bucket = ReturnedBucket::new(client!(aws_sdk_s3, copy, delete), "returned".to_owned());
    bucket.promote(KEY, &checked(), "returned/s1/d1/0", "text/vtt").await.unwrap();
    let copy = copies.only();
    assert_eq!(copy.copy_source(), Some("returned/quarantine/s1/d1/0"));
    assert_eq!(copy.copy_source_if_match(), Some("tag"));
    assert_eq!((copy.key(), copy.content_type()), (Some("returned/s1/d1/0"), Some("text/vtt")));
    assert_eq!(copy.metadata(), Some(&hash_of_it()));
    assert_eq!(
        copy.metadata_directive(),
        Some(&MetadataDirective::Replace),
        "else S3 keeps the quarantined one's"
    );
    assert_eq!(removals.only().key(), Some(KEY));
}

#[tokio::test]
async fn file_that_cannot_be_copied_stays_in_quarantine() {
    let copy = mock!(Client::copy_object).then_http_response(|| xml_error(503, "SlowDown"));
    let delete = mock!(Client::delete_object).then_output(|| DeleteObjectOutput::builder().build());
    let bucket = ReturnedBucket::new(client!(aws_sdk_s3, copy, delete), "returned".to_owned());
    assert!(bucket.promote(KEY, &checked(), "returned/s1/d1/0", "text/vtt").await.is_err());
    assert_eq!(delete.num_calls(), 0);
}

#[tokio::test]
async fn size_hash_and_type_of_a_promoted_file_are_known_and_a_missing_one_is_nothing() {
    let rule = mock!(Client::head_object)
        .match_requests(|request| request.key() == Some("k"))
        .sequence()
        .output(|| head().set_metadata(Some(hash_of_it())).build())
        .http_response(|| xml_error(404, ""))
        .http_response(|| xml_error(403, ""))
        .build();
    let bucket = ReturnedBucket::new(client!(aws_sdk_s3, rule), "returned".to_owned());
    let promoted = Promoted { size_bytes: 7, sha256: sha256(CONTENT), media_type: "text/vtt".to_owned() };
    assert_eq!(bucket.promoted("k").await.unwrap(), Some(promoted));
    assert_eq!(bucket.promoted("k").await.unwrap(), None);
    assert_eq!(bucket.promoted("k").await.unwrap_err().name(), "Store.Unavailable");
}

/// An object that was promoted without a hash in its metadata.
#[tokio::test]
async fn promoted_file_without_its_hash_is_as_good_as_none() {
    let other = HashMap::from([("other".to_owned(), "x".to_owned())]);
    let rule = mock!(Client::head_object)
        .sequence()
        .output(|| head().build())
        .output(move || head().set_metadata(Some(other.clone())).build())
        .build();
    let bucket = ReturnedBucket::new(client!(aws_sdk_s3, rule), "returned".to_owned());
    assert_eq!(bucket.promoted("k").await.unwrap(), None);
    assert_eq!(bucket.promoted("k").await.unwrap(), None);
}

#[tokio::test]
async fn returned_file_is_read_up_to_the_limit() {
    let rule = mock!(Client::get_object)
        .sequence()
        .output(|| GetObjectOutput::builder().body(Body::from_static(b"0123456789")).build())
        .times(3)
        .http_response(|| xml_error(404, "NoSuchKey"))
        .http_response(|| xml_error(500, "InternalError"))
        .build();
    let bucket = ReturnedBucket::new(client!(aws_sdk_s3, rule), "returned".to_owned());
    assert_eq!(bucket.read("k", 4).await.unwrap().unwrap(), "0123");
    assert_eq!(bucket.read("k", 0).await.unwrap().unwrap(), "");
    assert_eq!(bucket.read("k", 10).await.unwrap().unwrap(), "0123456789");
    assert_eq!(bucket.read("k", 4).await.unwrap(), None);
    assert_eq!(bucket.read("k", 4).await.unwrap_err().name(), "Store.Unavailable");
}
