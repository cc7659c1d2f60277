//! Parses one returned file into its part of the record. Every refusal is a [`Refused`] with a stable code. These
//! functions do not use the document or the order of files.

use lectern_content::{Captions, ContentError, Cue, canonical, srt, text, vtt};
use serde::de::DeserializeOwned;
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

use super::{Media, Transcript, TranscriptSegment, nfc::nfc};
use crate::{
    contract::{
        json::{self, BadJson},
        wire::{FileFinding, FindingsFile, MediaFile, TranscriptFile, TranscriptFileSegment},
    },
    display_text::{Label, lines},
    error::rfc3339,
    limits,
};

/// Why a returned file cannot be part of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// A stable camelCase word.
    pub(super) code: &'static str,
    /// Where broken JSON is broken.
    pub(super) place: Option<BadJson>,
}

impl Refused {
    pub(super) fn new(code: &'static str) -> Self {
        Self { code, place: None }
    }
}

impl From<ContentError> for Refused {
    fn from(error: ContentError) -> Self {
        Self::new(error.code())
    }
}

impl From<BadJson> for Refused {
    fn from(place: BadJson) -> Self {
        Self { code: "badJson", place: Some(place) }
    }
}

/// Refuses text that makes the record too large, before memory is spent on its normalisation.
pub(super) fn check_length(texts: impl IntoIterator<Item = usize>) -> Result<(), Refused> {
    let bytes = texts.into_iter().fold(0, usize::saturating_add);
    if bytes > limits::MAX_RECORD_BYTES { Err(Refused::new("recordTooLarge")) } else { Ok(()) }
}

/// Captions as `WebVTT`, `SubRip` or [`TranscriptFile`], in the order of their start.
pub(super) fn transcript(media_type: &str, bytes: &[u8]) -> Result<Transcript, Refused> {
    match canonical(media_type).as_str() {
        "text/vtt" => from_captions(&vtt::parse(bytes)?),
        "application/x-subrip" => from_captions(&srt::parse(bytes)?),
        "application/json" => from_file(read(bytes)?),
        _ => Err(Refused::new("unknownTranscriptType")),
    }
}

fn from_captions(captions: &Captions) -> Result<Transcript, Refused> {
    let Captions { cues, dropped } = captions;
    check_segments(cues.len(), cues.iter().map(|cue| cue.text.len()))?;
    Ok(Transcript { language: None, segments: cues.iter().map(from_cue).collect(), dropped_cues: *dropped })
}

fn from_cue(cue: &Cue) -> TranscriptSegment {
    TranscriptSegment {
        start_ms: cue.start_ms,
        end_ms: cue.end_ms,
        text: nfc(&lines(&cue.text)),
        speaker: cue.speaker.as_deref().and_then(name),
    }
}

fn from_file(file: TranscriptFile) -> Result<Transcript, Refused> {
    let TranscriptFile { language, segments } = file;
    check_segments(segments.len(), segments.iter().map(|segment| segment.text.len()))?;
    let mut segments: Vec<_> = segments.iter().map(from_segment).collect();
    segments.sort_by_key(|segment: &TranscriptSegment| segment.start_ms);
    Ok(Transcript { language: language.map(Into::into), segments, dropped_cues: 0 })
}

fn from_segment(segment: &TranscriptFileSegment) -> TranscriptSegment {
    TranscriptSegment {
        start_ms: segment.start_ms,
        end_ms: segment.end_ms.max(segment.start_ms),
        text: nfc(&lines(&segment.text)),
        speaker: segment.speaker.as_deref().and_then(name),
    }
}

fn check_segments(count: usize, texts: impl IntoIterator<Item = usize>) -> Result<(), Refused> {
    if count > limits::MAX_RECORD_SEGMENTS {
        return Err(Refused::new("tooManySegments"));
    }
    check_length(texts)
}

/// A name for display; `None` if the name is blank.
fn name(text: &str) -> Option<String> {
    let text = Label::new(text.trim());
    (!text.is_empty()).then(|| nfc(&text))
}

/// The findings with their original offsets, which are mapped when the text is known.
pub(super) fn findings(media_type: &str, bytes: &[u8]) -> Result<Vec<FileFinding>, Refused> {
    if canonical(media_type) != "application/json" {
        return Err(Refused::new("unknownFindingsType"));
    }
    Ok(read::<FindingsFile>(bytes)?.findings)
}

/// Facts of a video, with the time of recording converted to UTC.
pub(super) fn media(media_type: &str, bytes: &[u8]) -> Result<Media, Refused> {
    if canonical(media_type) != "application/json" {
        return Err(Refused::new("unknownMediaFactsType"));
    }
    let file: MediaFile = read(bytes)?;
    Ok(Media {
        duration_ms: file.duration_ms,
        width_px: file.width_px,
        height_px: file.height_px,
        video_codec: file.video_codec.as_deref().map(nfc),
        audio_codec: file.audio_codec.as_deref().map(nfc),
        recorded_at: file.recorded_at.as_deref().map(utc).transpose()?,
    })
}

/// Converts a time with any offset to UTC. A year that RFC 3339 cannot represent, before or after the conversion, is
/// refused.
fn utc(text: &str) -> Result<String, Refused> {
    OffsetDateTime::parse(text, &Rfc3339)
        .ok()
        .and_then(|time| time.checked_to_offset(UtcOffset::UTC))
        .filter(|time| (0..=9999).contains(&time.year()))
        .map(rfc3339)
        .ok_or_else(|| Refused::new("badTime"))
}

/// The text of a document.
#[derive(Debug)]
pub(super) struct PlainText {
    /// With its original line ends, because the findings' offsets refer to it.
    pub(super) text: String,
    /// Whether a byte order mark stands before the text, which the findings' offsets count.
    pub(super) has_mark: bool,
}

pub(super) fn plain_text(media_type: &str, bytes: &[u8]) -> Result<PlainText, Refused> {
    if canonical(media_type) != "text/plain" {
        return Err(Refused::new("unknownTextType"));
    }
    let text = text::decode(bytes)?;
    check_length([text.len()])?;
    Ok(PlainText { text, has_mark: text::has_byte_order_mark(bytes) })
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refused> {
    Ok(json::from_str(&text::decode(bytes)?)?)
}
