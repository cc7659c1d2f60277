//! The files of `samples/`, for the tests, and what the property tests do to them.

use proptest::prelude::*;

pub(super) const LESSON_MP4: &[u8] = include_bytes!("../../../../samples/lesson.mp4");
pub(super) const LESSON_WEBM: &[u8] = include_bytes!("../../../../samples/lesson.webm");
pub(super) const LESSON_PLAN_DOCX: &[u8] = include_bytes!("../../../../samples/lesson-plan.docx");
pub(super) const LESSON_PLAN_PDF: &[u8] = include_bytes!("../../../../samples/lesson-plan.pdf");
pub(super) const NOTES_TXT: &[u8] = include_bytes!("../../../../samples/notes.txt");
pub(super) const EMPTY_PDF: &[u8] = include_bytes!("../../../../samples/bad/empty.pdf");
pub(super) const RENAMED_PDF: &[u8] = include_bytes!("../../../../samples/bad/renamed.pdf");
pub(super) const TRUNCATED_MP4: &[u8] = include_bytes!("../../../../samples/bad/truncated.mp4");

/// A valid file with up to 16 bytes replaced among its first `within` bytes, and perhaps cut short.
pub(super) fn mutated(valid: &'static [u8], within: usize) -> impl Strategy<Value = Vec<u8>> {
    let place = 0..valid.len().min(within);
    let replaced = prop::collection::vec((place, any::<u8>()), 0..16);
    let length = prop_oneof![3 => Just(valid.len()), 1 => 0..valid.len()];
    (replaced, length).prop_map(move |(replaced, length)| {
        let mut bytes = valid.to_vec();
        for (at, byte) in replaced {
            bytes[at] = byte;
        }
        bytes.truncate(length);
        bytes
    })
}
