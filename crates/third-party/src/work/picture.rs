//! Processes pictures: reads their facts. There is no text to proofread, and nobody speaks.

use lectern::contract::wire::{FileRole, JobError, MediaFile};
use lectern_content::picture;

use super::{Produced, content_error, json, read_whole};
use crate::intake::Incoming;

/// Larger pictures are refused.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

pub(super) fn process(incoming: &Incoming) -> Result<Vec<Produced>, JobError> {
    let bytes = read_whole(incoming, MAX_BYTES)?;
    let facts = picture::facts(&bytes).map_err(|error| content_error(&error))?;
    let facts = MediaFile {
        width_px: Some(facts.width_px),
        height_px: Some(facts.height_px),
        ..MediaFile::default()
    };
    Ok(vec![Produced {
        name: "media.json",
        role: FileRole::Media,
        media_type: "application/json",
        bytes: json(&facts),
    }])
}
