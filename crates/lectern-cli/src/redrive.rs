//! `lectern redrive`: starts failed documents again, using what is already stored.

#[cfg(test)]
mod tests;

use std::{
    io::{self, Write},
    pin::pin,
};

use backon::{ExponentialBuilder, Retryable as _};
use futures_util::TryStreamExt as _;
use lectern::{
    document::{Document, DocumentRef, DocumentState, submission::SubmissionState},
    ports::Browse as _,
    redrive::{self, Done},
};
use lectern_aws::SystemClock;
use serde::Serialize;

use crate::{
    args::Redrive,
    cloud::Cloud,
    console::{Console, Exit, Report},
    ids::Named,
    pace,
    problem::Problem,
};

pub(crate) async fn run(cloud: &Cloud, options: &Redrive, console: &mut Console<'_>) -> anyhow::Result<Exit> {
    let (documents, acts) = match &options.document {
        Some(name) => (vec![cloud.document(&name.parse::<Named>()?).await?], !options.dry_run),
        None => (failed(cloud, options, console).await?, options.yes),
    };
    let how = if options.failed { "with --yes" } else { "without --dry-run" };
    let bar = console.progress(Some(documents.len() as u64), "redriving");
    let mut pace = pace::per_second(options.rate);
    let Cloud { store, state_machine, .. } = cloud;
    let executions = &cloud.executions.of_documents();
    let ports = redrive::Ports { store, executions, state_machine, clock: &SystemClock };
    let mut report = RedriveReport { dry_run: !acts, how, documents: Vec::new(), stopped: None };
    for document in &documents {
        pace.tick().await;
        let attempt = async || {
            let plan = ports.look(&document.reference, options.discard_result).await?;
            Ok::<_, Problem>(if acts { ports.redrive(&plan).await? } else { plan.would() })
        };
        // The SDK does not retry a transaction that conflicted with another writer.
        let backoff = ExponentialBuilder::default().with_jitter().with_max_times(7);
        match attempt.retry(backoff).when(|problem: &Problem| problem.is_transient).await {
            Ok(done) => report.documents.push(Row::new(document, &done)),
            Err(problem) if documents.len() > 1 => {
                report.stopped = Some(problem.text());
                break;
            }
            Err(problem) => return Err(problem.into()),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    console.report(&report)?;
    let is_refused = report.documents.iter().any(|row| row.done == "refused");
    Ok(if is_refused || report.stopped.is_some() { Exit::Attention } else { Exit::Done })
}

/// The failed documents, found with the index of submissions by state. A submission with failed documents is either
/// `NeedsAttention`, or `InProgress` because of other documents.
async fn failed(cloud: &Cloud, options: &Redrive, console: &Console<'_>) -> Result<Vec<Document>, Problem> {
    let bar = console.progress(None, "reading submissions");
    let limit = options.limit.unwrap_or(usize::MAX);
    let mut found = Vec::new();
    for state in [SubmissionState::NeedsAttention, SubmissionState::InProgress] {
        let mut submissions = pin!(cloud.submissions(state));
        while found.len() < limit
            && let Some(submission) = submissions.try_next().await?
        {
            if submission.counts.failed > 0 {
                let whole = cloud.store.submission(&submission.submission_id).await?;
                let documents = whole.into_iter().flat_map(|(_, documents)| documents);
                found.extend(documents.filter(|document| is_meant(document, options)));
                bar.inc(1);
            }
        }
    }
    found.truncate(limit);
    bar.finish_and_clear();
    Ok(found)
}

fn is_meant(document: &Document, options: &Redrive) -> bool {
    let code = document.reason.as_ref().map(|reason| reason.code.as_str());
    document.state == DocumentState::Failed
        && document.is_counted()
        && options.reason.as_deref().is_none_or(|wanted| code == Some(wanted))
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RedriveReport {
    dry_run: bool,
    #[serde(skip)]
    how: &'static str,
    documents: Vec<Row>,
    stopped: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    /// `<submission id>/<document id>`.
    document: String,
    state: &'static str,
    reason: Option<String>,
    done: &'static str,
    text: String,
}

impl Row {
    fn new(document: &Document, done: &Done) -> Self {
        let DocumentRef { submission_id, document_id } = &document.reference;
        let (done, text) = done.name_and_text();
        Self {
            document: format!("{submission_id}/{document_id}"),
            state: document.state.as_str(),
            reason: document.reason.as_ref().map(|reason| reason.code.clone()),
            done,
            text: text.to_owned(),
        }
    }
}

impl Report for RedriveReport {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        for row in &self.documents {
            let reason = row.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            writeln!(out, "{}  {}{reason}: {}", row.document, row.state, row.text)?;
        }
        if self.documents.is_empty() {
            writeln!(out, "No failed document was found.")?;
        } else if self.dry_run {
            writeln!(out)?;
            writeln!(out, "Nothing was changed. Run it {}.", self.how)?;
        }
        match &self.stopped {
            Some(stopped) => writeln!(out, "Stopped: {stopped} Run this again for the rest."),
            None => Ok(()),
        }
    }
}
