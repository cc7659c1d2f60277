//! The report of the stack's status.

use std::io::{self, Write};

use lectern::{
    document::{DocumentRef, submission::Submission},
    error::rfc3339,
};
use serde::Serialize;
use time::OffsetDateTime;

use super::trouble::{Alarm, Trouble};
use crate::{
    console::{Report, write_todo},
    dlq::queue::Depth,
    limiter::Limiter,
    stack::{DeadLetterQueue, Stack},
    text::{count, duration, time},
};

/// The maximum number of submissions with failed documents that are named.
const MAX_NAMED: usize = 5;
/// The maximum number of documents with an ended execution that are named.
const MAX_BROKEN_OFF: usize = 10;

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
    now: OffsetDateTime,
}

/// One queue with its dead-letter queue.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QueueRow {
    queue: String,
    waiting: u64,
    in_flight: u64,
    /// Includes messages that another command has received.
    dead_letters: u64,
}

impl QueueRow {
    pub(super) fn new(queue: &DeadLetterQueue, source: Depth, dead: Depth) -> Self {
        Self {
            queue: queue.name.clone(),
            waiting: source.visible,
            in_flight: source.hidden,
            dead_letters: dead.visible + dead.hidden,
        }
    }
}

/// The submissions of one state, and their documents.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Submissions {
    #[serde(rename = "submissions")]
    number: u64,
    /// Whether there are more submissions, which were not counted.
    pub(super) at_least: bool,
    open: u64,
    failed: u64,
    rejected: u64,
    /// The newest submissions with failed documents.
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

    fn text(&self, one: &str, more: &str) -> String {
        let at_least = if self.at_least { "at least " } else { "" };
        let number = count(usize::try_from(self.number).unwrap_or(usize::MAX), "submission");
        format!("{at_least}{number} {}", if self.number == 1 { one } else { more })
    }
}

impl StatusReport {
    pub(super) fn new(
        stack: &Stack,
        limiter: Limiter,
        queues: Vec<QueueRow>,
        [needs_attention, in_progress]: [Submissions; 2],
        trouble: Trouble,
        now: OffsetDateTime,
    ) -> Self {
        let Trouble { alarms, broken_off, unread } = &trouble;
        let mut todo = limiter.todo(stack.api_key.as_deref());
        todo.extend(alarms.iter().map(|one| format!("docs/operating.md, {}    the alarm is on", one.alarm)));
        todo.extend(unread.iter().cloned());
        if queues.iter().any(|queue| queue.dead_letters > 0) {
            todo.push("lectern dlq list    shows the dead-letter messages".to_owned());
        }
        todo.extend(broken_off.iter().take(MAX_BROKEN_OFF).map(|one| {
            let DocumentRef { submission_id, document_id } = &one.document;
            format!("lectern redrive {submission_id}/{document_id}    its execution {}", one.execution)
        }));
        if broken_off.len() > MAX_BROKEN_OFF {
            todo.push(format!("and {} more; --json shows all", broken_off.len() - MAX_BROKEN_OFF));
        }
        let failed = needs_attention.newest_failed.iter().chain(&in_progress.newest_failed);
        todo.extend(failed.take(MAX_NAMED).map(|id| format!("lectern explain {id}")));
        if needs_attention.failed + in_progress.failed > 0 {
            todo.push("lectern redrive --failed    shows what could be started again".to_owned());
        }
        let (stack, at) = (stack.name.clone(), rfc3339(now));
        Self { stack, at, limiter, queues, needs_attention, in_progress, trouble, todo, now }
    }
}

impl Report for StatusReport {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{} at {}", self.stack, self.at.replacen('T', " ", 1))?;
        writeln!(out)?;
        writeln!(out, "Limits  {}", self.limiter.breaker_text(self.now))?;
        writeln!(out, "        {}", self.limiter.numbers())?;
        writeln!(out)?;
        writeln!(out, "{:<20} {:>8} {:>9} {:>12}", "QUEUE", "WAITING", "IN FLIGHT", "DEAD LETTERS")?;
        for row in &self.queues {
            let QueueRow { queue, waiting, in_flight, dead_letters } = row;
            let mark = if *dead_letters > 0 { " !" } else { "" };
            writeln!(out, "{queue:<20} {waiting:>8} {in_flight:>9} {dead_letters:>12}{mark}")?;
        }
        writeln!(out)?;
        let Submissions { failed, rejected, .. } = &self.needs_attention;
        let number = self.needs_attention.text("needs attention", "need attention");
        writeln!(out, "{number}: {failed} failed and {rejected} rejected documents.")?;
        let Submissions { open, failed, .. } = &self.in_progress;
        let number = self.in_progress.text("is in progress", "are in progress");
        writeln!(out, "{number}: {open} open and {failed} failed documents.")?;
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
            writeln!(out, "{number} ended before the document did, so these documents do not continue.")?;
        }
        if alarms.is_empty() && broken_off.is_empty() && unread.is_empty() {
            writeln!(out, "No alarm is on, and no execution ended before its document.")?;
        }
        writeln!(out)?;
        write_todo(out, &self.todo)
    }
}
