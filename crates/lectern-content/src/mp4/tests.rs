//! Tests of the MP4 facts.

use std::io::Cursor;

use proptest::prelude::*;
use time::macros::datetime;

use super::*;
use crate::samples;

fn facts_of(bytes: &[u8]) -> Result<VideoFacts, ContentError> {
    facts(Cursor::new(bytes), bytes.len() as u64)
}

/// The offset of a box in the sample.
fn offset(kind: [u8; 4]) -> usize {
    samples::LESSON_MP4.windows(4).position(|window| *window == kind).unwrap() - 4
}

fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = samples::LESSON_MP4.to_vec();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

fn box_of(kind: [u8; 4], body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len() + 8).unwrap();
    [&size.to_be_bytes(), kind.as_slice(), body].concat()
}

#[test]
fn the_facts_of_the_sample_lesson_are_read() {
    let expected = VideoFacts {
        duration_ms: Some(4_000),
        width_px: Some(320),
        height_px: Some(240),
        video_codec: Some("avc1".to_owned()),
        audio_codec: Some("mp4a".to_owned()),
        recorded_at: Some(datetime!(2026-09-01 08:30 UTC)),
    };
    assert_eq!(facts_of(samples::LESSON_MP4), Ok(expected));
}

#[test]
fn the_facts_agree_with_another_reader() {
    let facts = facts_of(samples::LESSON_MP4).unwrap();
    let other = re_mp4::Mp4::read_bytes(samples::LESSON_MP4).unwrap();
    let video = other.tracks().values().find(|track| track.width > 0).unwrap();
    assert_eq!(facts.width_px, Some(video.width.into()));
    assert_eq!(facts.height_px, Some(video.height.into()));
    let header = &other.moov.mvhd;
    assert_eq!(facts.duration_ms, Some(header.duration * 1000 / u64::from(header.timescale)));
}

#[test]
fn width_and_height_are_swapped_in_a_video_rotated_by_90_degrees() {
    let matrix: Vec<u8> = [0, 0x1_0000, 0, 0xFFFF_0000_u32, 0, 0, 0, 0, 0x4000_0000]
        .into_iter()
        .flat_map(u32::to_be_bytes)
        .collect();
    let facts = facts_of(&with(offset(*b"tkhd") + 8 + 40, &matrix)).unwrap();
    assert_eq!((facts.width_px, facts.height_px), (Some(240), Some(320)));
}

#[test]
fn facts_that_are_missing_or_absurd_are_left_out() {
    let mvhd = offset(*b"mvhd") + 12;
    assert_eq!(facts_of(&with(mvhd, &[0; 4])).unwrap().recorded_at, None);
    assert_eq!(
        facts_of(&with(mvhd, &1_788_000_000_u32.to_be_bytes())).unwrap().recorded_at,
        None,
        "unix time"
    );
    assert_eq!(facts_of(&with(mvhd + 8, &[0; 4])).unwrap().duration_ms, None, "no timescale");
    assert_eq!(facts_of(&with(mvhd + 12, &[0xFF; 4])).unwrap().duration_ms, None, "unknown duration");
}

#[test]
fn case_15_the_truncated_sample_is_a_typed_rejection() {
    assert_eq!(facts_of(samples::TRUNCATED_MP4), Err(ContentError::Truncated));
}

#[test]
fn case_15_a_video_is_truncated_at_any_cut() {
    let lesson = samples::LESSON_MP4;
    for length in (1..lesson.len()).step_by(37) {
        assert_eq!(facts_of(&lesson[..length]), Err(ContentError::Truncated), "cut at {length}");
    }
    let without_index = [&lesson[..offset(*b"moov")], &lesson[offset(*b"mdat")..]].concat();
    assert_eq!(facts_of(&without_index), Err(ContentError::Truncated));
    assert_eq!(facts_of(b""), Err(ContentError::Empty));
}

#[test]
fn case_15_a_file_shorter_than_its_stated_size_is_truncated() {
    let lesson = samples::LESSON_MP4;
    assert_eq!(facts(Cursor::new(&lesson[..1000]), lesson.len() as u64), Err(ContentError::Truncated));
    assert_eq!(facts(Cursor::new(&lesson[..1000]), u64::MAX), Err(ContentError::Truncated));
}

#[test]
fn case_15_false_box_sizes_are_a_typed_rejection() {
    for kind in
        [b"moov", b"mvhd", b"trak", b"tkhd", b"mdia", b"hdlr", b"minf", b"stbl", b"stsd", b"stco", b"mdat"]
    {
        for size in [2_u32, 7, 9, 0x7FFF_FFFF, u32::MAX] {
            let error = facts_of(&with(offset(*kind), &size.to_be_bytes())).unwrap_err();
            assert!(matches!(error.code(), "truncated" | "malformed"), "{kind:?} {size}: {error:?}");
        }
    }
}

#[test]
fn case_15_false_table_sizes_are_a_typed_rejection() {
    let stco = offset(*b"stco") + 12;
    assert_eq!(facts_of(&with(stco, &[0xFF; 4])).unwrap_err().code(), "malformed");
    assert_eq!(facts_of(&with(stco + 4, &[0xFF; 4])), Err(ContentError::Truncated));
}

#[test]
fn case_15_an_index_over_the_budget_is_not_read() {
    let start =
        [box_of(*b"ftyp", b"isom\0\0\0\0"), u32::MAX.to_be_bytes().to_vec(), b"moov".to_vec()].concat();
    assert_eq!(facts(Cursor::new(&start), u64::MAX), Err(ContentError::TooComplex));
    let boxes =
        [box_of(*b"ftyp", b"isom\0\0\0\0"), box_of(*b"free", b"").repeat(Limits::TOP_LEVEL_BOXES)].concat();
    assert_eq!(facts_of(&boxes), Err(ContentError::TooComplex));
}

#[test]
fn a_file_that_is_not_a_video_is_malformed() {
    assert_eq!(facts_of(samples::LESSON_WEBM).unwrap_err().code(), "malformed");
    let empty = [box_of(*b"ftyp", b"isom\0\0\0\0"), box_of(*b"moov", b""), box_of(*b"mdat", b"")].concat();
    assert_eq!(facts_of(&empty).unwrap_err().code(), "malformed");
}

#[test]
fn a_protected_video_is_encrypted() {
    let entry = samples::LESSON_MP4.windows(4).position(|window| window == b"avc1").unwrap();
    let stsd = offset(*b"stsd");
    let entry = if entry > stsd { entry } else { stsd + 20 };
    assert_eq!(facts_of(&with(entry, b"encv")), Err(ContentError::Encrypted));
}

proptest! {
    #[test]
    fn any_bytes_are_facts_or_a_typed_error(bytes: Vec<u8>, size_bytes: u64) {
        let _ = facts_of(&bytes);
        let _ = facts(Cursor::new(&bytes), size_bytes);
        let _ = facts_of(&[box_of(*b"ftyp", b""), box_of(*b"moov", &bytes), box_of(*b"mdat", b"")].concat());
    }

    #[test]
    fn a_mutated_video_gives_facts_or_a_typed_error(bytes in samples::mutated(samples::LESSON_MP4, 3_000)) {
        let _ = facts_of(&bytes);
    }
}
