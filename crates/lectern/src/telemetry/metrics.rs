//! The functions with which the steps report metrics, and (`catalogue`) the list of all metrics.
//!
//! A metric is a `tracing` event with the target [`TARGET`] whose fields have the names of the catalogue's metrics and
//! dimensions. This module contains no `CloudWatch` code: the adapter writes such an event as one line in the embedded
//! metric format. The steps report a metric after its effect and at most once, so a function that dies in between loses
//! a count but never a document.
//!
//! The set of dimension values is bounded, because each value is a metric that is stored and paid for: states,
//! outcomes, media types and error names are closed lists, and a reason that is not one of [`REASONS`] is counted as
//! `other`.

use std::collections::BTreeMap;

use lectern_content::MediaType;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    document::{Document, DocumentState, Reason},
    error::Error,
    events::SubscriberId,
    steps::probe_job::Status,
};

mod catalogue;
#[cfg(test)]
mod tests;

pub use catalogue::{ALL, Metric, OTHER, REASONS, TARGET, Unit};

/// A document was registered: `Received`, or `Rejected` with its reason.
pub fn registered(document: &Document) {
    let reason = document.reason.as_ref().map(reason_dimension);
    tracing::info!(target: TARGET, Documents = 1u64, State = document.state.as_str(), Reason = reason);
}

/// A file was uploaded to a submission that is erased, and was not registered.
pub fn uploaded_to_erased() {
    tracing::info!(target: TARGET, UploadsToErased = 1u64);
}

/// A document has ended as `Ready` or, with a reason, as `Failed`. `document` is its state just before.
pub fn ended(document: &Document, failed: Option<&Reason>, now: OffsetDateTime) {
    let state = if failed.is_some() { DocumentState::Failed } else { DocumentState::Ready };
    let written = document.media_type.filter(|_| failed.is_none());
    let spent = |state| seconds_in(&document.times, state, now);
    tracing::info!(
        target: TARGET,
        Documents = 1u64,
        State = state.as_str(),
        Reason = failed.map(reason_dimension),
        Normalizations = written.map(|_| 1u64),
        MediaType = written.map(MediaType::as_str),
        ReceivedSeconds = spent(DocumentState::Received),
        TransferringSeconds = spent(DocumentState::Transferring),
        ProcessingSeconds = spent(DocumentState::Processing),
        VerifyingSeconds = spent(DocumentState::Verifying),
        NormalizingSeconds = spent(DocumentState::Normalizing),
        TotalSeconds = since(&document.times, DocumentState::Received, now),
    );
}

/// The third party accepted a document of this size; the request took this long.
pub fn transferred(size_bytes: u64, took: Duration) {
    tracing::info!(target: TARGET, TransferBytes = size_bytes, TransferSeconds = seconds(took));
}

/// A request to the third party failed. This metric does not count errors that are not the third party's.
pub fn third_party_error(error: &Error) {
    if error.name().starts_with("ThirdParty.") {
        tracing::info!(target: TARGET, ThirdPartyErrors = 1u64, Error = error.name());
    }
}

/// This delivery of a message did not use its permit: the permit had expired, our own store did not answer, or an
/// earlier delivery of the same message had already used the permit.
pub fn permit_missed() {
    tracing::info!(target: TARGET, PermitsMissed = 1u64);
}

/// Newer code wrote a message or an input, so this code cannot handle it. It waits for the newer code.
pub fn newer_input() {
    tracing::info!(target: TARGET, NewerInputs = 1u64);
}

/// Events were delivered to a subscriber, this long after their changes: one line, in which the oldest event stands for all,
/// because a line for each event would cost more than the deliveries.
pub fn delivered(subscriber: &SubscriberId, after: impl ExactSizeIterator<Item = std::time::Duration>) {
    let events = after.len() as u64;
    let Some(oldest) = after.max() else { return };
    tracing::info!(
        target: TARGET,
        EventsDelivered = events,
        EventDeliverySeconds = oldest.as_secs_f64(),
        Subscriber = subscriber.as_str()
    );
}

/// A request to a subscriber has failed.
pub fn delivery_failed(subscriber: &SubscriberId) {
    tracing::info!(target: TARGET, EventDeliveryFailures = 1u64, Subscriber = subscriber.as_str());
}

/// Events of a subscriber were given up.
pub fn events_given_up(subscriber: &SubscriberId, events: usize) {
    if events > 0 {
        tracing::info!(target: TARGET, EventsGivenUp = events as u64, Subscriber = subscriber.as_str());
    }
}

/// A subscriber after a run: how many events wait, and the age of the oldest one, from its change on.
pub fn subscriber(subscriber: &SubscriberId, waiting: u64, oldest: std::time::Duration) {
    tracing::info!(
        target: TARGET,
        EventsWaiting = waiting,
        OldestEventSeconds = oldest.as_secs_f64(),
        Subscriber = subscriber.as_str()
    );
}

/// A subscriber was disabled.
pub fn subscriber_disabled(subscriber: &SubscriberId) {
    tracing::info!(target: TARGET, SubscribersDisabled = 1u64, Subscriber = subscriber.as_str());
}

/// A change of the table could not be read, so its events are not sent.
pub fn unreadable_change() {
    tracing::info!(target: TARGET, UnreadableChanges = 1u64);
}

/// The outcome of a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallbackOutcome {
    /// The document's result, for which its execution was waiting.
    Accepted,
    /// The document's result, before its execution began to wait.
    Early,
    /// The document's result, when no task waits for it any more; it is stored.
    Late,
    /// A result that was stored before.
    Duplicate,
    /// A second, different result of the same job.
    Contradictory,
    /// A result of another job of the document than the one whose result is stored or awaited.
    OtherJob,
    /// A callback for a document that is erased, or whose retention has ended; nothing is stored.
    Gone,
    /// An event of an unknown type.
    UnknownType,
    /// Well signed, but the body violates the contract.
    ContractBroken,
    /// Well signed, but the callback id belongs to no document.
    Unknown,
    /// Came to a document's callback URL, signed with an unknown secret or with a timestamp out of tolerance.
    BadSignature,
    /// Neither to a document's callback URL nor with a valid signature.
    Unsolicited,
    /// The callback could not be stored; the third party has to send it again.
    NotKept,
}

impl CallbackOutcome {
    /// All outcomes.
    pub const ALL: [Self; 13] = [
        Self::Accepted,
        Self::Early,
        Self::Late,
        Self::Duplicate,
        Self::Contradictory,
        Self::OtherJob,
        Self::Gone,
        Self::UnknownType,
        Self::ContractBroken,
        Self::Unknown,
        Self::BadSignature,
        Self::Unsolicited,
        Self::NotKept,
    ];

    /// The dimension's value, and the word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Early => "early",
            Self::Late => "late",
            Self::Duplicate => "duplicate",
            Self::Contradictory => "contradictory",
            Self::OtherJob => "otherJob",
            Self::Gone => "gone",
            Self::UnknownType => "unknownType",
            Self::ContractBroken => "contractBroken",
            Self::Unknown => "unknown",
            Self::BadSignature => "badSignature",
            Self::Unsolicited => "unsolicited",
            Self::NotKept => "notKept",
        }
    }

    /// Whether the outcome shows that callbacks about known documents reach us.
    fn arrived(self) -> bool {
        !matches!(self, Self::Unknown | Self::BadSignature | Self::Unsolicited | Self::NotKept)
    }
}

/// A callback was answered. `took` is the third party's processing time, if the callback brought the result.
pub fn callback(outcome: CallbackOutcome, took: Option<Duration>) {
    tracing::info!(
        target: TARGET,
        Callbacks = 1u64,
        Outcome = outcome.as_str(),
        CallbackMissed = outcome.arrived().then_some(0u64),
        ThirdPartySeconds = took.map(seconds),
    );
}

/// The third party has answered a probe. `missed` means that a callback is missing: the answer brought the result, or
/// there is no such job. `took` is the third party's processing time, if its answer brought the result.
pub fn probed(status: Status, missed: bool, took: Option<Duration>) {
    tracing::info!(
        target: TARGET,
        Probes = 1u64,
        Status = status.as_str(),
        CallbackMissed = missed.then_some(1u64),
        ThirdPartySeconds = took.map(seconds),
    );
}

/// The limiter after a decision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limiter {
    /// The waiting time of each document to which this decision granted a permit.
    pub granted_after: Vec<Duration>,
    /// How many documents wait for a permit.
    pub documents_waiting: u64,
    /// How many leases are held.
    pub leases_held: u64,
    /// Whether the circuit breaker is open or half-open.
    pub breaker_open: bool,
    /// The factor by which the rate limiter stretches the interval between requests; normally 1.
    pub rate_slowdown: f64,
    /// For how long documents have waited without progress.
    pub stalled: std::time::Duration,
}

/// The limiter has decided: one event, and one more for each further permit.
pub fn limiter(limiter: &Limiter) {
    let mut waits = limiter.granted_after.iter().copied().map(seconds);
    tracing::info!(
        target: TARGET,
        PermitsGranted = limiter.granted_after.len() as u64,
        PermitWaitSeconds = waits.next(),
        DocumentsWaiting = limiter.documents_waiting,
        LeasesHeld = limiter.leases_held,
        BreakerOpen = u64::from(limiter.breaker_open),
        RateSlowdown = limiter.rate_slowdown,
        AdmissionStalledSeconds = limiter.stalled.as_secs_f64(),
    );
    for wait in waits {
        tracing::info!(target: TARGET, PermitWaitSeconds = wait);
    }
}

/// The time since the third party first accepted a document, from the times of the document's states; `None` if it is
/// not known yet whether the third party accepted it.
pub fn third_party_time(times: &BTreeMap<String, String>, now: OffsetDateTime) -> Option<Duration> {
    Some((now - reached(times, DocumentState::Processing)?).max(Duration::ZERO))
}

fn reason_dimension(reason: &Reason) -> &'static str {
    REASONS.into_iter().find(|known| *known == reason.code).unwrap_or(OTHER)
}

/// The seconds from the state to the next state that was reached, or to the end.
fn seconds_in(times: &BTreeMap<String, String>, state: DocumentState, now: OffsetDateTime) -> Option<f64> {
    let mut next = DocumentState::ALL.into_iter().filter(|later| *later > state && !later.is_terminal());
    let left = next.find_map(|later| reached(times, later)).unwrap_or(now);
    since(times, state, left)
}

fn since(times: &BTreeMap<String, String>, state: DocumentState, until: OffsetDateTime) -> Option<f64> {
    Some(seconds(until - reached(times, state)?))
}

fn reached(times: &BTreeMap<String, String>, state: DocumentState) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(times.get(state.as_str())?, &Rfc3339).ok()
}

/// Not negative, although the clocks of two writers may differ.
fn seconds(duration: Duration) -> f64 {
    duration.as_seconds_f64().max(0.0)
}
