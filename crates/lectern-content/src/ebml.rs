//! EBML (RFC 8794), the container format of `WebM` and Matroska: iterates over elements.

use std::str;

/// The id of the element that every EBML file starts with.
pub const HEADER: u32 = 0x1A45_DFA3;
const DOC_TYPE: u32 = 0x4282;

/// Iterates over the ids and contents of the elements in `bytes`. An element of unknown or excessive size reaches to
/// the end. The iteration ends at the first bytes that are no element.
pub fn elements(bytes: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (id, after) = variable(rest, 4, true)?;
        let (size, after) = variable(after, 8, false)?;
        let size = usize::try_from(size).unwrap_or(usize::MAX).min(after.len());
        let (content, after) = after.split_at(size);
        rest = after;
        Some((u32::try_from(id).ok()?, content))
    })
}

/// The document type of a file that starts with these bytes, such as `webm`; `None` if this is not EBML.
pub fn doc_type(first_bytes: &[u8]) -> Option<&str> {
    let (_, header) = elements(first_bytes).next().filter(|(id, _)| *id == HEADER)?;
    let (_, name) = elements(header).find(|(id, _)| *id == DOC_TYPE)?;
    str::from_utf8(text(name)).ok()
}

/// The content of a string element, which may be padded with NULs.
pub fn text(content: &[u8]) -> &[u8] {
    content.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A number whose length follows from the leading zeros of its first byte, and the bytes after it. An id keeps the
/// marker bit, a size loses it. A size with all bits set is unknown and becomes [`u64::MAX`].
fn variable(bytes: &[u8], max_length: usize, keep_marker: bool) -> Option<(u64, &[u8])> {
    let first = *bytes.first()?;
    let length = usize::try_from(first.leading_zeros()).ok()? + 1;
    if length > max_length {
        return None;
    }
    let (number, rest) = bytes.split_at_checked(length)?;
    let value = number.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte));
    let marker = 1_u64 << (7 * length);
    let value = if keep_marker { value } else { value & (marker - 1) };
    let unknown = !keep_marker && value == marker - 1;
    Some((if unknown { u64::MAX } else { value }, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::samples;

    #[test]
    fn the_sample_is_a_webm() {
        assert_eq!(doc_type(samples::LESSON_WEBM), Some("webm"));
    }

    #[test]
    fn f11_document_type_is_read_however_it_is_written() {
        let files: [&[u8]; 4] = [
            b"\x1A\x45\xDF\xA3\x87\x42\x82\x84webm",
            b"\x1A\x45\xDF\xA3\x88\x42\x82\x85webm\0",
            b"\x1A\x45\xDF\xA3\x8B\x42\x82\x88webm\0\0\0\0",
            b"\x1A\x45\xDF\xA3\x01\0\0\0\0\0\0\x12\x42\x86\x81\x01\x42\x82\x01\0\0\0\0\0\0\x04webm",
        ];
        for file in files {
            assert_eq!(doc_type(file), Some("webm"), "{file:?}");
        }
        assert_eq!(doc_type(b"\x1A\x45\xDF\xA3\x8B\x42\x82\x88matroska"), Some("matroska"));
        assert_eq!(doc_type(b"\x1A\x45\xDF\xA3\x84webm"), None);
        assert_eq!(doc_type(b"\0webm"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_have_finitely_many_elements(bytes: Vec<u8>) {
            prop_assert!(elements(&bytes).count() <= bytes.len());
            let _ = doc_type(&bytes);
        }
    }
}
