//! `serve-api`: the API for evaluators. `docs/records.openapi.yaml` describes it, and a test checks that the two are
//! equal.
//!
//! Every function requires an [`Evaluator`], which only [`Evaluator::from_claims`] creates, so nobody else can read
//! data. A missing resource and a malformed id are both [`ApiError::NotFound`].

mod access;
mod cursor;
mod problem;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use lectern_content::MediaType;
use serde::{Deserialize, Serialize};

pub use access::{EVALUATORS, Evaluator};
pub use problem::{ApiError, Problem};

use crate::{
    document::keys,
    document::submission::{Submission, SubmissionState},
    document::{Document, DocumentId, DocumentRef, DocumentState, JobResult, Reason, SubmissionId},
    limits,
    ports::{Browse, Cursor, Load, ReadUrls, Records},
    record::{Record, nfc},
};

/// `GET /submissions`: submissions, newest first, in pages.
///
/// # Errors
/// [`ApiError::InvalidQuery`] for a malformed state, limit or cursor.
pub async fn list_submissions(
    _reader: &Evaluator,
    browse: &impl Browse,
    query: &ListQuery,
) -> Result<SubmissionsPage, ApiError> {
    let (state, limit, after) = (query.state()?, query.limit()?, query.cursor()?);
    // Reads one submission more than the page holds, to find out whether another page follows.
    let mut found = browse.submissions(state, after.as_ref(), limit + 1).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let cursor = found.last().filter(|_| more).map(cursor::encode).transpose()?;
    Ok(SubmissionsPage { submissions: found.into_iter().map(Into::into).collect(), cursor })
}

/// `GET /submissions/{submissionId}`: a submission with its documents, oldest first.
pub async fn read_submission(
    _reader: &Evaluator,
    browse: &impl Browse,
    submission_id: &str,
) -> Result<SubmissionDetail, ApiError> {
    let id = parse_submission_id(submission_id)?;
    let (submission, documents) = browse.submission(&id).await?.ok_or(ApiError::NotFound)?;
    Ok(SubmissionDetail {
        submission: submission.into(),
        documents: documents.into_iter().map(Into::into).collect(),
    })
}

/// `GET /submissions/{submissionId}/documents/{documentId}/record`: the record, once the document is `Ready`.
///
/// # Errors
/// [`ApiError::Expired`] if the record's retention has ended.
pub async fn read_record(
    _reader: &Evaluator,
    store: &impl Load,
    records: &impl Records,
    submission_id: &str,
    document_id: &str,
) -> Result<Record, ApiError> {
    let document = store.load(&parse_document(submission_id, document_id)?).await?;
    let key = document.and_then(|document| document.record_key).ok_or(ApiError::NotFound)?;
    let json = records.get_record(&key).await?.ok_or(ApiError::Expired)?;
    Ok(Record::from_json(&json)?)
}

/// `GET /submissions/{submissionId}/documents/{documentId}/files`: short-lived URLs of the upload and, once the
/// document is `Ready`, of the returned files, which are all verified by then. Files whose retention has ended are left
/// out.
///
/// # Errors
/// [`ApiError::Expired`] if no file is left.
pub async fn file_urls(
    _reader: &Evaluator,
    store: &impl Load,
    urls: &impl ReadUrls,
    submission_id: &str,
    document_id: &str,
) -> Result<Files, ApiError> {
    let reference = parse_document(submission_id, document_id)?;
    let document = store.load(&reference).await?.ok_or(ApiError::NotFound)?;
    let file_name = nfc(&document.display_name());
    let mut files = Vec::new();
    if let Some(url) = urls.upload_url(&document.object, &file_name).await? {
        files.push(FileLink {
            index: None,
            kind: FileKind::Upload,
            url,
            file_name,
            media_type: document.media_type.map_or(UNKNOWN_MEDIA_TYPE, MediaType::as_str).to_owned(),
            expires_in_s: limits::READ_URL_LIFETIME.as_secs(),
        });
    }
    if let (DocumentState::Ready, Some(JobResult::Succeeded(job))) = (document.state, &document.result) {
        for (index, file) in job.files.iter().enumerate() {
            let file_name = nfc(&file.name);
            let key = keys::returned_file(&reference, index);
            let Some(url) = urls.returned_url(&key, &file_name).await? else { continue };
            files.push(FileLink {
                index: u32::try_from(index).ok(),
                kind: FileKind::Returned,
                url,
                file_name,
                media_type: file.media_type.clone(),
                expires_in_s: limits::READ_URL_LIFETIME.as_secs(),
            });
        }
    }
    if files.is_empty() { Err(ApiError::Expired) } else { Ok(Files { files }) }
}

const UNKNOWN_MEDIA_TYPE: &str = "application/octet-stream";

fn parse_submission_id(text: &str) -> Result<SubmissionId, ApiError> {
    SubmissionId::try_from(text.to_owned()).map_err(|_| ApiError::NotFound)
}

fn parse_document(submission_id: &str, document_id: &str) -> Result<DocumentRef, ApiError> {
    let id: DocumentId = document_id.parse().map_err(|_| ApiError::NotFound)?;
    // A UUID can be written in several ways, but a document has one path only.
    if id.to_string() != document_id {
        return Err(ApiError::NotFound);
    }
    Ok(DocumentRef { submission_id: parse_submission_id(submission_id)?, document_id: id })
}

/// The raw query of `GET /submissions`. Deserialisation refuses unknown parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only submissions in this [`SubmissionState`].
    #[serde(default)]
    pub state: Option<String>,
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
            ApiError::InvalidQuery("state must be InProgress, Ready or NeedsAttention.".to_owned())
        })
    }

    fn limit(&self) -> Result<usize, ApiError> {
        let Some(text) = self.limit.as_deref() else { return Ok(limits::DEFAULT_PAGE) };
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|limit| digits && (1..=limits::MAX_PAGE).contains(limit)).ok_or_else(|| {
            ApiError::InvalidQuery(format!("limit must be a number from 1 to {}.", limits::MAX_PAGE))
        })
    }

    fn cursor(&self) -> Result<Option<Cursor>, ApiError> {
        self.cursor.as_deref().map(cursor::decode).transpose()
    }
}

/// A page of submissions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SubmissionsPage {
    /// Newest first.
    pub submissions: Vec<SubmissionSummary>,
    /// Asks for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A submission in short. Superseded documents do not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SubmissionSummary {
    /// The submission's id.
    pub submission_id: SubmissionId,
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
    /// When its first document was registered.
    pub created_at: String,
}

impl From<Submission> for SubmissionSummary {
    fn from(submission: Submission) -> Self {
        Self {
            submission_id: submission.submission_id,
            state: submission.state,
            open: submission.counts.open,
            ready: submission.counts.ready,
            rejected: submission.counts.rejected,
            failed: submission.counts.failed,
            created_at: submission.created_at,
        }
    }
}

/// A submission with its documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SubmissionDetail {
    /// The submission.
    pub submission: SubmissionSummary,
    /// Its documents, oldest first.
    pub documents: Vec<DocumentSummary>,
}

/// A document's summary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DocumentSummary {
    /// The document's id.
    pub document_id: DocumentId,
    /// Its name for display, NFC.
    pub file_name: String,
    /// Its media type, if it was detected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
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
            size_bytes: document.size_bytes,
            state: document.state,
            reason: document.reason,
            times: document.times,
            superseded_by: document.superseded_by,
            is_withdrawn: document.is_withdrawn,
        }
    }
}

/// URLs of a document's files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Files {
    /// The upload first, if it still exists.
    pub files: Vec<FileLink>,
}

/// A file with its download URL. The URL is a bearer secret: anyone who has it can read the file until the URL expires.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileLink {
    /// Position of a returned file, as in the record's attachments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// Who made it.
    pub kind: FileKind,
    /// Its name for display and download, NFC.
    pub file_name: String,
    /// Its media type.
    pub media_type: String,
    /// The download URL.
    pub url: String,
    /// The lifetime of the URL in seconds.
    pub expires_in_s: u64,
}

impl std::fmt::Debug for FileLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileLink")
            .field("index", &self.index)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Who made a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum FileKind {
    /// The teacher.
    Upload,
    /// The third party.
    Returned,
}
