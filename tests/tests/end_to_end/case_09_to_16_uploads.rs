//! Uploads that are not acceptable, and uploads that are deleted or replaced before they are submitted.

use lectern::document::submission::SubmissionState;

use crate::{
    case::{Case, Upload},
    content::{sample, text, text_of},
    wait::{SOON, eventually},
};

/// Just above `MaxUploadBytes` of the tests' stack.
const TOO_MANY_BYTES: usize = 50_000_001;

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

#[tokio::test]
async fn f07_deleted_files_that_were_rejected_or_failed_no_longer_hold_their_submission() {
    let case = Case::begin();
    let good = case.upload("good.txt", text()).await;
    let rejected = case.upload("empty.pdf", []).await;
    let failed = case.upload("truncated.mp4", sample("bad/truncated.mp4")).await;
    case.stack.ready(&good).await;
    case.stack.rejected(&rejected, "empty").await;
    case.stack.not_accepted(&failed, "truncated").await;
    let (submission, _) = case.settled(3).await;
    assert_eq!(submission.state, SubmissionState::NeedsAttention);
    // One file is deleted as a person does it, behind a delete marker, and the version of the other one for good.
    for (upload, version) in [(&rejected, None), (&failed, Some(failed.version.clone()))] {
        let delete = case.stack.s3.delete_object().bucket(&case.stack.is.uploads_bucket).key(&upload.key);
        delete.set_version_id(version).send().await.unwrap();
    }
    let submission = eventually("no document needs attention", SOON, async || {
        let (submission, _) = case.settled(3).await;
        let is_ready = submission.state == SubmissionState::Ready;
        if is_ready { Ok(submission) } else { Err(format!("{:?}", submission.counts)) }
    })
    .await;
    let counts = submission.counts;
    assert_eq!((counts.ready, counts.rejected, counts.failed), (1, 0, 0));
    let shown = case.stack.read(&format!("/v1/submissions/{}", case.submission)).await;
    let withdrawn = |upload: &Upload| {
        let documents = shown["documents"].as_array().unwrap();
        let found = documents.iter().find(|document| document["documentId"] == upload.id().to_string());
        found.unwrap()["isWithdrawn"] == true
    };
    assert_eq!([&good, &rejected, &failed].map(withdrawn), [false, true, true]);
    // Another file under the same name counts.
    let again = case.upload("empty.pdf", sample("lesson-plan.pdf")).await;
    case.stack.ready(&again).await;
    let (submission, _) = case.settled(4).await;
    assert_eq!((submission.state, submission.counts.ready), (SubmissionState::Ready, 2));
}
