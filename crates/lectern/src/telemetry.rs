//! Telemetry of the steps: metrics, and the trace of a document through the workflow.

pub mod metrics;
pub mod trace;
