//! What a comparison found, as people read it.

use std::io::{self, Write};

use lectern::document::{Document, DocumentRef};
use serde::Serialize;

use crate::{console::Report, text::count};

/// Everything that was found.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReconcileReport {
    pub(super) dry_run: bool,
    pub(super) versions: usize,
    pub(super) submissions: usize,
    pub(super) documents: usize,
    /// Objects that were left alone because their event may be under way.
    pub(super) young: usize,
    pub(super) announced: usize,
    pub(super) not_announced: usize,
    pub(super) findings: Vec<Finding>,
}

impl ReconcileReport {
    pub(super) fn needs_attention(&self) -> bool {
        self.not_announced > 0 || self.findings.iter().any(|finding| !finding.registers)
    }
}

/// One difference.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    kind: &'static str,
    submission_id: String,
    document_id: String,
    text: String,
    /// Whether this command mends it, with `--yes`.
    registers: bool,
    #[serde(rename = "do", skip_serializing_if = "Option::is_none")]
    todo: Option<String>,
}

impl Finding {
    fn new(kind: &'static str, document: &DocumentRef, text: impl Into<String>) -> Self {
        Self {
            kind,
            submission_id: document.submission_id.to_string(),
            document_id: document.document_id.to_string(),
            text: text.into(),
            registers: false,
            todo: None,
        }
    }

    pub(super) fn unannounced(document: &DocumentRef, is_newest: bool) -> Self {
        let text = if is_newest {
            "no event announced this object"
        } else {
            "no event announced this older version, which is superseded"
        };
        Self { registers: true, ..Self::new("unannounced", document, text) }
    }

    pub(super) fn not_started(document: &DocumentRef) -> Self {
        let text = "it is registered, and its execution was never started";
        Self { registers: true, ..Self::new("notStarted", document, text) }
    }

    pub(super) fn gone(document: &DocumentRef) -> Self {
        let text =
            "it is on its way, and its version of the object is gone; it will fail, or it was sent already";
        Self::new("gone", document, text)
    }

    pub(super) fn stalled(document: &Document) -> Self {
        let DocumentRef { submission_id, document_id } = &document.reference;
        let text = format!("it is {}, and no execution moves it", document.state);
        let todo = Some(format!("lectern redrive {submission_id}/{document_id}"));
        Self { todo, ..Self::new("stalled", &document.reference, text) }
    }
}

impl Report for ReconcileReport {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "{} of objects and {} of {} were compared.",
            count(self.versions, "version"),
            count(self.documents, "document"),
            count(self.submissions, "submission")
        )?;
        if self.young > 0 {
            writeln!(out, "{} too young to be judged (--min-age).", count(self.young, "object"))?;
        }
        for finding in &self.findings {
            let Finding { submission_id, document_id, text, todo, .. } = finding;
            writeln!(out, "  {submission_id}/{document_id}  {text}")?;
            if let Some(todo) = todo {
                writeln!(out, "      {todo}")?;
            }
        }
        let to_register = self.findings.iter().filter(|finding| finding.registers).count();
        writeln!(out)?;
        if self.findings.is_empty() {
            return writeln!(out, "Nothing differs.");
        }
        if self.dry_run {
            let would = count(to_register, "document");
            return writeln!(
                out,
                "{would} would be announced to receive-upload. Nothing was changed; do it with --yes."
            );
        }
        writeln!(out, "{} announced to receive-upload.", count(self.announced, "document"))?;
        if self.not_announced > 0 {
            writeln!(out, "{} not taken; run this again.", count(self.not_announced, "document"))?;
        }
        Ok(())
    }
}
