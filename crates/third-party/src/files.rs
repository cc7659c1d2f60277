//! The result files: stored on disk, served under unguessable tokens, with faults on demand.

use std::{
    collections::HashMap,
    io::{self, SeekFrom},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, stream};
use http::{HeaderValue, StatusCode, header};
use lectern::contract::wire::{FileRole, ReturnedFile};
use lectern_content::MediaType;
use sha2::{Digest as _, Sha256};
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncSeekExt as _},
};
use url::Url;
use uuid::Uuid;

use crate::{
    app::App,
    faults::FileFault,
    intake::{Incoming, hex},
    problem::Problem,
    work::Produced,
};

const CHUNK_BYTES: u64 = 64 * 1024;

/// All result files of the server.
#[derive(Debug)]
pub(crate) struct Files {
    dir: PathBuf,
    by_token: Mutex<HashMap<String, Stored>>,
}

#[derive(Clone, Debug)]
struct Stored {
    name: &'static str,
    role: FileRole,
    media_type: &'static str,
    size_bytes: u64,
    key: String,
    document_sha256: String,
}

impl Files {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir, by_token: Mutex::default() }
    }

    /// Stores one result file and returns its declaration. `key` and `document_sha256` identify the job and its
    /// document for fault rules.
    pub(crate) async fn store(
        &self,
        produced: Produced,
        base: &Url,
        key: &str,
        document_sha256: &str,
    ) -> io::Result<ReturnedFile> {
        let token = new_token();
        let sha256 = hex(&Sha256::digest(&produced.bytes));
        tokio::fs::write(self.dir.join(&token), &produced.bytes).await?;
        let stored = Stored {
            name: produced.name,
            role: produced.role,
            media_type: produced.media_type,
            size_bytes: produced.bytes.len() as u64,
            key: key.to_owned(),
            document_sha256: document_sha256.to_owned(),
        };
        Ok(self.declare(token, stored, sha256, base))
    }

    /// Stores the job's document itself as a result file, without copying its bytes, and returns its declaration.
    pub(crate) async fn keep(
        &self,
        incoming: &Incoming,
        media_type: MediaType,
        base: &Url,
        key: &str,
    ) -> io::Result<ReturnedFile> {
        let token = new_token();
        tokio::fs::hard_link(&incoming.path, self.dir.join(&token)).await?;
        let stored = Stored {
            name: "document",
            role: FileRole::Attachment,
            media_type: media_type.as_str(),
            size_bytes: incoming.received.size_bytes,
            key: key.to_owned(),
            document_sha256: incoming.received.sha256.clone(),
        };
        Ok(self.declare(token, stored, incoming.received.sha256.clone(), base))
    }

    /// Deletes the result files of the job with this key.
    pub(crate) async fn erase(&self, key: &str) -> io::Result<()> {
        let mut tokens = Vec::new();
        self.lock().retain(|token, stored| {
            let is_kept = stored.key != key;
            if !is_kept {
                tokens.push(token.clone());
            }
            is_kept
        });
        for token in tokens {
            tokio::fs::remove_file(self.dir.join(token)).await?;
        }
        Ok(())
    }

    fn declare(&self, token: String, stored: Stored, sha256: String, base: &Url) -> ReturnedFile {
        let file = ReturnedFile {
            name: stored.name.into(),
            role: stored.role,
            url: format!("{}/v1/files/{token}/{}", base.as_str().trim_end_matches('/'), stored.name),
            size_bytes: stored.size_bytes,
            sha256,
            media_type: stored.media_type.to_owned(),
        };
        self.lock().insert(token, stored);
        file
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Stored>> {
        self.by_token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn new_token() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

/// `GET /v1/files/{token}/{name}`.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Problem> {
    let unknown = || Problem::not_found("file");
    let Path((token, name)) = path.map_err(|_| unknown())?;
    let stored =
        app.files.lock().get(&token).filter(|stored| stored.name == name).cloned().ok_or_else(unknown)?;
    let mut length = stored.size_bytes;
    let mut keep = None;
    let mut altered_at = None;
    match app.faults.download(&stored.key, &stored.document_sha256, stored.role) {
        Some(FileFault::FileMissing) => return Err(unknown()),
        Some(FileFault::FileUnavailable { status }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            return Err(Problem::new(status, "unavailable", "The service cannot send the file now."));
        }
        Some(FileFault::FileRedirect { location }) => return Ok(redirect(&location)),
        Some(FileFault::FileTruncated { keep_bytes }) => keep = Some(keep_bytes.unwrap_or(length / 2)),
        Some(FileFault::FileAltered) => altered_at = Some(length / 2),
        Some(FileFault::FileOversized { factor }) => length = length.saturating_mul(factor),
        Some(
            FileFault::DeclaredSize { .. }
            | FileFault::DeclaredSha256 { .. }
            | FileFault::DeclaredMediaType { .. }
            | FileFault::FileName { .. }
            | FileFault::FileUrl { .. },
        )
        | None => {}
    }
    // The token is the file's name on disk. It is a known token, so it cannot be a path.
    let file = File::open(app.files.dir.join(&token)).await.map_err(|_| Problem::internal())?;
    let mut response =
        Response::new(Body::from_stream(read(Transfer { file, done: 0, length, keep, altered_at })));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(stored.media_type));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    Ok(response)
}

fn redirect(location: &str) -> Response {
    match HeaderValue::from_str(location) {
        Ok(location) => (StatusCode::FOUND, [(header::LOCATION, location)]).into_response(),
        Err(_) => Problem::internal().into_response(),
    }
}

struct Transfer {
    file: File,
    done: u64,
    length: u64,
    keep: Option<u64>,
    altered_at: Option<u64>,
}

/// Streams `length` bytes, and repeats the file if it is shorter. An error ends the connection early.
fn read(transfer: Transfer) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::try_unfold(transfer, |mut transfer| async move {
        if transfer.done == transfer.length {
            return Ok(None);
        }
        let until = transfer.keep.unwrap_or(transfer.length).min(transfer.length);
        if transfer.done >= until {
            // Yielding lets hyper send its buffered bytes; an immediate error would drop them.
            tokio::task::yield_now().await;
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut chunk = vec![0; usize::try_from((until - transfer.done).min(CHUNK_BYTES)).unwrap_or(0)];
        let mut read = transfer.file.read(&mut chunk).await?;
        if read == 0 {
            transfer.file.seek(SeekFrom::Start(0)).await?;
            read = transfer.file.read(&mut chunk).await?;
        }
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        chunk.truncate(read);
        let alter = transfer.altered_at.and_then(|at| usize::try_from(at.checked_sub(transfer.done)?).ok());
        if let Some(byte) = alter.and_then(|at| chunk.get_mut(at)) {
            *byte ^= 1;
        }
        transfer.done += read as u64;
        Ok(Some((Bytes::from(chunk), transfer)))
    })
}
