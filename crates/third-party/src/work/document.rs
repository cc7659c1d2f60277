//! Processes written documents: extracts the text, proofreads it, and writes a report.

use std::fmt::Write as _;

use lectern::contract::wire::{FileFinding, FileRole, FindingsFile, JobError};
use lectern_content::{ContentError, MediaType};

use super::{Produced, content_error, json, read_whole};
use crate::{intake::Incoming, pdf, proofread};

/// Larger documents are refused.
const MAX_BYTES: u64 = 32 * 1024 * 1024;

/// The text of a document, and how many pages it has, if the format tells.
pub(super) struct Extracted {
    text: String,
    pages: Option<usize>,
}

/// The text that a parser extracts from a format without pages.
pub(super) fn of(
    extract_text: fn(&[u8]) -> Result<String, ContentError>,
) -> impl FnOnce(&[u8]) -> Result<Extracted, ContentError> {
    move |bytes| extract_text(bytes).map(|text| Extracted { text, pages: None })
}

/// The text of a PDF.
pub(super) fn of_pdf(bytes: &[u8]) -> Result<Extracted, ContentError> {
    pdf::extract_text(bytes).map(|found| Extracted { text: found.text, pages: Some(found.pages) })
}

pub(super) fn process(
    incoming: &Incoming,
    media_type: MediaType,
    extract: impl FnOnce(&[u8]) -> Result<Extracted, ContentError>,
) -> Result<Vec<Produced>, JobError> {
    let bytes = read_whole(incoming, MAX_BYTES)?;
    let Extracted { text, pages } = extract(&bytes).map_err(|error| content_error(&error))?;
    let findings = proofread::proofread(&text);
    let mut report = report(incoming, media_type, &text, &findings);
    if let Some(pages) = pages {
        // Writing to a String cannot fail.
        let _ = writeln!(report, "Pages: {pages}");
    }
    Ok(vec![
        Produced {
            name: "text.txt",
            role: FileRole::Text,
            media_type: "text/plain",
            bytes: text.into_bytes(),
        },
        Produced {
            name: "findings.json",
            role: FileRole::Findings,
            media_type: "application/json",
            bytes: json(&FindingsFile { findings }),
        },
        Produced {
            name: "report.txt",
            role: FileRole::Attachment,
            media_type: "text/plain",
            bytes: report.into_bytes(),
        },
    ])
}

fn report(incoming: &Incoming, media_type: MediaType, text: &str, findings: &[FileFinding]) -> String {
    format!(
        "Proofreading report\nMedia type: {media_type}\nSize: {} bytes\nSHA-256: {}\nWords: {}\nFindings: {}\n",
        incoming.received.size_bytes,
        incoming.received.sha256,
        text.split_whitespace().count(),
        findings.len(),
    )
}
