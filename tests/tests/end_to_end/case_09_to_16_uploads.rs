//! Uploads that are not acceptable, and uploads that are deleted or replaced before they are submitted.

use third_party::{RetryAfter, SubmissionFault};

use crate::{
    case::{Case, Upload},
    content::{sample, text, text_of},
    wait::{SOON, eventually},
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
    assert_eq!(case.stack.failed(&upload, "truncated").await, "ThirdParty.Rejected");
    let document = case.stack.load(&upload).await.unwrap();
    assert!(document.reason.is_some_and(|reason| !reason.message.is_empty()));
}

/// A 429 delays all documents while this test deletes and replaces uploads, so the test runs alone.
#[tokio::test]
#[ignore = "runs alone, after the others: make e2e"]
async fn case_16_object_that_is_deleted_or_replaced_before_its_transfer_is_gone() {
    let case = Case::begin();
    let put_off = || SubmissionFault::RateLimited { retry_after: Some(RetryAfter::Seconds(300)) }.into();
    let deleted = case.upload_with("deleted.txt", text(), [put_off()]).await;
    let replaced = case.upload_with("replaced.txt", text(), [put_off()]).await;
    let put_off = async |upload: &Upload| {
        eventually("the transfer is delayed", SOON, async || {
            let seen = case.stack.submissions(upload.id()).await.len();
            if seen == 1 { Ok(()) } else { Err(format!("{seen} submissions")) }
        })
        .await;
    };
    // One after the other, because the first 429 may also delay the second document's first attempt.
    put_off(&deleted).await;
    let delete = case.stack.s3.delete_object().bucket(&case.stack.is.uploads_bucket).key(&deleted.key);
    delete.send().await.unwrap();
    put_off(&replaced).await;
    let newer = case.upload("replaced.txt", text()).await;
    for upload in [&deleted, &replaced] {
        assert_eq!(case.stack.failed(upload, "sourceGone").await, "Source.Gone");
        assert!(case.stack.jobs(upload.id()).await.is_empty());
    }
    case.stack.ready(&newer).await;
    let (submission, _) = case.settled(3).await;
    assert_eq!(
        (submission.counts.ready, submission.counts.failed),
        (1, 1),
        "the replaced version no longer counts"
    );
    case.stack.reset_the_rate_limiter().await;
}
