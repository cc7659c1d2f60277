//! The reports about dead-letter queues.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use lectern::error::rfc3339;
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;

use super::{
    Seen,
    classify::{Class, Verdict},
    queue::{HIDDEN_S, Message},
    redact::redact,
    redrive::Settled,
};
use crate::{console::Report, stack::DeadLetterQueue, text::duration};

/// The maximum number of messages that a listing shows for a queue.
const MAX_SHOWN: usize = 20;

/// A listing, which is also the dry run of a redrive.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListReport {
    pub(super) dry_run: bool,
    pub(super) queues: Vec<QueueReport>,
    #[serde(skip)]
    pub(super) bodies: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QueueReport {
    queue: String,
    /// Messages that another command has received.
    hidden: u64,
    /// The number of further messages, as SQS estimates it.
    not_seen: u64,
    classes: BTreeMap<Class, usize>,
    oldest_age: Option<String>,
    messages: Vec<Row>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    id: String,
    class: Class,
    /// The class's reason, and the document.
    why: String,
    sent_at: Option<String>,
    received: u32,
    redrives: u32,
    /// The body without secrets; `None` if it is not JSON, which is never shown.
    body: Option<Value>,
}

impl QueueReport {
    pub(super) fn new(queue: &DeadLetterQueue, seen: &Seen, now: OffsetDateTime) -> Self {
        let mut classes = BTreeMap::new();
        for (_, verdict) in &seen.messages {
            *classes.entry(verdict.class).or_default() += 1;
        }
        let oldest = seen.messages.iter().filter_map(|(message, _)| message.sent).min();
        Self {
            queue: queue.name.clone(),
            hidden: seen.depth.hidden,
            not_seen: seen.depth.visible.saturating_sub(seen.messages.len() as u64),
            classes,
            oldest_age: oldest.map(|oldest| duration(now - oldest)),
            messages: seen.messages.iter().map(row).collect(),
        }
    }
}

fn row((message, Verdict { class, why, document, .. }): &(Message, Verdict)) -> Row {
    let explain =
        document.as_ref().map(|of| format!("lectern explain {}/{}", of.submission_id, of.document_id));
    let parts: Vec<String> = [Some(why.clone()), explain].into_iter().flatten().collect();
    Row {
        id: message.id.clone(),
        class: *class,
        why: parts.join("; ").trim_start_matches("; ").to_owned(),
        sent_at: message.sent.map(rfc3339),
        received: message.received,
        redrives: message.redrives,
        body: redact(&message.body),
    }
}

impl Report for ListReport {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{:<20} {:>8} {:>16}  CLASSES", "QUEUE", "MESSAGES", "OLDEST")?;
        for queue in &self.queues {
            let classes = queue.classes.iter().map(|(class, number)| format!("{number} {}", class.name()));
            let mut notes: Vec<String> = classes.collect();
            if queue.not_seen > 0 {
                notes.push(format!("about {} not seen", queue.not_seen));
            }
            if queue.hidden > 0 {
                notes.push(format!("{} hidden by another command", queue.hidden));
            }
            let messages = queue.messages.len() as u64 + queue.not_seen;
            let oldest = queue.oldest_age.as_deref().unwrap_or("-");
            let line = format!("{:<20} {messages:>8} {oldest:>16}  {}", queue.queue, notes.join(", "));
            writeln!(out, "{}", line.trim_end())?;
        }
        for queue in self.queues.iter().filter(|queue| !queue.messages.is_empty()) {
            writeln!(out)?;
            writeln!(out, "{}", queue.queue)?;
            for row in queue.messages.iter().take(MAX_SHOWN) {
                let id: String = row.id.chars().take(8).collect();
                writeln!(out, "  {id:<8}  {:<10}  {}", row.class.name(), row.why)?;
                match &row.body {
                    Some(body) if self.bodies => writeln!(out, "{body:#}")?,
                    None if self.bodies => writeln!(out, "The body is not JSON, so it is not shown.")?,
                    Some(_) | None => {}
                }
            }
            if queue.messages.len() > MAX_SHOWN {
                writeln!(out, "  … and {} more; --json shows all", queue.messages.len() - MAX_SHOWN)?;
            }
        }
        writeln!(out)?;
        if self.queues.iter().all(|queue| queue.messages.is_empty() && queue.not_seen == 0) {
            return writeln!(out, "There are no visible dead-letter messages.");
        }
        if !self.dry_run {
            return writeln!(out, "Next: lectern dlq redrive --all");
        }
        writeln!(
            out,
            "Nothing was changed. With --yes, readable messages are sent back; unreadable ones, and those that"
        )?;
        writeln!(out, "came back twice are moved to quarantine/dead-letters/; newer ones stay.")
    }
}

#[derive(Debug, Serialize)]
pub(super) struct RedriveReport {
    pub(super) queues: Vec<Outcome>,
}

/// The outcome of a redrive for one queue.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Outcome {
    queue: String,
    pub(super) sent: usize,
    /// The keys of the quarantined messages in the returned bucket.
    pub(super) quarantined: Vec<String>,
    /// The number of messages that stay in the queue, by reason.
    pub(super) kept: BTreeMap<String, usize>,
    /// The number of messages that a FIFO queue hides, as SQS estimates it.
    pub(super) not_seen: u64,
    /// Why the run stopped early.
    pub(super) stopped: Option<String>,
}

impl Outcome {
    pub(super) fn new(queue: &DeadLetterQueue) -> Self {
        Self { queue: queue.name.clone(), ..Self::default() }
    }

    pub(super) fn add(&mut self, settled: Settled) {
        match settled {
            Settled::Sent => self.sent += 1,
            Settled::Quarantined(key) => self.quarantined.push(key),
            Settled::Kept(why) => *self.kept.entry(why).or_default() += 1,
        }
    }

    pub(super) fn has_changed_anything(&self) -> bool {
        self.sent + self.quarantined.len() > 0
    }

    pub(super) fn needs_attention(&self) -> bool {
        self.stopped.is_some() || !self.kept.is_empty() || self.not_seen > 0
    }
}

impl Report for RedriveReport {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        for queue in &self.queues {
            let is_empty = !queue.has_changed_anything() && !queue.needs_attention();
            writeln!(out, "{}:{}", queue.queue, if is_empty { " empty." } else { "" })?;
            let mut line = |number: usize, what: &str| match number {
                0 => Ok(()),
                number => writeln!(out, "  {number:>5}  {what}"),
            };
            line(queue.sent, "sent back")?;
            line(queue.quarantined.len(), "quarantined")?;
            for (why, number) in &queue.kept {
                line(*number, &format!("left: {why}"))?;
            }
            for key in queue.quarantined.iter().take(10) {
                writeln!(out, "         {key}")?;
            }
            if queue.not_seen > 0 {
                writeln!(
                    out,
                    "  About {} more: the FIFO queue hides messages behind a message that stays, and behind",
                    queue.not_seen
                )?;
                writeln!(
                    out,
                    "  messages that another command received less than {} minutes ago.",
                    HIDDEN_S / 60
                )?;
            }
            if let Some(stopped) = &queue.stopped {
                writeln!(out, "  Stopped: {stopped}")?;
            }
        }
        if self.queues.iter().any(|queue| queue.sent > 0) {
            writeln!(out)?;
            writeln!(out, "If a message fails again, `lectern dlq list` shows it later.")?;
        }
        Ok(())
    }
}
