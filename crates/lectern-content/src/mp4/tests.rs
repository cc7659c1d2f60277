//! Tests of the MP4 facts.

use std::io::Cursor;

use proptest::prelude::*;
use time::macros::datetime;

use rstest::rstest;

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
            if (kind, size) == (b"mdat", 9) {
                // Chunks are found by their offset in the file, so players play this one.
                continue;
            }
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

/// Seen in files of phones, editors and downloads.
#[test]
fn f09_what_follows_the_last_box_is_ignored() {
    let expected = facts_of(samples::LESSON_MP4);
    assert!(expected.is_ok());
    let tag = [b"TAG".as_slice(), &[b' '; 125]].concat();
    for behind in [
        &b"\0\0\0\0"[..],
        b"\0",
        b"junk",
        &[0; 4096],
        b"\xFF\xFE\xFD\xFC\xFB\xFA\xF9\xF8\xF7",
        b"\0\0\0\x02free",
        &tag,
    ] {
        assert_eq!(facts_of(&[samples::LESSON_MP4, behind].concat()), expected, "{behind:?}");
    }
    for cut_off in [&b"\0\0\x10\0mdat"[..], b"\0\0\x10\0moof"] {
        assert_eq!(facts_of(&[samples::LESSON_MP4, cut_off].concat()), Err(ContentError::Truncated));
    }
}

/// The sample with `extra` bytes at the end of its `moov`, whose chunk offsets then have to point behind them.
fn with_end_of_moov(extra: &[u8]) -> Vec<u8> {
    let (moov, mdat) = (offset(*b"moov"), offset(*b"mdat"));
    let sample = samples::LESSON_MP4;
    let size = u32::from_be_bytes(sample[moov..moov + 4].try_into().unwrap());
    let end = moov + usize::try_from(size).unwrap();
    let longer = size + u32::try_from(extra.len()).unwrap();
    assert!(end <= mdat);
    [&sample[..moov], &longer.to_be_bytes(), &sample[moov + 4..end], extra, &sample[end..]].concat()
}

#[test]
fn f09_zeros_at_the_end_of_the_index_are_ignored() {
    for zeros in [1, 4, 8, 12, 100] {
        let facts = facts_of(&with_end_of_moov(&vec![0; zeros])).unwrap();
        assert_eq!(facts.duration_ms, Some(4_000), "{zeros} zeros");
    }
}

#[rstest]
#[case::iphone(samples::PHONE_MOV, Some("avc1"), Some("mp4a"))]
#[case::iphone_in_hevc(samples::PHONE_HEVC_MOV, Some("hvc1"), Some("mp4a"))]
#[case::android(samples::PHONE_3GP, Some("avc1"), Some("mp4a"))]
#[case::voice_memo(samples::RECORDING_M4A, None, Some("mp4a"))]
fn files_of_phones_are_read(#[case] file: &[u8], #[case] video: Option<&str>, #[case] audio: Option<&str>) {
    let facts = facts_of(file).unwrap();
    assert_eq!((facts.video_codec.as_deref(), facts.audio_codec.as_deref()), (video, audio));
    assert_eq!(facts.width_px.is_some(), video.is_some());
    assert!(facts.duration_ms.is_some_and(|ms| (900..2200).contains(&ms)), "{facts:?}");
}

#[test]
fn an_old_quicktime_movie_has_no_brand() {
    let ftyp = usize::try_from(u32::from_be_bytes(*samples::LESSON_MP4.first_chunk().unwrap())).unwrap();
    // The chunks' offsets stay, so that they still lie inside of the file.
    let movie = [&samples::LESSON_MP4[ftyp..], &[0; 64]].concat();
    assert_eq!(facts_of(&movie).unwrap().duration_ms, Some(4_000));
}

#[test]
fn f03_boxes_without_meaning_may_stand_before_ftyp() {
    let file = [box_of(*b"free", b"12345678"), box_of(*b"wide", b""), samples::LESSON_MP4.to_vec()].concat();
    assert!(facts_of(&file).is_ok());
    let index_first = [box_of(*b"moov", b""), samples::LESSON_MP4.to_vec()].concat();
    assert_eq!(facts_of(&index_first).unwrap_err().code(), "malformed");
}

/// A fragmented video: the sample's index with `mvex`, and these fragments. The sample lists four seconds of its own.
fn fragmented(mvex: &[u8], fragments: &[Vec<u8>]) -> Vec<u8> {
    [with_end_of_moov(&box_of(*b"mvex", mvex)), fragments.concat()].concat()
}

fn full_box(kind: [u8; 4], flags: u32, fields: &[u32]) -> Vec<u8> {
    let body: Vec<u8> = std::iter::once(&flags).chain(fields).flat_map(|field| field.to_be_bytes()).collect();
    box_of(kind, &body)
}

/// The identifier and timescale of the sample's first track.
fn first_track() -> (u32, u32) {
    let number = |at: usize| u32::from_be_bytes(samples::LESSON_MP4[at..at + 4].try_into().unwrap());
    (number(offset(*b"tkhd") + 20), number(offset(*b"mdhd") + 20))
}

fn fragment(children: &[Vec<u8>]) -> Vec<u8> {
    [box_of(*b"moof", &box_of(*b"traf", &children.concat())), box_of(*b"mdat", b"")].concat()
}

#[test]
fn f10_duration_of_a_fragmented_video_is_that_of_all_fragments() {
    let (track, timescale) = first_track();
    let trex = full_box(*b"trex", 0, &[track, 1, timescale / 2, 0, 0]);
    let tfhd = full_box(*b"tfhd", 0, &[track]);
    let duration =
        |mvex: &[u8], fragments: &[Vec<u8>]| facts_of(&fragmented(mvex, fragments)).unwrap().duration_ms;

    let by_default = fragment(&[tfhd.clone(), full_box(*b"trun", 0, &[4])]);
    assert_eq!(
        duration(&trex, std::slice::from_ref(&by_default)),
        Some(6_000),
        "half a second for each of four samples"
    );
    assert_eq!(duration(&trex, &[by_default.clone(), by_default.clone()]), Some(8_000));

    let own_default = full_box(*b"tfhd", 0x2A, &[track, 1, timescale, 0]);
    let of_fragment = fragment(&[own_default, full_box(*b"trun", 0, &[4])]);
    assert_eq!(duration(&trex, &[of_fragment]), Some(8_000), "a second for each of four samples");

    let of_samples = full_box(*b"trun", 0x301, &[2, 0, timescale, 9, 3 * timescale, 9]);
    let of_samples = fragment(&[tfhd.clone(), of_samples]);
    assert_eq!(duration(&[], std::slice::from_ref(&of_samples)), Some(8_000));

    let at_10_s =
        fragment(&[tfhd.clone(), full_box(*b"tfdt", 0, &[10 * timescale]), full_box(*b"trun", 0, &[2])]);
    assert_eq!(duration(&trex, &[at_10_s]), Some(11_000));

    let mehd = full_box(*b"mehd", 0, &[9_000]);
    let header_timescale =
        u32::from_be_bytes(samples::LESSON_MP4[offset(*b"mvhd") + 20..][..4].try_into().unwrap());
    assert_eq!(
        duration(&[mehd, trex].concat(), &[by_default]),
        Some(9_000_000 / u64::from(header_timescale))
    );
    assert_eq!(duration(&full_box(*b"mehd", 0, &[0]), &[of_samples]), Some(8_000), "mehd says nothing");
}

#[test]
fn f10_duration_that_the_fragments_do_not_tell_is_left_out() {
    let (track, _) = first_track();
    let tfhd = full_box(*b"tfhd", 0, &[track]);
    for children in [
        vec![tfhd.clone(), full_box(*b"trun", 0, &[4])],
        vec![tfhd.clone(), full_box(*b"trun", 0x100, &[4, 1])],
        vec![full_box(*b"trun", 0, &[4])],
        vec![tfhd, b"\xFF\xFF\xFF\xFFtrun".to_vec()],
    ] {
        assert_eq!(
            facts_of(&fragmented(&[], &[fragment(&children)])).unwrap().duration_ms,
            None,
            "{children:?}"
        );
    }
}

proptest! {
    #[test]
    fn any_fragment_gives_facts_or_a_typed_error(bytes: Vec<u8>, flags: u32) {
        let run = box_of(*b"trun", &[&flags.to_be_bytes(), bytes.as_slice()].concat());
        let tfhd = full_box(*b"tfhd", 0, &[first_track().0]);
        let _ = facts_of(&fragmented(&bytes, &[fragment(&[tfhd, run]), box_of(*b"moof", &bytes)]));
    }

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
