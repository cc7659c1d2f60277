//! The text of explanations.

use std::io::{self, Write};

use lectern::{display_text::Label, document::Document, document::submission::Submission};
use serde::Serialize;

use super::{advice::Conclusion, timeline::Entry};
use crate::{
    console::{Report, write_todo},
    limiter::Limiter,
    text::{self, count, duration, size},
};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DocumentReport {
    #[serde(flatten)]
    document: Row,
    version_id: String,
    file_name: Option<Label>,
    key: Option<String>,
    size_bytes: u64,
    media_type: Option<&'static str>,
    #[serde(skip)]
    keeps_result: bool,
    timeline: Vec<Entry>,
    #[serde(flatten)]
    conclusion: Conclusion,
    pub(super) limiter: Option<Limiter>,
    notes: Vec<String>,
}

impl DocumentReport {
    pub(super) fn new(
        document: &Document,
        timeline: Vec<Entry>,
        conclusion: Conclusion,
        notes: Vec<String>,
        show_names: bool,
    ) -> Self {
        Self {
            document: Row::new(document),
            version_id: document.object.version_id.clone(),
            file_name: show_names.then(|| document.display_name()),
            key: show_names.then(|| document.object.key.clone()),
            size_bytes: document.size_bytes,
            media_type: document.media_type.map(lectern_content::MediaType::as_str),
            keeps_result: document.has_succeeded_result(),
            timeline,
            conclusion,
            limiter: None,
            notes,
        }
    }
}

impl Report for DocumentReport {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Row { submission_id, document_id, state, reason, redrives, .. } = &self.document;
        let reason = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        writeln!(out, "Document {document_id} of submission {submission_id}: {state}{reason}")?;
        let media_type = self.media_type.unwrap_or("unknown type");
        write!(out, "{media_type}, {}", size(self.size_bytes))?;
        if *redrives > 0 {
            write!(out, ", redriven {}", count(*redrives as usize, "time"))?;
        }
        writeln!(out)?;
        let abandoned = &self.document.abandoned_jobs;
        if !abandoned.is_empty() {
            writeln!(out, "Redriven without {}, whose results are ignored.", abandoned.join(", "))?;
        } else if self.keeps_result && *redrives > 0 {
            writeln!(out, "Redriven with the stored result.")?;
        }
        if let (Some(name), Some(key)) = (&self.file_name, &self.key) {
            writeln!(out, "{:?}, key {key:?}, version {}", name.as_str(), self.version_id)?;
        }
        writeln!(out)?;
        let mut before: Option<time::OffsetDateTime> = None;
        for entry in &self.timeline {
            let now = text::time(&entry.at);
            let gap = before.zip(now).map(|(before, now)| now - before);
            let gap = gap.filter(|gap| gap.whole_milliseconds() >= 100);
            let gap = gap.map(|gap| format!("+{}", duration(gap))).unwrap_or_default();
            let mark = if entry.error.is_some() { '!' } else { ' ' };
            let at = entry.at.replacen('T', " ", 1);
            let phase = format!("{:?}", entry.phase).to_lowercase();
            writeln!(out, "{at} {gap:>14} {mark} {phase:<8}  {}", entry.text)?;
            before = now.or(before);
        }
        writeln!(out)?;
        writeln!(out, "Where  {}", self.conclusion.place)?;
        writeln!(out, "Why    {}", self.conclusion.why)?;
        write_todo(out, &self.conclusion.todo)?;
        self.notes.iter().try_for_each(|note| writeln!(out, "Note   {note}"))
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    submission_id: String,
    document_id: String,
    state: &'static str,
    reason: Option<String>,
    since: Option<String>,
    redrives: u32,
    abandoned_jobs: Vec<String>,
    superseded_by: Option<String>,
    is_withdrawn: bool,
}

impl Row {
    pub(super) fn new(document: &Document) -> Self {
        Self {
            submission_id: document.reference.submission_id.to_string(),
            document_id: document.reference.document_id.to_string(),
            state: document.state.as_str(),
            reason: document.reason.as_ref().map(|reason| reason.code.clone()),
            since: document.times.get(document.state.as_str()).cloned(),
            redrives: document.redrives,
            abandoned_jobs: document.abandoned_jobs.iter().map(|job| plain(job)).collect(),
            superseded_by: document.superseded_by.map(|newer| newer.to_string()),
            is_withdrawn: document.is_withdrawn,
        }
    }
}

/// The third party's job id, unless it looks like something else, such as a URL.
fn plain(id: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let shown = (1..=64).contains(&id.len()) && id.bytes().all(is_plain);
    if shown { id.to_owned() } else { "(an id that is not shown)".to_owned() }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SubmissionReport {
    #[serde(flatten)]
    pub(super) submission: Submission,
    pub(super) documents: Vec<Row>,
    /// The explanations of documents that need attention.
    pub(super) attention: Vec<DocumentReport>,
    pub(super) unexplained: usize,
}

impl Report for SubmissionReport {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Submission { submission_id, state, counts, created_at } = &self.submission;
        writeln!(out, "Submission {submission_id}: {}, since {created_at}", state.as_str())?;
        let lectern::document::submission::Counts { open, ready, rejected, failed } = counts;
        writeln!(out, "{open} open, {ready} ready, {rejected} rejected, {failed} failed")?;
        writeln!(out)?;
        writeln!(out, "{:<36}  {:<12}  {:<24}  SINCE", "DOCUMENT", "STATE", "REASON")?;
        for row in &self.documents {
            let reason = match (&row.superseded_by, &row.reason) {
                (Some(_), _) => "superseded",
                _ if row.is_withdrawn => "withdrawn",
                (None, Some(reason)) => reason,
                (None, None) => "",
            };
            let since = row.since.as_deref().unwrap_or_default();
            writeln!(out, "{:<36}  {:<12}  {reason:<24}  {since}", row.document_id, row.state)?;
        }
        for explained in &self.attention {
            writeln!(out)?;
            explained.write(out)?;
        }
        if self.unexplained > 0 {
            writeln!(out)?;
            writeln!(out, "{} more need attention; explain them one by one.", self.unexplained)?;
        }
        if self.attention.is_empty() {
            writeln!(out)?;
            writeln!(out, "Nothing needs attention.")?;
        }
        Ok(())
    }
}
