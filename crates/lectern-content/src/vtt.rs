//! `WebVTT` captions, <https://www.w3.org/TR/webvtt1/>.

use std::fmt::Write as _;

use crate::{
    ContentError,
    cue::{self, Cue, Cues},
};

/// Reads the cues and sorts them by their start. Cues may overlap.
///
/// - Accepted: a byte order mark, UTF-16, any line end, a missing blank line or final newline, a comma in a time.
/// - Changed: a negative time becomes zero; an end before its start becomes the start; a cue with several voices
///   becomes one cue per voice.
/// - Dropped: notes, styles, regions, cue ids, settings, markup, and cues without text.
/// - Refused: no `WEBVTT` at the start, an unreadable time, another encoding.
///
/// Time and memory are linear in the input, at most `Limits::CAPTION_BYTES` and `Limits::CUES`.
pub fn parse(bytes: &[u8]) -> Result<Vec<Cue>, ContentError> {
    let text = cue::text_of(bytes)?;
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    let signed = lines.next().is_some_and(|(_, line)| {
        line.strip_prefix("WEBVTT").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
    });
    if !signed {
        return Err(ContentError::malformed("it does not start with WEBVTT"));
    }

    let mut cues = Cues::default();
    let mut open: Option<((u64, u64), String)> = None;
    let mut in_note = false;
    let mut block_starts = false;
    for (number, line) in lines {
        let blank = line.trim().is_empty();
        in_note = !blank && (in_note || block_starts && is_note(line));
        block_starts = blank;
        if in_note {
            continue;
        }
        if blank {
            if let Some((times, markup)) = open.take() {
                cues.push(times, &markup)?;
            }
        } else if let Some(times) = cue::timing(line, number, open.is_some())? {
            if let Some((times, markup)) = open.replace((times, String::new())) {
                cues.push(times, &markup)?;
            }
        } else if let Some((_, markup)) = &mut open {
            markup.push_str(line);
            markup.push('\n');
        }
    }
    if let Some((times, markup)) = open {
        cues.push(times, &markup)?;
    }
    Ok(cues.finish())
}

/// Writes cues as a `WebVTT` file.
///
/// [`parse`] reads the same cues back if they are sorted, their texts are trimmed and have no blank lines, and their
/// times are below 100,000 hours.
pub fn write_vtt(cues: &[Cue]) -> String {
    let mut vtt = "WEBVTT\n".to_owned();
    for cue in cues {
        // Writing to a String cannot fail.
        let _ = writeln!(vtt, "\n{} --> {}", clock(cue.start_ms), clock(cue.end_ms));
        if let Some(speaker) = &cue.speaker {
            let _ = write!(vtt, "<v {}>", escape(speaker));
        }
        for line in cue.text.lines().filter(|line| !line.trim().is_empty()) {
            let _ = writeln!(vtt, "{}", escape(line));
        }
    }
    vtt
}

fn is_note(line: &str) -> bool {
    line.strip_prefix("NOTE").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
        || matches!(line.trim_end(), "STYLE" | "REGION")
}

fn clock(ms: u64) -> String {
    format!("{:02}:{:02}:{:02}.{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace(['\r', '\n'], " ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Limits;

    const FILE: &str = "WEBVTT - a lesson\nKind: captions\n\nNOTE written by hand\n--> not a cue\n\nSTYLE\n\
        ::cue { color: red }\n\nREGION\nid:top\n\nintro\n00:01.000 --> 00:02.500 align:start line:0\n\
        <v Ms Smith>Good <i>morning</i> &amp; welcome</v>\n\n00:00:03.000 --> 00:00:04.000\nTwo\nlines";

    fn cue(start_ms: u64, end_ms: u64, text: &str) -> Cue {
        Cue { start_ms, end_ms, text: text.to_owned(), speaker: None }
    }

    fn expected() -> Vec<Cue> {
        let first = Cue { speaker: Some("Ms Smith".to_owned()), ..cue(1000, 2500, "Good morning & welcome") };
        vec![first, cue(3000, 4000, "Two\nlines")]
    }

    #[test]
    fn cues_are_read_and_notes_styles_regions_ids_and_settings_are_not() {
        assert_eq!(parse(FILE.as_bytes()), Ok(expected()));
    }

    #[test]
    fn case_43_vtt_with_bom_crlf_or_cr_is_normalised() {
        for file in [
            format!("\u{FEFF}{FILE}"),
            FILE.replace('\n', "\r\n"),
            FILE.replace('\n', "\r"),
            format!("\u{FEFF}{}\r\n\r\n", FILE.replace('\n', "\r\n")),
        ] {
            assert_eq!(parse(file.as_bytes()), Ok(expected()));
        }
        let utf16: Vec<u8> =
            std::iter::once(0xFEFF).chain(FILE.encode_utf16()).flat_map(u16::to_be_bytes).collect();
        assert_eq!(parse(&utf16), Ok(expected()));
    }

    #[test]
    fn case_43_overlapping_vtt_cues_are_kept_and_sorted_by_their_start() {
        let file = "WEBVTT\n\n00:05.000 --> 00:09.000\nb\n\n00:01.000 --> 00:06.000\na\n\n00:05.000 --> 00:06.000\nc";
        assert_eq!(
            parse(file.as_bytes()),
            Ok(vec![cue(1000, 6000, "a"), cue(5000, 9000, "b"), cue(5000, 6000, "c")])
        );
    }

    #[test]
    fn case_43_negative_vtt_cues_are_normalised() {
        let file =
            "WEBVTT\n\n00:05.000 --> 00:02.000\nreversed\n\n-00:01.000 --> 00:01.000\nbefore the start";
        assert_eq!(
            parse(file.as_bytes()),
            Ok(vec![cue(0, 1000, "before the start"), cue(5000, 5000, "reversed")])
        );
    }

    #[test]
    fn case_43_vtt_that_is_not_utf8_is_a_typed_error() {
        assert_eq!(parse(b"WEBVTT\n\n00:01.000 --> 00:02.000\nGr\xFC\xDFe"), Err(ContentError::NotUtf8));
    }

    #[test]
    fn a_file_without_its_signature_or_with_a_broken_time_is_malformed() {
        assert_eq!(parse(b"WEBVTTX\n\n").unwrap_err().code(), "malformed");
        assert_eq!(parse(b"1\n00:00:01,000 --> 00:00:02,000\nsrt").unwrap_err().code(), "malformed");
        let error = parse(b"WEBVTT\n\n00:01.000 --> soon\nx").unwrap_err();
        assert!(error.to_string().contains("line 3"), "{error}");
        assert_eq!(parse(b" \n"), Err(ContentError::Empty));
    }

    #[test]
    fn a_file_with_no_cue_is_no_error() {
        assert_eq!(parse(b"WEBVTT"), Ok(vec![]));
        assert_eq!(parse(b"WEBVTT\n\n00:01.000 --> 00:02.000\n<i></i>\n"), Ok(vec![]));
    }

    #[test]
    fn a_file_with_too_many_cues_is_too_complex() {
        let file = format!("WEBVTT\n\n{}", "00:01.000 --> 00:02.000\nx\n".repeat(Limits::CUES + 1));
        assert_eq!(parse(file.as_bytes()), Err(ContentError::TooComplex));
    }

    fn any_cues() -> impl Strategy<Value = Vec<Cue>> {
        let line = "[!-~àé你😀]([ -~àé你😀]{0,12}[!-~àé你😀])?";
        let text = prop::collection::vec(line, 1..3).prop_map(|lines| lines.join("\n"));
        let speaker = prop::option::of("[!-~é]{1,6}( [!-~é]{1,6})?");
        let cue = (0..400_000_000_u64, 0..100_000_u64, text, speaker).prop_map(
            |(start_ms, length, text, speaker)| Cue { start_ms, end_ms: start_ms + length, text, speaker },
        );
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
            prop_assert_eq!(parse(file.as_bytes()).unwrap(), cues);
        }
    }
}
