//! The ports: small traits for everything that the domain needs from outside. `lectern-aws` implements them on AWS, and
//! the module `testing` in memory.
//!
//! If the store or service fails, a method returns [`Error::Store`](crate::error::Error::Store) (or, for the third party,
//! the error that fits). No method retries, except that the AWS SDK repeats a single call a few times.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;
use time::OffsetDateTime;

use crate::document::CallbackId;

mod admission;
mod audit;
mod documents;
mod erasure;
mod events;
mod machine;
mod operations;
mod returned;
mod submissions;
mod third_party;
mod uploads;

pub use self::{
    admission::{AdmissionStore, Orders},
    audit::{Audit, AuditAction, AuditCursor, AuditEntry, AuditPage},
    documents::{
        Begin, Browse, CallbackTarget, Cursor, DocumentList, Failure, FinalOutcome, Finish, Finishing,
        Listing, Load, NewDocument, Recorded, Register, Registration, Reopened, Reopening, ResultContext,
        Results, Sequencer, SubmissionFilter, SubmissionList, Transfers, Withdrawing,
    },
    erasure::{ErasedObjects, Erasure, ErasureState, Erasures, StartErasure, SubmissionObjects},
    events::{Alarms, Deliveries, Endpoints, EventBus, EventQueue, NoAnswer, Subscribers},
    machine::{
        ExecutionStatus, Executions, FindExecution, Resume, StartExecution, StopExecutions, Tasks, TokenUse,
        execution_name,
    },
    operations::{Operations, QueueDepth, Queues},
    returned::{Promoted, ReadUrls, Records, ReturnedFiles, Shown, StreamFacts},
    submissions::{
        Declared, HandIn, NewSubmission, OpenWork, PartToSign, PendingFile, SignUploads, SignedPart, Upload,
        UploadForm, UploadedPart,
    },
    third_party::{Content, EraseJobs, Fetch, JobErasure, JobRequest, Secrets, ThirdParty},
    uploads::{ObjectHead, Protection, ScanResults, ScanStatus, UploadReader, Uploads},
};

/// A body in chunks, read once, never held whole.
pub type ByteStream = Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>;

/// The time.
pub trait Clock: Send + Sync {
    /// Now, in UTC.
    fn now(&self) -> OffsetDateTime;
}

/// Randomness.
pub trait Random: Send + Sync {
    /// A new callback id of at least 128 random bits.
    fn callback_id(&self) -> CallbackId;

    /// 128 random bits.
    fn bits(&self) -> u128;
}
