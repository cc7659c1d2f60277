//! The ports of both buckets.

use std::{future::Future, io};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use super::{Outcome, conflicts, fails, suite};
use crate::{
    document::ObjectVersion,
    document::metadata::FileName,
    ports::{
        ByteStream, ObjectHead, Promoted, Protection, Records, ReturnedFiles, StreamFacts, UploadReader,
        Uploads,
    },
    testing::{model::same, objects::sha256},
};

/// A bucket with versions that uploads come to.
pub trait UploadsSetup: Send + Sync {
    /// Uploads a version of this key.
    fn add_version(
        &self,
        key: &str,
        content_type: Option<&str>,
        bytes: Bytes,
    ) -> impl Future<Output = ObjectVersion> + Send;

    /// Uploads a version of this key with the metadata `owner` and `name`.
    fn add_version_with_metadata(
        &self,
        key: &str,
        owner: &str,
        name: &str,
    ) -> impl Future<Output = ObjectVersion> + Send;

    /// Deletes the object as a teacher does: its versions stay behind a delete marker.
    fn add_delete_marker(&self, object: &ObjectVersion) -> impl Future<Output = ()> + Send;

    /// Removes this version for good.
    fn remove_version(&self, object: &ObjectVersion) -> impl Future<Output = ()> + Send;
}

suite! {
    /// [`Uploads`]
    uploads<U: Uploads, B: UploadsSetup> {
        head_is_of_the_named_version,
        head_tells_a_valid_owner_and_a_readable_name,
        current_version_is_the_newest_one,
        deleted_object_has_no_current_version_and_keeps_its_versions,
        removed_version_is_gone,
        f04_bytes_of_a_range_are_of_the_named_version_and_bounded,
        range_behind_the_end_of_an_object_is_an_error,
    }
}

suite! {
    /// [`UploadReader`]
    upload_reader<U: UploadReader, B: UploadsSetup> {
        named_version_is_read_to_its_last_byte,
        object_of_another_size_than_registered_does_not_end_well,
        version_that_was_removed_does_not_end_well,
    }
}

suite! {
    /// [`ReturnedFiles`]
    returned_files<F: ReturnedFiles> {
        facts_are_of_the_bytes_that_came,
        body_beyond_the_limit_stops_at_one_byte_more,
        d02_body_that_breaks_off_is_unavailable_and_kept_as_far_as_it_came,
        promoted_file_has_left_quarantine_with_its_type_and_its_hash,
        file_of_several_parts_is_promoted_whole,
        promoted_file_replaces_the_one_before,
        only_what_was_checked_is_promoted,
        file_that_is_not_there_is_nothing,
    }
}

suite! {
    /// [`Records`]
    records<R: Records> {
        record_of_any_size_is_read_back_however_often_it_was_written,
        a08_record_that_is_not_there_is_nothing,
    }
}

const ODD_KEY: &str = "submissions/s1/教案 +%2B \u{1F393}'&.pdf";
const PDF: &str = "application/pdf";

async fn head_is_of_the_named_version<U: Uploads, B: UploadsSetup>(uploads: &U, bucket: &B) -> Outcome {
    for (content_type, bytes) in [(PDF, &b"%PDF-1.7"[..]), ("text/plain; charset=utf-8", b"")] {
        let object = bucket.add_version(ODD_KEY, Some(content_type), Bytes::from_static(bytes)).await;
        bucket.add_version(ODD_KEY, None, Bytes::from_static(b"newer")).await;
        let expected = ObjectHead {
            version_id: object.version_id.clone(),
            size_bytes: bytes.len() as u64,
            content_type: Some(content_type.to_owned()),
            owner: None,
            name: None,
            protection: Protection::None,
        };
        same("head", &Some(expected), &uploads.head(&object).await?)?;
    }
    let undeclared = bucket.add_version(ODD_KEY, None, Bytes::from_static(b"x")).await;
    let content_type =
        uploads.head(&undeclared).await?.and_then(|head| head.content_type).unwrap_or_default();
    // S3 says binary/octet-stream, the local cloud application/octet-stream; receive-upload takes both for no declaration.
    Ok(same("type of an undeclared object", &true, &content_type.ends_with("/octet-stream"))?)
}

async fn head_tells_a_valid_owner_and_a_readable_name<U: Uploads, B: UploadsSetup>(
    uploads: &U,
    bucket: &B,
) -> Outcome {
    for (owner, name, expected) in [
        (
            "teacher-1",
            "%E6%95%99%E6%A1%88%201.docx",
            (Some("teacher-1".parse()?), FileName::new("教案 1.docx")),
        ),
        ("two words", "%FF%FE", (None, None)),
    ] {
        let object = bucket.add_version_with_metadata("submissions/s1/named.docx", owner, name).await;
        let head = uploads.head(&object).await?;
        same("metadata", &Some(expected), &head.map(|head| (head.owner, head.name)))?;
    }
    Ok(())
}

async fn current_version_is_the_newest_one<U: Uploads, B: UploadsSetup>(uploads: &U, bucket: &B) -> Outcome {
    let key = "submissions/s1/current.pdf";
    let older = bucket.add_version(key, Some(PDF), Bytes::from_static(b"older")).await;
    let newer = bucket.add_version(key, Some(PDF), Bytes::from_static(b"newer")).await;
    for object in [&older, &newer] {
        same("current", &Some(newer.version_id.clone()), &uploads.current_version(object).await?)?;
    }
    let elsewhere = ObjectVersion { key: "submissions/s1/nothing.pdf".to_owned(), ..older };
    Ok(same("no object", &None, &uploads.current_version(&elsewhere).await?)?)
}

async fn deleted_object_has_no_current_version_and_keeps_its_versions<U: Uploads, B: UploadsSetup>(
    uploads: &U,
    bucket: &B,
) -> Outcome {
    let object = bucket.add_version("submissions/s1/deleted.pdf", Some(PDF), Bytes::from_static(b"x")).await;
    bucket.add_delete_marker(&object).await;
    same("current", &None, &uploads.current_version(&object).await?)?;
    same("size", &Some(1), &uploads.head(&object).await?.map(|head| head.size_bytes))?;
    Ok(same("bytes", &Bytes::from_static(b"x"), &uploads.read(&object, 0..9).await?)?)
}

async fn removed_version_is_gone<U: Uploads, B: UploadsSetup>(uploads: &U, bucket: &B) -> Outcome {
    let key = "submissions/s1/removed.pdf";
    let older = bucket.add_version(key, Some(PDF), Bytes::from_static(b"older")).await;
    let newer = bucket.add_version(key, Some(PDF), Bytes::from_static(b"newer")).await;
    bucket.remove_version(&newer).await;
    same("head", &None, &uploads.head(&newer).await?)?;
    same("current", &Some(older.version_id.clone()), &uploads.current_version(&newer).await?)?;
    fails("bytes", "Store.Unavailable", &uploads.read(&newer, 0..9).await)?;
    bucket.remove_version(&older).await;
    Ok(same("current", &None, &uploads.current_version(&newer).await?)?)
}

async fn f04_bytes_of_a_range_are_of_the_named_version_and_bounded<U: Uploads, B: UploadsSetup>(
    uploads: &U,
    bucket: &B,
) -> Outcome {
    let object = bucket.add_version(ODD_KEY, None, Bytes::from_static(b"0123456789")).await;
    bucket.add_version(ODD_KEY, None, Bytes::from_static(b"newer")).await;
    for (range, expected) in [
        (0..1, "0"),
        (0..9, "012345678"),
        (0..10, "0123456789"),
        (0..4096, "0123456789"),
        (3..5, "34"),
        (7..10, "789"),
        (9..4096, "9"),
    ] {
        let found = uploads.read(&object, range.clone()).await?;
        same("bytes", &Bytes::from_static(expected.as_bytes()), &found)?;
    }
    Ok(())
}

async fn range_behind_the_end_of_an_object_is_an_error<U: Uploads, B: UploadsSetup>(
    uploads: &U,
    bucket: &B,
) -> Outcome {
    let empty = bucket.add_version("submissions/s1/empty.pdf", None, Bytes::new()).await;
    fails("empty object", "Store.Unavailable", &uploads.read(&empty, 0..9).await)?;
    let object = bucket.add_version("submissions/s1/short.pdf", None, Bytes::from_static(b"0123")).await;
    fails("bytes behind the end", "Store.Unavailable", &uploads.read(&object, 4..9).await)
}

async fn named_version_is_read_to_its_last_byte<U: UploadReader, B: UploadsSetup>(
    reader: &U,
    bucket: &B,
) -> Outcome {
    for size in [0, 1, 3_000_000] {
        let bytes = content(size);
        let object = bucket.add_version(ODD_KEY, None, bytes.clone()).await;
        bucket.add_version(ODD_KEY, None, Bytes::from_static(b"newer")).await;
        let (received, ended_well) = collect(reader.open(&object, size as u64).await?).await;
        same("ended well", &true, &ended_well)?;
        same("the bytes of the version", &true, &(received == bytes))?;
    }
    Ok(())
}

async fn object_of_another_size_than_registered_does_not_end_well<U: UploadReader, B: UploadsSetup>(
    reader: &U,
    bucket: &B,
) -> Outcome {
    let object = bucket.add_version("submissions/s1/size.pdf", None, Bytes::from_static(b"0123456789")).await;
    for registered in [9, 11] {
        let (received, ended_well) = collect(reader.open(&object, registered).await?).await;
        same("ended well", &false, &ended_well)?;
        same("bytes beyond the registered size", &0, &(received.len() as u64).saturating_sub(registered))?;
    }
    Ok(())
}

async fn version_that_was_removed_does_not_end_well<U: UploadReader, B: UploadsSetup>(
    reader: &U,
    bucket: &B,
) -> Outcome {
    let object = bucket.add_version("submissions/s1/gone.pdf", None, Bytes::from_static(b"0123")).await;
    bucket.remove_version(&object).await;
    let (received, ended_well) = collect(reader.open(&object, 4).await?).await;
    Ok(same("what came", &(Bytes::new(), false), &(received, ended_well))?)
}

async fn facts_are_of_the_bytes_that_came(files: &impl ReturnedFiles) -> Outcome {
    for size in [0, 1, 4096, 4097, 300_000] {
        let bytes = content(size);
        let facts = files.quarantine("quarantine/s1/facts/0", body(&bytes), size as u64).await?;
        expect(&facts, &bytes)?;
        same("kept", &Some(bytes), &files.read("quarantine/s1/facts/0", u64::MAX).await?)?;
    }
    Ok(same("promoted", &None, &files.promoted("quarantine/s1/facts/0").await?)?)
}

async fn body_beyond_the_limit_stops_at_one_byte_more(files: &impl ReturnedFiles) -> Outcome {
    let bytes = content(100);
    for limit in [0, 50, 99] {
        let facts = files.quarantine("quarantine/s1/limit/0", body(&bytes), limit as u64).await?;
        expect(&facts, &bytes[..=limit])?;
        let kept = files.read("quarantine/s1/limit/0", u64::MAX).await?;
        same("kept", &Some(bytes.slice(..=limit)), &kept)?;
    }
    Ok(())
}

async fn d02_body_that_breaks_off_is_unavailable_and_kept_as_far_as_it_came(
    files: &impl ReturnedFiles,
) -> Outcome {
    for size in [0, 10, 8 * 1024 * 1024 + 5] {
        let bytes = content(size);
        let broken = body(&bytes).chain(stream::iter([Err(io::Error::other("reset"))]));
        let answer = files.quarantine("quarantine/s1/broken/0", Box::pin(broken), u64::MAX).await;
        fails("download", "ThirdParty.Unavailable", &answer)?;
        let kept = files.read("quarantine/s1/broken/0", u64::MAX).await?;
        same("kept", &true, &(kept == Some(bytes)))?;
    }
    Ok(())
}

async fn promoted_file_has_left_quarantine_with_its_type_and_its_hash(files: &impl ReturnedFiles) -> Outcome {
    let (quarantine, key, bytes) = ("quarantine/s1/promoted/0", "returned/s1/promoted/0", content(1000));
    let facts = files.quarantine(quarantine, body(&bytes), 1000).await?;
    files.promote(quarantine, &facts, key, "text/vtt").await?;
    same("promoted", &Some(promoted(&bytes, "text/vtt")), &files.promoted(key).await?)?;
    same("quarantined", &None, &files.read(quarantine, u64::MAX).await?)?;
    for limit in [0, 1, 999, 1000, 1001] {
        let expected = bytes.slice(..limit.min(1000));
        same("read", &Some(expected), &files.read(key, limit as u64).await?)?;
    }
    Ok(())
}

async fn file_of_several_parts_is_promoted_whole(files: &impl ReturnedFiles) -> Outcome {
    let (quarantine, key) = ("quarantine/s1/parts/0", "returned/s1/parts/0");
    let bytes = content(8 * 1024 * 1024 + 5);
    let facts = files.quarantine(quarantine, body(&bytes), u64::MAX).await?;
    expect(&facts, &bytes)?;
    files.promote(quarantine, &facts, key, "video/mp4").await?;
    same("promoted", &Some(promoted(&bytes, "video/mp4")), &files.promoted(key).await?)?;
    Ok(same("whole", &true, &(files.read(key, u64::MAX).await? == Some(bytes)))?)
}

async fn promoted_file_replaces_the_one_before(files: &impl ReturnedFiles) -> Outcome {
    let (quarantine, key) = ("quarantine/s1/replaced/0", "returned/s1/replaced/0");
    for (bytes, media_type) in [(content(10), "text/vtt"), (content(7), "text/plain")] {
        let facts = files.quarantine(quarantine, body(&bytes), 10).await?;
        files.promote(quarantine, &facts, key, media_type).await?;
        same("promoted", &Some(promoted(&bytes, media_type)), &files.promoted(key).await?)?;
        same("read", &Some(bytes), &files.read(key, u64::MAX).await?)?;
    }
    Ok(())
}

async fn only_what_was_checked_is_promoted(files: &impl ReturnedFiles) -> Outcome {
    let (quarantine, key) = ("quarantine/s1/checked/0", "returned/s1/checked/0");
    let checked = files.quarantine(quarantine, body(&content(10)), 10).await?;
    // Another run of the same step has fetched something else in the meantime.
    files.quarantine(quarantine, body(b"something else"), 100).await?;
    let answer = files.promote(quarantine, &checked, key, "text/vtt").await;
    conflicts("promotion of another file", &answer)?;
    same("promoted", &None, &files.promoted(key).await?)?;
    let nothing = files.promote("quarantine/s1/nothing/0", &checked, key, "text/vtt").await;
    conflicts("promotion of a file that has left quarantine", &nothing)?;
    Ok(same("promoted", &None, &files.promoted(key).await?)?)
}

async fn file_that_is_not_there_is_nothing(files: &impl ReturnedFiles) -> Outcome {
    same("promoted", &None, &files.promoted("returned/s1/nothing/0").await?)?;
    Ok(same("read", &None, &files.read("returned/s1/nothing/0", 9).await?)?)
}

async fn record_of_any_size_is_read_back_however_often_it_was_written(records: &impl Records) -> Outcome {
    // An item of DynamoDB has at most 400 KB.
    for (key, size) in [("records/s1/d1/a.json", 2), ("records/s1/d1/b.json", 500_000)] {
        let json = content(size);
        for _ in 0..2 {
            records.put_record(key, json.clone()).await?;
            same("whole", &true, &(records.get_record(key).await? == Some(json.clone())))?;
        }
    }
    Ok(())
}

async fn a08_record_that_is_not_there_is_nothing(records: &impl Records) -> Outcome {
    Ok(same("record", &None, &records.get_record("records/s1/d1/nothing.json").await?)?)
}

fn promoted(bytes: &Bytes, media_type: &str) -> Promoted {
    Promoted { size_bytes: bytes.len() as u64, sha256: sha256(bytes), media_type: media_type.to_owned() }
}

/// Compares all facts but the tag, which only the store can read.
fn expect(facts: &StreamFacts, bytes: &[u8]) -> Outcome {
    let expected = StreamFacts {
        size_bytes: bytes.len() as u64,
        sha256: sha256(bytes),
        first_bytes: Bytes::copy_from_slice(&bytes[..bytes.len().min(4096)]),
        tag: facts.tag.clone(),
    };
    Ok(same("facts", &expected, facts)?)
}

/// Bytes that repeat in no part.
pub(super) fn content(size: usize) -> Bytes {
    (0..=250u8).cycle().take(size).collect()
}

/// A body in chunks that fit no part, with an empty one among them.
pub(super) fn body(bytes: &[u8]) -> ByteStream {
    let chunks = bytes.chunks(100_003).map(|chunk| Ok(Bytes::copy_from_slice(chunk)));
    let chunks: Vec<io::Result<Bytes>> = chunks.chain([Ok(Bytes::new())]).collect();
    Box::pin(stream::iter(chunks))
}

/// What came of a body, and whether it ended without an error.
pub(super) async fn collect(mut body: ByteStream) -> (Bytes, bool) {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        match chunk {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(_) => return (bytes.into(), false),
        }
    }
    (bytes.into(), true)
}
