//! Writes a transcript as `WebVTT` (<https://www.w3.org/TR/webvtt1/>).

use std::io::{self, Write};

use lectern::record::{Transcript, TranscriptSegment};

use super::timestamp;

pub(super) fn write(transcript: &Transcript, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "WEBVTT")?;
    for TranscriptSegment { start_ms, end_ms, text, speaker } in &transcript.segments {
        // A cue has to end after its start.
        let end_ms = (*end_ms).max(start_ms + 1);
        writeln!(out, "\n{} --> {}", timestamp(*start_ms), timestamp(end_ms))?;
        if let Some(speaker) = speaker {
            write!(out, "<v {}>", one_line(speaker))?;
        }
        writeln!(out, "{}", cue_text(text))?;
    }
    Ok(())
}

/// An empty line would end the cue, and text may not contain `-->`.
fn cue_text(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(escaped).collect::<Vec<_>>().join("\n")
}

fn one_line(text: &str) -> String {
    escaped(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment(start_ms: u64, end_ms: u64, text: &str, speaker: Option<&str>) -> TranscriptSegment {
        TranscriptSegment { start_ms, end_ms, text: text.to_owned(), speaker: speaker.map(str::to_owned) }
    }

    fn vtt(segments: Vec<TranscriptSegment>) -> String {
        let mut out = Vec::new();
        write(&Transcript { language: None, segments, dropped_cues: 0 }, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn transcript_becomes_captions() {
        let segments = vec![
            segment(0, 1500, "Today: fractions.", None),
            segment(3_661_002, 3_661_002, "One & two\r\n\nis <b>three</b> --> ?", Some("Ms <Ada>\nL.")),
        ];
        assert_eq!(
            vtt(segments),
            "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nToday: fractions.\n\n\
             01:01:01.002 --> 01:01:01.003\n<v Ms &lt;Ada&gt; L.>One &amp; two\nis &lt;b&gt;three&lt;/b&gt; --&gt; ?\n"
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_another_cue_or_a_tag(text: String, speaker in proptest::option::of(".*")) {
            let captions = vtt(vec![segment(0, 1, &text, speaker.as_deref()), segment(2, 3, "end", None)]);
            prop_assert_eq!(captions.matches("-->").count(), 2);
            prop_assert_eq!(captions.matches('<').count(), usize::from(speaker.is_some()));
            prop_assert_eq!(captions.split("\n\n").count(), 3);
        }
    }
}
