//! Path tests: documents pass through all of `statemachines/document.asl.json`, on in-memory ports. The definition
//! makes the JSON of each message and payload, and each state reads the real output of the one before.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot continue panics")]

#[path = "../contract/asl.rs"]
#[allow(dead_code, reason = "the contract tests use all of it")]
mod asl;
mod conditions;
mod end_states;
mod fifo;
mod golden;
mod jsonata;
mod machine;
mod nothing_is_lost;
mod observed;
mod outages;
mod populations;
mod redrives;
mod simulation;
#[path = "../contract/sources.rs"]
#[allow(dead_code, reason = "the contract tests use all of it")]
mod sources;
#[path = "../contract/template.rs"]
#[allow(dead_code, reason = "the contract tests use all of it")]
mod template;
mod third_party;
mod trace;
