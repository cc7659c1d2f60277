//! `lectern redrive`: failed documents start again, from what is already stored.

mod step;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

use lectern::{
    document::submission::SubmissionState,
    document::{Document, DocumentState},
    ports::{Browse as _, Cursor},
};
use serde::Serialize;

use self::step::{Done, look, redrive};
use crate::{
    args::Redrive,
    cloud::Cloud,
    console::{Console, Exit, Report},
    ids::Named,
    pace::Timer,
    problem::Problem,
};

/// Submissions are read in pages of so many.
const PAGE: usize = 100;

pub(crate) async fn run(cloud: &Cloud, options: &Redrive, console: &mut Console<'_>) -> anyhow::Result<Exit> {
    let (documents, acts) = match &options.document {
        Some(name) => (vec![cloud.document(&name.parse::<Named>()?).await?], !options.dry_run),
        None => (failed(cloud, options, console).await?, options.yes),
    };
    let how = if options.failed { "with --yes" } else { "without --dry-run" };
    let bar = console.progress(Some(documents.len() as u64), "redriving");
    let mut timer = Timer::per_second(options.rate);
    let mut report = RedriveReport { dry_run: !acts, how, documents: Vec::new(), stopped: None };
    for document in &documents {
        let done = match attempt(cloud, document, options.anew, acts, &mut timer).await {
            Ok(done) => done,
            Err(problem) if documents.len() > 1 => {
                report.stopped = Some(format!("{problem}. {}", problem.todo));
                break;
            }
            Err(problem) => return Err(problem.into()),
        };
        report.documents.push(Row::new(document, &done));
        bar.inc(1);
    }
    bar.finish_and_clear();
    console.report(&report)?;
    let refused = report.documents.iter().any(|row| row.refused);
    Ok(if refused || report.stopped.is_some() { Exit::Attention } else { Exit::Done })
}

/// One document, again after failures that may pass.
async fn attempt(
    cloud: &Cloud,
    document: &Document,
    anew: bool,
    acts: bool,
    timer: &mut Timer,
) -> Result<Done, Problem> {
    loop {
        timer.turn(1).await;
        let found = look(cloud, document, anew).await;
        let done = match found {
            Ok(plan) if acts => redrive(cloud, &plan).await,
            Ok(plan) => Ok(plan.would()),
            Err(problem) => Err(problem),
        };
        match done {
            Ok(done) => {
                timer.succeeded();
                return Ok(done);
            }
            Err(problem) if problem.transient && timer.failed() => {}
            Err(problem) => return Err(problem),
        }
    }
}

/// The failed documents, by way of the index of submissions by their state. A submission with failed documents needs
/// attention, or still has others on their way.
async fn failed(cloud: &Cloud, options: &Redrive, console: &Console<'_>) -> Result<Vec<Document>, Problem> {
    let bar = console.progress(None, "reading submissions");
    let limit = options.limit.unwrap_or(usize::MAX);
    let mut found = Vec::new();
    for state in [SubmissionState::NeedsAttention, SubmissionState::InProgress] {
        let mut after: Option<Cursor> = None;
        loop {
            let page = cloud.store.submissions(Some(state), after.as_ref(), PAGE).await;
            let page = page.map_err(|error| Problem::store(&error))?;
            let Some(last) = page.last() else { break };
            after = Some(Cursor {
                created_at: last.created_at.clone(),
                submission_id: last.submission_id.to_string(),
            });
            for submission in page.iter().filter(|submission| submission.counts.failed > 0) {
                let whole = cloud.store.submission(&submission.submission_id).await;
                let documents = whole.map_err(|error| Problem::store(&error))?.map(|(_, all)| all);
                found.extend(documents.into_iter().flatten().filter(|document| is_meant(document, options)));
                bar.inc(1);
                if found.len() >= limit {
                    found.truncate(limit);
                    return Ok(found);
                }
            }
        }
    }
    bar.finish_and_clear();
    Ok(found)
}

fn is_meant(document: &Document, options: &Redrive) -> bool {
    let code = document.reason.as_ref().map(|reason| reason.code.as_str());
    document.state == DocumentState::Failed
        && document.superseded_by.is_none()
        && options.reason.as_deref().is_none_or(|wanted| code == Some(wanted))
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RedriveReport {
    dry_run: bool,
    #[serde(skip)]
    how: &'static str,
    documents: Vec<Row>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    submission_id: String,
    document_id: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    done: &'static str,
    text: String,
    refused: bool,
}

impl Row {
    fn new(document: &Document, done: &Done) -> Self {
        Self {
            submission_id: document.reference.submission_id.to_string(),
            document_id: document.reference.document_id.to_string(),
            state: document.state.as_str(),
            reason: document.reason.as_ref().map(|reason| reason.code.clone()),
            done: done.name(),
            text: done.text(),
            refused: matches!(done, Done::Refused(_)),
        }
    }
}

impl Report for RedriveReport {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        for row in &self.documents {
            let reason = row.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            let Row { submission_id, document_id, state, text, .. } = row;
            writeln!(out, "{submission_id}/{document_id}  {state}{reason}: {text}")?;
        }
        if self.documents.is_empty() {
            writeln!(out, "No document has failed for that.")?;
        } else if self.dry_run {
            writeln!(out)?;
            writeln!(out, "Nothing was changed. Do it {}.", self.how)?;
        }
        match &self.stopped {
            Some(stopped) => writeln!(out, "Stopped: {stopped} Run this again for the rest."),
            None => Ok(()),
        }
    }
}
