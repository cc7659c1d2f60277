//! The state machine: executions that are started, and task tokens that are answered.

use std::future::Future;

use crate::{
    document::{Attempt, Document, DocumentRef, DocumentState, Round, TaskToken},
    error::Error,
    telemetry::trace::TraceParent,
};

/// An execution to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartExecution {
    /// Of which document.
    pub document: DocumentRef,
    /// The document's trace, if it has one.
    pub traceparent: Option<TraceParent>,
    /// How often the document was redriven: each time is an execution of its own.
    pub redrives: u32,
    /// Where the workflow resumes.
    pub resume: Resume,
    /// The document's round.
    pub round: Round,
    /// The newest attempt of the executions before.
    pub attempt: Attempt,
}

/// Where the execution of a document begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// At the beginning.
    Transfer,
    /// With the question to the third party about the job of this round.
    Ask,
    /// At the verification of the kept result.
    Verify,
}

impl StartExecution {
    /// The execution that the document, as it is stored, has to have.
    pub fn of(document: &Document) -> Self {
        Self {
            document: document.reference.clone(),
            traceparent: document.traceparent,
            redrives: document.redrives,
            resume: if document.redrives > 0 && document.state == DocumentState::Processing {
                Resume::Ask
            } else if document.redrives > 0 && document.state == DocumentState::Verifying {
                Resume::Verify
            } else {
                Resume::Transfer
            },
            round: document.round,
            attempt: document.attempt.unwrap_or_default(),
        }
    }
}

/// Starts the state machine.
pub trait Executions: Send + Sync {
    /// Starts the document's execution, named by its id and how often it was opened again. One that was started before
    /// is left alone.
    fn start(&self, execution: &StartExecution) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Reports to the state machine.
pub trait Tasks: Send + Sync {
    /// Completes the task. A token that nobody waits for any more is no error.
    fn succeed(
        &self,
        token: &TaskToken,
        output: serde_json::Value,
    ) -> impl Future<Output = Result<TokenUse, Error>> + Send;

    /// Whether anybody still waits for the token: a message may have lain in its queue longer than its task.
    fn is_awaited(&self, token: &TaskToken) -> impl Future<Output = Result<TokenUse, Error>> + Send;

    /// Fails the task with the error's name and cause. A token that nobody waits for any more is no error.
    fn fail(&self, token: &TaskToken, error: &Error) -> impl Future<Output = Result<TokenUse, Error>> + Send;
}

/// What became of a task token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenUse {
    /// The execution goes on.
    Delivered,
    /// Nobody waits for it any more: answered before, timed out, or its execution is over.
    NotAwaited,
}
