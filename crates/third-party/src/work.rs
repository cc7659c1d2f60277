//! Processes a document: makes the returned files from its bytes. Blocks the thread and uses no network.

mod captions;
mod document;
mod video;
mod webm;

use lectern::contract::wire::{FileRole, JobError};
use lectern_content::{ContentError, MediaType};

use crate::intake::Incoming;

/// One result file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Produced {
    pub(crate) name: &'static str,
    pub(crate) role: FileRole,
    pub(crate) media_type: &'static str,
    pub(crate) bytes: Vec<u8>,
}

/// Makes text, findings and a report from a written document, and facts and captions from a video.
///
/// # Errors
/// The error for the callback if the document cannot be read.
pub(crate) fn process(incoming: &Incoming, media_type: MediaType) -> Result<Vec<Produced>, JobError> {
    match media_type {
        MediaType::Docx | MediaType::Pdf | MediaType::Text => document::process(incoming, media_type),
        MediaType::Mp4 | MediaType::WebM => video::process(incoming, media_type),
    }
}

/// The error for a document on which a parser panicked, or which could not be read from disk.
pub(crate) fn unreadable() -> JobError {
    error("unreadable", "The file could not be read. It may be damaged; please export it again.")
}

fn error(code: &str, message: &str) -> JobError {
    JobError { code: code.to_owned(), message: message.into() }
}

fn content_error(error: &ContentError) -> JobError {
    JobError { code: error.code().to_owned(), message: error.to_string().into() }
}

fn disk_error(error: &std::io::Error) -> JobError {
    tracing::error!(%error, "a document could not be read from disk");
    unreadable()
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    // Serialising plain structs with string keys cannot fail.
    serde_json::to_vec(value).unwrap_or_default()
}
