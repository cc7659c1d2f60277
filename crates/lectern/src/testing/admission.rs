//! The admission state in memory.

use std::collections::BTreeMap;

use super::{MemoryStore, lock};
use crate::{
    admission::{AdmissionState, QueuePosition, WaitingDocument},
    document::DocumentRef,
    error::{Error, StoreError},
    ports::AdmissionStore,
    steps::admit_document::QueueChanges,
};

/// The items of admission control.
#[derive(Debug, Default)]
pub(super) struct StoredAdmission {
    state: AdmissionState,
    revision: u64,
    waiting: BTreeMap<QueuePosition, WaitingDocument>,
    positions: BTreeMap<DocumentRef, QueuePosition>,
}

impl MemoryStore {
    /// The admission state as it is stored, for assertions.
    pub fn admission_now(&self) -> AdmissionState {
        lock(&self.state).admission.state.clone()
    }

    /// How many items of waiting documents are stored, for assertions.
    pub fn waiting_items(&self) -> usize {
        let state = lock(&self.state);
        state.admission.waiting.len() + state.admission.positions.len()
    }
}

impl AdmissionStore for MemoryStore {
    async fn admission_state(&self) -> Result<(AdmissionState, u64), Error> {
        self.faults.run("admission_state", || {
            let state = lock(&self.state);
            (state.admission.state.clone(), state.admission.revision)
        })
    }

    async fn waiting_document(&self, position: &QueuePosition) -> Result<Option<WaitingDocument>, Error> {
        self.faults.run("waiting_document", || lock(&self.state).admission.waiting.get(position).cloned())
    }

    async fn queue_position(&self, document: &DocumentRef) -> Result<Option<QueuePosition>, Error> {
        self.faults.run("queue_position", || lock(&self.state).admission.positions.get(document).cloned())
    }

    async fn commit(
        &self,
        state: &AdmissionState,
        revision: u64,
        changes: QueueChanges,
    ) -> Result<(), Error> {
        self.faults.run("commit", || {
            let stored = &mut lock(&self.state).admission;
            if stored.revision != revision {
                return Err(StoreError::Conflict.into());
            }
            stored.state = state.clone();
            stored.revision += 1;
            apply(&mut stored.waiting, changes.waiting);
            apply(&mut stored.positions, changes.positions);
            Ok(())
        })?
    }
}

fn apply<K: Ord, V>(stored: &mut BTreeMap<K, V>, changes: BTreeMap<K, Option<V>>) {
    for (key, change) in changes {
        match change {
            Some(value) => stored.insert(key, value),
            None => stored.remove(&key),
        };
    }
}
