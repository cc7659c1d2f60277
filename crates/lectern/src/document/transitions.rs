//! The moves of a document, as pure functions over what is stored: what changes, and what its submission counts.
//!
//! Every store calls these and adds only how the change is written at once. `None` means: this move is not for this
//! document (any more), and nothing is to be written.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use crate::{
    document::submission::CountChange,
    document::{Attempt, Document, DocumentState, JobResult, Reason, Round},
    error::rfc3339,
    ports::{Failure, FinalOutcome, NewDocument, Recorded, ResultContext, Resume, Sequencer},
};

/// All that registering a document changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registering {
    /// The new document.
    pub document: Document,
    /// Whether it is now its file's current version.
    pub is_current: bool,
    /// The version that it supersedes, as it is stored then.
    pub superseded: Option<Document>,
    /// What its submission counts.
    pub change: Option<CountChange>,
}

/// Registers `new` beside the file's `current` version, if there is one. The newer version wins, in whatever order
/// the events come.
pub fn register(new: NewDocument, current: Option<(Document, Sequencer)>) -> Registering {
    let NewDocument {
        reference,
        object,
        sequencer,
        size_bytes,
        media_type,
        rejected,
        callback_id,
        traceparent,
        now,
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
        size_bytes,
        media_type,
        state,
        reason: rejected,
        times: std::collections::BTreeMap::new(),
        superseded_by,
        callback_id,
        traceparent: Some(traceparent),
        attempt: None,
        round: Round::FIRST,
        job_id: None,
        result: None,
        redrives: 0,
        record_key: None,
        abandoned_jobs: BTreeSet::new(),
    };
    enter(&mut document, state, now);
    if superseded_by.is_some() {
        return Registering { document, is_current: false, superseded: None, change: None };
    }
    let superseded = current.map(|(older, _)| Document { superseded_by: Some(document_id), ..older });
    let change =
        CountChange { leaves: superseded.as_ref().map(|older| older.state), enters: Some(document.state) };
    Registering { document, is_current: true, superseded, change: Some(change) }
}

/// Starts a transfer attempt, unless it or a newer one has started or the document is past `Processing`.
pub fn begin_transfer(
    document: &Document,
    attempt: Attempt,
    round: Round,
    now: OffsetDateTime,
) -> Option<Document> {
    let started = document.attempt.is_some_and(|newest| newest >= attempt);
    if document.state > DocumentState::Processing || started {
        let newest = document.attempt.map(|newest| newest.0);
        tracing::debug!(state = %document.state, newestAttempt = newest, asked = attempt.0, "A transfer attempt was refused: the document is past it.");
        return None;
    }
    let mut document = document.clone();
    document.attempt = Some(attempt);
    document.round = round;
    enter(&mut document, DocumentState::Transferring, now);
    Some(document)
}

/// Keeps the job of an attempt, unless a newer attempt has started.
pub fn record_job(document: &Document, attempt: Attempt, job_id: &str) -> Option<Document> {
    if document.attempt != Some(attempt) {
        let newest = document.attempt.map(|newest| newest.0);
        tracing::debug!(
            newestAttempt = newest,
            asked = attempt.0,
            "A job was not kept: another attempt is the newest."
        );
        return None;
    }
    let mut document = Document { job_id: Some(job_id.to_owned()), ..document.clone() };
    // A third party that has given an old job's id to this attempt means that job.
    document.abandoned_jobs.remove(job_id);
    Some(document)
}

/// The states in which a document may begin to wait for its callback.
const AWAITS_CALLBACK_IN: [DocumentState; 2] = [DocumentState::Transferring, DocumentState::Processing];

/// Waits for the callback, unless there is a result or the document is not in the third party's hands. The state
/// `AwaitCallback` of the state machine writes this move by itself; a contract test compares the two.
pub fn await_callback(document: &Document, now: OffsetDateTime) -> Option<Document> {
    if document.result.is_some() || !AWAITS_CALLBACK_IN.contains(&document.state) {
        return None;
    }
    let mut document = document.clone();
    enter(&mut document, DocumentState::Processing, now);
    Some(document)
}

/// Starts verifying, unless there is no result or the document has moved on. The state `BeginVerify` of the state machine
/// writes this move by itself; a contract test compares the two.
pub fn begin_verify(document: &Document, now: OffsetDateTime) -> Option<Document> {
    if document.result.is_none() || document.state > DocumentState::Verifying {
        return None;
    }
    let mut document = document.clone();
    enter(&mut document, DocumentState::Verifying, now);
    Some(document)
}

/// Keeps a result, whatever the document's state: a late one serves the probe or a redrive. The first one stands, unless
/// it was forgotten when the document was opened again; then it does not come back.
pub fn record_result(document: &Document, result: &JobResult) -> Option<Document> {
    if document.result.is_some() || document.abandoned_jobs.contains(result.job_id()) {
        return None;
    }
    Some(Document { result: Some(result.clone()), ..document.clone() })
}

/// What a result finds that is not the first: the same one, another one of the same job, or one of another job.
pub fn compare_result(first: &JobResult, result: &JobResult, context: ResultContext) -> Recorded {
    if first == result {
        Recorded::Same(context)
    } else if first.job_id() == result.job_id() {
        Recorded::Conflict
    } else {
        Recorded::OtherJob
    }
}

/// Starts normalising, unless the document has ended, or was opened again since and is not verified yet.
pub fn begin_normalize(document: &Document, now: OffsetDateTime) -> Option<Document> {
    if document.state.is_terminal() || document.state < DocumentState::Verifying {
        tracing::debug!(state = %document.state, "Normalising was refused: the document is not there.");
        return None;
    }
    let mut document = document.clone();
    enter(&mut document, DocumentState::Normalizing, now);
    Some(document)
}

/// Ends the document. `None` if it has ended, or if it was redriven since and the failure is that of an earlier execution. A
/// superseded document ends without its submission counting it.
pub fn finish(
    document: &Document,
    outcome: FinalOutcome,
    now: OffsetDateTime,
) -> Option<(Document, Option<CountChange>)> {
    let (state, record_key, reason, redrives) = match outcome {
        FinalOutcome::Ready { record_key } => {
            (DocumentState::Ready, Some(record_key), None, document.redrives)
        }
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

/// Opens a document again that has failed, or whose execution is over although the document has not ended. `after` is
/// the number of earlier redrives as the caller read it, so that one of two concurrent callers finds it done.
///
/// A kept success stays, unless `discard_result`: it is verified and normalised again. If an attempt was made and no
/// result is known, the third party is asked about its job. Otherwise the document gets a new round, and the earlier job
/// is abandoned. The times of the states that lie ahead again are removed.
pub fn reopen(
    document: &Document,
    after: u32,
    discard_result: bool,
    now: OffsetDateTime,
) -> Option<(Document, Option<CountChange>)> {
    let reopenable = !document.state.is_terminal() || document.state == DocumentState::Failed;
    if !reopenable || document.superseded_by.is_some() || document.redrives != after {
        return None;
    }
    let resume = resume(document, discard_result);
    let state = match resume {
        Resume::Verify => DocumentState::Verifying,
        Resume::Ask => DocumentState::Processing,
        Resume::Transfer => DocumentState::Received,
    };
    let change = (document.state == DocumentState::Failed)
        .then_some(CountChange { leaves: Some(document.state), enters: Some(state) });
    let mut document = Document { state, reason: None, redrives: after + 1, ..document.clone() };
    if resume == Resume::Transfer {
        let ended = document.result.take().map(|result| result.job_id().to_owned());
        // A job without an id is one whose answer broke the contract.
        let abandoned = ended.into_iter().chain(document.job_id.take()).filter(|job| !job.is_empty());
        document.abandoned_jobs.extend(abandoned);
        if document.attempt.is_some() {
            document.round = document.round.next();
        }
    }
    let ahead = |name: &str| DocumentState::ALL.iter().any(|later| *later > state && later.as_str() == name);
    document.times.retain(|name, _| !ahead(name));
    enter(&mut document, state, now);
    Some((document, change))
}

/// Where the workflow of a redriven document resumes.
pub fn resume(document: &Document, discard_result: bool) -> Resume {
    match document.result {
        _ if discard_result => Resume::Transfer,
        Some(JobResult::Succeeded(_)) => Resume::Verify,
        None if document.attempt.is_some() => Resume::Ask,
        Some(JobResult::Failed(_)) | None => Resume::Transfer,
    }
}

/// Moves forward, never back, and notes the time of the first arrival.
pub fn enter(document: &mut Document, state: DocumentState, now: OffsetDateTime) {
    if state >= document.state {
        document.state = state;
        document.times.entry(state.as_str().to_owned()).or_insert_with(|| rfc3339(now));
    }
}
