//! PDFs that are encrypted with an empty user password: an owner password restricts printing or copying, and every viewer
//! opens the file.
//!
//! `lopdf` would decrypt such a file while it loads it, without calling the filter that keeps the budget. So the file is
//! loaded as if it were not encrypted, and this module decrypts the loaded objects.

use lectern_content::ContentError;
use lopdf::{Document, EncryptionState, Object, ObjectId, ObjectStream, encryption::decrypt_object};

use super::{BUDGET, MAX_STREAM_BYTES, charge, hex, typed};

const NAME: &[u8] = b"Encrypt";
/// What [`NAME`] is changed to: another name of the same length.
const HIDDEN: &[u8] = b"EncrypX";

/// A copy of the file in which no trailer names its encryption; `None` if no trailer does.
pub(super) fn hidden(bytes: &[u8]) -> Option<Vec<u8>> {
    let ends: Vec<usize> = keys(bytes).collect();
    if ends.is_empty() {
        return None;
    }
    let mut copy = bytes.to_vec();
    for end in ends {
        // The name may be written with escapes. Its last character is `t` or `#74`.
        if copy[end - 1] == b't' {
            copy[end - 1] = b'X';
        } else {
            copy[end - 2..end].copy_from_slice(b"58");
        }
    }
    Some(copy)
}

/// Decrypts a document that was loaded from a [`hidden`] copy.
///
/// # Errors
/// `Encrypted` if the user password is not empty, `TooComplex` over the budget.
pub(super) fn decrypt(document: &mut Document) -> Result<(), ContentError> {
    let encryption = document.trailer.remove(HIDDEN).ok_or(ContentError::Encrypted)?;
    let encryption_id = encryption.as_reference().map_err(|_| ContentError::Encrypted)?;
    document.trailer.set(NAME, encryption);
    document.authenticate_user_password("").map_err(|_| ContentError::Encrypted)?;
    let state = EncryptionState::decode(document, "").map_err(|_| ContentError::Encrypted)?;
    document.trailer.remove(NAME);
    for (id, object) in document.objects.iter_mut().filter(|(id, _)| **id != encryption_id) {
        // `lopdf` keeps what it can decrypt of an object.
        let _ = decrypt_object(&state, *id, object);
    }
    unpack(document)
}

/// Adds the objects in object streams, which could not be read before. The budget of loading counts here too.
fn unpack(document: &mut Document) -> Result<(), ContentError> {
    let is_packed = |object: &Object| object.as_stream().is_ok_and(|stream| stream.dict.has_type(b"ObjStm"));
    let streams: Vec<ObjectId> =
        document.objects.iter().filter(|(_, object)| is_packed(object)).map(|(id, _)| *id).collect();
    for id in streams {
        let Some(object) = document.objects.get_mut(&id) else { continue };
        charge(id, object).ok_or(ContentError::TooComplex)?;
        let Ok(stream) = object.as_stream() else { continue };
        let unpacked = match ObjectStream::new_with_limit(stream, Some(MAX_STREAM_BYTES)) {
            Ok(unpacked) => unpacked,
            Err(error) if typed(&error) == ContentError::TooComplex => return Err(ContentError::TooComplex),
            // A damaged stream is skipped, as in a file without encryption.
            Err(_) => continue,
        };
        for (id, mut object) in unpacked.objects {
            charge(id, &mut object).ok_or(ContentError::TooComplex)?;
            document.objects.entry(id).or_insert(object);
        }
    }
    if BUDGET.get().is_used_up() { Err(ContentError::TooComplex) } else { Ok(()) }
}

/// Where the names of entries `/Encrypt` end whose value is a dictionary or a reference.
fn keys(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(found) = bytes[at..].iter().position(|byte| *byte == b'/') {
            at += found + 1;
            let (name, after) = unescaped::<{ NAME.len() }>(&bytes[at..]);
            let value = after.trim_ascii_start();
            let is_value = value.starts_with(b"<<") || value.first().is_some_and(u8::is_ascii_digit);
            // A digit right after the name would be part of the name.
            let is_whole = after.first().is_some_and(|byte| byte.is_ascii_whitespace() || *byte == b'<');
            if name == NAME && is_whole && is_value {
                return Some(bytes.len() - after.len());
            }
        }
        at = bytes.len();
        None
    })
}

/// The first `N` bytes of a name with its `#xx` escapes resolved, and what follows.
fn unescaped<const N: usize>(mut name: &[u8]) -> ([u8; N], &[u8]) {
    let mut resolved = [0; N];
    for byte in &mut resolved {
        let (value, rest) = match name {
            [b'#', high, low, rest @ ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, rest),
                _ => return (resolved, name),
            },
            [value, rest @ ..] => (*value, rest),
            [] => break,
        };
        *byte = value;
        name = rest;
    }
    (resolved, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f13_encryption_is_hidden_under_an_escaped_name_and_not_in_others() {
        for (found, expected) in [
            ("/Encrypt 5 0 R", "/EncrypX 5 0 R"),
            ("/Encrypt<</V 1>>", "/EncrypX<</V 1>>"),
            ("/#45ncryp#74 5 0 R", "/#45ncryp#58 5 0 R"),
            ("//Encrypt\n<<", "//EncrypX\n<<"),
            ("/Encrypt 5 0 R /Encrypt 6 0 R", "/EncrypX 5 0 R /EncrypX 6 0 R"),
        ] {
            assert_eq!(hidden(found.as_bytes()).as_deref(), Some(expected.as_bytes()), "{found}");
        }
        for other in
            ["/EncryptMetadata false", "/Encrypt", "/Encrypted 5", "Encrypt 5 0 R", "/Encrypt5 0 R", "/#4"]
        {
            assert_eq!(hidden(other.as_bytes()), None, "{other}");
        }
    }
}
