//! Tests of `WebVTT`.

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::Limits;

const FILE: &str = "WEBVTT - a lesson\nKind: captions\n\nNOTE written by hand\n--> not a cue\n\nSTYLE\n\
    ::cue { color: red }\n\nREGION\nid:top\n\nintro\n00:01.000 --> 00:02.500 align:start line:0\n\
    <v Ms Smith>Good <i>morning</i> &amp; welcome</v>\n\n00:00:03.000 --> 00:00:04.000\nTwo\nlines";

fn cue(start_ms: u64, end_ms: u64, text: &str) -> Cue {
    Cue { start_ms, end_ms, text: text.to_owned(), speaker: None }
}

fn captions(cues: Vec<Cue>) -> Captions {
    Captions { cues, dropped: 0 }
}

fn expected() -> Vec<Cue> {
    let first = Cue { speaker: Some("Ms Smith".to_owned()), ..cue(1000, 2500, "Good morning & welcome") };
    vec![first, cue(3000, 4000, "Two\nlines")]
}

/// The texts of the cues, and the number of dropped ones.
fn texts(file: &str) -> (Vec<String>, u64) {
    let captions = parse(file.as_bytes()).unwrap();
    (captions.cues.into_iter().map(|cue| cue.text).collect(), captions.dropped)
}

#[test]
fn cues_are_read_and_notes_styles_regions_ids_and_settings_are_not() {
    assert_eq!(parse(FILE.as_bytes()), Ok(captions(expected())));
}

#[test]
fn case_43_vtt_with_bom_crlf_or_cr_is_normalised() {
    for file in [
        format!("\u{FEFF}{FILE}"),
        FILE.replace('\n', "\r\n"),
        FILE.replace('\n', "\r"),
        FILE.replace('\n', "\r\r\n"),
        format!("\u{FEFF}{}\r\n\r\n", FILE.replace('\n', "\r\n")),
    ] {
        assert_eq!(parse(file.as_bytes()), Ok(captions(expected())));
    }
    let utf16: Vec<u8> =
        std::iter::once(0xFEFF).chain(FILE.encode_utf16()).flat_map(u16::to_be_bytes).collect();
    assert_eq!(parse(&utf16), Ok(captions(expected())));
}

#[test]
fn case_43_overlapping_vtt_cues_are_kept_and_sorted_by_their_start() {
    let file =
        "WEBVTT\n\n00:05.000 --> 00:09.000\nb\n\n00:01.000 --> 00:06.000\na\n\n00:05.000 --> 00:06.000\nc";
    assert_eq!(
        parse(file.as_bytes()),
        Ok(captions(vec![cue(1000, 6000, "a"), cue(5000, 9000, "b"), cue(5000, 6000, "c")]))
    );
}

#[test]
fn case_43_negative_vtt_cues_are_normalised() {
    let file = "WEBVTT\n\n00:05.000 --> 00:02.000\nreversed\n\n-00:01.000 --> 00:01.000\nbefore the start";
    assert_eq!(
        parse(file.as_bytes()),
        Ok(captions(vec![cue(0, 1000, "before the start"), cue(5000, 5000, "reversed")]))
    );
}

#[test]
fn case_43_vtt_that_is_not_utf8_is_a_typed_error() {
    assert_eq!(parse(b"WEBVTT\n\n00:01.000 --> 00:02.000\nGr\xFC\xDFe"), Err(ContentError::NotUtf8));
}

/// Each file has a good cue with the text "kept" beside the odd one.
#[rstest]
#[case::second_60("00:58.000 --> 00:60.000\nlost\n\n", &["kept"], 1)]
#[case::no_time("soon --> later\nlost\n\n", &["kept"], 1)]
#[case::no_time_with_id("7\n00:01.000 --> soon\nlost\nlost\n\n", &["kept"], 1)]
#[case::one_decimal_point_too_many("00:01..000 --> 00:02.000\nlost\n\n", &["kept"], 1)]
#[case::block_without_times("lost\n\n", &["kept"], 1)]
#[case::blank_line_after_the_times("00:01.000 --> 00:02.000\n\nlost\n\n", &["kept"], 1)]
#[case::blank_line_after_the_number("7\n\n00:01.000 --> 00:02.000\nalso\n\n", &["also", "kept"], 0)]
#[case::no_blank_line_between("00:01.000 --> 00:02.000\nalso\n", &["also", "kept"], 0)]
#[case::bad_cue_without_a_blank_line_behind_it("00:01.000 --> soon\nlost\n", &["kept"], 1)]
#[case::settings_without_a_blank("00:01.000-->00:02.000align:start\nalso\n\n", &["also", "kept"], 0)]
#[case::comma("00:01,000 --> 00:02,000\nalso\n\n", &["also", "kept"], 0)]
#[case::open_tags("00:01.000 --> 00:02.000\n<i><c.loud>also\n\n", &["also", "kept"], 0)]
#[case::nul("00:01.000 --> 00:02.000\nal\0so\n\n", &["al\u{FFFD}so", "kept"], 0)]
#[case::no_text("00:01.000 --> 00:02.000\n<i></i>\n\n", &["kept"], 0)]
#[case::note_after_a_cue("00:01.000 --> 00:02.000\nalso\n\nNOTE\nnothing\n\nSTYLE\nnothing\n\n", &["also", "kept"], 0)]
#[case::blank_line_of_blanks("00:01.000 --> 00:02.000\nal\n \nso\n\n", &["al\nso", "kept"], 0)]
#[case::number_alone("12\n\n", &["kept"], 0)]
fn f05_d17_odd_cue_is_read_or_dropped_and_the_rest_is_kept(
    #[case] odd: &str,
    #[case] expected: &[&str],
    #[case] dropped: u64,
) {
    let file = format!("WEBVTT\n\n{odd}00:03.000 --> 00:04.000\nkept\n");
    let (found, counted) = texts(&file);
    assert_eq!((found, counted), (expected.iter().map(|text| (*text).to_owned()).collect(), dropped));
}

#[rstest]
#[case::metadata("WEBVTT title\nKind: captions\nLanguage: en\n\n")]
#[case::no_blank_line("WEBVTT\n")]
#[case::tab("WEBVTT\ttitle\n\n")]
#[case::blank_lines("WEBVTT\n\n\n\n")]
fn f05_header_is_followed_by_cues(#[case] header: &str) {
    assert_eq!(texts(&format!("{header}00:03.000 --> 00:04.000\nkept")), (vec!["kept".to_owned()], 0));
}

#[test]
fn a_file_without_its_signature_is_malformed() {
    assert_eq!(parse(b"WEBVTTX\n\n").unwrap_err().code(), "malformed");
    assert_eq!(parse(b"1\n00:00:01,000 --> 00:00:02,000\nsrt").unwrap_err().code(), "malformed");
}

#[rstest]
fn f05_silent_lesson_has_no_cue(
    #[values(
        "",
        " \n",
        "\u{FEFF}",
        "WEBVTT",
        "WEBVTT\n\n",
        "WEBVTT silence\nKind: captions\n\nNOTE nothing\n",
        "WEBVTT\n\n00:01.000 --> 00:02.000\n<i></i>\n"
    )]
    file: &str,
) {
    assert_eq!(parse(file.as_bytes()), Ok(Captions::default()));
}

#[rstest]
#[case("WEBVTT\n\n00:01.000 --> soon\nx")]
#[case("WEBVTT\n\nGood morning.\n\nOpen your books.")]
fn f05_file_whose_text_would_all_be_lost_is_an_error(#[case] file: &str) {
    assert_eq!(parse(file.as_bytes()), Err(ContentError::NoCues));
}

#[test]
fn a_file_with_too_many_cues_is_too_complex() {
    let file = format!("WEBVTT\n\n{}", "00:01.000 --> 00:02.000\nx\n".repeat(Limits::CUES + 1));
    assert_eq!(parse(file.as_bytes()), Err(ContentError::TooComplex));
    let file = format!("WEBVTT\n\n00:01.000 --> 00:02.000\n{}", "<v>x".repeat(Limits::CUES + 1));
    assert_eq!(parse(file.as_bytes()), Err(ContentError::TooComplex));
}

/// Each of these takes many minutes if the time is quadratic.
#[rstest]
fn d07_time_is_linear_in_the_file(
    #[values("<a", "\n", "\r", "1\n", "-->\n", "1\n\n", "\u{2212}")] part: &str,
) {
    let file = format!("WEBVTT\n\n00:01.000 --> 00:02.000\n{}", part.repeat(4 * 1024 * 1024 / part.len()));
    assert!(parse(file.as_bytes()).unwrap_or_default().cues.len() <= 1);
}

fn any_cues() -> impl Strategy<Value = Vec<Cue>> {
    let line = "[!-~àé你😀]([ -~àé你😀]{0,12}[!-~àé你😀])?";
    let text = prop::collection::vec(line, 1..3).prop_map(|lines| lines.join("\n"));
    let speaker = prop::option::of("[!-~é]{1,6}( [!-~é]{1,6})?");
    let cue =
        (0..400_000_000_u64, 0..100_000_u64, text, speaker).prop_map(|(start_ms, length, text, speaker)| {
            Cue { start_ms, end_ms: start_ms + length, text, speaker }
        });
    prop::collection::vec(cue, 0..8).prop_map(|mut cues| {
        cues.sort_by_key(|cue| cue.start_ms);
        cues
    })
}

proptest! {
    #[test]
    fn any_bytes_are_cues_or_a_typed_error(bytes: Vec<u8>) {
        let _ = parse(&bytes);
        let _ = parse(&[b"WEBVTT\n\n", bytes.as_slice()].concat());
    }

    #[test]
    fn any_lines_are_cues_or_a_typed_error(lines in "([0-9:. <>&vNOTE\n-]|-->|00:01\\.000){0,80}") {
        let _ = parse(format!("WEBVTT\n{lines}").as_bytes());
    }

    #[test]
    fn cues_round_trip(cues in any_cues(), crlf: bool) {
        let mut file = write_vtt(&cues);
        if crlf {
            file = file.replace('\n', "\r\n");
        }
        prop_assert_eq!(parse(file.as_bytes()), Ok(captions(cues)));
    }
}
