//! The domain of Lectern: what a document is, how it moves, and what each step of the workflow decides.
//!
//! This crate knows no AWS, reads no environment, has no clock and sets up no logging: time, ids and every
//! outside thing come through the traits of [`ports`]. One module a step, named like its function, its state in
//! `statemachines/document.asl.json` and its resource in `template.yaml`.

pub mod admission;
pub mod api;
pub mod contract;
pub mod document;
pub mod error;
pub mod limits;
pub mod message;
pub mod ports;
pub mod record;
pub mod steps;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
