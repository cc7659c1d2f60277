//! Step Functions: starting executions and answering task tokens.

use aws_sdk_sfn::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
};
use lectern::{
    document::{DocumentRef, TaskToken},
    error::Error,
    message::SCHEMA_VERSION,
    ports::{Executions, Resume, StartExecution, Tasks, TokenUse},
    telemetry::trace::{TRACEPARENT, TraceParent},
};
use serde_json::{Value, json};

use crate::error::failed;

#[cfg(test)]
mod tests;

/// The state machine of documents.
#[derive(Clone, Debug)]
pub struct StateMachine {
    client: Client,
    arn: String,
}

impl StateMachine {
    /// Starts executions of this state machine.
    pub fn new(client: Client, arn: String) -> Self {
        Self { client, arn }
    }
}

impl Executions for StateMachine {
    /// The execution's name is the document's id and the number of redrives, so a second start finds the first
    /// execution: `ExecutionAlreadyExists` is success. The execution continues the document's trace in X-Ray.
    async fn start(&self, execution: &StartExecution) -> Result<(), Error> {
        let request = self
            .client
            .start_execution()
            .state_machine_arn(&self.arn)
            .name(execution_name(&execution.document, execution.redrives))
            .input(execution_input(execution).to_string())
            .set_trace_header(execution.traceparent.map(TraceParent::to_xray));
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("ExecutionAlreadyExists") => {
                tracing::debug!("The execution had been started before.");
                Ok(())
            }
            Err(error) => Err(failed("StartExecution", error)),
        }
    }
}

/// The input of an execution. `resume` is absent if the workflow starts at its beginning.
pub fn execution_input(execution: &StartExecution) -> Value {
    let StartExecution { document, traceparent, lane, redrives, resume, round, attempt } = execution;
    let mut input = json!({
        "schemaVersion": SCHEMA_VERSION,
        "submissionId": document.submission_id,
        "documentId": document.document_id,
        "lane": lane,
        "redrives": redrives,
        "round": round,
        "attempt": attempt,
    });
    if let Some(traceparent) = traceparent {
        input[TRACEPARENT] = json!(traceparent);
    }
    match resume {
        Resume::Transfer => {}
        Resume::Probe => input["resume"] = json!("probe"),
        Resume::Verify => input["resume"] = json!("verify"),
    }
    input
}

/// The name of a document's execution: its id, and from the first redrive on the number of redrives.
pub fn execution_name(document: &DocumentRef, redrives: u32) -> String {
    match redrives {
        0 => document.document_id.to_string(),
        number => format!("{}-redrive-{number}", document.document_id),
    }
}

/// Task tokens.
#[derive(Clone, Debug)]
pub struct TaskTokens(Client);

impl TaskTokens {
    /// Answers tokens through this client.
    pub fn new(client: Client) -> Self {
        Self(client)
    }
}

impl Tasks for TaskTokens {
    async fn succeed(&self, token: &TaskToken, output: Value) -> Result<TokenUse, Error> {
        let request = self.0.send_task_success().task_token(token.expose()).output(output.to_string());
        token_use("SendTaskSuccess", request.send().await)
    }

    async fn is_awaited(&self, token: &TaskToken) -> Result<TokenUse, Error> {
        match self.0.send_task_heartbeat().task_token(token.expose()).send().await {
            // The token is the only field of this request, so the token itself is invalid.
            Err(error) if error.code() == Some("ValidationException") => {
                tracing::debug!("This is not a task token.");
                Ok(TokenUse::NotAwaited)
            }
            result => token_use("SendTaskHeartbeat", result),
        }
    }

    async fn fail(&self, token: &TaskToken, error: &Error) -> Result<TokenUse, Error> {
        let request = self
            .0
            .send_task_failure()
            .task_token(token.expose())
            .error(error.name())
            .cause(error.cause().to_string());
        token_use("SendTaskFailure", request.send().await)
    }
}

/// A token that was answered or timed out, or whose execution has ended, is not an error: no task waits for it any
/// more.
fn token_use<T, E>(call: &'static str, result: Result<T, SdkError<E>>) -> Result<TokenUse, Error>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match result {
        Ok(_) => Ok(TokenUse::Delivered),
        Err(error) if matches!(error.code(), Some("TaskTimedOut" | "TaskDoesNotExist" | "InvalidToken")) => {
            tracing::debug!(call, code = error.code(), "The execution no longer waits for this task token.");
            Ok(TokenUse::NotAwaited)
        }
        Err(error) => Err(failed(call, error)),
    }
}
