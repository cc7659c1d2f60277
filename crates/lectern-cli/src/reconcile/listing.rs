//! Lists all versions of all uploads in the bucket.

use aws_sdk_s3::{Client, types::EncodingType};
use lectern::document::{ObjectVersion, keys::UPLOADS_PREFIX};
use percent_encoding::percent_decode_str;
use time::OffsetDateTime;

use crate::problem::Problem;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UploadVersion {
    pub(crate) object: ObjectVersion,
    pub(crate) is_latest: bool,
    pub(crate) modified: OffsetDateTime,
}

#[derive(Debug)]
pub(super) struct Listing<'a> {
    client: &'a Client,
    bucket: &'a str,
    prefix: String,
    next: Option<(String, Option<String>)>,
    is_over: bool,
}

impl<'a> Listing<'a> {
    /// Lists all submissions, or the given one.
    pub(super) fn new(client: &'a Client, bucket: &'a str, submission: Option<&str>) -> Self {
        let prefix = match submission {
            Some(submission) => format!("{UPLOADS_PREFIX}{submission}/"),
            None => UPLOADS_PREFIX.to_owned(),
        };
        Self { client, bucket, prefix, next: None, is_over: false }
    }

    /// The next page, `None` after the last. Delete markers are left out.
    pub(super) async fn page(&mut self) -> Result<Option<Vec<UploadVersion>>, Problem> {
        if self.is_over {
            return Ok(None);
        }
        let mut request = self.client.list_object_versions().bucket(self.bucket).prefix(&self.prefix);
        request = request.encoding_type(EncodingType::Url);
        if let Some((key, version)) = self.next.take() {
            request = request.key_marker(key).set_version_id_marker(version);
        }
        let answer = request.send().await.map_err(Problem::aws("ListObjectVersions"))?;
        // Keys may contain characters that XML cannot represent, so S3 encodes them; the local cloud may not.
        let is_encoded = answer.encoding_type == Some(EncodingType::Url);
        let decode = |key: String| if is_encoded { decoded(&key) } else { key };
        self.next = answer.next_key_marker.map(|key| (decode(key), answer.next_version_id_marker));
        self.is_over = answer.is_truncated != Some(true) || self.next.is_none();
        let versions = answer.versions.unwrap_or_default().into_iter().filter_map(|version| {
            let object = ObjectVersion {
                bucket: self.bucket.to_owned(),
                key: decode(version.key?),
                version_id: version.version_id.unwrap_or_else(|| "null".to_owned()),
            };
            Some(UploadVersion {
                object,
                is_latest: version.is_latest == Some(true),
                modified: version.last_modified.as_ref().map(crate::text::aws_time)?,
            })
        });
        Ok(Some(versions.collect()))
    }
}

fn decoded(key: &str) -> String {
    percent_decode_str(&key.replace('+', " ")).decode_utf8_lossy().into_owned()
}
