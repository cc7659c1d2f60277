//! `admit-document`: decides which document may be submitted to the third party, and when ([`crate::admission`]).
//!
//! A FIFO queue with a single message group invokes the function, so decisions are made one after the other; the write
//! is conditional all the same. One write decides on a whole batch, then the function answers the task tokens of the
//! granted permits. Documents without a permit wait in the table and get one when a lease is released, so no component
//! polls for work.
//!
//! If `DynamoDB` or Step Functions does not answer, the batch stays on its queue and blocks the messages behind it
//! until SQS delivers it again; the next run answers the permits of the last write again. A request that is delivered
//! twice is enqueued twice. Its second position is skipped, because its task token has been answered by then. A waiting
//! document repeats its request every hour and keeps its position; these requests also make the function notice leases
//! that have ended by themselves.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tracing::Instrument as _;

use crate::{
    admission::lane,
    admission::{
        AdmissionState, Lane, LimiterSnapshot, Limits, Permit, QueuePosition, Report, WaitingDocument,
    },
    document::{DocumentRef, TaskToken},
    error::{Error, StoreError, rfc3339},
    message::Envelope,
    ports::{AdmissionStore, Clock, Tasks, TokenUse},
    telemetry::{metrics, trace::TraceParent},
};

/// The message: the [`Envelope`] with an [`Order`]. The order applies to the envelope's attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// The fields of every message.
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
        /// The permit answers it with `{"attempt", "startsAt", "expiresAt", "leaseEndsAt", "reportSuccess",
        /// "halfOpenTrial"}`.
        task_token: TaskToken,
        /// How many attempts of this execution have failed.
        failed_transfers: u32,
        /// The document's lane, if the execution was started with one; otherwise it is that of the submission.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lane::optional")]
        lane: Option<Lane>,
        /// How often this execution has repeated a request. If it has, the document may already have a position.
        repeats: u32,
    },
    /// An attempt has ended.
    Report {
        /// The error's name; empty if the third party has the document.
        error: String,
        /// The error's cause, as [`Error::cause`] gives it.
        #[serde(default)]
        cause: String,
    },
    /// The attempt's job is running: its lease is renewed.
    Renew {
        /// The number of the renewal, so that SQS does not deduplicate two renewals.
        count: u32,
    },
    /// The third party no longer has a job of this attempt.
    Release,
}

/// Orders that one write decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// In the order of the queue.
    pub inputs: Vec<Input>,
    /// Whether one of the messages was delivered before. The earlier run may have died before it answered task tokens.
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

/// The items that are written together with the admission state; `None` removes an item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueChanges {
    /// The documents that wait, by position.
    pub waiting: BTreeMap<QueuePosition, Option<WaitingDocument>>,
    /// The newest position of each document.
    pub positions: BTreeMap<DocumentRef, Option<QueuePosition>>,
}

/// The number of items in one transaction besides the admission state. The limit of a transaction is 100 items.
pub(crate) const MAX_CHANGES: usize = 99;
/// The number of items that change when a waiting document is removed: its position, and the document's newest position.
const CHANGES_EACH: usize = 2;
/// Number of queue positions that one decision reads.
const MAX_LOOKED_AT: usize = 35;
/// Number of writes for one batch, so that one run can admit many documents.
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
        let mut answered_tokens = BTreeSet::new();
        if batch.again {
            try_join_all(state.granted().iter().map(|permit| notify(tasks, permit, now))).await?;
            answered_tokens
                .extend(state.granted().iter().map(|permit| permit.waiting.task_token.expose().to_owned()));
        }
        state.clear_granted();
        state.advance_to(now);
        let mut admission = AdmissionBatch {
            store,
            state,
            limits,
            now,
            first_delivery: !batch.again,
            tokens: BTreeSet::new(),
            changes: QueueChanges::default(),
            added: BTreeSet::new(),
            skipped: BTreeSet::new(),
        };
        for input in batch.inputs {
            let is_answered = |token: &TaskToken| answered_tokens.contains(token.expose());
            if !matches!(&input.order, Order::Request { task_token, .. } if is_answered(task_token)) {
                admission.take(input).await?;
            }
        }
        // Again, because an order may have released the lease of a half-open trial, which ends the trial.
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
    /// Whether the write reached its limit, so that another write may admit further documents.
    is_full: bool,
}

/// The state of one decision.
struct AdmissionBatch<'a, S> {
    store: &'a S,
    state: AdmissionState,
    limits: &'a Limits,
    now: OffsetDateTime,
    /// Whether all messages of this batch are delivered for the first time.
    first_delivery: bool,
    /// The task tokens of this batch's requests.
    tokens: BTreeSet<String>,
    changes: QueueChanges,
    /// Positions that this batch has added and that are not stored yet.
    added: BTreeSet<QueuePosition>,
    /// Documents of which this batch has skipped a position that was not the newest.
    skipped: BTreeSet<DocumentRef>,
}

/// A document that is served next, and what the stores say about it.
struct Candidate {
    position: QueuePosition,
    waiting: WaitingDocument,
    /// Whether the execution waits for the permit.
    is_awaited: bool,
    /// The document's newest position in the table; read only if the execution does not wait.
    newest: Option<QueuePosition>,
}

impl<S: AdmissionStore> AdmissionBatch<'_, S> {
    async fn take(&mut self, Input { envelope, order }: Input) -> Result<(), Error> {
        let Envelope { document, attempt, traceparent, .. } = envelope;
        match order {
            Order::Request { task_token, failed_transfers, lane, repeats } => {
                self.tokens.insert(task_token.expose().to_owned());
                let lane = lane.unwrap_or_else(|| Lane::of(None, &document.submission_id));
                let enqueued_at = self.now.into();
                let waiting =
                    WaitingDocument { document, traceparent, task_token, failed_transfers, enqueued_at };
                if repeats == 0 || !self.repeat(&waiting).await? {
                    self.enqueue(waiting, &lane);
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

    /// Replaces the task token of a waiting document. Returns `false` if the document has no position any more.
    async fn repeat(&mut self, waiting: &WaitingDocument) -> Result<bool, Error> {
        let Some(position) = self.newest_position(&waiting.document).await? else { return Ok(false) };
        let Some(earlier) = self.waiting_document(&position).await? else { return Ok(false) };
        let waiting = WaitingDocument { enqueued_at: earlier.enqueued_at, ..waiting.clone() };
        self.changes.waiting.insert(position, Some(waiting));
        Ok(true)
    }

    fn enqueue(&mut self, waiting: WaitingDocument, lane: &Lane) {
        let position = self.state.enqueue(&waiting, lane);
        self.added.insert(position.clone());
        self.changes.positions.insert(waiting.document.clone(), Some(position.clone()));
        self.changes.waiting.insert(position, Some(waiting));
    }

    /// Admits all documents that may be admitted now, up to the limit of one write. Returns whether there may be more.
    ///
    /// The calls about all documents for which there is room run at the same time: one after the other, those for 250
    /// free places would take most of the function's timeout (A11).
    async fn admit(&mut self, tasks: &impl Tasks) -> Result<bool, Error> {
        let mut heads = self.dequeue(MAX_LOOKED_AT);
        let mut looked_at = heads.len();
        while !heads.is_empty() {
            let looked_up = heads.into_iter().map(|position| self.look_up(position, tasks));
            for candidate in try_join_all(looked_up).await?.into_iter().flatten() {
                self.admit_one(candidate);
            }
            heads = self.dequeue(MAX_LOOKED_AT - looked_at);
            looked_at += heads.len();
        }
        Ok(self.state.next(self.limits).is_some())
    }

    /// Removes the heads of the queues that are served next: at most `limit`, as many as may get a permit now, and no
    /// more than one write may change.
    fn dequeue(&mut self, limit: usize) -> Vec<QueuePosition> {
        let changes = self.changes.waiting.len() + self.changes.positions.len();
        let room = self.state.room(self.limits).min(MAX_CHANGES.saturating_sub(changes) / CHANGES_EACH);
        let mut heads = Vec::new();
        for _ in 0..limit.min(room) {
            let Some(position) = self.state.next(self.limits) else { break };
            self.state.dequeue(&position);
            heads.push(position);
        }
        heads
    }

    /// Finds out about the document at a position; `None` if there is none.
    ///
    /// # Errors
    /// `Store.Unavailable`, also if Step Functions does not know the task token of a request that was just delivered
    /// for the first time: SQS may be faster than Step Functions (A01).
    async fn look_up(&self, position: QueuePosition, tasks: &impl Tasks) -> Result<Option<Candidate>, Error> {
        let Some(waiting) = self.waiting_document(&position).await? else { return Ok(None) };
        let is_awaited = tasks.is_awaited(&waiting.task_token).await? == TokenUse::Delivered;
        if !is_awaited && self.first_delivery && self.tokens.contains(waiting.task_token.expose()) {
            return Err(StoreError::unavailable("Step Functions does not know the task token yet").into());
        }
        let newest = if is_awaited { None } else { self.newest_position(&waiting.document).await? };
        Ok(Some(Candidate { position, waiting, is_awaited, newest }))
    }

    fn admit_one(&mut self, Candidate { position, waiting, is_awaited, newest }: Candidate) {
        // A permit would be lost if the execution was stopped or the request was delivered twice.
        let is_granted = |permit: &Permit| permit.waiting.task_token == waiting.task_token;
        if is_awaited && !self.state.granted().iter().any(is_granted) {
            self.remove(position, &waiting.document);
            self.state.grant(waiting, self.limits, self.now);
            return;
        }
        // An earlier candidate of this decision may have changed what the table says.
        let newest = self.changes.positions.get(&waiting.document).unwrap_or(&newest);
        if newest.as_ref() == Some(&position) {
            self.remove(position, &waiting.document);
        } else {
            // A redriven document waits at a newer position, which stays.
            self.changes.waiting.insert(position, None);
            self.skipped.insert(waiting.document);
        }
    }

    async fn waiting_document(&self, position: &QueuePosition) -> Result<Option<WaitingDocument>, Error> {
        match self.changes.waiting.get(position) {
            Some(waiting) => Ok(waiting.clone()),
            None => self.store.waiting_document(position).await,
        }
    }

    /// Removes a waiting document. For a position that this batch has added, nothing is written, unless the table still
    /// has an older position of the document.
    fn remove(&mut self, position: QueuePosition, document: &DocumentRef) {
        if self.added.remove(&position) {
            self.changes.waiting.remove(&position);
            self.changes.positions.retain(|_, newest| newest.as_ref() != Some(&position));
            if !self.skipped.contains(document) {
                return;
            }
        } else {
            self.changes.waiting.insert(position, None);
        }
        self.changes.positions.insert(document.clone(), None);
    }

    async fn newest_position(&self, document: &DocumentRef) -> Result<Option<QueuePosition>, Error> {
        match self.changes.positions.get(document) {
            Some(position) => Ok(position.clone()),
            None => self.store.queue_position(document).await,
        }
    }
}

async fn notify(tasks: &impl Tasks, permit: &Permit, now: OffsetDateTime) -> Result<(), Error> {
    let Permit { waiting, attempt, starts_at, expires_at, lease_ends_at, report_success, half_open_trial } =
        permit;
    // Step Functions waits in whole seconds, and a request must not start before its reservation.
    let waits = *starts_at > now.into();
    let output = json!({
        "attempt": attempt,
        "startsAt": rfc3339(if waits { starts_at.to_whole_second() } else { *starts_at }.to_date()),
        "expiresAt": rfc3339(expires_at.to_date()),
        "leaseEndsAt": rfc3339(lease_ends_at.to_date()),
        "reportSuccess": report_success,
        "halfOpenTrial": half_open_trial,
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

/// The time from the request to the reservation.
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
