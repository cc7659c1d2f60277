//! What a redrive did, or would do.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use serde::Serialize;

use super::{judged::Judged, letters::HIDDEN_S, report::unseen};
use crate::{console::Report, stack::DeadLetters, text::count};

/// All queues that were asked for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RedriveReport {
    pub(super) dry_run: bool,
    #[serde(skip)]
    pub(super) watched_s: u64,
    pub(super) queues: Vec<Outcome>,
}

/// One queue.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Outcome {
    queue: String,
    #[serde(skip)]
    is_fifo: bool,
    /// By SQS's own move.
    pub(super) native: bool,
    pub(super) sent: usize,
    pub(super) duplicates: usize,
    /// Deleted, because nobody waits for them.
    pub(super) dropped: usize,
    /// The objects in the returned bucket.
    pub(super) quarantined: Vec<String>,
    /// Left where they are, by reason.
    pub(super) kept: BTreeMap<String, usize>,
    /// The ids of those.
    kept_messages: Vec<String>,
    pub(super) not_deleted: usize,
    /// How many more lie there, as SQS guesses.
    pub(super) not_seen: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stopped: Option<Stop>,
}

/// Why a run ended before its queue was empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "because", rename_all = "camelCase")]
pub(super) enum Stop {
    /// Messages were dead again just after they had been sent.
    StraightBack {
        /// How many were seen.
        messages: usize,
    },
    /// Nobody knows yet what becomes of the first message, so no other was sent.
    #[serde(rename_all = "camelCase")]
    StillTried {
        /// For so long it was waited for.
        waited_s: u64,
    },
    /// The queue keeps an order, and what stays at its head hides what is behind it.
    Order {
        /// What stays; nothing if another command is at work on the head.
        kept: Vec<String>,
        /// How many are behind it, as SQS guesses.
        untouched: u64,
    },
    /// A call failed for good.
    Failed {
        /// What failed.
        what: String,
        /// What to do.
        todo: String,
    },
}

impl Outcome {
    pub(super) fn new(queue: &DeadLetters) -> Self {
        Self {
            queue: queue.name.clone(),
            is_fifo: DeadLetters::is_fifo(&queue.url),
            native: false,
            sent: 0,
            duplicates: 0,
            dropped: 0,
            quarantined: Vec::new(),
            kept: BTreeMap::new(),
            kept_messages: Vec::new(),
            not_deleted: 0,
            not_seen: 0,
            stopped: None,
        }
    }

    pub(super) fn keep(&mut self, judged: &Judged) {
        *self.kept.entry(judged.verdict.why.clone()).or_default() += 1;
        self.kept_messages.push(judged.letter.id.clone());
    }

    /// It stops at what was kept, if that is at the head of a FIFO queue; or at what others are at work on. A dry run
    /// lets go of the head again and sees no more of the queue than that.
    pub(super) fn is_in_order(&mut self) {
        if !self.kept_messages.is_empty() || !self.has_changed_anything() {
            self.stopped = Some(Stop::Order { kept: self.kept_messages.clone(), untouched: self.not_seen });
        }
    }

    pub(super) fn has_changed_anything(&self) -> bool {
        self.sent + self.duplicates + self.dropped + self.quarantined.len() > 0
    }

    pub(super) fn needs_attention(&self) -> bool {
        self.stopped.is_some() || !self.kept.is_empty() || self.not_deleted > 0
    }
}

impl Report for RedriveReport {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let would = if self.dry_run { "would be " } else { "" };
        for queue in &self.queues {
            let nothing = queue.not_seen == 0 && !queue.has_changed_anything() && !queue.needs_attention();
            if nothing {
                writeln!(out, "{}: empty.", queue.queue)?;
                continue;
            }
            writeln!(out, "{}:", queue.queue)?;
            let by_sqs = if queue.native { ", by SQS's own move" } else { "" };
            let lines = [
                (queue.sent, format!("{would}sent back{by_sqs}")),
                (queue.duplicates, format!("{would}deleted: another one asks for the same")),
                (queue.dropped, format!("{would}deleted: nobody waits for them any more")),
                (queue.quarantined.len(), format!("{would}quarantined")),
                (
                    queue.not_deleted,
                    "not deleted; at worst they are sent once more, which does no harm".to_owned(),
                ),
            ];
            for (number, what) in lines.iter().filter(|(number, _)| *number > 0) {
                writeln!(out, "  {number:>5}  {what}")?;
            }
            for (why, number) in &queue.kept {
                writeln!(out, "  {number:>5}  {would}left: {why}")?;
            }
            for key in queue.quarantined.iter().take(10) {
                writeln!(out, "         {key}")?;
            }
            let stopped = if self.dry_run { "It would stop" } else { "Stopped" };
            match &queue.stopped {
                None if queue.not_seen > 0 => writeln!(out, "  {}.", unseen(queue.is_fifo, queue.not_seen))?,
                None => {}
                Some(Stop::Order { kept, untouched }) if kept.is_empty() => {
                    let untouched = count(usize::try_from(*untouched).unwrap_or(usize::MAX), "message");
                    writeln!(
                        out,
                        "  {stopped}: about {untouched} cannot be seen while another command is at work on the first"
                    )?;
                    writeln!(
                        out,
                        "  ones, or was killed at it. Run this again in {} minutes.",
                        HIDDEN_S / 60
                    )?;
                }
                Some(Stop::Order { kept, untouched }) => {
                    let untouched = count(usize::try_from(*untouched).unwrap_or(usize::MAX), "message");
                    writeln!(
                        out,
                        "  {stopped}: the queue keeps its order, and about {untouched} behind these are untouched:"
                    )?;
                    kept.iter().try_for_each(|id| writeln!(out, "         {id}"))?;
                    writeln!(
                        out,
                        "  See them with lectern dlq show {} <id>, do what is said above, then run this again.",
                        queue.queue
                    )?;
                }
                Some(Stop::StraightBack { messages }) => {
                    let messages = count(*messages, "message");
                    writeln!(
                        out,
                        "  Stopped: {messages} came straight back. What is sent would only die again:"
                    )?;
                    writeln!(
                        out,
                        "  mend the cause (lectern dlq show {} …), then run this again.",
                        queue.queue
                    )?;
                }
                Some(Stop::StillTried { waited_s }) => {
                    writeln!(
                        out,
                        "  Stopped: the first message is still being tried after {waited_s} s. The others were not sent and are"
                    )?;
                    writeln!(
                        out,
                        "  still in the dead-letter queue. Look at the function's log, and run this again when it is done;"
                    )?;
                    writeln!(out, "  --watch waits longer.")?;
                }
                Some(Stop::Failed { what, todo }) => writeln!(out, "  Stopped: {what}. {todo}")?,
            }
        }
        if self.dry_run {
            writeln!(out)?;
            return writeln!(out, "Nothing was changed. Do it with --yes.");
        }
        let sent: usize = self.queues.iter().map(|queue| queue.sent).sum();
        let stopped = self.queues.iter().any(|queue| queue.stopped.is_some());
        if sent > 0 && !stopped {
            let watched = self.watched_s;
            writeln!(out)?;
            writeln!(
                out,
                "It was watched for {watched} s at most: `lectern dlq list` tells what is dead later."
            )?;
        }
        Ok(())
    }
}
