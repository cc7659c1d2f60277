//! The stack's standing as people read it.

use std::io::{self, Write};

use lectern::{document::DocumentRef, document::submission::Submission, error::rfc3339};
use serde::Serialize;
use time::OffsetDateTime;

use super::trouble::{Alarm, Trouble};
use crate::{
    console::Report,
    dlq::letters::Depth,
    limiter::Limiter,
    stack::DeadLetters,
    text::{count, duration, time},
};

/// So many submissions are named.
const MAX_NAMED: usize = 5;
/// So many documents are named whose executions broke off.
const MAX_BROKEN_OFF: usize = 10;

/// All of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusReport {
    stack: String,
    at: String,
    limiter: Limiter,
    queues: Vec<QueueRow>,
    needs_attention: Submissions,
    in_progress: Submissions,
    #[serde(flatten)]
    trouble: Trouble,
    #[serde(rename = "do")]
    todo: Vec<String>,
    #[serde(skip)]
    breaker: String,
    #[serde(skip)]
    now: OffsetDateTime,
}

/// One queue with its dead letters.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QueueRow {
    queue: String,
    /// None for functions that are invoked without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_work: Option<u64>,
    /// Those that another command is at work on included.
    dead: u64,
}

impl QueueRow {
    pub(super) fn new(queue: &DeadLetters, source: Option<Depth>, dead: Depth) -> Self {
        Self {
            queue: queue.name.clone(),
            waiting: source.map(|depth| depth.visible),
            at_work: source.map(|depth| depth.hidden),
            dead: dead.visible + dead.hidden,
        }
    }
}

/// Submissions of one state, and their documents.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Submissions {
    #[serde(rename = "submissions")]
    number: u64,
    /// There are more, which were not counted.
    pub(super) at_least: bool,
    open: u64,
    failed: u64,
    rejected: u64,
    /// The newest with failed documents.
    newest_failed: Vec<String>,
}

impl Submissions {
    pub(super) fn add(&mut self, submission: &Submission) {
        self.number += 1;
        self.open += submission.counts.open;
        self.failed += submission.counts.failed;
        self.rejected += submission.counts.rejected;
        if submission.counts.failed > 0 && self.newest_failed.len() < MAX_NAMED {
            self.newest_failed.push(submission.submission_id.to_string());
        }
    }

    fn told(&self, state: &str) -> String {
        let at_least = if self.at_least { "at least " } else { "" };
        let plural = if self.number == 1 { "" } else { "s" };
        format!("{at_least}{} submission{plural} {state}", self.number)
    }
}

impl StatusReport {
    pub(super) fn new(
        stack: String,
        limiter: Limiter,
        queues: Vec<QueueRow>,
        [needs_attention, in_progress]: [Submissions; 2],
        trouble: Trouble,
        mut todo: Vec<String>,
        now: OffsetDateTime,
    ) -> Self {
        let Trouble { alarms, broken_off, unread } = &trouble;
        todo.extend(alarms.iter().map(|one| format!("docs/operating.md, {}    the alarm is on", one.alarm)));
        todo.extend(unread.iter().cloned());
        if queues.iter().any(|queue| queue.dead > 0) {
            todo.push("lectern dlq list    what is dead, and why".to_owned());
        }
        todo.extend(broken_off.iter().take(MAX_BROKEN_OFF).map(|one| {
            let DocumentRef { submission_id, document_id } = &one.document;
            format!("lectern redrive {submission_id}/{document_id}    its execution {}", one.execution)
        }));
        if broken_off.len() > MAX_BROKEN_OFF {
            todo.push(format!("and {} more, which --json names", broken_off.len() - MAX_BROKEN_OFF));
        }
        let failed = needs_attention.newest_failed.iter().chain(&in_progress.newest_failed);
        todo.extend(failed.take(MAX_NAMED).map(|id| format!("lectern explain {id}")));
        if needs_attention.failed + in_progress.failed > 0 {
            todo.push("lectern redrive --failed    what could be started again".to_owned());
        }
        let breaker = limiter.breaker_text(now);
        Self {
            stack,
            at: rfc3339(now),
            limiter,
            queues,
            needs_attention,
            in_progress,
            trouble,
            todo,
            breaker,
            now,
        }
    }
}

impl Report for StatusReport {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{} at {}", self.stack, self.at.replacen('T', " ", 1))?;
        writeln!(out)?;
        writeln!(out, "Limits  {}", self.breaker)?;
        writeln!(out, "        {}", self.limiter.numbers())?;
        writeln!(out)?;
        writeln!(out, "{:<20} {:>8} {:>8} {:>8}", "QUEUE", "WAITING", "AT WORK", "DEAD")?;
        for row in &self.queues {
            let number =
                |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |found| found.to_string());
            let (waiting, at_work) = (number(row.waiting), number(row.at_work));
            let mark = if row.dead > 0 { " !" } else { "" };
            writeln!(out, "{:<20} {waiting:>8} {at_work:>8} {:>8}{mark}", row.queue, row.dead)?;
        }
        writeln!(out)?;
        let Submissions { failed, rejected, .. } = &self.needs_attention;
        let number = self.needs_attention.told("to be looked at");
        writeln!(out, "{number}: {failed} failed and {rejected} rejected documents in them.")?;
        let Submissions { open, failed, .. } = &self.in_progress;
        writeln!(
            out,
            "{}: {open} open and {failed} failed documents.",
            self.in_progress.told("in progress")
        )?;
        let Trouble { alarms, broken_off, unread } = &self.trouble;
        let on = |alarm: &Alarm| match alarm.since.as_deref().and_then(time) {
            Some(since) => format!("{} for {}", alarm.alarm, duration(self.now - since)),
            None => alarm.alarm.clone(),
        };
        if !alarms.is_empty() {
            let all: Vec<String> = alarms.iter().map(on).collect();
            writeln!(out, "{} on: {}.", count(alarms.len(), "alarm"), all.join(", "))?;
        }
        if !broken_off.is_empty() {
            let number = count(broken_off.len(), "execution");
            writeln!(out, "{number} broke off, and nothing moves what they were to move.")?;
        }
        if alarms.is_empty() && broken_off.is_empty() && unread.is_empty() {
            writeln!(out, "No alarm is on, and no execution broke off.")?;
        }
        writeln!(out)?;
        match self.todo.split_first() {
            None => writeln!(out, "Do     Nothing."),
            Some((first, rest)) => {
                writeln!(out, "Do     {first}")?;
                rest.iter().try_for_each(|line| writeln!(out, "       {line}"))
            }
        }
    }
}
