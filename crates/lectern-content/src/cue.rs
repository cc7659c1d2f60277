//! The parts that VTT and SRT share: cues, times and markup.

use crate::{ContentError, Limits};

/// One piece of speech.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cue {
    /// Milliseconds from the start of the video.
    pub start_ms: u64,
    /// Milliseconds from the start of the video; at least `start_ms`.
    pub end_ms: u64,
    /// The spoken text: not empty, without markup and blank lines, with `\n` between lines.
    pub text: String,
    /// The speaker, if a voice tag names one.
    pub speaker: Option<String>,
}

/// Collects at most [`Limits::CUES`] cues.
#[derive(Debug, Default)]
pub(crate) struct Cues(Vec<Cue>);

impl Cues {
    /// Adds one cue for each voice in `markup`; none if `markup` has no text.
    pub(crate) fn push(&mut self, (start_ms, end_ms): (u64, u64), markup: &str) -> Result<(), ContentError> {
        for (speaker, text) in voices(markup) {
            if self.0.len() >= Limits::CUES {
                return Err(ContentError::TooComplex);
            }
            self.0.push(Cue { start_ms, end_ms, text, speaker });
        }
        Ok(())
    }

    /// The cues by their start. Cues that start together keep the order of the file.
    pub(crate) fn finish(mut self) -> Vec<Cue> {
        self.0.sort_by_key(|cue| cue.start_ms);
        self.0
    }
}

/// Decodes a caption file and turns every line end into `\n`.
pub(crate) fn text_of(bytes: &[u8]) -> Result<String, ContentError> {
    if bytes.len() > Limits::CAPTION_BYTES {
        return Err(ContentError::TooComplex);
    }
    let text = crate::text::decode(bytes)?;
    if text.trim().is_empty() {
        return Err(ContentError::Empty);
    }
    Ok(text.replace("\r\n", "\n").replace('\r', "\n"))
}

/// Reads `start --> end …` and ignores the settings or coordinates after the end.
///
/// `None` if the line has no arrow, or if it is part of a cue's text and does not start like a time. An unreadable time
/// is `Malformed`. Tools that shift captions write negative times, which become zero. An end before its start becomes
/// the start, because the text matters more than the times.
pub(crate) fn timing(
    line: &str,
    line_number: usize,
    in_cue_text: bool,
) -> Result<Option<(u64, u64)>, ContentError> {
    let Some((start, end)) = line.split_once("-->") else { return Ok(None) };
    let end = end.split_whitespace().next().unwrap_or_default();
    let starts_like_time = start.trim_start().starts_with(|c: char| c.is_ascii_digit() || MINUS.contains(&c));
    match (timestamp(start.trim()), timestamp(end)) {
        (Some(start), Some(end)) => Ok(Some((start, end.max(start)))),
        _ if in_cue_text && !starts_like_time => Ok(None),
        _ => Err(ContentError::Malformed(format!("line {line_number} has an unreadable time"))),
    }
}

const MINUS: [char; 2] = ['-', '\u{2212}'];

/// `[-][h…:]mm:ss[(.|,)f…]` as milliseconds.
fn timestamp(text: &str) -> Option<u64> {
    let (negative, text) = text.strip_prefix(MINUS).map_or((false, text), |rest| (true, rest));
    let (clock, fraction) = text.split_once(['.', ',']).unwrap_or((text, "0"));
    let (hours, minutes, seconds) = match *clock.split(':').collect::<Vec<_>>() {
        [hours, minutes, seconds] => (hours, minutes, seconds),
        [minutes, seconds] => ("0", minutes, seconds),
        _ => return None,
    };
    let hours = digits(hours, 5)?;
    let minutes = digits(minutes, 2).filter(|minutes| *minutes < 60)?;
    let seconds = digits(seconds, 2).filter(|seconds| *seconds < 60)?;
    let millis = match (digits(fraction, 9)?, fraction.len()) {
        (value, 1) => value * 100,
        (value, 2) => value * 10,
        (value, length) => value / 10_u64.pow(u32::try_from(length - 3).ok()?),
    };
    Some(if negative { 0 } else { ((hours * 60 + minutes) * 60 + seconds) * 1000 + millis })
}

fn digits(text: &str, max_length: usize) -> Option<u64> {
    let digits = (1..=max_length).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Strips the markup, decodes the entities, and splits the text where the speaker changes.
///
/// A `<` that does not start a tag is text.
fn voices(markup: &str) -> Vec<(Option<String>, String)> {
    let mut voices = Vec::new();
    let (mut speaker, mut text) = (None, String::new());
    let mut rest = markup;
    while let Some(at) = rest.find('<') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(tag) = tag(rest) else {
            text.push('<');
            continue;
        };
        rest = &rest[tag.len() + 1..];
        let name = tag.split([' ', '\t', '\n', '.']).next().unwrap_or_default();
        if name == "v" || name == "/v" {
            flush(&mut voices, speaker.take(), &mut text);
            let annotation = tag.split_once([' ', '\t', '\n']).map(|(_, name)| decode_entities(name));
            speaker = annotation
                .map(|name| name.split_whitespace().collect::<Vec<_>>().join(" "))
                .filter(|name| !name.is_empty());
        }
    }
    text.push_str(rest);
    flush(&mut voices, speaker, &mut text);
    voices
}

fn flush(voices: &mut Vec<(Option<String>, String)>, speaker: Option<String>, text: &mut String) {
    let decoded = decode_entities(&std::mem::take(text));
    let lines: Vec<&str> = decoded.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if !lines.is_empty() {
        voices.push((speaker, lines.join("\n")));
    }
}

/// The tag at the start of `text`, which follows a `<`.
fn tag(text: &str) -> Option<&str> {
    let first = text.chars().next()?;
    // Search for `>` only where a tag can start; otherwise many bare `<` would make the search slow.
    let may_start_tag = first.is_ascii_alphabetic() || first == '/' || first.is_ascii_digit();
    let tag = may_start_tag.then(|| text.find('>').map(|end| &text[..end])).flatten()?;
    (!first.is_ascii_digit() || timestamp(tag).is_some()).then_some(tag)
}

/// Decodes the entities of `WebVTT` and numeric ones. Any other `&` stays as it is.
fn decode_entities(text: &str) -> String {
    /// The length of `&#x10FFFF;` without its ampersand.
    const LONGEST: usize = 9;
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        decoded.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let end = rest.bytes().take(LONGEST).position(|b| b == b';');
        match end.and_then(|end| Some((entity(&rest[..end])?, end))) {
            Some((character, end)) => {
                decoded.push(character);
                rest = &rest[end + 1..];
            }
            None => decoded.push('&'),
        }
    }
    decoded.push_str(rest);
    decoded
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some('\u{A0}'),
        "lrm" => Some('\u{200E}'),
        "rlm" => Some('\u{200F}'),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            // A control character could be a line end and would split the text.
            char::from_u32(code).filter(|character| !character.is_control())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("00:01.500", Some(1_500))]
    #[case("01:02:03,004", Some(3_723_004))]
    #[case("100:00:00.000", Some(360_000_000))]
    #[case("00:00:01,5", Some(1_500))]
    #[case("00:00:01", Some(1_000))]
    #[case("00:00:01.123456", Some(1_123))]
    #[case("-00:00:01,000", Some(0))]
    #[case("00:60.000", None)]
    #[case("00:00:61,000", None)]
    #[case("1.5", None)]
    #[case("00:00:01.", None)]
    #[case("00:00:+1.000", None)]
    #[case("999999:00:00.000", None)]
    #[case("١:٠٠.٠٠٠", None)]
    #[case("", None)]
    fn a_timestamp_is_read_or_refused(#[case] text: &str, #[case] expected: Option<u64>) {
        assert_eq!(timestamp(text), expected);
    }

    #[rstest]
    #[case("<i>so</i> <c.loud>it</c> is", "so it is")]
    #[case("one <00:01.000>two", "one two")]
    #[case("a < b and b > c", "a < b and b > c")]
    #[case("I <3 you> and me", "I <3 you> and me")]
    #[case("an open <tag", "an open <tag")]
    #[case("Tom &amp; Jerry &lt;3 &#233;&#xe9; &nope; R&D", "Tom & Jerry <3 éé &nope; R&D")]
    #[case("&amp;lt;", "&lt;")]
    #[case("&#0;&#x110000;&#xD800;", "&#0;&#x110000;&#xD800;")]
    fn markup_is_stripped_and_entities_are_decoded(#[case] markup: &str, #[case] text: &str) {
        assert_eq!(voices(markup), [(None, text.to_owned())]);
    }

    #[test]
    fn each_voice_of_a_cue_becomes_its_own() {
        let voices = voices("<v.loud Ms  Smith>Hello</v> all <v Tom &amp; Ann>Hi</v><v>?");
        let expected = [
            (Some("Ms Smith".to_owned()), "Hello".to_owned()),
            (None, "all".to_owned()),
            (Some("Tom & Ann".to_owned()), "Hi".to_owned()),
            (None, "?".to_owned()),
        ];
        assert_eq!(voices, expected);
    }

    proptest! {
        #[test]
        fn any_markup_gives_texts_that_are_not_empty(markup in "[<>&;/v #x0-9a-c:.\n-]{0,200}") {
            for (_, text) in voices(&markup) {
                prop_assert!(!text.trim().is_empty());
                prop_assert!(!text.contains("\n\n"));
            }
        }

        #[test]
        fn any_timing_is_read_or_refused(line in "[-0-9:., >a]{0,60}") {
            if let Ok(Some((start, end))) = timing(&line, 1, true) {
                prop_assert!(start <= end);
            }
        }
    }
}
