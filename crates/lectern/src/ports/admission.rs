//! The ports of admission control: its stored state, and the orders that do not come from the state machine.

use std::future::Future;

use crate::{
    admission::{AdmissionState, QueuePosition, WaitingDocument},
    document::DocumentRef,
    error::Error,
    steps::admit_document::{Input, QueueChanges},
};

/// Sends orders to `admit-document`, for functions that learn first how an attempt has ended.
pub trait Orders: Send + Sync {
    /// Sends one order. The same order may arrive more than once.
    fn send(&self, order: Input) -> impl Future<Output = Result<(), Error>> + Send;
}

/// The store of `admit-document`.
pub trait AdmissionStore: Send + Sync {
    /// The admission state with its revision, which [`Self::commit`] requires.
    fn admission_state(&self) -> impl Future<Output = Result<(AdmissionState, u64), Error>> + Send;

    /// The document that waits at a position; `None` if no document waits there any more.
    fn waiting_document(
        &self,
        position: &QueuePosition,
    ) -> impl Future<Output = Result<Option<WaitingDocument>, Error>> + Send;

    /// The position of a document; `None` if the document does not wait.
    fn queue_position(
        &self,
        document: &DocumentRef,
    ) -> impl Future<Output = Result<Option<QueuePosition>, Error>> + Send;

    /// Writes the admission state and the changes atomically, unless another writer came first.
    fn commit(
        &self,
        state: &AdmissionState,
        revision: u64,
        changes: QueueChanges,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}
