//! In-memory ports: one stateful fake for each port, with the same behaviour as the real ones.
//!
//! [`Faults`] interrupts any call before or after its effect, so that a test can interrupt a step at every point. The
//! store's writes are the pure functions of [`crate::document::transitions`], like those of the store on `DynamoDB`.

mod admission;
mod backend;
mod desk;
mod events;
pub mod golden;
pub mod model;
mod objects;
mod outside;
pub mod port_contract;
mod reference;
mod situations;
mod store;
pub mod world;

use std::{collections::BTreeMap, sync::Mutex};

pub use backend::MemoryBackend;
pub use desk::MemoryDesk;
pub use events::{MemoryAlarms, MemoryBus, MemoryEndpoints, MemoryEventQueue};
pub use objects::MemoryObjects;
pub use outside::{MemoryClock, MemoryQueues, MemoryStates, MemoryThirdParty, SequentialRandom};
pub use situations::every_action_from_every_situation;
pub use store::MemoryStore;

use crate::error::{Error, StoreError};

/// Where a call is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The call has no effect.
    Before,
    /// The call has its effect, and the caller gets an error.
    After,
    /// It has no effect, because another writer came first.
    Conflict,
}

/// Calls that fail. Shared by the fakes of one test.
#[derive(Debug, Default)]
pub struct Faults {
    planned: Mutex<BTreeMap<&'static str, Vec<Option<Cut>>>>,
    calls: Mutex<Vec<&'static str>>,
}

impl Faults {
    /// Cuts off the next call of this name (a port's method, such as `finish`).
    pub fn cut_next(&self, call: &'static str, cut: Cut) {
        lock(&self.planned).entry(call).or_default().push(Some(cut));
    }

    /// Cuts off a call of this name that comes after so many others, counted from now.
    pub fn cut_nth(&self, call: &'static str, nth: usize, cut: Cut) {
        let mut planned = lock(&self.planned);
        let cuts = planned.entry(call).or_default();
        cuts.extend(std::iter::repeat_n(None, nth));
        cuts.push(Some(cut));
    }

    /// The calls made so far.
    pub fn calls(&self) -> Vec<&'static str> {
        lock(&self.calls).clone()
    }

    /// Runs `effect` unless this call is cut off.
    pub(crate) fn run<T>(&self, call: &'static str, effect: impl FnOnce() -> T) -> Result<T, Error> {
        lock(&self.calls).push(call);
        let cut = lock(&self.planned)
            .get_mut(call)
            .and_then(|cuts| (!cuts.is_empty()).then(|| cuts.remove(0)))
            .flatten();
        match cut {
            None => Ok(effect()),
            Some(Cut::Conflict) => Err(StoreError::Conflict.into()),
            Some(Cut::Before) => {
                Err(StoreError::unavailable(format!("{call} was cut off before its effect")).into())
            }
            Some(Cut::After) => {
                effect();
                Err(StoreError::unavailable(format!("{call} was cut off after its effect")).into())
            }
        }
    }
}

/// A lock that a panicking test has left behind is as good as any.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
