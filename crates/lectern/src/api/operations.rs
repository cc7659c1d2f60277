//! What operators see and do: the flow at a glance, documents that failed with advice, and the redrive of a document.
//!
//! Every function makes a bounded number of calls, whatever the number of submissions is. The caller has checked that the
//! person is an operator.

use lectern_content::{MediaKind, MediaType};
use serde::{Deserialize, Serialize};

use super::{
    ApiError,
    cursor::{self, DocumentsCursor},
};
use crate::{
    admission::{Cause, LimiterSnapshot, Limits, Outage},
    advice,
    display_text::Label,
    document::{
        Document, DocumentId, DocumentRef, DocumentState, Reason, SubmissionId, submission::SubmissionState,
    },
    error::{Error, rfc3339},
    ports::{
        AdmissionStore, Browse, Clock, Cursor, Executions, FindExecution, Load, Operations, Queues,
        Reopening, StopExecutions, SubmissionFilter,
    },
    record::nfc,
    redrive::{self, Done},
};

/// Submissions of a state that the overview counts; more than these are "1000 or more".
pub const MAX_COUNTED: usize = 1000;
/// Failures on one page.
const FAILURES: usize = 25;
/// Submissions that one page looks at.
const SUBMISSIONS: usize = 10;
/// Documents that one page reads, failed or not.
const DOCUMENTS: usize = 100;

/// `GET /v1/operations`: how much waits where, and whether the third party's limits hold it up.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// Submissions that are not ready.
    pub submissions: SubmissionCounts,
    /// In the order of a document's way.
    pub queues: Vec<QueueOverview>,
    /// Admission control.
    pub limiter: LimiterOverview,
}

/// Numbers of submissions, each at most [`MAX_COUNTED`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubmissionCounts {
    /// Submissions with a document in progress.
    pub in_progress: usize,
    /// Submissions without a document in progress and with one that was rejected or failed.
    pub needs_attention: usize,
    /// When the oldest submission with a document in progress was created, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_in_progress_at: Option<String>,
}

/// The messages of a queue, counted approximately.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueOverview {
    /// The function that the queue invokes.
    pub name: String,
    /// Messages that wait.
    pub waiting: u64,
    /// Messages that a function is handling.
    pub in_flight: u64,
    /// Messages in the dead-letter queue.
    pub dead_letters: u64,
}

/// Admission control: the third party's limits, and what they hold up.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimiterOverview {
    /// Documents that may be submitted per second, on average.
    pub requests_per_second: f64,
    /// Documents that may be submitted at once.
    pub burst: u32,
    /// Jobs that may be in flight.
    pub max_in_flight: u32,
    /// Leases that are held.
    pub leases: usize,
    /// Documents that wait for a permit.
    pub waiting: u64,
    /// Whether the circuit breaker is open or half-open.
    pub breaker_open: bool,
    /// Why the circuit breaker is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub breaker_cause: Option<Cause>,
    /// When the next half-open trial may start, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial_at: Option<String>,
    /// The factor by which the interval between requests is stretched; normally 1.
    pub slowdown: u32,
    /// Seconds for which documents have waited and none got a permit; absent if admission makes progress.
    #[serde(rename = "stalledForS", skip_serializing_if = "Option::is_none")]
    pub stalled_for_s: Option<u64>,
}

/// The overview.
///
/// # Errors
/// [`ApiError::Internal`].
pub async fn overview(
    store: &(impl Operations + AdmissionStore),
    queues: &impl Queues,
    clock: &impl Clock,
    limits: &Limits,
) -> Result<Overview, ApiError> {
    let submissions = SubmissionCounts {
        in_progress: store.count_submissions(SubmissionState::InProgress, MAX_COUNTED).await?,
        needs_attention: store.count_submissions(SubmissionState::NeedsAttention, MAX_COUNTED).await?,
        oldest_in_progress_at: store.oldest_submission(SubmissionState::InProgress).await?,
    };
    let queues = queues.depths().await?.into_iter().map(|depth| QueueOverview {
        name: depth.name,
        waiting: depth.waiting,
        in_flight: depth.in_flight,
        dead_letters: depth.dead_letters,
    });
    let (queues, now) = (queues.collect(), clock.now());
    let (mut state, _) = store.admission_state().await?;
    let stalled = state.stalled_for(now);
    state.advance_to(now);
    let LimiterSnapshot { leases, waiting, breaker_open, slowdown } = state.snapshot();
    let outage = state.outage();
    let limiter = LimiterOverview {
        requests_per_second: 1.0 / limits.interval.as_secs_f64(),
        burst: limits.burst,
        max_in_flight: limits.max_in_flight,
        leases,
        waiting,
        breaker_open,
        breaker_cause: outage.map(|Outage { cause, .. }| cause),
        trial_at: outage.map(|Outage { trial_at, .. }| rfc3339(trial_at)),
        slowdown,
        stalled_for_s: Some(stalled.as_secs()).filter(|seconds| *seconds > 0),
    };
    Ok(Overview { submissions, queues, limiter })
}

/// A page of `GET /v1/operations/failures`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailuresPage {
    /// By submission, newest first. A page may be short or empty and have a cursor all the same, because it looks at a
    /// bounded number of submissions and documents.
    pub failures: Vec<FailureSummary>,
    /// Asks for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A document that failed, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureSummary {
    /// The submission.
    #[schema(value_type = String)]
    pub submission_id: SubmissionId,
    /// What the teacher calls the submission.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub title: Option<Label>,
    /// The document.
    #[schema(value_type = String, format = "uuid")]
    pub document_id: DocumentId,
    /// The upload's file name.
    pub file_name: String,
    /// The kind of the upload's media type, if it was detected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<MediaKind>,
    /// When it failed, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<String>,
    /// The reason that the teacher reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Why it failed, for the operator.
    pub why: String,
    /// What to do: commands or instructions, in the words of `lectern explain`.
    pub todo: Vec<String>,
}

impl FailureSummary {
    fn of(document: &Document, title: Option<Label>) -> Self {
        let DocumentRef { submission_id, document_id } = &document.reference;
        Self {
            submission_id: submission_id.clone(),
            title,
            document_id: *document_id,
            file_name: nfc(&document.display_name()),
            kind: document.media_type.map(MediaType::kind),
            failed_at: document.times.get(DocumentState::Failed.as_str()).cloned(),
            reason: document.reason.clone(),
            why: document.reason.as_ref().map(|reason| reason.message.to_string()).unwrap_or_default(),
            todo: advice::after_failure(document),
        }
    }
}

/// The documents that failed, of submissions that need attention. A failed document of a submission in progress appears
/// when the submission's other documents have ended.
///
/// # Errors
/// [`ApiError::InvalidQuery`] for a malformed cursor.
pub async fn failures(store: &(impl Browse + Load), cursor: Option<&str>) -> Result<FailuresPage, ApiError> {
    let refused = || ApiError::InvalidQuery(cursor::INVALID.to_owned());
    let start = cursor.map(|text| DocumentsCursor::decode(text).ok_or_else(refused)).transpose()?;
    let mut page = Page::default();
    if let Some(DocumentsCursor { submission, document: Some(after) }) = &start {
        let id = SubmissionId::try_from(submission.submission_id.clone()).map_err(|_| ApiError::NotFound)?;
        let title = store.summary(&id).await?.and_then(|submission| submission.title);
        let document = page.collect(store, &id, title, Some(*after)).await?;
        if document.is_some() {
            return page
                .ending(store, Some(DocumentsCursor { submission: submission.clone(), document }))
                .await;
        }
    }
    let behind = start.map(|start| start.submission);
    let filter = SubmissionFilter::in_state(Some(SubmissionState::NeedsAttention));
    let found = store.submissions(&filter, behind.as_ref(), SUBMISSIONS).await?;
    // A page that is full before it has looked at another submission continues where it began.
    let mut last = behind.map(|submission| DocumentsCursor { submission, document: None });
    for submission in found.submissions {
        let position = Cursor::at(&submission);
        if page.is_full() {
            return page.ending(store, last).await;
        }
        let document = if submission.counts.failed > 0 {
            page.collect(store, &submission.submission_id, submission.title.clone(), None).await?
        } else {
            None
        };
        let stops = document.is_some();
        last = Some(DocumentsCursor { submission: position, document });
        if stops {
            return page.ending(store, last).await;
        }
    }
    let next = found.next.map(|submission| DocumentsCursor { submission, document: None });
    page.ending(store, next).await
}

/// A page while it is built.
#[derive(Default)]
struct Page {
    /// Failed documents, each with its submission's title.
    found: Vec<(DocumentRef, Option<Label>)>,
    /// The number of documents that were read.
    read: usize,
}

impl Page {
    fn is_full(&self) -> bool {
        self.found.len() >= FAILURES || self.read >= DOCUMENTS
    }

    /// Adds the submission's failed documents after this one. Returns the last document that was read if the page became
    /// full before the submission's end.
    async fn collect(
        &mut self,
        store: &impl Browse,
        submission: &SubmissionId,
        title: Option<Label>,
        mut after: Option<DocumentId>,
    ) -> Result<Option<DocumentId>, Error> {
        while !self.is_full() {
            let limit = (FAILURES - self.found.len()).min(DOCUMENTS - self.read);
            let found = store.documents(submission, after, limit).await?;
            self.read += found.documents.len();
            after = found.next;
            let failed = found
                .documents
                .into_iter()
                .filter(|document| document.state == DocumentState::Failed && document.is_counted());
            self.found.extend(failed.map(|document| (document.reference, title.clone())));
            if after.is_none() {
                return Ok(None);
            }
        }
        Ok(after)
    }

    /// Reads the failed documents with their results, on which the advice depends.
    async fn ending(
        self,
        store: &impl Load,
        next: Option<DocumentsCursor>,
    ) -> Result<FailuresPage, ApiError> {
        let mut failures = Vec::with_capacity(self.found.len());
        for (document, title) in self.found {
            let document = store.load(&document).await?;
            // It may have been redriven meanwhile.
            let failed = document.filter(|document| document.state == DocumentState::Failed);
            failures.extend(failed.map(|document| FailureSummary::of(&document, title)));
        }
        let cursor = next.as_ref().map(DocumentsCursor::encode).transpose()?;
        Ok(FailuresPage { failures, cursor })
    }
}

/// The body of `POST /v1/submissions/{submissionId}/documents/{documentId}/redrive`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RedriveRequest {
    /// Whether a stored result, or a job that may still exist, is discarded, so that the third party processes the file
    /// again.
    #[serde(default)]
    pub anew: bool,
}

/// The outcome of a redrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redriven {
    /// The document is open again: 202.
    Open(RedriveAnswer),
    /// The document cannot be redriven, or does not need it: 409. The text says why.
    NotRedrivable(String),
}

/// The answer to a redrive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedriveAnswer {
    /// The document.
    #[schema(value_type = String, format = "uuid")]
    pub document_id: DocumentId,
    /// Its state now.
    pub state: DocumentState,
}

/// Redrives one document.
///
/// # Errors
/// [`ApiError::NotFound`] if there is no such document, also because its submission is erased.
pub async fn redrive<S, X, M, C>(
    ports: &redrive::Ports<'_, S, X, M, C>,
    document: &DocumentRef,
    request: RedriveRequest,
) -> Result<Redriven, ApiError>
where
    S: Load + Reopening,
    X: FindExecution + StopExecutions,
    M: Executions,
    C: Clock,
{
    if ports.store.load(document).await?.is_none() {
        return Err(ApiError::NotFound);
    }
    let plan = ports.look(document, request.anew).await?;
    match ports.redrive(&plan).await? {
        Done::Started(_) => {
            let now = ports.store.load(document).await?.ok_or(ApiError::NotFound)?;
            Ok(Redriven::Open(RedriveAnswer { document_id: document.document_id, state: now.state }))
        }
        Done::Nothing(why) | Done::Refused(why) | Done::Would(why) => {
            Ok(Redriven::NotRedrivable(sentence(&why)))
        }
    }
}

/// The command's texts follow a document's id and a colon, so they begin with a small letter.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + characters.as_str()
}

#[cfg(test)]
mod tests;
