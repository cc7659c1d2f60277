//! The clients, and the stack they are used on.

use std::path::{Path, PathBuf};

use lectern::document::{Document, DocumentRef};
use lectern::ports::Load as _;
use lectern_aws::{Clients, Config, DynamoDbStore, ReturnedBucket, StateMachine};

use crate::{
    args::Common,
    executions::Executions,
    ids::Named,
    problem::Problem,
    stack::{Resource, Stack, StackFile},
};

const LOCAL_FILE: &str = ".local/stack.json";

/// All that a command talks to.
#[derive(Debug)]
pub(crate) struct Cloud {
    pub(crate) stack: Stack,
    pub(crate) formation: aws_sdk_cloudformation::Client,
    pub(crate) store: DynamoDbStore,
    pub(crate) machine: StateMachine,
    pub(crate) executions: Executions,
    pub(crate) s3: aws_sdk_s3::Client,
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) lambda: aws_sdk_lambda::Client,
    pub(crate) logs: aws_sdk_cloudwatchlogs::Client,
    pub(crate) cloudwatch: aws_sdk_cloudwatch::Client,
}

impl Cloud {
    /// Finds the stack that the command line means.
    pub(crate) async fn open(common: &Common) -> Result<Self, Problem> {
        let file = match &common.stack_file {
            Some(file) => Some(file.clone()),
            None => common.local.then(|| PathBuf::from(LOCAL_FILE)),
        };
        let (clients, name) = match file {
            Some(file) => local(&file)?,
            None => remote(common.stack.as_deref()).await?,
        };
        let formation = aws_sdk_cloudformation::Client::new(clients.shared());
        let stack = Stack::of(&name, &resources(&formation, &name).await?)?;
        let returned = ReturnedBucket::new(clients.s3(), stack.returned_bucket.clone());
        Ok(Self {
            store: DynamoDbStore::new(clients.dynamodb(), stack.table.clone(), returned),
            machine: StateMachine::new(clients.sfn(), stack.state_machine_arn.clone()),
            executions: Executions::new(clients.sfn(), &stack.state_machine_arn),
            s3: clients.s3(),
            sqs: clients.sqs(),
            lambda: aws_sdk_lambda::Client::new(clients.shared()),
            logs: aws_sdk_cloudwatchlogs::Client::new(clients.shared()),
            cloudwatch: aws_sdk_cloudwatch::Client::new(clients.shared()),
            formation,
            stack,
        })
    }

    /// How many jobs may be at the third party at a time, by the stack's parameter; `None` if it cannot be read: it is
    /// told with other numbers, and no reason to fail.
    pub(crate) async fn places(&self) -> Option<usize> {
        let answer = self.formation.describe_stacks().stack_name(&self.stack.name).send().await.ok()?;
        let parameters =
            answer.stacks.unwrap_or_default().into_iter().filter_map(|stack| stack.parameters).flatten();
        let is_meant = |parameter: &aws_sdk_cloudformation::types::Parameter| {
            parameter.parameter_key() == Some("ThirdPartyMaxInFlight")
        };
        parameters.into_iter().find(is_meant)?.parameter_value?.parse().ok()
    }

    /// The document that a person names. One that is named alone is looked up by its execution, whose name it is and
    /// whose input names its submission: the table's keys begin with the submission, and nothing scans the table.
    pub(crate) async fn document(&self, named: &Named) -> Result<Document, Problem> {
        let reference = match named {
            Named::DocumentOf(reference) => reference.clone(),
            Named::Document(document_id) => {
                let found = self.executions.submission_of(*document_id).await?;
                let submission_id = found.ok_or_else(|| {
                    Problem::not_found(
                        format!("no execution is named {document_id}"),
                        "A rejected document has none, nor one of months ago: give <submission id>/<document id>. If the file was never registered, `lectern reconcile` finds it.",
                    )
                })?;
                DocumentRef { submission_id, document_id: *document_id }
            }
            Named::Submission(submission) => {
                return Err(Problem::new(
                    format!("{submission} is a submission, not a document"),
                    format!("See its documents with `lectern explain {submission}`, and name one of them."),
                ));
            }
        };
        let found = self.store.load(&reference).await.map_err(|error| Problem::store(&error))?;
        found.ok_or_else(|| {
            let DocumentRef { submission_id, document_id } = &reference;
            Problem::not_found(
                format!("submission {submission_id} has no document {document_id}"),
                format!("See the documents of the submission with `lectern explain {submission_id}`."),
            )
        })
    }
}

fn local(file: &Path) -> Result<(Clients, String), Problem> {
    let is = StackFile::read(file)?;
    let clients = Clients::at(&is.endpoint, &is.region, &is.access_key_id, &is.secret_access_key);
    Ok((clients, is.stack_name))
}

async fn remote(name: Option<&str>) -> Result<(Clients, String), Problem> {
    let name = name.filter(|name| !name.is_empty()).ok_or_else(|| {
        Problem::new(
            "no stack is named",
            "Give --stack NAME (or LECTERN_STACK_NAME), or --local for the cloud that `make run` started.",
        )
    })?;
    let clients = Clients::load(Config::from_env()).await;
    if clients.shared().region().is_none() {
        return Err(Problem::new(
            "no AWS region is set",
            "Set AWS_REGION, or AWS_PROFILE to a profile with a region.",
        ));
    }
    Ok((clients, name.to_owned()))
}

async fn resources(formation: &aws_sdk_cloudformation::Client, name: &str) -> Result<Vec<Resource>, Problem> {
    let mut pages = formation.list_stack_resources().stack_name(name).into_paginator().send();
    let mut all = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| {
            let problem = Problem::aws("ListStackResources", &error);
            let is_unknown =
                aws_sdk_sfn::error::ProvideErrorMetadata::code(&error) == Some("ValidationError");
            if is_unknown {
                let what = format!("there is no stack {name}");
                return Problem::not_found(what, "Check --stack, the region and the account (AWS_PROFILE).");
            }
            problem
        })?;
        all.extend(page.stack_resource_summaries.unwrap_or_default().into_iter().filter_map(|resource| {
            Some(Resource {
                logical_id: resource.logical_resource_id?,
                physical_id: resource.physical_resource_id?,
                kind: resource.resource_type?,
            })
        }));
    }
    Ok(all)
}
