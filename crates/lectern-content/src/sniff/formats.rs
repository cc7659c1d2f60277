//! Binary formats that their first bytes show beyond doubt, each with the media types that its files have.

use super::signature;
use crate::ebml;

/// A binary format.
#[derive(Debug)]
pub(super) struct Format {
    shows: fn(&[u8]) -> bool,
    /// The canonical media types of files in this format.
    types: &'static [&'static str],
}

impl Format {
    /// The format that the first bytes show.
    pub(super) fn shown_by(first_bytes: &[u8]) -> Option<&'static Self> {
        FORMATS.iter().find(|format| (format.shows)(first_bytes))
    }

    /// Whether files of this format have this canonical media type.
    pub(super) fn has_type(&self, canonical: &str) -> bool {
        self.types.contains(&canonical)
    }

    /// Whether the files of some format in the table have this canonical media type.
    pub(super) fn is_known(canonical: &str) -> bool {
        FORMATS.iter().any(|format| format.has_type(canonical))
    }
}

/// Formats that other formats are built on (ZIP, compound files) list only the types that Lectern may be sent.
static FORMATS: [Format; 16] = [
    Format { shows: |bytes| signature::pdf_version(bytes), types: &["application/pdf"] },
    Format {
        shows: |bytes| signature::major_brand(bytes).is_some_and(|brand| !signature::is_image_brand(brand)),
        types: &[
            "video/mp4",
            "audio/mp4",
            "video/quicktime",
            "video/3gpp",
            "video/3gpp2",
            "audio/3gpp",
            "audio/3gpp2",
            "video/mj2",
        ],
    },
    Format {
        shows: |bytes| signature::major_brand(bytes).is_some_and(signature::is_image_brand),
        types: &["image/heic", "image/avif", "image/avif-sequence", "image/jxl", "image/x-canon-cr3"],
    },
    Format {
        shows: |bytes| ebml::doc_type(bytes).is_some(),
        types: &["video/webm", "audio/webm", "video/matroska", "audio/matroska"],
    },
    Format {
        shows: signature::zip,
        types: &[
            "application/zip",
            "application/epub+zip",
            "application/vnd.oasis.opendocument.text",
            "application/vnd.openxmlformats-officedocument.presentationml.presentation",
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ],
    },
    // Office documents with a password are compound files too, whatever their format.
    Format {
        shows: signature::compound_file,
        types: &[
            "application/msword",
            "application/vnd.ms-excel",
            "application/vnd.ms-powerpoint",
            "application/vnd.openxmlformats-officedocument.presentationml.presentation",
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ],
    },
    Format { shows: |bytes| bytes.starts_with(b"\x89PNG\r\n\x1A\n"), types: &["image/png"] },
    Format { shows: |bytes| bytes.starts_with(b"\xFF\xD8\xFF"), types: &["image/jpeg"] },
    Format {
        shows: |bytes| bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a"),
        types: &["image/gif"],
    },
    Format {
        shows: |bytes| bytes.starts_with(b"II*\0") || bytes.starts_with(b"MM\0*"),
        types: &["image/tiff"],
    },
    Format { shows: |bytes| riff(bytes, *b"WEBP"), types: &["image/webp"] },
    Format { shows: |bytes| riff(bytes, *b"WAVE"), types: &["audio/wav"] },
    Format { shows: |bytes| riff(bytes, *b"AVI "), types: &["video/x-msvideo"] },
    Format {
        shows: |bytes| bytes.starts_with(b"OggS\0"),
        types: &["audio/ogg", "video/ogg", "audio/opus", "audio/vorbis"],
    },
    Format { shows: |bytes| bytes.starts_with(b"fLaC\0"), types: &["audio/flac"] },
    Format {
        shows: |bytes| bytes.starts_with(b"\x7FELF") || bytes.starts_with(b"MZ\x90\0"),
        types: &["application/x-executable", "application/x-msdownload"],
    },
];

fn riff(bytes: &[u8], form: [u8; 4]) -> bool {
    (bytes.starts_with(b"RIFF") || bytes.starts_with(b"RF64")) && bytes.get(8..12) == Some(&form)
}
