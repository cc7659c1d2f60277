//! Step Functions as an operator sees it: executions by name, their histories, and its own redrive.

use aws_sdk_sfn::{
    Client,
    error::ProvideErrorMetadata as _,
    types::{ExecutionStatus, HistoryEvent, HistoryEventType},
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
    Running,
    /// This Step Functions cannot do that, or not for this execution.
    NotOffered,
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
    /// with, which may be what it broke off for.
    pub(crate) async fn redrive(&self, name: &str) -> Result<Redriven, Problem> {
        if self.was_redriven(name).await? || self.has_failed_by_itself(name).await? {
            return Ok(Redriven::NotOffered);
        }
        match self.client.redrive_execution().execution_arn(self.arn(name)).send().await {
            Ok(_) => Ok(Redriven::Running),
            // AWS's word for this execution; the others are of clouds that lack the call.
            Err(error) if error.code() == Some("ExecutionNotRedrivable") || is_not_offered(error.code()) => {
                Ok(Redriven::NotOffered)
            }
            Err(error) => Err(Problem::aws("RedriveExecution", &error)),
        }
    }

    async fn was_redriven(&self, name: &str) -> Result<bool, Problem> {
        let answer = self.client.describe_execution().execution_arn(self.arn(name)).send().await;
        let answer = answer.map_err(|error| Problem::aws("DescribeExecution", &error))?;
        Ok(answer.redrive_count.is_some_and(|count| count > 0))
    }

    async fn has_failed_by_itself(&self, name: &str) -> Result<bool, Problem> {
        let request = self.client.get_execution_history().execution_arn(self.arn(name));
        let answer = request.reverse_order(true).max_results(5).include_execution_data(false).send().await;
        let answer = answer.map_err(|error| Problem::aws("GetExecutionHistory", &error))?;
        let is_fail = |event: &HistoryEvent| event.r#type == HistoryEventType::FailStateEntered;
        Ok(answer.events.iter().any(is_fail))
    }
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
