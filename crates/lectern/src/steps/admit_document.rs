//! `admit-document`: says who may hand a document over to the third party, and when.
//!
//! Fed by a FIFO queue of one message group, so that its decisions are made one after the other; the write is
//! conditional all the same. It decides on a whole batch in one write and then answers the task tokens of those whose
//! turn it is. What it does not grant waits in the store, and is granted when somebody gives a place back: nobody asks
//! twice, and nothing looks for work.
//!
//! Failure policy: if the store or Step Functions does not answer, the batch stays on its queue and blocks those behind
//! it until it comes again; the turns of the last write are then told again. An order that is lost costs a delay and
//! nothing else: leases expire, and the state that waits asks again after its timeout.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tracing::Instrument as _;

use crate::{
    admission::{Gate, Limits, Report, Standing, Ticket, Turn, Waiter, micros, time_of},
    document::{Attempt, DocumentRef, TaskToken},
    error::{Error, rfc3339},
    ports::{Clock, Tasks, TokenUse, Turns},
    telemetry::metrics,
    telemetry::trace::{self, TraceParent},
};

/// An order of the state machine: `{"schemaVersion": 2, "submissionId", "documentId", "traceparent"?, "kind", …}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// See [`crate::message::SCHEMA_VERSION`].
    pub schema_version: u64,
    /// The document.
    #[serde(flatten)]
    pub document: DocumentRef,
    /// The document's trace, absent for a document of before there were any.
    #[serde(default, deserialize_with = "trace::optional", skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<TraceParent>,
    /// What is to be done.
    #[serde(flatten)]
    pub order: Order,
}

/// What is to be done, named by `kind`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Order {
    /// The document wants a turn. Asking again keeps its place in the line.
    Ask {
        /// Whom to tell: `{"attempt", "at", "until", "report"}`.
        task_token: TaskToken,
        /// The newest attempt of a job that is given up for a new one; the document has none if it is absent.
        #[serde(default)]
        leaves: Attempt,
        /// The newest attempt of a job that the third party does not know: its place is given back.
        #[serde(default)]
        gone: Attempt,
    },
    /// A transfer is over.
    Report {
        /// Which one.
        attempt: Attempt,
        /// The error's name, empty if the third party has the document.
        error: String,
        /// The error's cause, as [`Error::cause`] gives it.
        #[serde(default)]
        cause: String,
    },
    /// The document may still be at the third party: its place is kept for as long again.
    Renew {
        /// Its newest attempt and, below, how often this was asked before, so that the queue takes no two orders for one.
        attempt: Attempt,
        /// How often.
        count: u32,
    },
    /// The document needs its place no longer.
    Release {
        /// Its newest attempt: the place of a newer one stays.
        attempt: Attempt,
    },
}

/// Orders that are decided at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// In the order of the queue.
    pub inputs: Vec<Input>,
    /// Whether one of them was delivered before: then whoever had it may have died before it told the turns.
    pub again: bool,
}

/// What is written beside the gate, by ticket and by document; `None` removes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Who waits behind a ticket.
    pub waiters: BTreeMap<Ticket, Option<Waiter>>,
    /// Which ticket a document has.
    pub places: BTreeMap<DocumentRef, Option<Ticket>>,
}

/// Tickets that one write looks at, beyond those of its batch.
const MAX_GRANTS: usize = 35;
/// What one transaction takes beside the gate: a hundred writes in all.
const MAX_CHANGES: usize = 99;
/// What a ticket that is looked at may change: itself, its document's place, and the ticket it gets instead.
const CHANGES_BY_TICKET: usize = 3;
/// Writes for one batch: as many as let in the whole of a large crowd.
const MAX_WRITES: usize = 8;

/// Decides on a batch, then on whoever else may be let in, in one write after the other.
///
/// # Errors
/// `Store.Unavailable`: the batch stays on its queue.
pub async fn handle(
    store: &impl Turns,
    tasks: &impl Tasks,
    clock: &impl Clock,
    limits: &Limits,
    batch: Batch,
) -> Result<Standing, Error> {
    let mut decided = decide(store, tasks, clock, limits, batch).await?;
    for _ in 1..MAX_WRITES {
        if !decided.more {
            break;
        }
        decided = decide(store, tasks, clock, limits, Batch { inputs: Vec::new(), again: false }).await?;
    }
    Ok(decided.standing)
}

/// What one write came to.
struct Decided {
    standing: Standing,
    /// Whether it let in as many as a write can, so that there may be more.
    more: bool,
}

async fn decide(
    store: &impl Turns,
    tasks: &impl Tasks,
    clock: &impl Clock,
    limits: &Limits,
    batch: Batch,
) -> Result<Decided, Error> {
    let (mut gate, revision) = store.gate().await?;
    let now = clock.now();
    let mut told = BTreeSet::new();
    if batch.again {
        try_join_all(gate.granted().iter().map(|turn| tell(tasks, turn, now))).await?;
        told.extend(gate.granted().iter().map(|turn| turn.waiter.task_token.expose().to_owned()));
    }
    gate.begin();
    gate.pass(now);
    let (changes, new, placed) = (Changes::default(), BTreeSet::new(), BTreeSet::new());
    let mut desk = Desk { store, gate, limits, now, changes, new, placed };
    for Input { document, traceparent, order, .. } in batch.inputs {
        match order {
            Order::Ask { task_token, .. } if told.contains(task_token.expose()) => {}
            Order::Ask { task_token, leaves, gone } => {
                desk.gate.leave_behind(document.document_id, leaves);
                desk.gate.release(document.document_id, gone);
                desk.ask(Waiter { document, traceparent, task_token, asked_us: micros(now) }).await?;
            }
            Order::Report { attempt, error, cause } => {
                desk.gate.report(document.document_id, attempt, report(&error, &cause), now);
            }
            Order::Renew { attempt, .. } => desk.gate.renew(document.document_id, attempt, limits, now),
            Order::Release { attempt } => desk.release(&document, attempt),
        }
    }
    // Once more, since a trial whose place was just given back is over.
    desk.gate.pass(now);
    let more = desk.admit(tasks).await?;
    let Desk { mut gate, changes, .. } = desk;
    gate.note_line(now);
    store.commit(&gate, revision, changes).await?;
    try_join_all(gate.granted().iter().map(|turn| tell(tasks, turn, now))).await?;
    let standing = gate.standing();
    metrics::limiter(&metrics::Limiter {
        granted_after: gate.granted().iter().map(wait).collect(),
        turns_waiting: standing.waiting,
        leases_held: standing.leases as u64,
        breaker_open: standing.breaker_open,
        rate_slowdown: standing.slowdown.into(),
        line_stands: gate.stands(now),
    });
    Ok(Decided { standing, more })
}

/// A batch under way.
struct Desk<'a, S> {
    store: &'a S,
    gate: Gate,
    limits: &'a Limits,
    now: OffsetDateTime,
    changes: Changes,
    /// Tickets that are of this batch and not stored.
    new: BTreeSet<Ticket>,
    /// Documents whose place is stored.
    placed: BTreeSet<DocumentRef>,
}

impl<S: Turns> Desk<'_, S> {
    async fn ask(&mut self, waiter: Waiter) -> Result<(), Error> {
        let document = &waiter.document;
        let known = if let Some(place) = self.changes.places.get(document) {
            place.clone()
        } else {
            let stored = self.store.place(document).await?;
            self.placed.extend(stored.is_some().then(|| document.clone()));
            stored
        };
        if let Some(ticket) = known
            && let Some(earlier) = self.waiter(&ticket).await?
        {
            let waiter = Waiter { asked_us: earlier.asked_us, ..waiter };
            self.changes.waiters.insert(ticket, Some(waiter));
            return Ok(());
        }
        self.line_up(waiter);
        Ok(())
    }

    /// Whoever needs no place does not wait for one either. Of what was asked before this batch `is_awaited` tells.
    fn release(&mut self, document: &DocumentRef, attempt: Attempt) {
        self.gate.release(document.document_id, attempt);
        if let Some(Some(ticket)) = self.changes.places.get(document).cloned() {
            self.forget(ticket, document);
        }
    }

    fn line_up(&mut self, waiter: Waiter) {
        let ticket = self.gate.line_up(&waiter.document);
        self.new.insert(ticket.clone());
        self.changes.places.insert(waiter.document.clone(), Some(ticket.clone()));
        self.changes.waiters.insert(ticket, Some(waiter));
    }

    /// Lets in whoever may be let in, as far as one write can hold it; whether there may be more.
    async fn admit(&mut self, tasks: &impl Tasks) -> Result<bool, Error> {
        for _ in 0..MAX_GRANTS {
            let Some(ticket) = self.gate.next(self.limits) else { return Ok(false) };
            let changed = self.changes.waiters.len() + self.changes.places.len();
            if changed + CHANGES_BY_TICKET > MAX_CHANGES {
                return Ok(true);
            }
            let waiter = self.waiter(&ticket).await?;
            self.gate.pass_by(&ticket);
            let Some(waiter) = waiter else { continue };
            let may_have = self.gate.may_have(&ticket, waiter.document.document_id);
            self.forget(ticket, &waiter.document);
            // It may have been stopped, or its order may be of long ago: nobody would give its place back.
            if tasks.is_awaited(&waiter.task_token).await? == TokenUse::NotAwaited {
                continue;
            }
            if may_have {
                self.gate.grant(waiter, self.limits, self.now);
            } else {
                self.line_up(waiter);
            }
        }
        Ok(true)
    }

    async fn waiter(&self, ticket: &Ticket) -> Result<Option<Waiter>, Error> {
        match self.changes.waiters.get(ticket) {
            Some(waiter) => Ok(waiter.clone()),
            None => self.store.waiter(ticket).await,
        }
    }

    fn forget(&mut self, ticket: Ticket, document: &DocumentRef) {
        if self.new.remove(&ticket) {
            self.changes.waiters.remove(&ticket);
        } else {
            self.changes.waiters.insert(ticket, None);
            self.placed.insert(document.clone());
        }
        if self.placed.contains(document) {
            self.changes.places.insert(document.clone(), None);
        } else {
            self.changes.places.remove(document);
        }
    }
}

async fn tell(tasks: &impl Tasks, turn: &Turn, now: OffsetDateTime) -> Result<(), Error> {
    let Turn { waiter, attempt, at_us, until_us, report } = turn;
    let output = json!({
        "attempt": attempt,
        "at": rfc3339(time_of(if *at_us <= micros(now) { *at_us } else { whole_second(*at_us) })),
        "until": rfc3339(time_of(*until_us)),
        "report": report,
    });
    let span = tracing::info_span!(
        "turn",
        submissionId = %waiter.document.submission_id,
        documentId = %waiter.document.document_id,
        traceId = waiter.traceparent.map(TraceParent::trace_id),
        attempt = attempt.0
    );
    async {
        tasks.succeed(&waiter.task_token, output).await?;
        tracing::info!(waitedSeconds = wait(turn).as_seconds_f64(), "The document has its turn.");
        Ok(())
    }
    .instrument(span)
    .await
}

/// From the asking to the slot.
fn wait(turn: &Turn) -> time::Duration {
    time::Duration::microseconds(turn.at_us - turn.waiter.asked_us)
}

/// Step Functions promises no more than whole seconds for its waits, and nobody may go before a slot that lies ahead.
fn whole_second(at_us: i64) -> i64 {
    const SECOND_US: i64 = 1_000_000;
    (at_us + SECOND_US - 1).div_euclid(SECOND_US) * SECOND_US
}

fn report(error: &str, cause: &str) -> Report {
    match error {
        "" => Report::Accepted,
        "ThirdParty.RateLimited" => Report::RateLimited(retry_at(cause)),
        "ThirdParty.Unavailable" => Report::Unavailable { job_possible: job_possible(cause) },
        "ThirdParty.Unauthorized" => Report::Unauthorized,
        "Turn.Over" if job_possible(cause) => Report::Used,
        _ => Report::Unused,
    }
}

/// In doubt there may be one.
fn job_possible(cause: &str) -> bool {
    let cause: Option<Value> = serde_json::from_str(cause).ok();
    cause.is_none_or(|cause| cause.get("jobPossible") != Some(&Value::Bool(false)))
}

fn retry_at(cause: &str) -> Option<OffsetDateTime> {
    let cause: Value = serde_json::from_str(cause).ok()?;
    OffsetDateTime::parse(cause.get("retryAt")?.as_str()?, &Rfc3339).ok()
}

#[cfg(test)]
mod tests;
