//! One timeline from what the item, the executions and the logs tell.

use std::collections::BTreeMap;

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

/// The state in which a job is given up that the third party is still at work on.
pub(super) const GIVE_UP_WORKING: &str = "GiveUpWorking";
/// The state in which a job is given up that the third party does not know.
pub(super) const GIVE_UP_WAITING: &str = "GiveUpWaiting";

/// A part of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// From the event to the started execution.
    Upload,
    /// Waiting for a turn, and the way to the third party.
    Transfer,
    /// The third party is at work.
    Job,
    /// Its answer.
    Callback,
    /// Fetching and checking what it returned.
    Verify,
    /// Writing the record.
    Record,
    /// Giving up, or beginning again.
    End,
}

impl Phase {
    /// The phase of a state, or of a function by its stem.
    pub fn of(name: &str) -> Self {
        match name {
            "Begin" | "ReceiveUpload" => Self::Upload,
            "ProbeJob" | "CheckProbe" => Self::Job,
            "AwaitCallback" | "ReceiveCallback" => Self::Callback,
            "BeginVerify" | "CheckOutcome" => Self::Verify,
            "Done" => Self::Record,
            name if name.starts_with("VerifyReturned") => Self::Verify,
            name if name.starts_with("Normalize") => Self::Record,
            "FailDocument" | "Failed" | GIVE_UP_WAITING | GIVE_UP_WORKING | "JobFailed" => Self::End,
            // Transfers and all that leads to them: turns, waits, troubles.
            _ => Self::Transfer,
        }
    }
}

/// One line of the timeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// RFC 3339.
    pub at: String,
    /// The part of the way.
    pub phase: Phase,
    /// What happened.
    pub text: String,
    /// Whose word it is: `item`, `history` or `log`.
    pub source: &'static str,
    /// The failure's name, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What an execution is at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The state.
    pub state: String,
    /// Since when.
    pub since: OffsetDateTime,
    /// How often it was tried, this time included; 0 for a state that only waits.
    pub tries: usize,
    /// The failure before this try, or what the next try waits for.
    pub failure: Option<Failure>,
}

/// An execution with its steps, in the order of the redrives.
#[derive(Clone, Debug)]
pub struct Run {
    /// The number of the redrive; 0 for the first.
    pub redrive: u32,
    /// When it was started.
    pub started: OffsetDateTime,
    /// What happened.
    pub steps: Vec<Step>,
}

/// Puts the timeline together, oldest first, and says what the last run is at.
pub fn build(document: &Document, runs: &[Run], lines: &[Line]) -> (Vec<Entry>, Option<Pending>) {
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

/// The item's own times. What lies between is told better by the histories, if there are any.
fn of_item(document: &Document, without_history: bool) -> Vec<Dated> {
    let mut dated = Vec::new();
    for state in DocumentState::ALL {
        let Some(at) = document.times.get(state.as_str()).and_then(|text| time(text)) else { continue };
        let reason = document.reason.as_ref().map(|reason| reason.code.as_str()).unwrap_or_default();
        let media_type = document.media_type.map_or("unknown type", lectern_content::MediaType::as_str);
        let (phase, text) = match state {
            DocumentState::Received => {
                let what = format!("Registered: {media_type}, {}.", size(document.size_bytes));
                (Phase::Upload, what)
            }
            DocumentState::Rejected => (Phase::Upload, format!("Rejected: {reason}.")),
            DocumentState::Failed => (Phase::End, format!("Failed: {reason}.")),
            DocumentState::Ready => (Phase::Record, "Ready: the record can be read.".to_owned()),
            DocumentState::Transferring if without_history => (Phase::Transfer, "Transferring.".to_owned()),
            DocumentState::Processing if without_history => (Phase::Job, "Processing.".to_owned()),
            DocumentState::Verifying if without_history => (Phase::Verify, "Verifying.".to_owned()),
            DocumentState::Normalizing if without_history => (Phase::Record, "Normalizing.".to_owned()),
            DocumentState::Transferring
            | DocumentState::Processing
            | DocumentState::Verifying
            | DocumentState::Normalizing => continue,
        };
        dated.push((at, Entry { source: "item", ..entry(at, phase, text, None) }));
    }
    dated
}

/// Reads a history from its beginning, always knowing the state and its tries.
fn of_run(steps: &[Step]) -> (Vec<Dated>, Option<Pending>) {
    let mut dated: Vec<Dated> = Vec::new();
    let mut now: Option<Pending> = None;
    let mut failed_at = None;
    let mut files: Option<Files> = None;
    for (index, step) in steps.iter().enumerate() {
        let mut tell = |phase, text, error: Option<&Failure>| {
            dated.push((step.at, entry(step.at, phase, text, error)));
        };
        if let (Some(checked), Some(at)) = (&mut files, &mut now) {
            match &step.what {
                What::Entered(state) | What::Exited(state) if state == FILE => continue,
                What::Exited(state) if state == FILES => {
                    let next = steps.get(index + 1).map(|step| &step.what);
                    let is_given_up = matches!(next, Some(What::Entered(next)) if next == "FailDocument");
                    if let Some(text) = files.take().filter(|_| !is_given_up).and_then(|files| files.text()) {
                        tell(Phase::Verify, text, None);
                    }
                    continue;
                }
                What::Failed(failure) => {
                    let text = format!("A returned file was not accepted: {}.", named(failure));
                    tell(Phase::Verify, text, Some(failure));
                    checked.failed(step.entry, failure, at);
                    continue;
                }
                What::Succeeded => {
                    checked.succeeded(step.entry, at);
                    continue;
                }
                What::Scheduled => continue,
                What::Entered(_) | What::Exited(_) | What::Redriven | What::Ended | What::Broken(_) => {
                    files = None;
                }
            }
        }
        match (&step.what, &mut now) {
            (What::Entered(state), _) => {
                files = (state == FILES).then(Files::default);
                if let Some(text) = on_the_way(state) {
                    tell(Phase::of(state), text.to_owned(), None);
                }
                failed_at = None;
                now = Some(Pending { state: state.clone(), since: step.at, tries: 0, failure: None });
            }
            (What::Exited(state), Some(at)) => {
                let waited = step.at - at.since;
                if at.state == *state && at.tries == 0 && waited >= Duration::milliseconds(200) {
                    tell(Phase::of(state), format!("{state}: waited {}.", duration(waited)), None);
                }
            }
            (What::Scheduled, Some(at)) => {
                at.tries += 1;
                if let Some(failed) = failed_at.take() {
                    let (tries, waited) = (at.tries, duration(step.at - failed));
                    tell(
                        Phase::of(&at.state),
                        format!("{}: try {tries}, after a wait of {waited}.", at.state),
                        None,
                    );
                }
                at.since = step.at;
            }
            (What::Succeeded, Some(at)) => {
                let took = step.at - at.since;
                if let Some(text) = done(&at.state, at.tries, took) {
                    tell(Phase::of(&at.state), text, None);
                }
            }
            (What::Failed(failure), Some(at)) => {
                let text = gone_wrong(&at.state, at.tries, failure, step.at - at.since);
                let expected = failure.error == "DynamoDb.ConditionalCheckFailedException";
                tell(Phase::of(&at.state), text, Some(failure).filter(|_| !expected));
                at.failure = Some(failure.clone());
                at.since = step.at;
                failed_at = Some(step.at);
            }
            (What::Redriven, _) => {
                tell(Phase::End, "Step Functions went on where it had broken off.".to_owned(), None);
            }
            (What::Broken(failure), _) => {
                tell(Phase::End, format!("The execution ended: {}.", named(failure)), Some(failure));
                now = None;
            }
            (What::Ended, _) => {
                tell(Phase::Record, "The execution ended well.".to_owned(), None);
                now = None;
            }
            (What::Exited(_) | What::Scheduled | What::Succeeded | What::Failed(_), None) => {}
        }
    }
    (dated, now)
}

/// The Map over the returned files.
const FILES: &str = "VerifyReturned";
/// What it does with each, side by side: a task of its own.
const FILE: &str = "VerifyReturnedFile";

/// What became of the Map's files so far.
#[derive(Debug, Default)]
struct Files {
    checked: usize,
    retries: usize,
    /// Of each file that failed and was not accepted since, how often and how it failed last, by its task's entry.
    unsettled: BTreeMap<Option<i64>, (usize, Failure)>,
}

impl Files {
    /// In a Map that ends well, each failure was tried again.
    fn failed(&mut self, entry: Option<i64>, failure: &Failure, at: &mut Pending) {
        self.retries += 1;
        let times = self.unsettled.get(&entry).map_or(0, |(times, _)| *times);
        self.unsettled.insert(entry, (times + 1, failure.clone()));
        self.note(at);
    }

    fn succeeded(&mut self, entry: Option<i64>, at: &mut Pending) {
        self.checked += 1;
        self.unsettled.remove(&entry);
        self.note(at);
    }

    /// Tells of the file that was tried most often. Without entries nobody knows whose failures they are.
    fn note(&self, at: &mut Pending) {
        let worst = self.unsettled.iter().max_by_key(|(_, (times, _))| *times);
        at.failure = worst.map(|(_, (_, failure))| failure.clone());
        at.tries = worst.filter(|(entry, _)| entry.is_some()).map_or(0, |(_, (times, _))| times + 1);
    }

    /// One line for all of them, if all were accepted.
    fn text(&self) -> Option<String> {
        let retries = match self.retries {
            0 => String::new(),
            1 => ", with 1 retry".to_owned(),
            number => format!(", with {number} retries"),
        };
        self.unsettled
            .is_empty()
            .then(|| format!("{FILES}: {} checked{retries}.", count(self.checked, "file")))
    }
}

fn on_the_way(state: &str) -> Option<&'static str> {
    Some(match state {
        "TransferAgain" => "The third party gets the document again, as a new job.",
        GIVE_UP_WORKING => "The third party is still at work on it; it is given up.",
        GIVE_UP_WAITING => "No callback came, and the third party does not know its job; it is given up.",
        "JobFailed" => "The third party has given the job up.",
        _ => return None,
    })
}

fn done(state: &str, tries: usize, took: Duration) -> Option<String> {
    let took = duration(took);
    let text = match state {
        "TransferDocument" => format!("The third party took the document, in {took}."),
        "AwaitCallback" => format!("The callback came, after {took}."),
        "ProbeJob" => format!("The third party was asked how the job stands, in {took}."),
        "NormalizeDocument" => format!("The record was written, in {took}."),
        "AwaitTurn" => format!("Its turn was given, after {took}."),
        "BeginVerify" | "FailDocument" => return None,
        _ if tries > 1 => format!("{state}: done on try {tries}."),
        _ => return None,
    };
    Some(text)
}

fn gone_wrong(state: &str, tries: usize, failure: &Failure, took: Duration) -> String {
    let took = duration(took);
    match (state, failure.error.as_str()) {
        ("AwaitCallback", "DynamoDb.ConditionalCheckFailedException") => {
            "The result was there already: nothing had to be waited for.".to_owned()
        }
        ("AwaitCallback", "States.Timeout") => {
            format!("No callback within {took}; the third party is asked.")
        }
        _ => format!("{state}: try {tries} failed after {took}: {}.", named(failure)),
    }
}

fn named(failure: &Failure) -> String {
    match &failure.reason {
        Some(reason) => format!("{} ({reason})", failure.error),
        None => failure.error.clone(),
    }
}
