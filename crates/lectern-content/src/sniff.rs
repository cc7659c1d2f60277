//! Detects the type of a file by its structure. A file name or a declared type is only a claim.

mod encoding;
mod formats;
mod signature;
mod zip_end;

use self::{encoding::Encoding, formats::Format};
pub(crate) use encoding::is_wide_text_without_mark;
pub(crate) use zip_end::part_name;
pub use zip_end::{ZipContent, sniff_zip_end};

use crate::{FileType, MediaType, canonical, ebml, mp3, picture};

/// What the first bytes of a file show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A type that Lectern accepts. Never one of those that [`MediaType::is_iso_media`] and [`MediaType::is_zip`] name.
    Accepted(MediaType),
    /// An ISO base media file of any brand but those of pictures.
    IsoMedia,
    /// A ZIP, such as a DOCX. Only its end shows what is in it: see [`sniff_zip_end`].
    Zip,
    /// An OLE compound file: an Office document that is protected with a password, or one of an old version of Office.
    CompoundFile(CompoundFile),
    /// A format that Lectern knows and does not accept.
    Refused(FileType),
    /// Text in an encoding that Lectern does not read.
    TextInOtherEncoding,
    /// Anything else.
    Other,
}

/// What is known of an OLE compound file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompoundFile {
    /// An Office document that is protected with a password ([MS-OFFCRYPTO] 2.3.4).
    Encrypted,
    /// A document of Word 97 to 2003.
    OldWord,
    /// A presentation of `PowerPoint` 97 to 2003.
    OldPowerPoint,
    /// The first bytes do not show which.
    Unclear,
}

/// What the first bytes show. Pass at least 4 KiB, or the whole file.
///
/// An ISO base media file counts as one whatever its brand, except for the brands of pictures; whether it can be played
/// is decided by [`crate::mp4`].
pub fn sniff(first_bytes: &[u8]) -> Kind {
    if first_bytes.is_empty() {
        return Kind::Other;
    }
    if signature::pdf_version(first_bytes) {
        return Kind::Accepted(MediaType::Pdf);
    }
    let brand = signature::major_brand(first_bytes);
    if brand.is_some_and(|brand| !signature::is_image_brand(brand)) || signature::old_quicktime(first_bytes) {
        return Kind::IsoMedia;
    }
    if ebml::doc_type(first_bytes) == Some("webm") {
        return Kind::Accepted(MediaType::WebM);
    }
    if signature::zip(first_bytes) {
        return Kind::Zip;
    }
    if signature::compound_file(first_bytes) {
        return Kind::CompoundFile(compound_file(first_bytes));
    }
    if picture::is_png_start(first_bytes) {
        return Kind::Accepted(MediaType::Png);
    }
    if picture::is_jpeg_start(first_bytes) {
        return Kind::Accepted(MediaType::Jpeg);
    }
    if mp3::is_start(first_bytes) {
        return Kind::Accepted(MediaType::Mp3);
    }
    if let Some(format) = Format::shown_by(first_bytes) {
        return format.refused().map_or(Kind::Other, Kind::Refused);
    }
    match encoding::encoding(first_bytes) {
        Encoding::Unicode => Kind::Accepted(MediaType::Text),
        _ if signature::pdf(first_bytes) => Kind::Accepted(MediaType::Pdf),
        Encoding::Other => Kind::TextInOtherEncoding,
        Encoding::Binary => Kind::Other,
    }
}

/// The media type that an `OpenDocument` or an e-book states at its start, for a file that is [`Kind::Zip`]. Documents that
/// another program packed again may not state it.
pub fn sniff_zip_start(first_bytes: &[u8]) -> Option<&str> {
    signature::zip_mimetype(first_bytes)
}

/// Whether the bytes show which kind of compound file they are.
pub(crate) fn compound_file(bytes: &[u8]) -> CompoundFile {
    if signature::has_entry(bytes, "EncryptedPackage") {
        CompoundFile::Encrypted
    } else if signature::has_entry(bytes, "WordDocument") {
        CompoundFile::OldWord
    } else if signature::has_entry(bytes, "PowerPoint Document") {
        CompoundFile::OldPowerPoint
    } else {
        CompoundFile::Unclear
    }
}

pub(crate) fn is_compound_file(bytes: &[u8]) -> bool {
    signature::compound_file(bytes)
}

/// Whether a PDF can start with these bytes: readers accept up to 1,024 bytes before its signature. Some of these files
/// could also be texts that mention the signature, which is what [`sniff`] takes them for.
pub fn can_be_pdf(first_bytes: &[u8]) -> bool {
    signature::pdf(first_bytes)
}

/// Whether a file that starts with `first_bytes` can have the declared media type. Pass at least 4 KiB, or the whole file.
///
/// An empty file can have any type. The bytes must show the types that Lectern accepts from teachers, `WebVTT` and JSON.
/// All other types are only refused if the bytes clearly have another type; what is unknown here contradicts nothing.
pub fn fits_declared_type(declared: &str, first_bytes: &[u8]) -> bool {
    if first_bytes.is_empty() {
        return true;
    }
    let declared = canonical(declared);
    let shown = Format::shown_by(first_bytes);
    match declared.as_str() {
        "application/pdf" => can_be_pdf(first_bytes),
        "video/mp4" => {
            signature::major_brand(first_bytes).is_some_and(|brand| !signature::is_image_brand(brand))
        }
        "video/webm" => ebml::doc_type(first_bytes) == Some("webm"),
        docx if docx == MediaType::Docx.as_str() => shown.is_some_and(|format| format.has_type(docx)),
        "text/vtt" => starts_text(first_bytes, |text| text.is_empty() || text.starts_with(b"WEBVTT")),
        "application/json" => {
            shown.is_none()
                && starts_text(first_bytes, |text| {
                    matches!(
                        text.first(),
                        None | Some(b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n')
                    )
                })
        }
        text if is_text_type(text) => shown.is_none_or(|format| format.has_type(text)),
        other => shown.is_none_or(|format| format.has_type(other) || !Format::is_known(other)),
    }
}

fn is_text_type(canonical: &str) -> bool {
    canonical.starts_with("text/")
        || matches!(canonical, "application/xml" | "application/javascript" | "application/x-subrip")
}

/// Checks how a text in UTF-8 starts, behind a byte order mark and blanks. UTF-16 is not checked.
fn starts_text(bytes: &[u8], check: impl Fn(&[u8]) -> bool) -> bool {
    match bytes {
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => true,
        [0xEF, 0xBB, 0xBF, rest @ ..] | rest => check(rest.trim_ascii_start()),
    }
}

#[cfg(test)]
mod tests;
