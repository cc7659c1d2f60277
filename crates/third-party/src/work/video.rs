//! Videos: their facts, and captions made of the facts, since nothing here recognises speech.

use std::{fs::File, io::BufReader};

use lectern::{
    content::mp4,
    contract::wire::{FileRole, JobError},
    media_type::MediaType,
};

use super::{Produced, captions, content_error, disk_error, json, webm};
use crate::intake::Incoming;

pub(super) fn process(incoming: &Incoming, media_type: MediaType) -> Result<Vec<Produced>, JobError> {
    let file = File::open(&incoming.path).map_err(|error| disk_error(&error))?;
    let size_bytes = incoming.received.size_bytes;
    let facts = match media_type {
        MediaType::Mp4 => {
            mp4::facts(BufReader::new(file), size_bytes).map_err(|error| content_error(&error))?
        }
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
