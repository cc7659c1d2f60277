//! The bucket of returned files: `quarantine/`, `returned/` and `records/`.

use aws_sdk_s3::{
    Client,
    operation::head_object::HeadObjectOutput,
    presigning::PresigningConfig,
    primitives::{AggregatedBytes, ByteStream as Body, ByteStreamError},
    types::{CompletedMultipartUpload, CompletedPart, MetadataDirective},
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use lectern::{
    document::ObjectVersion,
    error::{Error, StoreError},
    limits::READ_URL_LIFETIME,
    ports::{
        ByteStream, Promoted, ReadUrls, Records, ReturnedFiles, ScanResults as _, ScanStatus, Shown,
        StreamFacts, Uploads as _,
    },
};
use sha2::{Digest as _, Sha256};

use super::{PART_BYTES, UploadsBucket, is_missing, uploads::scan_status};
use crate::error::{defect, failed};

const FIRST_BYTES: usize = 4096;

/// The bucket of returned files and records.
#[derive(Clone, Debug)]
pub struct ReturnedBucket {
    client: Client,
    bucket: String,
    /// Whether URLs are handed out only of what the malware scanner has found clean.
    scans_for_malware: bool,
}

impl ReturnedBucket {
    /// The bucket of this name.
    pub fn new(client: Client, bucket: String) -> Self {
        Self { client, bucket, scans_for_malware: false }
    }

    /// Hands out URLs only of what the malware scanner has found clean, if the gate is on.
    #[must_use]
    pub fn with_malware_gate(self, is_on: bool) -> Self {
        Self { scans_for_malware: is_on, ..self }
    }

    /// Whether the malware gate lets a person read a returned file. `false` also if the file does not exist.
    async fn is_clean(&self, key: &str) -> Result<bool, Error> {
        if !self.scans_for_malware {
            return Ok(true);
        }
        match self.client.get_object_tagging().bucket(&self.bucket).key(key).send().await {
            Ok(tags) => Ok(scan_status(&tags.tag_set) == ScanStatus::Clean),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(failed("GetObjectTagging", error)),
        }
    }

    /// The URL of the bucket, without a slash at the end.
    ///
    /// # Errors
    /// A defect, if the SDK cannot sign.
    pub async fn url(&self) -> Result<String, Error> {
        super::bucket_url(&self.client, &self.bucket).await
    }

    async fn head(&self, key: &str) -> Result<Option<HeadObjectOutput>, Error> {
        match self.client.head_object().bucket(&self.bucket).key(key).send().await {
            Ok(head) => Ok(Some(head)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(failed("HeadObject", error)),
        }
    }

    /// Returns the `ETag`.
    async fn put(&self, key: &str, bytes: Bytes, content_type: &str) -> Result<Option<String>, Error> {
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .content_type(content_type)
            .body(Body::from(bytes))
            .send()
            .await
            .map(|stored| stored.e_tag)
            .map_err(|error| failed("PutObject", error))
    }

    async fn upload_parts(
        &self,
        key: &str,
        body: &mut Hashing,
        first: Bytes,
    ) -> Result<Option<String>, Error> {
        let created = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(key)
            .content_type(QUARANTINE_TYPE)
            .send()
            .await
            .map_err(|error| failed("CreateMultipartUpload", error))?;
        let upload_id = created.upload_id.unwrap_or_default();
        // If the function dies here, the bucket's lifecycle rule removes the uploaded parts.
        let uploaded = match self.upload_each_part(key, &upload_id, body, first).await {
            Ok(parts) => self.complete(key, &upload_id, parts).await,
            Err(error) => Err(error),
        };
        if uploaded.is_err() {
            let abort =
                self.client.abort_multipart_upload().bucket(&self.bucket).key(key).upload_id(upload_id);
            if let Err(error) = abort.send().await {
                tracing::warn!(detail = %failed("AbortMultipartUpload", error), "Parts of an upload to S3 were not deleted; the bucket's lifecycle rule deletes them.");
            }
        }
        uploaded
    }

    async fn complete(
        &self,
        key: &str,
        upload_id: &str,
        parts: Vec<CompletedPart>,
    ) -> Result<Option<String>, Error> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        self.client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(key)
            .upload_id(upload_id)
            .multipart_upload(parts)
            .send()
            .await
            .map(|stored| stored.e_tag)
            .map_err(|error| failed("CompleteMultipartUpload", error))
    }

    async fn upload_each_part(
        &self,
        key: &str,
        upload_id: &str,
        body: &mut Hashing,
        first: Bytes,
    ) -> Result<Vec<CompletedPart>, Error> {
        let mut parts = Vec::new();
        let mut part = first;
        while !part.is_empty() {
            let number = i32::try_from(parts.len() + 1).unwrap_or(i32::MAX);
            let answer = self
                .client
                .upload_part()
                .bucket(&self.bucket)
                .key(key)
                .upload_id(upload_id)
                .part_number(number)
                .body(Body::from(part))
                .send()
                .await
                .map_err(|error| failed("UploadPart", error))?;
            parts.push(CompletedPart::builder().part_number(number).set_e_tag(answer.e_tag).build());
            part = body.next_part().await;
        }
        Ok(parts)
    }
}

/// The content type of unverified files. Browsers do not open it in place.
const QUARANTINE_TYPE: &str = "application/octet-stream";
/// The name of the metadata entry with a promoted file's SHA-256 in lower-case hex.
const SHA256: &str = "sha256";

impl Records for ReturnedBucket {
    async fn put_record(&self, key: &str, json: Bytes) -> Result<(), Error> {
        self.put(key, json, "application/json").await.map(drop)
    }

    async fn get_record(&self, key: &str) -> Result<Option<Bytes>, Error> {
        match self.client.get_object().bucket(&self.bucket).key(key).send().await {
            Ok(answer) => {
                let body = answer.body.collect().await;
                body.map(AggregatedBytes::into_bytes).map(Some).map_err(broken_off)
            }
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(failed("GetObject", error)),
        }
    }
}

impl ReturnedFiles for ReturnedBucket {
    /// If the body breaks off, the bytes received so far are kept in quarantine, and the call fails.
    async fn quarantine(&self, key: &str, body: ByteStream, limit: u64) -> Result<StreamFacts, Error> {
        let mut body = Hashing::new(body, limit);
        let first = body.next_part().await;
        let tag = if first.len() < PART_BYTES {
            self.put(key, first, QUARANTINE_TYPE).await?
        } else {
            self.upload_parts(key, &mut body, first).await?
        };
        body.facts(tag.unwrap_or_default())
    }

    async fn promote(
        &self,
        quarantine_key: &str,
        facts: &StreamFacts,
        key: &str,
        media_type: &str,
    ) -> Result<(), Error> {
        self.client
            .copy_object()
            .bucket(&self.bucket)
            .key(key)
            // Lectern builds both keys, and they need no encoding.
            .copy_source(format!("{}/{quarantine_key}", self.bucket))
            .copy_source_if_match(&facts.tag)
            .metadata_directive(MetadataDirective::Replace)
            .content_type(media_type)
            .metadata(SHA256, &facts.sha256)
            .send()
            .await
            // Another run has promoted the file, and so removed it from quarantine.
            .map_err(|error| {
                if is_missing(&error) { StoreError::Conflict.into() } else { failed("CopyObject", error) }
            })?;
        self.client
            .delete_object()
            .bucket(&self.bucket)
            .key(quarantine_key)
            .send()
            .await
            .map(drop)
            .map_err(|error| failed("DeleteObject", error))
    }

    async fn promoted(&self, key: &str) -> Result<Option<Promoted>, Error> {
        Ok(self.head(key).await?.and_then(kept))
    }

    async fn read(&self, key: &str, limit: u64) -> Result<Option<Bytes>, Error> {
        let request = self.client.get_object().bucket(&self.bucket).key(key);
        let mut answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(failed("GetObject", error)),
        };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut bytes = BytesMut::new();
        while bytes.len() < limit
            && let Some(chunk) = answer.body.next().await
        {
            bytes.extend_from_slice(&chunk.map_err(broken_off)?);
        }
        bytes.truncate(limit);
        Ok(Some(bytes.freeze()))
    }
}

fn broken_off(error: ByteStreamError) -> Error {
    let (what, source) = ("GetObject: the body broke off".to_owned(), Some(error.into()));
    StoreError::Unavailable { what, source }.into()
}

/// `None` for an object without a hash in its metadata.
fn kept(head: HeadObjectOutput) -> Option<Promoted> {
    Some(Promoted {
        size_bytes: u64::try_from(head.content_length?).ok()?,
        sha256: head.metadata?.remove(SHA256)?,
        media_type: head.content_type?,
    })
}

impl ReadUrls for ReturnedBucket {
    async fn upload_url(&self, object: &ObjectVersion, shown: Shown<'_>) -> Result<Option<String>, Error> {
        let uploads = UploadsBucket::new(self.client.clone());
        // Before the `HEAD`, which the gate's condition would refuse.
        if self.scans_for_malware && uploads.scan_status(object).await? != ScanStatus::Clean {
            return Ok(None);
        }
        if uploads.head(object).await?.is_none() {
            return Ok(None);
        }
        uploads.read_url(object, shown).await.map(Some)
    }

    async fn returned_url(&self, key: &str, file_name: &str) -> Result<Option<String>, Error> {
        if !self.is_clean(key).await? || self.head(key).await?.is_none() {
            return Ok(None);
        }
        self.read_url(key, file_name).await.map(Some)
    }
}

impl ReturnedBucket {
    pub(super) async fn read_url(&self, key: &str, file_name: &str) -> Result<String, Error> {
        let config = PresigningConfig::expires_in(READ_URL_LIFETIME);
        let config = config.map_err(|error| defect("presigning", error))?;
        let request = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key)
            .response_content_disposition(attachment(file_name))
            .presigned(config)
            .await
            .map_err(|error| failed("presigning GetObject", error))?;
        Ok(request.uri().to_owned())
    }
}

/// A `Content-Disposition` (RFC 6266) that makes browsers save the file instead of opening it.
pub(super) fn attachment(file_name: &str) -> String {
    let encoded: String = file_name
        .bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect();
    format!("attachment; filename*=UTF-8''{encoded}")
}

/// Splits a body into parts, up to a limit, and hashes and counts its bytes on the way.
struct Hashing {
    body: ByteStream,
    limit: u64,
    size_bytes: u64,
    hash: Sha256,
    first_bytes: BytesMut,
    rest: Bytes,
    ended: bool,
    broken_off: bool,
}

impl Hashing {
    fn new(body: ByteStream, limit: u64) -> Self {
        Self {
            body,
            limit,
            size_bytes: 0,
            hash: Sha256::new(),
            first_bytes: BytesMut::new(),
            rest: Bytes::new(),
            ended: false,
            broken_off: false,
        }
    }

    /// The next [`PART_BYTES`], or the remaining bytes; empty at the end.
    async fn next_part(&mut self) -> Bytes {
        let mut part = BytesMut::with_capacity(PART_BYTES.min(self.expected()));
        while part.len() < PART_BYTES {
            if self.rest.is_empty() && !self.receive().await {
                break;
            }
            let room = PART_BYTES - part.len();
            part.extend_from_slice(&self.rest.split_to(self.rest.len().min(room)));
        }
        part.freeze()
    }

    fn expected(&self) -> usize {
        usize::try_from(self.limit.saturating_sub(self.size_bytes)).unwrap_or(usize::MAX).saturating_add(1)
    }

    async fn receive(&mut self) -> bool {
        if self.ended {
            return false;
        }
        let mut chunk = match self.body.next().await {
            Some(Ok(chunk)) => chunk,
            end => {
                self.ended = true;
                self.broken_off = end.is_some();
                return false;
            }
        };
        // One byte more than the limit is read, to detect that the body exceeds the limit.
        chunk.truncate(self.expected());
        self.size_bytes += chunk.len() as u64;
        self.ended = self.size_bytes > self.limit;
        self.hash.update(&chunk);
        let missing = FIRST_BYTES.saturating_sub(self.first_bytes.len());
        self.first_bytes.extend_from_slice(&chunk[..chunk.len().min(missing)]);
        self.rest = chunk;
        !self.rest.is_empty() || !self.ended
    }

    /// # Errors
    /// `ThirdParty.Unavailable` if the body broke off (D02).
    fn facts(self, tag: String) -> Result<StreamFacts, Error> {
        if self.broken_off {
            return Err(Error::Unavailable("the download broke off".to_owned()));
        }
        let sha256 = hex::encode(self.hash.finalize());
        Ok(StreamFacts { size_bytes: self.size_bytes, sha256, first_bytes: self.first_bytes.freeze(), tag })
    }
}

#[cfg(test)]
mod tests;
