//! A file as large as a lesson video passes through the workflow both ways, and no function holds it in memory.

use aws_sdk_s3::{
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use lectern::document::{DocumentId, DocumentRef, keys};
use third_party::{FaultRule, JobFault};

use crate::{
    alone::then,
    case::{Case, Upload},
    content::sample,
    stack::Stack,
};

const SIZE_BYTES: usize = 300_000_000;
const PART_BYTES: usize = 16 << 20;
/// Far below the file's size, and above the memory that a debug build needs.
const MEMORY_BYTES: u64 = 128 << 20;

/// `lesson.mp4` with a box at the end that every reader skips. The bytes of the box differ at every position.
struct Video {
    start: Vec<u8>,
}

impl Video {
    fn new() -> Self {
        let mut start = sample("lesson.mp4");
        let rest = u32::try_from(SIZE_BYTES - start.len()).unwrap();
        start.extend_from_slice(&rest.to_be_bytes());
        start.extend_from_slice(b"free");
        Self { start }
    }

    fn part(&self, index: usize) -> Vec<u8> {
        let first = index * PART_BYTES;
        let size = PART_BYTES.min(SIZE_BYTES - first);
        let mut bytes = vec![u8::try_from(index + 1).unwrap(); size];
        bytes[size - 8..].copy_from_slice(&first.to_be_bytes());
        if index == 0 {
            bytes[..self.start.len()].copy_from_slice(&self.start);
        }
        bytes
    }

    fn parts() -> usize {
        SIZE_BYTES.div_ceil(PART_BYTES)
    }

    async fn upload(&self, case: &Case) -> Upload {
        let stack = &case.stack;
        let (key, bucket) = (case.key("lesson.mp4"), &stack.is.uploads_bucket);
        let created = stack.s3.create_multipart_upload().bucket(bucket).key(&key).send().await.unwrap();
        let id = created.upload_id.unwrap();
        let mut parts = Vec::new();
        for index in 0..Self::parts() {
            let number = i32::try_from(index + 1).unwrap();
            let request = stack.s3.upload_part().bucket(bucket).key(&key).upload_id(&id).part_number(number);
            let part = request.body(ByteStream::from(self.part(index))).send().await.unwrap();
            parts.push(CompletedPart::builder().part_number(number).set_e_tag(part.e_tag).build());
        }
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = stack.s3.complete_multipart_upload().bucket(bucket).key(&key).upload_id(id);
        let completed = request.multipart_upload(parts).send().await.unwrap();
        let version = completed.version_id.expect("the bucket is versioned");
        let document_id = DocumentId::of(bucket, key.as_bytes(), &version);
        let document = DocumentRef { submission_id: case.submission.clone(), document_id };
        Upload { document, key, version }
    }

    /// Whether the returned file at `key` has exactly these bytes.
    async fn is_at(&self, stack: &Stack, key: &str) -> bool {
        let request = stack.s3.get_object().bucket(&stack.is.returned_bucket).key(key);
        let mut body = request.send().await.unwrap().body;
        let (mut index, mut expected, mut at) = (0, Vec::new(), 0);
        while let Some(chunk) = body.next().await {
            let mut chunk = &chunk.unwrap()[..];
            while !chunk.is_empty() {
                if at == expected.len() {
                    if index == Self::parts() {
                        return false;
                    }
                    (expected, at, index) = (self.part(index), 0, index + 1);
                }
                let size = chunk.len().min(expected.len() - at);
                if chunk[..size] != expected[at..at + size] {
                    return false;
                }
                (chunk, at) = (&chunk[size..], at + size);
            }
        }
        index == Self::parts() && at == expected.len()
    }
}

/// The other tests need a small limit on uploads. This test raises the limit for itself, so it runs alone.
#[tokio::test]
async fn v01_file_of_300_mb_goes_to_the_third_party_and_comes_back() {
    let case = Case::begin();
    let stack = &case.stack;
    let [receive, transfer, verify] =
        ["ReceiveUploadFunction", "TransferDocumentFunction", "VerifyReturnedFileFunction"];
    let [receive, transfer, verify] =
        [stack.function(receive).await, stack.function(transfer).await, stack.function(verify).await];
    let largest = stack.set_variable(&receive, "MAX_UPLOAD_BYTES", &SIZE_BYTES.to_string()).await;
    let timeout = stack.set_variable(&transfer, "REQUEST_TIMEOUT_SECONDS", "35").await;
    let functions = [transfer.clone(), verify];
    let body = async move {
        let case = Case::begin();
        let stack = &case.stack;
        stack.add_fault(&FaultRule::for_all(JobFault::ReturnDocument).times(1)).await;
        let video = Video::new();
        let upload = video.upload(&case).await;
        stack.ready(&upload).await;
        let job = stack.only_job(&upload).await;
        assert_eq!((job.submissions, job.bytes_received), (1, SIZE_BYTES as u64), "{job:?}");
        let record = stack.record(&upload).await;
        let returned = record["attachments"].as_array().unwrap().iter();
        let index = returned.clone().position(|file| file["sizeBytes"] == SIZE_BYTES).unwrap();
        let key = keys::returned_file(&upload.document, index);
        assert!(video.is_at(stack, &key).await, "the returned file is the uploaded one");
        for function in &functions {
            let peak = stack.peak_memory(function);
            assert!(peak < MEMORY_BYTES, "{function} held {peak} bytes");
        }
        let delete = stack.s3.delete_object().bucket(&stack.is.uploads_bucket).key(&upload.key);
        delete.version_id(&upload.version).send().await.unwrap();
        let delete = stack.s3.delete_object().bucket(&stack.is.returned_bucket).key(key);
        delete.send().await.unwrap();
    };
    let undo = async {
        stack.set_variable(&receive, "MAX_UPLOAD_BYTES", &largest).await;
        stack.set_variable(&transfer, "REQUEST_TIMEOUT_SECONDS", &timeout).await;
    };
    then(body, undo).await;
}
