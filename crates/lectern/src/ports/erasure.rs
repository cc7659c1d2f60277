//! Erasing a submission: its items, its objects, and what proves the erasure.

use std::future::Future;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{
    document::{Document, SubmissionId},
    error::Error,
};

/// What stays of a submission that is erased: no name and no content, but who erased how much, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Erasure {
    /// The submission.
    pub submission_id: SubmissionId,
    /// How far the erasure has come.
    #[serde(rename = "erasureState")]
    pub state: ErasureState,
    /// The principal that began the newest run: the ARN of the principal that ran the command, or [`crate::erasure::BY_OWNER`].
    #[serde(rename = "erasedBy")]
    pub by: String,
    /// When the first run began, RFC 3339.
    #[serde(rename = "erasureBeganAt")]
    pub began_at: String,
    /// When the newest complete run ended, RFC 3339.
    #[serde(rename = "erasureEndedAt", default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// The number of erased documents, over all runs.
    #[serde(rename = "erasedDocuments", default)]
    pub documents: u64,
    /// The number of erased versions of objects and delete markers, over all runs. A run that was interrupted while it
    /// deleted objects has not counted them.
    #[serde(rename = "erasedObjectVersions", default)]
    pub object_versions: u64,
}

/// How far an erasure has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErasureState {
    /// Begun: nothing can be added to the submission any more, and something of it may still exist.
    Erasing,
    /// Nothing of the submission is left.
    Erased,
}

/// The store's part for erasing a submission.
pub trait Erasures: Send + Sync {
    /// The submission's erasure; `None` if none has begun.
    fn erasure(&self, id: &SubmissionId) -> impl Future<Output = Result<Option<Erasure>, Error>> + Send;

    /// Begins an erasure, or begins it again, also of a submission without documents. From then on no document of the
    /// submission can be registered or reopened, the end of a document changes no count, and [`Browse`](super::Browse) does
    /// not show the submission.
    fn begin_erasure(
        &self,
        id: &SubmissionId,
        by: &str,
        now: OffsetDateTime,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// All documents of the submission, without their results.
    fn documents_to_erase(
        &self,
        id: &SubmissionId,
    ) -> impl Future<Output = Result<Vec<Document>, Error>> + Send;

    /// Deletes a document of a submission whose erasure has begun, and counts it. Of its callback id only a mark stays for
    /// [`ERASED_CALLBACK_LIFETIME`](crate::limits::ERASED_CALLBACK_LIFETIME), so that a late callback is known to belong to
    /// an erased document.
    fn erase_document(
        &self,
        document: &Document,
        now: OffsetDateTime,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Adds to the number of erased object versions.
    fn count_erased_versions(
        &self,
        id: &SubmissionId,
        versions: u64,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Deletes what is left of the submission's items except the erasure itself, and ends the erasure.
    fn end_erasure(
        &self,
        id: &SubmissionId,
        now: OffsetDateTime,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

/// All objects of a submission, in both buckets.
pub trait SubmissionObjects: Send + Sync {
    /// The number of versions and delete markers of uploads, returned files, records and files in quarantine.
    fn count_versions(&self, id: &SubmissionId) -> impl Future<Output = Result<u64, Error>> + Send;

    /// Deletes these versions and delete markers for good, and aborts uploads in parts that are not complete. Deletes all of
    /// them, or at least `most`: then another call continues.
    fn erase_objects(
        &self,
        id: &SubmissionId,
        most: usize,
    ) -> impl Future<Output = Result<ErasedObjects, Error>> + Send;
}

/// What a call of [`SubmissionObjects::erase_objects`] deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErasedObjects {
    /// The number of deleted versions and markers.
    pub versions: u64,
    /// Whether none is left.
    pub are_all: bool,
}

/// Starts the state machine that erases submissions.
pub trait StartErasure: Send + Sync {
    /// Starts the execution that erases a submission. The execution is named after the submission. If it was started
    /// before, this changes nothing.
    fn start_erasure(&self, id: &SubmissionId) -> impl Future<Output = Result<(), Error>> + Send;
}
