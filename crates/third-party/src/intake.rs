//! Receives a document: streams it to a file while hashing it, and never holds it in memory.

use std::{
    io,
    path::{Path, PathBuf},
    pin::pin,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use sha2::{Digest as _, Sha256};
use tokio::{
    fs::File,
    io::{AsyncWriteExt as _, BufWriter},
    time::{Instant, sleep_until, timeout},
};
use uuid::Uuid;

use crate::jobs::Received;

/// The longest pause between two chunks.
const STALL: Duration = Duration::from_mins(1);
const BUFFER_BYTES: usize = 256 * 1024;

/// Reads exactly `expected` bytes of `stream` into a new file in `dir`. `taken` grows with the bytes read, also if the
/// function fails.
///
/// # Errors
/// [`IntakeError`]; the file has then been deleted.
pub(crate) async fn take_in<S, E>(
    dir: &Path,
    stream: S,
    expected: u64,
    body_fault: BodyFault,
    taken: &mut u64,
) -> Result<Incoming, IntakeError>
where
    S: Stream<Item = Result<Bytes, E>>,
{
    let mut stream = pin!(stream);
    let path = dir.join(Uuid::new_v4().simple().to_string());
    let mut file = BufWriter::with_capacity(BUFFER_BYTES, File::create_new(&path).await?);
    let mut incoming = Incoming { path, received: Received { sha256: String::new(), size_bytes: expected } };
    let mut hasher = Sha256::new();
    let begun = Instant::now();
    let cut_at = body_fault.cut_after.map(|bytes| bytes.min(expected));
    loop {
        if cut_at.is_some_and(|cut_at| *taken >= cut_at) {
            return Err(IntakeError::Cut);
        }
        let Some(chunk) = timeout(STALL, stream.next()).await.map_err(|_| IntakeError::Incomplete)? else {
            break;
        };
        let chunk = chunk.map_err(|_| IntakeError::Incomplete)?;
        *taken += chunk.len() as u64;
        if *taken > expected {
            return Err(IntakeError::TooLong);
        }
        hasher.update(&chunk);
        file.write_all(&chunk).await?;
        if let Some(bytes_per_second) = body_fault.bytes_per_second {
            let due_ms = taken.saturating_mul(1000) / bytes_per_second.max(1);
            sleep_until(begun + Duration::from_millis(due_ms)).await;
        }
    }
    if *taken != expected {
        return Err(IntakeError::Incomplete);
    }
    file.flush().await?;
    incoming.received.sha256 = hex(&hasher.finalize());
    Ok(incoming)
}

/// `bytes` as lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A document on disk; dropping it removes the file.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// The path of the file.
    pub(crate) path: PathBuf,
    /// Hash and size.
    pub(crate) received: Received,
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, "could not remove a document that is no longer needed");
        }
    }
}

/// How reading the body is disturbed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BodyFault {
    /// Stop after this number of bytes.
    pub(crate) cut_after: Option<u64>,
    /// Read at this number of bytes per second.
    pub(crate) bytes_per_second: Option<u64>,
}

/// Why receiving a document failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IntakeError {
    /// The body ended early, or the sender paused for too long.
    #[error("the document ended before its declared size")]
    Incomplete,
    /// The body is longer than declared.
    #[error("the document is longer than its declared size")]
    TooLong,
    /// A fault stopped the upload.
    #[error("a fault stopped the upload")]
    Cut,
    /// Writing to disk failed.
    #[error("the document could not be stored")]
    Io(#[from] io::Error),
}
