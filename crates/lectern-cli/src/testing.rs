//! Shared parts of the commands' tests: clients with scripted answers, a cloud of these clients, and a document.

use aws_sdk_s3::{config::http::HttpResponse, primitives::SdkBody};
use lectern::{
    contract::wire::{JobError, JobFailed, JobSucceeded},
    document::{
        Attempt, CallbackId, Document, DocumentId, DocumentRef, DocumentState, JobResult, ObjectVersion,
        Reason,
    },
};
use lectern_aws::{Clients, DynamoDbStore, StateMachine};
use lectern_content::MediaType;
use serde_json::{Value, json};

use crate::{
    cloud::Cloud,
    executions::Executions,
    stack::{Resource, Stack},
};

/// An SDK client that answers by these rules, in order, and never retries.
macro_rules! client {
    ($aws:ident $(, $rule:expr)* $(,)?) => {
        aws_smithy_mocks::mock_client!(
            $aws,
            aws_smithy_mocks::RuleMode::MatchAny,
            [$(&$rule),*] as [&aws_smithy_mocks::Rule; _],
            |config| config.retry_config($aws::config::retry::RetryConfig::disabled())
        )
    };
}
pub(crate) use client;

/// A response with this status and body.
pub(crate) fn answer(status: u16, body: impl Into<SdkBody>) -> HttpResponse {
    HttpResponse::new(status.try_into().unwrap(), body.into())
}

/// An error response of a service with a JSON protocol.
pub(crate) fn json_error(code: &str) -> HttpResponse {
    answer(400, format!(r#"{{"__type":"com.amazonaws.x#{code}","message":"secret detail"}}"#))
}

/// A cloud of these clients, whose store contains `documents`.
pub(crate) fn cloud(
    documents: &[Document],
    sqs: aws_sdk_sqs::Client,
    s3: aws_sdk_s3::Client,
    sfn: aws_sdk_sfn::Client,
) -> Cloud {
    let stack = Stack::of("s", &resources()).unwrap();
    let items: Vec<(String, Value)> = documents
        .iter()
        .map(|document| (document.reference.document_id.to_string(), item(document)))
        .collect();
    let reads =
        aws_smithy_mocks::mock!(aws_sdk_dynamodb::Client::get_item).then_compute_response(move |request| {
            let sort_key = request.key().unwrap()["sk"].as_s().unwrap();
            let found = items.iter().find(|(id, _)| sort_key.ends_with(id.as_str()));
            let body = found.map_or_else(|| json!({}), |(_, item)| json!({ "Item": item }));
            aws_smithy_mocks::MockResponse::Http(answer(200, body.to_string()))
        });
    let none = aws_smithy_mocks::mock!(aws_sdk_dynamodb::Client::query)
        .then_http_response(|| answer(200, r#"{"Items":[]}"#));
    let dynamodb = client!(aws_sdk_dynamodb, reads, none);
    Cloud {
        clients: Clients::at("http://127.0.0.1:1", "r", "key", "secret"),
        store: DynamoDbStore::new(dynamodb, stack.table.clone()),
        state_machine: StateMachine::new(sfn.clone(), stack.state_machine_alias_arn.clone()),
        executions: Executions::new(sfn, &stack.state_machine_arn),
        s3,
        sqs,
        formation: client!(
            aws_sdk_cloudformation,
            aws_smithy_mocks::mock!(aws_sdk_cloudformation::Client::describe_stacks).then_output(|| {
                let parameter = aws_sdk_cloudformation::types::Parameter::builder();
                let max_leases =
                    parameter.parameter_key("ThirdPartyMaxInFlight").parameter_value("2").build();
                let date = aws_sdk_cloudformation::primitives::DateTime::from_secs(0);
                let stack = aws_sdk_cloudformation::types::Stack::builder()
                    .stack_name("s")
                    .creation_time(date)
                    .stack_status(aws_sdk_cloudformation::types::StackStatus::CreateComplete)
                    .parameters(max_leases)
                    .build();
                aws_sdk_cloudformation::operation::describe_stacks::DescribeStacksOutput::builder()
                    .stacks(stack)
                    .build()
            })
        ),
        logs: aws_sdk_cloudwatchlogs::Client::from_conf(
            aws_sdk_cloudwatchlogs::Config::builder()
                .behavior_version(aws_sdk_cloudwatchlogs::config::BehaviorVersion::latest())
                .build(),
        ),
        cloudwatch: client!(
            aws_sdk_cloudwatch,
            aws_smithy_mocks::mock!(aws_sdk_cloudwatch::Client::describe_alarms).then_output(|| {
                aws_sdk_cloudwatch::operation::describe_alarms::DescribeAlarmsOutput::builder().build()
            })
        ),
        stack,
    }
}

/// The resources of a small stack.
pub(crate) fn resources() -> Vec<Resource> {
    let queue = "AWS::SQS::Queue";
    [
        ("AWS::DynamoDB::Table", "Table", "table"),
        ("AWS::S3::Bucket", "UploadsBucket", "uploads"),
        ("AWS::S3::Bucket", "ReturnedBucket", "returned"),
        ("AWS::StepFunctions::StateMachine", "DocumentStateMachine", "arn:aws:states:r:a:stateMachine:m"),
        (
            "AWS::StepFunctions::StateMachineAlias",
            "DocumentStateMachineAliaslive",
            "arn:aws:states:r:a:stateMachine:m:live",
        ),
        ("AWS::SecretsManager::Secret", "ThirdPartyApiKey", "arn:aws:secretsmanager:r:a:secret:key"),
        (queue, "ReceiveUploadQueue", "http://q/receive"),
        (queue, "ReceiveUploadDeadLetterQueue", "http://q/receive-dead"),
        (queue, "AdmitDocumentQueue", "http://q/admit.fifo"),
        (queue, "AdmitDocumentDeadLetterQueue", "http://q/admit-dead.fifo"),
        ("AWS::Lambda::Function", "ReceiveUploadFunction", "receive-upload-1"),
        ("AWS::Lambda::Function", "ServeApiFunction", "serve-api-1"),
        ("AWS::Logs::LogGroup", "ReceiveUploadLogGroup", "logs-1"),
        ("AWS::Logs::LogGroup", "HttpApiLogGroup", "logs-2"),
        ("AWS::CloudWatch::Alarm", "BreakerOpenAlarm", "s-BreakerOpenAlarm-1A"),
        ("AWS::CloudWatch::Alarm", "ExecutionsAbortedAlarm", "s-ExecutionsAbortedAlarm-2B"),
    ]
    .map(resource)
    .into()
}

/// The attributes of a document's item that the code needs.
pub(crate) fn item(document: &Document) -> Value {
    let mut fields = serde_json::to_value(document).unwrap().as_object().unwrap().clone();
    fields.insert("pk".to_owned(), "x".into());
    fields.insert("sk".to_owned(), "x".into());
    fields.insert("revision".to_owned(), 1.into());
    attribute(&Value::Object(fields))["M"].clone()
}

fn attribute(value: &Value) -> Value {
    match value {
        Value::String(text) => json!({ "S": text }),
        Value::Number(number) => json!({ "N": number.to_string() }),
        Value::Bool(flag) => json!({ "BOOL": flag }),
        Value::Null => json!({ "NULL": true }),
        Value::Array(items) => json!({ "L": items.iter().map(attribute).collect::<Vec<_>>() }),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), attribute(value)));
            json!({ "M": fields.collect::<serde_json::Map<_, _>>() })
        }
    }
}

/// A document of the submission `s1` in this state.
pub(crate) fn document(state: DocumentState) -> Document {
    let object = ObjectVersion {
        bucket: "uploads".to_owned(),
        key: "submissions/s1/secret name.txt".to_owned(),
        version_id: "v1".to_owned(),
    };
    let document_id = DocumentId::of(&object.bucket, object.key.as_bytes(), &object.version_id);
    let failed = matches!(state, DocumentState::Failed | DocumentState::Rejected);
    Document {
        reference: DocumentRef { submission_id: "s1".parse().unwrap(), document_id },
        object,
        owner: None,
        name: None,
        size_bytes: 12_345,
        media_type: Some(MediaType::Text),
        state,
        reason: failed.then(|| Reason::new("overdue", "secret name.txt was never returned.")),
        times: [("Received".to_owned(), "2026-11-20T12:00:00.000Z".to_owned())].into(),
        superseded_by: None,
        is_withdrawn: false,
        callback_id: CallbackId::new("SECRET-CALLBACK"),
        attempt: Some(Attempt(1001)),
        round: lectern::document::Round::FIRST,
        job_id: None,
        earlier_jobs: std::collections::BTreeSet::new(),
        result: None,
        redrives: 0,
        record_key: None,
        abandoned_jobs: std::collections::BTreeSet::new(),
        expires_at: None,
        traceparent: None,
    }
}

pub(crate) fn failed_job() -> JobResult {
    let error = JobError { code: "encrypted".to_owned(), message: "It has a password.".into() };
    JobResult::Failed(JobFailed { job_id: "j1".to_owned(), error })
}

pub(crate) fn succeeded() -> JobResult {
    JobResult::Succeeded(JobSucceeded { job_id: "j1".to_owned(), files: Vec::new() })
}

fn resource((kind, logical_id, physical_id): (&str, &str, &str)) -> Resource {
    let [kind, logical_id, physical_id] = [kind, logical_id, physical_id].map(str::to_owned);
    Resource { logical_id, physical_id, kind }
}
