//! The whole workflow as it is deployed: the real template and binaries on a local cloud with IAM enforced, real queues,
//! tokens and callbacks, the reference third party and its faults. `make e2e` brings the cloud up and runs these.
//!
//! Every test has its own submission and asks for faults by its own documents, so that all run side by side. Nothing
//! sleeps; [`wait`] waits for effects. What needs the stack for itself is ignored here and runs afterwards.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]
#![expect(clippy::large_futures, reason = "the futures of a test are made once")]

mod afterwards;
mod alarms;
mod api;
mod aws_json;
mod callbacks;
mod case;
mod content;
mod functions;
mod queues;
mod stack;
mod third_party_admin;
mod wait;

mod case_01_to_07_events;
mod case_09_to_16_uploads;
mod case_17_and_18_poison;
mod case_25_to_30_trouble;
mod case_31_to_34_rendezvous;
mod case_35_to_40_signatures;
mod case_41_to_44_returned;
mod command;
mod crowd;
mod good_files;
mod large_files;
mod logs;
mod paced;
mod records;
mod store_model;
