//! The names of the stack's table, buckets, queues, functions and log groups.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

use crate::problem::Problem;

#[cfg(test)]
mod tests;

/// The resources of a stack that the commands use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stack {
    pub(crate) name: String,
    pub(crate) table: String,
    pub(crate) uploads_bucket: String,
    pub(crate) returned_bucket: String,
    pub(crate) state_machine_arn: String,
    /// Executions are started by the alias, so that they get the version that the deployment has chosen.
    pub(crate) state_machine_alias_arn: String,
    /// The secret with our key for the third party.
    pub(crate) api_key: Option<String>,
    /// The URL of the queue for S3 events.
    pub(crate) receive_upload_queue: String,
    pub(crate) dead_letter_queues: Vec<DeadLetterQueue>,
    /// The log groups of functions, by the function's name without suffix, such as `TransferDocument`.
    pub(crate) log_groups: BTreeMap<String, String>,
    /// The alarms' logical ids, such as `BreakerOpenAlarm`, by the alarms' names.
    pub(crate) alarms: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeadLetterQueue {
    /// The name of its resource without suffix, such as `TransferDocument`.
    pub(crate) name: String,
    pub(crate) url: String,
    /// The URL of the queue from which the messages came, and to which a redrive sends them back.
    pub(crate) source_url: String,
}

impl DeadLetterQueue {
    pub(crate) fn is_fifo(&self) -> bool {
        self.url.rsplit_once('.').is_some_and(|(_, suffix)| suffix == "fifo")
    }
}

/// One resource, as `CloudFormation` lists it.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    pub(crate) logical_id: String,
    pub(crate) physical_id: String,
    pub(crate) kind: String,
}

impl Stack {
    pub(crate) fn of(name: &str, resources: &[Resource]) -> Result<Self, Problem> {
        let of_kind = |kind: &'static str| resources.iter().filter(move |resource| resource.kind == kind);
        let named = |kind: &'static str, id: &str| {
            let found = of_kind(kind).find(|resource| resource.logical_id == id);
            found.map(|resource| resource.physical_id.clone()).ok_or_else(|| {
                Problem::new(
                    format!("the stack {name} has no {kind} {id}"),
                    "Give a stack that was deployed from this version of Lectern's template.yaml.",
                )
            })
        };
        let by_stem = |kind: &'static str, suffix: &'static str| {
            let all = of_kind(kind).filter_map(move |resource| {
                let stem = resource.logical_id.strip_suffix(suffix)?;
                Some((stem.to_owned(), resource.physical_id.clone()))
            });
            all.collect::<BTreeMap<String, String>>()
        };
        let queues = by_stem("AWS::SQS::Queue", "Queue");
        let dead_letter_queues = queues.iter().filter_map(|(stem, url)| {
            let name = stem.strip_suffix("DeadLetter")?;
            let source_url = queues.get(name)?.clone();
            Some(DeadLetterQueue { name: name.to_owned(), url: url.clone(), source_url })
        });
        let dead_letter_queues = dead_letter_queues.collect();
        let functions = by_stem("AWS::Lambda::Function", "Function");
        let mut log_groups = by_stem("AWS::Logs::LogGroup", "LogGroup");
        log_groups.retain(|stem, _| functions.contains_key(stem));
        let alarms = of_kind("AWS::CloudWatch::Alarm");
        Ok(Self {
            name: name.to_owned(),
            table: named("AWS::DynamoDB::Table", "Table")?,
            uploads_bucket: named("AWS::S3::Bucket", "UploadsBucket")?,
            returned_bucket: named("AWS::S3::Bucket", "ReturnedBucket")?,
            state_machine_arn: named("AWS::StepFunctions::StateMachine", "DocumentStateMachine")?,
            state_machine_alias_arn: named(
                "AWS::StepFunctions::StateMachineAlias",
                "DocumentStateMachineAliaslive",
            )?,
            api_key: named("AWS::SecretsManager::Secret", "ThirdPartyApiKey").ok(),
            receive_upload_queue: named("AWS::SQS::Queue", "ReceiveUploadQueue")?,
            dead_letter_queues,
            log_groups,
            alarms: alarms.map(|alarm| (alarm.physical_id.clone(), alarm.logical_id.clone())).collect(),
        })
    }

    /// All dead-letter queues, or the one with this name, such as `TransferDocument` or `transfer-document`.
    pub(crate) fn dead_letter_queues(&self, name: Option<&str>) -> Result<Vec<&DeadLetterQueue>, Problem> {
        let Some(name) = name else { return Ok(self.dead_letter_queues.iter().collect()) };
        let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_'], "");
        let found = self.dead_letter_queues.iter().find(|queue| plain(&queue.name) == plain(name));
        found.map(|queue| vec![queue]).ok_or_else(|| {
            let names: Vec<&str> = self.dead_letter_queues.iter().map(|queue| queue.name.as_str()).collect();
            Problem::not_found(
                format!("the stack {} has no dead-letter queue {name}", self.name),
                format!("Give one of {}.", names.join(", ")),
            )
        })
    }
}

/// The local cloud's endpoint, its credentials and the stack's name, from the file that `make run` writes.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StackFile {
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
    pub(crate) stack_name: String,
    /// Where people hand in and read.
    pub(crate) pages_url: Option<String>,
}

impl StackFile {
    pub(crate) fn read(file: &Path) -> Result<Self, Problem> {
        let shown = file.display();
        let bytes = std::fs::read(file).map_err(|error| {
            Problem::new(
                format!("{shown} could not be read: {error}"),
                "Start the local cloud with `make run` and run this command in the Makefile's folder, or give the file with --stack-file.",
            )
        })?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Problem::new(
                format!("{shown} is not a stack file (line {} column {})", error.line(), error.column()),
                "Create it again: `make stop`, then `make run`.",
            )
        })
    }
}
