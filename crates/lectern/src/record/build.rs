//! Builds a record from returned files: which files are read, how they are combined, and when they are refused.

use bytes::Bytes;
use time::OffsetDateTime;

use super::{
    Attachment, Finding, Provenance, Record, SCHEMA_VERSION, Source, TextRange,
    nfc::{NormalizedText, nfc},
    parse::{self, Refused},
};
use crate::{
    contract::wire::{FileFinding, FileRole, ReturnedFile},
    document::keys,
    document::{Document, DocumentState, JobResult, Reason},
    error::{Error, StoreError, rfc3339},
    limits,
};

/// Builds the record of `document` from all files that its job returned, in the order of the callback. Each file comes
/// with its content if [`Draft::reads`] requires it.
///
/// # Errors
/// As [`Draft::new`], [`Draft::add`] and [`Draft::finish`].
pub fn build(
    document: &Document,
    provider: &str,
    files: &[(ReturnedFile, Option<Bytes>)],
    now: OffsetDateTime,
) -> Result<Record, Error> {
    let mut draft = Draft::new(document, provider)?;
    for (file, content) in files {
        draft.add(file, content.as_ref())?;
    }
    draft.finish(rfc3339(now))
}

/// An unfinished record, so that the caller needs only one returned file in memory at a time.
#[derive(Debug)]
pub struct Draft {
    record: Record,
    text: Option<NormalizedText>,
    findings: Vec<FileFinding>,
    opened: usize,
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
                file_name: nfc(&keys::file_name(&document.object.key)),
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
        Ok(Self { record, text: None, findings: Vec::new(), opened: 0 })
    }

    /// Whether [`Draft::add`] needs the content of this file.
    ///
    /// Transcripts, findings, media facts and texts are always read. Of the attachments, the first
    /// [`limits::MAX_OPENED_ATTACHMENTS`] that are declared as DOCX or MP4 and are not too large are opened to check
    /// that they are of that type. All other attachments are listed unopened, since no part of Lectern ever opens them.
    pub fn reads(&self, file: &ReturnedFile) -> bool {
        let small = file.size_bytes <= limits::MAX_PARSED_FILE_BYTES;
        match file.role {
            FileRole::Transcript | FileRole::Findings | FileRole::Media | FileRole::Text => small,
            FileRole::Attachment => {
                small && self.opened < limits::MAX_OPENED_ATTACHMENTS && parse::can_open(&file.media_type)
            }
        }
    }

    /// Adds the next returned file. There may be several transcripts (one in each format): all of them must be valid,
    /// and the record contains the first. There may be several files of findings. There is at most one text, since the
    /// findings' offsets refer to it, and at most one file of media facts.
    ///
    /// # Errors
    /// `RecordInvalid` with the parser's code if the content is malformed, truncated, missing or a decompression bomb.
    pub fn add(&mut self, file: &ReturnedFile, content: Option<&Bytes>) -> Result<(), Error> {
        let index = self.record.attachments.len();
        let reads = self.reads(file);
        self.record.attachments.push(Attachment {
            index: u32::try_from(index).unwrap_or(u32::MAX),
            file_name: nfc(&file.name),
            role: file.role,
            media_type: file.media_type.clone(),
            size_bytes: file.size_bytes,
            sha256: file.sha256.clone(),
        });
        self.record.provenance.returned_sha256.push(file.sha256.clone());
        let taken = match (reads, content) {
            (true, Some(content)) => self.take(file, content),
            (true, None) => Err(Refused("missing")),
            (false, _) if file.role == FileRole::Attachment => Ok(()),
            (false, _) => Err(Refused("tooLarge")),
        };
        taken.map_err(|refused| unusable(refused, file.role, index))
    }

    fn take(&mut self, file: &ReturnedFile, content: &Bytes) -> Result<(), Refused> {
        match file.role {
            FileRole::Transcript => {
                let transcript = parse::transcript(&file.media_type, content)?;
                self.record.transcript.get_or_insert(transcript);
            }
            FileRole::Findings => {
                self.findings.append(&mut parse::findings(&file.media_type, content)?);
                if self.findings.len() > limits::MAX_RECORD_FINDINGS {
                    return Err(Refused("tooManyFindings"));
                }
            }
            FileRole::Media => {
                let media = parse::media(&file.media_type, content)?;
                if self.record.media.replace(media).is_some() {
                    return Err(Refused("secondMediaFacts"));
                }
            }
            FileRole::Text => {
                let text = parse::plain_text(&file.media_type, content)?;
                if self.text.replace(NormalizedText::new(text)).is_some() {
                    return Err(Refused("secondText"));
                }
            }
            FileRole::Attachment => {
                self.opened += 1;
                parse::open(&file.media_type, content)?;
            }
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
            let message = "What the processing service returned is too large to be shown. Hand the work in as \
                           several smaller files.";
            return Err(Error::RecordInvalid(Reason::new("recordTooLarge", message)));
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

fn unusable(refused: Refused, role: FileRole, index: usize) -> Error {
    let what = match role {
        FileRole::Transcript => "transcript",
        FileRole::Findings => "file of findings",
        FileRole::Media => "file of media facts",
        FileRole::Text => "text",
        FileRole::Attachment => "attachment",
    };
    let (code, number) = (refused.0, index + 1);
    let message = format!(
        "The processing service returned a {what} that cannot be used (file {number}: {code}). The file can be sent \
         again."
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
