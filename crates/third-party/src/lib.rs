//! The reference third party: a server that implements the contract (`docs/third-party.openapi.yaml`), really processes
//! the documents that it receives, and injects faults on demand.
//!
//! Tests can start it inside their own process: [`serve`] takes a bound listener and returns a running [`Server`].
//! Jobs are kept in memory, so a restart loses them; documents and results are files in the data folder.
//! [`pdf`] and [`proofread`] are public for the fuzz targets.

mod admin;
mod admission;
mod app;
mod behaviour;
mod callbacks;
mod clock;
mod config;
mod connection;
mod fault_book;
mod faults;
mod files;
mod intake;
mod jobs;
mod limits;
mod outbound;
pub mod pdf;
mod problem;
pub mod proofread;
mod refusal;
mod requests;
mod routes;
mod run_job;
mod server;
mod sliding_window;
mod submit;
mod token_bucket;
mod traceparent;
mod usage;
mod work;

pub use admin::FaultEntry;
pub use config::{Config, InvalidConfig, Secrets};
pub use faults::{
    CallbackDefect, Contradiction, Fault, FaultRule, FileFault, JobFault, Matcher, NoPercentage, Percent,
    ReportedStatus, RetryAfter, SubmissionFault,
};
pub use jobs::{CallbackView, JobView};
pub use limits::{InvalidLimits, Limits};
pub use requests::{RequestCount, RequestsView, SubmissionView};
pub use routes::Route;
pub use server::{Server, StartError, serve};
pub use usage::UsageView;
