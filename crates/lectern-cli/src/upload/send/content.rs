//! A range of a file with its checksum.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::{
    problem::Problem,
    upload::files::{LocalFile, unreadable},
};

pub(super) struct Content {
    pub(super) bytes: Bytes,
    /// Its SHA-256, in base64.
    pub(super) checksum: String,
}

impl Content {
    pub(super) async fn read(file: &LocalFile, start: u64, length: u64) -> Result<Self, Problem> {
        let path = file.path.clone();
        let read = move || {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(start))?;
            let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
            file.read_exact(&mut bytes)?;
            let checksum = STANDARD.encode(Sha256::digest(&bytes));
            Ok(Self { bytes: bytes.into(), checksum })
        };
        let read =
            tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        read.map_err(|error| unreadable(&file.path, &error))
    }
}
