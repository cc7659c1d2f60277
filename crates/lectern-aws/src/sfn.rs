//! Step Functions: starting executions and answering task tokens.

use aws_sdk_sfn::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::start_execution::StartExecutionError,
};
use lectern::{
    document::{DocumentRef, SubmissionId, TaskToken},
    error::Error,
    message::SCHEMA_VERSION,
    ports::{
        ExecutionStatus, Executions, FindExecution, Resume, StartErasure, StartExecution, StopExecutions,
        Tasks, TokenUse, execution_name,
    },
    steps::erase_submission,
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
        started(request.send().await)
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

/// The ARN of an execution of a state machine. The first ARN may be that of an alias: AWS names an execution after the
/// state machine also if an alias started it.
pub fn execution_arn(state_machine_arn: &str, name: &str) -> String {
    let machine: Vec<&str> = state_machine_arn.split(':').take(7).collect();
    format!("{}:{name}", machine.join(":").replacen(":stateMachine:", ":execution:", 1))
}

/// The executions of the state machine of documents.
#[derive(Clone, Debug)]
pub struct DocumentExecutions {
    client: Client,
    state_machine_arn: String,
}

impl DocumentExecutions {
    /// The executions of this state machine, given by its ARN or by that of an alias.
    pub fn new(client: Client, state_machine_arn: &str) -> Self {
        Self { client, state_machine_arn: state_machine_arn.to_owned() }
    }
}

impl FindExecution for DocumentExecutions {
    async fn find(&self, document: &DocumentRef, redrives: u32) -> Result<Option<ExecutionStatus>, Error> {
        let arn = execution_arn(&self.state_machine_arn, &execution_name(document, redrives));
        match self.client.describe_execution().execution_arn(arn).send().await {
            Ok(found) => Ok(Some(status(&found.status))),
            Err(error) if error.code() == Some("ExecutionDoesNotExist") => Ok(None),
            Err(error) => Err(failed("DescribeExecution", error)),
        }
    }
}

/// The status as AWS names it. An unknown one, such as `PENDING_REDRIVE`, counts as running.
pub fn status(status: &aws_sdk_sfn::types::ExecutionStatus) -> ExecutionStatus {
    match status.as_str() {
        "SUCCEEDED" => ExecutionStatus::Succeeded,
        "FAILED" => ExecutionStatus::Broken("failed"),
        "TIMED_OUT" => ExecutionStatus::Broken("timed out"),
        "ABORTED" => ExecutionStatus::Broken("was aborted"),
        _ => ExecutionStatus::Running,
    }
}

impl StopExecutions for DocumentExecutions {
    async fn stop(&self, document: &DocumentRef, redrives: u32) -> Result<(), Error> {
        let arn = execution_arn(&self.state_machine_arn, &execution_name(document, redrives));
        match self.client.stop_execution().execution_arn(arn).send().await {
            Ok(_) => Ok(()),
            // The second code is the answer for an execution that has ended.
            Err(error) if matches!(error.code(), Some("ExecutionDoesNotExist" | "ValidationException")) => {
                tracing::debug!("The document has no execution to stop.");
                Ok(())
            }
            Err(error) => Err(failed("StopExecution", error)),
        }
    }
}

/// The state machine that erases submissions.
#[derive(Clone, Debug)]
pub struct ErasureStateMachine {
    client: Client,
    arn: String,
}

impl ErasureStateMachine {
    /// Starts executions of this state machine.
    pub fn new(client: Client, arn: String) -> Self {
        Self { client, arn }
    }
}

impl StartErasure for ErasureStateMachine {
    /// The execution's name is the submission's id, so a second start finds the first execution.
    async fn start_erasure(&self, id: &SubmissionId) -> Result<(), Error> {
        let input = erase_submission::Input { schema_version: SCHEMA_VERSION, submission_id: id.clone() };
        let request = self.client.start_execution().state_machine_arn(&self.arn);
        let request = request.name(id.as_str()).input(json!(input).to_string());
        started(request.send().await)
    }
}

/// An execution that was started before is not an error.
fn started<T>(result: Result<T, SdkError<StartExecutionError>>) -> Result<(), Error> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some("ExecutionAlreadyExists") => {
            tracing::debug!("The execution had been started before.");
            Ok(())
        }
        Err(error) => Err(failed("StartExecution", error)),
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
