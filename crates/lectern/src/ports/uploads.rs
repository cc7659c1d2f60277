//! The bucket of uploads.

use std::{future::Future, ops::Range};

use bytes::Bytes;

use super::ByteStream;
use crate::{
    document::metadata::{FileName, Owner},
    document::{ObjectVersion, UploadId},
    error::Error,
};

/// The metadata of an object, from `HEAD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectHead {
    /// Its version.
    pub version_id: String,
    /// Its size.
    pub size_bytes: u64,
    /// The `Content-Type` that the uploader declared.
    pub content_type: Option<String>,
    /// Its owner, if its metadata names a valid one.
    pub owner: Option<Owner>,
    /// What the teacher calls the file, if its metadata says so.
    pub name: Option<FileName>,
    /// The upload that the API has handed out, if its metadata names one.
    pub upload: Option<UploadId>,
    /// What may prevent reading it.
    pub protection: Protection,
}

/// What an uploader did to an object that may prevent reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protection {
    /// Nothing.
    #[default]
    None,
    /// It is in an archive class of S3 and would have to be restored first.
    Archived,
    /// It is encrypted with a key that every reader has to send (SSE-C). Its size is unknown.
    CustomerKey,
    /// It is encrypted with a key of KMS, which Lectern may not be allowed to use.
    KmsKey,
}

/// The bucket of uploads.
pub trait Uploads: Send + Sync {
    /// Facts of one version, `None` if that version is gone.
    fn head(&self, object: &ObjectVersion) -> impl Future<Output = Result<Option<ObjectHead>, Error>> + Send;

    /// The version that a reader of the key gets now, `None` if there is none or a delete marker.
    fn current_version(
        &self,
        object: &ObjectVersion,
    ) -> impl Future<Output = Result<Option<String>, Error>> + Send;

    /// These bytes of one version; fewer if the object ends before the range does. An error if the object has none of
    /// them, or the version is gone.
    fn read(
        &self,
        object: &ObjectVersion,
        range: Range<u64>,
    ) -> impl Future<Output = Result<Bytes, Error>> + Send;
}

/// What the malware scanner says about one version of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanStatus {
    /// Nothing yet.
    Pending,
    /// The version no longer exists.
    Gone,
    /// It found nothing.
    Clean,
    /// It found malware.
    Threats,
    /// It cannot look into such a file.
    Unsupported,
    /// It could not read the file, or the scan failed.
    Failed,
}

impl ScanStatus {
    /// The tag with which `GuardDuty` marks each version that it has scanned
    /// (<https://docs.aws.amazon.com/guardduty/latest/ug/monitor-enable-s3-object-tagging-malware-protection.html>).
    pub const TAG: &str = "GuardDutyMalwareScanStatus";

    /// The status of a version with this value of [`Self::TAG`], if it has the tag.
    pub fn of_tag(value: Option<&str>) -> Self {
        match value {
            None => Self::Pending,
            Some("NO_THREATS_FOUND") => Self::Clean,
            Some("THREATS_FOUND") => Self::Threats,
            Some("UNSUPPORTED") => Self::Unsupported,
            // ACCESS_DENIED, FAILED, and what GuardDuty may add.
            Some(_) => Self::Failed,
        }
    }
}

/// The results of the malware scanner.
pub trait ScanResults: Send + Sync {
    /// The status of one version.
    fn scan_status(&self, object: &ObjectVersion) -> impl Future<Output = Result<ScanStatus, Error>> + Send;
}

/// Reading one version of an upload for the third party.
pub trait UploadReader: Send + Sync {
    /// The whole object, in ranged reads pinned to the version, at constant memory. The body ends with an error if the
    /// version is gone or does not have this size.
    fn open(
        &self,
        object: &ObjectVersion,
        size_bytes: u64,
    ) -> impl Future<Output = Result<ByteStream, Error>> + Send;

    /// A URL that anyone may read the version from, for [`crate::limits::PULL_URL_LIFETIME`].
    fn presign(&self, object: &ObjectVersion) -> impl Future<Output = Result<String, Error>> + Send;
}
