//! The ports of the state machine: starting executions and answering task tokens.

use std::future::Future;

use crate::{
    admission::Lane,
    document::{Attempt, Document, DocumentRef, DocumentState, Round, TaskToken},
    error::Error,
    telemetry::trace::TraceParent,
};

/// An execution to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartExecution {
    /// The document.
    pub document: DocumentRef,
    /// The document's trace, if it has one.
    pub traceparent: Option<TraceParent>,
    /// The document's lane in admission control.
    pub lane: Lane,
    /// The number of redrives of the document. Each redrive is an execution of its own.
    pub redrives: u32,
    /// Where the workflow resumes.
    pub resume: Resume,
    /// The document's round.
    pub round: Round,
    /// The newest attempt of earlier executions.
    pub attempt: Attempt,
}

/// Where the execution of a document begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// At the beginning: the document requests a permit.
    Transfer,
    /// With the probe of this round's job.
    Probe,
    /// With the verification of the stored result.
    Verify,
}

impl StartExecution {
    /// The execution for a document in this state.
    pub fn of(document: &Document) -> Self {
        Self {
            document: document.reference.clone(),
            traceparent: document.traceparent,
            lane: Lane::of(document.owner.as_ref(), &document.reference.submission_id),
            redrives: document.redrives,
            resume: if document.redrives > 0 && document.state == DocumentState::Processing {
                Resume::Probe
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
    /// Starts the document's execution. Its name consists of the document's id and number of redrives. If the execution
    /// was started before, this changes nothing.
    fn start(&self, execution: &StartExecution) -> impl Future<Output = Result<(), Error>> + Send;
}

/// The name of a document's execution: its id, and from the first redrive on the number of redrives.
pub fn execution_name(document: &DocumentRef, redrives: u32) -> String {
    match redrives {
        0 => document.document_id.to_string(),
        number => format!("{}-redrive-{number}", document.document_id),
    }
}

/// The status of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutionStatus {
    /// It runs, or somebody has just redriven it with Step Functions.
    Running,
    /// It succeeded.
    Succeeded,
    /// It ended without success: "failed", "timed out" or "was aborted".
    Broken(&'static str),
}

/// Finds executions of the state machine.
pub trait FindExecution: Send + Sync {
    /// The status of the document's execution of this redrive; `None` if there is no execution, or it was deleted 90 days
    /// after its end.
    fn find(
        &self,
        document: &DocumentRef,
        redrives: u32,
    ) -> impl Future<Output = Result<Option<ExecutionStatus>, Error>> + Send;
}

/// Stops executions of the state machine.
pub trait StopExecutions: Send + Sync {
    /// Stops the document's execution of this redrive; 0 is the first one. Does nothing if the execution has ended or does
    /// not exist.
    fn stop(&self, document: &DocumentRef, redrives: u32) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Answers task tokens of the state machine.
pub trait Tasks: Send + Sync {
    /// Completes the task. A token that no task waits for any more is not an error.
    fn succeed(
        &self,
        token: &TaskToken,
        output: serde_json::Value,
    ) -> impl Future<Output = Result<TokenUse, Error>> + Send;

    /// Sends a heartbeat, which has no effect except that the answer says whether a task still waits for the token. A
    /// message may have been in its queue for longer than its task waits.
    fn is_awaited(&self, token: &TaskToken) -> impl Future<Output = Result<TokenUse, Error>> + Send;

    /// Fails the task with the error's name and cause. A token that no task waits for any more is not an error.
    fn fail(&self, token: &TaskToken, error: &Error) -> impl Future<Output = Result<TokenUse, Error>> + Send;
}

/// Whether a task was waiting for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenUse {
    /// A task was waiting for the token.
    Delivered,
    /// No task waits for the token any more: it was answered before, the task timed out, or the execution has ended.
    NotAwaited,
}
