//! Binary formats that their first bytes show beyond doubt, each with the media types that its files have.

use super::signature;
use crate::{FileType, ebml, mp3, picture};

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

    /// The table's row for files of this format, if Lectern refuses them.
    pub(super) fn refused(&self) -> Option<FileType> {
        let row = self.types.first().and_then(|name| FileType::of_media_type(name));
        row.filter(|row| row.accepted.is_none())
    }

    /// Whether the files of some format in the table have this canonical media type.
    pub(super) fn is_known(canonical: &str) -> bool {
        FORMATS.iter().any(|format| format.has_type(canonical))
    }
}

/// Formats that other formats are built on (ZIP, compound files) list only the types that Lectern may be sent.
static FORMATS: &[Format] = &[
    Format { shows: |bytes| signature::pdf_version(bytes), types: &["application/pdf"] },
    Format {
        shows: |bytes| signature::major_brand(bytes).is_some_and(|brand| !signature::is_image_brand(brand)),
        types: &["video/mp4", "audio/mp4", "video/quicktime", "video/3gpp", "video/mj2"],
    },
    Format {
        shows: |bytes| signature::major_brand(bytes).is_some_and(signature::is_heic_brand),
        types: &["image/heic", "image/avif"],
    },
    Format {
        shows: |bytes| signature::major_brand(bytes).is_some_and(|brand| matches!(&brand, b"avif" | b"avis")),
        types: &["image/avif", "image/avif-sequence"],
    },
    Format {
        shows: |bytes| signature::major_brand(bytes).is_some_and(signature::is_image_brand),
        types: &["image/jxl", "image/x-canon-cr3"],
    },
    Format { shows: signature::old_quicktime, types: &["video/quicktime"] },
    Format {
        shows: |bytes| ebml::doc_type(bytes).is_some(),
        types: &["video/matroska", "audio/matroska", "video/webm", "audio/webm"],
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
    // Documents of old versions of Office, and Office documents with a password whatever their format.
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
    Format { shows: picture::is_png_start, types: &["image/png"] },
    Format { shows: picture::is_jpeg_start, types: &["image/jpeg"] },
    Format { shows: mp3::is_start, types: &["audio/mpeg"] },
    Format {
        shows: |bytes| bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a"),
        types: &["image/gif"],
    },
    Format {
        shows: |bytes| bytes.starts_with(b"II*\0") || bytes.starts_with(b"MM\0*"),
        types: &["image/tiff"],
    },
    Format { shows: |bytes| riff(bytes, *b"WEBP"), types: &["image/webp"] },
    Format { shows: |bytes| riff(bytes, *b"WAVE"), types: &["audio/wav", "audio/mpeg"] },
    Format { shows: |bytes| riff(bytes, *b"AVI "), types: &["video/x-msvideo"] },
    Format {
        shows: |bytes| bytes.starts_with(b"OggS\0"),
        types: &["audio/ogg", "video/ogg", "audio/opus", "audio/vorbis"],
    },
    Format {
        shows: |bytes| bytes.starts_with(&[0x30, 0x26, 0xB2, 0x75, 0x8E, 0x66, 0xCF, 0x11]),
        types: &["video/x-ms-wmv", "video/x-ms-asf", "audio/x-ms-wma"],
    },
    Format { shows: |bytes| bytes.starts_with(b"{\\rtf"), types: &["application/rtf", "text/rtf"] },
    Format { shows: |bytes| bytes.starts_with(b"Rar!\x1A\x07"), types: &["application/vnd.rar"] },
    Format {
        shows: |bytes| bytes.starts_with(b"7z\xBC\xAF\x27\x1C"),
        types: &["application/x-7z-compressed"],
    },
    Format { shows: |bytes| bytes.starts_with(b"\x1F\x8B\x08"), types: &["application/gzip"] },
    Format { shows: |bytes| bytes.starts_with(b"fLaC\0"), types: &["audio/flac"] },
    Format {
        shows: |bytes| bytes.starts_with(b"\x7FELF") || is_program_of_windows(bytes),
        types: &["application/x-msdownload", "application/x-executable"],
    },
];

/// The header of MS-DOS, which leads to that of Windows.
fn is_program_of_windows(bytes: &[u8]) -> bool {
    const ADDRESS: usize = 0x3C;

    let address = bytes.get(ADDRESS..).and_then(<[u8]>::first_chunk).map(|at| u32::from_le_bytes(*at));
    let header = address.and_then(|at| usize::try_from(at).ok()).and_then(|at| bytes.get(at..));
    bytes.starts_with(b"MZ\x90\0")
        || bytes.starts_with(b"MZ") && header.is_some_and(|header| header.starts_with(b"PE\0\0"))
}

fn riff(bytes: &[u8], form: [u8; 4]) -> bool {
    (bytes.starts_with(b"RIFF") || bytes.starts_with(b"RF64")) && bytes.get(8..12) == Some(&form)
}
