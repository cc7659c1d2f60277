//! The state store in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use lectern_content::MediaType;
use time::OffsetDateTime;

use super::{Faults, lock};
use crate::{
    document::retention::Retention,
    document::submission::{CountChange, Submission, SubmissionState},
    document::transitions,
    document::{
        Attempt, CallbackId, Document, DocumentId, DocumentRef, JobResult, ObjectVersion, Owner, Round,
        SubmissionId, TaskToken, UploadId,
    },
    error::{Error, StoreError, rfc3339},
    ports::{
        Audit, AuditCursor, AuditEntry, AuditPage, Begin, Browse, CallbackTarget, Cursor, Declared,
        DocumentList, Erasure, ErasureState, Erasures, FinalOutcome, Finish, Finishing, HandIn, Listing,
        Load, NewDocument, NewSubmission, OpenWork, Operations, PendingFile, Recorded, Register,
        Registration, Reopened, Reopening, ResultContext, Results, Sequencer, SubmissionFilter,
        SubmissionList, Transfers, Withdrawing,
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
    pending: BTreeMap<(SubmissionId, UploadId), PendingFile>,
    callbacks: BTreeMap<CallbackId, CallbackTarget>,
    erasures: BTreeMap<SubmissionId, Erasure>,
    retention: Retention,
    unknown: BTreeMap<String, Vec<u8>>,
    /// By submission, time and number.
    audit: BTreeMap<(SubmissionId, String), AuditEntry>,
    pub(super) admission: super::admission::StoredAdmission,
    pub(super) events: super::events::StoredEvents,
}

impl MemoryStore {
    /// An empty store whose calls `faults` may cut off.
    pub fn new(faults: Arc<Faults>) -> Self {
        Self { faults, ..Self::default() }
    }

    /// The same store with this retention.
    #[must_use]
    pub fn with_retention(self, retention: Retention) -> Self {
        lock(&self.state).retention = retention;
        self
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

    /// The erasure of a submission, for assertions.
    pub fn erasure_now(&self, id: &SubmissionId) -> Option<Erasure> {
        lock(&self.state).erasures.get(id).cloned()
    }

    /// The audit trail of a submission, oldest first, for assertions.
    pub fn audited(&self, id: &SubmissionId) -> Vec<AuditEntry> {
        let state = lock(&self.state);
        let own = state.audit.iter().filter(|((submission, _), _)| submission == id);
        own.map(|(_, entry)| entry.clone()).collect()
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
    fn count(&mut self, document: &Document, change: Option<CountChange>, now: OffsetDateTime) {
        let Some(change) = change else { return };
        let id = &document.reference.submission_id;
        let submission = self
            .submissions
            .entry(id.clone())
            .or_insert_with(|| Submission::new(id.clone(), SubmissionState::InProgress, rfc3339(now)));
        submission.counts = submission.counts.after(change);
        submission.state = submission.counts.state();
        submission.count_changes += 1;
        submission.counted_at = Some(rfc3339(now));
        submission.kinds.extend(document.media_type.map(MediaType::kind));
        if submission.owner.is_none() {
            submission.owner.clone_from(&document.owner);
        }
    }

    /// The submissions that the indexes list in one of these states, as they are.
    fn listed(&self, filter: &SubmissionFilter) -> Vec<Submission> {
        let is_listed = |submission: &&Submission| {
            let listed = match &self.lagging_index {
                Some(index) => index.get(&submission.submission_id).copied(),
                None => Some(submission.state),
            };
            let is_theirs = match &filter.listing {
                Listing::All => true,
                Listing::Of(owner) => submission.is_of(owner),
            };
            is_theirs
                && listed.is_some_and(|listed| filter.states.contains(&listed))
                && filter.from.as_ref().is_none_or(|from| submission.created_at >= *from)
                && filter.to.as_ref().is_none_or(|to| submission.created_at < *to)
        };
        self.submissions.values().filter(is_listed).cloned().collect()
    }

    /// Oldest first, without their results.
    fn documents_of(&self, id: &SubmissionId) -> Vec<Document> {
        let mut documents: Vec<Document> = self
            .documents
            .values()
            .filter(|document| document.reference.submission_id == *id)
            .map(|document| Document { result: None, ..document.clone() })
            .collect();
        let first_seen = |document: &Document| document.times.values().min().cloned();
        documents.sort_by_key(|document| (first_seen(document), document.reference.document_id));
        documents
    }

    fn put(&mut self, document: Document) -> Document {
        self.documents.insert(document.reference.clone(), document.clone());
        document
    }

    fn is_erased(&self, id: &SubmissionId) -> bool {
        self.erasures.contains_key(id)
    }

    fn register(&mut self, new: NewDocument) -> Registration {
        if self.is_erased(&new.reference.submission_id) {
            return Registration::Erased;
        }
        if let Some(known) = self.documents.get(&new.reference) {
            return Registration::Known(known.clone());
        }
        let file = file_of(&new.reference.submission_id, &new.object);
        let (sequencer, upload, now) = (new.sequencer.clone(), new.upload, new.now);
        let current = self
            .files
            .get(&file)
            .and_then(|(reference, stored)| Some((self.documents.get(reference)?.clone(), stored.clone())));
        let mut change = transitions::register(new, current);
        if change.document.state.is_terminal() {
            change.document.expires_at = self.retention.expires_at(now);
        }
        if let Some(superseded) = change.superseded {
            self.put(superseded);
        }
        let document = self.put(change.document);
        if change.is_current {
            self.files.insert(file, (document.reference.clone(), sequencer));
        }
        let target = CallbackTarget {
            document: document.reference.clone(),
            traceparent: document.traceparent,
            is_erased: false,
        };
        self.callbacks.insert(document.callback_id.clone(), target);
        if let Some(upload) = upload {
            self.pending.remove(&(document.reference.submission_id.clone(), upload));
        }
        self.count(&document, change.change, now);
        Registration::New(document)
    }

    fn finish(&mut self, reference: &DocumentRef, outcome: FinalOutcome, now: OffsetDateTime) -> Finish {
        let Some(stored) = self.documents.get(reference) else { return Finish::Unknown };
        let Some((mut document, change)) = transitions::finish(stored, outcome, now) else {
            return Finish::AlreadyTerminal;
        };
        document.expires_at = self.retention.expires_at(now);
        let document = self.put(document);
        let erased = self.is_erased(&reference.submission_id);
        self.count(&document, change.filter(|_| !erased), now);
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

impl Withdrawing for MemoryStore {
    async fn newest_version(
        &self,
        submission: &SubmissionId,
        object: &ObjectVersion,
    ) -> Result<Option<(DocumentRef, Sequencer)>, Error> {
        self.faults
            .run("newest_version", || lock(&self.state).files.get(&file_of(submission, object)).cloned())
    }

    async fn withdraw(&self, document: &DocumentRef, now: OffsetDateTime) -> Result<bool, Error> {
        self.faults.run("withdraw", || {
            let mut state = lock(&self.state);
            let withdrawn = state.documents.get(document).and_then(transitions::withdraw);
            let Some((withdrawn, change)) = withdrawn else { return false };
            if !state.submissions.contains_key(&document.submission_id) {
                return false;
            }
            let withdrawn = state.put(withdrawn);
            state.count(&withdrawn, Some(change), now);
            true
        })
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
        self.faults.run("resolve", || lock(&self.state).callbacks.get(callback).cloned())
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
            let erased = state.is_erased(&document.submission_id);
            let Some(stored) = state.documents.get(document).filter(|_| !erased).cloned() else {
                return Reopened::Unknown;
            };
            let Some((moved, change)) = transitions::reopen(&stored, after, discard_result, now) else {
                return Reopened::Unchanged(Box::new(stored));
            };
            state.tokens.remove(document);
            state.count(&moved, change, now);
            Reopened::Open(Box::new(state.put(moved)))
        })
    }
}

impl Erasures for MemoryStore {
    async fn erasure(&self, id: &SubmissionId) -> Result<Option<Erasure>, Error> {
        self.faults.run("erasure", || self.erasure_now(id))
    }

    async fn begin_erasure(&self, id: &SubmissionId, by: &str, now: OffsetDateTime) -> Result<(), Error> {
        self.faults.run("begin_erasure", || {
            let mut state = lock(&self.state);
            state.submissions.remove(id);
            let erasure = state.erasures.entry(id.clone()).or_insert_with(|| Erasure {
                submission_id: id.clone(),
                state: ErasureState::Erasing,
                by: String::new(),
                began_at: rfc3339(now),
                ended_at: None,
                documents: 0,
                object_versions: 0,
            });
            (erasure.state, erasure.ended_at) = (ErasureState::Erasing, None);
            by.clone_into(&mut erasure.by);
        })
    }

    async fn documents_to_erase(&self, id: &SubmissionId) -> Result<Vec<Document>, Error> {
        self.faults.run("documents_to_erase", || lock(&self.state).documents_of(id))
    }

    async fn erase_document(&self, document: &Document, _now: OffsetDateTime) -> Result<(), Error> {
        self.faults.run("erase_document", || {
            let mut state = lock(&self.state);
            if state.documents.remove(&document.reference).is_none() {
                return Err(StoreError::Conflict.into());
            }
            state.tokens.remove(&document.reference);
            state.files.remove(&file_of(&document.reference.submission_id, &document.object));
            if let Some(target) = state.callbacks.get_mut(&document.callback_id) {
                (target.is_erased, target.traceparent) = (true, None);
            }
            if let Some(erasure) = state.erasures.get_mut(&document.reference.submission_id) {
                erasure.documents += 1;
            }
            Ok(())
        })?
    }

    async fn count_erased_versions(&self, id: &SubmissionId, versions: u64) -> Result<(), Error> {
        self.faults.run("count_erased_versions", || {
            if let Some(erasure) = lock(&self.state).erasures.get_mut(id) {
                erasure.object_versions += versions;
            }
        })
    }

    async fn end_erasure(&self, id: &SubmissionId, now: OffsetDateTime) -> Result<(), Error> {
        self.faults.run("end_erasure", || {
            let mut state = lock(&self.state);
            state.files.retain(|(submission, ..), _| submission != id);
            state.documents.retain(|document, _| document.submission_id != *id);
            state.pending.retain(|(submission, _), _| submission != id);
            if let Some(erasure) = state.erasures.get_mut(id) {
                (erasure.state, erasure.ended_at) = (ErasureState::Erased, Some(rfc3339(now)));
            }
        })
    }
}

impl Audit for MemoryStore {
    async fn record(&self, submission: &SubmissionId, entry: &AuditEntry) -> Result<(), Error> {
        self.faults.run("record", || {
            let audit = &mut lock(&self.state).audit;
            let position = format!("{}#{:06}", rfc3339(entry.at), audit.len());
            audit.insert((submission.clone(), position), entry.clone());
        })
    }

    async fn entries(
        &self,
        submission: &SubmissionId,
        after: Option<&AuditCursor>,
        limit: usize,
    ) -> Result<AuditPage, Error> {
        self.faults.run("entries", || {
            let state = lock(&self.state);
            let is_after = |position: &str| after.is_none_or(|AuditCursor(after)| position > after.as_str());
            let mut found = state
                .audit
                .iter()
                .filter(|((owner, position), _)| owner == submission && is_after(position))
                .map(|((_, position), entry)| (position.clone(), entry.clone()))
                .peekable();
            let page: Vec<_> = found.by_ref().take(limit).collect();
            let last = page.last().map(|(position, _)| AuditCursor(position.clone()));
            let next = found.peek().and(last);
            AuditPage { entries: page.into_iter().map(|(_, entry)| entry).collect(), next }
        })
    }
}

impl Operations for MemoryStore {
    async fn count_submissions(&self, state: SubmissionState, most: usize) -> Result<usize, Error> {
        self.faults.run("count_submissions", || {
            lock(&self.state).listed(&SubmissionFilter::in_state(Some(state))).len().min(most)
        })
    }

    async fn oldest_submission(&self, state: SubmissionState) -> Result<Option<String>, Error> {
        self.faults.run("oldest_submission", || {
            let listed = lock(&self.state).listed(&SubmissionFilter::in_state(Some(state)));
            listed.into_iter().map(|submission| submission.created_at).min()
        })
    }
}

impl Browse for MemoryStore {
    async fn submissions(
        &self,
        filter: &SubmissionFilter,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<SubmissionList, Error> {
        self.faults.run("submissions", || {
            let mut all: Vec<Submission> = lock(&self.state).listed(filter);
            let order = |s: &Submission| (s.created_at.clone(), s.submission_id.as_str().to_owned());
            all.sort_by_key(|submission| std::cmp::Reverse(order(submission)));
            all.retain(|submission| {
                after.is_none_or(|cursor| {
                    order(submission) < (cursor.created_at.clone(), cursor.submission_id.clone())
                })
            });
            let more = all.len() > limit;
            all.truncate(limit);
            let next = all.last().filter(|_| more).map(Cursor::at);
            // Only these were looked at, so a part may be short.
            all.retain(|submission| filter.kind.is_none_or(|kind| submission.kinds.contains(&kind)));
            SubmissionList { submissions: all, next }
        })
    }

    async fn summary(&self, id: &SubmissionId) -> Result<Option<Submission>, Error> {
        self.faults.run("summary", || lock(&self.state).submissions.get(id).cloned())
    }

    async fn documents(
        &self,
        id: &SubmissionId,
        after: Option<DocumentId>,
        limit: usize,
    ) -> Result<DocumentList, Error> {
        self.faults.run("documents", || {
            let mut documents = lock(&self.state).documents_of(id);
            documents.sort_by_key(|document| document.reference.document_id.to_string());
            documents.retain(|document| {
                after.is_none_or(|after| document.reference.document_id.to_string() > after.to_string())
            });
            let more = documents.len() > limit;
            documents.truncate(limit);
            let next = documents.last().filter(|_| more).map(|last| last.reference.document_id);
            DocumentList { documents, next }
        })
    }

    async fn submission(&self, id: &SubmissionId) -> Result<Option<(Submission, Vec<Document>)>, Error> {
        self.faults.run("submission", || {
            let state = lock(&self.state);
            Some((state.submissions.get(id)?.clone(), state.documents_of(id)))
        })
    }
}

impl HandIn for MemoryStore {
    async fn create(&self, new: &NewSubmission) -> Result<(), Error> {
        self.faults.run("create", || {
            let state = &mut *lock(&self.state);
            if state.submissions.contains_key(&new.submission_id) || state.is_erased(&new.submission_id) {
                return Err(StoreError::Conflict.into());
            }
            let draft = Submission::new(new.submission_id.clone(), SubmissionState::Draft, rfc3339(new.now));
            let submission = Submission {
                owner: Some(new.owner.clone()),
                title: Some(new.title.clone()),
                declared_files: new.files.len() as u64,
                declared_bytes: new.files.iter().map(|file| file.size_bytes).sum(),
                ..draft
            };
            state.submissions.insert(new.submission_id.clone(), submission);
            let named = |file: &PendingFile| (file.submission_id.clone(), file.upload_id);
            state.pending.extend(new.files.iter().map(|file| (named(file), file.clone())));
            Ok(())
        })?
    }

    async fn open_work(&self, owner: &Owner, max: u64) -> Result<OpenWork, Error> {
        self.faults.run("open_work", || {
            let state = lock(&self.state);
            let mut work = OpenWork::default();
            for wanted in SubmissionState::OPEN {
                let is_open =
                    |submission: &&Submission| submission.is_of(owner) && submission.state == wanted;
                let max = usize::try_from(max).unwrap_or(usize::MAX);
                for submission in state.submissions.values().filter(is_open).take(max) {
                    work.submissions += 1;
                    work.bytes += submission.declared_bytes;
                }
            }
            work
        })
    }

    async fn declare(
        &self,
        file: &PendingFile,
        owner: &Owner,
        max_files: u64,
        _now: OffsetDateTime,
    ) -> Result<Declared, Error> {
        self.faults.run("declare", || {
            let state = &mut *lock(&self.state);
            let submission = state.submissions.get_mut(&file.submission_id);
            let Some(submission) = submission.filter(|submission| submission.is_of(owner)) else {
                return Declared::Unknown;
            };
            if submission.declared_files >= max_files {
                return Declared::TooManyFiles;
            }
            submission.declared_files += 1;
            submission.declared_bytes += file.size_bytes;
            state.pending.insert((file.submission_id.clone(), file.upload_id), file.clone());
            Declared::Pending
        })
    }

    async fn pending(&self, submission: &SubmissionId) -> Result<Vec<PendingFile>, Error> {
        self.faults.run("pending", || {
            let state = lock(&self.state);
            let theirs = state.pending.values().filter(|file| file.submission_id == *submission);
            let mut files: Vec<PendingFile> = theirs.cloned().collect();
            files.sort_by(|a, b| (&a.created_at, a.upload_id).cmp(&(&b.created_at, b.upload_id)));
            files
        })
    }

    async fn pending_file(
        &self,
        submission: &SubmissionId,
        upload: &UploadId,
    ) -> Result<Option<PendingFile>, Error> {
        self.faults
            .run("pending_file", || lock(&self.state).pending.get(&(submission.clone(), *upload)).cloned())
    }

    async fn begin_parts(&self, file: &PendingFile, multipart_id: &str) -> Result<Option<String>, Error> {
        self.faults.run("begin_parts", || {
            let mut state = lock(&self.state);
            let stored = state.pending.get_mut(&(file.submission_id.clone(), file.upload_id))?;
            if stored.multipart_id == file.multipart_id || stored.multipart_id.is_none() {
                stored.multipart_id = Some(multipart_id.to_owned());
            }
            stored.multipart_id.clone()
        })
    }

    async fn forget(&self, file: &PendingFile) -> Result<(), Error> {
        self.faults.run("forget", || {
            let state = &mut *lock(&self.state);
            let forgotten = state.pending.remove(&(file.submission_id.clone(), file.upload_id));
            if let (Some(_), Some(submission)) = (forgotten, state.submissions.get_mut(&file.submission_id)) {
                submission.declared_files -= 1;
                submission.declared_bytes -= file.size_bytes;
            }
        })
    }
}

/// Identifies a file within its submission, because an invalid key that is stored encoded may look like a valid one.
fn file_of(submission: &SubmissionId, object: &ObjectVersion) -> (SubmissionId, String, String) {
    (submission.clone(), object.bucket.clone(), object.key.clone())
}
