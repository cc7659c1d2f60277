//! Contract tests: the code, `template.yaml`, `statemachines/`, `events/` and the docs must agree where no compiler
//! checks it. The tests only read files.

#![cfg(test)]

mod alarms;
mod asl;
mod dashboard;
mod deployment;
mod docs;
mod erasure;
mod event_docs;
mod event_filter;
mod events;
mod failure_cases;
mod file_types;
mod functions;
mod http_api;
mod invariants;
mod leases;
mod loops;
mod metrics;
mod payloads;
mod permissions;
mod pins;
mod queues;
mod replacement;
mod retries;
mod settings;
mod sources;
mod state_machine;
mod storage;
mod template;
mod transitions;
