//! What became of the files.

use std::io::{self, Write};

use serde::Serialize;

use super::files::LocalFile;
use crate::{
    console::{Exit, Report},
    text::{count, size},
};

#[derive(Debug, Serialize)]
pub(super) struct UploadReport {
    /// `None` if every file was refused, so that no submission was created.
    #[serde(rename = "submissionId")]
    pub(super) submission: Option<String>,
    pub(super) files: Vec<FileReport>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FileReport {
    pub(super) name: String,
    pub(super) size_bytes: u64,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum Outcome {
    /// The whole file is in S3. So much of it was there before.
    Sent { kept_bytes: u64 },
    /// It was handed in before.
    Arrived { document_id: String },
    /// The API does not accept it.
    Refused { why: String },
    /// It was not sent, or not completely.
    Failed { why: String },
}

impl FileReport {
    pub(super) fn new(file: &LocalFile, outcome: Outcome) -> Self {
        Self { name: file.name.clone(), size_bytes: file.size_bytes, outcome }
    }
}

impl UploadReport {
    pub(super) fn exit(&self) -> Exit {
        if self.number(|outcome| matches!(outcome, Outcome::Failed { .. })) > 0 {
            Exit::Failed
        } else if self.number(|outcome| matches!(outcome, Outcome::Refused { .. })) > 0 {
            Exit::Attention
        } else {
            Exit::Done
        }
    }

    fn number(&self, is: impl Fn(&Outcome) -> bool) -> usize {
        self.files.iter().filter(|file| is(&file.outcome)).count()
    }
}

impl Report for UploadReport {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let width = self.files.iter().map(|file| file.name.chars().count()).max().unwrap_or_default();
        for FileReport { name, size_bytes, outcome } in &self.files {
            write!(out, "{name:<width$}  {:>9}  ", size(*size_bytes))?;
            match outcome {
                Outcome::Sent { kept_bytes: 0 } => writeln!(out, "sent")?,
                Outcome::Sent { kept_bytes } => {
                    writeln!(out, "sent; {} of it had arrived before", size(*kept_bytes))?;
                }
                Outcome::Arrived { .. } => writeln!(out, "was handed in before")?,
                Outcome::Refused { why } => writeln!(out, "not accepted: {why}")?,
                Outcome::Failed { why } => writeln!(out, "failed: {why}")?,
            }
        }
        let Some(submission) = &self.submission else {
            return writeln!(out, "No submission was created.");
        };
        writeln!(out, "Submission {submission}")?;
        let failed = self.number(|outcome| matches!(outcome, Outcome::Failed { .. }));
        if failed > 0 {
            let files = count(failed, "file");
            writeln!(
                out,
                "{files} failed. To continue, run the same command with --submission {submission} instead of --title."
            )?;
        }
        writeln!(out, "To follow its progress: lectern watch {submission}")
    }
}
