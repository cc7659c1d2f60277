//! Plain text.

use crate::{ContentError, Limits, sniff::is_wide_text_without_mark};

/// Decodes UTF-8, or UTF-16 with a byte order mark, and drops the mark. An empty file is an empty text.
///
/// A NUL, at which many readers stop, becomes U+FFFD. Any other encoding is `NotUtf8`; the function does not guess.
/// Time and memory are linear in the input, at most [`Limits::TEXT_BYTES`].
pub fn decode(bytes: &[u8]) -> Result<String, ContentError> {
    if bytes.len() > Limits::TEXT_BYTES {
        return Err(ContentError::TooComplex);
    }
    if is_wide_text_without_mark(bytes) {
        return Err(ContentError::NotUtf8);
    }
    let text = match bytes {
        [0xFF, 0xFE, utf16 @ ..] => utf_16(utf16, u16::from_le_bytes)?,
        [0xFE, 0xFF, utf16 @ ..] => utf_16(utf16, u16::from_be_bytes)?,
        utf8 => utf_8(utf8.strip_prefix(UTF_8_MARK).unwrap_or(utf8))?,
    };
    Ok(if text.contains('\0') { text.replace('\0', "\u{FFFD}") } else { text })
}

const UTF_8_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Whether the bytes start with a byte order mark, which [`decode`] drops.
pub fn has_byte_order_mark(bytes: &[u8]) -> bool {
    [UTF_8_MARK, b"\xFF\xFE", b"\xFE\xFF"].iter().any(|mark| bytes.starts_with(mark))
}

fn utf_8(bytes: &[u8]) -> Result<String, ContentError> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| ContentError::NotUtf8)
}

fn utf_16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, ContentError> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(ContentError::NotUtf8);
    }
    char::decode_utf16(pairs.iter().copied().map(unit))
        .collect::<Result<_, _>>()
        .map_err(|_| ContentError::NotUtf8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::samples;

    #[test]
    fn utf8_is_read_with_and_without_a_byte_order_mark() {
        assert_eq!(decode("Grüße 你好".as_bytes()), Ok("Grüße 你好".to_owned()));
        assert_eq!(decode("\u{FEFF}Grüße".as_bytes()), Ok("Grüße".to_owned()));
        assert_eq!(decode(b""), Ok(String::new()));
    }

    #[test]
    fn utf16_is_read_by_its_byte_order_mark() {
        assert_eq!(decode(b"\xFF\xFEH\0i\0"), Ok("Hi".to_owned()));
        assert_eq!(decode(b"\xFE\xFF\0H\0i"), Ok("Hi".to_owned()));
    }

    #[test]
    fn case_43_text_in_another_encoding_is_a_typed_error() {
        assert_eq!(decode(b"Gr\xFC\xDFe"), Err(ContentError::NotUtf8));
        assert_eq!(decode(b"\xFF\xFEH\0i"), Err(ContentError::NotUtf8), "an odd byte");
        assert_eq!(decode(b"\xFF\xFE\x00\xD8"), Err(ContentError::NotUtf8), "half a surrogate pair");
    }

    #[test]
    fn v07_a_nul_becomes_a_replacement_character() {
        assert_eq!(decode(b"a\0b").unwrap(), "a\u{FFFD}b");
        assert_eq!(decode(b"\xFF\xFEa\0\0\0").unwrap(), "a\u{FFFD}");
    }

    #[test]
    fn f06_wide_text_without_its_mark_is_not_taken_for_a_text_full_of_nuls() {
        for bytes in [&b"H\0i\0"[..], b"\0H\0i", b"\xFF\xFE\0\0H\0\0\0", b"\0\0\xFE\xFF\0\0\0H"] {
            assert_eq!(decode(bytes), Err(ContentError::NotUtf8), "{bytes:?}");
        }
    }

    #[test]
    fn d05_byte_order_marks_are_seen() {
        for (bytes, marked) in [
            (&b"\xEF\xBB\xBFa"[..], true),
            (b"\xFF\xFEa\0", true),
            (b"\xFE\xFF", true),
            (b"a", false),
            (b"", false),
        ] {
            assert_eq!(has_byte_order_mark(bytes), marked, "{bytes:?}");
        }
    }

    #[test]
    fn a_text_over_the_budget_is_refused() {
        assert_eq!(decode(&vec![b'a'; Limits::TEXT_BYTES + 1]), Err(ContentError::TooComplex));
    }

    #[test]
    fn the_sample_notes_are_read() {
        let notes = decode(samples::NOTES_TXT).unwrap();
        assert!(!notes.is_ascii());
    }

    proptest! {
        #[test]
        fn any_bytes_are_text_or_a_typed_error(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }

        #[test]
        fn utf16_round_trips(text in "[^\0]*") {
            let bytes: Vec<u8> =
                std::iter::once(0xFEFF).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
            prop_assert_eq!(decode(&bytes).unwrap(), text);
        }
    }
}
