//! What the tests of events share: subscribers, events, and documents that change by the real transitions.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::FutureExt as _;
use lectern_content::MediaType;
use time::OffsetDateTime;

use crate::{
    contract::wire::{JobError, JobFailed, JobSucceeded},
    document::{
        Attempt, CallbackId, DocumentId, DocumentRef, JobResult, ObjectVersion, Reason, Round, SubmissionId,
        TaskToken,
    },
    error::rfc3339,
    events::{
        DocumentData, Event, EventData, EventItem, EventType, Format, QueuedEvent, Secret, SignatureKind,
        Subscriber, SubscriberStatus,
    },
    ports::{
        Failure, FinalOutcome, Finishing as _, NewDocument, Register as _, Reopening as _, Results as _,
        Sequencer, Subscribers as _, Transfers as _, Withdrawing as _,
    },
    telemetry::trace::TraceParent,
    testing::{MemoryStore, SequentialRandom, world::START},
};

/// An active subscriber of all events, in order and one by one.
pub(crate) fn subscriber(id: &str) -> Subscriber {
    Subscriber {
        subscriber_id: id.parse().unwrap(),
        url: format!("https://{id}.example/events"),
        event_types: BTreeSet::new(),
        kinds: BTreeSet::new(),
        format: Format::Full,
        signature: SignatureKind::Hmac,
        is_ordered: true,
        max_batch: 1,
        max_batch_wait_seconds: 0,
        has_gzip: false,
        requests_per_second: 10.0,
        max_in_flight: 5,
        timeout_seconds: 10,
        status: SubscriberStatus::Active,
        created_at: rfc3339(START),
        secrets: vec![Secret::of([1, 2])],
    }
}

/// An event of a submission. Another number is another event.
pub(crate) fn event(submission: &str, number: u64) -> Event {
    let data = DocumentData {
        submission_id: submission.parse().unwrap(),
        document_id: DocumentId::of("uploads", submission.as_bytes(), &number.to_string()),
        media_type: Some(MediaType::Pdf),
        size_bytes: 7,
        redrives: 0,
        reason_code: None,
        superseded_by: None,
    };
    let of = data.document_id.to_string();
    Event::new(EventType::DocumentReceived, &of, 0, Some(rfc3339(START)), EventData::Document(data))
}

/// An event of a submission whose change was in the stream at the start.
pub(crate) fn queued(submission: &str, number: u64) -> QueuedEvent {
    QueuedEvent { event: event(submission, number), changed_at: START.into() }
}

/// One version of a file of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub(crate) submission: usize,
    pub(crate) file: usize,
    pub(crate) number: u32,
}

impl Version {
    pub(crate) fn submission_id(self) -> SubmissionId {
        format!("s{}", self.submission).parse().unwrap()
    }

    fn object(self) -> ObjectVersion {
        ObjectVersion {
            bucket: "uploads".to_owned(),
            key: format!("submissions/s{}/{}.pdf", self.submission, self.file),
            version_id: format!("v{}", self.number),
        }
    }

    pub(crate) fn reference(self) -> DocumentRef {
        let object = self.object();
        let document_id = DocumentId::of(&object.bucket, object.key.as_bytes(), &object.version_id);
        DocumentRef { submission_id: self.submission_id(), document_id }
    }

    pub(crate) fn registered(self, is_acceptable: bool, now: OffsetDateTime) -> NewDocument {
        let reference = self.reference();
        let of = reference.document_id.to_string();
        NewDocument {
            object: self.object(),
            sequencer: Sequencer::new(&format!("{:016X}", self.number)),
            owner: None,
            name: None,
            upload: None,
            size_bytes: 7,
            media_type: is_acceptable.then_some(MediaType::Pdf),
            rejected: (!is_acceptable).then(|| Reason::new("empty", "It is empty.")),
            callback_id: CallbackId::new(format!("callback-of-{of}")),
            traceparent: TraceParent::new(&SequentialRandom::default()).child(&of),
            now,
            reference,
        }
    }
}

/// What happens to a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Register { acceptable: bool },
    BeginTransfer(u32),
    RecordJob(u32),
    AwaitCallback,
    RecordResult { succeeded: bool },
    BeginVerify,
    BeginNormalize,
    Finish { ready: bool },
    Reopen { discard_result: bool },
    Withdraw,
}

/// Changes a document in the store by one of the real transitions, if the transition applies.
pub(crate) fn perform(store: &MemoryStore, version: Version, deed: Deed, now: OffsetDateTime) {
    let reference = &version.reference();
    let redrives = store.get(reference).map_or(0, |document| document.redrives);
    match deed {
        Deed::Register { acceptable } => drop(at_once(store.register(version.registered(acceptable, now)))),
        Deed::BeginTransfer(attempt) => {
            drop(at_once(store.begin_transfer(reference, Attempt(attempt), Round::FIRST, now)));
        }
        Deed::RecordJob(attempt) => at_once(store.record_job(reference, Attempt(attempt), "job")),
        Deed::AwaitCallback => drop(store.await_callback(reference, TaskToken::new("token"), now)),
        Deed::RecordResult { succeeded } => {
            let job_id = "job".to_owned();
            let result = if succeeded {
                JobResult::Succeeded(JobSucceeded { job_id, files: Vec::new() })
            } else {
                let error = JobError { code: "unreadable".to_owned(), message: "It is unreadable.".into() };
                JobResult::Failed(JobFailed { job_id, error })
            };
            drop(at_once(store.record_result(reference, &result, now)));
        }
        Deed::BeginVerify => drop(store.begin_verify(reference, now)),
        Deed::BeginNormalize => drop(at_once(store.begin_normalize(reference, now))),
        Deed::Finish { ready: true } => {
            let outcome = FinalOutcome::Ready { record_key: "records/1.json".to_owned() };
            let _finished = at_once(store.finish(reference, outcome, now));
        }
        Deed::Finish { ready: false } => {
            let reason = Reason::new("unreadable", "It is unreadable.");
            let outcome = FinalOutcome::Failed(Failure { reason, redrives });
            let _finished = at_once(store.finish(reference, outcome, now));
        }
        Deed::Reopen { discard_result } => {
            drop(at_once(store.reopen(reference, redrives, discard_result, now)));
        }
        Deed::Withdraw => drop(at_once(store.withdraw(reference, now))),
    }
}

/// The result of a call in memory, which never waits.
pub(crate) fn at_once<T>(call: impl Future<Output = Result<T, crate::error::Error>>) -> T {
    call.now_or_never().expect("a call in memory does not wait").unwrap()
}

/// An item before and after a change.
pub(crate) type ItemChange = (Option<EventItem>, EventItem);

/// The table's stream: what has changed between two looks at the store.
#[derive(Debug, Default)]
pub(crate) struct Stream(BTreeMap<String, EventItem>);

impl Stream {
    /// The changes since the last call, of the first submissions.
    pub(crate) fn changes(&mut self, store: &MemoryStore, submissions: usize) -> Vec<ItemChange> {
        let mut items = BTreeMap::new();
        for document in store.all() {
            let key = format!("document {}", document.reference.document_id);
            items.insert(key, EventItem::Document(Box::new(document)));
        }
        for number in 0..submissions {
            let id: SubmissionId = format!("s{number}").parse().unwrap();
            let submission = store.submission_now(&id).map(|item| EventItem::Submission(Box::new(item)));
            let item = store.erasure_now(&id).map(EventItem::Erasure).or(submission);
            items.extend(item.map(|item| (format!("submission {number}"), item)));
        }
        for subscriber in at_once(store.subscribers()) {
            let key = format!("subscriber {}", subscriber.subscriber_id);
            items.insert(key, EventItem::Subscriber(Box::new(subscriber)));
        }
        let before = std::mem::replace(&mut self.0, items);
        let changed = self.0.iter().filter(|(key, item)| before.get(*key) != Some(*item));
        changed.map(|(key, item)| (before.get(key).cloned(), item.clone())).collect()
    }

    /// All items as they are, as a replay reads them.
    pub(crate) fn items(&self) -> impl Iterator<Item = &EventItem> {
        self.0.values()
    }
}

/// Checks the rate of a subscriber's requests: any span of `t` seconds has fewer than `t × rate + burst`.
#[derive(Debug)]
pub(crate) struct Meter {
    requests_per_second: f64,
    burst: f64,
    /// The most requests that any span up to the last request had above the rate.
    level: f64,
    last: OffsetDateTime,
}

impl Meter {
    pub(crate) fn of(subscriber: &Subscriber) -> Self {
        Self {
            requests_per_second: subscriber.requests_per_second,
            burst: subscriber.limits().burst.into(),
            level: 0.0,
            last: START,
        }
    }

    /// Counts a request. Returns whether the rate allows it.
    pub(crate) fn allows(&mut self, at: OffsetDateTime) -> bool {
        let since_s = (at - self.last).as_seconds_f64();
        self.level = (self.level - since_s * self.requests_per_second).max(0.0) + 1.0;
        self.last = at;
        self.level < self.burst
    }
}
