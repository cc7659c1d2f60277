//! The AWS clients and the stack. The SDK retries calls to AWS, and longer than the functions do.

use std::{path::PathBuf, time::Duration};

use aws_sdk_cloudformation::error::{ProvideErrorMetadata, SdkError};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use lectern::{
    document::{
        Document, DocumentRef,
        submission::{Submission, SubmissionState},
    },
    ports::{Browse as _, Load as _, SubmissionFilter},
};
use lectern_aws::{
    AuditTrail, CachedSecret, Clients, Config, DynamoDbStore, HttpThirdParty, ObjectsOfSubmissions,
    StateMachine,
};

use crate::{
    args::Common,
    executions::Executions,
    ids::Named,
    problem::Problem,
    stack::{Resource, Stack, StackFile},
};

pub(crate) const LOCAL_FILE: &str = ".local/stack.json";
/// With the SDK's exponential backoff and jitter, these attempts take about ten seconds.
const MAX_ATTEMPTS: u32 = 5;
/// How long one request to the third party may take.
const THIRD_PARTY_TIMEOUT: Duration = Duration::from_secs(20);
/// The page size when submissions are read.
const PAGE: usize = 100;

#[derive(Debug)]
pub(crate) struct Cloud {
    pub(crate) stack: Stack,
    /// For services that only few commands use.
    pub(crate) clients: Clients,
    pub(crate) formation: aws_sdk_cloudformation::Client,
    pub(crate) store: DynamoDbStore,
    pub(crate) state_machine: StateMachine,
    pub(crate) executions: Executions,
    pub(crate) s3: aws_sdk_s3::Client,
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) logs: aws_sdk_cloudwatchlogs::Client,
    pub(crate) cloudwatch: aws_sdk_cloudwatch::Client,
}

impl Cloud {
    /// Finds the stack that the command line selects.
    pub(crate) async fn open(common: &Common) -> Result<Self, Problem> {
        let local = common.local.then(|| PathBuf::from(LOCAL_FILE));
        let (clients, name) = match common.stack_file.clone().or(local) {
            Some(file) => {
                let StackFile { endpoint, region, access_key_id, secret_access_key, stack_name, .. } =
                    StackFile::read(&file)?;
                (Clients::at(&endpoint, &region, &access_key_id, &secret_access_key), stack_name)
            }
            None => remote(common.stack.as_deref()).await?,
        };
        let clients = clients.with_max_attempts(MAX_ATTEMPTS);
        let formation = aws_sdk_cloudformation::Client::new(clients.shared());
        let stack = Stack::of(&name, &resources(&formation, &name).await?)?;
        Ok(Self {
            store: DynamoDbStore::new(clients.dynamodb(), stack.table.clone()),
            state_machine: StateMachine::new(clients.sfn(), stack.state_machine_alias_arn.clone()),
            executions: Executions::new(clients.sfn(), &stack.state_machine_arn),
            s3: clients.s3(),
            sqs: clients.sqs(),
            logs: aws_sdk_cloudwatchlogs::Client::new(clients.shared()),
            cloudwatch: aws_sdk_cloudwatch::Client::new(clients.shared()),
            formation,
            stack,
            clients,
        })
    }

    /// The stack's limit of jobs in flight; `None` if it cannot be read, because commands work without it.
    pub(crate) async fn max_leases(&self) -> Option<usize> {
        self.parameter("ThirdPartyMaxInFlight").await.ok()??.parse().ok()
    }

    /// The value of one of the stack's parameters.
    async fn parameter(&self, name: &str) -> Result<Option<String>, Problem> {
        let answer = self.formation.describe_stacks().stack_name(&self.stack.name).send().await;
        let stacks = answer.map_err(Problem::aws("DescribeStacks"))?.stacks.unwrap_or_default();
        let mut parameters = stacks.into_iter().filter_map(|stack| stack.parameters).flatten();
        let found = parameters.find(|parameter| parameter.parameter_key() == Some(name));
        Ok(found.and_then(|found| found.parameter_value))
    }

    /// The objects of submissions in both buckets.
    pub(crate) fn objects(&self) -> ObjectsOfSubmissions {
        let Stack { uploads_bucket, returned_bucket, .. } = &self.stack;
        ObjectsOfSubmissions::new(self.s3.clone(), uploads_bucket.clone(), returned_bucket.clone())
    }

    /// The audit trail of submissions.
    pub(crate) fn audit_trail(&self) -> AuditTrail {
        AuditTrail::new(self.clients.dynamodb(), self.stack.table.clone())
    }

    /// How long a function may still work on a document whose execution was stopped.
    pub(crate) async fn stopped_document_time(&self) -> Result<Duration, Problem> {
        let seconds =
            self.parameter("StoppedDocumentSeconds").await?.and_then(|seconds| seconds.parse().ok());
        seconds
            .map(Duration::from_secs)
            .ok_or_else(|| self.is_of_another_version("no StoppedDocumentSeconds"))
    }

    /// The third party's API, with the key that the functions use.
    pub(crate) async fn third_party(&self) -> Result<HttpThirdParty, Problem> {
        let url = self.parameter("ThirdPartyUrl").await?;
        let (Some(url), Some(api_key)) = (url, &self.stack.api_key) else {
            return Err(self.is_of_another_version("no third party"));
        };
        let api_key = CachedSecret::new(self.clients.secrets_manager(), api_key.clone());
        Ok(HttpThirdParty::new(url.trim_end_matches('/').to_owned(), api_key, THIRD_PARTY_TIMEOUT))
    }

    fn is_of_another_version(&self, has: &str) -> Problem {
        Problem::new(
            format!("the stack {} has {has}", self.stack.name),
            "Give a stack that was deployed from this version of Lectern's template.yaml.",
        )
    }

    /// The ARN of the principal that runs the command.
    pub(crate) async fn caller(&self) -> Result<String, Problem> {
        let sts = aws_sdk_sts::Client::new(self.clients.shared());
        let answer = sts.get_caller_identity().send().await.map_err(Problem::aws("GetCallerIdentity"))?;
        Ok(answer.arn.unwrap_or_default())
    }

    /// The submissions of a state, newest first. The index may still contain a submission that has just left the state.
    pub(crate) fn submissions(
        &self,
        state: SubmissionState,
    ) -> impl Stream<Item = Result<Submission, Problem>> + '_ {
        let filter = SubmissionFilter::in_state(Some(state));
        let first = Some(None);
        let pages = stream::try_unfold((filter, first), move |(filter, after)| async move {
            let Some(after) = after else { return Ok(None) };
            let found = self.store.submissions(&filter, after.as_ref(), PAGE).await?;
            let next = found.next.map(Some);
            Ok::<_, Problem>(Some((found.submissions, (filter, next))))
        });
        pages.map_ok(|page| stream::iter(page).map(Ok)).try_flatten()
    }

    /// The document of the given id. The table's keys begin with the submission, and nothing scans the table. So if
    /// only the document id is given, the submission comes from the input of the document's first execution.
    pub(crate) async fn document(&self, named: &Named) -> Result<Document, Problem> {
        let reference = match named {
            Named::DocumentOf(reference) => reference.clone(),
            Named::Document(document_id) => {
                let found = self.executions.submission_of(*document_id).await?;
                let submission_id = found.ok_or_else(|| {
                    Problem::not_found(
                        format!("no execution is named {document_id}"),
                        "Rejected documents have no execution, and executions are deleted after 90 days: give <submission id>/<document id>. If the file was never registered, `lectern reconcile` finds it.",
                    )
                })?;
                DocumentRef { submission_id, document_id: *document_id }
            }
            Named::Submission(submission) => {
                return Err(Problem::new(
                    format!("{submission} is a submission, not a document"),
                    format!(
                        "List its documents with `lectern explain {submission}`, and give the id of one."
                    ),
                ));
            }
        };
        self.store.load(&reference).await?.ok_or_else(|| {
            let DocumentRef { submission_id, document_id } = &reference;
            Problem::not_found(
                format!("submission {submission_id} has no document {document_id}"),
                format!("List the documents of the submission with `lectern explain {submission_id}`."),
            )
        })
    }
}

/// The address of the pages of a deployed stack, from its outputs.
pub(crate) async fn pages_url(name: &str) -> Result<String, Problem> {
    let (clients, name) = remote(Some(name)).await?;
    let formation = aws_sdk_cloudformation::Client::new(clients.with_max_attempts(MAX_ATTEMPTS).shared());
    let answer = formation.describe_stacks().stack_name(&name).send().await;
    let answer = answer.map_err(|error| no_stack_or("DescribeStacks", &name, error))?;
    let outputs = answer.stacks.unwrap_or_default().into_iter().filter_map(|stack| stack.outputs).flatten();
    let url = outputs.into_iter().find(|output| output.output_key() == Some("PagesUrl"));
    url.and_then(|output| output.output_value).ok_or_else(|| {
        Problem::new(
            format!("the stack {name} has no output PagesUrl"),
            "Give a stack that was deployed from this version of Lectern's template.yaml.",
        )
    })
}

fn no_stack_or<E: ProvideErrorMetadata>(call: &str, name: &str, error: SdkError<E>) -> Problem {
    match error.code() {
        Some("ValidationError") => Problem::not_found(
            format!("there is no stack {name}"),
            "Check --stack, the region and the account (AWS_PROFILE).",
        ),
        _ => Problem::aws(call)(error),
    }
}

async fn remote(name: Option<&str>) -> Result<(Clients, String), Problem> {
    let name = name.filter(|name| !name.is_empty()).ok_or_else(|| {
        Problem::new(
            "no stack is given",
            "Give --stack NAME (or LECTERN_STACK_NAME), or --local for the local cloud that `make run` started.",
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
        let page = page.map_err(|error| no_stack_or("ListStackResources", name, error))?;
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
