//! Tests of `SubRip`.

use std::fmt::Write as _;

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::{Cue, Limits};

const FILE: &str = "1\n00:00:01,000 --> 00:00:02,500 X1:40 X2:600\n{\\an8}<b>Good</b> morning\n\n\
    2\n00:00:03.000 --> 00:00:04.000\n12\nTwo lines";

fn cue(start_ms: u64, end_ms: u64, text: &str) -> Cue {
    Cue { start_ms, end_ms, text: text.to_owned(), speaker: None }
}

fn captions(cues: Vec<Cue>) -> Captions {
    Captions { cues, dropped: 0 }
}

fn expected() -> Vec<Cue> {
    vec![cue(1000, 2500, "Good morning"), cue(3000, 4000, "12\nTwo lines")]
}

#[test]
fn cues_are_read_with_comma_or_dot_and_numbers_in_the_text_are_kept() {
    assert_eq!(parse(FILE.as_bytes()), Ok(captions(expected())));
}

#[test]
fn case_43_srt_with_bom_crlf_or_cr_is_normalised() {
    for file in [
        format!("\u{FEFF}{FILE}\n\n\n"),
        FILE.replace('\n', "\r\n"),
        FILE.replace('\n', "\r"),
        FILE.replace('\n', "\r\r\n"),
        format!("\n\n{FILE}"),
    ] {
        assert_eq!(parse(file.as_bytes()), Ok(captions(expected())));
    }
    let utf16: Vec<u8> =
        std::iter::once(0xFEFF).chain(FILE.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    assert_eq!(parse(&utf16), Ok(captions(expected())));
}

#[test]
fn case_43_overlapping_and_negative_srt_cues_are_normalised() {
    let file = "1\n00:00:05,000 --> 00:00:02,000\nreversed\n\n2\n-00:00:01,000 --> 00:00:09,000\nlong";
    assert_eq!(parse(file.as_bytes()), Ok(captions(vec![cue(0, 9000, "long"), cue(5000, 5000, "reversed")])));
}

#[test]
fn case_43_srt_that_is_not_utf8_is_a_typed_error() {
    assert_eq!(parse(b"1\n00:00:01,000 --> 00:00:02,000\nGr\xFC\xDFe"), Err(ContentError::NotUtf8));
}

#[test]
fn missing_numbers_and_blank_lines_lose_no_text() {
    let file = "00:00:01,000 --> 00:00:02,000\na\n\nwell\nb --> c\n2\n00:00:03,000 --> 00:00:04,000\nd";
    assert_eq!(
        parse(file.as_bytes()),
        Ok(captions(vec![cue(1000, 2000, "a\nwell\nb --> c"), cue(3000, 4000, "d")]))
    );
}

/// Each file has a good cue with the text "kept" behind the odd one.
#[rstest]
#[case::blank_line_after_the_number("1\n\n00:00:01,000 --> 00:00:02,000\nalso\n\n", &["also", "kept"], 0)]
#[case::blank_line_after_the_times("1\n00:00:01,000 --> 00:00:02,000\n\nalso\n\n", &["also", "kept"], 0)]
#[case::blank_line_after_everything("1\n\n00:00:01,000 --> 00:00:02,000\n\nalso\n\n\n", &["also", "kept"], 0)]
#[case::thousand_milliseconds("1\n00:00:01,1000 --> 00:00:02,1000\nalso\n\n", &["also", "kept"], 0)]
#[case::second_60("1\n00:00:01,000 --> 00:00:60,000\nalso\n\n", &["also", "kept"], 0)]
#[case::short_arrow("1\n00:00:01,000 -> 00:00:02,000\nalso\n\n", &["also", "kept"], 0)]
#[case::no_blanks_around_the_arrow("1\n00:00:01,000-->00:00:02,000\nalso\n\n", &["also", "kept"], 0)]
#[case::open_tags("1\n00:00:01,000 --> 00:00:02,000\n<i><font color=\"red\">also\n\n", &["also", "kept"], 0)]
#[case::nul("1\n00:00:01,000 --> 00:00:02,000\nal\0so\n\n", &["al\u{FFFD}so", "kept"], 0)]
#[case::arrow_between_numbers("1\n00:00:01,000 --> 00:00:02,000\n6 --> 7\n\n", &["6 --> 7", "kept"], 0)]
#[case::arrow_below_a_number("1\n00:00:01,000 --> 00:00:02,000\n5\n6 --> 7\n\n", &["5\n6 --> 7", "kept"], 0)]
#[case::arrows_in_a_dialogue("1\n00:00:01,000 --> 00:00:02,000\n- a\n-> b\n\n", &["- a\n-> b", "kept"], 0)]
#[case::times_in_a_text("1\n00:00:01,000 --> 00:00:02,000\nFrom 10:30 -> 11:00, or 3:4 --> 5:6\n\n", &["From 10:30 -> 11:00, or 3:4 --> 5:6", "kept"], 0)]
#[case::number_at_the_end_of_a_text("00:00:01,000 --> 00:00:02,000\nHow many?\n12\n\n", &["How many?\n12", "kept"], 0)]
#[case::unreadable_end("1\n00:00:01,000 --> later\nlost\n\n", &["kept"], 1)]
#[case::unreadable_start("1\n00:00:0l,000 --> 00:00:02,000\nlost\n\n", &["kept"], 1)]
#[case::unreadable_times("1\n00:00:0l,000 --> 00:00:O2,000\nlost\n\n", &["kept"], 1)]
#[case::words_for_times("1\nsoon --> later\nlost\nlost\n\n", &["kept"], 1)]
#[case::text_before_the_first_cue("Dear all,\nplease watch.\n\n", &["kept"], 1)]
#[case::file_put_together("1\n00:00:01,000 --> 00:00:02,000\nalso\n\n\u{FEFF}", &["also", "kept"], 0)]
fn f05_v07_odd_cue_is_read_or_dropped_and_the_rest_is_kept(
    #[case] odd: &str,
    #[case] texts: &[&str],
    #[case] dropped: u64,
) {
    let found = parse(format!("{odd}2\n00:01:03,000 --> 00:01:04,000\nkept\n").as_bytes()).unwrap();
    let found_texts: Vec<&str> = found.cues.iter().map(|cue| cue.text.as_str()).collect();
    assert_eq!((found_texts.as_slice(), found.dropped), (texts, dropped));
}

#[test]
fn a_voice_tag_names_the_speaker() {
    let captions = parse(b"1\n00:00:01,000 --> 00:00:02,000\n<v Ann>Hi</v>").unwrap();
    assert_eq!(captions.cues[0].speaker.as_deref(), Some("Ann"));
}

#[test]
fn f05_web_vtt_under_the_name_of_srt_is_read() {
    assert_eq!(parse(b"WEBVTT\n\n00:01.000 --> 00:02.000\nx"), Ok(captions(vec![cue(1000, 2000, "x")])));
}

#[rstest]
fn f05_silent_lesson_has_no_cue(
    #[values("", "\n\n", "\u{FEFF}", "1\n00:00:01,000 --> 00:00:02,000\n\n")] file: &str,
) {
    assert_eq!(parse(file.as_bytes()), Ok(Captions::default()));
}

#[rstest]
#[case("Dear all,\n")]
#[case("1\n2\n3\n")]
#[case("1\n00:00:01,000 --> later\nx")]
fn f05_file_whose_text_would_all_be_lost_is_an_error(#[case] file: &str) {
    assert_eq!(parse(file.as_bytes()), Err(ContentError::NoCues));
}

#[test]
fn a_file_with_too_many_cues_is_too_complex() {
    let file = "00:00:01,000 --> 00:00:02,000\nx\n".repeat(Limits::CUES + 1);
    assert_eq!(parse(file.as_bytes()), Err(ContentError::TooComplex));
}

/// Each of these takes many minutes if the time is quadratic.
#[rstest]
fn d07_time_is_linear_in_the_file(
    #[values("<a", "\n", "1\n", "1\n\n", "{\\", "->", "-->\n", "1\n-->\n", "0:0->\n", "\u{FEFF}")] part: &str,
) {
    let file = format!("1\n00:00:01,000 --> 00:00:02,000\n{}", part.repeat(4 * 1024 * 1024 / part.len()));
    assert!(parse(file.as_bytes()).unwrap_or_default().cues.len() <= 1);
}

proptest! {
    #[test]
    fn any_bytes_are_cues_or_a_typed_error(bytes: Vec<u8>) {
        let _ = parse(&bytes);
    }

    #[test]
    fn any_lines_are_cues_or_a_typed_error(lines in "([0-9:, <>&{}\\\\\n-]|-->|00:00:01,000){0,80}") {
        let _ = parse(lines.as_bytes());
    }

    #[test]
    fn cues_round_trip(
        starts in prop::collection::vec(0..360_000_000_u64, 1..8),
        text in "[a-zé你😀][ a-zé你😀]{0,10}[a-z]",
        separator in "[.,]",
        newline in prop::sample::select(vec!["\n", "\r\n", "\r"]),
    ) {
        let mut starts = starts;
        starts.sort_unstable();
        let clock = |ms: u64| {
            format!("{:02}:{:02}:{:02}{separator}{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000)
        };
        let mut file = String::new();
        for (number, start) in starts.iter().enumerate() {
            let (from, to) = (clock(*start), clock(start + 1500));
            let _ = write!(file, "{}{newline}{from} --> {to}{newline}{text}{newline}{newline}", number + 1);
        }
        let expected: Vec<Cue> = starts.iter().map(|start| cue(*start, start + 1500, &text)).collect();
        prop_assert_eq!(parse(file.as_bytes()), Ok(captions(expected)));
    }
}
