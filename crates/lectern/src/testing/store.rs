//! The state store in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use time::OffsetDateTime;

use super::{Faults, lock};
use crate::{
    document::submission::{CountChange, Counts, Submission, SubmissionState},
    document::transitions,
    document::{
        Attempt, CallbackId, Document, DocumentRef, JobResult, ObjectVersion, Round, SubmissionId, TaskToken,
    },
    error::{Error, rfc3339},
    ports::{
        Begin, Browse, CallbackTarget, Cursor, FinalOutcome, Finish, Finishing, Load, NewDocument, Recorded,
        Register, Registration, Reopened, Reopening, ResultContext, Results, Sequencer, Transfers,
    },
};

/// All items of a table.
#[derive(Debug, Default)]
pub struct MemoryStore {
    pub(super) state: Mutex<State>,
    pub(super) faults: Arc<Faults>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    documents: BTreeMap<DocumentRef, Document>,
    tokens: BTreeMap<DocumentRef, TaskToken>,
    files: BTreeMap<(SubmissionId, String, String), (DocumentRef, Sequencer)>,
    submissions: BTreeMap<SubmissionId, Submission>,
    /// The states under which the index lists the submissions, if it lags.
    lagging_index: Option<BTreeMap<SubmissionId, SubmissionState>>,
    callbacks: BTreeMap<CallbackId, DocumentRef>,
    unknown: BTreeMap<String, Vec<u8>>,
    pub(super) admission: super::admission::StoredAdmission,
}

impl MemoryStore {
    /// An empty store whose calls `faults` may cut off.
    pub fn new(faults: Arc<Faults>) -> Self {
        Self { faults, ..Self::default() }
    }

    /// A document, for assertions.
    pub fn get(&self, document: &DocumentRef) -> Option<Document> {
        lock(&self.state).documents.get(document).cloned()
    }

    /// All documents, for assertions.
    pub fn all(&self) -> Vec<Document> {
        lock(&self.state).documents.values().cloned().collect()
    }

    /// A submission, for assertions.
    pub fn submission_now(&self, id: &SubmissionId) -> Option<Submission> {
        lock(&self.state).submissions.get(id).cloned()
    }

    /// Callbacks that belonged to no document.
    pub fn unknown_callbacks(&self) -> BTreeMap<String, Vec<u8>> {
        lock(&self.state).unknown.clone()
    }

    /// Freezes the index of submissions, which on AWS lags behind the items for a moment.
    pub fn stop_index(&self) {
        let state = &mut *lock(&self.state);
        let listed = state.submissions.iter().map(|(id, submission)| (id.clone(), submission.state));
        state.lagging_index = Some(listed.collect());
    }

    /// Does what the state machine's state `AwaitCallback` writes: the transition together with the token.
    pub fn await_callback(&self, document: &DocumentRef, token: TaskToken, now: OffsetDateTime) -> bool {
        let mut state = lock(&self.state);
        let moved = state.documents.get(document).and_then(|stored| transitions::await_callback(stored, now));
        let Some(moved) = moved else { return false };
        state.put(moved);
        state.tokens.insert(document.clone(), token);
        true
    }

    /// What the state `BeginVerify` writes.
    pub fn begin_verify(&self, document: &DocumentRef, now: OffsetDateTime) -> Option<JobResult> {
        let mut state = lock(&self.state);
        let moved = transitions::begin_verify(state.documents.get(document)?, now)?;
        state.put(moved).result
    }
}

impl State {
    fn count(&mut self, id: &SubmissionId, change: Option<CountChange>, now: OffsetDateTime) {
        let Some(change) = change else { return };
        let submission = self.submissions.entry(id.clone()).or_insert_with(|| Submission {
            submission_id: id.clone(),
            state: SubmissionState::InProgress,
            counts: Counts::default(),
            created_at: rfc3339(now),
        });
        submission.counts = submission.counts.after(change);
        submission.state = submission.counts.state();
    }

    /// The submissions that the index lists under a state, as they are.
    fn listed(&self, wanted: Option<SubmissionState>) -> Vec<Submission> {
        let is_listed = |submission: &&Submission| {
            let listed = match &self.lagging_index {
                Some(index) => index.get(&submission.submission_id).copied(),
                None => Some(submission.state),
            };
            listed.is_some_and(|listed| wanted.is_none_or(|wanted| listed == wanted))
        };
        self.submissions.values().filter(is_listed).cloned().collect()
    }

    fn put(&mut self, document: Document) -> Document {
        self.documents.insert(document.reference.clone(), document.clone());
        document
    }

    fn register(&mut self, new: NewDocument) -> Registration {
        if let Some(known) = self.documents.get(&new.reference) {
            return Registration::Known(known.clone());
        }
        let file = file_of(&new.reference.submission_id, &new.object);
        let (sequencer, now) = (new.sequencer.clone(), new.now);
        let current = self
            .files
            .get(&file)
            .and_then(|(reference, stored)| Some((self.documents.get(reference)?.clone(), stored.clone())));
        let change = transitions::register(new, current);
        if let Some(superseded) = change.superseded {
            self.put(superseded);
        }
        let document = self.put(change.document);
        if change.is_current {
            self.files.insert(file, (document.reference.clone(), sequencer));
        }
        self.callbacks.insert(document.callback_id.clone(), document.reference.clone());
        self.count(&document.reference.submission_id, change.change, now);
        Registration::New(document)
    }

    fn finish(&mut self, reference: &DocumentRef, outcome: FinalOutcome, now: OffsetDateTime) -> Finish {
        let Some(stored) = self.documents.get(reference) else { return Finish::Unknown };
        let Some((document, change)) = transitions::finish(stored, outcome, now) else {
            return Finish::AlreadyTerminal;
        };
        self.put(document);
        self.count(&reference.submission_id, change, now);
        Finish::Finished
    }

    fn record_result(
        &mut self,
        reference: &DocumentRef,
        result: &JobResult,
        now: OffsetDateTime,
    ) -> Recorded {
        let Some(stored) = self.documents.get(reference) else { return Recorded::Unknown };
        let token = self.tokens.get(reference).cloned();
        match transitions::record_result(stored, result, now) {
            Some(document) => Recorded::First(ResultContext::of(&self.put(document), token)),
            None => transitions::refused_result(stored, result, ResultContext::of(stored, token)),
        }
    }
}

impl Register for MemoryStore {
    async fn register(&self, new: NewDocument) -> Result<Registration, Error> {
        self.faults.run("register", || lock(&self.state).register(new))
    }
}

impl Load for MemoryStore {
    async fn load(&self, document: &DocumentRef) -> Result<Option<Document>, Error> {
        self.faults.run("load", || self.get(document))
    }
}

impl Transfers for MemoryStore {
    async fn begin_transfer(
        &self,
        document: &DocumentRef,
        attempt: Attempt,
        round: Round,
        now: OffsetDateTime,
    ) -> Result<Begin, Error> {
        self.faults.run("begin_transfer", || {
            let mut state = lock(&self.state);
            let moved = state
                .documents
                .get(document)
                .and_then(|stored| transitions::begin_transfer(stored, attempt, round, now));
            moved.map_or(Begin::Stale, |moved| Begin::Begun(Box::new(state.put(moved))))
        })
    }

    async fn record_job(&self, document: &DocumentRef, attempt: Attempt, job_id: &str) -> Result<(), Error> {
        self.faults.run("record_job", || {
            let mut state = lock(&self.state);
            let moved = state
                .documents
                .get(document)
                .and_then(|stored| transitions::record_job(stored, attempt, job_id));
            if let Some(moved) = moved {
                state.put(moved);
            }
        })
    }
}

impl Results for MemoryStore {
    async fn resolve(&self, callback: &CallbackId) -> Result<Option<CallbackTarget>, Error> {
        self.faults.run("resolve", || {
            let state = lock(&self.state);
            let document = state.callbacks.get(callback)?.clone();
            let traceparent = state.documents.get(&document).and_then(|stored| stored.traceparent);
            Some(CallbackTarget { document, traceparent })
        })
    }

    async fn record_result(
        &self,
        document: &DocumentRef,
        result: &JobResult,
        now: OffsetDateTime,
    ) -> Result<Recorded, Error> {
        self.faults.run("record_result", || lock(&self.state).record_result(document, result, now))
    }

    async fn keep_unknown(
        &self,
        event_id: &str,
        _callback_id: &str,
        body: &[u8],
        _now: OffsetDateTime,
    ) -> Result<(), Error> {
        self.faults.run("keep_unknown", || {
            lock(&self.state).unknown.insert(event_id.to_owned(), body.to_vec());
        })
    }
}

impl Finishing for MemoryStore {
    async fn begin_normalize(&self, document: &DocumentRef, now: OffsetDateTime) -> Result<Begin, Error> {
        self.faults.run("begin_normalize", || {
            let mut state = lock(&self.state);
            let moved =
                state.documents.get(document).and_then(|stored| transitions::begin_normalize(stored, now));
            moved.map_or(Begin::Stale, |moved| Begin::Begun(Box::new(state.put(moved))))
        })
    }

    async fn finish(
        &self,
        document: &DocumentRef,
        outcome: FinalOutcome,
        now: OffsetDateTime,
    ) -> Result<Finish, Error> {
        self.faults.run("finish", || lock(&self.state).finish(document, outcome, now))
    }
}

impl Reopening for MemoryStore {
    async fn reopen(
        &self,
        document: &DocumentRef,
        after: u32,
        discard_result: bool,
        now: OffsetDateTime,
    ) -> Result<Reopened, Error> {
        self.faults.run("reopen", || {
            let mut state = lock(&self.state);
            let Some(stored) = state.documents.get(document).cloned() else { return Reopened::Unknown };
            let Some((moved, change)) = transitions::reopen(&stored, after, discard_result, now) else {
                return Reopened::Unchanged(Box::new(stored));
            };
            state.tokens.remove(document);
            state.count(&document.submission_id, change, now);
            Reopened::Open(Box::new(state.put(moved)))
        })
    }
}

impl Browse for MemoryStore {
    async fn submissions(
        &self,
        wanted: Option<SubmissionState>,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Vec<Submission>, Error> {
        self.faults.run("submissions", || {
            let mut all: Vec<Submission> = lock(&self.state).listed(wanted);
            let order = |s: &Submission| (s.created_at.clone(), s.submission_id.as_str().to_owned());
            all.sort_by_key(|submission| std::cmp::Reverse(order(submission)));
            all.retain(|submission| {
                after.is_none_or(|cursor| {
                    order(submission) < (cursor.created_at.clone(), cursor.submission_id.clone())
                })
            });
            all.truncate(limit);
            all
        })
    }

    async fn submission(&self, id: &SubmissionId) -> Result<Option<(Submission, Vec<Document>)>, Error> {
        self.faults.run("submission", || {
            let state = lock(&self.state);
            let submission = state.submissions.get(id)?.clone();
            let mut documents: Vec<Document> = state
                .documents
                .values()
                .filter(|document| document.reference.submission_id == *id)
                .map(|document| Document { result: None, ..document.clone() })
                .collect();
            let first_seen = |document: &Document| document.times.values().min().cloned();
            documents.sort_by_key(|document| (first_seen(document), document.reference.document_id));
            Some((submission, documents))
        })
    }
}

/// Identifies a file within its submission, because an invalid key that is stored encoded may look like a valid one.
fn file_of(submission: &SubmissionId, object: &ObjectVersion) -> (SubmissionId, String, String) {
    (submission.clone(), object.bucket.clone(), object.key.clone())
}
