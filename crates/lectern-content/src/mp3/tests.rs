//! Tests of MP3.

use std::io::Cursor;

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::samples;

/// 128 kbit/s at 44.1 kHz: 417 bytes and 1,152 samples, about 26 ms.
fn frames(count: usize) -> Vec<u8> {
    let mut frame = b"\xFF\xFB\x90\x00".to_vec();
    frame.resize(417, 0);
    frame.repeat(count)
}

fn tag(bytes: usize) -> Vec<u8> {
    let size = u32::try_from(bytes).unwrap();
    let synchsafe = [21, 14, 7, 0].map(|shift| u8::try_from((size >> shift) & 0x7F).unwrap());
    [b"ID3\x04\0\0".as_slice(), &synchsafe, &vec![b'x'; bytes]].concat()
}

fn length(bytes: &[u8]) -> Result<u64, ContentError> {
    duration_ms(Cursor::new(bytes), bytes.len() as u64)
}

#[test]
fn the_sample_recording_lasts_two_seconds() {
    let ms = length(samples::RECORDING_MP3).unwrap();
    assert!((1950..2150).contains(&ms), "{ms}");
    assert!(is_start(samples::RECORDING_MP3));
    assert!(is_start(&samples::RECORDING_MP3[..4096]));
}

#[rstest]
#[case::frames_only(frames(10), 261)]
#[case::tag_before(  [tag(300), frames(10)].concat(), 261)]
#[case::two_tags([tag(300), tag(5), frames(10)].concat(), 261)]
#[case::padding_behind_the_tag([tag(300), vec![0; 700], frames(10)].concat(), 261)]
#[case::old_tag_behind([frames(10), [b"TAG".as_slice(), &[b' '; 125]].concat()].concat(), 261)]
#[case::last_frame_is_cut_off(frames(10)[..4169].to_vec(), 261)]
#[case::half_the_rate([b"\xFF\xF3\x90\x00".as_slice(), &[0; 257]].concat().repeat(4), 104)]
fn the_length_is_that_of_the_frames(#[case] bytes: Vec<u8>, #[case] ms: u64) {
    assert_eq!(length(&bytes), Ok(ms));
    assert!(is_start(&bytes));
}

#[test]
fn a_tag_of_ten_megabytes_is_skipped_and_its_start_is_enough_to_know_the_type() {
    let bytes = [tag(10 * 1024 * 1024), frames(3)].concat();
    assert_eq!(length(&bytes), Ok(78));
    assert!(is_start(&bytes[..65_536]));
}

#[rstest]
#[case::nothing(Vec::new(), "empty")]
#[case::tag_beyond_the_end(tag(300)[..200].to_vec(), "truncated")]
#[case::tag_alone(tag(300), "malformed")]
#[case::text(b"no recording at all".to_vec(), "malformed")]
#[case::free_bit_rate(b"\xFF\xFB\x00\x00".repeat(300), "malformed")]
#[case::adts(b"\xFF\xF1\x50\x80\x02\x1F\xFC".repeat(300), "malformed")]
fn what_is_no_recording_is_a_typed_error(#[case] bytes: Vec<u8>, #[case] code: &str) {
    assert_eq!(length(&bytes).unwrap_err().code(), code);
}

#[rstest]
#[case::one_frame_alone(&frames(1))]
#[case::frame_and_something_else(&[frames(1), vec![b'x'; 100]].concat())]
#[case::byte_order_mark(b"\xFF\xFEH\0i\0")]
#[case::text_about_tags(b"ID3 is a kind of tag.")]
#[case::tag_with_a_text(&[tag(10), b"no frame".to_vec()].concat())]
#[case::program(b"MZ\x90\0\x03\0\0\0")]
fn what_is_no_mp3_does_not_start_like_one(#[case] bytes: &[u8]) {
    assert!(!is_start(bytes));
}

#[test]
fn the_number_of_frames_is_limited() {
    /// Endless frames of the least size, 24 bytes.
    struct Endless(u64);

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            for byte in &mut *buffer {
                let header = [0xFF, 0xF3, 0x14, 0x00];
                let at = usize::try_from(self.0 % 24).unwrap();
                *byte = header.get(at).copied().unwrap_or(0);
                self.0 += 1;
            }
            Ok(buffer.len())
        }
    }

    impl Seek for Endless {
        fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
            self.0 = match position {
                SeekFrom::Start(at) => at,
                SeekFrom::Current(by) => self.0.saturating_add_signed(by),
                SeekFrom::End(_) => return Err(io::ErrorKind::Unsupported.into()),
            };
            Ok(self.0)
        }
    }

    assert_eq!(Frame::parse(&[0xFF, 0xF3, 0x14, 0x00]).unwrap().bytes, 24);
    assert_eq!(duration_ms(Endless(0), u64::MAX), Err(ContentError::TooComplex));
}

proptest! {
    #[test]
    fn any_bytes_have_a_length_or_a_typed_error(bytes: Vec<u8>) {
        let _ = (length(&bytes), is_start(&bytes));
        let tagged = [b"ID3\x04\0\0", bytes.as_slice()].concat();
        let _ = (length(&tagged), is_start(&tagged));
    }

    #[test]
    fn a_mutated_recording_has_a_length_or_a_typed_error(
        bytes in samples::mutated(samples::RECORDING_MP3, usize::MAX)
    ) {
        let _ = (length(&bytes), is_start(&bytes));
    }
}
