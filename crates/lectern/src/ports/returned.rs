//! The bucket of returned files and records.

use std::future::Future;

use bytes::Bytes;

use super::ByteStream;
use crate::{document::ObjectVersion, error::Error};

/// The bucket of returned files.
pub trait ReturnedFiles: Send + Sync {
    /// Streams a body into quarantine, which only an operator reads, and returns its facts. Stops after `limit` bytes;
    /// the bytes received until then stay in quarantine.
    ///
    /// # Errors
    /// `Unavailable` if the body breaks off. The bytes received until then stay in quarantine, too.
    fn quarantine(
        &self,
        key: &str,
        body: ByteStream,
        limit: u64,
    ) -> impl Future<Output = Result<StreamFacts, Error>> + Send;

    /// Copies a quarantined object to `key`, with its media type and its hash, replaces any earlier object there, and
    /// removes the object from quarantine. The copy requires that the object still has the tag of these facts, so that
    /// exactly the verified bytes are promoted.
    fn promote(
        &self,
        quarantine_key: &str,
        facts: &StreamFacts,
        key: &str,
        media_type: &str,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// The facts about a file that was promoted before; `None` if there is no such file, or if its hash or its type is
    /// not stored with it.
    fn promoted(&self, key: &str) -> impl Future<Output = Result<Option<Promoted>, Error>> + Send;

    /// A whole returned file, at most `limit` bytes; `None` if there is none.
    fn read(&self, key: &str, limit: u64) -> impl Future<Output = Result<Option<Bytes>, Error>> + Send;
}

/// The facts about a body that was streamed into quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamFacts {
    /// How many bytes came, up to the limit and one more.
    pub size_bytes: u64,
    /// SHA-256 of those, lower-case hex.
    pub sha256: String,
    /// The first bytes, for sniffing.
    pub first_bytes: Bytes,
    /// The `ETag` under which just these bytes were stored.
    pub tag: String,
}

/// A verified file that was promoted out of quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promoted {
    /// Its size.
    pub size_bytes: u64,
    /// Its SHA-256, lower-case hex.
    pub sha256: String,
    /// The media type that it was declared with.
    pub media_type: String,
}

/// Records, as JSON objects of the bucket of returned files.
pub trait Records: Send + Sync {
    /// Writes a record. The key contains the hash of the content ([`crate::record::Record::to_object`]), so that writing twice changes nothing.
    fn put_record(&self, key: &str, json: Bytes) -> impl Future<Output = Result<(), Error>> + Send;

    /// Reads a record; `None` if there is no such object, because its retention has ended.
    fn get_record(&self, key: &str) -> impl Future<Output = Result<Option<Bytes>, Error>> + Send;
}

/// What a URL of an upload does in a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown<'s> {
    /// It downloads the file under this name.
    Download(&'s str),
    /// It shows the file in a page, as this media type.
    Inline(&'s str),
}

/// Short-lived URLs for a person.
pub trait ReadUrls: Send + Sync {
    /// A URL of the uploaded object; `None` if the object no longer exists, or if the malware gate is on and the scanner has
    /// not found the object clean.
    fn upload_url(
        &self,
        object: &ObjectVersion,
        shown: Shown<'_>,
    ) -> impl Future<Output = Result<Option<String>, Error>> + Send;

    /// A URL of a returned file, downloaded under `file_name`; `None` in the same cases.
    fn returned_url(
        &self,
        key: &str,
        file_name: &str,
    ) -> impl Future<Output = Result<Option<String>, Error>> + Send;
}
