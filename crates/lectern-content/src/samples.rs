//! The files of `samples/`, and mutations of them, for tests.

use proptest::prelude::*;

/// Four seconds of H.264 and AAC.
pub const LESSON_MP4: &[u8] = include_bytes!("../../../samples/lesson.mp4");
/// The same lesson as a `WebM`.
pub const LESSON_WEBM: &[u8] = include_bytes!("../../../samples/lesson.webm");
/// Two seconds of a `QuickTime` video, as iPhones write them: H.264 and AAC, the index at the end.
pub const PHONE_MOV: &[u8] = include_bytes!("../../../samples/phone.mov");
/// Two seconds of a `QuickTime` video in HEVC, the usual format of iPhones.
pub const PHONE_HEVC_MOV: &[u8] = include_bytes!("../../../samples/phone-hevc.mov");
/// A second of a 3GP video in H.264 and AAC.
pub const PHONE_3GP: &[u8] = include_bytes!("../../../samples/phone.3gp");
/// Two seconds of sound in AAC.
pub const RECORDING_M4A: &[u8] = include_bytes!("../../../samples/recording.m4a");
/// Two seconds of sound in MP3, with an ID3 tag.
pub const RECORDING_MP3: &[u8] = include_bytes!("../../../samples/recording.mp3");
/// A picture of 320 × 240 pixels.
pub const BOARD_JPG: &[u8] = include_bytes!("../../../samples/board.jpg");
/// A picture of 320 × 240 pixels.
pub const DRAWING_PNG: &[u8] = include_bytes!("../../../samples/drawing.png");
/// Slides of a lesson, with mistakes and speaker's notes.
pub const SLIDES_PPTX: &[u8] = include_bytes!("../../../samples/slides.pptx");
/// A lesson plan with mistakes, as an `OpenDocument` text.
pub const LESSON_PLAN_ODT: &[u8] = include_bytes!("../../../samples/lesson-plan.odt");
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
