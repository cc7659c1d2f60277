//! Parses one returned file into its part of the record. Every refusal is a [`Refused`] with a stable code. These
//! functions do not use the document or the order of files.

use bytes::Bytes;
use lectern_content::{ContentError, Cue, MediaType, docx, essence, mp4, srt, text, vtt};
use serde::de::DeserializeOwned;
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

use super::{Media, Transcript, TranscriptSegment, nfc::nfc};
use crate::{
    contract::wire::{FileFinding, FindingsFile, MediaFile, TranscriptFile, TranscriptFileSegment},
    display_text::{Label, lines},
    error::rfc3339,
    limits,
};

/// Why a returned file cannot be part of a record: a stable camelCase word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused(pub(super) &'static str);

impl From<ContentError> for Refused {
    fn from(error: ContentError) -> Self {
        Self(error.code())
    }
}

/// Captions as `WebVTT`, `SubRip` or [`TranscriptFile`], in the order of their start.
pub(super) fn transcript(media_type: &str, bytes: &[u8]) -> Result<Transcript, Refused> {
    let (language, mut segments): (_, Vec<_>) = match essence(media_type).as_str() {
        "text/vtt" => (None, vtt::parse(bytes)?.iter().map(from_cue).collect()),
        "application/x-subrip" | "application/srt" | "text/srt" => {
            (None, srt::parse(bytes)?.iter().map(from_cue).collect())
        }
        "application/json" => {
            let file: TranscriptFile = json(bytes)?;
            (file.language.map(Into::into), file.segments.iter().map(from_file).collect())
        }
        _ => return Err(Refused("unknownTranscriptType")),
    };
    if segments.len() > limits::MAX_RECORD_SEGMENTS {
        return Err(Refused("tooManySegments"));
    }
    segments.sort_by_key(|segment: &TranscriptSegment| segment.start_ms);
    Ok(Transcript { language, segments })
}

fn from_cue(cue: &Cue) -> TranscriptSegment {
    TranscriptSegment {
        start_ms: cue.start_ms,
        end_ms: cue.end_ms,
        text: nfc(&lines(&cue.text)),
        speaker: cue.speaker.as_deref().and_then(name),
    }
}

/// A segment that ends before it begins counts as ending when it begins, as in captions.
fn from_file(segment: &TranscriptFileSegment) -> TranscriptSegment {
    TranscriptSegment {
        start_ms: segment.start_ms,
        end_ms: segment.end_ms.max(segment.start_ms),
        text: nfc(&lines(&segment.text)),
        speaker: segment.speaker.as_deref().and_then(name),
    }
}

/// A name for display; `None` if the name is blank.
fn name(text: &str) -> Option<String> {
    let text = Label::new(text.trim());
    (!text.is_empty()).then(|| nfc(&text))
}

/// The findings with their original offsets, which are mapped when the text is known.
pub(super) fn findings(media_type: &str, bytes: &[u8]) -> Result<Vec<FileFinding>, Refused> {
    if essence(media_type) != "application/json" {
        return Err(Refused("unknownFindingsType"));
    }
    Ok(json::<FindingsFile>(bytes)?.findings)
}

/// Facts of a video, with the time of recording converted to UTC.
pub(super) fn media(media_type: &str, bytes: &[u8]) -> Result<Media, Refused> {
    if essence(media_type) != "application/json" {
        return Err(Refused("unknownMediaFactsType"));
    }
    let file: MediaFile = json(bytes)?;
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
        .ok_or(Refused("badTime"))
}

/// The text of a document with its original line ends, because the findings' offsets refer to it.
pub(super) fn plain_text(media_type: &str, bytes: &[u8]) -> Result<String, Refused> {
    if essence(media_type) != "text/plain" {
        return Err(Refused("unknownTextType"));
    }
    Ok(text::decode(bytes)?)
}

/// Whether an attachment of this type can be opened to check that it is intact. PDFs are not opened: we know no parser
/// that reads every PDF within the memory and time of a function.
pub(super) fn can_open(media_type: &str) -> bool {
    matches!(media_type.parse(), Ok(MediaType::Docx | MediaType::Mp4))
}

/// Opens an attachment that is declared as DOCX or MP4, to check it; its content is not used.
pub(super) fn open(media_type: &str, bytes: &Bytes) -> Result<(), Refused> {
    match media_type.parse() {
        Ok(MediaType::Docx) => docx::extract_text(bytes).map(drop)?,
        Ok(MediaType::Mp4) => mp4::facts(std::io::Cursor::new(bytes), bytes.len() as u64).map(drop)?,
        Ok(MediaType::Pdf | MediaType::WebM | MediaType::Text) | Err(_) => (),
    }
    Ok(())
}

fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refused> {
    serde_json::from_str(&text::decode(bytes)?).map_err(|_| Refused("badJson"))
}
