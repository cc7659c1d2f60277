//! Tests that need the stack to themselves: they change the stack for a while, or check everything that the other tests
//! left. `.config/nextest.toml` recognises them by this module's name and runs them one by one after all other tests.

mod alarms;
mod changed_stack;
mod command;
mod deployments;
mod event_alarms;
mod large_files;
mod logs;
mod queues;
mod rate_limiter;
mod store_model;

use tokio::task::{LocalSet, spawn_local};

/// Runs a test's body, then `put_back` even if the body failed, and fails if the body failed.
pub(crate) async fn then<R>(body: impl Future<Output = ()> + 'static, put_back: impl Future<Output = R>) {
    let outcome = LocalSet::new().run_until(async { spawn_local(body).await }).await;
    put_back.await;
    outcome.expect("the test's body failed");
}
