//! Handing in: creating submissions, declaring files and uploading them, replacing and withdrawing.
//!
//! The bucket takes an object only by a request that one of these functions has signed, for the declared key, size, type, name
//! and owner. A file of up to [`MAX_FORM_BYTES`] is sent in one request, a larger one in parts. What was sent is known by S3
//! and by nobody else, so an upload can be continued from anywhere.

use base64::{Engine as _, engine::general_purpose::STANDARD};
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
        AuditAction, Clock as _, Declared, HandIn, Load, NewSubmission, PartToSign, PendingFile, Random as _,
        SignUploads, SignedPart, Upload, UploadForm, UploadedPart,
    },
    record::nfc,
};

/// The largest file that is sent in one request.
const MAX_FORM_BYTES: u64 = 8 * 1024 * 1024;
/// The size of a part, unless the file is so large that it would have too many of them.
const PART_BYTES: u64 = 8 * 1024 * 1024;
/// The number of parts that S3 takes.
const MAX_PARTS: u64 = 10_000;
/// The number of parts that are signed at once.
const MAX_SIGNED_AT_ONCE: usize = 10;
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

/// The body of `POST /v1/submissions/{submissionId}/files/{fileId}/upload`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BeginUpload {
    /// The SHA-256 of a file that is sent in one request, in base64. S3 then refuses a file that does not match.
    #[serde(default)]
    pub checksum_sha256: Option<String>,
}

/// How to send a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(tag = "method", rename_all = "camelCase")]
pub enum UploadPlan {
    /// In one request.
    Post(UploadForm),
    /// In parts of this size; the last one may be smaller.
    #[serde(rename_all = "camelCase")]
    Parts {
        /// The size of each part but the last.
        part_size_bytes: u64,
        /// The number of parts.
        part_count: u32,
        /// The parts that S3 has already.
        uploaded: Vec<UploadedPart>,
    },
}

/// The body of `POST /v1/submissions/{submissionId}/files/{fileId}/parts`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignParts {
    /// 1 to 10 parts that are about to be sent.
    #[schema(min_items = 1, max_items = 10)]
    pub parts: Vec<PartRequest>,
}

/// A part that is about to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PartRequest {
    /// Counted from 1.
    #[schema(minimum = 1)]
    pub part_number: u32,
    /// Its SHA-256, in base64.
    pub checksum_sha256: String,
}

/// Requests that upload parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SignedParts {
    /// In the order of the request.
    pub parts: Vec<SignedPart>,
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
            "You have {} submissions that are not finished, which is as many as one person may have. Finish or withdraw one, \
             or wait until one is ready.",
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
    declare(backend, caller, file, AuditAction::AddFile).await
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
    declare(backend, caller, file, AuditAction::ReplaceFile).await
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

/// `POST /v1/submissions/{submissionId}/files/{fileId}/upload`: begins or continues the upload of a pending file.
pub async fn begin_upload(
    backend: &impl Backend,
    caller: &Caller,
    submission_id: &str,
    file_id: &str,
    request: &BeginUpload,
) -> Result<UploadPlan, ApiError> {
    let file = pending(backend, caller, submission_id, file_id).await?;
    let upload = Upload { file: &file, owner: caller.person() };
    if file.size_bytes <= MAX_FORM_BYTES {
        let checksum = request.checksum_sha256.as_deref().map(checksum).transpose()?;
        return Ok(UploadPlan::Post(backend.uploads().form(&upload, checksum, backend.clock().now()).await?));
    }
    let (part_size_bytes, part_count) = parts_of(file.size_bytes);
    let uploaded = match &file.multipart_id {
        Some(multipart_id) => backend.uploads().parts(&file.key, multipart_id).await?,
        None => None,
    };
    let uploaded = if let Some(uploaded) = uploaded {
        uploaded
    } else {
        let begun = backend.uploads().begin(&upload).await?;
        let stored = backend.store().begin_parts(&file, &begun).await?.ok_or(ApiError::NotFound)?;
        if stored == begun {
            Vec::new()
        } else {
            // Another request has begun the upload at the same time.
            backend.uploads().abort(&file.key, &begun).await?;
            backend.uploads().parts(&file.key, &stored).await?.unwrap_or_default()
        }
    };
    Ok(UploadPlan::Parts { part_size_bytes, part_count, uploaded })
}

/// `POST /v1/submissions/{submissionId}/files/{fileId}/parts`: signs parts.
///
/// # Errors
/// [`ApiError::InvalidRequest`] if the file has no such part. [`ApiError::NotFound`] if the upload has not begun.
pub async fn sign_parts(
    backend: &impl Backend,
    caller: &Caller,
    submission_id: &str,
    file_id: &str,
    request: &SignParts,
) -> Result<SignedParts, ApiError> {
    let file = pending(backend, caller, submission_id, file_id).await?;
    let multipart_id = file.multipart_id.as_deref().ok_or(ApiError::NotFound)?;
    if !(1..=MAX_SIGNED_AT_ONCE).contains(&request.parts.len()) {
        return Err(ApiError::InvalidRequest(format!("parts must have 1 to {MAX_SIGNED_AT_ONCE} items.")));
    }
    let mut parts = Vec::with_capacity(request.parts.len());
    for part in &request.parts {
        let size_bytes = part_size(file.size_bytes, part.part_number)
            .ok_or_else(|| ApiError::InvalidRequest(format!("The file has no part {}.", part.part_number)))?;
        let checksum_sha256 = checksum(&part.checksum_sha256)?.to_owned();
        let part = PartToSign { part_number: part.part_number, size_bytes, checksum_sha256 };
        parts.push(backend.uploads().sign_part(&file.key, multipart_id, &part).await?);
    }
    Ok(SignedParts { parts })
}

/// `POST /v1/submissions/{submissionId}/files/{fileId}/complete`: makes the object of its parts. Calling it again changes
/// nothing.
///
/// # Errors
/// [`ApiError::IncompleteUpload`] with the parts that S3 lacks. [`ApiError::NotFound`] also if the upload has been registered
/// since: then the submission has its document.
pub async fn complete_upload(
    backend: &impl Backend,
    caller: &Caller,
    submission_id: &str,
    file_id: &str,
) -> Result<(), ApiError> {
    let file = pending(backend, caller, submission_id, file_id).await?;
    let multipart_id = file.multipart_id.as_deref().ok_or(ApiError::NotFound)?;
    // After a completion, S3 knows neither the multipart upload nor its parts.
    let Some(uploaded) = backend.uploads().parts(&file.key, multipart_id).await? else { return Ok(()) };
    let (_, part_count) = parts_of(file.size_bytes);
    let is_whole = |number: &u32| {
        let size = part_size(file.size_bytes, *number);
        uploaded.iter().any(|part| part.part_number == *number && Some(part.size_bytes) == size)
    };
    let missing: Vec<u32> = (1..=part_count).filter(|number| !is_whole(number)).collect();
    if !missing.is_empty() {
        return Err(ApiError::IncompleteUpload(missing));
    }
    record(backend, caller, &file.submission_id, AuditAction::CompleteUpload, None, Some(file.upload_id))
        .await?;
    Ok(backend.uploads().complete(&file.key, multipart_id, &uploaded).await?)
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
    file: PendingFile,
    action: AuditAction,
) -> Result<PendingFileView, ApiError> {
    let quota = backend.quota();
    let open = backend.store().open_work(caller.person(), quota.max_open_submissions).await?;
    check_bytes(open.bytes, file.size_bytes, quota.max_open_bytes)?;
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

async fn pending(
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
            "{name}: The file is larger than {max_bytes} bytes. Upload a smaller one."
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
        "The files of your unfinished submissions may have {max} bytes together, and they have {open} already. Wait until one is \
         ready, or withdraw one."
    )))
}

/// A SHA-256 in base64.
fn checksum(text: &str) -> Result<&str, ApiError> {
    let is_sha256 = STANDARD.decode(text).is_ok_and(|bytes| bytes.len() == 32);
    let invalid = || ApiError::InvalidRequest("checksumSha256 must be the base64 of 32 bytes.".to_owned());
    is_sha256.then_some(text).ok_or_else(invalid)
}

/// The size of a file's parts, and their number.
fn parts_of(size_bytes: u64) -> (u64, u32) {
    let part_size = size_bytes.div_ceil(MAX_PARTS).max(PART_BYTES);
    (part_size, u32::try_from(size_bytes.div_ceil(part_size)).unwrap_or(u32::MAX))
}

/// The size of one part; `None` if the file has no such part.
fn part_size(size_bytes: u64, number: u32) -> Option<u64> {
    let (part_size, _) = parts_of(size_bytes);
    let start = u64::from(number.checked_sub(1)?).checked_mul(part_size)?;
    (start < size_bytes).then(|| part_size.min(size_bytes - start))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_cover_a_file_of_any_size(size_bytes in 1..5 * 1024_u64.pow(4)) {
            let (part_size_bytes, count) = parts_of(size_bytes);
            prop_assert!(u64::from(count) <= MAX_PARTS && part_size_bytes >= PART_BYTES);
            let last = part_size(size_bytes, count).unwrap();
            prop_assert_eq!(u64::from(count - 1) * part_size_bytes + last, size_bytes);
            prop_assert_eq!(part_size(size_bytes, count + 1), None);
            prop_assert_eq!(part_size(size_bytes, 0), None);
        }
    }
}
