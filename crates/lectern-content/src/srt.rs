//! `SubRip` captions. The format has no standard; this parser reads what video players read.

use crate::{
    ContentError,
    cue::{self, Cue, Cues},
};

/// Reads the cues and sorts them by their start. Cues may overlap.
///
/// - Accepted and changed: as in [`crate::vtt::parse`]. Also accepted: a dot instead of the comma, missing numbers, a
///   missing blank line between cues, blank lines in a cue's text.
/// - Dropped: overrides such as `{\an8}`, coordinates, markup, and cues without text.
/// - Refused: text before the first cue, a file without cues, an unreadable time, another encoding.
///
/// Time and memory are linear in the input, at most `Limits::CAPTION_BYTES` and `Limits::CUES`.
pub fn parse(bytes: &[u8]) -> Result<Vec<Cue>, ContentError> {
    let text = cue::text_of(bytes)?;
    let lines: Vec<&str> = text.lines().collect();
    let mut cues = Cues::default();
    let mut open: Option<((u64, u64), String)> = None;
    for (index, line) in lines.iter().enumerate() {
        if let Some(times) = timing(&lines, index)? {
            if let Some((times, markup)) = open.replace((times, String::new())) {
                cues.push(times, &markup)?;
            }
        } else if let Some((_, markup)) = &mut open {
            if !is_number(&lines, index) {
                markup.push_str(&without_overrides(line));
                markup.push('\n');
            }
        } else if !line.trim().is_empty() && !is_number(&lines, index) {
            return Err(ContentError::Malformed(format!("line {} is not part of a cue", index + 1)));
        }
    }
    let Some((times, markup)) = open else { return Err(ContentError::malformed("it has no cue")) };
    cues.push(times, &markup)?;
    Ok(cues.finish())
}

/// The times of a line. An arrow in the middle of a cue's text is text.
fn timing(lines: &[&str], index: usize) -> Result<Option<(u64, u64)>, ContentError> {
    let in_cue_text = index.checked_sub(1).is_some_and(|before| {
        let before = lines[before].trim();
        !before.is_empty() && !before.bytes().all(|b| b.is_ascii_digit())
    });
    cue::timing(lines[index], index + 1, in_cue_text)
}

/// Whether a line is the number of a cue, whose times are on the next line.
fn is_number(lines: &[&str], index: usize) -> bool {
    let line = lines[index].trim();
    let number = !line.is_empty() && line.bytes().all(|b| b.is_ascii_digit());
    number && lines.get(index + 1).is_some_and(|next| next.contains("-->"))
}

/// Removes `{\…}`, with which ASS and SSA tools position and style a text.
fn without_overrides(line: &str) -> String {
    let mut kept = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("{\\") {
        let Some(end) = rest[at..].find('}') else { break };
        kept.push_str(&rest[..at]);
        rest = &rest[at + end + 1..];
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;
    use crate::Limits;

    const FILE: &str = "1\n00:00:01,000 --> 00:00:02,500 X1:40 X2:600\n{\\an8}<b>Good</b> morning\n\n\
        2\n00:00:03.000 --> 00:00:04.000\n12\nTwo lines";

    fn cue(start_ms: u64, end_ms: u64, text: &str) -> Cue {
        Cue { start_ms, end_ms, text: text.to_owned(), speaker: None }
    }

    fn expected() -> Vec<Cue> {
        vec![cue(1000, 2500, "Good morning"), cue(3000, 4000, "12\nTwo lines")]
    }

    #[test]
    fn cues_are_read_with_comma_or_dot_and_numbers_in_the_text_are_kept() {
        assert_eq!(parse(FILE.as_bytes()), Ok(expected()));
    }

    #[test]
    fn case_43_srt_with_bom_crlf_or_cr_is_normalised() {
        for file in [
            format!("\u{FEFF}{FILE}\n\n\n"),
            FILE.replace('\n', "\r\n"),
            FILE.replace('\n', "\r"),
            format!("\n\n{FILE}"),
        ] {
            assert_eq!(parse(file.as_bytes()), Ok(expected()));
        }
        let utf16: Vec<u8> =
            std::iter::once(0xFEFF).chain(FILE.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        assert_eq!(parse(&utf16), Ok(expected()));
    }

    #[test]
    fn case_43_overlapping_and_negative_srt_cues_are_normalised() {
        let file = "1\n00:00:05,000 --> 00:00:02,000\nreversed\n\n2\n-00:00:01,000 --> 00:00:09,000\nlong";
        assert_eq!(parse(file.as_bytes()), Ok(vec![cue(0, 9000, "long"), cue(5000, 5000, "reversed")]));
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
            Ok(vec![cue(1000, 2000, "a\nwell\nb --> c"), cue(3000, 4000, "d")])
        );
    }

    #[test]
    fn a_voice_tag_names_the_speaker() {
        let cues = parse(b"1\n00:00:01,000 --> 00:00:02,000\n<v Ann>Hi</v>").unwrap();
        assert_eq!(cues[0].speaker.as_deref(), Some("Ann"));
    }

    #[test]
    fn a_file_that_is_no_srt_is_malformed() {
        assert_eq!(parse(b"Dear all,\n").unwrap_err().code(), "malformed");
        assert_eq!(parse(b"1\n2\n3\n").unwrap_err().code(), "malformed");
        assert_eq!(parse(b"1\n00:00:01,000 --> later\nx").unwrap_err().code(), "malformed");
        assert_eq!(parse(b"WEBVTT\n\n00:01.000 --> 00:02.000\nx").unwrap_err().code(), "malformed");
        assert_eq!(parse(b""), Err(ContentError::Empty));
    }

    #[test]
    fn a_file_with_too_many_cues_is_too_complex() {
        let file = "00:00:01,000 --> 00:00:02,000\nx\n".repeat(Limits::CUES + 1);
        assert_eq!(parse(file.as_bytes()), Err(ContentError::TooComplex));
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
            prop_assert_eq!(parse(file.as_bytes()).unwrap(), expected);
        }
    }
}
