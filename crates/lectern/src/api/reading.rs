//! A document's record, and URLs of its files.

use lectern_content::{MediaKind, MediaType};
use serde::Serialize;

use super::{ApiError, Backend, Caller, parse_document, readable, record};
use crate::{
    document::{Document, DocumentState, JobResult, keys},
    limits,
    ports::{AuditAction, Load, ReadUrls, Records, Shown},
    record::Record,
    safe_file::SafeFile,
};

/// `GET /v1/submissions/{submissionId}/documents/{documentId}/record`: the record, once the document is `Ready`.
///
/// # Errors
/// [`ApiError::Expired`] if the record's retention has ended.
pub async fn read_record(
    backend: &impl Backend,
    caller: &Caller,
    submission_id: &str,
    document_id: &str,
) -> Result<Record, ApiError> {
    let document = document(backend, caller, submission_id, document_id, AuditAction::ReadRecord).await?;
    let key = document.record_key.ok_or(ApiError::NotFound)?;
    let json = backend.files().get_record(&key).await?.ok_or(ApiError::Expired)?;
    Ok(Record::from_json(&json)?)
}

/// `GET /v1/submissions/{submissionId}/documents/{documentId}/files`: short-lived URLs of the upload, unless it was rejected
/// (S02), and, once the document is `Ready`, of the returned files, which are all verified by then. Files whose retention has
/// ended are left out.
///
/// # Errors
/// [`ApiError::NotFound`] for a rejected upload, [`ApiError::Expired`] if no file is left.
pub async fn file_urls(
    backend: &impl Backend,
    caller: &Caller,
    submission_id: &str,
    document_id: &str,
) -> Result<Files, ApiError> {
    let document = document(backend, caller, submission_id, document_id, AuditAction::GetFileUrls).await?;
    if document.state == DocumentState::Rejected {
        return Err(ApiError::NotFound);
    }
    let is_owner = document.owner.as_ref() == Some(caller.person());
    let mut files: Vec<FileLink> = uploaded(backend, &document, is_owner).await?.into_iter().collect();
    if let (DocumentState::Ready, Some(JobResult::Succeeded(job))) = (document.state, &document.result) {
        for (index, file) in job.files.iter().enumerate() {
            let safe = SafeFile::returned(&file.name, &file.media_type);
            let key = keys::returned_file(&document.reference, index);
            let Some(url) = backend.files().returned_url(&key, &safe.name).await? else { continue };
            files.push(FileLink {
                index: u32::try_from(index).ok(),
                source: FileSource::Returned,
                url,
                inline_url: None,
                file_name: safe.name,
                media_type: safe.media_type.to_owned(),
                expires_in_s: limits::READ_URL_LIFETIME.as_secs(),
            });
        }
    }
    if files.is_empty() { Err(ApiError::Expired) } else { Ok(Files { files }) }
}

/// The document that the caller may read. Records the action.
async fn document(
    backend: &impl Backend,
    caller: &Caller,
    submission_id: &str,
    document_id: &str,
    action: AuditAction,
) -> Result<Document, ApiError> {
    let submission = readable(backend, caller, submission_id).await?;
    let reference = parse_document(&submission, document_id)?;
    let document = backend.store().load(&reference).await?.ok_or(ApiError::NotFound)?;
    record(backend, caller, &reference.submission_id, action, Some(reference.document_id), None).await?;
    Ok(document)
}

async fn uploaded(
    backend: &impl Backend,
    document: &Document,
    is_owner: bool,
) -> Result<Option<FileLink>, ApiError> {
    let media_type = document.media_type;
    let safe = SafeFile::uploaded(&document.display_name(), media_type);
    // A name that the teacher chose may name the teacher, so a reader downloads the file under a neutral one.
    let download_name = if is_owner { safe.name.clone() } else { neutral_name(document) };
    let Some(url) = backend.files().upload_url(&document.object, Shown::Download(&download_name)).await?
    else {
        return Ok(None);
    };
    let inline_url = match media_type {
        Some(media_type) if is_shown_inline(media_type) => {
            backend.files().upload_url(&document.object, Shown::Inline(media_type.as_str())).await?
        }
        Some(_) | None => None,
    };
    Ok(Some(FileLink {
        index: None,
        source: FileSource::Upload,
        url,
        inline_url,
        file_name: safe.name,
        media_type: safe.media_type.to_owned(),
        expires_in_s: limits::READ_URL_LIFETIME.as_secs(),
    }))
}

/// Whether a page shows the file itself. Documents are shown by their text.
fn is_shown_inline(media_type: MediaType) -> bool {
    matches!(media_type.kind(), MediaKind::Video | MediaKind::Audio | MediaKind::Picture)
}

/// A name that says nothing about the teacher, such as `document-6f1c4c1e.pdf`.
fn neutral_name(document: &Document) -> String {
    let kind = document.media_type.map_or("file", |media_type| media_type.kind().as_str());
    let id = document.reference.document_id.to_string();
    let short = id.split('-').next().unwrap_or_default();
    let usual = document.media_type.and_then(|media_type| media_type.file_type().extensions.first());
    format!("{kind}-{short}.{}", usual.unwrap_or(&"bin"))
}

/// URLs of a document's files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Files {
    /// The upload first, if it still exists.
    pub files: Vec<FileLink>,
}

/// A file with its URLs. A URL is a bearer secret: anyone who has it can read the file until the URL expires.
#[derive(Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileLink {
    /// Position of a returned file, as in the record's attachments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// Who made it.
    #[serde(rename = "kind")]
    pub source: FileSource,
    /// Its name for display, NFC. Its extension is one of the verified media type.
    pub file_name: String,
    /// Its verified media type, or `application/octet-stream` if it is none that Lectern vouches for.
    pub media_type: String,
    /// Downloads the file.
    pub url: String,
    /// Shows the file in a page; only of an uploaded video, sound or picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inline_url: Option<String>,
    /// The lifetime of the URLs in seconds.
    pub expires_in_s: u64,
}

impl std::fmt::Debug for FileLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileLink")
            .field("index", &self.index)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// Who made a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum FileSource {
    /// The teacher.
    Upload,
    /// The third party.
    Returned,
}
