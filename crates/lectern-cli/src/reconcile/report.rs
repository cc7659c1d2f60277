//! The report of a comparison.

use std::io::{self, Write};

use lectern::document::{Document, DocumentRef};
use serde::Serialize;

use crate::{console::Report, text::count};

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReconcileReport {
    pub(super) dry_run: bool,
    pub(super) versions: usize,
    pub(super) submissions: usize,
    pub(super) documents: usize,
    /// The number of files that were skipped because their events may still arrive.
    pub(super) young: usize,
    pub(super) announced: usize,
    pub(super) findings: Vec<Finding>,
}

impl ReconcileReport {
    pub(super) fn needs_attention(&self) -> bool {
        self.findings.iter().any(|finding| !finding.registers)
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    kind: &'static str,
    /// `<submission id>/<document id>`.
    document: String,
    text: String,
    /// Whether this command fixes the difference with `--yes`.
    registers: bool,
    #[serde(rename = "do")]
    todo: Option<String>,
}

impl Finding {
    fn new(kind: &'static str, registers: bool, document: &DocumentRef, text: impl Into<String>) -> Self {
        let DocumentRef { submission_id, document_id } = document;
        let document = format!("{submission_id}/{document_id}");
        Self { kind, document, text: text.into(), registers, todo: None }
    }

    pub(super) fn unannounced(document: &DocumentRef, is_newest: bool) -> Self {
        let text = if is_newest {
            "no event came for this object"
        } else {
            "no event came for this older version, which is superseded"
        };
        Self::new("unannounced", true, document, text)
    }

    pub(super) fn not_started(document: &DocumentRef) -> Self {
        Self::new("notStarted", true, document, "it is registered, but no execution was started")
    }

    pub(super) fn gone(document: &DocumentRef) -> Self {
        let text = "it is in progress, but its object version no longer exists: it fails unless it was already submitted";
        Self::new("gone", false, document, text)
    }

    pub(super) fn stalled(document: &Document) -> Self {
        let text = format!("it is {}, but no execution is running", document.state);
        let finding = Self::new("stalled", false, &document.reference, text);
        Self { todo: Some(format!("lectern redrive {}", finding.document)), ..finding }
    }
}

impl Report for ReconcileReport {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "Compared {} of objects with {} of {}.",
            count(self.versions, "version"),
            count(self.documents, "document"),
            count(self.submissions, "submission")
        )?;
        if self.young > 0 {
            writeln!(out, "{} younger than --min-age skipped.", count(self.young, "object"))?;
        }
        for finding in &self.findings {
            writeln!(out, "  {}  {}", finding.document, finding.text)?;
            if let Some(todo) = &finding.todo {
                writeln!(out, "      {todo}")?;
            }
        }
        let to_register = self.findings.iter().filter(|finding| finding.registers).count();
        writeln!(out)?;
        if self.findings.is_empty() {
            return writeln!(out, "No differences.");
        }
        if self.dry_run {
            let would = count(to_register, "document");
            return writeln!(
                out,
                "Events for {would} would be sent to receive-upload. Nothing was changed; send them with --yes."
            );
        }
        writeln!(out, "Events for {} sent to receive-upload.", count(self.announced, "document"))
    }
}
