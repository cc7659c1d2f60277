//! Processes written documents: extracts the text, proofreads it, and writes a report.

use std::fmt::Write as _;

use lectern::contract::wire::{FileFinding, FileRole, FindingsFile, JobError};
use lectern_content::{MediaType, docx, text};

use super::{Produced, content_error, disk_error, error, json};
use crate::{intake::Incoming, pdf, proofread};

/// Larger documents are refused, because the parsers hold a document in memory.
const MAX_BYTES: u64 = 32 * 1024 * 1024;

pub(super) fn process(incoming: &Incoming, media_type: MediaType) -> Result<Vec<Produced>, JobError> {
    if incoming.received.size_bytes > MAX_BYTES {
        return Err(error("tooLarge", "The document is larger than 32 MiB and cannot be proofread."));
    }
    let bytes = std::fs::read(&incoming.path).map_err(|error| disk_error(&error))?;
    let (text, pages) = match media_type {
        MediaType::Docx => docx::extract_text(&bytes).map(|text| (text, None)),
        MediaType::Pdf => pdf::extract_text(&bytes).map(|found| (found.text, Some(found.pages))),
        MediaType::Text | MediaType::Mp4 | MediaType::WebM => text::decode(&bytes).map(|text| (text, None)),
    }
    .map_err(|error| content_error(&error))?;
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
