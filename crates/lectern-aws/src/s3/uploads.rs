//! The uploads bucket.

use std::io;

use aws_sdk_s3::{Client, presigning::PresigningConfig};
use bytes::Bytes;
use futures_util::stream;
use lectern::{
    document::ObjectVersion,
    error::Error,
    limits::{PULL_URL_LIFETIME, READ_URL_LIFETIME},
    ports::{ByteStream, ObjectHead, UploadReader, Uploads},
};

use super::{RANGE_BYTES, is_missing};
use crate::sfn::unavailable;

/// The bucket that teachers upload to; its name comes with each object.
#[derive(Clone, Debug)]
pub struct UploadsBucket(Client);

impl UploadsBucket {
    /// Reads through this client.
    pub fn new(client: Client) -> Self {
        Self(client)
    }

    async fn head_object(
        &self,
        object: &ObjectVersion,
        version: Option<&str>,
    ) -> Result<Option<ObjectHead>, Error> {
        let request = self
            .0
            .head_object()
            .bucket(&object.bucket)
            .key(&object.key)
            .set_version_id(version.map(str::to_owned));
        match request.send().await {
            Ok(head) => Ok(Some(ObjectHead {
                version_id: head.version_id.unwrap_or_else(|| "null".to_owned()),
                size_bytes: head
                    .content_length
                    .and_then(|length| u64::try_from(length).ok())
                    .unwrap_or_default(),
                content_type: head.content_type,
            })),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(unavailable("HeadObject", &error)),
        }
    }

    pub(crate) async fn presigned(
        &self,
        object: &ObjectVersion,
        lifetime: std::time::Duration,
        download_as: Option<String>,
    ) -> Result<String, Error> {
        let config = PresigningConfig::expires_in(lifetime)
            .map_err(|error| Error::StoreUnavailable(error.to_string()))?;
        let request = self
            .0
            .get_object()
            .bucket(&object.bucket)
            .key(&object.key)
            .version_id(&object.version_id)
            .set_response_content_disposition(download_as)
            .presigned(config)
            .await
            .map_err(|error| unavailable("presigning GetObject", &error))?;
        Ok(request.uri().to_owned())
    }

    pub(crate) async fn read_url(&self, object: &ObjectVersion, file_name: &str) -> Result<String, Error> {
        self.presigned(object, READ_URL_LIFETIME, Some(super::returned::attachment(file_name))).await
    }
}

impl Uploads for UploadsBucket {
    async fn head(&self, object: &ObjectVersion) -> Result<Option<ObjectHead>, Error> {
        self.head_object(object, Some(&object.version_id)).await
    }

    async fn current_version(&self, object: &ObjectVersion) -> Result<Option<String>, Error> {
        Ok(self.head_object(object, None).await?.map(|head| head.version_id))
    }

    async fn first_bytes(&self, object: &ObjectVersion, length: u64) -> Result<Bytes, Error> {
        let request = self
            .0
            .get_object()
            .bucket(&object.bucket)
            .key(&object.key)
            .version_id(&object.version_id)
            .range(format!("bytes=0-{}", length.saturating_sub(1)));
        let answer = request.send().await.map_err(|error| unavailable("GetObject", &error))?;
        let body = answer.body.collect().await;
        body.map(aws_sdk_s3::primitives::AggregatedBytes::into_bytes)
            .map_err(|error| Error::StoreUnavailable(format!("GetObject: {error}")))
    }
}

impl UploadReader for UploadsBucket {
    async fn open(&self, object: &ObjectVersion, size_bytes: u64) -> Result<ByteStream, Error> {
        let start =
            Reading { client: self.0.clone(), object: object.clone(), size_bytes, offset: 0, range: None };
        Ok(Box::pin(stream::try_unfold(start, Reading::next)))
    }

    async fn presign(&self, object: &ObjectVersion) -> Result<String, Error> {
        self.presigned(object, PULL_URL_LIFETIME, None).await
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

struct Range {
    start: u64,
    end: u64,
    body: aws_sdk_s3::primitives::ByteStream,
}

impl Reading {
    /// A range that ends early is continued where it ended; an empty or too long one is an error.
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        loop {
            if let Some(range) = self.range.as_mut() {
                if let Some(chunk) = range.body.next().await {
                    let chunk = chunk.map_err(io::Error::other)?;
                    self.offset += chunk.len() as u64;
                    if self.offset > range.end {
                        return Err(io::Error::other("S3 returned more than the range"));
                    }
                    return Ok(Some((chunk, self)));
                }
                if self.offset == range.start {
                    return Err(io::Error::other("S3 returned an empty range"));
                }
            }
            if self.offset >= self.size_bytes {
                return Ok(None);
            }
            self.range = Some(self.open_range().await?);
        }
    }

    async fn open_range(&self) -> io::Result<Range> {
        let start = self.offset;
        let end = self.size_bytes.min(start - start % RANGE_BYTES + RANGE_BYTES);
        let request = self
            .client
            .get_object()
            .bucket(&self.object.bucket)
            .key(&self.object.key)
            .version_id(&self.object.version_id)
            .range(format!("bytes={start}-{}", end - 1));
        let answer =
            request.send().await.map_err(|error| io::Error::other(unavailable("GetObject", &error)))?;
        Ok(Range { start, end, body: answer.body })
    }
}
