//! The domain of Lectern: what a document is, how it moves, and what each step of the workflow decides.
//!
//! This crate contains no AWS code. It does not read environment variables or the system clock and does not set up
//! logging: it gets the time, random ids and all external services through the traits of [`ports`]. Each step is one
//! module. The module, its function, its state in `statemachines/document.asl.json` and its resource in `template.yaml`
//! have the same name.

pub mod admission;
pub mod advice;
pub mod api;
pub mod contract;
pub mod display_text;
pub mod document;
pub mod erasure;
pub mod error;
pub mod events;
pub mod limits;
pub mod message;
pub mod ports;
pub mod record;
pub mod redrive;
pub mod safe_file;
pub mod steps;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
