//! The steps of the workflow: one module for each function, with its input, its output and `handle`.

pub mod admit_document;
pub mod deliver_events;
pub mod erase_submission;
pub mod fail_document;
pub mod normalize_document;
pub mod probe_job;
pub mod receive_callback;
pub mod receive_upload;
pub mod route_events;
pub mod transfer_document;
pub mod verify_returned_file;
