//! The uploads bucket in memory, as the API hands it out.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use super::{Faults, lock, port_contract::hand_in::PartsSetup};
use crate::{
    document::ObjectVersion,
    error::Error,
    limits::UPLOAD_SIGNATURE_LIFETIME,
    ports::{PartToSign, SignUploads, SignedPart, Upload, UploadForm, UploadedPart},
};

/// Multipart uploads and forms that were handed out, and objects that were made or deleted.
#[derive(Debug, Default)]
pub struct MemoryDesk {
    state: Mutex<State>,
    faults: Arc<Faults>,
}

#[derive(Debug, Default)]
struct State {
    begun: u64,
    uploads: BTreeMap<(String, String), BTreeMap<u32, UploadedPart>>,
    completed: Vec<String>,
    newest: BTreeMap<String, String>,
    deleted: Vec<ObjectVersion>,
}

impl MemoryDesk {
    /// A desk whose calls `faults` may cut off.
    pub fn new(faults: Arc<Faults>) -> Self {
        Self { faults, ..Self::default() }
    }

    /// Does what a person does with a signed part. `false` if there is no such multipart upload.
    pub fn send_part(&self, part: UploadedPart) -> bool {
        let mut state = lock(&self.state);
        let Some(mut upload) = state.uploads.last_entry() else { return false };
        upload.get_mut().insert(part.part_number, part);
        true
    }

    /// Adds a version of an object.
    pub fn add_version(&self, object: &ObjectVersion) {
        lock(&self.state).newest.insert(object.key.clone(), object.version_id.clone());
    }

    /// The keys of the objects that were made of parts.
    pub fn completed(&self) -> Vec<String> {
        lock(&self.state).completed.clone()
    }

    /// The objects that were deleted.
    pub fn deleted(&self) -> Vec<ObjectVersion> {
        lock(&self.state).deleted.clone()
    }

    /// How many multipart uploads are neither completed nor aborted.
    pub fn open_uploads(&self) -> usize {
        lock(&self.state).uploads.len()
    }
}

impl SignUploads for MemoryDesk {
    async fn form(
        &self,
        upload: &Upload<'_>,
        checksum_sha256: Option<&str>,
        _now: OffsetDateTime,
    ) -> Result<UploadForm, Error> {
        self.faults.run("form", || {
            let mut fields = BTreeMap::from([("key".to_owned(), upload.file.key.clone())]);
            if let Some(checksum) = checksum_sha256 {
                fields.insert("x-amz-checksum-sha256".to_owned(), checksum.to_owned());
            }
            let url = "https://uploads.example/".to_owned();
            UploadForm { url, fields, expires_in_s: UPLOAD_SIGNATURE_LIFETIME.as_secs() }
        })
    }

    async fn begin(&self, upload: &Upload<'_>) -> Result<String, Error> {
        // Another request may begin the same upload meanwhile.
        tokio::task::yield_now().await;
        self.faults.run("begin", || {
            let mut state = lock(&self.state);
            state.begun += 1;
            let id = format!("multipart-{}", state.begun);
            state.uploads.insert((upload.file.key.clone(), id.clone()), BTreeMap::new());
            id
        })
    }

    async fn parts(&self, key: &str, multipart_id: &str) -> Result<Option<Vec<UploadedPart>>, Error> {
        self.faults.run("parts", || {
            let state = lock(&self.state);
            let upload = state.uploads.get(&(key.to_owned(), multipart_id.to_owned()))?;
            Some(upload.values().cloned().collect())
        })
    }

    async fn sign_part(&self, key: &str, multipart_id: &str, part: &PartToSign) -> Result<SignedPart, Error> {
        self.faults.run("sign_part", || SignedPart {
            part_number: part.part_number,
            url: format!(
                "https://uploads.example/{key}?uploadId={multipart_id}&partNumber={}",
                part.part_number
            ),
            headers: BTreeMap::from([("x-amz-checksum-sha256".to_owned(), part.checksum_sha256.clone())]),
            expires_in_s: UPLOAD_SIGNATURE_LIFETIME.as_secs(),
        })
    }

    async fn complete(&self, key: &str, multipart_id: &str, _parts: &[UploadedPart]) -> Result<(), Error> {
        self.faults.run("complete", || {
            let mut state = lock(&self.state);
            if state.uploads.remove(&(key.to_owned(), multipart_id.to_owned())).is_some() {
                state.completed.push(key.to_owned());
                state.newest.insert(key.to_owned(), format!("version of {multipart_id}"));
            }
        })
    }

    async fn newest_version(&self, key: &str) -> Result<Option<String>, Error> {
        self.faults.run("newest_version", || lock(&self.state).newest.get(key).cloned())
    }

    async fn abort(&self, key: &str, multipart_id: &str) -> Result<(), Error> {
        self.faults.run("abort", || {
            lock(&self.state).uploads.remove(&(key.to_owned(), multipart_id.to_owned()));
        })
    }

    async fn delete(&self, object: &ObjectVersion) -> Result<bool, Error> {
        self.faults.run("delete", || {
            lock(&self.state).deleted.push(object.clone());
            true
        })
    }
}

impl PartsSetup for MemoryDesk {
    async fn send_part(&self, key: &str, multipart_id: &str, part_number: u32, bytes: Bytes) {
        let part = UploadedPart {
            part_number,
            size_bytes: bytes.len() as u64,
            checksum_sha256: STANDARD.encode(Sha256::digest(&bytes)),
            tag: format!("tag of part {part_number}"),
        };
        let upload = (key.to_owned(), multipart_id.to_owned());
        if let Some(parts) = lock(&self.state).uploads.get_mut(&upload) {
            parts.insert(part_number, part);
        }
    }
}
