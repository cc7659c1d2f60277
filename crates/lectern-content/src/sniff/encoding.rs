//! Whether bytes are text, and in which encoding.

/// What the first bytes of a text show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// UTF-8, or UTF-16 with a byte order mark: what [`crate::text::decode`] reads.
    Unicode,
    /// Text in an older encoding such as Windows-1252, or UTF-16 without a byte order mark.
    Other,
    /// No text.
    Binary,
}

/// The encoding of a text that starts with these bytes. Its last character may be cut off.
pub(super) fn encoding(bytes: &[u8]) -> Encoding {
    match bytes {
        _ if is_wide_text_without_mark(bytes) => Encoding::Other,
        [0xFF, 0xFE, utf16 @ ..] => utf_16(utf16, u16::from_le_bytes),
        [0xFE, 0xFF, utf16 @ ..] => utf_16(utf16, u16::from_be_bytes),
        _ if bytes.contains(&0) => Encoding::Binary,
        _ if is_utf_8(bytes) => Encoding::Unicode,
        _ if bytes.iter().all(|byte| *byte >= b' ' || is_layout(*byte)) => Encoding::Other,
        _ => Encoding::Binary,
    }
}

fn is_utf_8(bytes: &[u8]) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && bytes.len() - error.valid_up_to() < 4,
    }
}

/// Control characters in ordinary texts: tab, line ends, page breaks, escapes of ISO 2022, and the end mark of DOS.
fn is_layout(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | 0x1A | 0x1B)
}

fn utf_16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Encoding {
    let (pairs, _) = bytes.as_chunks::<2>();
    let mut characters = char::decode_utf16(pairs.iter().copied().map(unit)).peekable();
    while let Some(character) = characters.next() {
        // A surrogate at the end may be the first half of a character that is cut off.
        let is_text = character.as_ref().map_or_else(|_| characters.peek().is_none(), |c| *c != '\0');
        if !is_text {
            return Encoding::Binary;
        }
    }
    Encoding::Unicode
}

/// Whether this is UTF-32, or UTF-16 without a byte order mark in a language whose letters are in ASCII: every second
/// byte is NUL.
pub(crate) fn is_wide_text_without_mark(bytes: &[u8]) -> bool {
    // UTF-32 has the byte order mark of UTF-16, followed by NULs.
    if bytes.starts_with(&[0xFF, 0xFE, 0, 0]) || bytes.starts_with(&[0, 0, 0xFE, 0xFF]) {
        return true;
    }
    let (pairs, _) = bytes.as_chunks::<2>();
    let is_ascii = |letter: u8, high: u8| high == 0 && (letter >= b' ' || is_layout(letter));
    let is_wide = pairs.iter().all(|[one, two]| is_ascii(*one, *two))
        || pairs.iter().all(|[one, two]| is_ascii(*two, *one));
    is_wide && pairs.len() > 1 && bytes.len().is_multiple_of(2)
}
