//! Both buckets in memory.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use sha2::{Digest as _, Sha256};

use super::{
    Faults, lock,
    port_contract::{erasure::ObjectsSetup, objects::UploadsSetup},
    world::BUCKET,
};
use crate::{
    document::metadata::FileName,
    document::{ObjectVersion, SubmissionId, keys},
    error::{Error, StoreError},
    ports::{
        ByteStream, ErasedObjects, ObjectHead, Promoted, Protection, ReadUrls, Records, ReturnedFiles,
        ScanResults, ScanStatus, Shown, StreamFacts, SubmissionObjects, UploadReader, Uploads,
    },
};

/// Uploaded objects with their versions, and returned files with records.
#[derive(Debug, Default)]
pub struct MemoryObjects {
    uploads: Mutex<BTreeMap<(String, String), Vec<Version>>>,
    protections: Mutex<HashMap<ObjectVersion, Protection>>,
    returned: Mutex<BTreeMap<String, Returned>>,
    scans: Mutex<HashMap<ObjectVersion, ScanStatus>>,
    breaks_off: AtomicBool,
    bytes_read: AtomicU64,
    faults: Arc<Faults>,
}

#[derive(Clone, Debug)]
struct Version {
    id: String,
    content_type: Option<String>,
    /// The metadata `owner`, `name` and `upload`, as they were sent.
    metadata: [Option<String>; 3],
    /// `None` is a delete marker.
    bytes: Option<Bytes>,
}

#[derive(Debug)]
struct Returned {
    bytes: Bytes,
    /// Its hash and its media type, if it was promoted.
    kept_with_it: Option<(String, String)>,
}

impl MemoryObjects {
    /// Empty buckets whose calls `faults` may cut off.
    pub fn new(faults: Arc<Faults>) -> Self {
        Self { faults, ..Self::default() }
    }

    /// Uploads a new version. S3 declares a type if the uploader does not.
    pub fn upload(&self, object: &ObjectVersion, content_type: Option<&str>, bytes: impl Into<Bytes>) {
        self.push(object, Some(bytes.into()), content_type, [None; 3]);
    }

    /// Uploads a new version with the metadata that the API signs into an upload.
    pub fn upload_with_metadata(
        &self,
        object: &ObjectVersion,
        owner: &str,
        name: &str,
        bytes: impl Into<Bytes>,
    ) {
        self.push(object, Some(bytes.into()), None, [Some(owner), Some(name), None]);
    }

    /// Puts a delete marker on the key.
    pub fn delete(&self, object: &ObjectVersion) {
        self.push(object, None, None, [None; 3]);
    }

    /// Breaks off the next upload that is read, after all its bytes but the last.
    pub fn break_off_next_read(&self) {
        self.breaks_off.store(true, Ordering::Relaxed);
    }

    /// The number of bytes of uploads that [`Uploads::read`] has returned.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// A returned file, in quarantine or not, for assertions and for setting up.
    pub fn returned(&self, key: &str) -> Option<Bytes> {
        lock(&self.returned).get(key).map(|returned| returned.bytes.clone())
    }

    /// The keys of all objects in the bucket of returned files, for assertions.
    pub fn returned_keys(&self) -> Vec<String> {
        lock(&self.returned).keys().cloned().collect()
    }

    /// Puts a returned file, with neither hash nor media type.
    pub fn put_returned(&self, key: &str, bytes: impl Into<Bytes>) {
        let returned = Returned { bytes: bytes.into(), kept_with_it: None };
        lock(&self.returned).insert(key.to_owned(), returned);
    }

    fn push(
        &self,
        object: &ObjectVersion,
        bytes: Option<Bytes>,
        content_type: Option<&str>,
        metadata: [Option<&str>; 3],
    ) {
        let version = Version {
            id: object.version_id.clone(),
            content_type: bytes.is_some().then(|| content_type.unwrap_or("binary/octet-stream").to_owned()),
            metadata: metadata.map(|value| value.map(str::to_owned)),
            bytes,
        };
        lock(&self.uploads).entry((object.bucket.clone(), object.key.clone())).or_default().push(version);
    }

    /// Sets what the malware scanner says about a version.
    pub fn scan(&self, object: &ObjectVersion, status: ScanStatus) {
        lock(&self.scans).insert(object.clone(), status);
    }

    /// Protects a version, so that it cannot be read.
    pub fn protect(&self, object: &ObjectVersion, protection: Protection) {
        lock(&self.protections).insert(object.clone(), protection);
    }

    fn next_version(&self, key: &str) -> ObjectVersion {
        let (bucket, key) = (BUCKET.to_owned(), key.to_owned());
        let count = lock(&self.uploads).get(&(bucket.clone(), key.clone())).map_or(0, Vec::len);
        ObjectVersion { bucket, key, version_id: format!("v{count}") }
    }

    fn version(&self, object: &ObjectVersion) -> Option<Version> {
        let uploads = lock(&self.uploads);
        let versions = uploads.get(&(object.bucket.clone(), object.key.clone()))?;
        versions.iter().find(|version| version.id == object.version_id && version.bytes.is_some()).cloned()
    }
}

impl Uploads for MemoryObjects {
    async fn head(&self, object: &ObjectVersion) -> Result<Option<ObjectHead>, Error> {
        self.faults.run("head", || {
            self.version(object).map(
                |Version { id, content_type, metadata: [owner, name, upload], bytes }| ObjectHead {
                    version_id: id,
                    size_bytes: bytes.map_or(0, |bytes| bytes.len() as u64),
                    content_type,
                    owner: owner.and_then(|owner| owner.parse().ok()),
                    name: name.as_deref().and_then(FileName::decode),
                    upload: upload.and_then(|upload| upload.parse().ok()),
                    protection: lock(&self.protections).get(object).copied().unwrap_or_default(),
                },
            )
        })
    }

    async fn current_version(&self, object: &ObjectVersion) -> Result<Option<String>, Error> {
        self.faults.run("current_version", || {
            let uploads = lock(&self.uploads);
            let newest = uploads.get(&(object.bucket.clone(), object.key.clone()))?.last()?;
            newest.bytes.as_ref().map(|_| newest.id.clone())
        })
    }

    async fn read(&self, object: &ObjectVersion, range: Range<u64>) -> Result<Bytes, Error> {
        self.faults.run("read_upload", || {
            if lock(&self.protections).get(object).is_some_and(|protection| *protection != Protection::None) {
                return Err(StoreError::defect("the object is protected").into());
            }
            let bytes = self.version(object).and_then(|version| version.bytes).unwrap_or_default();
            let [start, end] =
                [range.start, range.end].map(|at| bytes.len().min(usize::try_from(at).unwrap_or(usize::MAX)));
            // S3 refuses a range that starts at the object's end, and a version that is gone has no bytes.
            if start >= end {
                return Err(StoreError::defect("there are no such bytes").into());
            }
            self.bytes_read.fetch_add((end - start) as u64, Ordering::Relaxed);
            Ok(bytes.slice(start..end))
        })?
    }
}

impl ScanResults for MemoryObjects {
    async fn scan_status(&self, object: &ObjectVersion) -> Result<ScanStatus, Error> {
        self.faults.run("scan_status", || match self.version(object) {
            None => ScanStatus::Gone,
            Some(_) => lock(&self.scans).get(object).copied().unwrap_or(ScanStatus::Pending),
        })
    }
}

impl UploadsSetup for MemoryObjects {
    async fn add_version(&self, key: &str, content_type: Option<&str>, bytes: Bytes) -> ObjectVersion {
        let object = self.next_version(key);
        self.upload(&object, content_type, bytes);
        object
    }

    async fn add_version_with_metadata(&self, key: &str, owner: &str, name: &str) -> ObjectVersion {
        let object = self.next_version(key);
        self.upload_with_metadata(&object, owner, name, "Text.");
        object
    }

    async fn add_delete_marker(&self, object: &ObjectVersion) {
        self.delete(&ObjectVersion { version_id: "delete-marker".to_owned(), ..object.clone() });
    }

    async fn remove_version(&self, object: &ObjectVersion) {
        if let Some(versions) = lock(&self.uploads).get_mut(&(object.bucket.clone(), object.key.clone())) {
            versions.retain(|version| version.id != object.version_id);
        }
    }
}

impl ObjectsSetup for MemoryObjects {
    async fn put(&self, key: &str, bytes: Bytes) {
        self.put_returned(key, bytes);
    }
}

impl UploadReader for MemoryObjects {
    /// The body ends with an error if the version is gone or has another size than was registered.
    async fn open(&self, object: &ObjectVersion, size_bytes: u64) -> Result<ByteStream, Error> {
        self.faults.run("open", || {
            let bytes = self.version(object).and_then(|version| version.bytes);
            let chunks = match bytes {
                Some(bytes) if self.breaks_off.swap(false, Ordering::Relaxed) => {
                    vec![Ok(bytes.slice(..bytes.len().saturating_sub(1))), Err(io::Error::other("reset"))]
                }
                Some(bytes) if bytes.len() as u64 == size_bytes => vec![Ok(bytes)],
                _ => vec![Err(io::Error::other("the version is not as it was registered"))],
            };
            Box::pin(stream::iter(chunks)) as ByteStream
        })
    }

    async fn presign(&self, object: &ObjectVersion) -> Result<String, Error> {
        self.faults.run("presign", || format!("https://uploads.example/{}", object.version_id))
    }
}

impl Records for MemoryObjects {
    async fn put_record(&self, key: &str, json: Bytes) -> Result<(), Error> {
        self.faults.run("put_record", || self.put_returned(key, json))
    }

    async fn get_record(&self, key: &str) -> Result<Option<Bytes>, Error> {
        self.faults.run("get_record", || self.returned(key))
    }
}

impl ReturnedFiles for MemoryObjects {
    async fn quarantine(&self, key: &str, mut body: ByteStream, limit: u64) -> Result<StreamFacts, Error> {
        let (mut seen, mut broken_off) = (Vec::new(), None);
        while let Some(chunk) = body.next().await {
            let Ok(chunk) = chunk else {
                broken_off = Some(Error::Unavailable("the download broke off".to_owned()));
                break;
            };
            seen.extend_from_slice(&chunk);
            if seen.len() as u64 > limit {
                seen.truncate(usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1));
                break;
            }
        }
        self.faults.run("quarantine", || {
            let facts = StreamFacts {
                size_bytes: seen.len() as u64,
                sha256: sha256(&seen),
                first_bytes: Bytes::copy_from_slice(&seen[..seen.len().min(4096)]),
                tag: sha256(&seen),
            };
            self.put_returned(key, seen);
            broken_off.map_or(Ok(facts), Err)
        })?
    }

    async fn promote(
        &self,
        quarantine_key: &str,
        facts: &StreamFacts,
        key: &str,
        media_type: &str,
    ) -> Result<(), Error> {
        self.faults.run("promote", || {
            let mut returned = lock(&self.returned);
            if returned.get(quarantine_key).is_none_or(|found| sha256(&found.bytes) != facts.tag) {
                return Err(StoreError::Conflict.into());
            }
            if let Some(found) = returned.remove(quarantine_key) {
                let kept_with_it = Some((facts.sha256.clone(), media_type.to_owned()));
                returned.insert(key.to_owned(), Returned { kept_with_it, ..found });
            }
            Ok(())
        })?
    }

    async fn promoted(&self, key: &str) -> Result<Option<Promoted>, Error> {
        self.faults.run("promoted", || {
            let returned = lock(&self.returned);
            let found = returned.get(key)?;
            let (sha256, media_type) = found.kept_with_it.clone()?;
            Some(Promoted { size_bytes: found.bytes.len() as u64, sha256, media_type })
        })
    }

    async fn read(&self, key: &str, limit: u64) -> Result<Option<Bytes>, Error> {
        self.faults.run("read", || {
            self.returned(key)
                .map(|bytes| bytes.slice(..bytes.len().min(usize::try_from(limit).unwrap_or(usize::MAX))))
        })
    }
}

impl ReadUrls for MemoryObjects {
    async fn upload_url(&self, object: &ObjectVersion, shown: Shown<'_>) -> Result<Option<String>, Error> {
        let shown = match shown {
            Shown::Download(file_name) => format!("attachment={file_name}"),
            Shown::Inline(media_type) => format!("inline={media_type}"),
        };
        let url = |version: Version| format!("https://uploads.example/{}?{shown}", version.id);
        self.faults.run("upload_url", || self.version(object).map(url))
    }

    async fn returned_url(&self, key: &str, file_name: &str) -> Result<Option<String>, Error> {
        let url = |_| format!("https://returned.example/{key}?attachment={file_name}");
        self.faults.run("returned_url", || self.returned(key).map(url))
    }
}

impl SubmissionObjects for MemoryObjects {
    async fn count_versions(&self, id: &SubmissionId) -> Result<u64, Error> {
        self.faults.run("count_versions", || {
            let prefix = keys::uploads_of(id);
            let uploads = lock(&self.uploads);
            let uploads = uploads.iter().filter(|((_, key), _)| key.starts_with(&prefix));
            let uploads: usize = uploads.map(|(_, versions)| versions.len()).sum();
            let returned = self.returned_keys().iter().filter(|key| is_returned_of(id, key)).count();
            (uploads + returned) as u64
        })
    }

    async fn erase_objects(&self, id: &SubmissionId, most: usize) -> Result<ErasedObjects, Error> {
        self.faults.run("erase_objects", || {
            let (prefix, mut count) = (keys::uploads_of(id), 0);
            lock(&self.uploads).retain(|(_, key), versions| {
                let is_kept = count >= most || !key.starts_with(&prefix);
                count += if is_kept { 0 } else { versions.len() };
                is_kept
            });
            lock(&self.returned).retain(|key, _| {
                let is_kept = count >= most || !is_returned_of(id, key);
                count += usize::from(!is_kept);
                is_kept
            });
            let is_left = lock(&self.uploads).keys().any(|(_, key)| key.starts_with(&prefix))
                || lock(&self.returned).keys().any(|key| is_returned_of(id, key));
            ErasedObjects { versions: count as u64, are_all: !is_left }
        })
    }
}

fn is_returned_of(id: &SubmissionId, key: &str) -> bool {
    keys::returned_of(id).iter().any(|prefix| key.starts_with(prefix))
}

/// SHA-256 in lower-case hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
