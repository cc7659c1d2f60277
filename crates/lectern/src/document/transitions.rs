//! The state transitions of a document, as pure functions of the stored document: they return the changed document and
//! the change of its submission's counts.
//!
//! Every store calls these functions and adds only the atomic write. `None` means that the transition does not apply to
//! the document (any more), and the store writes nothing.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use crate::{
    document::submission::CountChange,
    document::{Attempt, Document, DocumentState, JobResult, Reason, Round},
    error::rfc3339,
    ports::{Failure, FinalOutcome, NewDocument, Recorded, ResultContext, Resume, Sequencer},
};

/// All changes of registering a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registering {
    /// The new document.
    pub document: Document,
    /// Whether the new document is now the current version of its file.
    pub is_current: bool,
    /// The document that the new one supersedes, with `superseded_by` set.
    pub superseded: Option<Document>,
    /// The change of its submission's counts.
    pub change: Option<CountChange>,
}

/// Registers `new` when `current` is the current version of the file, if there is one. The newer version wins, whatever
/// the order of the events.
pub fn register(new: NewDocument, current: Option<(Document, Sequencer)>) -> Registering {
    let NewDocument {
        reference,
        object,
        sequencer,
        owner,
        name,
        size_bytes,
        media_type,
        rejected,
        callback_id,
        traceparent,
        now,
        upload: _,
    } = new;
    let document_id = reference.document_id;
    let newer = current.as_ref().filter(|(_, stored)| *stored > sequencer).map(|(document, _)| document);
    let superseded_by = newer.map(|document| document.reference.document_id);
    let rejected = rejected.or_else(|| {
        superseded_by.map(|_| {
            Reason::new(
                "superseded",
                "A newer version of this file had arrived before this one was looked at.",
            )
        })
    });
    let state = if rejected.is_some() { DocumentState::Rejected } else { DocumentState::Received };
    let mut document = Document {
        reference,
        object,
        owner,
        name,
        size_bytes,
        media_type,
        state,
        reason: rejected,
        times: std::collections::BTreeMap::new(),
        superseded_by,
        is_withdrawn: false,
        callback_id,
        traceparent: Some(traceparent),
        attempt: None,
        round: Round::FIRST,
        job_id: None,
        earlier_jobs: BTreeSet::new(),
        result: None,
        redrives: 0,
        record_key: None,
        abandoned_jobs: BTreeSet::new(),
        expires_at: None,
    };
    enter(&mut document, state, now);
    if superseded_by.is_some() {
        return Registering { document, is_current: false, superseded: None, change: None };
    }
    let leaves = current.as_ref().filter(|(older, _)| older.is_counted()).map(|(older, _)| older.state);
    let superseded = current.map(|(older, _)| Document { superseded_by: Some(document_id), ..older });
    let change = CountChange { leaves, enters: Some(document.state) };
    Registering { document, is_current: true, superseded, change: Some(change) }
}

/// Starts a transfer attempt, unless this attempt or a newer one has started, or the document is past `Processing`. The
/// attempt's job is not known yet. A new round discards the result of a job that could not fetch the document (A06).
pub fn begin_transfer(
    document: &Document,
    attempt: Attempt,
    round: Round,
    now: OffsetDateTime,
) -> Option<Document> {
    let started = document.attempt.is_some_and(|newest| newest >= attempt);
    if document.state > DocumentState::Processing || started {
        let newest = document.attempt.map(|newest| newest.0);
        tracing::debug!(state = %document.state, newestAttempt = newest, asked = attempt.0, "A transfer attempt was refused: the document has moved on.");
        return None;
    }
    let mut document = document.clone();
    document.attempt = Some(attempt);
    if round > document.round
        && let Some(result) = document.result.take_if(|result| result.is_source_unreadable())
    {
        document.abandoned_jobs.insert(result.job_id().to_owned());
        document.job_id.take_if(|job| job == result.job_id());
    }
    document.round = round;
    document.earlier_jobs.extend(document.job_id.take());
    enter(&mut document, DocumentState::Transferring, now);
    Some(document)
}

/// Stores the job id of an attempt, unless a newer attempt has started. A result that came before and is not of a job of
/// this document is discarded, unless the workflow has gone on with it.
pub fn record_job(document: &Document, attempt: Attempt, job_id: &str) -> Option<Document> {
    if document.attempt != Some(attempt) {
        let newest = document.attempt.map(|newest| newest.0);
        tracing::debug!(
            newestAttempt = newest,
            asked = attempt.0,
            "A job id was not stored: another attempt is the newest."
        );
        return None;
    }
    let mut document = Document { job_id: Some(job_id.to_owned()), ..document.clone() };
    // If the third party answers this attempt with the id of an abandoned job, then that job is the current one again.
    document.abandoned_jobs.remove(job_id);
    document.earlier_jobs.remove(job_id);
    let is_foreign = document.result.as_ref().is_some_and(|result| !document.may_have_job(result.job_id()));
    if is_foreign && document.state <= DocumentState::Processing {
        tracing::error!("The result that came before the job's id is of another job; it was discarded.");
        document.result = None;
    }
    Some(document)
}

/// The states in which a document may begin to wait for its callback.
const AWAITS_CALLBACK_IN: [DocumentState; 2] = [DocumentState::Transferring, DocumentState::Processing];

/// Moves the document to `Processing`, in which it waits for the callback, unless it has a result or is in another
/// state than `Transferring` and `Processing`. The state machine's state `AwaitCallback` writes this transition itself;
/// a contract test compares the two.
pub fn await_callback(document: &Document, now: OffsetDateTime) -> Option<Document> {
    if document.result.is_some() || !AWAITS_CALLBACK_IN.contains(&document.state) {
        return None;
    }
    let mut document = document.clone();
    enter(&mut document, DocumentState::Processing, now);
    Some(document)
}

/// Starts verifying, unless there is no result or the document has moved on. The state machine's state `BeginVerify`
/// writes this transition itself; a contract test compares the two.
pub fn begin_verify(document: &Document, now: OffsetDateTime) -> Option<Document> {
    if document.result.is_none() || document.state > DocumentState::Verifying {
        return None;
    }
    let mut document = document.clone();
    enter(&mut document, DocumentState::Verifying, now);
    Some(document)
}

/// Stores a result in any state of the document: a late result serves the probe or a redrive. A document that waits for
/// its callback moves on to `Verifying` if the job succeeded. Only the first result counts, and only that of a job that
/// the document [may have](Document::may_have_job).
pub fn record_result(document: &Document, result: &JobResult, now: OffsetDateTime) -> Option<Document> {
    if document.result.is_some() || !document.may_have_job(result.job_id()) {
        return None;
    }
    let mut document = Document { result: Some(result.clone()), ..document.clone() };
    if document.state == DocumentState::Processing && matches!(result, JobResult::Succeeded(_)) {
        enter(&mut document, DocumentState::Verifying, now);
    }
    Some(document)
}

/// Why [`record_result`] did not store a result.
pub fn refused_result(document: &Document, result: &JobResult, context: ResultContext) -> Recorded {
    match &document.result {
        Some(first) if first == result => Recorded::Same(context),
        Some(first) if first.job_id() == result.job_id() => Recorded::Conflict,
        None if document.abandoned_jobs.contains(result.job_id()) => Recorded::Forgotten,
        Some(_) | None => Recorded::OtherJob,
    }
}

/// Starts normalising, unless the document is in a final state, or was redriven and is not verified yet.
pub fn begin_normalize(document: &Document, now: OffsetDateTime) -> Option<Document> {
    if document.state.is_terminal() || document.state < DocumentState::Verifying {
        tracing::debug!(state = %document.state, "Normalising was refused: the document has ended, or it was redriven and is not verified yet.");
        return None;
    }
    let mut document = document.clone();
    enter(&mut document, DocumentState::Normalizing, now);
    Some(document)
}

/// Moves the document to a final state. `None` if it is in a final state already, or if it was redriven and the failure
/// belongs to an earlier execution. The end of a superseded document does not change its submission's counts.
pub fn finish(
    document: &Document,
    outcome: FinalOutcome,
    now: OffsetDateTime,
) -> Option<(Document, Option<CountChange>)> {
    let (state, record_key, reason, redrives) = match outcome {
        FinalOutcome::Ready { record_key } => {
            (DocumentState::Ready, Some(record_key), None, document.redrives)
        }
        FinalOutcome::Rejected(reason) => (DocumentState::Rejected, None, Some(reason), document.redrives),
        FinalOutcome::Failed(Failure { reason, redrives }) => {
            (DocumentState::Failed, None, Some(reason), redrives)
        }
    };
    if document.state.is_terminal() || redrives != document.redrives {
        tracing::debug!(state = %document.state, redrives = document.redrives, "Ending was refused: the document has ended or was redriven.");
        return None;
    }
    let change = document
        .superseded_by
        .is_none()
        .then_some(CountChange { leaves: Some(document.state), enters: Some(state) });
    let mut document = Document { reason, record_key, ..document.clone() };
    enter(&mut document, state, now);
    Some((document, change))
}

/// Reopens a document that has failed, or whose execution ended before the document did. `after` is the number of
/// earlier redrives that the caller read, so that of two concurrent callers only one succeeds.
///
/// A stored success stays, and its files are verified and normalised again, unless `discard_result` is set. If an attempt
/// was made and no result is stored, the workflow probes the job. Otherwise the document gets a new round, and its
/// earlier job is abandoned. The times of states that the document has not reached again are removed.
pub fn reopen(
    document: &Document,
    after: u32,
    discard_result: bool,
    now: OffsetDateTime,
) -> Option<(Document, Option<CountChange>)> {
    let reopenable = !document.state.is_terminal() || document.state == DocumentState::Failed;
    if !reopenable || !document.is_counted() || document.redrives != after {
        return None;
    }
    let resume = resume(document, discard_result);
    let state = match resume {
        Resume::Verify => DocumentState::Verifying,
        Resume::Probe => DocumentState::Processing,
        Resume::Transfer => DocumentState::Received,
    };
    let change = (document.state == DocumentState::Failed)
        .then_some(CountChange { leaves: Some(document.state), enters: Some(state) });
    let mut document =
        Document { state, reason: None, redrives: after + 1, expires_at: None, ..document.clone() };
    if resume == Resume::Transfer {
        let ended = document.result.take().map(|result| result.job_id().to_owned());
        // The job id is empty if the third party's answer violated the contract.
        let abandoned = ended.into_iter().chain(document.job_id.take()).filter(|job| !job.is_empty());
        document.abandoned_jobs.extend(abandoned);
        document.abandoned_jobs.append(&mut document.earlier_jobs);
        if document.attempt.is_some() {
            document.round = document.round.next();
        }
    }
    let ahead = |name: &str| DocumentState::ALL.iter().any(|later| *later > state && later.as_str() == name);
    document.times.retain(|name, _| !ahead(name));
    enter(&mut document, state, now);
    Some((document, change))
}

/// Withdraws a document whose uploaded file was deleted: it keeps its state and its reason, and no longer counts in its
/// submission. `None` if the document does not count anyway, is open, or has a record.
pub fn withdraw(document: &Document) -> Option<(Document, CountChange)> {
    let has_no_record = matches!(document.state, DocumentState::Rejected | DocumentState::Failed);
    if !has_no_record || !document.is_counted() {
        return None;
    }
    let change = CountChange { leaves: Some(document.state), enters: None };
    Some((Document { is_withdrawn: true, ..document.clone() }, change))
}

/// Where the workflow of a redriven document resumes.
pub fn resume(document: &Document, discard_result: bool) -> Resume {
    match document.result {
        _ if discard_result => Resume::Transfer,
        Some(JobResult::Succeeded(_)) => Resume::Verify,
        None if document.attempt.is_some() => Resume::Probe,
        Some(JobResult::Failed(_)) | None => Resume::Transfer,
    }
}

/// Moves the document forward, never back, and stores the time of the first arrival in the state.
pub fn enter(document: &mut Document, state: DocumentState, now: OffsetDateTime) {
    if state >= document.state {
        document.state = state;
        document.times.entry(state.as_str().to_owned()).or_insert_with(|| rfc3339(now));
    }
}
