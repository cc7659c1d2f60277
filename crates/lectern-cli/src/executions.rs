//! Step Functions for operators: finds executions by name, and reads their histories.

use aws_sdk_sfn::{
    Client,
    error::SdkError,
    operation::describe_execution::{DescribeExecutionError, DescribeExecutionOutput},
    types::ExecutionStatus as AwsStatus,
};
pub(crate) use lectern::ports::ExecutionStatus as Status;
use lectern::{
    document::{DocumentId, DocumentRef, SubmissionId},
    ports::execution_name,
};
use lectern_aws::sfn::{DocumentExecutions, execution_arn, status};
use serde::Deserialize;
use time::OffsetDateTime;

use crate::{explain::history::Step, problem::Problem, text::aws_time};

#[cfg(test)]
mod tests;

/// The executions of one state machine.
#[derive(Clone, Debug)]
pub(crate) struct Executions {
    client: Client,
    state_machine: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Execution {
    pub(crate) name: String,
    pub(crate) status: Status,
    pub(crate) started: OffsetDateTime,
}

impl Executions {
    pub(crate) fn new(client: Client, state_machine_arn: &str) -> Self {
        Self { client, state_machine: state_machine_arn.to_owned() }
    }

    /// The same executions for what the domain does with them.
    pub(crate) fn of_documents(&self) -> DocumentExecutions {
        DocumentExecutions::new(self.client.clone(), &self.state_machine)
    }

    fn arn(&self, name: &str) -> String {
        execution_arn(&self.state_machine, name)
    }

    /// The submission of a document, from the input of its first execution.
    pub(crate) async fn submission_of(&self, document: DocumentId) -> Result<Option<SubmissionId>, Problem> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Input {
            submission_id: SubmissionId,
        }
        let found = self.describe(&document.to_string()).await?;
        let input = found.and_then(|found| serde_json::from_str::<Input>(&found.input?).ok());
        Ok(input.map(|input| input.submission_id))
    }

    /// The document's execution of this redrive; 0 is the first execution.
    pub(crate) async fn find(
        &self,
        document: &DocumentRef,
        redrive: u32,
    ) -> Result<Option<Execution>, Problem> {
        let name = execution_name(document, redrive);
        let found = self.describe(&name).await?;
        Ok(found.map(|found| Execution {
            name,
            status: status(&found.status),
            started: aws_time(&found.start_date),
        }))
    }

    /// The names of the newest executions with this status, at most `most`.
    pub(crate) async fn newest(&self, status: AwsStatus, most: i32) -> Result<Vec<String>, Problem> {
        let request = self.client.list_executions().state_machine_arn(&self.state_machine);
        let answer = request.status_filter(status).max_results(most).send().await;
        let answer = answer.map_err(Problem::aws("ListExecutions"))?;
        Ok(answer.executions.into_iter().map(|execution| execution.name).collect())
    }

    /// The timeline steps of an execution's whole history.
    pub(crate) async fn history(&self, name: &str) -> Result<Vec<Step>, Problem> {
        let request = self.client.get_execution_history().execution_arn(self.arn(name)).max_results(1000);
        let mut events = request.into_paginator().items().send();
        let mut steps = Vec::new();
        while let Some(event) = events.next().await {
            steps.extend(Step::of(&event.map_err(Problem::aws("GetExecutionHistory"))?));
        }
        Ok(steps)
    }

    async fn describe(&self, name: &str) -> Result<Option<DescribeExecutionOutput>, Problem> {
        match self.client.describe_execution().execution_arn(self.arn(name)).send().await {
            Ok(found) => Ok(Some(found)),
            Err(SdkError::ServiceError(error))
                if matches!(error.err(), DescribeExecutionError::ExecutionDoesNotExist(_)) =>
            {
                Ok(None)
            }
            Err(error) => Err(Problem::aws("DescribeExecution")(error)),
        }
    }
}
