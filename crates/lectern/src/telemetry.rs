//! What the steps report about themselves: metrics, and the trace that a document keeps through the workflow.

pub mod metrics;
pub mod trace;
