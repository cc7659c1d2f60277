//! Tests of the domain events: which changes are events, who gets them, the requests, and the deliveries as a pure state.

mod batches;
mod changes;
mod deliveries;
mod failures;
pub(crate) mod fixtures;
mod limits;
mod ordering;
mod privacy;
mod requests;
mod sequences;
mod subscribers;
