//! The uploads bucket.

use std::{io, ops};

use aws_sdk_s3::{
    Client,
    error::SdkError,
    operation::{get_object_tagging::GetObjectTaggingOutput, head_object::HeadObjectOutput},
    presigning::PresigningConfig,
    primitives::ByteStream as Body,
    types::Tag,
};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use lectern::{
    document::ObjectVersion,
    document::metadata::{FileName, NAME, OWNER, UPLOAD},
    error::{Error, StoreError},
    limits::{PULL_URL_LIFETIME, READ_URL_LIFETIME},
    ports::{ByteStream, ObjectHead, Protection, ScanResults, ScanStatus, Shown, UploadReader, Uploads},
};

use super::{RANGE_BYTES, is_missing};
use crate::error::{defect, failed};

/// The version of an object in a bucket without versioning.
const NO_VERSION: &str = "null";

/// The bucket that teachers upload to; its name comes with each object.
#[derive(Clone, Debug)]
pub struct UploadsBucket {
    client: Client,
    /// Whether only versions that the malware scanner has found clean may be read.
    scans_for_malware: bool,
}

impl UploadsBucket {
    /// Reads through this client.
    pub fn new(client: Client) -> Self {
        Self { client, scans_for_malware: false }
    }

    /// Reads nothing of a version that may not be clean, if the gate is on.
    #[must_use]
    pub fn with_malware_gate(self, is_on: bool) -> Self {
        Self { scans_for_malware: is_on, ..self }
    }

    /// The tags of a version, or of the current one; `None` if it does not exist.
    async fn tags(
        &self,
        object: &ObjectVersion,
        version: Option<&str>,
    ) -> Result<Option<GetObjectTaggingOutput>, Error> {
        let request = self.client.get_object_tagging().bucket(&object.bucket).key(&object.key);
        match request.set_version_id(version.map(str::to_owned)).send().await {
            Ok(tags) => Ok(Some(tags)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(failed("GetObjectTagging", error)),
        }
    }

    async fn head_object(
        &self,
        object: &ObjectVersion,
        version: Option<&str>,
    ) -> Result<Option<ObjectHead>, Error> {
        let request = self
            .client
            .head_object()
            .bucket(&object.bucket)
            .key(&object.key)
            .set_version_id(version.map(str::to_owned));
        match request.send().await {
            Ok(head) => Ok(Some(ObjectHead {
                protection: protection(&head),
                owner: metadata(&head, OWNER).and_then(|owner| owner.parse().ok()),
                name: metadata(&head, NAME).and_then(FileName::decode),
                upload: metadata(&head, UPLOAD).and_then(|upload| upload.parse().ok()),
                version_id: head.version_id.unwrap_or_else(|| NO_VERSION.to_owned()),
                size_bytes: head
                    .content_length
                    .and_then(|length| u64::try_from(length).ok())
                    .unwrap_or_default(),
                content_type: head.content_type,
            })),
            Err(error) if is_missing(&error) => Ok(None),
            // S3 answers 400 to a HEAD that lacks the customer's key. The answer has no body and so no code.
            Err(error) if status(&error) == Some(400) => Ok(Some(ObjectHead {
                version_id: version.unwrap_or(NO_VERSION).to_owned(),
                size_bytes: 0,
                content_type: None,
                owner: None,
                name: None,
                upload: None,
                protection: Protection::CustomerKey,
            })),
            Err(error) => Err(failed("HeadObject", error)),
        }
    }

    pub(crate) async fn presigned(
        &self,
        object: &ObjectVersion,
        lifetime: std::time::Duration,
        shown: Option<Shown<'_>>,
    ) -> Result<String, Error> {
        let disposition = shown.map(|shown| match shown {
            Shown::Download(file_name) => super::returned::attachment(file_name),
            Shown::Inline(_) => "inline".to_owned(),
        });
        let content_type = match shown {
            Some(Shown::Inline(media_type)) => Some(media_type.to_owned()),
            Some(Shown::Download(_)) | None => None,
        };
        let config = PresigningConfig::expires_in(lifetime).map_err(|error| defect("presigning", error))?;
        let request = self
            .client
            .get_object()
            .bucket(&object.bucket)
            .key(&object.key)
            .version_id(&object.version_id)
            .set_response_content_disposition(disposition)
            .set_response_content_type(content_type)
            .presigned(config)
            .await
            .map_err(|error| failed("presigning GetObject", error))?;
        Ok(request.uri().to_owned())
    }

    pub(crate) async fn read_url(&self, object: &ObjectVersion, shown: Shown<'_>) -> Result<String, Error> {
        self.presigned(object, READ_URL_LIFETIME, Some(shown)).await
    }
}

fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

fn metadata<'h>(head: &'h HeadObjectOutput, name: &str) -> Option<&'h str> {
    head.metadata.as_ref()?.get(name).map(String::as_str)
}

fn protection(head: &HeadObjectOutput) -> Protection {
    use aws_sdk_s3::types::{ServerSideEncryption as Encryption, StorageClass};
    let is_archived = head.archive_status.is_some()
        || matches!(head.storage_class, Some(StorageClass::Glacier | StorageClass::DeepArchive));
    match head.server_side_encryption {
        _ if is_archived => Protection::Archived,
        Some(Encryption::AwsKms | Encryption::AwsKmsDsse) => Protection::KmsKey,
        _ => Protection::None,
    }
}

impl Uploads for UploadsBucket {
    async fn head(&self, object: &ObjectVersion) -> Result<Option<ObjectHead>, Error> {
        self.head_object(object, Some(&object.version_id)).await
    }

    async fn current_version(&self, object: &ObjectVersion) -> Result<Option<String>, Error> {
        // With the gate, IAM refuses even the `HEAD` of a current version that is not clean. Its tags may be read.
        if self.scans_for_malware {
            let tags = self.tags(object, None).await?;
            return Ok(tags.map(|tags| tags.version_id.unwrap_or_else(|| NO_VERSION.to_owned())));
        }
        Ok(self.head_object(object, None).await?.map(|head| head.version_id))
    }

    async fn read(&self, object: &ObjectVersion, range: ops::Range<u64>) -> Result<Bytes, Error> {
        let read = async {
            let mut range = Range::open(&self.client, object, range, None).await?;
            let mut bytes = BytesMut::new();
            while let Some(chunk) = range.next().await? {
                bytes.extend_from_slice(&chunk);
            }
            Ok::<_, SourceReadError>(bytes.freeze())
        };
        read.await.map_err(SourceReadError::into_store_error)
    }
}

impl ScanResults for UploadsBucket {
    async fn scan_status(&self, object: &ObjectVersion) -> Result<ScanStatus, Error> {
        let tags = self.tags(object, Some(&object.version_id)).await?;
        Ok(tags.map_or(ScanStatus::Gone, |tags| scan_status(&tags.tag_set)))
    }
}

/// The status that the scanner's tag states.
pub(super) fn scan_status(tags: &[Tag]) -> ScanStatus {
    let tag = tags.iter().find(|tag| tag.key == ScanStatus::TAG);
    ScanStatus::of_tag(tag.map(|tag| tag.value.as_str()))
}

impl UploadReader for UploadsBucket {
    async fn open(&self, object: &ObjectVersion, size_bytes: u64) -> Result<ByteStream, Error> {
        let start = Reading {
            client: self.client.clone(),
            object: object.clone(),
            size_bytes,
            offset: 0,
            range: None,
        };
        Ok(Box::pin(stream::try_unfold(start, Reading::next)))
    }

    async fn presign(&self, object: &ObjectVersion) -> Result<String, Error> {
        self.presigned(object, PULL_URL_LIFETIME, None).await
    }
}

/// Reading an upload from S3 failed midway. This is our fault or AWS's, never the third party's, so an HTTP client
/// error with this source does not count against the third party.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceReadError {
    /// S3 refused the request or did not answer it.
    #[error(transparent)]
    Refused(#[from] Error),
    /// S3 answered with another range than the requested one.
    #[error("GetObject: it was asked for {asked}, and answered with {answered}")]
    WrongRange {
        /// The range that was asked for.
        asked: String,
        /// The received `Content-Range`, or a text if there was none.
        answered: String,
    },
    /// The connection to S3 broke off, or a checksum did not match.
    #[error("GetObject: the body broke off: {0}")]
    BrokenOff(#[source] aws_sdk_s3::primitives::ByteStreamError),
    /// The body does not have as many bytes as its range.
    #[error("GetObject: the body of {asked} has {received} bytes or more")]
    TooLong {
        /// The range that was asked for.
        asked: String,
        /// How many bytes came before reading ended.
        received: u64,
    },
    /// The body ended before its range did.
    #[error("GetObject: the body of {asked} ended after {received} bytes")]
    TooShort {
        /// The range that was asked for.
        asked: String,
        /// How many bytes came.
        received: u64,
    },
}

impl SourceReadError {
    fn into_store_error(self) -> Error {
        match self {
            Self::Refused(error) => error,
            Self::WrongRange { .. } | Self::BrokenOff(_) | Self::TooLong { .. } | Self::TooShort { .. } => {
                StoreError::Unavailable { what: self.to_string(), source: Some(self.into()) }.into()
            }
        }
    }
}

/// An object that is read one range after the other.
struct Reading {
    client: Client,
    object: ObjectVersion,
    size_bytes: u64,
    offset: u64,
    range: Option<Range>,
}

impl Reading {
    async fn next(self) -> io::Result<Option<(Bytes, Self)>> {
        self.next_chunk().await.map_err(io::Error::other)
    }

    async fn next_chunk(mut self) -> Result<Option<(Bytes, Self)>, SourceReadError> {
        loop {
            if let Some(range) = self.range.as_mut()
                && let Some(chunk) = range.next().await?
            {
                self.offset += chunk.len() as u64;
                return Ok(Some((chunk, self)));
            }
            if self.offset >= self.size_bytes {
                return Ok(None);
            }
            let bytes = self.offset..self.size_bytes.min(self.offset + RANGE_BYTES);
            self.range = Some(Range::open(&self.client, &self.object, bytes, Some(self.size_bytes)).await?);
        }
    }
}

/// The answer to one ranged read. Its body has exactly the bytes of the range or ends with an error.
struct Range {
    asked: String,
    length: u64,
    received: u64,
    body: Body,
}

impl Range {
    /// Requests these bytes of an object. The answer must contain all of them that the object has.
    async fn open(
        client: &Client,
        object: &ObjectVersion,
        bytes: ops::Range<u64>,
        size_bytes: Option<u64>,
    ) -> Result<Self, SourceReadError> {
        let asked = format!("bytes={}-{}", bytes.start, bytes.end.saturating_sub(1));
        let request = client
            .get_object()
            .bucket(&object.bucket)
            .key(&object.key)
            .version_id(&object.version_id)
            .range(&asked);
        let answer = request.send().await.map_err(|error| failed("GetObject", error))?;
        // Only an answer 206 has a `Content-Range`; an answer 200 has the whole object and none.
        let answered = answer.content_range.unwrap_or_else(|| "no range".to_owned());
        let Some(length) = length_of(&answered, &bytes, size_bytes) else {
            return Err(SourceReadError::WrongRange { asked, answered });
        };
        Ok(Self { asked, length, received: 0, body: answer.body })
    }

    async fn next(&mut self) -> Result<Option<Bytes>, SourceReadError> {
        let (asked, received) = (&self.asked, self.received);
        let Some(chunk) = self.body.next().await else {
            if received < self.length {
                return Err(SourceReadError::TooShort { asked: asked.clone(), received });
            }
            return Ok(None);
        };
        let chunk = chunk.map_err(SourceReadError::BrokenOff)?;
        self.received += chunk.len() as u64;
        if self.received > self.length {
            return Err(SourceReadError::TooLong { asked: asked.clone(), received: self.received });
        }
        Ok(Some(chunk))
    }
}

/// The number of bytes in a `Content-Range`, if it is the range that S3 has to return.
fn length_of(answered: &str, asked: &ops::Range<u64>, size_bytes: Option<u64>) -> Option<u64> {
    let (_, size) = answered.rsplit_once('/')?;
    let size = size.parse().ok().filter(|size| size_bytes.is_none_or(|known| known == *size))?;
    let end = asked.end.min(size);
    let length = end.checked_sub(asked.start).filter(|length| *length > 0)?;
    (answered == format!("bytes {}-{}/{size}", asked.start, end - 1)).then_some(length)
}

#[cfg(test)]
mod tests;
