//! The stack: what it calls its table, buckets, queues, functions and log groups.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

use crate::problem::Problem;

/// What of a stack's resources the commands use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stack {
    pub(crate) name: String,
    pub(crate) table: String,
    pub(crate) uploads_bucket: String,
    pub(crate) returned_bucket: String,
    pub(crate) state_machine_arn: String,
    /// The secret with the key that we show to the third party.
    pub(crate) api_key: Option<String>,
    /// Where S3's events go.
    pub(crate) receive_upload_queue: String,
    pub(crate) dead_letters: Vec<DeadLetters>,
    /// Log groups of functions, by the function's stem, such as `TransferDocument`.
    pub(crate) log_groups: BTreeMap<String, String>,
    /// Names of functions, by the same.
    pub(crate) functions: BTreeMap<String, String>,
    /// The alarms' resources, such as `BreakerOpenAlarm`, by the alarms' names.
    pub(crate) alarms: BTreeMap<String, String>,
}

/// A queue of what could not be handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeadLetters {
    /// The stem of its resource, such as `TransferDocument`.
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) source: Source,
}

/// Where its messages come from, and go back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The queue of this URL.
    Queue(String),
    /// Functions that were invoked asynchronously: Lambda's own records of failures.
    Invocations,
}

impl DeadLetters {
    /// Whether the queue of this URL keeps an order.
    pub(crate) fn is_fifo(url: &str) -> bool {
        url.rsplit_once('.').is_some_and(|(_, suffix)| suffix == "fifo")
    }
}

/// One resource, as it is listed.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    pub(crate) logical_id: String,
    pub(crate) physical_id: String,
    pub(crate) kind: String,
}

impl Stack {
    /// Finds what is needed among a stack's resources.
    pub(crate) fn of(name: &str, resources: &[Resource]) -> Result<Self, Problem> {
        let of_kind = |kind: &'static str| resources.iter().filter(move |resource| resource.kind == kind);
        let named = |kind: &'static str, id: &str| {
            let found = of_kind(kind).find(|resource| resource.logical_id == id);
            found.map(|resource| resource.physical_id.clone()).ok_or_else(|| {
                Problem::new(
                    format!("the stack {name} has no {kind} {id}"),
                    "Name a stack that was deployed from Lectern's template.yaml, of this version.",
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
        let dead_letters = queues.iter().filter_map(|(stem, url)| {
            let (name, source) = match stem.strip_suffix("DeadLetter") {
                Some(name) => (name, Source::Queue(queues.get(name)?.clone())),
                None if stem.ends_with("Invocation") => (stem.as_str(), Source::Invocations),
                None => return None,
            };
            Some(DeadLetters { name: name.to_owned(), url: url.clone(), source })
        });
        Ok(Self {
            name: name.to_owned(),
            table: named("AWS::DynamoDB::Table", "Table")?,
            uploads_bucket: named("AWS::S3::Bucket", "UploadsBucket")?,
            returned_bucket: named("AWS::S3::Bucket", "ReturnedBucket")?,
            state_machine_arn: named("AWS::StepFunctions::StateMachine", "DocumentStateMachine")?,
            api_key: named("AWS::SecretsManager::Secret", "ThirdPartyApiKey").ok(),
            receive_upload_queue: named("AWS::SQS::Queue", "ReceiveUploadQueue")?,
            dead_letters: dead_letters.collect(),
            functions: by_stem("AWS::Lambda::Function", "Function"),
            alarms: of_kind("AWS::CloudWatch::Alarm")
                .map(|alarm| (alarm.physical_id.clone(), alarm.logical_id.clone()))
                .collect(),
            log_groups: {
                let functions = by_stem("AWS::Lambda::Function", "Function");
                let mut groups = by_stem("AWS::Logs::LogGroup", "LogGroup");
                groups.retain(|stem, _| functions.contains_key(stem));
                groups
            },
        })
    }

    /// The dead-letter queues asked for: all, or the one of this name.
    pub(crate) fn dead_letters(&self, name: Option<&str>) -> Result<Vec<&DeadLetters>, Problem> {
        let Some(name) = name else { return Ok(self.dead_letters.iter().collect()) };
        let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_'], "");
        let found: Vec<&DeadLetters> =
            self.dead_letters.iter().filter(|queue| plain(&queue.name) == plain(name)).collect();
        if found.is_empty() {
            let names: Vec<&str> = self.dead_letters.iter().map(|queue| queue.name.as_str()).collect();
            return Err(Problem::not_found(
                format!("the stack {} has no dead-letter queue {name}", self.name),
                format!("Name one of {}.", names.join(", ")),
            ));
        }
        Ok(found)
    }
}

/// What of `stack.json` is used: how to get to a local cloud, and the stack's name there.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StackFile {
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
    pub(crate) stack_name: String,
}

impl StackFile {
    /// Reads the file.
    pub(crate) fn read(file: &Path) -> Result<Self, Problem> {
        let shown = file.display();
        let bytes = std::fs::read(file).map_err(|error| {
            Problem::new(
                format!("{shown} could not be read: {error}"),
                "Start the local cloud with `make run`, and call this in the directory of its Makefile; or name the file with --stack-file.",
            )
        })?;
        serde_json::from_slice(&bytes).map_err(|error| {
            let at = format!("line {} column {}", error.line(), error.column());
            Problem::new(
                format!("{shown} is not what tools/local.py writes ({at})"),
                "Write it anew: `make stop`, then `make run`.",
            )
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn resource((kind, logical_id, physical_id): (&str, &str, &str)) -> Resource {
        let [kind, logical_id, physical_id] = [kind, logical_id, physical_id].map(str::to_owned);
        Resource { logical_id, physical_id, kind }
    }

    pub(crate) fn resources() -> Vec<Resource> {
        let queue = "AWS::SQS::Queue";
        [
            ("AWS::DynamoDB::Table", "Table", "table"),
            ("AWS::S3::Bucket", "UploadsBucket", "uploads"),
            ("AWS::S3::Bucket", "ReturnedBucket", "returned"),
            ("AWS::StepFunctions::StateMachine", "DocumentStateMachine", "arn:aws:states:r:a:stateMachine:m"),
            ("AWS::SecretsManager::Secret", "ThirdPartyApiKey", "arn:aws:secretsmanager:r:a:secret:key"),
            (queue, "ReceiveUploadQueue", "http://q/receive"),
            (queue, "ReceiveUploadDeadLetterQueue", "http://q/receive-dead"),
            (queue, "AdmitDocumentQueue", "http://q/turn.fifo"),
            (queue, "AdmitDocumentDeadLetterQueue", "http://q/turn-dead.fifo"),
            (queue, "FailedInvocationQueue", "http://q/failed"),
            ("AWS::Lambda::Function", "ReceiveUploadFunction", "receive-upload-1"),
            ("AWS::Logs::LogGroup", "ReceiveUploadLogGroup", "logs-1"),
            ("AWS::Logs::LogGroup", "HttpApiLogGroup", "logs-2"),
            ("AWS::CloudWatch::Alarm", "BreakerOpenAlarm", "s-BreakerOpenAlarm-1A"),
            ("AWS::CloudWatch::Alarm", "ExecutionsAbortedAlarm", "s-ExecutionsAbortedAlarm-2B"),
        ]
        .map(resource)
        .into()
    }

    #[test]
    fn every_dead_letter_queue_is_found_with_its_source() {
        let stack = Stack::of("s", &resources()).unwrap();
        let found: Vec<(&str, bool, &Source)> = stack
            .dead_letters
            .iter()
            .map(|queue| (queue.name.as_str(), DeadLetters::is_fifo(&queue.url), &queue.source))
            .collect();
        let queue = |url: &str| Source::Queue(url.to_owned());
        assert_eq!(
            found,
            [
                ("AdmitDocument", true, &queue("http://q/turn.fifo")),
                ("FailedInvocation", false, &Source::Invocations),
                ("ReceiveUpload", false, &queue("http://q/receive")),
            ]
        );
        assert_eq!(stack.log_groups.keys().collect::<Vec<_>>(), ["ReceiveUpload"], "of functions only");
    }

    #[test]
    fn queue_is_named_as_people_write_it() {
        let stack = Stack::of("s", &resources()).unwrap();
        for name in ["ReceiveUpload", "receive-upload", "receiveupload"] {
            assert_eq!(stack.dead_letters(Some(name)).unwrap()[0].name, "ReceiveUpload");
        }
        let problem = stack.dead_letters(Some("x")).unwrap_err();
        assert!(problem.todo.contains("AdmitDocument"), "{}", problem.todo);
    }

    #[test]
    fn another_stack_is_told_from_lecterns() {
        let problem = Stack::of("other", &resources()[1..]).unwrap_err();
        assert_eq!(problem.what, "the stack other has no AWS::DynamoDB::Table Table");
    }
}
