//! What teachers hand in through the API: submissions, and files that are declared before they are uploaded.

use std::{collections::BTreeMap, future::Future};

use lectern_content::MediaType;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{
    display_text::Label,
    document::{DocumentId, ObjectVersion, Owner, SubmissionId, UploadId},
    error::Error,
};

/// A file that a teacher has declared, and whose upload has not been registered as a document yet. The store deletes it when
/// the upload is registered, or some days later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingFile {
    /// The submission.
    pub submission_id: SubmissionId,
    /// Names the upload.
    pub upload_id: UploadId,
    /// The object's key. That of a new file contains [`Self::upload_id`]; a replacement has the key of the file that it replaces.
    pub key: String,
    /// What the teacher calls the file.
    pub name: Label,
    /// Its size, which the upload must have.
    pub size_bytes: u64,
    /// Its type, from its name.
    pub media_type: MediaType,
    /// When it was declared, RFC 3339.
    pub created_at: String,
    /// The document whose file it replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<DocumentId>,
    /// S3's id of the multipart upload, once it has begun. Files that are sent in one request have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multipart_id: Option<String>,
}

/// A submission to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSubmission {
    /// Its id, which the API chooses.
    pub submission_id: SubmissionId,
    /// The teacher.
    pub owner: Owner,
    /// What the teacher calls it.
    pub title: Label,
    /// The files that are declared with it.
    pub files: Vec<PendingFile>,
    /// Now.
    pub now: OffsetDateTime,
}

/// How much a teacher has open at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenWork {
    /// Submissions that are `Draft` or `InProgress`.
    pub submissions: u64,
    /// The declared bytes of these submissions.
    pub bytes: u64,
}

/// The outcome of declaring a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declared {
    /// It is declared.
    Pending,
    /// The submission has as many files as it may have.
    TooManyFiles,
    /// The submission does not exist, is erased, or is another teacher's.
    Unknown,
}

/// The store's part for handing in.
pub trait HandIn: Send + Sync {
    /// Creates a submission as a `Draft`, with its files, in one write.
    ///
    /// # Errors
    /// [`Conflict`](crate::error::StoreError::Conflict) if there is a submission of this id.
    fn create(&self, new: &NewSubmission) -> impl Future<Output = Result<(), Error>> + Send;

    /// How much a teacher has open. At most `max` submissions are looked at. A submission that was created a moment ago may
    /// be missing.
    fn open_work(&self, owner: &Owner, max: u64) -> impl Future<Output = Result<OpenWork, Error>> + Send;

    /// Declares another file of a teacher's submission, which has at most `max_files` afterwards.
    fn declare(
        &self,
        file: &PendingFile,
        owner: &Owner,
        max_files: u64,
        now: OffsetDateTime,
    ) -> impl Future<Output = Result<Declared, Error>> + Send;

    /// The pending files of a submission, oldest first.
    fn pending(
        &self,
        submission: &SubmissionId,
    ) -> impl Future<Output = Result<Vec<PendingFile>, Error>> + Send;

    /// One pending file.
    fn pending_file(
        &self,
        submission: &SubmissionId,
        upload: &UploadId,
    ) -> impl Future<Output = Result<Option<PendingFile>, Error>> + Send;

    /// Stores S3's id of a multipart upload, unless one is stored already or the file is not pending any more. Returns the
    /// stored id.
    fn begin_parts(
        &self,
        file: &PendingFile,
        multipart_id: &str,
    ) -> impl Future<Output = Result<Option<String>, Error>> + Send;

    /// Forgets a pending file and takes it off the submission's counts of declared files and bytes.
    fn forget(&self, file: &PendingFile) -> impl Future<Output = Result<(), Error>> + Send;
}

/// An object that a person may upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload<'u> {
    /// The declared file.
    pub file: &'u PendingFile,
    /// The teacher.
    pub owner: &'u Owner,
}

/// A form that uploads one object in one request: an HTTP POST of `multipart/form-data` with these fields, followed by the
/// file in the field `file`. It is a bearer secret.
#[derive(Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UploadForm {
    /// Where the form is sent to.
    pub url: String,
    /// The fields before the file.
    pub fields: BTreeMap<String, String>,
    /// How long the form can be sent, in seconds.
    pub expires_in_s: u64,
}

impl std::fmt::Debug for UploadForm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UploadForm").field("expires_in_s", &self.expires_in_s).finish_non_exhaustive()
    }
}

/// A request that uploads one part: an HTTP PUT with exactly these headers. It is a bearer secret.
#[derive(Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignedPart {
    /// Counted from 1.
    pub part_number: u32,
    /// Where the part is sent to.
    pub url: String,
    /// The headers that the signature covers.
    pub headers: BTreeMap<String, String>,
    /// How long the request can begin, in seconds.
    pub expires_in_s: u64,
}

impl std::fmt::Debug for SignedPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedPart").field("part_number", &self.part_number).finish_non_exhaustive()
    }
}

/// A part to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartToSign {
    /// Counted from 1.
    pub part_number: u32,
    /// Its size.
    pub size_bytes: u64,
    /// Its SHA-256, in base64. S3 refuses a part that does not match.
    pub checksum_sha256: String,
}

/// A part that S3 has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UploadedPart {
    /// Counted from 1.
    pub part_number: u32,
    /// Its size.
    pub size_bytes: u64,
    /// Its SHA-256, in base64.
    #[serde(rename = "checksumSha256")]
    pub checksum_sha256: String,
    /// S3's `ETag` of the part.
    #[serde(skip)]
    pub tag: String,
}

/// The uploads bucket's part for handing in: requests that a person sends to the bucket, signed by the API.
pub trait SignUploads: Send + Sync {
    /// A form that uploads exactly this object: its key, size, type, name and owner, and the SHA-256 in base64, if it is given.
    fn form(
        &self,
        upload: &Upload<'_>,
        checksum_sha256: Option<&str>,
        now: OffsetDateTime,
    ) -> impl Future<Output = Result<UploadForm, Error>> + Send;

    /// Begins a multipart upload of this object and returns S3's id.
    fn begin(&self, upload: &Upload<'_>) -> impl Future<Output = Result<String, Error>> + Send;

    /// The parts that S3 has, by number; `None` if there is no such multipart upload (any more).
    fn parts(
        &self,
        key: &str,
        multipart_id: &str,
    ) -> impl Future<Output = Result<Option<Vec<UploadedPart>>, Error>> + Send;

    /// Signs the upload of one part.
    fn sign_part(
        &self,
        key: &str,
        multipart_id: &str,
        part: &PartToSign,
    ) -> impl Future<Output = Result<SignedPart, Error>> + Send;

    /// Makes the object of these parts.
    fn complete(
        &self,
        key: &str,
        multipart_id: &str,
        parts: &[UploadedPart],
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// The newest version of the object with this key; `None` if there is no such object.
    fn newest_version(&self, key: &str) -> impl Future<Output = Result<Option<String>, Error>> + Send;

    /// Ends a multipart upload without an object. No error if there is none.
    fn abort(&self, key: &str, multipart_id: &str) -> impl Future<Output = Result<(), Error>> + Send;

    /// Deletes the newest version of an object, if it is this one. `false` if it is another one.
    fn delete(&self, object: &ObjectVersion) -> impl Future<Output = Result<bool, Error>> + Send;
}
