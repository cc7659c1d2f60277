//! Domain events, which tell other systems what happens to submissions. docs/events.md is the contract with these systems.
//!
//! An event is a function of an item of the table: [`of_item`] lists the events that an item implies. A change
//! of an item causes the events that the new item implies and the old one did not. So an event exists if and only if
//! the change does, and its id follows from the item: a replay, which reads items, computes the same ids.

mod delivery;
mod request;
mod subscriber;
#[cfg(test)]
pub(crate) mod tests;

use std::{collections::BTreeSet, fmt, str::FromStr};

use lectern_content::MediaType;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::{
    delivery::{Answer, DeadLetter, DeliveryState, Held, Outcome, Sending, Summary},
    request::{CHALLENGE, EventRequest, Source, challenge_event, is_challenge_answered, test_event},
    subscriber::{
        DisabledReason, Format, NewSecret, Secret, SignatureKind, Subscriber, SubscriberId, SubscriberStatus,
    },
};
use crate::{
    admission::Timestamp,
    document::{
        Document, DocumentId, DocumentState, InvalidId, SubmissionId,
        submission::{Submission, SubmissionState},
    },
    ports::{Erasure, ErasureState},
};

/// What has happened. The word in the type of the event is the name of the variant in JSON.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
pub enum EventType {
    /// A teacher has created a submission, or an operator has copied its first file.
    #[serde(rename = "submission.created")]
    SubmissionCreated,
    /// No document of the submission is in progress any more. The event repeats whenever the counts change after that.
    #[serde(rename = "submission.completed")]
    SubmissionCompleted,
    /// The submission and everything that belongs to it is erased. What a receiver knows about it has to be erased, too.
    #[serde(rename = "submission.erased")]
    SubmissionErased,
    /// A file has arrived and is registered.
    #[serde(rename = "document.received")]
    DocumentReceived,
    /// The document has a record.
    #[serde(rename = "document.ready")]
    DocumentReady,
    /// The file is not acceptable.
    #[serde(rename = "document.rejected")]
    DocumentRejected,
    /// The workflow has ended without a record.
    #[serde(rename = "document.failed")]
    DocumentFailed,
    /// An operator has redriven a document.
    #[serde(rename = "document.redriven")]
    DocumentRedriven,
    /// A newer version of the file has arrived.
    #[serde(rename = "document.superseded")]
    DocumentSuperseded,
    /// The file was deleted after the document was rejected or had failed.
    #[serde(rename = "document.withdrawn")]
    DocumentWithdrawn,
    /// Deliveries to a subscriber have stopped until an operator resumes them.
    #[serde(rename = "subscriber.disabled")]
    SubscriberDisabled,
    /// The request that shows that an endpoint belongs to whoever adds the subscriber. Never part of a subscription.
    #[serde(rename = "subscriber.challenge")]
    SubscriberChallenge,
    /// An event that an operator sends to try a subscriber. Never part of a subscription.
    #[serde(rename = "subscriber.test")]
    SubscriberTest,
}

impl EventType {
    /// The types that a subscriber can ask for.
    pub const SUBSCRIBABLE: [Self; 11] = [
        Self::SubmissionCreated,
        Self::SubmissionCompleted,
        Self::SubmissionErased,
        Self::DocumentReceived,
        Self::DocumentReady,
        Self::DocumentRejected,
        Self::DocumentFailed,
        Self::DocumentRedriven,
        Self::DocumentSuperseded,
        Self::DocumentWithdrawn,
        Self::SubscriberDisabled,
    ];

    /// The name, as subscribers and operators write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SubmissionCreated => "submission.created",
            Self::SubmissionCompleted => "submission.completed",
            Self::SubmissionErased => "submission.erased",
            Self::DocumentReceived => "document.received",
            Self::DocumentReady => "document.ready",
            Self::DocumentRejected => "document.rejected",
            Self::DocumentFailed => "document.failed",
            Self::DocumentRedriven => "document.redriven",
            Self::DocumentSuperseded => "document.superseded",
            Self::DocumentWithdrawn => "document.withdrawn",
            Self::SubscriberDisabled => "subscriber.disabled",
            Self::SubscriberChallenge => "subscriber.challenge",
            Self::SubscriberTest => "subscriber.test",
        }
    }

    /// The attribute `type` of the `CloudEvents` envelope. The version changes if a field is removed or changes its meaning.
    pub fn versioned(self) -> String {
        format!("lectern.{}.v1", self.as_str())
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EventType {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::SUBSCRIBABLE.into_iter().find(|known| known.as_str() == text).ok_or(InvalidId)
    }
}

/// One event, in the form in which queues and the table hold it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// A version 5 UUID of what has happened. The same change always has the same id.
    pub id: Uuid,
    /// What has happened.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// When, RFC 3339; absent if the item does not say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// To what.
    pub data: EventData,
}

/// The data of an event: ids, states, counts and codes. There is no name, title, owner or text in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EventData {
    /// Of a document.
    Document(DocumentData),
    /// Of a subscriber.
    Subscriber(SubscriberData),
    /// Of a submission.
    Submission(SubmissionData),
}

/// The data of an event about a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DocumentData {
    /// The submission.
    pub submission_id: SubmissionId,
    /// The document.
    pub document_id: DocumentId,
    /// The media type of the upload, if it was detected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// The size of the upload.
    pub size_bytes: u64,
    /// How many times the document was redriven before this event.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub redrives: u32,
    /// The code of the reason of a rejection or failure: a word that docs/errors.md lists, or one of the third party.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<String>,
    /// The newer version of the file, of a superseded document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<DocumentId>,
}

/// The data of an event about a submission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubmissionData {
    /// The submission.
    pub submission_id: SubmissionId,
    /// Its state, of a completed submission: `Ready` or `NeedsAttention`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<SubmissionState>,
    /// The number of its documents that are ready, of a completed submission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<u64>,
    /// The number of its documents that were rejected, of a completed submission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<u64>,
    /// The number of its documents that have failed, of a completed submission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<u64>,
}

/// The data of an event about a subscriber.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubscriberData {
    /// The subscriber.
    pub subscriber_id: SubscriberId,
    /// Why it was disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<DisabledReason>,
    /// The random text that the endpoint has to return, of a challenge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Event {
    /// The namespace of the ids of events.
    const NAMESPACE: Uuid = Uuid::from_u128(0x3f0c_5a5e_7f0b_4c0e_8a55_2d6f_91c4_b7aa);

    fn new(event_type: EventType, of: &str, number: u64, time: Option<String>, data: EventData) -> Self {
        let name = format!("{of}/{event_type}/{number}");
        Self { id: Uuid::new_v5(&Self::NAMESPACE, name.as_bytes()), event_type, time, data }
    }

    /// The events of one group are delivered one after the other, if a subscriber asks for order: those of a submission.
    pub fn group(&self) -> &str {
        match &self.data {
            EventData::Document(data) => data.submission_id.as_str(),
            EventData::Submission(data) => data.submission_id.as_str(),
            EventData::Subscriber(data) => data.subscriber_id.as_str(),
        }
    }

    /// The attribute `subject` of the `CloudEvents` envelope: `<submission>`, `<submission>/<document>` or `<subscriber>`.
    pub fn subject(&self) -> String {
        match &self.data {
            EventData::Document(data) => format!("{}/{}", data.submission_id, data.document_id),
            EventData::Submission(_) | EventData::Subscriber(_) => self.group().to_owned(),
        }
    }
}

/// An event on its way to a subscriber.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueuedEvent {
    /// The event.
    pub event: Event,
    /// When the table's stream had the change. The age of an event is measured from here.
    pub changed_at: Timestamp,
}

/// An item of the table of which changes are events.
#[derive(Clone, Debug, PartialEq)]
pub enum EventItem {
    /// A document.
    Document(Box<Document>),
    /// A submission that is not erased.
    Submission(Box<Submission>),
    /// A submission that is erased, or is being erased.
    Erasure(Erasure),
    /// A subscriber.
    Subscriber(Box<Subscriber>),
}

/// The events that an item implies, in the order in which they happened.
pub fn of_item(item: &EventItem) -> Vec<Event> {
    match item {
        EventItem::Document(document) => of_document(document),
        EventItem::Submission(submission) => of_submission(submission),
        EventItem::Erasure(erasure) => of_erasure(erasure).into_iter().collect(),
        EventItem::Subscriber(subscriber) => of_subscriber(subscriber).into_iter().collect(),
    }
}

/// The events of a change: those that the new item implies and the old one did not.
pub fn of_change(old: Option<&EventItem>, new: &EventItem) -> Vec<Event> {
    let known: BTreeSet<Uuid> = old.map(of_item).unwrap_or_default().iter().map(|event| event.id).collect();
    of_item(new).into_iter().filter(|event| !known.contains(&event.id)).collect()
}

fn of_document(document: &Document) -> Vec<Event> {
    let of = document.reference.document_id.to_string();
    let time = |state: DocumentState| document.times.get(state.as_str()).cloned();
    let data = |redrives: u32| DocumentData {
        submission_id: document.reference.submission_id.clone(),
        document_id: document.reference.document_id,
        media_type: document.media_type,
        size_bytes: document.size_bytes,
        redrives,
        reason_code: None,
        superseded_by: None,
    };
    let event = |event_type, number: u32, time, data| {
        Event::new(event_type, &of, number.into(), time, EventData::Document(data))
    };
    let redrives = document.redrives;
    let ended = |event_type| {
        let reason_code = document.reason.as_ref().map(|reason| reason.code.clone());
        event(event_type, redrives, time(document.state), DocumentData { reason_code, ..data(redrives) })
    };
    let mut events = Vec::new();
    if let Some(received) = time(DocumentState::Received) {
        events.push(event(EventType::DocumentReceived, 0, Some(received), data(0)));
    }
    if redrives > 0 {
        events.push(event(EventType::DocumentRedriven, redrives, None, data(redrives)));
    }
    match document.state {
        DocumentState::Ready => events.push(ended(EventType::DocumentReady)),
        DocumentState::Rejected => events.push(ended(EventType::DocumentRejected)),
        DocumentState::Failed => events.push(ended(EventType::DocumentFailed)),
        DocumentState::Received
        | DocumentState::Transferring
        | DocumentState::Processing
        | DocumentState::Verifying
        | DocumentState::Normalizing => {}
    }
    if document.superseded_by.is_some() {
        let data = DocumentData { superseded_by: document.superseded_by, ..data(redrives) };
        events.push(event(EventType::DocumentSuperseded, 0, None, data));
    }
    if document.is_withdrawn {
        events.push(event(EventType::DocumentWithdrawn, 0, None, data(redrives)));
    }
    events
}

fn of_submission(submission: &Submission) -> Vec<Event> {
    let Submission { submission_id, state, counts, created_at, count_changes, counted_at, .. } = submission;
    let of = submission_id.as_str();
    let data = SubmissionData {
        submission_id: submission_id.clone(),
        state: None,
        ready: None,
        rejected: None,
        failed: None,
    };
    let created_at = Some(created_at.clone());
    let created = EventData::Submission(data.clone());
    let mut events = vec![Event::new(EventType::SubmissionCreated, of, 0, created_at, created)];
    if matches!(state, SubmissionState::Ready | SubmissionState::NeedsAttention) {
        let data = SubmissionData {
            state: Some(*state),
            ready: Some(counts.ready),
            rejected: Some(counts.rejected),
            failed: Some(counts.failed),
            ..data
        };
        let completed = EventData::Submission(data);
        let number = *count_changes;
        events.push(Event::new(EventType::SubmissionCompleted, of, number, counted_at.clone(), completed));
    }
    events
}

fn of_erasure(erasure: &Erasure) -> Option<Event> {
    let ended_at = erasure.ended_at.clone().filter(|_| erasure.state == ErasureState::Erased)?;
    let submission_id = erasure.submission_id.clone();
    let of = submission_id.to_string();
    let data = SubmissionData { submission_id, state: None, ready: None, rejected: None, failed: None };
    Some(Event::new(EventType::SubmissionErased, &of, 0, Some(ended_at), EventData::Submission(data)))
}

fn of_subscriber(subscriber: &Subscriber) -> Option<Event> {
    let SubscriberStatus::Disabled { reason, at } = &subscriber.status else { return None };
    let data = SubscriberData {
        subscriber_id: subscriber.subscriber_id.clone(),
        reason: Some(*reason),
        challenge: None,
    };
    let of = format!("{}/{at}", subscriber.subscriber_id);
    Some(Event::new(EventType::SubscriberDisabled, &of, 0, Some(at.clone()), EventData::Subscriber(data)))
}
