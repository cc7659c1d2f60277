//! Files to upload: the samples, each made unique without a change to its content.

use std::path::Path;

use uuid::Uuid;

/// A file in `samples/`.
pub(crate) fn sample(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A unique text with a doubled word and a misspelling.
pub(crate) fn text() -> Vec<u8> {
    text_saying(&format!("Lesson {}.", Uuid::new_v4()))
}

pub(crate) fn text_saying(what: &str) -> Vec<u8> {
    format!("{what}\nToday we we read a poem. The pupils recieve a copy.\n").into_bytes()
}

/// A unique text of at least this size.
pub(crate) fn text_of(bytes: usize) -> Vec<u8> {
    let mut text = text();
    let line = b"The pupils read one line each and say what it means to them.\n";
    while text.len() < bytes {
        text.extend_from_slice(line);
    }
    text
}

/// `lesson.mp4`, made unique by a box at the end that every reader skips.
pub(crate) fn video() -> Vec<u8> {
    let mut bytes = sample("lesson.mp4");
    let unique = Uuid::new_v4();
    bytes.extend_from_slice(&24_u32.to_be_bytes());
    bytes.extend_from_slice(b"free");
    bytes.extend_from_slice(unique.as_bytes());
    bytes
}
