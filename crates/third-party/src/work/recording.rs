//! Processes videos and recordings: reads their facts, and makes captions from the facts, because nothing here recognises speech.

use std::{fs::File, io::BufReader};

use lectern::{
    contract::wire::{FileRole, JobError, MediaFile},
    error::rfc3339,
};
use lectern_content::{
    MediaKind, mp3,
    mp4::{self, VideoFacts},
};

use super::{Produced, captions, content_error, disk_error, json};
use crate::intake::Incoming;

/// Makes facts and captions. `facts` reads the facts of a file of so many bytes.
pub(super) fn process(
    incoming: &Incoming,
    kind: MediaKind,
    facts: impl FnOnce(File, u64) -> Result<MediaFile, JobError>,
) -> Result<Vec<Produced>, JobError> {
    let file = File::open(&incoming.path).map_err(|error| disk_error(&error))?;
    let size_bytes = incoming.received.size_bytes;
    let facts = facts(file, size_bytes)?;
    let captions = captions::vtt(kind, &facts, size_bytes);
    Ok(vec![
        Produced {
            name: "media.json",
            role: FileRole::Media,
            media_type: "application/json",
            bytes: json(&facts),
        },
        Produced {
            name: "captions.vtt",
            role: FileRole::Transcript,
            media_type: "text/vtt",
            bytes: captions.into_bytes(),
        },
    ])
}

/// The facts of an MP4, a `QuickTime` video, a 3GP or an M4A.
pub(super) fn of_iso_media(file: File, size_bytes: u64) -> Result<MediaFile, JobError> {
    mp4::facts(BufReader::new(file), size_bytes).map(to_wire).map_err(|error| content_error(&error))
}

/// The facts of an MP3.
pub(super) fn of_mp3(file: File, size_bytes: u64) -> Result<MediaFile, JobError> {
    let duration_ms = mp3::duration_ms(file, size_bytes).map_err(|error| content_error(&error))?;
    Ok(MediaFile { duration_ms: Some(duration_ms), audio_codec: Some("mp3".into()), ..MediaFile::default() })
}

fn to_wire(facts: VideoFacts) -> MediaFile {
    MediaFile {
        duration_ms: facts.duration_ms,
        width_px: facts.width_px,
        height_px: facts.height_px,
        video_codec: facts.video_codec.map(Into::into),
        audio_codec: facts.audio_codec.map(Into::into),
        recorded_at: facts.recorded_at.map(rfc3339),
    }
}
