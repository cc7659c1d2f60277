//! S3: the bucket to which teachers upload, and the bucket with returned files and records.
//!
//! A file is never in memory as a whole. Files are read in ranges pinned to one version, and written in parts of
//! [`PART_BYTES`] that are hashed on the way.

mod returned;
mod sign;
mod submission;
mod uploads;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

pub use returned::ReturnedBucket;
pub use sign::UploadDesk;
pub(crate) use sign::bucket_url;
pub use submission::ObjectsOfSubmissions;
pub use uploads::UploadsBucket;

/// Size of a part of a multipart upload. At most two parts are in memory. The limit of 10,000 parts allows more than 78
/// GiB.
pub const PART_BYTES: usize = 8 * 1024 * 1024;
/// Size of one ranged read.
pub const RANGE_BYTES: u64 = 64 * 1024 * 1024;

/// Whether S3 says that there is no such object, version or, for a delete marker, no content.
fn is_missing<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    let status = error.raw_response().map(|response| response.status().as_u16());
    matches!(status, Some(404 | 405))
        || matches!(error.code(), Some("NotFound" | "NoSuchKey" | "NoSuchVersion" | "MethodNotAllowed"))
}
