//! The domain of Lectern: what a document is, how it moves, and what each step of the workflow decides.
//!
//! This crate knows no AWS, reads no environment, has no clock and sets up no logging: time, ids and every
//! outside thing come through the traits of [`ports`]. One module a step, named like its function, its state in
//! `statemachines/document.asl.json` and its resource in `template.yaml`.

pub mod content;
pub mod document;
pub mod error;
pub mod fail_document;
pub mod grant_turn;
pub mod house;
pub mod house_answer;
pub mod keys;
pub mod limits;
pub mod media_type;
#[cfg(feature = "memory")]
pub mod memory;
pub mod message;
pub mod metrics;
pub mod network;
pub mod normalize_document;
pub mod ports;
pub mod probe_job;
pub mod receive_callback;
pub mod receive_upload;
pub mod record;
pub mod records_api;
pub mod sniff;
pub mod submission;
pub mod trace;
pub mod transfer_document;
pub mod transitions;
pub mod turns;
pub mod verify_returned_file;
pub mod webhook;
