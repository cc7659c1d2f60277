//! `SubRip` captions. The format has no standard; this parser reads what video players read, and more.

use crate::{
    ContentError,
    cue::{self, Captions, Cues, TimeRules},
    vtt,
};

/// Reads the cues and sorts them by their start. Cues may overlap.
///
/// - Dropped, and counted in [`Captions::dropped`]: a cue whose times cannot be read, and text before the first cue.
/// - Not part of the cues: numbers, coordinates, overrides such as `{\an8}`, markup, and cues without text.
/// - Accepted: any line end, a dot instead of the comma, `->` instead of `-->`, 60 seconds or 1,000 milliseconds, missing
///   numbers, blank lines anywhere, also before the times and within the text, and a missing blank line between cues. A
///   negative time becomes zero; an end before its start becomes the start. A file with the signature of `WebVTT` is read
///   as such.
/// - Refused: another encoding, and a file that is not blank and has no cue.
///
/// Time and memory are linear in the input, at most `Limits::CAPTION_BYTES` and `Limits::CUES`.
pub fn parse(bytes: &[u8]) -> Result<Captions, ContentError> {
    let text = cue::text_of(bytes)?;
    if text.starts_with("WEBVTT") {
        return vtt::parse(bytes);
    }
    // Files that were put together from several files have byte order marks in between.
    let lines: Vec<&str> = text.split('\n').map(|line| line.trim_start_matches('\u{FEFF}')).collect();
    let mut cues = Cues::default();
    let mut open = Open::Nothing;
    for (index, line) in lines.iter().enumerate() {
        match line_of(&lines, index) {
            Line::Times(start, end) => {
                open.close(&mut cues)?;
                open = Open::Cue((start, end), String::new());
            }
            Line::UnreadableTimes => {
                open.close(&mut cues)?;
                open = Open::Lost;
            }
            Line::Other if line.trim().is_empty() || is_number_of_cue(&lines, index) => open.push(""),
            Line::Other => open.push(line),
        }
    }
    open.close(&mut cues)?;
    cues.finish()
}

/// What the lines between two lines of times belong to.
enum Open {
    Nothing,
    Cue((u64, u64), String),
    /// A cue without readable times, or text before the first cue.
    Lost,
}

impl Open {
    fn push(&mut self, line: &str) {
        match self {
            Self::Cue(_, markup) => {
                markup.push_str(&without_overrides(line));
                markup.push('\n');
            }
            Self::Nothing if !line.is_empty() => *self = Self::Lost,
            Self::Nothing | Self::Lost => {}
        }
    }

    fn close(&mut self, cues: &mut Cues) -> Result<(), ContentError> {
        match std::mem::replace(self, Self::Nothing) {
            Self::Cue(times, markup) => cues.push(times, &markup)?,
            Self::Lost => cues.drop_one(),
            Self::Nothing => {}
        }
        Ok(())
    }
}

enum Line {
    Times(u64, u64),
    /// Meant as a line of times.
    UnreadableTimes,
    Other,
}

/// Reads a line. An arrow in a text is text, unless something like a time stands before it, or a cue's number above it.
fn line_of(lines: &[&str], index: usize) -> Line {
    let Some((start, end)) = lines[index].split_once("->") else { return Line::Other };
    let start = start.trim_end_matches(['-', ' ', '\t']).trim();
    let start_time = cue::timestamp(start, TimeRules::Carrying).filter(|(_, rest)| rest.is_empty());
    let end_time = cue::timestamp(end.trim_start(), TimeRules::Carrying);
    match (start_time, end_time) {
        (Some((start, _)), Some((end, _))) => Line::Times(start, end.max(start)),
        _ if !lines[index].contains("-->") => Line::Other,
        _ if looks_like_time(start) || follows_number(lines, index) => Line::UnreadableTimes,
        _ => Line::Other,
    }
}

/// A number, a colon, and the start of another number.
fn looks_like_time(text: &str) -> bool {
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty();
    text.split_once(':').is_some_and(|(before, after)| {
        is_number(before.trim_start_matches('-')) && after.starts_with(|c: char| c.is_ascii_digit())
    })
}

/// Whether the line before is a number, and stands at the start of the file or behind a blank line.
fn follows_number(lines: &[&str], index: usize) -> bool {
    let before = |index: usize| index.checked_sub(1).map(|before| lines[before]);
    before(index).is_some_and(is_number) && starts_block(lines, index - 1)
}

fn starts_block(lines: &[&str], index: usize) -> bool {
    index.checked_sub(1).is_none_or(|before| lines[before].trim().is_empty())
}

fn is_number(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a line is the number of a cue: its times are on the next line, or behind blank lines if the number stands
/// alone.
fn is_number_of_cue(lines: &[&str], index: usize) -> bool {
    let are_times = |index: usize| index < lines.len() && !matches!(line_of(lines, index), Line::Other);
    if !is_number(lines[index]) {
        return false;
    }
    if are_times(index + 1) {
        return true;
    }
    let blank = lines[index + 1..].iter().take_while(|line| line.trim().is_empty()).count();
    starts_block(lines, index) && blank > 0 && are_times(index + 1 + blank)
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
mod tests;
