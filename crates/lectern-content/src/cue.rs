//! The parts that VTT and SRT share: cues, times and markup.

use std::borrow::Cow;

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

/// The content of a caption file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captions {
    /// The cues by their start. Cues that start together keep the order of the file.
    pub cues: Vec<Cue>,
    /// How many cues could not be read, mostly because of their times. Their text is lost.
    pub dropped: u64,
}

/// Collects at most [`Limits::CUES`] cues.
#[derive(Debug, Default)]
pub(crate) struct Cues(Captions);

impl Cues {
    /// Adds one cue for each voice in `markup`; none if `markup` has no text.
    pub(crate) fn push(&mut self, (start_ms, end_ms): (u64, u64), markup: &str) -> Result<(), ContentError> {
        let cues = &mut self.0.cues;
        voices(markup, &mut |speaker, text| {
            if cues.len() >= Limits::CUES {
                return Err(ContentError::TooComplex);
            }
            cues.push(Cue { start_ms, end_ms, text, speaker });
            Ok(())
        })
    }

    /// Counts a cue that cannot be read.
    pub(crate) fn drop_one(&mut self) {
        self.0.dropped += 1;
    }

    /// The sorted cues.
    ///
    /// # Errors
    /// [`ContentError::NoCues`] if there was text, and all of it was dropped.
    pub(crate) fn finish(mut self) -> Result<Captions, ContentError> {
        if self.0.cues.is_empty() && self.0.dropped > 0 {
            return Err(ContentError::NoCues);
        }
        self.0.cues.sort_by_key(|cue| cue.start_ms);
        Ok(self.0)
    }
}

/// Decodes a caption file and turns every line end into `\n`: LF, CR LF, CR, and also CR CR LF, which a program writes
/// that converts line ends twice.
pub(crate) fn text_of(bytes: &[u8]) -> Result<String, ContentError> {
    if bytes.len() > Limits::CAPTION_BYTES {
        return Err(ContentError::TooComplex);
    }
    let text = crate::text::decode(bytes)?;
    if !text.contains('\r') {
        return Ok(text);
    }
    let mut unified = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find('\r') {
        unified.push_str(&rest[..at]);
        let after = rest[at..].trim_start_matches('\r');
        let returns = rest.len() - at - after.len();
        let next = after.strip_prefix('\n');
        unified.extend(std::iter::repeat_n('\n', if next.is_some() { 1 } else { returns }));
        rest = next.unwrap_or(after);
    }
    unified.push_str(rest);
    Ok(unified)
}

/// What the minutes, seconds and milliseconds of a time may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeRules {
    /// Minutes and seconds are below 60.
    Strict,
    /// Tools that round times up write 60 seconds or 1,000 milliseconds. The excess carries over.
    Carrying,
}

/// Reads `[-][h…:]mm:ss[(.|,)f…]` at the start of `text`. Returns milliseconds and the rest.
///
/// Tools that shift captions write negative times, which become zero.
pub(crate) fn timestamp(text: &str, rules: TimeRules) -> Option<(u64, &str)> {
    let (negative, text) = text.strip_prefix(['-', '\u{2212}']).map_or((false, text), |rest| (true, rest));
    let (first, text) = digits(text, 9)?;
    let (second, text) = digits(text.strip_prefix(':')?, 2)?;
    let (hours, minutes, seconds, text) = match text.strip_prefix(':') {
        Some(text) => {
            let (third, text) = digits(text, 2)?;
            (number(first)?, number(second)?, number(third)?, text)
        }
        None if first.len() <= 2 => (0, number(first)?, number(second)?, text),
        None => return None,
    };
    if rules == TimeRules::Strict && (minutes > 59 || seconds > 59) {
        return None;
    }
    let (millis, text) = match text.strip_prefix(['.', ',']) {
        Some(text) => {
            let (fraction, text) = digits(text, 9)?;
            (milliseconds(fraction, rules)?, text)
        }
        None => (0, text),
    };
    let ms = ((hours * 60 + minutes) * 60 + seconds) * 1000 + millis;
    Some((if negative { 0 } else { ms }, text))
}

/// One to `max_length` digits at the start of `text`, all that there are, and the rest.
fn digits(text: &str, max_length: usize) -> Option<(&str, &str)> {
    let length = text.bytes().take(max_length + 1).take_while(u8::is_ascii_digit).count();
    (1..=max_length).contains(&length).then(|| text.split_at(length))
}

fn number(digits: &str) -> Option<u64> {
    digits.parse().ok()
}

fn milliseconds(fraction: &str, rules: TimeRules) -> Option<u64> {
    let value = number(fraction)?;
    Some(match fraction.len() {
        1 => value * 100,
        2 => value * 10,
        4 if rules == TimeRules::Carrying && value == 1000 => value,
        length => value / 10_u64.pow(u32::try_from(length - 3).ok()?),
    })
}

/// Takes the voices of a cue's text.
type Take<'t> = dyn FnMut(Option<String>, String) -> Result<(), ContentError> + 't;

/// Strips the markup, decodes the character references, and splits the text where the speaker changes.
///
/// A `<` that does not start a tag is text. Time is linear: a tag is looked for only where its end lies ahead, and each
/// character belongs to at most one tag.
fn voices(markup: &str, take: &mut Take<'_>) -> Result<(), ContentError> {
    let last_end = markup.rfind('>').unwrap_or(0);
    let (mut speaker, mut text) = (None, String::new());
    let mut at = 0;
    while let Some(start) = markup[at..].find('<').map(|found| at + found) {
        text.push_str(&markup[at..start]);
        at = start + 1;
        let Some(tag) = (at <= last_end).then(|| tag(&markup[at..])).flatten() else {
            text.push('<');
            continue;
        };
        at += tag.len() + 1;
        let name = tag.split([' ', '\t', '\n', '.']).next().unwrap_or_default();
        if name == "v" || name == "/v" {
            flush(speaker.take(), &mut text, take)?;
            let annotation = tag.split_once([' ', '\t', '\n']).map(|(_, name)| htmlize::unescape(name));
            speaker = annotation
                .map(|name| name.split_whitespace().collect::<Vec<_>>().join(" "))
                .filter(|name| !name.is_empty());
        }
    }
    text.push_str(&markup[at..]);
    flush(speaker, &mut text, take)
}

fn flush(speaker: Option<String>, text: &mut String, take: &mut Take<'_>) -> Result<(), ContentError> {
    let markup = std::mem::take(text);
    let decoded: Cow<'_, str> = htmlize::unescape(markup.as_str());
    let lines: Vec<&str> =
        decoded.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() { Ok(()) } else { take(speaker, lines.join("\n")) }
}

/// The tag at the start of `text`, which follows a `<` and contains a `>`: a name, an end tag, or a time.
fn tag(text: &str) -> Option<&str> {
    match text.bytes().next()? {
        b'/' | b'a'..=b'z' | b'A'..=b'Z' => text.find('>').map(|end| &text[..end]),
        b'0'..=b'9' => {
            let (_, rest) = timestamp(text, TimeRules::Strict)?;
            rest.starts_with('>').then(|| &text[..text.len() - rest.len()])
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
