//! Builds one timeline from a document's item, its executions and the logs.

use lectern::{
    document::{Document, DocumentState},
    error::rfc3339,
};
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use super::{
    history::{Failure, Step, What},
    logs::Line,
};
use crate::text::{count, duration, size, time};

#[cfg(test)]
mod tests;

/// The state that stops waiting for a job that is still in progress.
pub(super) const GIVE_UP_WORKING: &str = "GiveUpWorking";
/// The state that stops waiting for a job that the third party does not know.
pub(super) const GIVE_UP_WAITING: &str = "GiveUpWaiting";

/// A part of the workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Phase {
    /// From the S3 event to the started execution.
    Upload,
    /// Waiting for a permit, and sending the file to the third party.
    Transfer,
    /// Probing the job.
    Job,
    /// Waiting for the callback.
    Callback,
    /// Fetching and checking the returned files.
    Verify,
    /// Writing the record.
    Record,
    /// The end of a document that failed.
    End,
}

impl Phase {
    /// The phase of a state, or of a function by its name without suffix.
    pub(super) fn of(name: &str) -> Self {
        match name {
            "Begin" | "ReceiveUpload" => Self::Upload,
            "ProbeJob" | "CheckProbe" => Self::Job,
            "AwaitCallback" | "ReceiveCallback" => Self::Callback,
            "BeginVerify" | "CheckOutcome" => Self::Verify,
            name if name.starts_with("VerifyReturned") => Self::Verify,
            name if name.starts_with("Normalize") => Self::Record,
            "FailDocument" | "CheckCause" | "Failed" | "NotAccepted" | GIVE_UP_WAITING | GIVE_UP_WORKING
            | "JobFailed" => Self::End,
            // The states up to and including the transfer.
            _ => Self::Transfer,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Entry {
    /// RFC 3339.
    pub(super) at: String,
    pub(super) phase: Phase,
    pub(super) text: String,
    /// `item`, `history` or `log`.
    pub(super) source: &'static str,
    /// The error's name, if the line is about an error.
    pub(super) error: Option<String>,
}

/// The current state of an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) state: String,
    pub(super) since: OffsetDateTime,
    /// The number of tries including the current one; 0 for a Wait state.
    pub(super) tries: usize,
    /// The last try's failure.
    pub(super) failure: Option<Failure>,
}

/// An execution with its steps.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// The number of the redrive; 0 for the first execution.
    pub(super) redrive: u32,
    pub(super) started: OffsetDateTime,
    pub(super) steps: Vec<Step>,
}

/// The timeline, oldest first, and the current state of the last run. `runs` are in the order of the redrives.
pub(super) fn build(document: &Document, runs: &[Run], lines: &[Line]) -> (Vec<Entry>, Option<Pending>) {
    let mut dated = of_item(document, runs.is_empty());
    let mut pending = None;
    for run in runs {
        let what = match run.redrive {
            0 => "Its execution started.".to_owned(),
            number => format!("Redrive {number}: a new execution started."),
        };
        dated.push((run.started, entry(run.started, Phase::Upload, what, None)));
        let (entries, at) = of_run(&run.steps);
        dated.extend(entries);
        pending = at;
    }
    dated.extend(lines.iter().map(|line| (line.at, line.entry())));
    dated.sort_by_key(|(at, _)| *at);
    (dated.into_iter().map(|(_, entry)| entry).collect(), pending)
}

type Dated = (OffsetDateTime, Entry);

fn entry(at: OffsetDateTime, phase: Phase, text: String, error: Option<&Failure>) -> Entry {
    Entry {
        at: rfc3339(at),
        phase,
        text,
        source: "history",
        error: error.map(|failure| failure.error.clone()),
    }
}

/// The times in the document's item. If there are histories, they provide the states in between.
fn of_item(document: &Document, without_history: bool) -> Vec<Dated> {
    let reason = document.reason.as_ref().map(|reason| reason.code.as_str()).unwrap_or_default();
    let media_type = document.media_type.map_or("unknown type", lectern_content::MediaType::as_str);
    let entry_of = |state: DocumentState| {
        let at = time(document.times.get(state.as_str())?)?;
        let (phase, text) = match state {
            DocumentState::Received => {
                (Phase::Upload, format!("Registered: {media_type}, {}.", size(document.size_bytes)))
            }
            DocumentState::Rejected => (Phase::Upload, format!("Rejected: {reason}.")),
            DocumentState::Failed => (Phase::End, format!("Failed: {reason}.")),
            DocumentState::Ready => (Phase::Record, "Ready: the record can be read.".to_owned()),
            DocumentState::Transferring => (Phase::Transfer, "Transferring.".to_owned()),
            DocumentState::Processing => (Phase::Job, "Processing.".to_owned()),
            DocumentState::Verifying => (Phase::Verify, "Verifying.".to_owned()),
            DocumentState::Normalizing => (Phase::Record, "Normalizing.".to_owned()),
        };
        let is_between = !state.is_terminal() && state != DocumentState::Received;
        (without_history || !is_between)
            .then(|| (at, Entry { source: "item", ..entry(at, phase, text, None) }))
    };
    DocumentState::ALL.into_iter().filter_map(entry_of).collect()
}

fn of_run(steps: &[Step]) -> (Vec<Dated>, Option<Pending>) {
    let mut dated: Vec<Dated> = Vec::new();
    let mut now: Option<Pending> = None;
    let mut failed_at = None;
    let mut files: Option<Files> = None;
    for (index, step) in steps.iter().enumerate() {
        let mut add = |phase, text, error: Option<&Failure>| {
            dated.push((step.at, entry(step.at, phase, text, error)));
        };
        if let (Some(checked), Some(at)) = (&mut files, &mut now) {
            match &step.what {
                What::Entered(state) | What::Exited(state) if state == FILE => continue,
                What::Exited(state) if state == FILES => {
                    let next = steps.get(index + 1).map(|step| &step.what);
                    let has_failed = matches!(next, Some(What::Entered(next)) if next == "FailDocument");
                    if !has_failed && checked.succeeded > 0 {
                        add(Phase::Verify, checked.text(), None);
                    }
                    files = None;
                    continue;
                }
                What::Failed(failure) => {
                    let text = format!("A returned file was not accepted: {}.", named(failure));
                    add(Phase::Verify, text, Some(failure));
                    checked.failed += 1;
                    at.failure = Some(failure.clone());
                    continue;
                }
                What::Succeeded => {
                    checked.succeeded += 1;
                    continue;
                }
                What::Scheduled => continue,
                What::Entered(_) | What::Exited(_) | What::Ended | What::Broken(_) => files = None,
            }
        }
        match (&step.what, &mut now) {
            (What::Entered(state), _) => {
                files = (state == FILES).then(Files::default);
                if let Some(text) = on_entering(state) {
                    add(Phase::of(state), text.to_owned(), None);
                }
                failed_at = None;
                now = Some(Pending { state: state.clone(), since: step.at, tries: 0, failure: None });
            }
            (What::Exited(state), Some(at)) => {
                let waited = step.at - at.since;
                if at.state == *state && at.tries == 0 && waited >= Duration::milliseconds(200) {
                    add(Phase::of(state), format!("{state}: waited {}.", duration(waited)), None);
                }
            }
            (What::Scheduled, Some(at)) => {
                at.tries += 1;
                if let Some(failed) = failed_at.take() {
                    let waited = duration(step.at - failed);
                    let text = format!("{}: try {}, after a wait of {waited}.", at.state, at.tries);
                    add(Phase::of(&at.state), text, None);
                }
                at.since = step.at;
            }
            (What::Succeeded, Some(at)) => {
                let took = step.at - at.since;
                if let Some(text) = done(&at.state, at.tries, took) {
                    add(Phase::of(&at.state), text, None);
                }
            }
            (What::Failed(failure), Some(at)) => {
                let text = failed(&at.state, at.tries, failure, step.at - at.since);
                let expected = failure.error == "DynamoDb.ConditionalCheckFailedException";
                add(Phase::of(&at.state), text, Some(failure).filter(|_| !expected));
                at.failure = Some(failure.clone());
                at.since = step.at;
                failed_at = Some(step.at);
            }
            (What::Broken(failure), _) => {
                add(Phase::End, format!("The execution ended: {}.", named(failure)), Some(failure));
                now = None;
            }
            (What::Ended, _) => {
                add(Phase::Record, "The execution succeeded.".to_owned(), None);
                now = None;
            }
            (What::Exited(_) | What::Scheduled | What::Succeeded | What::Failed(_), None) => {}
        }
    }
    (dated, now)
}

/// The Map state for the returned files.
const FILES: &str = "VerifyReturned";
/// The task that checks one file; the tasks run in parallel.
const FILE: &str = "VerifyReturnedFile";

/// The progress of the Map state's checks.
#[derive(Debug, Default)]
struct Files {
    succeeded: usize,
    failed: usize,
}

impl Files {
    /// One line for all files. In a Map state that succeeded, each failure was retried.
    fn text(&self) -> String {
        let retries = match self.failed {
            0 => String::new(),
            1 => ", with 1 retry".to_owned(),
            number => format!(", with {number} retries"),
        };
        format!("{FILES}: {} checked{retries}.", count(self.succeeded, "file"))
    }
}

fn on_entering(state: &str) -> Option<&'static str> {
    Some(match state {
        "TransferAgain" => "The document is submitted again, as a new job.",
        GIVE_UP_WORKING => "The job is still in progress; the document no longer waits for it.",
        GIVE_UP_WAITING => "No callback came, and the third party does not know the job.",
        "JobFailed" => "The third party reports that the job failed.",
        "NotAccepted" => "The file itself is the cause, so the execution counts as successful.",
        _ => return None,
    })
}

fn done(state: &str, tries: usize, took: Duration) -> Option<String> {
    let took = duration(took);
    let text = match state {
        "TransferDocument" => format!("The third party accepted the document, in {took}."),
        "AwaitCallback" => format!("The callback came, after {took}."),
        "ProbeJob" => format!("The third party answered the probe, in {took}."),
        "NormalizeDocument" => format!("The record was written, in {took}."),
        "AwaitPermit" => format!("The permit was granted, after {took}."),
        "BeginVerify" | "FailDocument" => return None,
        _ if tries > 1 => format!("{state}: done on try {tries}."),
        _ => return None,
    };
    Some(text)
}

fn failed(state: &str, tries: usize, failure: &Failure, took: Duration) -> String {
    let took = duration(took);
    match (state, failure.error.as_str()) {
        ("AwaitCallback", "DynamoDb.ConditionalCheckFailedException") => {
            "The result had arrived before, so there was no wait.".to_owned()
        }
        ("AwaitCallback", "ThirdParty.Rejected") => {
            format!("The callback came, after {took}: the job failed.")
        }
        ("AwaitCallback", "ThirdParty.SourceUnreadable") => {
            format!("The callback came, after {took}: the third party could not fetch the document.")
        }
        ("AwaitCallback", "States.Timeout") => {
            format!("No callback within {took}; the job is probed.")
        }
        _ if tries > 1 => format!("{state}: try {tries} failed after {took}: {}.", named(failure)),
        _ => format!("{state} failed after {took}: {}.", named(failure)),
    }
}

fn named(failure: &Failure) -> String {
    match &failure.reason {
        Some(reason) => format!("{} ({reason})", failure.error),
        None => failure.error.clone(),
    }
}
