//! S3: the bucket that teachers upload to, and the bucket of what the third party returned.
//!
//! A file is never held in memory. Reading goes in ranges pinned to one version; writing goes in parts of
//! [`PART_BYTES`], hashed as they pass.

mod returned;
mod uploads;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

pub use returned::ReturnedBucket;
pub use uploads::UploadsBucket;

/// Size of a part of a multipart upload. Two are in memory at most. 10,000 parts of it hold more than 78 GiB.
pub const PART_BYTES: usize = 8 * 1024 * 1024;
/// Size of one ranged read.
pub const RANGE_BYTES: u64 = 64 * 1024 * 1024;

/// Whether S3 says that there is no such object, version or, for a delete marker, no content.
fn is_missing<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    let status = error.raw_response().map(|response| response.status().as_u16());
    matches!(status, Some(404 | 405))
        || matches!(error.code(), Some("NotFound" | "NoSuchKey" | "NoSuchVersion" | "MethodNotAllowed"))
}
