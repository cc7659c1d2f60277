//! The documents: what each step reads and writes of them.

use std::{collections::BTreeMap, future::Future};

use lectern_content::{MediaKind, MediaType};
use time::OffsetDateTime;

use crate::{
    document::metadata::{FileName, Owner},
    document::submission::{Submission, SubmissionState},
    document::{
        Attempt, CallbackId, Document, DocumentId, DocumentRef, DocumentState, JobResult, ObjectVersion,
        Reason, Round, SubmissionId, TaskToken, UploadId,
    },
    error::Error,
    telemetry::trace::TraceParent,
};

/// A document to register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDocument {
    /// Its identity.
    pub reference: DocumentRef,
    /// The uploaded object.
    pub object: ObjectVersion,
    /// Orders the versions of one key; larger is newer.
    pub sequencer: Sequencer,
    /// Its owner, if it has one.
    pub owner: Option<Owner>,
    /// What the teacher calls the file, if the upload says so.
    pub name: Option<FileName>,
    /// Its size.
    pub size_bytes: u64,
    /// Its media type, if it was detected.
    pub media_type: Option<MediaType>,
    /// Why the upload is rejected, if it is.
    pub rejected: Option<Reason>,
    /// The last part of the callback URL.
    pub callback_id: CallbackId,
    /// Its trace.
    pub traceparent: TraceParent,
    /// The pending file that the upload fulfils, if it was handed in through the API.
    pub upload: Option<UploadId>,
    /// Now.
    pub now: OffsetDateTime,
}

/// S3's `sequencer`: hexadecimal text that orders the events of one key. Shorter ones are padded with zeros on the
/// right and compared as text, as the S3 user guide says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sequencer(String);

impl Sequencer {
    const DIGITS: usize = 64;

    /// Takes the event's text; an absent sequencer is older than every other.
    pub fn new(text: &str) -> Self {
        Self(format!("{:0<width$}", text.to_ascii_uppercase(), width = Self::DIGITS))
    }

    /// The smallest sequencer that is newer than this one, for a version whose event was lost. `None` if there is none,
    /// or if this one is not hexadecimal.
    #[must_use]
    pub fn successor(&self) -> Option<Self> {
        if !self.0.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let mut digits = self.0.clone().into_bytes();
        for digit in digits.iter_mut().rev() {
            let (next, carries) = match *digit {
                b'9' => (b'A', false),
                b'F' => (b'0', true),
                _ => (*digit + 1, false),
            };
            *digit = next;
            if !carries {
                return String::from_utf8(digits).ok().map(Self);
            }
        }
        None
    }

    /// The padded text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The outcome of registering a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registration {
    /// It is new and now stored.
    New(Document),
    /// It was registered before; nothing was changed.
    Known(Document),
    /// The submission is erased, or is being erased; nothing was changed.
    Erased,
}

/// The store's part for `receive-upload`.
pub trait Register: Send + Sync {
    /// Registers a document once: the document, its callback id, the file's current version and the submission's
    /// counts, in one write. A newer version of the same key supersedes the older one; a version older than the
    /// current one is registered as superseded and `Rejected`. Nothing is registered in an erased submission.
    fn register(&self, new: NewDocument) -> impl Future<Output = Result<Registration, Error>> + Send;
}

/// The store's part for `receive-upload` when an uploaded file was deleted.
pub trait Withdrawing: Send + Sync {
    /// The newest registered version of a file with its sequencer, `None` if no version is registered.
    fn newest_version(
        &self,
        submission: &SubmissionId,
        object: &ObjectVersion,
    ) -> impl Future<Output = Result<Option<(DocumentRef, Sequencer)>, Error>> + Send;

    /// Withdraws a document ([`crate::document::transitions::withdraw`]) and changes its submission's counts, in one write.
    /// `false` if nothing was changed, also because the submission is erased or has expired.
    fn withdraw(
        &self,
        document: &DocumentRef,
        now: OffsetDateTime,
    ) -> impl Future<Output = Result<bool, Error>> + Send;
}

/// Reads one document.
pub trait Load: Send + Sync {
    /// Reads the document consistently: every write that has succeeded is in it. `None` if there is no such document.
    fn load(&self, document: &DocumentRef) -> impl Future<Output = Result<Option<Document>, Error>> + Send;
}

/// Whether a step may work on a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Yes; this is the document as now stored.
    Begun(Box<Document>),
    /// No: the document has moved on, or a newer attempt has started.
    Stale,
}

/// The store's part for `transfer-document`.
pub trait Transfers: Send + Sync {
    /// Moves the document to `Transferring` for this attempt of this round, unless it has moved on.
    fn begin_transfer(
        &self,
        document: &DocumentRef,
        attempt: Attempt,
        round: Round,
        now: OffsetDateTime,
    ) -> impl Future<Output = Result<Begin, Error>> + Send;

    /// Stores the third party's job id of this attempt.
    fn record_job(
        &self,
        document: &DocumentRef,
        attempt: Attempt,
        job_id: &str,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

/// The outcome of storing a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is the first one and now stored.
    First(ResultContext),
    /// The same result was stored before. With the token, the caller resumes the execution, in case an earlier run
    /// stored the result and died before it did so.
    Same(ResultContext),
    /// A different result of the same job was stored before. That one stands.
    Conflict,
    /// A result of another job was stored before and stands, or the document does not have this job. Nothing was stored.
    OtherJob,
    /// A redrive has abandoned the job. Nothing was stored.
    Forgotten,
    /// There is no such document.
    Unknown,
}

/// The document that a callback id belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackTarget {
    /// The document.
    pub document: DocumentRef,
    /// The document's trace, if it has one.
    pub traceparent: Option<TraceParent>,
    /// Whether the document is erased.
    pub is_erased: bool,
}

/// A document's data at the time of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultContext {
    /// The task token that resumes the execution; present if the execution has begun to wait, for this callback or an
    /// earlier one.
    pub token: Option<TaskToken>,
    /// Its state.
    pub state: DocumentState,
    /// When it first reached each state, as on the document.
    pub times: BTreeMap<String, String>,
    /// Its newest attempt.
    pub attempt: Option<Attempt>,
    /// The id of the newest attempt's job, if the third party's acceptance is stored.
    pub job_id: Option<String>,
}

impl ResultContext {
    /// The data of this document, with this token.
    pub fn of(document: &Document, token: Option<TaskToken>) -> Self {
        let Document { state, times, attempt, job_id, .. } = document;
        Self { token, state: *state, times: times.clone(), attempt: *attempt, job_id: job_id.clone() }
    }

    /// Whether this job is, or may be, that of the newest attempt.
    pub fn is_current(&self, job_id: &str) -> bool {
        job_id.is_empty() || self.job_id.as_ref().is_none_or(|current| current == job_id)
    }
}

/// The store's part for results: `receive-callback` and `probe-job`.
pub trait Results: Send + Sync {
    /// The document that a callback id belongs to, with its trace.
    fn resolve(
        &self,
        callback: &CallbackId,
    ) -> impl Future<Output = Result<Option<CallbackTarget>, Error>> + Send;

    /// Stores the document's result if there is none yet and the document may have the job
    /// ([`crate::document::transitions::record_result`]), and reads the task token in the same write.
    fn record_result(
        &self,
        document: &DocumentRef,
        result: &JobResult,
        now: OffsetDateTime,
    ) -> impl Future<Output = Result<Recorded, Error>> + Send;

    /// Stores a well-signed callback that belongs to no document or cannot be used, under its event id, together with the
    /// callback id of the URL to which it was sent.
    fn keep_unknown(
        &self,
        event_id: &str,
        callback_id: &str,
        body: &[u8],
        now: OffsetDateTime,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

/// The final outcome of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FinalOutcome {
    /// The document has a record, which is already written.
    Ready {
        /// The record's object.
        record_key: String,
    },
    /// The upload is not acceptable, as its malware scan has shown after it was registered.
    Rejected(Reason),
    /// The document failed.
    Failed(Failure),
}

/// Why a document failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For the teacher.
    pub reason: Reason,
    /// The number of redrives before the execution that failed, so that an earlier execution cannot end a document that
    /// was redriven since.
    pub redrives: u32,
}

/// The outcome of ending a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It is ended now.
    Finished,
    /// The document had ended before or was redriven since; nothing was changed.
    AlreadyTerminal,
    /// There is no such document.
    Unknown,
}

/// The store's part for ending a document: `normalize-document` and `fail-document`.
pub trait Finishing: Send + Sync {
    /// Moves the document to `Normalizing`, unless it has ended.
    fn begin_normalize(
        &self,
        document: &DocumentRef,
        now: OffsetDateTime,
    ) -> impl Future<Output = Result<Begin, Error>> + Send;

    /// Ends the document once: its state, the key of its record and the submission's counts, in one write.
    fn finish(
        &self,
        document: &DocumentRef,
        outcome: FinalOutcome,
        now: OffsetDateTime,
    ) -> impl Future<Output = Result<Finish, Error>> + Send;
}

/// The outcome of reopening a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reopened {
    /// It is open again; this is the document as now stored.
    Open(Box<Document>),
    /// The document may not be reopened, or another operator came first. Nothing was changed; this is the stored
    /// document.
    Unchanged(Box<Document>),
    /// There is no such document.
    Unknown,
}

/// The store's part for a redrive by an operator.
pub trait Reopening: Send + Sync {
    /// Reopens a document ([`crate::document::transitions::reopen`]) and counts it in its submission, in one write. The
    /// task token of the ended execution is removed.
    fn reopen(
        &self,
        document: &DocumentRef,
        after: u32,
        discard_result: bool,
        now: OffsetDateTime,
    ) -> impl Future<Output = Result<Reopened, Error>> + Send;
}

/// Where in the list of submissions a page starts.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cursor {
    /// Creation time of the last submission looked at, RFC 3339.
    pub created_at: String,
    /// Its id.
    pub submission_id: String,
}

impl Cursor {
    /// The position of this submission.
    pub fn at(submission: &Submission) -> Self {
        Self {
            created_at: submission.created_at.clone(),
            submission_id: submission.submission_id.as_str().to_owned(),
        }
    }
}

/// Which submissions a list has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmissionFilter {
    /// Whose submissions.
    pub listing: Listing,
    /// Only submissions in one of these states.
    pub states: Vec<SubmissionState>,
    /// Only submissions with a file of this kind.
    pub kind: Option<MediaKind>,
    /// Only submissions created at this time or later; RFC 3339 as [`crate::error::rfc3339`] writes it.
    pub from: Option<String>,
    /// Only submissions created before this time; in the same form.
    pub to: Option<String>,
}

impl SubmissionFilter {
    /// All submissions with documents, of all people, in one state or all.
    pub fn in_state(state: Option<SubmissionState>) -> Self {
        let states = state.map_or_else(|| SubmissionState::WITH_DOCUMENTS.to_vec(), |state| vec![state]);
        Self { listing: Listing::All, states, kind: None, from: None, to: None }
    }
}

/// Whose submissions a list has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listing {
    /// Everybody's.
    All,
    /// Those of one teacher.
    Of(Owner),
}

/// A part of a list of submissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmissionList {
    /// Newest first.
    pub submissions: Vec<Submission>,
    /// Where the list goes on; `None` at its end. A part may be short, or empty, and not the last one: a filter by kind looks at
    /// a bounded number of submissions.
    pub next: Option<Cursor>,
}

/// A part of a submission's documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentList {
    /// By their ids, without their results, which may be large.
    pub documents: Vec<Document>,
    /// Where the list goes on; `None` at its end. A part may be short and not the last one.
    pub next: Option<DocumentId>,
}

/// The store's part for reading: lists of submissions, and one submission.
pub trait Browse: Send + Sync {
    /// Submissions, newest first, after the cursor, at most `limit`. Looks at no more than `limit` submissions of each state.
    fn submissions(
        &self,
        filter: &SubmissionFilter,
        after: Option<&Cursor>,
        limit: usize,
    ) -> impl Future<Output = Result<SubmissionList, Error>> + Send;

    /// One submission without its documents. `None` also for one that is erased.
    fn summary(&self, id: &SubmissionId) -> impl Future<Output = Result<Option<Submission>, Error>> + Send;

    /// The documents of a submission, after the cursor, at most `limit`.
    fn documents(
        &self,
        id: &SubmissionId,
        after: Option<DocumentId>,
        limit: usize,
    ) -> impl Future<Output = Result<DocumentList, Error>> + Send;

    /// One submission with all its documents, oldest first and without their results, for an operator's command.
    fn submission(
        &self,
        id: &SubmissionId,
    ) -> impl Future<Output = Result<Option<(Submission, Vec<Document>)>, Error>> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn successor_of_a_sequencer_lies_right_behind_it() {
        for (stored, newer) in [("0055AED6DCD90281E5", "0055aed6dcd90281e6"), ("01", "02"), ("", "0000001")] {
            let stored = Sequencer::new(stored);
            let successor = stored.successor().unwrap();
            assert!(stored < successor && successor < Sequencer::new(newer), "{successor:?}");
        }
        let carried = Sequencer::new(&format!("0A{}", "F".repeat(62))).successor();
        assert_eq!(carried, Some(Sequencer::new("0B")));
        assert_eq!(Sequencer::new(&"F".repeat(64)).successor(), None, "there is none");
        assert_eq!(Sequencer::new("no hex").successor(), None);
    }
}
