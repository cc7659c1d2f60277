//! What only operators read: the queues, and documents that failed.

use std::future::Future;

use crate::{document::submission::SubmissionState, error::Error};

/// The messages of one queue and of its dead-letter queue. SQS counts them approximately, and has no attribute for the age
/// of the oldest message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueDepth {
    /// The function that the queue invokes, such as `transfer-document`.
    pub name: String,
    /// Messages that can be received, now or after their delay.
    pub waiting: u64,
    /// Messages that a function has received and not deleted yet.
    pub in_flight: u64,
    /// Messages in the dead-letter queue.
    pub dead_letters: u64,
}

/// The queues of the stack.
pub trait Queues: Send + Sync {
    /// The depth of each queue, in the order of a document's way.
    fn depths(&self) -> impl Future<Output = Result<Vec<QueueDepth>, Error>> + Send;
}

/// The store's part for the operators' page. Every call reads a bounded number of items.
pub trait Operations: Send + Sync {
    /// The number of submissions in this state, `most` if there are that many or more. The index of submissions lags behind
    /// for a moment.
    fn count_submissions(
        &self,
        state: SubmissionState,
        most: usize,
    ) -> impl Future<Output = Result<usize, Error>> + Send;

    /// When the oldest submission in this state was created, RFC 3339. The index of submissions lags behind for a moment.
    fn oldest_submission(
        &self,
        state: SubmissionState,
    ) -> impl Future<Output = Result<Option<String>, Error>> + Send;
}
