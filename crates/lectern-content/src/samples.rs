//! The files of `samples/`, and mutations of them, for tests.

use proptest::prelude::*;

/// Four seconds of H.264 and AAC.
pub const LESSON_MP4: &[u8] = include_bytes!("../../../samples/lesson.mp4");
/// The same lesson as a `WebM`.
pub const LESSON_WEBM: &[u8] = include_bytes!("../../../samples/lesson.webm");
/// A lesson plan with mistakes.
pub const LESSON_PLAN_DOCX: &[u8] = include_bytes!("../../../samples/lesson-plan.docx");
/// The same plan as a PDF.
pub const LESSON_PLAN_PDF: &[u8] = include_bytes!("../../../samples/lesson-plan.pdf");
/// Notes in UTF-8, with characters outside of ASCII.
pub const NOTES_TXT: &[u8] = include_bytes!("../../../samples/notes.txt");
/// No byte.
pub const EMPTY_PDF: &[u8] = include_bytes!("../../../samples/bad/empty.pdf");
/// Text that is named like a PDF.
pub const RENAMED_PDF: &[u8] = include_bytes!("../../../samples/bad/renamed.pdf");
/// A video that was cut off.
pub const TRUNCATED_MP4: &[u8] = include_bytes!("../../../samples/bad/truncated.mp4");

/// A copy of `valid` with up to 16 of its first `within` bytes replaced. A quarter of the copies is also cut off.
pub fn mutated(valid: &'static [u8], within: usize) -> impl Strategy<Value = Vec<u8>> {
    let position = 0..valid.len().min(within);
    let replaced = prop::collection::vec((position, any::<u8>()), 0..16);
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
