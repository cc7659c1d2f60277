//! End-to-end tests: the real template and binaries on a local cloud that enforces IAM, with real queues, task tokens
//! and callbacks, and the reference third party with its faults. `make e2e` starts the local cloud and runs the tests.
//!
//! Every test has its own submission and sets faults for its own documents only, so the tests run in parallel. No test
//! sleeps; [`wait`] waits for effects. Tests that need the stack to themselves are in [`alone`], and tests with
//! real waits and limits in [`paced`].
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot continue fails")]
#![expect(clippy::large_futures, reason = "a test creates its futures once")]

mod alarms;
mod alone;
mod api;
mod aws_json;
mod callbacks;
mod case;
mod content;
mod erasure;
mod event_receiver;
mod functions;
mod hand_in;
mod lists;
mod queues;
mod stack;
mod third_party_admin;
mod tokens;
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
mod events;
mod good_files;
mod hand_in_by_command;
mod local_cloud;
mod malware;
mod paced;
mod ports;
mod records;
mod store_model;
