//! Lists of submissions, and one submission with its files.

use std::collections::{BTreeMap, BTreeSet};

use lectern_content::{MediaKind, MediaType};
use serde::{Deserialize, Serialize};
use time::{
    Date, OffsetDateTime, UtcOffset,
    format_description::well_known::{Iso8601, Rfc3339},
};

use super::{ApiError, Backend, Caller, PendingFileView, Role, cursor, readable, record};
use crate::{
    document::{
        Document, DocumentId, DocumentState, Reason, SubmissionId,
        submission::{Submission, SubmissionState},
    },
    error::rfc3339,
    limits,
    ports::{AuditAction, Browse, Cursor, HandIn, Listing, SubmissionFilter},
    record::nfc,
};

/// `GET /v1/submissions`: submissions, newest first, in pages. A teacher sees their own, an evaluator and an operator see all
/// that have a file.
///
/// # Errors
/// [`ApiError::InvalidQuery`] for a malformed parameter.
pub async fn list_submissions(
    backend: &impl Backend,
    caller: &Caller,
    query: &ListQuery,
) -> Result<SubmissionsPage, ApiError> {
    let own = query.mine()? || !caller.reads_all();
    if own {
        caller.require(Role::Teacher)?;
    }
    let states = match query.state()? {
        Some(SubmissionState::Draft) if !own => {
            return Err(ApiError::InvalidQuery(
                "state Draft is for your own submissions (mine=true).".to_owned(),
            ));
        }
        Some(state) => vec![state],
        None if own => SubmissionState::ALL.to_vec(),
        None => SubmissionState::WITH_DOCUMENTS.to_vec(),
    };
    let filter = SubmissionFilter {
        listing: if own { Listing::Of(caller.person().clone()) } else { Listing::All },
        states,
        kind: query.kind()?,
        from: query.from()?,
        to: query.to()?,
    };
    let found = backend.store().submissions(&filter, query.cursor()?.as_ref(), query.limit()?).await?;
    let cursor = found.next.as_ref().map(cursor::encode).transpose()?;
    Ok(SubmissionsPage { submissions: found.submissions.into_iter().map(Into::into).collect(), cursor })
}

/// `GET /v1/submissions/{submissionId}`: a submission, its pending files, and the first page of its documents.
///
/// `is_known` tells whether the reader has this answer already. Such a request, which a watching page makes again and again,
/// is not recorded, because it tells the reader nothing.
pub async fn read_submission(
    backend: &impl Backend,
    caller: &Caller,
    submission_id: &str,
    is_known: impl FnOnce(&SubmissionDetail) -> bool + Send,
) -> Result<SubmissionDetail, ApiError> {
    let submission = readable(backend, caller, submission_id).await?;
    let id = submission.submission_id.clone();
    let detail = detail(backend, caller, submission).await?;
    if !is_known(&detail) {
        record(backend, caller, &id, AuditAction::ReadSubmission, None, None).await?;
    }
    Ok(detail)
}

/// A submission as its reader sees it.
pub(super) async fn detail(
    backend: &impl Backend,
    caller: &Caller,
    submission: Submission,
) -> Result<SubmissionDetail, ApiError> {
    let may_change = caller.may_change(&submission);
    let pending =
        if may_change { backend.store().pending(&submission.submission_id).await? } else { Vec::new() };
    let DocumentsPage { documents, cursor } =
        documents_page(backend, &submission.submission_id, None, limits::DEFAULT_DOCUMENTS_PAGE).await?;
    Ok(SubmissionDetail {
        submission: submission.into(),
        may_change,
        pending: pending.into_iter().map(PendingFileView::from).collect(),
        documents,
        cursor,
    })
}

/// `GET /v1/submissions/{submissionId}/documents`: the documents of a submission in pages, by their ids.
///
/// # Errors
/// [`ApiError::InvalidQuery`] for a malformed limit or cursor.
pub async fn list_documents(
    backend: &impl Backend,
    caller: &Caller,
    submission_id: &str,
    query: &PageQuery,
) -> Result<DocumentsPage, ApiError> {
    let submission = readable(backend, caller, submission_id).await?;
    let limit = limit(query.limit.as_deref(), limits::DEFAULT_DOCUMENTS_PAGE)?;
    let after = query.cursor.as_deref().map(str::parse::<DocumentId>).transpose();
    let after = after.map_err(|_| invalid_cursor())?;
    record(backend, caller, &submission.submission_id, AuditAction::ReadSubmission, None, None).await?;
    documents_page(backend, &submission.submission_id, after, limit).await
}

async fn documents_page(
    backend: &impl Backend,
    submission: &SubmissionId,
    after: Option<DocumentId>,
    limit: usize,
) -> Result<DocumentsPage, ApiError> {
    let found = backend.store().documents(submission, after, limit).await?;
    Ok(DocumentsPage {
        documents: found.documents.into_iter().map(Into::into).collect(),
        cursor: found.next.map(|id| id.to_string()),
    })
}

fn limit(text: Option<&str>, default: usize) -> Result<usize, ApiError> {
    let Some(text) = text else { return Ok(default) };
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|limit| digits && (1..=limits::MAX_PAGE).contains(limit)).ok_or_else(|| {
        ApiError::InvalidQuery(format!("limit must be a number from 1 to {}.", limits::MAX_PAGE))
    })
}

fn invalid_cursor() -> ApiError {
    ApiError::InvalidQuery(cursor::INVALID.to_owned())
}

/// The raw query of `GET /v1/submissions`. Deserialisation refuses unknown parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only submissions in this [`SubmissionState`].
    #[serde(default)]
    pub state: Option<String>,
    /// Only submissions with a file of this [`MediaKind`].
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// Only submissions created at this time or later: RFC 3339, or a date in UTC.
    #[serde(default)]
    pub from: Option<String>,
    /// Only submissions created before this time: RFC 3339, or a date in UTC.
    #[serde(default)]
    pub to: Option<String>,
    /// `true`: only the caller's own.
    #[serde(default)]
    pub mine: Option<String>,
    /// 1 to [`limits::MAX_PAGE`], [`limits::DEFAULT_PAGE`] if absent.
    #[serde(default)]
    pub limit: Option<String>,
    /// [`SubmissionsPage::cursor`] of the page before.
    #[serde(default)]
    pub cursor: Option<String>,
}

impl ListQuery {
    fn state(&self) -> Result<Option<SubmissionState>, ApiError> {
        self.state.as_deref().map(str::parse).transpose().map_err(|_| {
            ApiError::InvalidQuery("state must be Draft, InProgress, Ready or NeedsAttention.".to_owned())
        })
    }

    fn kind(&self) -> Result<Option<MediaKind>, ApiError> {
        let Some(text) = self.kind.as_deref() else { return Ok(None) };
        let kind = MediaKind::ALL.into_iter().find(|kind| kind.as_str() == text);
        kind.map(Some).ok_or_else(|| {
            ApiError::InvalidQuery("type must be video, audio, document or picture.".to_owned())
        })
    }

    fn from(&self) -> Result<Option<String>, ApiError> {
        self.from.as_deref().map(|text| moment("from", text)).transpose()
    }

    fn to(&self) -> Result<Option<String>, ApiError> {
        self.to.as_deref().map(|text| moment("to", text)).transpose()
    }

    fn mine(&self) -> Result<bool, ApiError> {
        match self.mine.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(ApiError::InvalidQuery("mine must be true or false.".to_owned())),
        }
    }

    fn limit(&self) -> Result<usize, ApiError> {
        limit(self.limit.as_deref(), limits::DEFAULT_PAGE)
    }

    fn cursor(&self) -> Result<Option<Cursor>, ApiError> {
        self.cursor.as_deref().map(cursor::decode).transpose()
    }
}

fn moment(name: &str, text: &str) -> Result<String, ApiError> {
    parse_moment(name, text).map_err(ApiError::InvalidQuery)
}

/// A time of a query or body, in the form in which the store compares times.
///
/// # Errors
/// A sentence for the caller.
pub(super) fn parse_moment(name: &str, text: &str) -> Result<String, String> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok();
    let time = time.or_else(|| Some(Date::parse(text, &Iso8601::DATE).ok()?.midnight().assume_utc()));
    let utc = time.and_then(|time| time.checked_to_offset(UtcOffset::UTC));
    let utc = utc.filter(|time| (1..=9999).contains(&time.year())).map(rfc3339);
    utc.ok_or_else(|| format!("{name} must be a time such as 2026-11-30T08:00:00Z, or a date."))
}

/// The raw query of a list without filters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// 1 to [`limits::MAX_PAGE`].
    #[serde(default)]
    pub limit: Option<String>,
    /// The cursor of the page before.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// A page of submissions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SubmissionsPage {
    /// Newest first. A page may have fewer than were asked for, or none, and not be the last one.
    pub submissions: Vec<SubmissionSummary>,
    /// Asks for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A submission in short. Superseded and withdrawn documents do not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubmissionSummary {
    /// The submission's id.
    #[schema(value_type = String)]
    pub submission_id: SubmissionId,
    /// What the teacher calls it; absent if an operator copied its files into the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The submission's state, which follows from the counts of its documents.
    pub state: SubmissionState,
    /// Documents that are not in a final state.
    pub open: u64,
    /// Documents with a record.
    pub ready: u64,
    /// Documents whose upload was rejected.
    pub rejected: u64,
    /// Documents that failed.
    pub failed: u64,
    /// The kinds of its files.
    pub kinds: BTreeSet<MediaKind>,
    /// When it was created.
    #[schema(format = DateTime)]
    pub created_at: String,
}

impl From<Submission> for SubmissionSummary {
    fn from(submission: Submission) -> Self {
        Self {
            submission_id: submission.submission_id,
            title: submission.title.map(|title| nfc(&title)),
            state: submission.state,
            open: submission.counts.open,
            ready: submission.counts.ready,
            rejected: submission.counts.rejected,
            failed: submission.counts.failed,
            kinds: submission.kinds,
            created_at: submission.created_at,
        }
    }
}

/// A submission with its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubmissionDetail {
    /// The submission.
    pub submission: SubmissionSummary,
    /// Whether the caller may change it.
    pub may_change: bool,
    /// Files that are declared, and whose upload has not arrived yet. Only the owner sees them.
    pub pending: Vec<PendingFileView>,
    /// The first page of its documents.
    pub documents: Vec<DocumentSummary>,
    /// Asks for the next page of its documents; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A page of documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct DocumentsPage {
    /// By their ids.
    pub documents: Vec<DocumentSummary>,
    /// Asks for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A document's summary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DocumentSummary {
    /// The document's id.
    #[schema(value_type = String, format = "uuid")]
    pub document_id: DocumentId,
    /// Its name for display, NFC.
    pub file_name: String,
    /// Its media type, if it was detected.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub media_type: Option<MediaType>,
    /// The kind of its media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<MediaKind>,
    /// Its size.
    pub size_bytes: u64,
    /// The document's state.
    pub state: DocumentState,
    /// Why it was rejected or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The time of the first arrival in each state, by the state's name.
    pub times: BTreeMap<String, String>,
    /// The newer version of the same file, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub superseded_by: Option<DocumentId>,
    /// Whether its file was deleted after it was rejected or had failed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_withdrawn: bool,
}

impl From<Document> for DocumentSummary {
    fn from(document: Document) -> Self {
        Self {
            document_id: document.reference.document_id,
            file_name: nfc(&document.display_name()),
            media_type: document.media_type,
            kind: document.media_type.map(MediaType::kind),
            size_bytes: document.size_bytes,
            state: document.state,
            reason: document.reason,
            times: document.times,
            superseded_by: document.superseded_by,
            is_withdrawn: document.is_withdrawn,
        }
    }
}
