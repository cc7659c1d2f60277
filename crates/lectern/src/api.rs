//! `serve-api`: the API for teachers, evaluators and operators. `docs/api.openapi.json` describes it; the function's routes
//! generate the description, and a test checks that the two are equal.
//!
//! Every function takes a [`Caller`], which only [`Caller::from_claims`] creates, so nobody else can read or change data. A
//! missing submission, a malformed id and another teacher's submission are all [`ApiError::NotFound`]: nobody learns which
//! submissions exist. Whatever reads or changes a submission records that first ([`Audit`]).

mod access;
mod cursor;
mod hand_in;
pub mod operations;
mod problem;
mod reading;
mod submissions;
mod subscribers;
#[cfg(test)]
mod tests;
mod uploading;

use serde::Serialize;

pub use access::{Caller, Role};
pub use hand_in::{
    AddFile, CreateSubmission, PendingFileView, add_file, create_submission, remove_document, remove_file,
    replace_document, withdraw_submission,
};
pub use operations::{FailuresPage, Overview, RedriveAnswer, RedriveRequest};
pub use problem::{ApiError, Problem};
pub use reading::{FileLink, FileSource, Files, file_urls, read_record};
pub use submissions::{
    DocumentSummary, DocumentsPage, ListQuery, PageQuery, SubmissionDetail, SubmissionSummary,
    SubmissionsPage, list_documents, list_submissions, read_submission,
};
pub use subscribers::{
    AddSubscriber, AddedSubscriber, DeliveriesView, Replay, ReplayedPage, ResumeFrom, ResumeSubscriber,
    ResumedSubscriber, RetryingEvent, SentRequest, SubscriberState, SubscriberTrial, SubscriberView,
    SubscribersView, TrialResponse, add_subscriber, list_subscribers, pause_subscriber, read_subscriber,
    remove_subscriber, replay_events, resume_subscriber, rotate_secret, test_subscriber,
};
pub use uploading::{
    BeginUpload, PartRequest, SignParts, SignedParts, UploadPlan, begin_upload, complete_upload, sign_parts,
};

use self::operations::Redriven;
use crate::{
    admission::Limits,
    document::{DocumentId, DocumentRef, SubmissionId, UploadId, submission::Submission},
    events,
    ports::{
        AdmissionStore, Audit, AuditAction, AuditEntry, Browse, Clock, Deliveries, Endpoints, Erasures,
        EventQueue, Executions, FindExecution, HandIn, Load, Operations, Queues, Random, ReadUrls, Records,
        Reopening, SignUploads, StartErasure, StopExecutions, Subscribers,
    },
    redrive,
};

/// How many subscribers of events there may be. Each has metrics of its own.
pub const MAX_SUBSCRIBERS: usize = 20;

/// The ports and settings of the API.
pub trait Backend: Send + Sync + 'static {
    /// The state store.
    type Store: AdmissionStore
        + Browse
        + Deliveries
        + Erasures
        + HandIn
        + Load
        + Operations
        + Reopening
        + Subscribers;
    /// The audit trail.
    type Trail: Audit;
    /// The uploads bucket.
    type Uploads: SignUploads;
    /// Both buckets, for readers.
    type Files: ReadUrls + Records;
    /// The state machine that erases submissions.
    type Erasures: StartErasure;
    /// The queues of the stack.
    type Queues: Queues;
    /// The executions of documents.
    type Runs: FindExecution + StopExecutions;
    /// The state machine of documents.
    type Machine: Executions;
    /// The endpoints of subscribers.
    type Endpoints: Endpoints;
    /// The queue of `deliver-events`.
    type Events: EventQueue;
    /// The time.
    type Clock: Clock;
    /// The source of ids.
    type Random: Random;

    /// The state store.
    fn store(&self) -> &Self::Store;
    /// The audit trail.
    fn trail(&self) -> &Self::Trail;
    /// The uploads bucket.
    fn uploads(&self) -> &Self::Uploads;
    /// Both buckets, for readers.
    fn files(&self) -> &Self::Files;
    /// The state machine that erases submissions.
    fn erasures(&self) -> &Self::Erasures;
    /// The queues of the stack.
    fn queues(&self) -> &Self::Queues;
    /// The executions of documents.
    fn runs(&self) -> &Self::Runs;
    /// The state machine of documents.
    fn machine(&self) -> &Self::Machine;
    /// The endpoints of subscribers.
    fn endpoints(&self) -> &Self::Endpoints;
    /// The queue of `deliver-events`.
    fn events(&self) -> &Self::Events;
    /// The sender that events name.
    fn source(&self) -> &events::Source;
    /// The third party's limits.
    fn limits(&self) -> &Limits;
    /// What one teacher may have open at once.
    fn quota(&self) -> Quota;
    /// The time.
    fn clock(&self) -> &Self::Clock;
    /// The source of ids.
    fn random(&self) -> &Self::Random;
}

/// What one teacher may have open at once. A submission is open while it is `Draft` or `InProgress`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quota {
    /// Open submissions.
    pub max_open_submissions: u64,
    /// Files of one submission, replacements included.
    pub max_files_per_submission: u64,
    /// The size of all files of the open submissions.
    pub max_open_bytes: u64,
    /// The size of one file.
    pub max_file_bytes: u64,
}

/// `GET /v1/me`: who the caller is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Me {
    /// The subject of the token.
    pub subject: String,
    /// The person's roles.
    pub roles: Vec<Role>,
    /// What a teacher may have open at once.
    pub quota: Quota,
}

/// `GET /v1/me`: who the caller is.
pub fn me(backend: &impl Backend, caller: &Caller) -> Me {
    Me {
        subject: caller.person().expose().to_owned(),
        roles: caller.roles().to_vec(),
        quota: backend.quota(),
    }
}

/// A submission that the caller may read.
///
/// # Errors
/// [`ApiError::NotFound`] also for a submission that the caller may not read.
async fn readable(backend: &impl Backend, caller: &Caller, id: &str) -> Result<Submission, ApiError> {
    let id: SubmissionId = SubmissionId::try_from(id.to_owned()).map_err(|_| ApiError::NotFound)?;
    let submission = backend.store().summary(&id).await?;
    submission.filter(|submission| caller.may_read(submission)).ok_or(ApiError::NotFound)
}

/// A submission that the caller may change.
///
/// # Errors
/// [`ApiError::Forbidden`] if the caller may only read the submission, [`ApiError::NotFound`] if not even that.
async fn changeable(backend: &impl Backend, caller: &Caller, id: &str) -> Result<Submission, ApiError> {
    let submission = readable(backend, caller, id).await?;
    if caller.may_change(&submission) { Ok(submission) } else { Err(ApiError::Forbidden) }
}

fn parse_document(submission: &Submission, document_id: &str) -> Result<DocumentRef, ApiError> {
    let id: DocumentId = document_id.parse().map_err(|_| ApiError::NotFound)?;
    // A UUID can be written in several ways, but a document has one path only.
    if id.to_string() != document_id {
        return Err(ApiError::NotFound);
    }
    Ok(DocumentRef { submission_id: submission.submission_id.clone(), document_id: id })
}

/// `GET /v1/operations`: how much waits where, and whether the third party's limits hold it up.
///
/// # Errors
/// [`ApiError::Forbidden`] unless the caller is an operator.
pub async fn overview(backend: &impl Backend, caller: &Caller) -> Result<Overview, ApiError> {
    caller.require(Role::Operator)?;
    operations::overview(backend.store(), backend.queues(), backend.clock(), backend.limits()).await
}

/// `GET /v1/operations/failures`: documents that failed, with advice.
///
/// # Errors
/// [`ApiError::Forbidden`] unless the caller is an operator, [`ApiError::InvalidQuery`] for a malformed cursor.
pub async fn failures(
    backend: &impl Backend,
    caller: &Caller,
    cursor: Option<&str>,
) -> Result<FailuresPage, ApiError> {
    caller.require(Role::Operator)?;
    operations::failures(backend.store(), cursor).await
}

/// `POST /v1/submissions/{submissionId}/documents/{documentId}/redrive`: redrives a document.
///
/// # Errors
/// [`ApiError::Forbidden`] for a caller who may read the submission and is no operator; [`ApiError::NotRedrivable`].
pub async fn redrive_document(
    backend: &impl Backend,
    caller: &Caller,
    submission_id: &str,
    document_id: &str,
    request: RedriveRequest,
) -> Result<RedriveAnswer, ApiError> {
    let submission = readable(backend, caller, submission_id).await?;
    caller.require(Role::Operator)?;
    let document = parse_document(&submission, document_id)?;
    let DocumentRef { submission_id, document_id } = &document;
    record(backend, caller, submission_id, AuditAction::Redrive, Some(*document_id), None).await?;
    let ports = redrive::Ports {
        store: backend.store(),
        executions: backend.runs(),
        state_machine: backend.machine(),
        clock: backend.clock(),
    };
    match operations::redrive(&ports, &document, request).await? {
        Redriven::Open(answer) => Ok(answer),
        Redriven::NotRedrivable(why) => Err(ApiError::NotRedrivable(why)),
    }
}

/// Records what the caller is about to read or has asked to change.
async fn record(
    backend: &impl Backend,
    caller: &Caller,
    submission: &SubmissionId,
    action: AuditAction,
    document_id: Option<DocumentId>,
    upload: Option<UploadId>,
) -> Result<(), ApiError> {
    let entry = AuditEntry {
        at: backend.clock().now(),
        subject: caller.person().clone(),
        action,
        document_id,
        file: upload.map(String::from),
    };
    Ok(backend.trail().record(submission, &entry).await?)
}
