//! Contract tests: what must agree between the code, `template.yaml`, `statemachines/`, `events/` and the documents,
//! because no compiler holds it. They read files and start nothing.

#![cfg(test)]

mod alarms;
mod asl;
mod dashboard;
mod docs;
mod events;
mod failure_cases;
mod functions;
mod http_api;
mod invariants;
mod leases;
mod loops;
mod metrics;
mod payloads;
mod permissions;
mod queues;
mod retries;
mod settings;
mod sources;
mod state_machine;
mod storage;
mod template;
mod transitions;
