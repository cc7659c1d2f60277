//! Step Functions as an operator sees it: executions by name, their histories, and its own redrive.

use aws_sdk_sfn::{
    Client,
    error::ProvideErrorMetadata as _,
    operation::describe_execution::DescribeExecutionOutput,
    types::{ExecutionRedriveStatus, ExecutionStatus, HistoryEvent, HistoryEventType},
};
use lectern::document::{DocumentId, DocumentRef, SubmissionId};
use lectern_aws::sfn::execution_name;
use serde::Deserialize;
use time::OffsetDateTime;

use crate::{
    explain::history::{Reader, Step},
    problem::{Problem, is_not_offered},
    text::aws_time,
};

#[cfg(test)]
mod tests;

/// The document's executions.
#[derive(Clone, Debug)]
pub(crate) struct Executions {
    client: Client,
    machine: String,
    prefix: String,
}

/// How an execution stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Running,
    Succeeded,
    /// Failed, timed out or aborted.
    Broken(&'static str),
}

/// One execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Execution {
    pub(crate) name: String,
    pub(crate) status: Status,
    pub(crate) started: OffsetDateTime,
    pub(crate) stopped: Option<OffsetDateTime>,
}

/// What became of asking for a redrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Redriven {
    /// The execution goes on where it broke off.
    GoesOn,
    /// It was running already: somebody else was faster, or an earlier request whose answer was lost.
    Running,
    /// This Step Functions cannot do that, or not for this execution, which is over.
    NotOffered,
    /// It was refused, and it cannot be told yet whether the execution runs, or has ended well meanwhile.
    Unclear,
}

impl Executions {
    pub(crate) fn new(client: Client, state_machine_arn: &str) -> Self {
        let machine = state_machine_arn.to_owned();
        Self { client, machine, prefix: state_machine_arn.replacen(":stateMachine:", ":execution:", 1) }
    }

    fn arn(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }

    /// The submission of a document, from the input of its first execution.
    pub(crate) async fn submission_of(&self, document: DocumentId) -> Result<Option<SubmissionId>, Problem> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Input {
            submission_id: SubmissionId,
        }
        let request = self.client.describe_execution().execution_arn(self.arn(&document.to_string()));
        match request.send().await {
            Ok(answer) => {
                let input = answer.input.as_deref().unwrap_or_default();
                Ok(serde_json::from_str::<Input>(input).ok().map(|input| input.submission_id))
            }
            Err(error) if error.code() == Some("ExecutionDoesNotExist") => Ok(None),
            Err(error) => Err(Problem::aws("DescribeExecution", &error)),
        }
    }

    /// The document's execution after so many redrives.
    pub(crate) async fn find(
        &self,
        document: &DocumentRef,
        redrives: u32,
    ) -> Result<Option<Execution>, Problem> {
        let name = execution_name(document, redrives);
        match self.client.describe_execution().execution_arn(self.arn(&name)).send().await {
            Ok(answer) => Ok(Some(Execution {
                name,
                status: status(&answer.status),
                started: aws_time(&answer.start_date),
                stopped: answer.stop_date.as_ref().map(aws_time),
            })),
            Err(error) if error.code() == Some("ExecutionDoesNotExist") => Ok(None),
            Err(error) => Err(Problem::aws("DescribeExecution", &error)),
        }
    }

    /// The names of the executions of this status that were started last, `most` of them at most.
    pub(crate) async fn newest(&self, status: ExecutionStatus, most: i32) -> Result<Vec<String>, Problem> {
        let request = self.client.list_executions().state_machine_arn(&self.machine);
        let answer = request.status_filter(status).max_results(most).send().await;
        let answer = answer.map_err(|error| Problem::aws("ListExecutions", &error))?;
        Ok(answer.executions.into_iter().map(|execution| execution.name).collect())
    }

    /// All of an execution's history that is told.
    pub(crate) async fn history(&self, name: &str) -> Result<Vec<Step>, Problem> {
        let request = self.client.get_execution_history().execution_arn(self.arn(name)).max_results(1000);
        let mut events = request.into_paginator().items().send();
        let (mut reader, mut steps) = (Reader::default(), Vec::new());
        while let Some(event) = events.next().await {
            let event = event.map_err(|error| Problem::aws("GetExecutionHistory", &error))?;
            steps.extend(reader.read(&event));
        }
        Ok(steps)
    }

    /// The state that an execution has entered last; `None` if its newest events do not tell.
    pub(crate) async fn state_now(&self, name: &str) -> Result<Option<String>, Problem> {
        let request = self.client.get_execution_history().execution_arn(self.arn(name));
        let answer = request.reverse_order(true).max_results(100).include_execution_data(false).send().await;
        match answer {
            Ok(answer) => {
                let mut entered =
                    answer.events.into_iter().filter_map(|event| event.state_entered_event_details);
                Ok(entered.next().map(|details| details.name))
            }
            Err(error) if error.code() == Some("ExecutionDoesNotExist") => Ok(None),
            Err(error) => Err(Problem::aws("GetExecutionHistory", &error)),
        }
    }

    /// Lets Step Functions go on where the execution broke off. One that came to its Fail state would only fail there
    /// again, so it is not asked for that; nor twice, since it goes on by the definition that the execution was started
    /// with, which may be what it broke off for. Another execution may be started on `NotOffered` only.
    pub(crate) async fn redrive(&self, name: &str) -> Result<Redriven, Problem> {
        let found = self.describe(name).await?;
        if is_running(&found) {
            return Ok(Redriven::Running);
        }
        let was_redriven = found.redrive_count.is_some_and(|count| count > 0);
        if was_redriven || self.has_failed_by_itself(name).await? {
            return Ok(Redriven::NotOffered);
        }
        match self.client.redrive_execution().execution_arn(self.arn(name)).send().await {
            Ok(_) => Ok(Redriven::GoesOn),
            // AWS's word for this execution, also for one that somebody else has had redriven meanwhile.
            Err(error) if error.code() == Some("ExecutionNotRedrivable") => {
                Ok(refused(&self.describe(name).await?))
            }
            // The words of clouds that lack the call.
            Err(error) if is_not_offered(error.code()) => Ok(Redriven::NotOffered),
            Err(error) => Err(Problem::aws("RedriveExecution", &error)),
        }
    }

    /// Stops an execution, if it is still or again at work.
    pub(crate) async fn stop(&self, name: &str) -> Result<(), Problem> {
        match self.client.stop_execution().execution_arn(self.arn(name)).send().await {
            Ok(_) => Ok(()),
            // It is over.
            Err(error) if matches!(error.code(), Some("ExecutionDoesNotExist" | "ValidationException")) => {
                Ok(())
            }
            Err(error) => Err(Problem::aws("StopExecution", &error)),
        }
    }

    async fn describe(&self, name: &str) -> Result<DescribeExecutionOutput, Problem> {
        let answer = self.client.describe_execution().execution_arn(self.arn(name)).send().await;
        answer.map_err(|error| Problem::aws("DescribeExecution", &error))
    }

    async fn has_failed_by_itself(&self, name: &str) -> Result<bool, Problem> {
        let request = self.client.get_execution_history().execution_arn(self.arn(name));
        let answer = request.reverse_order(true).max_results(5).include_execution_data(false).send().await;
        let answer = answer.map_err(|error| Problem::aws("GetExecutionHistory", &error))?;
        let is_fail = |event: &HistoryEvent| event.r#type == HistoryEventType::FailStateEntered;
        Ok(answer.events.iter().any(is_fail))
    }
}

/// Why an execution is not redrivable, by what `DescribeExecution` tells afterwards. That is
/// [eventually consistent](https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html): what
/// it says may be of before another redrive. Then it says `REDRIVABLE`; only an execution that is over, and not redrivable
/// for a reason that stays, such as its age, is not running for certain.
fn refused(now: &DescribeExecutionOutput) -> Redriven {
    let reason = now.redrive_status_reason.as_deref().unwrap_or_default();
    let stays = now.redrive_status == Some(ExecutionRedriveStatus::NotRedrivable)
        && !reason.is_empty()
        && !reason.contains("SUCCEEDED");
    match status(&now.status) {
        _ if is_running(now) => Redriven::Running,
        Status::Broken(_) if stays => Redriven::NotOffered,
        Status::Broken(_) | Status::Succeeded | Status::Running => Redriven::Unclear,
    }
}

/// By its status, or by the reason for which it is not redrivable.
fn is_running(execution: &DescribeExecutionOutput) -> bool {
    let reason = execution.redrive_status_reason.as_deref();
    status(&execution.status) == Status::Running || reason.is_some_and(|reason| reason.contains("RUNNING"))
}

/// Running, pending a redrive, or something new: that is not over.
fn status(status: &ExecutionStatus) -> Status {
    match status.as_str() {
        "SUCCEEDED" => Status::Succeeded,
        "FAILED" => Status::Broken("failed"),
        "TIMED_OUT" => Status::Broken("timed out"),
        "ABORTED" => Status::Broken("was aborted"),
        _ => Status::Running,
    }
}
