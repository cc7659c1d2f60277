//! Builds a record from returned files: which files are read, how they are combined, and when they are refused.

use bytes::Bytes;

use super::{
    Attachment, Finding, Provenance, Record, SCHEMA_VERSION, Source, TextRange,
    nfc::{NormalizedText, nfc},
    parse::{self, PlainText, Refused},
};
use crate::{
    contract::wire::{FileFinding, FileRole, ReturnedFile},
    document::{Document, DocumentState, JobResult, Reason},
    error::{Error, StoreError},
    limits,
};

/// An unfinished record, so that the caller needs only one returned file in memory at a time.
#[derive(Debug)]
pub struct Draft {
    record: Record,
    text: Option<NormalizedText>,
    findings: Vec<FileFinding>,
}

impl Draft {
    /// Starts a record with the data of the document itself.
    ///
    /// # Errors
    /// `RecordInvalid` if the job returned no files, which is useless to an evaluator; `Store` if the stored document
    /// lacks data that every document in this step has.
    pub fn new(document: &Document, provider: &str) -> Result<Self, Error> {
        let lost = |what: &str| Error::from(StoreError::defect(format!("the document has no {what}")));
        let Some(JobResult::Succeeded(job)) = &document.result else { return Err(lost("successful result")) };
        if job.files.is_empty() {
            let message =
                "The processing service finished without returning anything. The file can be sent again.";
            return Err(Error::RecordInvalid(Reason::new("nothingReturned", message)));
        }
        let received_at = document
            .times
            .get(DocumentState::Received.as_str())
            .ok_or_else(|| lost("time of registration"))?
            .clone();
        let record = Record {
            schema_version: SCHEMA_VERSION,
            submission_id: document.reference.submission_id.to_string(),
            document_id: document.reference.document_id.to_string(),
            source: Source {
                file_name: nfc(&document.display_name()),
                media_type: document.media_type.ok_or_else(|| lost("media type"))?,
                size_bytes: document.size_bytes,
                received_at: received_at.clone(),
            },
            media: None,
            transcript: None,
            text: None,
            findings: Vec::new(),
            attachments: Vec::new(),
            provenance: Provenance {
                provider: provider.to_owned(),
                job_id: job.job_id.clone(),
                received_at,
                normalized_at: String::new(),
                source_version_id: document.object.version_id.clone(),
                returned_sha256: Vec::new(),
            },
        };
        Ok(Self { record, text: None, findings: Vec::new() })
    }

    /// Whether [`Draft::add`] needs the content of this file.
    pub fn reads(&self, file: &ReturnedFile) -> bool {
        self.uses(file.role) && file.size_bytes <= limits::MAX_PARSED_FILE_BYTES
    }

    /// Whether the record is built from the next file of this role: from the first transcript, media facts and text, and
    /// from all findings. Every other file is an attachment. No part of Lectern opens an attachment.
    fn uses(&self, role: FileRole) -> bool {
        match role {
            FileRole::Transcript => self.record.transcript.is_none(),
            FileRole::Media => self.record.media.is_none(),
            FileRole::Text => self.text.is_none(),
            FileRole::Findings => true,
            FileRole::Attachment => false,
        }
    }

    /// Adds the next returned file.
    ///
    /// # Errors
    /// `RecordInvalid` with the parser's code if the record is built from the file, and its content is malformed,
    /// truncated, missing or too large.
    pub fn add(&mut self, file: &ReturnedFile, content: Option<&Bytes>) -> Result<(), Error> {
        let index = self.record.attachments.len();
        let role = if self.uses(file.role) { file.role } else { FileRole::Attachment };
        self.record.attachments.push(Attachment {
            index: u32::try_from(index).unwrap_or(u32::MAX),
            file_name: nfc(&file.name),
            role,
            media_type: file.media_type.clone(),
            size_bytes: file.size_bytes,
            sha256: file.sha256.clone(),
        });
        self.record.provenance.returned_sha256.push(file.sha256.clone());
        if role == FileRole::Attachment {
            return Ok(());
        }
        let taken = match content {
            _ if file.size_bytes > limits::MAX_PARSED_FILE_BYTES => Err(Refused::new("tooLarge")),
            Some(content) => self.take(role, &file.media_type, content),
            None => Err(Refused::new("missing")),
        };
        taken.map_err(|refused| unusable(&refused, role, index))
    }

    fn take(&mut self, role: FileRole, media_type: &str, content: &Bytes) -> Result<(), Refused> {
        match role {
            FileRole::Transcript => self.record.transcript = Some(parse::transcript(media_type, content)?),
            FileRole::Findings => {
                self.findings.append(&mut parse::findings(media_type, content)?);
                if self.findings.len() > limits::MAX_RECORD_FINDINGS {
                    return Err(Refused::new("tooManyFindings"));
                }
                parse::check_length(self.findings.iter().map(text_bytes))?;
            }
            FileRole::Media => self.record.media = Some(parse::media(media_type, content)?),
            FileRole::Text => {
                let PlainText { text, has_mark } = parse::plain_text(media_type, content)?;
                self.text = Some(NormalizedText::new(text, has_mark));
            }
            FileRole::Attachment => {}
        }
        Ok(())
    }

    /// Maps the findings to the normalised text and finishes the record.
    ///
    /// # Errors
    /// `RecordInvalid` if a finding is reversed or outside the text, or if the record is larger than
    /// [`limits::MAX_RECORD_BYTES`].
    pub fn finish(self, normalized_at: String) -> Result<Record, Error> {
        let Self { mut record, text, findings, .. } = self;
        record.findings = findings
            .iter()
            .map(|finding| placed(finding, text.as_ref()))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| {
                let message = "The processing service returned a finding that lies outside of the text. The file \
                               can be sent again.";
                Error::RecordInvalid(Reason::new("findingOutsideText", message))
            })?;
        record.findings.sort_by_key(|finding| (finding.range.start, finding.range.end));
        record.text = text.map(|text| text.text);
        record.provenance.normalized_at = normalized_at;
        if json_length(&record) > limits::MAX_RECORD_BYTES {
            return Err(too_large());
        }
        Ok(record)
    }
}

fn placed(finding: &FileFinding, text: Option<&NormalizedText>) -> Option<Finding> {
    let (start, end) = text?.range(finding.start, finding.end)?;
    Some(Finding {
        range: TextRange { start, end },
        rule: nfc(&finding.rule),
        message: nfc(&finding.message.clone().or("The processing service gave no explanation.")),
        suggestion: finding.suggestion.as_deref().map(nfc),
        severity: finding.severity,
    })
}

fn text_bytes(finding: &FileFinding) -> usize {
    finding.rule.len() + finding.message.len() + finding.suggestion.as_ref().map_or(0, |text| text.len())
}

fn too_large() -> Error {
    let message = "What the processing service returned is too large to be shown. Hand the work in as several smaller \
                   files.";
    Error::RecordInvalid(Reason::new("recordTooLarge", message))
}

fn unusable(refused: &Refused, role: FileRole, index: usize) -> Error {
    if refused.code == "recordTooLarge" {
        return too_large();
    }
    let what = match role {
        FileRole::Transcript => "transcript",
        FileRole::Findings => "file of findings",
        FileRole::Media => "file of media facts",
        FileRole::Text => "text",
        FileRole::Attachment => "attachment",
    };
    let (code, number) = (refused.code, index + 1);
    let place = refused.place.as_ref().map(|place| format!(", {place}")).unwrap_or_default();
    let message = format!(
        "The processing service returned a {what} that cannot be used (file {number}: {code}{place}). The file can be \
         sent again."
    );
    Error::RecordInvalid(Reason::new(code, message))
}

/// The size of the record as JSON, counted without keeping the JSON in memory.
fn json_length(record: &Record) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Neither the counter nor the serialisation of the record's types can fail; an error would count as too large.
    serde_json::to_writer(&mut count, record).map_or(usize::MAX, |()| count.0)
}
