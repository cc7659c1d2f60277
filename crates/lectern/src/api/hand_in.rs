//! Handing in: creating submissions, declaring files, replacing and removing them, withdrawing submissions.
//!
//! A teacher declares a file before it is uploaded ([`super::uploading`]). When the upload has arrived, receive-upload registers it
//! as a document, and the file is no longer pending.

use lectern_content::{FileType, MediaKind, MediaType};
use serde::{Deserialize, Serialize};

use super::{
    ApiError, Backend, Caller, Role, SubmissionDetail, changeable, parse_document, record,
    submissions::detail,
};
use crate::{
    display_text::Label,
    document::{
        Document, DocumentId, DocumentState, SubmissionId, UploadId, keys,
        submission::{Submission, SubmissionState},
    },
    erasure,
    error::{Error, StoreError, rfc3339},
    ports::{
        AuditAction, Clock as _, Declared, HandIn, Load, NewSubmission, PendingFile, Random as _, SignUploads,
    },
    record::nfc,
};

/// Length of a title in characters.
const MAX_TITLE_CHARS: usize = 200;
/// Length of a file's name in bytes.
const MAX_NAME_BYTES: usize = 255;

/// The body of `POST /v1/submissions`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateSubmission {
    /// What the teacher calls it, 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200)]
    pub title: String,
    /// The files that will be uploaded. More can be added at any time.
    #[serde(default)]
    pub files: Vec<AddFile>,
}

/// The declaration of a file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AddFile {
    /// Its name, whose extension says its type. 1 to 255 bytes.
    #[schema(min_length = 1, max_length = 255)]
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
}

/// A declared file whose upload has not arrived yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingFileView {
    /// Names the upload in the API's paths.
    #[schema(value_type = String)]
    pub file_id: UploadId,
    /// Its name for display, NFC.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// Its media type.
    #[schema(value_type = String)]
    pub media_type: MediaType,
    /// The kind of its media type.
    pub kind: MediaKind,
    /// When it was declared.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// The document whose file it replaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub replaces: Option<DocumentId>,
}

impl From<PendingFile> for PendingFileView {
    fn from(file: PendingFile) -> Self {
        Self {
            file_id: file.upload_id,
            name: nfc(&file.name),
            size_bytes: file.size_bytes,
            media_type: file.media_type,
            kind: file.media_type.kind(),
            created_at: file.created_at,
            replaces: file.replaces,
        }
    }
}

/// `POST /v1/submissions`: creates a submission.
///
/// # Errors
/// [`ApiError::QuotaExceeded`], [`ApiError::FileRefused`], [`ApiError::InvalidRequest`].
pub async fn create_submission(
    backend: &impl Backend,
    caller: &Caller,
    request: &CreateSubmission,
) -> Result<SubmissionDetail, ApiError> {
    caller.require(Role::Teacher)?;
    let title = title(&request.title)?;
    let quota = backend.quota();
    if request.files.len() as u64 > quota.max_files_per_submission {
        return Err(too_many_files(quota.max_files_per_submission));
    }
    let id = SubmissionId::try_from(format!("{:032x}", backend.random().bits()))
        .map_err(|_| Error::from(StoreError::defect("a submission's id could not be made")))?;
    let mut files = Vec::with_capacity(request.files.len());
    for file in &request.files {
        files.push(new_file(backend, &id, file)?);
    }
    let open = backend.store().open_work(caller.person(), quota.max_open_submissions).await?;
    if open.submissions >= quota.max_open_submissions {
        return Err(ApiError::QuotaExceeded(format!(
            "You have {} submissions whose files are not all ready, which is as many as one person may have. Upload, replace or \
             remove the files that are missing or not usable, withdraw a submission, or wait until one is ready.",
            open.submissions
        )));
    }
    check_bytes(open.bytes, files.iter().map(|file| file.size_bytes).sum(), quota.max_open_bytes)?;
    record(backend, caller, &id, AuditAction::CreateSubmission, None, None).await?;
    let now = backend.clock().now();
    let new = NewSubmission { submission_id: id, owner: caller.person().clone(), title, files, now };
    backend.store().create(&new).await?;
    let NewSubmission { submission_id, owner, title, files, .. } = new;
    let submission = Submission {
        owner: Some(owner),
        title: Some(title),
        ..Submission::new(submission_id, SubmissionState::Draft, rfc3339(now))
    };
    let mut created = detail(backend, caller, submission).await?;
    created.pending = files.into_iter().map(PendingFileView::from).collect();
    Ok(created)
}

/// `POST /v1/submissions/{submissionId}/files`: declares another file, also of a submission that is ready.
///
/// # Errors
/// [`ApiError::QuotaExceeded`], [`ApiError::FileRefused`].
pub async fn add_file(
    backend: &impl Backend,
    caller: &Caller,
    submission_id: &str,
    request: &AddFile,
) -> Result<PendingFileView, ApiError> {
    let submission = changeable(backend, caller, submission_id).await?;
    let file = new_file(backend, &submission.submission_id, request)?;
    declare(backend, caller, &submission, file, AuditAction::AddFile).await
}

/// `POST /v1/submissions/{submissionId}/documents/{documentId}/replace`: declares a newer version of an uploaded file.
///
/// # Errors
/// [`ApiError::OtherType`], [`ApiError::Superseded`], and those of [`add_file`].
pub async fn replace_document(
    backend: &impl Backend,
    caller: &Caller,
    submission_id: &str,
    document_id: &str,
    request: &AddFile,
) -> Result<PendingFileView, ApiError> {
    let (submission, replaced) = current_document(backend, caller, submission_id, document_id).await?;
    let mut file = new_file(backend, &submission.submission_id, request)?;
    let extension = |key: &str| key.rsplit('.').next().map(str::to_owned);
    if extension(&replaced.object.key) != extension(&file.key) {
        return Err(ApiError::OtherType);
    }
    file.key.clone_from(&replaced.object.key);
    file.replaces = Some(replaced.reference.document_id);
    declare(backend, caller, &submission, file, AuditAction::ReplaceFile).await
}

/// `DELETE /v1/submissions/{submissionId}/documents/{documentId}`: deletes an uploaded file that was rejected or has failed.
///
/// # Errors
/// [`ApiError::FileInUse`] for any other file, [`ApiError::Superseded`].
pub async fn remove_document(
    backend: &impl Backend,
    caller: &Caller,
    submission_id: &str,
    document_id: &str,
) -> Result<(), ApiError> {
    let (submission, document) = current_document(backend, caller, submission_id, document_id).await?;
    if !matches!(document.state, DocumentState::Rejected | DocumentState::Failed) {
        return Err(ApiError::FileInUse);
    }
    let document_id = document.reference.document_id;
    record(backend, caller, &submission.submission_id, AuditAction::RemoveFile, Some(document_id), None)
        .await?;
    // The event of the deletion withdraws the document.
    if backend.uploads().delete(&document.object).await? { Ok(()) } else { Err(ApiError::Superseded) }
}

/// `DELETE /v1/submissions/{submissionId}/files/{fileId}`: forgets a pending file and ends its upload.
pub async fn remove_file(
    backend: &impl Backend,
    caller: &Caller,
    submission_id: &str,
    file_id: &str,
) -> Result<(), ApiError> {
    let file = pending(backend, caller, submission_id, file_id).await?;
    record(backend, caller, &file.submission_id, AuditAction::RemoveFile, None, Some(file.upload_id)).await?;
    if let Some(multipart_id) = &file.multipart_id {
        backend.uploads().abort(&file.key, multipart_id).await?;
    }
    Ok(backend.store().forget(&file).await?)
}

/// `DELETE /v1/submissions/{submissionId}`: withdraws a submission. From now on it does not exist for anybody, and everything
/// that belongs to it is erased.
pub async fn withdraw_submission(
    backend: &impl Backend,
    caller: &Caller,
    submission_id: &str,
) -> Result<(), ApiError> {
    let submission = changeable(backend, caller, submission_id).await?;
    record(backend, caller, &submission.submission_id, AuditAction::Withdraw, None, None).await?;
    let (store, state_machine, clock) = (backend.store(), backend.erasures(), backend.clock());
    Ok(erasure::Begin { store, state_machine, clock }.handle(&submission.submission_id).await?)
}

async fn declare(
    backend: &impl Backend,
    caller: &Caller,
    submission: &Submission,
    file: PendingFile,
    action: AuditAction,
) -> Result<PendingFileView, ApiError> {
    let quota = backend.quota();
    let open = backend.store().open_work(caller.person(), quota.max_open_submissions).await?;
    // A submission that was ready is open again when the file arrives.
    let reopened =
        if SubmissionState::OPEN.contains(&submission.state) { 0 } else { submission.declared_bytes };
    check_bytes(open.bytes.saturating_add(reopened), file.size_bytes, quota.max_open_bytes)?;
    record(backend, caller, &file.submission_id, action, file.replaces, Some(file.upload_id)).await?;
    let max_files = quota.max_files_per_submission;
    match backend.store().declare(&file, caller.person(), max_files, backend.clock().now()).await? {
        Declared::Pending => Ok(file.into()),
        Declared::TooManyFiles => Err(too_many_files(max_files)),
        Declared::Unknown => Err(ApiError::NotFound),
    }
}

/// A document that the caller may change, and that is its file's newest version.
async fn current_document(
    backend: &impl Backend,
    caller: &Caller,
    submission_id: &str,
    document_id: &str,
) -> Result<(Submission, Document), ApiError> {
    let submission = changeable(backend, caller, submission_id).await?;
    let reference = parse_document(&submission, document_id)?;
    let document = backend.store().load(&reference).await?.ok_or(ApiError::NotFound)?;
    if document.is_counted() { Ok((submission, document)) } else { Err(ApiError::Superseded) }
}

/// A pending file that the caller may change.
pub(super) async fn pending(
    backend: &impl Backend,
    caller: &Caller,
    submission_id: &str,
    file_id: &str,
) -> Result<PendingFile, ApiError> {
    let submission = changeable(backend, caller, submission_id).await?;
    let upload: UploadId = file_id.parse().map_err(|_| ApiError::NotFound)?;
    let file = backend.store().pending_file(&submission.submission_id, &upload).await?;
    file.ok_or(ApiError::NotFound)
}

fn new_file(
    backend: &impl Backend,
    submission: &SubmissionId,
    file: &AddFile,
) -> Result<PendingFile, ApiError> {
    let name = Label::new(&file.name).or("");
    if name.is_empty() || file.name.len() > MAX_NAME_BYTES {
        return Err(ApiError::InvalidRequest(format!(
            "A file's name must have 1 to {MAX_NAME_BYTES} bytes."
        )));
    }
    let row = FileType::of_file_name(&name);
    let Some(media_type) = row.and_then(|row| row.accepted) else {
        let advice = row.and_then(|row| row.advice).map_or_else(FileType::advice_for_unknown, str::to_owned);
        return Err(ApiError::FileRefused(format!("{name}: {advice}")));
    };
    if file.size_bytes == 0 {
        return Err(ApiError::FileRefused(format!("{name}: The file is empty.")));
    }
    let max_bytes = backend.quota().max_file_bytes;
    if file.size_bytes > max_bytes {
        return Err(ApiError::FileRefused(format!(
            "{name}: The file is larger than {}. Upload a smaller one.",
            size(max_bytes)
        )));
    }
    let upload_id = UploadId::new(backend.random().bits());
    Ok(PendingFile {
        submission_id: submission.clone(),
        upload_id,
        key: keys::upload(submission, upload_id, media_type),
        name,
        size_bytes: file.size_bytes,
        media_type,
        created_at: rfc3339(backend.clock().now()),
        replaces: None,
        multipart_id: None,
    })
}

fn title(text: &str) -> Result<Label, ApiError> {
    let title = Label::new(text.trim()).or("");
    if title.is_empty() || title.chars().count() > MAX_TITLE_CHARS {
        return Err(ApiError::InvalidRequest(format!("title must have 1 to {MAX_TITLE_CHARS} characters.")));
    }
    Ok(title)
}

fn too_many_files(max: u64) -> ApiError {
    ApiError::QuotaExceeded(format!(
        "A submission may have {max} files, replacements included. Create another submission for the others."
    ))
}

fn check_bytes(open: u64, more: u64, max: u64) -> Result<(), ApiError> {
    if open.saturating_add(more) <= max {
        return Ok(());
    }
    Err(ApiError::QuotaExceeded(format!(
        "The files of your submissions that are not all ready may have {} together, and they have {} already. Remove files that \
         are not usable, wait until a submission is ready, or withdraw one.",
        size(max),
        size(open)
    )))
}

/// A size for people, such as `214.7 GB`.
fn size(bytes: u64) -> String {
    let (divisor, unit) = match bytes {
        0..1_000 => return format!("{bytes} bytes"),
        1_000..1_000_000 => (1_000, "kB"),
        1_000_000..1_000_000_000 => (1_000_000, "MB"),
        _ => (1_000_000_000, "GB"),
    };
    format!("{}.{} {unit}", bytes / divisor, bytes % divisor * 10 / divisor)
}
