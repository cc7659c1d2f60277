//! What a port promises when AWS fails in a way in which the local cloud never fails. Each case runs on the port in memory
//! with a fault, and on the adapter with prepared answers of AWS.

use std::fmt::Debug;

use lectern_content::MediaType;

use super::{Violation, conflicts, machine::not_awaited};
use crate::{
    document::submission::SubmissionState,
    document::{ObjectVersion, SubmissionId, TaskToken},
    error::Error,
    ports::{Browse, Content, JobRequest, SubmissionFilter, Tasks, ThirdParty, UploadReader},
    testing::model::same,
};

/// A write whose transaction meets another writer's: it fails, and the same write succeeds when it is repeated.
///
/// # Errors
/// What was found instead.
pub async fn write_that_meets_another_writer_can_be_repeated<T: Debug>(
    write: impl AsyncFn() -> Result<T, Error>,
) -> Result<T, String> {
    conflicts("write that meets another one", &write().await).map_err(text)?;
    write().await.map_err(|error| text(error.into()))
}

/// An upload whose reading breaks off in the middle of its transfer (D02): this is a fault of our own store, not of the
/// third party. The reader breaks off `object`, which has `size_bytes`. Returns the error.
///
/// # Errors
/// What was found instead.
pub async fn upload_that_breaks_off_is_no_fault_of_the_third_party(
    reader: &impl UploadReader,
    third_party: &impl ThirdParty,
    object: &ObjectVersion,
    size_bytes: u64,
) -> Result<Error, String> {
    let body = reader.open(object, size_bytes).await.map_err(|error| text(error.into()))?;
    let request = JobRequest {
        idempotency_key: "0f7c3c52-6f1a-5f43-9f3b-1f0e6d7a2b43-1".to_owned(),
        media_type: MediaType::Text,
        size_bytes,
        callback_url: "http://127.0.0.1:9/callbacks/x".to_owned(),
        traceparent: None,
        content: Content::Push(body),
    };
    match third_party.submit(request).await {
        Err(error @ Error::SourceUnavailable(_)) => Ok(error),
        found => Err(format!("expected Source.Unavailable, found {found:?}")),
    }
}

/// The index lists a submission under a state that the submission has left. Leaving the submission out would cut the page
/// short, and the list with it, so that the page has the submission with its new state.
///
/// # Errors
/// What was found instead.
pub async fn submission_that_the_index_lists_under_its_old_state_is_left_in(
    store: &impl Browse,
    submission: &SubmissionId,
    [old, new]: [SubmissionState; 2],
) -> Result<(), String> {
    let page = store
        .submissions(&SubmissionFilter::in_state(Some(old)), None, 10)
        .await
        .map_err(|error| text(error.into()))?;
    let found: Vec<_> = page.submissions.iter().map(|found| (&found.submission_id, found.state)).collect();
    same("page", &vec![(submission, new)], &found)
}

/// A token that nobody waits for, because its execution was stopped or its task timed out: an answer to it is no error. The
/// local cloud goes on waiting for the token of a stopped execution.
///
/// # Errors
/// What was found instead.
pub async fn token_that_nobody_waits_for_is_not_awaited(
    tasks: &impl Tasks,
    token: &TaskToken,
) -> Result<(), String> {
    not_awaited(tasks, token).await.map_err(text)
}

fn text(Violation(found): Violation) -> String {
    found
}
