//! Step Functions: starting executions and answering task tokens.

use aws_sdk_sfn::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId as _,
};
use lectern::{
    document::{DocumentRef, TaskToken},
    error::Error,
    message::SCHEMA_VERSION,
    ports::{Executions, Resume, StartExecution, Tasks, TokenUse},
    telemetry::trace::{TRACEPARENT, TraceParent},
};
use serde_json::{Value, json};

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
    /// The execution's name is the document's id and the number of the redrive, so that a second start finds the first one:
    /// `ExecutionAlreadyExists` is success. The execution continues the document's trace at X-Ray.
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
            Err(error) => Err(unavailable("StartExecution", &error)),
        }
    }
}

/// The input of an execution; the state machine has defaults of a first execution for what is left out.
pub fn execution_input(execution: &StartExecution) -> Value {
    let StartExecution { document, traceparent, redrives, resume, round, attempt } = execution;
    let mut input = json!({
        "schemaVersion": SCHEMA_VERSION,
        "submissionId": document.submission_id,
        "documentId": document.document_id,
    });
    if let Some(traceparent) = traceparent {
        input[TRACEPARENT] = json!(traceparent);
    }
    if *redrives > 0 {
        input["redrives"] = json!(redrives);
        input["round"] = json!(round);
        input["attempt"] = json!(attempt);
        match resume {
            Resume::Transfer => {}
            Resume::Ask => input["resume"] = json!("ask"),
            Resume::Verify => input["resume"] = json!("verify"),
        }
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
                tracing::debug!("This is no token of a state.");
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

/// A token that was answered or timed out, or whose execution is over, is no error: it is not awaited any more.
fn token_use<T, E>(call: &str, result: Result<T, SdkError<E>>) -> Result<TokenUse, Error>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match result {
        Ok(_) => Ok(TokenUse::Delivered),
        Err(error) if matches!(error.code(), Some("TaskTimedOut" | "TaskDoesNotExist" | "InvalidToken")) => {
            tracing::debug!(call, code = error.code(), "Nobody waits for this token any more.");
            Ok(TokenUse::NotAwaited)
        }
        Err(error) => Err(unavailable(call, &error)),
    }
}

/// Names the call and the service's error code only: services quote keys, tokens and names in their messages.
pub fn unavailable<E>(call: &str, error: &SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let kind = match error {
        SdkError::ConstructionFailure(_) => "the request could not be built",
        SdkError::TimeoutError(_) => "it timed out",
        SdkError::DispatchFailure(failure) if failure.is_timeout() => "it timed out",
        SdkError::DispatchFailure(_) => "it could not be reached",
        SdkError::ResponseError(_) => "its answer could not be read",
        SdkError::ServiceError(_) => "it answered with an error",
        _ => "it failed",
    };
    let code = error.code().unwrap_or("no code");
    let status = error.raw_response().map(|response| response.status().as_u16());
    tracing::debug!(call, kind, code, status, requestId = error.request_id(), "A call to AWS failed.");
    Error::StoreUnavailable(format!("{call}: {kind} ({code})"))
}
