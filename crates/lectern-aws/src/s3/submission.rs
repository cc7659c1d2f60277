//! All objects of a submission, in both buckets: counted by the command `lectern erase`, and erased by the command and by
//! the function `erase-submission`.

use aws_sdk_s3::{Client, types::EncodingType};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lectern::{
    document::{SubmissionId, keys},
    error::{Error, StoreError},
    ports::{ErasedObjects, SubmissionObjects},
};
use percent_encoding::percent_decode_str;

use crate::error::failed;

/// Concurrent deletions.
const AT_A_TIME: usize = 10;

/// The objects of submissions in the buckets of one stack.
#[derive(Clone, Debug)]
pub struct ObjectsOfSubmissions {
    client: Client,
    uploads: String,
    returned: String,
}

/// A page of versions, and where the next one starts.
struct Page {
    /// Key and version id.
    versions: Vec<(String, String)>,
    next: Option<(String, Option<String>)>,
}

impl ObjectsOfSubmissions {
    /// The objects in these two buckets.
    pub fn new(client: Client, uploads: String, returned: String) -> Self {
        Self { client, uploads, returned }
    }

    /// Each bucket with a prefix of the submission's objects.
    fn places(&self, id: &SubmissionId) -> Vec<(&str, String)> {
        let returned = keys::returned_of(id).into_iter().map(|prefix| (self.returned.as_str(), prefix));
        std::iter::once((self.uploads.as_str(), keys::uploads_of(id))).chain(returned).collect()
    }

    /// One page of the versions and delete markers with this prefix.
    async fn page(
        &self,
        bucket: &str,
        prefix: &str,
        from: Option<(String, Option<String>)>,
    ) -> Result<Page, Error> {
        let (key, version) = from.unzip();
        let request = self.client.list_object_versions().bucket(bucket).prefix(prefix);
        let request = request.encoding_type(EncodingType::Url).set_key_marker(key);
        let answer = request.set_version_id_marker(version.flatten()).send().await;
        let answer = answer.map_err(|error| failed("ListObjectVersions", error))?;
        let is_encoded = answer.encoding_type == Some(EncodingType::Url);
        let versions = answer.versions.unwrap_or_default().into_iter();
        let markers = answer.delete_markers.unwrap_or_default().into_iter();
        let all = versions
            .map(|version| (version.key, version.version_id))
            .chain(markers.map(|marker| (marker.key, marker.version_id)));
        let versions = all.map(|(key, version)| {
            let version = version.unwrap_or_else(|| "null".to_owned());
            Ok((decoded(key.unwrap_or_default(), is_encoded)?, version))
        });
        let next = answer.next_key_marker.filter(|_| answer.is_truncated == Some(true));
        let next = next.map(|key| decoded(key, is_encoded)).transpose()?;
        Ok(Page {
            versions: versions.collect::<Result<_, Error>>()?,
            next: next.map(|key| (key, answer.next_version_id_marker)),
        })
    }

    async fn erase_version(&self, bucket: &str, key: String, version: String) -> Result<(), Error> {
        let request = self.client.delete_object().bucket(bucket).key(key).version_id(version);
        request.send().await.map(drop).map_err(|error| failed("DeleteObject", error))
    }

    /// Aborts the uploads in parts that are not complete.
    async fn abort_uploads(&self, bucket: &str, prefix: &str) -> Result<(), Error> {
        let mut from = (None, None);
        loop {
            let request = self.client.list_multipart_uploads().bucket(bucket).prefix(prefix);
            let request = request.encoding_type(EncodingType::Url).set_key_marker(from.0);
            let answer = request.set_upload_id_marker(from.1).send().await;
            let answer = answer.map_err(|error| failed("ListMultipartUploads", error))?;
            let is_encoded = answer.encoding_type == Some(EncodingType::Url);
            for upload in answer.uploads.unwrap_or_default() {
                let key = decoded(upload.key.unwrap_or_default(), is_encoded)?;
                let request = self.client.abort_multipart_upload().bucket(bucket).key(key);
                let aborted = request.set_upload_id(upload.upload_id).send().await;
                aborted.map_err(|error| failed("AbortMultipartUpload", error))?;
            }
            let Some(key) = answer.next_key_marker.filter(|_| answer.is_truncated == Some(true)) else {
                return Ok(());
            };
            from = (Some(decoded(key, is_encoded)?), answer.next_upload_id_marker);
        }
    }
}

impl SubmissionObjects for ObjectsOfSubmissions {
    async fn count_versions(&self, id: &SubmissionId) -> Result<u64, Error> {
        let mut count = 0;
        for (bucket, prefix) in self.places(id) {
            let mut page = self.page(bucket, &prefix, None).await?;
            count += page.versions.len() as u64;
            while page.next.is_some() {
                page = self.page(bucket, &prefix, page.next).await?;
                count += page.versions.len() as u64;
            }
        }
        Ok(count)
    }

    async fn erase_objects(&self, id: &SubmissionId, most: usize) -> Result<ErasedObjects, Error> {
        let mut count = 0;
        for (bucket, prefix) in self.places(id) {
            if count >= most {
                return Ok(ErasedObjects { versions: count as u64, are_all: false });
            }
            self.abort_uploads(bucket, &prefix).await?;
            let mut from = None;
            loop {
                let Page { versions, next } = self.page(bucket, &prefix, from).await?;
                count += versions.len();
                let erased = stream::iter(versions)
                    .map(|(key, version)| self.erase_version(bucket, key, version))
                    .buffer_unordered(AT_A_TIME);
                erased.try_collect::<Vec<()>>().await?;
                if next.is_none() {
                    break;
                }
                if count >= most {
                    return Ok(ErasedObjects { versions: count as u64, are_all: false });
                }
                from = next;
            }
        }
        Ok(ErasedObjects { versions: count as u64, are_all: true })
    }
}

/// Keys may contain characters that XML cannot represent, so S3 encodes them in lists; the local cloud may not.
fn decoded(key: String, is_encoded: bool) -> Result<String, Error> {
    if !is_encoded {
        return Ok(key);
    }
    let decoded = percent_decode_str(&key.replace('+', " ")).decode_utf8().map(std::borrow::Cow::into_owned);
    decoded.map_err(|_| StoreError::defect("ListObjectVersions: a key is not UTF-8").into())
}

#[cfg(test)]
mod tests;
