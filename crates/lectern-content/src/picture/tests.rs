//! Tests of pictures.

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::samples;

/// A PNG of 3 × 2 pixels without any pixel data.
fn png_of(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut bytes = PNG.to_vec();
    for (kind, content) in chunks {
        bytes.extend(u32::try_from(content.len()).unwrap().to_be_bytes());
        bytes.extend(*kind);
        bytes.extend(*content);
        bytes.extend([0; 4]);
    }
    bytes
}

const HEADER: (&[u8; 4], &[u8]) = (b"IHDR", b"\0\0\0\x03\0\0\0\x02\x08\x02\0\0\0");
const END: (&[u8; 4], &[u8]) = (b"IEND", b"");

/// A JPEG of 3 × 2 pixels.
const SMALL_JPEG: &[u8] =
    b"\xFF\xD8\xFF\xE0\0\x04ab\xFF\xFF\xC0\0\x08\x08\0\x02\0\x03\x01\xFF\xDA\0\x02pixels\xFF\xD9";

#[test]
fn the_sample_pictures_have_their_size() {
    let expected = PictureFacts { width_px: 320, height_px: 240 };
    assert_eq!(facts(samples::BOARD_JPG), Ok(expected));
    assert_eq!(facts(samples::DRAWING_PNG), Ok(expected));
    assert!(is_jpeg_start(samples::BOARD_JPG) && is_jpeg_start(&samples::BOARD_JPG[..100]));
    assert!(is_png_start(samples::DRAWING_PNG) && is_png_start(&samples::DRAWING_PNG[..100]));
}

#[test]
fn small_pictures_have_their_size_whatever_follows_their_end() {
    let expected = Ok(PictureFacts { width_px: 3, height_px: 2 });
    assert_eq!(facts(&[SMALL_JPEG, b"MZ\x90\0 a program"].concat()), expected);
    let png = png_of(&[HEADER, (b"tEXt", b"ab"), END]);
    assert_eq!(facts(&[png.as_slice(), b"MZ\x90\0 a program"].concat()), expected);
}

#[test]
fn a_picture_is_truncated_at_any_cut() {
    for (picture, start) in [(SMALL_JPEG, 2), (samples::DRAWING_PNG, 8)] {
        for end in (start..picture.len()).step_by(7) {
            assert_eq!(facts(&picture[..end]), Err(ContentError::Truncated), "cut at {end}");
        }
    }
    let cut = samples::BOARD_JPG.len() - 2;
    assert_eq!(facts(&samples::BOARD_JPG[..cut]), Err(ContentError::Truncated));
}

#[rstest]
#[case::nothing(b"", "empty")]
#[case::text(b"no picture", "malformed")]
#[case::png_without_header(&png_of(&[END]), "malformed")]
#[case::png_with_a_short_header(&png_of(&[(b"IHDR", b"\0\0\0\x03"), END]), "malformed")]
#[case::png_without_pixels(&png_of(&[(b"IHDR", &[0; 13]), END]), "malformed")]
#[case::png_with_a_lying_size(b"\x89PNG\r\n\x1A\n\xFF\xFF\xFF\xFFIHDR", "truncated")]
#[case::jpeg_without_a_marker(b"\xFF\xD8 pixels", "malformed")]
#[case::jpeg_with_a_part_of_no_size(b"\xFF\xD8\xFF\xE0\0\x01", "malformed")]
#[case::jpeg_with_a_lying_size(b"\xFF\xD8\xFF\xE0\xFF\xFFab", "truncated")]
#[case::jpeg_without_a_frame(b"\xFF\xD8\xFF\xDA\0\x02\xFF\xD9", "malformed")]
#[case::jpeg_with_a_short_frame(b"\xFF\xD8\xFF\xC2\0\x03a\xFF\xDA\0\x02\xFF\xD9", "malformed")]
fn a_broken_picture_is_a_typed_error(#[case] bytes: &[u8], #[case] code: &str) {
    assert_eq!(facts(bytes).unwrap_err().code(), code);
}

#[rstest]
#[case(b"\xFF\xD8\xFF")]
#[case(b"\xFF\xD8\xFF\xE0\0\x01")]
#[case(b"\xFF\xD8\xFF\xE0\0\x02 no marker")]
#[case(b"\x89PNG\r\n\x1A\n\0\0\0\x0DIDAT")]
fn what_is_no_picture_does_not_start_like_one(#[case] bytes: &[u8]) {
    assert!(!is_jpeg_start(bytes) && !is_png_start(bytes));
}

proptest! {
    #[test]
    fn any_bytes_are_a_picture_or_a_typed_error(bytes: Vec<u8>) {
        let _ = facts(&bytes);
        for start in [PNG, JPEG] {
            let bytes = [start, &bytes].concat();
            let _ = (facts(&bytes), is_jpeg_start(&bytes), is_png_start(&bytes));
        }
    }

    #[test]
    fn a_mutated_picture_is_a_picture_or_a_typed_error(
        jpeg in samples::mutated(samples::BOARD_JPG, 1024),
        png in samples::mutated(samples::DRAWING_PNG, usize::MAX),
    ) {
        let _ = (facts(&jpeg), is_jpeg_start(&jpeg), facts(&png), is_png_start(&png));
    }
}
