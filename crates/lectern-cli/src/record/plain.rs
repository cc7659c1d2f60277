//! Writes a record as plain text.

use std::io::{self, Write};

use lectern::record::{Finding, Record, Transcript};

use super::timestamp;
use crate::text::count;

/// Characters around a finding that show where it is.
const CONTEXT_CHARS: usize = 30;

pub(super) fn write(record: &Record, out: &mut dyn Write) -> io::Result<()> {
    match (&record.transcript, &record.text) {
        (Some(transcript), _) => write_transcript(transcript, out),
        (None, Some(text)) => {
            writeln!(out, "{}", text.trim_end())?;
            write_findings(text, &record.findings, out)
        }
        (None, None) => writeln!(out, "{} has no text.", record.source.file_name),
    }
}

fn write_transcript(transcript: &Transcript, out: &mut dyn Write) -> io::Result<()> {
    for segment in &transcript.segments {
        write!(out, "[{}] ", timestamp(segment.start_ms))?;
        if let Some(speaker) = &segment.speaker {
            write!(out, "{speaker}: ")?;
        }
        writeln!(out, "{}", segment.text)?;
    }
    if transcript.dropped_cues > 0 {
        writeln!(out, "\n{} captions could not be read and are missing here.", transcript.dropped_cues)?;
    }
    Ok(())
}

fn write_findings(text: &str, findings: &[Finding], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n{}", count(findings.len(), "finding"))?;
    for (index, finding) in findings.iter().enumerate() {
        let Finding { range, rule, message, suggestion, .. } = finding;
        writeln!(out, "{:>3}. {}: {message} ({rule})", index + 1, excerpt(text, range.start, range.end))?;
        if let Some(suggestion) = suggestion {
            writeln!(out, "     Suggestion: {suggestion}")?;
        }
    }
    Ok(())
}

/// The range of the text in brackets, with some of the text around it, in one line.
fn excerpt(text: &str, start: u64, end: u64) -> String {
    let (start, end) = (index(start), index(end));
    let from = start.saturating_sub(CONTEXT_CHARS);
    let part = |from: usize, to: usize| -> String {
        let characters = text.chars().skip(from).take(to.saturating_sub(from));
        characters.map(|character| if character.is_whitespace() { ' ' } else { character }).collect()
    };
    let until = end.saturating_add(CONTEXT_CHARS);
    format!("…{}[{}]{}…", part(from, start), part(start, end), part(end, until))
}

fn index(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finding_is_shown_in_its_place() {
        let text = "The goal of this lessons is that\nall children can add two fractions.";
        assert_eq!(excerpt(text, 17, 24), "…The goal of this [lessons] is that all children can add …");
        assert_eq!(excerpt("kurz", 0, 99), "…[kurz]…");
    }
}
