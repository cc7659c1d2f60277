//! `admit-document`: decides which document may be handed to the third party, and when ([`crate::admission`]).
//!
//! Fed by a FIFO queue of one message group, so that decisions are made one after the other; the write is conditional
//! all the same. One write decides on a whole batch, then the task tokens of the granted permits are answered. Documents
//! without a permit wait in the table and get one when a lease is released, so nothing looks for work.
//!
//! If `DynamoDB` or Step Functions does not answer, the batch stays on its queue and blocks the messages behind it until it
//! is delivered again; the permits of the last write are then answered again. A request that is delivered twice is
//! enqueued twice; its second position is skipped, because its task token is answered by then. A document that waits
//! repeats its request every hour and keeps its position, so that leases that end by themselves are noticed.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tracing::Instrument as _;

use crate::{
    admission::{AdmissionState, LimiterSnapshot, Limits, Permit, QueuePosition, Report, WaitingDocument},
    document::{DocumentRef, TaskToken},
    error::{Error, rfc3339},
    message::Envelope,
    ports::{AdmissionStore, Clock, Tasks, TokenUse},
    telemetry::{metrics, trace::TraceParent},
};

/// The message: the [`Envelope`] with an [`Order`]. Its attempt is the one that the order is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// What every message carries.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// The order.
    #[serde(flatten)]
    pub order: Order,
}

/// An order, named by `kind`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Order {
    /// The document requests a permit.
    Request {
        /// Answered with `{"attempt", "startsAt", "expiresAt", "leaseEndsAt", "reportSuccess", "halfOpenProbe"}`.
        task_token: TaskToken,
        /// How many attempts of this execution have failed.
        failed_transfers: u32,
        /// How often this execution repeated a request: then the document may have a position already.
        repeats: u32,
    },
    /// An attempt is over.
    Report {
        /// The error's name; empty if the third party has the document.
        error: String,
        /// The error's cause, as [`Error::cause`] gives it.
        #[serde(default)]
        cause: String,
    },
    /// The attempt's job is at work: its lease starts anew.
    Renew {
        /// How often the lease was renewed, so that SQS does not take two orders for one.
        count: u32,
    },
    /// The third party has no job of this attempt any more.
    Release,
}

/// Orders that are decided at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// In the order of the queue.
    pub inputs: Vec<Input>,
    /// Whether one of them was delivered before: its earlier reader may have died before it answered task tokens.
    pub again: bool,
}

/// The ports and settings of the step.
#[derive(Debug)]
pub struct Ports<'p, S, T, C> {
    /// The admission state and the queues.
    pub store: &'p S,
    /// The task tokens of the state machine.
    pub tasks: &'p T,
    /// The time.
    pub clock: &'p C,
    /// The third party's limits.
    pub limits: &'p Limits,
}

/// What is written beside the admission state; `None` removes an item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueChanges {
    /// The document that waits at a position.
    pub waiting: BTreeMap<QueuePosition, Option<WaitingDocument>>,
    /// The position of a document.
    pub positions: BTreeMap<DocumentRef, Option<QueuePosition>>,
}

/// What one transaction takes beside the admission state: a hundred writes in all.
pub(crate) const MAX_CHANGES: usize = 99;
/// Positions that one write looks at.
const MAX_LOOKED_AT: usize = 35;
/// Writes for one batch: enough to admit a large crowd.
const MAX_WRITES: usize = 8;

impl<S: AdmissionStore, T: Tasks, C: Clock> Ports<'_, S, T, C> {
    /// Decides on a batch, then on all other documents that may be admitted now.
    ///
    /// # Errors
    /// `Store.Unavailable`: the batch stays on its queue.
    pub async fn handle(&self, batch: Batch) -> Result<LimiterSnapshot, Error> {
        let mut decision = self.decide(batch).await?;
        for _ in 1..MAX_WRITES {
            if !decision.is_full {
                break;
            }
            decision = self.decide(Batch { inputs: Vec::new(), again: false }).await?;
        }
        Ok(decision.snapshot)
    }

    async fn decide(&self, batch: Batch) -> Result<Decision, Error> {
        let Self { store, tasks, clock, limits } = *self;
        let (mut state, revision) = store.admission_state().await?;
        let now = clock.now();
        let mut notified = BTreeSet::new();
        if batch.again {
            try_join_all(state.granted().iter().map(|permit| notify(tasks, permit, now))).await?;
            notified
                .extend(state.granted().iter().map(|permit| permit.waiting.task_token.expose().to_owned()));
        }
        state.clear_granted();
        state.advance_to(now);
        let (changes, new) = (QueueChanges::default(), BTreeSet::new());
        let mut admission = AdmissionBatch { store, state, limits, now, changes, new };
        for input in batch.inputs {
            let is_answered = |token: &TaskToken| notified.contains(token.expose());
            if !matches!(&input.order, Order::Request { task_token, .. } if is_answered(task_token)) {
                admission.take(input).await?;
            }
        }
        // Once more, since a half-open probe ends with its lease.
        admission.state.advance_to(now);
        let is_full = admission.admit(tasks).await?;
        let AdmissionBatch { mut state, changes, .. } = admission;
        state.note_progress(now);
        store.commit(&state, revision, changes).await?;
        try_join_all(state.granted().iter().map(|permit| notify(tasks, permit, now))).await?;
        let snapshot = state.snapshot();
        metrics::limiter(&metrics::Limiter {
            granted_after: state.granted().iter().map(wait).collect(),
            documents_waiting: snapshot.waiting,
            leases_held: snapshot.leases as u64,
            breaker_open: snapshot.breaker_open,
            rate_slowdown: snapshot.slowdown.into(),
            stalled: state.stalled_for(now),
        });
        Ok(Decision { snapshot, is_full })
    }
}

struct Decision {
    snapshot: LimiterSnapshot,
    /// Whether the write took as much as it can, so that further documents may be admitted by another one.
    is_full: bool,
}

/// A batch under way.
struct AdmissionBatch<'a, S> {
    store: &'a S,
    state: AdmissionState,
    limits: &'a Limits,
    now: OffsetDateTime,
    changes: QueueChanges,
    /// Positions of this batch, which are not stored.
    new: BTreeSet<QueuePosition>,
}

impl<S: AdmissionStore> AdmissionBatch<'_, S> {
    async fn take(&mut self, Input { envelope, order }: Input) -> Result<(), Error> {
        let Envelope { document, attempt, traceparent, .. } = envelope;
        match order {
            Order::Request { task_token, failed_transfers, repeats } => {
                let enqueued_at = self.now.into();
                let waiting =
                    WaitingDocument { document, traceparent, task_token, failed_transfers, enqueued_at };
                if repeats == 0 || !self.repeat(&waiting).await? {
                    self.enqueue(waiting);
                }
            }
            Order::Report { error, cause } => {
                self.state.report(attempt, report(&error, &cause), self.now);
            }
            Order::Renew { .. } => self.state.renew(attempt, self.limits, self.now),
            Order::Release => self.state.release(attempt),
        }
        Ok(())
    }

    /// Replaces the task token of a document that waits; `false` if it has no position any more.
    async fn repeat(&mut self, waiting: &WaitingDocument) -> Result<bool, Error> {
        let position = match self.changes.positions.get(&waiting.document) {
            Some(position) => position.clone(),
            None => self.store.queue_position(&waiting.document).await?,
        };
        let Some(position) = position else { return Ok(false) };
        let Some(earlier) = self.waiting_document(&position).await? else { return Ok(false) };
        let waiting = WaitingDocument { enqueued_at: earlier.enqueued_at, ..waiting.clone() };
        self.changes.waiting.insert(position, Some(waiting));
        Ok(true)
    }

    fn enqueue(&mut self, waiting: WaitingDocument) {
        let position = self.state.enqueue(&waiting);
        self.new.insert(position.clone());
        self.changes.positions.insert(waiting.document.clone(), Some(position.clone()));
        self.changes.waiting.insert(position, Some(waiting));
    }

    /// Admits all documents that may be admitted now, as far as one write can hold it; whether there may be more.
    async fn admit(&mut self, tasks: &impl Tasks) -> Result<bool, Error> {
        for _ in 0..MAX_LOOKED_AT {
            let Some(position) = self.state.next(self.limits) else { return Ok(false) };
            if self.changes.waiting.len() + self.changes.positions.len() + 2 > MAX_CHANGES {
                return Ok(true);
            }
            let waiting = self.waiting_document(&position).await?;
            self.state.dequeue(&position);
            let Some(waiting) = waiting else { continue };
            self.remove(position, &waiting.document);
            // Its execution may have been stopped, or the request delivered twice: the permit would be lost.
            let is_granted = |permit: &Permit| permit.waiting.task_token == waiting.task_token;
            if !self.state.granted().iter().any(is_granted)
                && tasks.is_awaited(&waiting.task_token).await? == TokenUse::Delivered
            {
                self.state.grant(waiting, self.limits, self.now);
            }
        }
        Ok(true)
    }

    async fn waiting_document(&self, position: &QueuePosition) -> Result<Option<WaitingDocument>, Error> {
        match self.changes.waiting.get(position) {
            Some(waiting) => Ok(waiting.clone()),
            None => self.store.waiting_document(position).await,
        }
    }

    /// Writes nothing about a position that this batch has added.
    fn remove(&mut self, position: QueuePosition, document: &DocumentRef) {
        if self.new.remove(&position) {
            self.changes.waiting.remove(&position);
            self.changes.positions.retain(|_, newest| newest.as_ref() != Some(&position));
        } else {
            self.changes.waiting.insert(position, None);
            self.changes.positions.insert(document.clone(), None);
        }
    }
}

async fn notify(tasks: &impl Tasks, permit: &Permit, now: OffsetDateTime) -> Result<(), Error> {
    let Permit { waiting, attempt, starts_at, expires_at, lease_ends_at, report_success, half_open_probe } =
        permit;
    // Step Functions waits in whole seconds, and no request may be made before its reservation.
    let waits = *starts_at > now.into();
    let output = json!({
        "attempt": attempt,
        "startsAt": rfc3339(if waits { starts_at.to_whole_second() } else { *starts_at }.to_date()),
        "expiresAt": rfc3339(expires_at.to_date()),
        "leaseEndsAt": rfc3339(lease_ends_at.to_date()),
        "reportSuccess": report_success,
        "halfOpenProbe": half_open_probe,
    });
    let span = tracing::info_span!(
        "permit",
        submissionId = %waiting.document.submission_id,
        documentId = %waiting.document.document_id,
        traceId = waiting.traceparent.map(TraceParent::trace_id),
        attempt = attempt.0
    );
    async {
        tasks.succeed(&waiting.task_token, output).await?;
        tracing::info!(waitedSeconds = wait(permit).as_seconds_f64(), "The document has a permit.");
        Ok(())
    }
    .instrument(span)
    .await
}

/// From the request to the reservation.
fn wait(permit: &Permit) -> time::Duration {
    permit.starts_at - permit.waiting.enqueued_at
}

fn report(error: &str, cause: &str) -> Report {
    match error {
        "" => Report::Accepted,
        "ThirdParty.Rejected" => Report::Rejected,
        "ThirdParty.RateLimited" => Report::RateLimited(retry_at(cause)),
        "ThirdParty.Unavailable" => Report::Unavailable,
        "ThirdParty.OutcomeUnknown" => Report::OutcomeUnknown,
        "ThirdParty.Unauthorized" => Report::Unauthorized,
        "Permit.AlreadyUsed" => Report::AlreadyUsed,
        _ => Report::Unused,
    }
}

fn retry_at(cause: &str) -> Option<OffsetDateTime> {
    let cause: Value = serde_json::from_str(cause).ok()?;
    OffsetDateTime::parse(cause.get("retryAt")?.as_str()?, &Rfc3339).ok()
}

#[cfg(test)]
mod tests;
