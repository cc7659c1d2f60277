//! Processes a document: makes the returned files from its bytes. Blocks the thread and uses no network.

mod captions;
mod document;
mod picture;
mod recording;
mod webm;

use lectern::contract::wire::{FileRole, JobError};
use lectern_content::{ContentError, MediaType, docx, odt, pptx, text};

use crate::intake::Incoming;

/// One result file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Produced {
    pub(crate) name: &'static str,
    pub(crate) role: FileRole,
    pub(crate) media_type: &'static str,
    pub(crate) bytes: Vec<u8>,
}

/// Makes text, findings and a report from a written document, facts and captions from a video or a recording, and facts
/// from a picture.
///
/// # Errors
/// The error for the callback if the document cannot be read.
pub(crate) fn process(incoming: &Incoming, media_type: MediaType) -> Result<Vec<Produced>, JobError> {
    match media_type {
        MediaType::Docx => document::process(incoming, media_type, document::of(docx::extract_text)),
        MediaType::Pptx => document::process(incoming, media_type, document::of(pptx::extract_text)),
        MediaType::Odt => document::process(incoming, media_type, document::of(odt::extract_text)),
        MediaType::Text => document::process(incoming, media_type, document::of(text::decode)),
        MediaType::Pdf => document::process(incoming, media_type, document::of_pdf),
        MediaType::Mp4 | MediaType::QuickTime | MediaType::ThreeGpp | MediaType::M4a => {
            recording::process(incoming, media_type.kind(), recording::of_iso_media)
        }
        MediaType::WebM => recording::process(incoming, media_type.kind(), |file, _| webm::facts(file)),
        MediaType::Mp3 => recording::process(incoming, media_type.kind(), recording::of_mp3),
        MediaType::Jpeg | MediaType::Png => picture::process(incoming),
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

/// Reads a whole document, unless it is larger than `limit`, because the parsers hold a document in memory.
fn read_whole(incoming: &Incoming, limit: u64) -> Result<Vec<u8>, JobError> {
    if incoming.received.size_bytes > limit {
        let message = format!("The file is larger than {} MiB and cannot be read.", limit / 1024 / 1024);
        return Err(error("tooLarge", &message));
    }
    std::fs::read(&incoming.path).map_err(|error| disk_error(&error))
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    // Serialising plain structs with string keys cannot fail.
    serde_json::to_vec(value).unwrap_or_default()
}
