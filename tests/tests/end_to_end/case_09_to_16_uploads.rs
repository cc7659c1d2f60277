//! Uploads that are not acceptable, and uploads that are deleted or replaced before they are submitted.

use crate::{
    case::Case,
    content::{sample, text, text_of},
};

/// Just above `MaxUploadBytes` of the tests' stack.
const TOO_MANY_BYTES: usize = 4_000_001;

#[tokio::test]
async fn case_09_empty_file_is_rejected() {
    let case = Case::begin();
    let upload = case.upload("empty.pdf", []).await;
    case.stack.rejected(&upload, "empty").await;
    assert!(case.stack.jobs(upload.id()).await.is_empty());
}

#[tokio::test]
async fn case_10_file_over_the_limit_is_rejected() {
    let case = Case::begin();
    let upload = case.upload("long.txt", text_of(TOO_MANY_BYTES)).await;
    let document = case.stack.rejected(&upload, "tooLarge").await;
    assert!(document.size_bytes >= TOO_MANY_BYTES as u64);
}

#[tokio::test]
async fn case_11_extension_declared_type_and_content_must_agree() {
    let case = Case::begin();
    let renamed = case.upload("renamed.pdf", sample("bad/renamed.pdf")).await;
    let declared = case.upload_as("notes.txt", text(), Some("application/pdf")).await;
    let unsupported = case.upload("notes.rtf", text()).await;
    let agreeing = case.upload_as("good.txt", text(), Some("text/plain; charset=utf-8")).await;
    case.stack.rejected(&renamed, "typeMismatch").await;
    case.stack.rejected(&declared, "typeMismatch").await;
    case.stack.rejected(&unsupported, "unsupportedType").await;
    case.stack.ready(&agreeing).await;
    let (submission, _) = case.settled(4).await;
    assert_eq!((submission.counts.ready, submission.counts.rejected), (1, 3));
}

#[tokio::test]
async fn case_15_truncated_video_fails_with_the_third_partys_reason() {
    let case = Case::begin();
    let upload = case.upload("truncated.mp4", sample("bad/truncated.mp4")).await;
    case.stack.not_accepted(&upload, "truncated").await;
    let document = case.stack.load(&upload).await.unwrap();
    assert!(document.reason.is_some_and(|reason| !reason.message.is_empty()));
}
