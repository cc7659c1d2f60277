//! Turns at the third party: what is stored of them, and orders from elsewhere.

use std::future::Future;

use crate::{
    admission::{Gate, Ticket, Waiter},
    document::{Attempt, DocumentRef},
    error::Error,
    steps::admit_document::Changes,
};

/// The line to `admit-document`, for whoever is no state of the state machine.
pub trait Places: Send + Sync {
    /// Orders that the place of this attempt is given back, unless a newer one has it.
    fn give_back(
        &self,
        document: &DocumentRef,
        attempt: Attempt,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

/// The store's part for `admit-document`.
pub trait Turns: Send + Sync {
    /// The gate as it is stored, and the revision to write it back with.
    fn gate(&self) -> impl Future<Output = Result<(Gate, u64), Error>> + Send;

    /// Which ticket a document has, `None` if it does not wait.
    fn place(&self, document: &DocumentRef) -> impl Future<Output = Result<Option<Ticket>, Error>> + Send;

    /// Who waits behind a ticket, `None` if nobody does any more.
    fn waiter(&self, ticket: &Ticket) -> impl Future<Output = Result<Option<Waiter>, Error>> + Send;

    /// Writes the gate and the changes at once, unless another writer came first.
    fn commit(
        &self,
        gate: &Gate,
        revision: u64,
        changes: Changes,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}
