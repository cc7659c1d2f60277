//! The gate in memory.

use std::collections::BTreeMap;

use super::{MemoryStore, lock};
use crate::{
    admission::{Gate, Ticket, Waiter},
    document::DocumentRef,
    error::Error,
    ports::Turns,
    steps::admit_document::Changes,
};

/// The items of turns.
#[derive(Debug, Default)]
pub(super) struct StoredTurns {
    gate: Gate,
    revision: u64,
    waiters: BTreeMap<Ticket, Waiter>,
    places: BTreeMap<DocumentRef, Ticket>,
}

impl MemoryStore {
    /// The gate as it is stored, for assertions.
    pub fn gate_now(&self) -> Gate {
        lock(&self.state).turns.gate.clone()
    }

    /// How many items of waiting documents are stored, for assertions.
    pub fn waiting_items(&self) -> usize {
        let state = lock(&self.state);
        state.turns.waiters.len() + state.turns.places.len()
    }
}

impl Turns for MemoryStore {
    async fn gate(&self) -> Result<(Gate, u64), Error> {
        self.faults.run("gate", || {
            let state = lock(&self.state);
            (state.turns.gate.clone(), state.turns.revision)
        })
    }

    async fn place(&self, document: &DocumentRef) -> Result<Option<Ticket>, Error> {
        self.faults.run("place", || lock(&self.state).turns.places.get(document).cloned())
    }

    async fn waiter(&self, ticket: &Ticket) -> Result<Option<Waiter>, Error> {
        self.faults.run("waiter", || lock(&self.state).turns.waiters.get(ticket).cloned())
    }

    async fn commit(&self, gate: &Gate, revision: u64, changes: Changes) -> Result<(), Error> {
        self.faults.run("commit", || {
            let turns = &mut lock(&self.state).turns;
            if turns.revision != revision {
                return Err(Error::StoreUnavailable("another writer came first".to_owned()));
            }
            turns.gate = gate.clone();
            turns.revision += 1;
            for (ticket, waiter) in changes.waiters {
                match waiter {
                    Some(waiter) => {
                        turns.waiters.insert(ticket, waiter);
                    }
                    None => {
                        turns.waiters.remove(&ticket);
                    }
                }
            }
            for (document, place) in changes.places {
                match place {
                    Some(ticket) => {
                        turns.places.insert(document, ticket);
                    }
                    None => {
                        turns.places.remove(&document);
                    }
                }
            }
            Ok(())
        })?
    }
}
