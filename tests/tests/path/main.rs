//! Path tests: documents pass through all of `statemachines/document.asl.json`, over the ports in memory. Each
//! message and payload is the JSON that the definition makes; each output is read as the next state reads it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says so by panicking")]

#[path = "../contract/asl.rs"]
#[allow(dead_code, reason = "the contract tests use all of it")]
mod asl;
mod conditions;
mod end_states;
mod fifo;
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
