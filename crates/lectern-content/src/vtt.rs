//! `WebVTT` captions, <https://www.w3.org/TR/webvtt1/>.

use std::fmt::Write as _;

use crate::{
    ContentError,
    cue::{self, Captions, Cue, Cues, TimeRules},
};

/// Reads the cues by the parsing rules of the W3C, and sorts them by their start. Cues may overlap.
///
/// - Dropped, and counted in [`Captions::dropped`]: a cue whose times cannot be read, and a block that is neither a cue
///   nor a note, style or region.
/// - Not part of the cues: notes, styles, regions, cue ids, settings, markup, and cues without text.
/// - Accepted beyond the rules of the W3C, because the text matters more than the times: UTF-16, CR CR LF, a comma in a
///   time, any number of its decimals, and a negative time, which becomes zero. An end before its start becomes the
///   start. A `<` that starts no tag is text. A cue with several voices becomes one cue per voice.
/// - Refused: no `WEBVTT` at the start of a file that is not blank, another encoding, and a file of which every cue was
///   dropped.
///
/// Time and memory are linear in the input, at most `Limits::CAPTION_BYTES` and `Limits::CUES`.
pub fn parse(bytes: &[u8]) -> Result<Captions, ContentError> {
    let text = cue::text_of(bytes)?;
    if text.trim().is_empty() {
        return Ok(Captions::default());
    }
    let lines: Vec<&str> = text.split('\n').collect();
    if !lines.first().is_some_and(|line| is_keyword(line, "WEBVTT")) {
        return Err(ContentError::malformed("it does not start with WEBVTT"));
    }
    let mut cues = Cues::default();
    let (_, mut rest) = header(&lines[1..]);
    while let [line, after @ ..] = rest {
        if line.is_empty() {
            rest = after;
            continue;
        }
        let block;
        (block, rest) = block_of(rest);
        match block {
            Block { times: Some(line), id, text } => match timing(line) {
                Some(times) => cues.push(times, &text.join("\n"))?,
                None if id.is_some_and(is_note) => {}
                None => cues.drop_one(),
            },
            Block { times: None, text, .. } => {
                let is_text = |line: &&str| !line.trim().bytes().all(|byte| byte.is_ascii_digit());
                if !text.first().is_some_and(|line| is_note(line)) && text.iter().any(is_text) {
                    cues.drop_one();
                }
            }
        }
    }
    cues.finish()
}

/// The header's lines and the rest: metadata behind the signature end at a blank line or at the times of a cue.
fn header<'l, 't>(lines: &'l [&'t str]) -> (&'l [&'t str], &'l [&'t str]) {
    let end = lines.iter().position(|line| line.is_empty() || line.contains(ARROW));
    lines.split_at(end.unwrap_or(lines.len()))
}

const ARROW: &str = "-->";

/// What stands between blank lines, or before the times of the next cue.
struct Block<'l, 't> {
    /// The first line, if the times stand in the second one.
    id: Option<&'t str>,
    times: Option<&'t str>,
    text: &'l [&'t str],
}

/// The block at the start of `lines`, whose first line is not empty, and the rest.
fn block_of<'l, 't>(lines: &'l [&'t str]) -> (Block<'l, 't>, &'l [&'t str]) {
    let times =
        lines.iter().take(2).take_while(|line| !line.is_empty()).position(|line| line.contains(ARROW));
    let start = times.map_or(0, |times| times + 1);
    let length = lines[start..].iter().position(|line| line.is_empty() || line.contains(ARROW));
    let (text, rest) = lines[start..].split_at(length.unwrap_or(lines.len() - start));
    let id = times.filter(|times| *times == 1).map(|_| lines[0]);
    (Block { id, times: times.map(|times| lines[times]), text }, rest)
}

/// Reads `start --> end …` and ignores the settings after the end.
fn timing(line: &str) -> Option<(u64, u64)> {
    let (start, rest) = cue::timestamp(line.trim_start(), TimeRules::Strict)?;
    let (end, _) = cue::timestamp(rest.trim_start().strip_prefix(ARROW)?.trim_start(), TimeRules::Strict)?;
    Some((start, end.max(start)))
}

/// Whether a block that starts with this line holds nothing that is spoken.
fn is_note(line: &str) -> bool {
    is_keyword(line, "NOTE") || matches!(line.trim_end(), "STYLE" | "REGION")
}

fn is_keyword(line: &str, keyword: &str) -> bool {
    line.strip_prefix(keyword).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
}

/// Writes cues as a `WebVTT` file.
///
/// [`parse`] reads the same cues back if they are sorted, and their texts are trimmed and have no blank lines.
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

fn clock(ms: u64) -> String {
    format!("{:02}:{:02}:{:02}.{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace(['\r', '\n'], " ")
}

#[cfg(test)]
mod tests;
