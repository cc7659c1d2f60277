//! Parsers of foreign content: what a teacher uploads, what a third party returns.
//!
//! Pure functions over bytes. Each states its limits ([`Limits`]) and reports a [`ContentError`]; none panics,
//! none believes a size that the content itself declares. They know no document, no job and no storage.

pub mod cue;
pub mod docx;
mod misspellings;
pub mod mp4;
pub mod pdf;
pub mod proofread;
#[cfg(test)]
mod samples;
pub mod srt;
pub mod text;
pub mod vtt;
mod word_xml;

use std::time::Duration;

pub use cue::Cue;

/// Why content could not be read. No retry helps; only another file does.
///
/// `Display` is a sentence for the teacher and quotes nothing of the content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// Nothing in it.
    #[error("The file is empty.")]
    Empty,
    /// It ends before its own structure does.
    #[error("The file is incomplete: it ends too early. Please upload it again.")]
    Truncated,
    /// It needs a password or is under rights management.
    #[error("The file is encrypted. Please save it without a password and upload it again.")]
    Encrypted,
    /// One of the budgets of [`Limits`] is used up.
    #[error("The file is too large or too complicated to be read.")]
    TooComplex,
    /// It breaks the rules of its format. Holds what is wrong, in words of ours.
    #[error("The file is damaged: {0}.")]
    Malformed(String),
    /// Text in another encoding than UTF-8 (or UTF-16 with a byte order mark).
    #[error("The text is not in UTF-8. Please save it as UTF-8 and upload it again.")]
    NotUtf8,
    /// A variant of the format that is not read. Holds which one, in words of ours.
    #[error("The file cannot be read: {0}.")]
    Unsupported(String),
}

impl ContentError {
    /// The word for it on the wire (`JobError.code`, `Failed(reason)`), camelCase.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Truncated => "truncated",
            Self::Encrypted => "encrypted",
            Self::TooComplex => "tooComplex",
            Self::Malformed(_) => "malformed",
            Self::NotUtf8 => "notUtf8",
            Self::Unsupported(_) => "unsupported",
        }
    }

    fn malformed(what: &str) -> Self {
        Self::Malformed(what.to_owned())
    }
}

/// The budgets of the parsers. Going over one is [`ContentError::TooComplex`].
#[derive(Clone, Copy, Debug)]
pub struct Limits;

impl Limits {
    /// Bytes of a text file, before decoding.
    pub const TEXT_BYTES: usize = 32 * 1024 * 1024;
    /// Bytes of a VTT or SRT file, before decoding.
    pub const CAPTION_BYTES: usize = 16 * 1024 * 1024;
    /// Cues of a VTT or SRT file: one a second for more than a day.
    pub const CUES: usize = 100_000;
    /// Characters of the text extracted from a document: some 5,000 pages.
    pub const EXTRACTED_CHARS: usize = 10_000_000;
    /// Bytes of a DOCX.
    pub const ZIP_BYTES: usize = 256 * 1024 * 1024;
    /// Entries of a ZIP's directory.
    pub const ZIP_ENTRIES: usize = 10_000;
    /// Bytes that are inflated out of one ZIP, all entries together.
    pub const ZIP_INFLATED_BYTES: u64 = 64 * 1024 * 1024;
    /// How many times its packed size an entry may inflate to, once past [`Self::ZIP_RATIO_FROM_BYTES`].
    pub const ZIP_RATIO: u64 = 200;
    /// Below this an entry may have any ratio: a small document of blanks is no bomb.
    pub const ZIP_RATIO_FROM_BYTES: u64 = 1024 * 1024;
    /// How deep XML elements may nest. Word itself stays below 100.
    pub const XML_DEPTH: usize = 256;
    /// Tags, texts and references of one XML file.
    pub const XML_EVENTS: usize = 10_000_000;
    /// Bytes of a PDF.
    pub const PDF_BYTES: usize = 256 * 1024 * 1024;
    /// Pages of a PDF.
    pub const PDF_PAGES: usize = 2_000;
    /// Objects of a PDF.
    pub const PDF_OBJECTS: usize = 500_000;
    /// Bytes that any one stream of a PDF, or the content of any one page, may inflate to.
    pub const PDF_STREAM_BYTES: usize = 8 * 1024 * 1024;
    /// Bytes that the object streams of a PDF may inflate to together.
    pub const PDF_OBJECT_STREAMS_BYTES: usize = 64 * 1024 * 1024;
    /// How long the answer to a PDF may take.
    pub const PDF_TIME: Duration = Duration::from_secs(20);
    /// Bytes of the `moov` box of an MP4: some 40 hours of video.
    pub const MOOV_BYTES: u64 = 64 * 1024 * 1024;
    /// Boxes at the top level of an MP4; a fragmented one has two for every few seconds.
    pub const TOP_LEVEL_BOXES: usize = 100_000;
    /// Tracks of an MP4.
    pub const TRACKS: usize = 256;
    /// Findings of one proofreading.
    pub const FINDINGS: usize = 1_000;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_own_camel_case_code_and_a_sentence() {
        let all = [
            ContentError::Empty,
            ContentError::Truncated,
            ContentError::Encrypted,
            ContentError::TooComplex,
            ContentError::malformed("a reason"),
            ContentError::NotUtf8,
            ContentError::Unsupported("a reason".to_owned()),
        ];
        let codes: std::collections::BTreeSet<_> = all.iter().map(ContentError::code).collect();
        assert_eq!(codes.len(), all.len());
        for error in &all {
            assert!(error.code().chars().all(|c| c.is_ascii_alphanumeric()), "{error:?}");
            assert!(error.to_string().ends_with('.'), "{error:?}");
        }
    }
}
