//! The model itself: the design's rules about documents, as simple as possible and without any store. It is one file, because a reader
//! checks it as a whole against the rules.

use std::collections::{BTreeMap, BTreeSet};

use lectern_content::MediaType;
use time::OffsetDateTime;

use super::{
    SequentialRandom,
    model::{Returned, same},
};
use crate::{
    contract::wire::{JobError, JobFailed, JobSucceeded},
    document::keys,
    document::submission::{Counts, Submission, SubmissionState},
    document::{
        Attempt, CallbackId, Document, DocumentId, DocumentRef, DocumentState, JobResult, ObjectVersion,
        Round, SubmissionId, TaskToken,
    },
    error::rfc3339,
    ports::{Finish, NewDocument, Recorded, ResultContext, Sequencer},
    telemetry::trace::TraceParent,
};

/// The number of documents in a run: some files in two submissions, each in some versions.
pub(super) const WHICH: usize = FILES.len() * VERSIONS.len();
/// Each file's submission.
const FILES: [&str; 3] = ["a", "a", "b"];
/// Each version's sequencer and its rank among them: shorter sequencers are padded, and case does not matter.
const VERSIONS: [(&str, u8); 4] =
    [("0055AED6DCD90281E5", 0), ("0055AED6DCD90281E6", 2), ("0055aed6dcd90281e51", 1), ("01", 3)];

/// The list of documents, in the order of their registration.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) run: String,
    documents: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    which: usize,
    callback_id: CallbackId,
    registered_at: OffsetDateTime,
    state: DocumentState,
    reason: Option<&'static str>,
    withdrawn: bool,
    seen: bool,
    times: BTreeMap<String, String>,
    attempt: Option<Attempt>,
    round: Round,
    job_id: Option<String>,
    earlier: BTreeSet<String>,
    result: Option<JobResult>,
    token: Option<TaskToken>,
    redrives: u32,
    abandoned: BTreeSet<String>,
}

impl Known {
    fn file(&self) -> usize {
        self.which / VERSIONS.len()
    }

    fn age(&self) -> u8 {
        VERSIONS[self.which % VERSIONS.len()].1
    }

    /// A state only moves forward.
    fn reach(&mut self, state: DocumentState, now: OffsetDateTime) {
        if self.state < state {
            self.state = state;
            self.times.insert(state.to_string(), rfc3339(now));
        }
    }
}

impl Model {
    pub(super) fn new(run: &str) -> Self {
        Self { run: run.to_owned(), documents: Vec::new() }
    }

    pub(super) fn submission_ids(&self) -> Vec<SubmissionId> {
        let id = |name: &str| SubmissionId::try_from(format!("{}-{name}", self.run)).ok();
        ["a", "b"].into_iter().filter_map(id).collect()
    }

    fn object(&self, which: usize) -> ObjectVersion {
        let (file, version) = (which / VERSIONS.len(), which % VERSIONS.len());
        ObjectVersion {
            bucket: "uploads".to_owned(),
            key: format!("submissions/{}-{}/file-{file}.pdf", self.run, FILES[file]),
            version_id: format!("v{version}"),
        }
    }

    pub(super) fn reference(&self, which: usize) -> DocumentRef {
        let object = self.object(which);
        let submission = usize::from(FILES[which / VERSIONS.len()] == "b");
        DocumentRef {
            submission_id: self
                .submission_ids()
                .into_iter()
                .nth(submission)
                .unwrap_or_else(SubmissionId::unassigned),
            document_id: DocumentId::of(&object.bucket, object.key.as_bytes(), &object.version_id),
        }
    }

    pub(super) fn new_document(&self, which: usize, seen: bool) -> NewDocument {
        NewDocument {
            reference: self.reference(which),
            object: self.object(which),
            sequencer: Sequencer::new(VERSIONS[which % VERSIONS.len()].0),
            owner: None,
            name: None,
            upload: None,
            size_bytes: 7,
            media_type: seen.then_some(MediaType::Pdf),
            rejected: None,
            callback_id: CallbackId::new(""),
            traceparent: self.traceparent(which),
            now: OffsetDateTime::UNIX_EPOCH,
        }
    }

    pub(super) fn traceparent(&self, which: usize) -> TraceParent {
        TraceParent::new(&SequentialRandom::default()).child(&self.reference(which).document_id.to_string())
    }

    pub(super) fn record_key(&self, which: usize) -> String {
        keys::record(&self.reference(which), "hash")
    }

    /// Four results: one of a job, a success and a failure of another job that contradict each other, and a failure for
    /// which a new round makes up.
    pub(super) fn result(&self, which: usize) -> JobResult {
        let job_id = format!("{}-{}", self.run, which % 2);
        if let 2 | 3 = which {
            let code = if which == 2 { "encrypted" } else { "sourceUnreadable" };
            let error = JobError { code: code.to_owned(), message: "It cannot be read.".into() };
            return JobResult::Failed(JobFailed { job_id, error });
        }
        JobResult::Succeeded(JobSucceeded { job_id, files: Vec::new() })
    }

    fn known(&mut self, which: usize) -> Option<&mut Known> {
        self.documents.iter_mut().find(|known| known.which == which)
    }

    /// Registers a document once. A version that is older than a registered version of its file is rejected.
    pub(super) fn register(&mut self, which: usize, acceptable: bool, new: &NewDocument) -> bool {
        if self.known(which).is_some() {
            return false;
        }
        let mut known = Known {
            which,
            callback_id: new.callback_id.clone(),
            registered_at: new.now,
            state: DocumentState::Received,
            reason: None,
            withdrawn: false,
            seen: acceptable,
            times: BTreeMap::new(),
            attempt: None,
            round: Round(1),
            job_id: None,
            earlier: BTreeSet::new(),
            result: None,
            token: None,
            redrives: 0,
            abandoned: BTreeSet::new(),
        };
        let outdated =
            self.documents.iter().any(|other| other.file() == known.file() && other.age() > known.age());
        if outdated || !acceptable {
            known.state = DocumentState::Rejected;
            known.reason = Some(if acceptable { "superseded" } else { "empty" });
        }
        known.times.insert(known.state.to_string(), rfc3339(new.now));
        self.documents.push(known);
        true
    }

    /// Starts an attempt, unless the document has moved on, or this attempt or a newer one has begun.
    pub(super) fn begin_transfer(
        &mut self,
        which: usize,
        attempt: Attempt,
        round: Round,
        now: OffsetDateTime,
    ) -> bool {
        let Some(known) = self.known(which) else { return false };
        let early = [DocumentState::Received, DocumentState::Transferring, DocumentState::Processing];
        let begun = early.contains(&known.state) && known.attempt < Some(attempt);
        if begun {
            known.attempt = Some(attempt);
            let unreadable = known.result.take_if(|result| {
                round > known.round
                    && matches!(result, JobResult::Failed(job) if job.error.code == "sourceUnreadable")
            });
            if let Some(result) = unreadable {
                known.abandoned.insert(result.job_id().to_owned());
                if known.job_id.as_deref() == Some(result.job_id()) {
                    known.job_id = None;
                }
            }
            known.round = round;
            known.earlier.extend(known.job_id.take());
            known.reach(DocumentState::Transferring, now);
        }
        begun
    }

    pub(super) fn record_job(&mut self, which: usize, attempt: Attempt, job_id: &str) {
        if let Some(known) = self.known(which).filter(|known| known.attempt == Some(attempt)) {
            known.job_id = Some(job_id.to_owned());
            known.abandoned.remove(job_id);
            known.earlier.remove(job_id);
            // A result of another job that came before the id was known.
            let moved_on = known.state > DocumentState::Processing;
            let is_other =
                |result: &JobResult| result.job_id() != job_id && !known.earlier.contains(result.job_id());
            if !moved_on && known.result.as_ref().is_some_and(is_other) {
                known.result = None;
            }
        }
    }

    /// Only the first result counts, at any time, and none of another job than those that are known, unless the newest
    /// attempt's job is unknown.
    pub(super) fn record_result(
        &mut self,
        which: usize,
        result: &JobResult,
        now: OffsetDateTime,
    ) -> Recorded {
        let Some(known) = self.known(which) else { return Recorded::Unknown };
        let context = |known: &Known| ResultContext {
            token: known.token.clone(),
            state: known.state,
            times: known.times.clone(),
            attempt: known.attempt,
            job_id: known.job_id.clone(),
        };
        match &known.result {
            None if known.abandoned.contains(result.job_id()) => Recorded::Forgotten,
            None if known.job_id.as_ref().is_some_and(|newest| {
                newest != result.job_id() && !known.earlier.contains(result.job_id())
            }) =>
            {
                Recorded::OtherJob
            }
            None => {
                known.result = Some(result.clone());
                if known.state == DocumentState::Processing && matches!(result, JobResult::Succeeded(_)) {
                    known.reach(DocumentState::Verifying, now);
                }
                Recorded::First(context(known))
            }
            Some(first) if first == result => Recorded::Same(context(known)),
            // Two results are of one job.
            Some(first) if first.job_id() == result.job_id() => Recorded::Conflict,
            Some(_) => Recorded::OtherJob,
        }
    }

    /// The execution waits only if the document was transferred and has no result.
    pub(super) fn await_callback(&mut self, which: usize, token: &TaskToken, now: OffsetDateTime) -> bool {
        let Some(known) = self.known(which) else { return false };
        let transferred = [DocumentState::Transferring, DocumentState::Processing].contains(&known.state);
        let waits = transferred && known.result.is_none();
        if waits {
            known.token = Some(token.clone());
            known.reach(DocumentState::Processing, now);
        }
        waits
    }

    /// The execution verifies only if there is a result.
    pub(super) fn begin_verify(&mut self, which: usize, now: OffsetDateTime) -> Option<Returned> {
        let known = self.known(which)?;
        let returned = Returned::of(known.result.as_ref()?);
        let after = [DocumentState::Normalizing, DocumentState::Ready, DocumentState::Failed];
        if after.contains(&known.state) || known.state == DocumentState::Rejected {
            return None;
        }
        known.reach(DocumentState::Verifying, now);
        Some(returned)
    }

    pub(super) fn begin_normalize(&mut self, which: usize, now: OffsetDateTime) -> bool {
        let Some(known) = self.known(which) else { return false };
        let begun = [DocumentState::Verifying, DocumentState::Normalizing].contains(&known.state);
        if begun {
            known.reach(DocumentState::Normalizing, now);
        }
        begun
    }

    /// The execution that ends the document was started before the last redrive.
    pub(super) fn refuse(&mut self, which: usize) -> Finish {
        if self.known(which).is_some() { Finish::AlreadyTerminal } else { Finish::Unknown }
    }

    /// A document ends once.
    pub(super) fn finish(&mut self, which: usize, ready: bool, now: OffsetDateTime) -> Finish {
        let Some(known) = self.known(which) else { return Finish::Unknown };
        if known.state.is_terminal() {
            return Finish::AlreadyTerminal;
        }
        known.reach(if ready { DocumentState::Ready } else { DocumentState::Failed }, now);
        known.reason = (!ready).then_some("internal");
        Finish::Finished
    }

    pub(super) fn redrives(&self, which: usize) -> u32 {
        self.documents.iter().find(|known| known.which == which).map_or(0, |known| known.redrives)
    }

    /// The file of a document was deleted. Only a document counts no longer that was rejected or has failed, and that is
    /// its file's newest version.
    pub(super) fn withdraw(&mut self, which: usize) -> bool {
        let Some(position) = self.documents.iter().position(|known| known.which == which) else {
            return false;
        };
        let superseded = self.superseded_by(position).is_some();
        let known = &mut self.documents[position];
        let lost = [DocumentState::Rejected, DocumentState::Failed].contains(&known.state);
        if !lost || superseded || known.withdrawn {
            return false;
        }
        known.withdrawn = true;
        true
    }

    /// Reopens a document that is neither ready nor rejected nor withdrawn, is its file's newest version, and has the
    /// given number of redrives.
    pub(super) fn reopen(
        &mut self,
        which: usize,
        after: u32,
        discard_result: bool,
        now: OffsetDateTime,
    ) -> bool {
        let Some(position) = self.documents.iter().position(|known| known.which == which) else {
            return false;
        };
        let superseded = self.superseded_by(position).is_some();
        let known = &mut self.documents[position];
        let over = [DocumentState::Ready, DocumentState::Rejected].contains(&known.state);
        if over || superseded || known.withdrawn || known.redrives != after {
            return false;
        }
        known.redrives += 1;
        known.reason = None;
        known.token = None;
        if matches!(known.result, Some(JobResult::Succeeded(_))) && !discard_result {
            known.state = DocumentState::Verifying;
            for later in ["Normalizing", "Failed"] {
                known.times.remove(later);
            }
            known.times.entry("Verifying".to_owned()).or_insert_with(|| rfc3339(now));
        } else if known.result.is_none() && known.attempt.is_some() && !discard_result {
            // There may be a job.
            known.state = DocumentState::Processing;
            for later in ["Verifying", "Normalizing", "Failed"] {
                known.times.remove(later);
            }
            known.times.entry("Processing".to_owned()).or_insert_with(|| rfc3339(now));
        } else {
            known.state = DocumentState::Received;
            if known.attempt.is_some() {
                known.round = Round(known.round.0 + 1);
            }
            if let Some(result) = known.result.take() {
                known.abandoned.insert(result.job_id().to_owned());
            }
            known.abandoned.extend(known.job_id.take());
            known.abandoned.append(&mut known.earlier);
            known.times.retain(|name, _| name == "Received");
        }
        true
    }

    pub(super) fn is_ready(&self, which: usize) -> bool {
        self.documents.iter().any(|known| known.which == which && known.state == DocumentState::Ready)
    }

    /// A version that was registered after a newer one is superseded by the newest version at that time; any other
    /// version by the next newer one that is registered.
    fn superseded_by(&self, position: usize) -> Option<usize> {
        let known = &self.documents[position];
        let newer = |other: &&Known| other.file() == known.file() && other.age() > known.age();
        let before = self.documents[..position].iter().filter(newer).max_by_key(|other| other.age());
        before.or_else(|| self.documents[position..].iter().find(newer)).map(|other| other.which)
    }

    /// Oldest first.
    pub(super) fn documents_of(&self, id: &SubmissionId) -> Vec<usize> {
        let all = self.documents.iter().map(|known| known.which);
        all.filter(|which| self.reference(*which).submission_id == *id).collect()
    }

    /// Computed from the documents each time. Superseded and withdrawn documents do not count.
    pub(super) fn submission(&self, id: &SubmissionId) -> Option<Submission> {
        let all: Vec<(usize, &Known)> = self
            .documents
            .iter()
            .enumerate()
            .filter(|(_, known)| self.reference(known.which).submission_id == *id)
            .collect();
        let count = |wanted: &dyn Fn(DocumentState) -> bool| {
            let counted = all
                .iter()
                .filter(|(position, known)| self.superseded_by(*position).is_none() && !known.withdrawn);
            counted.filter(|(_, known)| wanted(known.state)).count() as u64
        };
        let counts = Counts {
            open: count(&|state| !state.is_terminal()),
            ready: count(&|state| state == DocumentState::Ready),
            rejected: count(&|state| state == DocumentState::Rejected),
            failed: count(&|state| state == DocumentState::Failed),
        };
        let state = match (counts.open, counts.rejected + counts.failed) {
            (0, 0) => SubmissionState::Ready,
            (0, _) => SubmissionState::NeedsAttention,
            _ => SubmissionState::InProgress,
        };
        let (_, first) = all.first()?;
        let submission = Submission::new(id.clone(), state, rfc3339(first.registered_at));
        // A version that was registered after a newer one never counted.
        let counted = |(position, known): &(usize, &Known)| {
            let newer = |other: &Known| other.file() == known.file() && other.age() > known.age();
            known.seen && !self.documents[..*position].iter().any(newer)
        };
        let kinds = all.iter().any(counted).then(|| MediaType::Pdf.kind()).into_iter().collect();
        Some(Submission { counts, kinds, ..submission })
    }

    /// Compares all data of a stored document with the model's document.
    pub(super) fn expect(&self, which: usize, found: Option<&Document>) -> Result<(), String> {
        let Some(position) = self.documents.iter().position(|known| known.which == which) else {
            return same("document", &None, &found);
        };
        let known = &self.documents[position];
        let code = found.and_then(|document| document.reason.as_ref()).map(|reason| reason.code.as_str());
        same("reason", &known.reason, &code)?;
        let superseded_by = self.superseded_by(position).map(|which| self.reference(which).document_id);
        let expected = Document {
            reference: self.reference(which),
            object: self.object(which),
            owner: None,
            name: None,
            size_bytes: 7,
            media_type: known.seen.then_some(MediaType::Pdf),
            state: known.state,
            reason: found.and_then(|document| document.reason.clone()),
            times: known.times.clone(),
            superseded_by,
            is_withdrawn: known.withdrawn,
            callback_id: known.callback_id.clone(),
            traceparent: Some(self.traceparent(which)),
            attempt: known.attempt,
            round: known.round,
            job_id: known.job_id.clone(),
            earlier_jobs: known.earlier.clone(),
            result: known.result.clone(),
            record_key: self.is_ready(which).then(|| self.record_key(which)),
            redrives: known.redrives,
            abandoned_jobs: known.abandoned.clone(),
            expires_at: None,
        };
        same("document", &Some(&expected), &found)
    }
}
