//! Uploading a pending file: in one request, or in parts that can be continued from anywhere.
//!
//! The bucket takes an object only by a request that one of these functions has signed, for the declared key, size, type, name
//! and owner. Only S3 knows which parts it has, so another device or a reloaded page continues an upload where it stopped.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use super::{ApiError, Backend, Caller, hand_in::pending, record};
use crate::{
    document::DocumentRef,
    ports::{
        AuditAction, Clock as _, HandIn as _, Load as _, PartToSign, PendingFile, SignUploads as _,
        SignedPart, Upload, UploadForm, UploadedPart,
    },
};

/// The largest file that is sent in one request.
const MAX_FORM_BYTES: u64 = 8 * 1024 * 1024;
/// The size of a part, unless the file is so large that it would have too many of them.
const PART_BYTES: u64 = 8 * 1024 * 1024;
/// The number of parts that S3 takes.
const MAX_PARTS: u64 = 10_000;
/// The number of parts that are signed at once.
const MAX_SIGNED_AT_ONCE: usize = 10;

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
    let (_, part_count) = parts_of(file.size_bytes);
    let Some(uploaded) = backend.uploads().parts(&file.key, multipart_id).await? else {
        // S3 forgets a multipart upload and its parts when it is completed, and also when S3 or an operator ends it.
        let is_completed = is_stored(backend, &file).await?;
        return is_completed
            .then_some(())
            .ok_or_else(|| ApiError::IncompleteUpload((1..=part_count).collect()));
    };
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

/// Whether the bucket has the object of a pending file.
async fn is_stored(backend: &impl Backend, file: &PendingFile) -> Result<bool, ApiError> {
    let newest = backend.uploads().newest_version(&file.key).await?;
    let Some(replaced) = file.replaces else { return Ok(newest.is_some()) };
    let reference = DocumentRef { submission_id: file.submission_id.clone(), document_id: replaced };
    let replaced = backend.store().load(&reference).await?;
    Ok(newest.is_some() && newest != replaced.map(|replaced| replaced.object.version_id))
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
