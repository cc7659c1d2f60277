//! A third party that delays all documents for minutes.

use third_party::{RetryAfter, SubmissionFault};

use crate::{
    case::{Case, Upload},
    case_25_to_30_trouble::waits_for_the_rate_limit,
    content::text,
    stack::Stack,
    wait::{SOON, eventually},
};

/// The requested pause stops all documents, so this test runs alone and resets the rate limiter afterwards.
#[tokio::test]
async fn case_25_retry_after_of_a_year_is_cut_to_minutes() {
    let retry_after = Some(RetryAfter::Seconds(31_536_000));
    waits_for_the_rate_limit(SubmissionFault::RateLimited { retry_after }, 429).await;
    Stack::open().reset_the_rate_limiter().await;
}

/// A 429 delays all documents while this test deletes and replaces uploads, so the test runs alone.
#[tokio::test]
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
        case.stack.not_accepted(upload, "sourceGone").await;
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
