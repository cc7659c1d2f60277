//! Processes videos: reads their facts, and makes captions from the facts, because nothing here recognises speech.

use std::{fs::File, io::BufReader};

use lectern::{
    contract::wire::{FileRole, JobError, MediaFile},
    error::rfc3339,
};
use lectern_content::{
    MediaType,
    mp4::{self, VideoFacts},
};

use super::{Produced, captions, content_error, disk_error, json, webm};
use crate::intake::Incoming;

pub(super) fn process(incoming: &Incoming, media_type: MediaType) -> Result<Vec<Produced>, JobError> {
    let file = File::open(&incoming.path).map_err(|error| disk_error(&error))?;
    let size_bytes = incoming.received.size_bytes;
    let facts = match media_type {
        MediaType::Mp4 => mp4::facts(BufReader::new(file), size_bytes)
            .map(to_wire)
            .map_err(|error| content_error(&error))?,
        MediaType::WebM | MediaType::Docx | MediaType::Pdf | MediaType::Text => webm::facts(file)?,
    };
    let captions = captions::vtt(&facts, size_bytes);
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
