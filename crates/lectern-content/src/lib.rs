//! Parsers of untrusted files: uploads of teachers, and files that a third party returns.
//!
//! [`FileType`] is the table of the types that Lectern accepts or refuses. [`sniff()`] detects a file's type from its first
//! bytes, and [`sniff_zip_end`] from the last bytes of a ZIP. [`docx`], [`mp3`], [`mp4`], [`odt`], [`picture`], [`pptx`],
//! [`srt`], [`text`] and [`vtt`] read the file's content. All of them are pure functions over bytes: they return a [`ContentError`] instead of panicking, they
//! stay within [`Limits`], and they never allocate by a size that the file declares.

mod cue;
pub mod docx;
pub mod ebml;
mod file_types;
mod html;
mod media_type;
pub mod mp3;
pub mod mp4;
pub mod odt;
mod package;
pub mod picture;
pub mod pptx;
#[cfg(feature = "testing")]
pub mod samples;
mod sniff;
pub mod srt;
pub mod text;
pub mod vtt;
mod xml;

pub use cue::{Captions, Cue};
pub use file_types::{BrowserSupport, FileType, MediaKind};
pub use media_type::{MediaType, UnknownMediaType, canonical};
pub use sniff::{
    CompoundFile, Kind, ZipContent, can_be_pdf, fits_declared_type, sniff, sniff_zip_end, sniff_zip_start,
};

/// Why a file could not be read. The same bytes always give the same error, so a retry does not help.
///
/// `Display` is a sentence for the teacher. It quotes nothing of the file's content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// The file has no content.
    #[error("The file is empty.")]
    Empty,
    /// The file ends before its own structure does.
    #[error("The file is incomplete: it ends too early. Please upload it again.")]
    Truncated,
    /// The file needs a password, or rights management protects it.
    #[error("The file is encrypted. Please save it without a password and upload it again.")]
    Encrypted,
    /// The file exceeds one of the [`Limits`].
    #[error("The file is too large or too complex to be read.")]
    TooComplex,
    /// The file violates the rules of its format. The text names the violation.
    #[error("The file is damaged: {0}.")]
    Malformed(String),
    /// The text is neither UTF-8 nor UTF-16 with a byte order mark.
    #[error("The text is not in UTF-8. Please save it as UTF-8 and upload it again.")]
    NotUtf8,
    /// Captions with a text that belongs to no readable cue.
    #[error("The captions have no cue that can be read. Please export them again as WebVTT or SubRip.")]
    NoCues,
    /// The parser does not support this variant of the format. The text names the variant.
    #[error("The file cannot be read: {0}.")]
    Unsupported(&'static str),
}

impl ContentError {
    /// The error's name on the wire (`JobError.code`) and in a document's failure reason, in camelCase.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Truncated => "truncated",
            Self::Encrypted => "encrypted",
            Self::TooComplex => "tooComplex",
            Self::Malformed(_) => "malformed",
            Self::NotUtf8 => "notUtf8",
            Self::NoCues => "noCues",
            Self::Unsupported(_) => "unsupported",
        }
    }

    /// [`ContentError::Malformed`] from a clause that completes "The file is damaged: …".
    pub fn malformed(what: &str) -> Self {
        Self::Malformed(what.to_owned())
    }
}

/// The limits of the parsers. A file that exceeds one of them is [`ContentError::TooComplex`].
#[derive(Clone, Copy, Debug)]
pub struct Limits;

impl Limits {
    /// Bytes of a text file, before decoding.
    pub const TEXT_BYTES: usize = 32 * 1024 * 1024;
    /// Bytes of a VTT or SRT file, before decoding.
    pub const CAPTION_BYTES: usize = 16 * 1024 * 1024;
    /// Cues of a VTT or SRT file: one cue per second for more than a day.
    pub const CUES: usize = 100_000;
    /// Characters of the text of a document: about 5,000 pages.
    pub const EXTRACTED_CHARS: usize = 10_000_000;
    /// Bytes of an office document.
    pub const ZIP_BYTES: usize = 256 * 1024 * 1024;
    /// Entries in the directory of an office document.
    pub const ZIP_ENTRIES: usize = 10_000;
    /// Bytes that the parser inflates from one office document.
    pub const ZIP_INFLATED_BYTES: u64 = 64 * 1024 * 1024;
    /// The highest ratio of inflated to packed bytes of an entry that inflates to more than
    /// [`Self::ZIP_RATIO_FROM_BYTES`].
    pub const ZIP_RATIO: u64 = 200;
    /// Entries that inflate to fewer bytes may have any ratio, because small documents full of blanks are harmless.
    pub const ZIP_RATIO_FROM_BYTES: u64 = 1024 * 1024;
    /// Documents that are embedded in a DOCX.
    pub const EMBEDDED_DOCUMENTS: usize = 100;
    /// Slides of a presentation. Each of them takes a search through the directory.
    pub const SLIDES: usize = 2000;
    /// Nested XML elements. Word itself nests fewer than 100.
    pub const XML_DEPTH: usize = 256;
    /// Tags, texts and references of one XML file.
    pub const XML_EVENTS: usize = 10_000_000;
    /// Bytes of the `moov` box of an MP4: about 40 hours of video.
    pub const MOOV_BYTES: u64 = 64 * 1024 * 1024;
    /// Boxes at the top level of an MP4. A fragmented MP4 has two for every few seconds.
    pub const TOP_LEVEL_BOXES: usize = 100_000;
    /// Tracks of an MP4.
    pub const TRACKS: usize = 256;
    /// Frames of an MP3: about 70 hours.
    pub const MP3_FRAMES: u64 = 10_000_000;
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
            ContentError::NoCues,
            ContentError::Unsupported("a reason"),
        ];
        let codes: std::collections::BTreeSet<_> = all.iter().map(ContentError::code).collect();
        assert_eq!(codes.len(), all.len());
        for error in &all {
            assert!(error.code().chars().all(|c| c.is_ascii_alphanumeric()), "{error:?}");
            assert!(error.to_string().ends_with('.'), "{error:?}");
        }
    }
}
