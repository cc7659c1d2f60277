//! Detects the type of a file from its first bytes.

use crate::{MediaType, essence};

/// The media type that the first bytes show; `None` if Lectern does not accept that type.
///
/// Pass at least 4 KiB: a Matroska file names its document type late, and a DOCX is recognised by the names of its
/// first ZIP entries. Nothing is decompressed.
pub fn sniff(first_bytes: &[u8]) -> Option<MediaType> {
    if first_bytes.is_empty() {
        return None;
    }
    match infer::get(first_bytes).map(|kind| kind.mime_type()) {
        Some("video/mp4" | "video/x-m4v") => Some(MediaType::Mp4),
        Some("video/webm") => Some(MediaType::WebM),
        Some("application/pdf") => Some(MediaType::Pdf),
        Some(mime) if mime == MediaType::Docx.as_str() => Some(MediaType::Docx),
        Some("application/zip") => names_word_parts(first_bytes).then_some(MediaType::Docx),
        Some("video/x-matroska") => contains(first_bytes, b"webm").then_some(MediaType::WebM),
        Some("video/quicktime") if contains(&first_bytes[..first_bytes.len().min(64)], b"ftyp") => {
            Some(MediaType::Mp4)
        }
        // `infer` reports some plain texts as scripts or markup. They are still text.
        Some(_) | None => is_text(first_bytes).then_some(MediaType::Text),
    }
}

/// Whether a file that starts with `first_bytes` can have the declared media type.
///
/// For the types that Lectern parses, the bytes must have that type. For all other types, the bytes must not clearly
/// have another type.
pub fn fits_declared_type(declared: &str, first_bytes: &[u8]) -> bool {
    let essence = essence(declared);
    if let Ok(known) = essence.parse::<MediaType>() {
        // An empty file is a valid text: a document without words has one.
        return sniff(first_bytes) == Some(known) || (known == MediaType::Text && first_bytes.is_empty());
    }
    match essence.as_str() {
        "text/vtt" => {
            is_text(first_bytes) && starts_after_bom(first_bytes, |text| text.starts_with(b"WEBVTT"))
        }
        "application/x-subrip" => is_text(first_bytes),
        // This type allows any bytes.
        "application/octet-stream" => true,
        "application/xml" => fits_declared_type("text/xml", first_bytes),
        "application/json" => {
            is_text(first_bytes)
                && starts_after_bom(first_bytes, |text| {
                    matches!(text.trim_ascii_start().first(), Some(b'{' | b'['))
                })
        }
        other => infer::get(first_bytes)
            .map_or(!first_bytes.is_empty() || other.starts_with("text/"), |kind| kind.mime_type() == other),
    }
}

/// UTF-8 without NUL, whose last character may be cut off, or UTF-16 with a byte order mark.
fn is_text(bytes: &[u8]) -> bool {
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        return true;
    }
    let complete = match std::str::from_utf8(bytes) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && bytes.len() - error.valid_up_to() < 4,
    };
    complete && !bytes.contains(&0)
}

fn starts_after_bom(bytes: &[u8], check: impl Fn(&[u8]) -> bool) -> bool {
    match bytes {
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => true,
        [0xEF, 0xBB, 0xBF, rest @ ..] | rest => check(rest),
    }
}

fn names_word_parts(zip: &[u8]) -> bool {
    contains(zip, b"word/") && contains(zip, b"[Content_Types].xml")
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_cut_in_a_character_is_still_text() {
        assert_eq!(sniff(&"Grüße".as_bytes()[..3]), Some(MediaType::Text));
        assert_eq!(sniff(b"a\0b"), None);
        assert_eq!(sniff(&[0xC3, 0x28, 0x41, 0x42, 0x43]), None);
        assert_eq!(sniff(b""), None);
    }

    #[test]
    fn returned_types_are_checked_against_the_bytes() {
        assert!(fits_declared_type("text/vtt", b"\xEF\xBB\xBFWEBVTT\n"));
        assert!(!fits_declared_type("text/vtt", b"<html>"));
        assert!(fits_declared_type("application/json", b" {\"a\":1}"));
        assert!(!fits_declared_type("application/json", b"%PDF-1.7"));
        assert!(!fits_declared_type("image/png", b"%PDF-1.7"));
        assert!(fits_declared_type("text/plain", b""));
        assert!(fits_declared_type("application/octet-stream", b"%PDF-1.7"));
        assert!(fits_declared_type("application/xml", b"<?xml version=\"1.0\"?><a/>"));
        assert!(!fits_declared_type("application/xml", b"%PDF-1.7"));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512), declared in any::<String>()) {
            let _ = sniff(&bytes);
            let _ = fits_declared_type(&declared, &bytes);
        }
    }
}
