//! What `tools/local` corrects in `MiniStack`, so that the other tests meet AWS's behaviour. `docs/local-cloud.md` lists it.

use std::io::{Cursor, Write as _};

use aws_sdk_dynamodb::{
    error::ProvideErrorMetadata as _,
    operation::transact_write_items::TransactWriteItemsError,
    types::{AttributeValue, TransactWriteItem, Update},
};
use aws_sdk_s3::{operation::copy_object::builders::CopyObjectFluentBuilder, types::EncodingType};
use aws_sdk_sfn::{error::SdkError, operation::start_execution::StartExecutionError, types::ExecutionStatus};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use lectern::testing::port_contract::machine::TasksSetup as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::{
    alarms::{cloudwatch, now_ms},
    aws_json::lambda,
    ports::{Activity, OwnBucket, OwnMachine, own_name},
    stack::Stack,
    store_model::like_the_stacks_table,
    wait::{SOON, eventually},
};

#[tokio::test]
async fn s08_web_page_cannot_reach_the_local_cloud() {
    let stack = Stack::open();
    let callback = format!("{}/callbacks/unknown", stack.is.callback_base_url);
    for (method, url) in
        [(Method::POST, &stack.is.endpoint), (Method::GET, &stack.is.endpoint), (Method::POST, &callback)]
    {
        for (header, value) in
            [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")]
        {
            let request = stack.http.request(method.clone(), url).header("content-type", "text/plain");
            let answer = request.header(header, value).body("{}").send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{method} {url} {header}: {value}");
        }
    }
    let answer = stack.http.post(&callback).header("sec-fetch-site", "none").body("{}").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "a request of no web page reaches the function");
}

#[tokio::test]
async fn v01_f04_range_is_honoured_with_and_without_a_version() {
    let bucket = OwnBucket::create().await;
    let put =
        bucket.client.put_object().bucket(&bucket.name).key("digits").body(b"0123456789".to_vec().into());
    let version = put.send().await.unwrap().version_id.unwrap();
    for version in [None, Some(version)] {
        let get = |range: &str| {
            let request = bucket.client.get_object().bucket(&bucket.name).key("digits").range(range);
            request.set_version_id(version.clone()).send()
        };
        for (range, content_range, bytes) in [
            ("bytes=2-3", Some("bytes 2-3/10"), "23"),
            ("bytes=8-99", Some("bytes 8-9/10"), "89"),
            ("bytes=-3", Some("bytes 7-9/10"), "789"),
            // S3 ignores a range that is not valid, and several ranges.
            ("bytes=5-2", None, "0123456789"),
            ("bytes=0-1,3-4", None, "0123456789"),
        ] {
            let answer = get(range).await.unwrap();
            assert_eq!(answer.content_range(), content_range, "{range}");
            assert_eq!(answer.body.collect().await.unwrap().to_vec(), bytes.as_bytes(), "{range}");
        }
        let refused = get("bytes=10-").await.unwrap_err();
        assert_eq!(refused.raw_response().unwrap().status().as_u16(), 416);
        assert_eq!(refused.code(), Some("InvalidRange"));
    }
}

/// S3 writes a space as `+`.
#[tokio::test]
async fn listings_encode_keys_if_asked() {
    let bucket = OwnBucket::create().await;
    let (key, encoded) = ("a b/100%+\u{1}é.txt", "a+b/100%25%2B%01%C3%A9.txt");
    bucket.client.put_object().bucket(&bucket.name).key(key).send().await.unwrap();
    let request = bucket.client.list_objects_v2().bucket(&bucket.name).encoding_type(EncodingType::Url);
    let listed = request.send().await.unwrap();
    assert_eq!(listed.contents()[0].key(), Some(encoded));
    let request = bucket.client.list_object_versions().bucket(&bucket.name).encoding_type(EncodingType::Url);
    let listed = request.delimiter("/").prefix("a b/").key_marker("a").send().await.unwrap();
    assert_eq!(listed.versions()[0].key(), Some(encoded));
    assert_eq!((listed.prefix(), listed.encoding_type()), (Some("a+b/"), Some(&EncodingType::Url)));
}

#[tokio::test]
async fn copy_depends_on_conditions_of_its_source_and_its_destination() {
    let bucket = OwnBucket::create().await;
    let put = |key: &str, bytes: &str| {
        bucket.client.put_object().bucket(&bucket.name).key(key).body(bytes.as_bytes().to_vec().into()).send()
    };
    let source = put("source", "new").await.unwrap().e_tag.unwrap();
    let copy = || {
        let request = bucket.client.copy_object().bucket(&bucket.name).key("destination");
        request.copy_source(format!("{}/source", bucket.name))
    };
    let code = async |request: CopyObjectFluentBuilder| {
        request.send().await.err().map(|error| error.code().unwrap_or_default().to_owned())
    };
    let failed = Some("PreconditionFailed".to_owned());
    assert_eq!(code(copy().if_match(&source)).await.as_deref(), Some("NoSuchKey"), "there is no destination");
    assert_eq!(code(copy().copy_source_if_match("\"other\"").if_none_match("*")).await, failed);
    assert_eq!(code(copy().copy_source_if_match(&source).if_none_match("*")).await, None);
    assert_eq!(code(copy().if_none_match("*")).await, failed, "there is a destination");
    assert_eq!(code(copy().if_match("\"other\"")).await, failed);
    assert_eq!(code(copy().if_match(&source)).await, None, "the destination has the copied bytes");
}

#[tokio::test]
async fn a02_writes_that_meet_a_transaction_on_their_item_are_refused() {
    const WRITES: usize = 20;
    let stack = Stack::open();
    let table = like_the_stacks_table(&stack).await;
    let key = || AttributeValue::S("counted".to_owned());
    let mut writes = JoinSet::new();
    for index in 0..WRITES {
        let (client, table) = (stack.dynamodb.clone(), table.clone());
        let (add, one) = ("ADD n :one", AttributeValue::N("1".to_owned()));
        writes.spawn(async move {
            if index % 2 == 0 {
                let update = Update::builder().table_name(table).key("pk", key()).key("sk", key());
                let update = update.update_expression(add).expression_attribute_values(":one", one);
                let item = TransactWriteItem::builder().update(update.build().unwrap()).build();
                let written = client.transact_write_items().transact_items(item).send().await;
                written.err().map(|error| {
                    let TransactWriteItemsError::TransactionCanceledException(cancelled) =
                        error.into_service_error()
                    else {
                        panic!("a transaction failed in another way");
                    };
                    cancelled.cancellation_reasons()[0].code.clone().unwrap()
                })
            } else {
                let update = client.update_item().table_name(table).key("pk", key()).key("sk", key());
                let update = update.update_expression(add).expression_attribute_values(":one", one);
                update.send().await.err().map(|error| error.code().unwrap_or_default().to_owned())
            }
        });
    }
    let codes: Vec<String> = writes.join_all().await.into_iter().flatten().collect();
    let refused = |code: &str| codes.iter().filter(|found| *found == code).count();
    let (transactions, updates) = (refused("TransactionConflict"), refused("TransactionConflictException"));
    assert!(transactions > 0 && updates > 0, "{codes:?}");
    assert_eq!(codes.len(), transactions + updates, "{codes:?}");
    let read = stack.dynamodb.get_item().table_name(&table).key("pk", key()).key("sk", key());
    let item = read.consistent_read(true).send().await.unwrap().item.unwrap();
    let written = WRITES - codes.len();
    assert_eq!(item["n"], AttributeValue::N(written.to_string()), "the others are written, and only they");
}

/// The pauses between attempts, relative to an ordinary one, because the tests' stack shortens all waits.
#[tokio::test]
async fn pauses_between_attempts_are_those_of_the_state_and_have_jitter() {
    let took = async |mut retry: Value| {
        retry["ErrorEquals"] = json!(["States.ALL"]);
        let mut state = send_to_nowhere("x");
        state["Retry"] = json!([retry]);
        let ended = OwnMachine::create(&json!({ "Only": state })).await.run("{}").await;
        ended.stop_date.unwrap().as_secs_f64() - ended.start_date.as_secs_f64()
    };
    let (ordinary, long, limited, random) = tokio::join!(
        took(json!({ "IntervalSeconds": 50, "MaxAttempts": 1 })),
        took(json!({ "IntervalSeconds": 200, "MaxAttempts": 1 })),
        took(json!({ "IntervalSeconds": 400, "MaxAttempts": 1, "MaxDelaySeconds": 100 })),
        took(json!({ "IntervalSeconds": 20, "MaxAttempts": 8, "BackoffRate": 1, "JitterStrategy": "FULL" })),
    );
    let all = [ordinary, long, limited, random];
    assert!((3.0..6.0).contains(&(long / ordinary)), "200 s, which nothing limits to 60 s: {all:?}");
    assert!((1.6..3.0).contains(&(limited / ordinary)), "400 s, which the state limits to 100 s: {all:?}");
    assert!(random / ordinary < 2.7, "eight random parts of 20 s, much less than 160 s together: {all:?}");
}

#[tokio::test]
async fn data_of_step_functions_is_limited_and_states_all_does_not_catch_that() {
    let caught = json!([{ "ErrorEquals": ["States.ALL"], "Next": "Caught" }]);
    let mut large = send_to_nowhere("{% $pad('', 262200, 'x') %}");
    let mut small = send_to_nowhere("x");
    for state in [&mut large, &mut small] {
        state["Catch"] = caught.clone();
    }
    let machine = OwnMachine::create(&json!({ "Only": large, "Caught": { "Type": "Succeed" } })).await;
    let ended = machine.run("{}").await;
    assert_eq!((&ended.status, ended.error()), (&ExecutionStatus::Failed, Some("States.DataLimitExceeded")));
    let machine = OwnMachine::create(&json!({ "Only": small, "Caught": { "Type": "Succeed" } })).await;
    assert_eq!(machine.run("{}").await.status, ExecutionStatus::Succeeded, "the other error is caught");
    let input = format!("\"{}\"", "x".repeat(262_143));
    let refused = machine.client.start_execution().state_machine_arn(&machine.arn).input(input).send().await;
    assert_eq!(refused.unwrap_err().code(), Some("ValidationException"));
    let output = format!("\"{}\"", "x".repeat(262_143));
    let refused = machine.client.send_task_success().task_token("token").output(output).send().await;
    assert_eq!(refused.unwrap_err().code(), Some("ValidationException"));
}

/// The state machine would run for ever.
#[tokio::test]
async fn execution_ends_at_25_000_events() {
    let states =
        json!({ "Only": { "Type": "Pass", "Next": "Again" }, "Again": { "Type": "Pass", "Next": "Only" } });
    let ended = OwnMachine::create(&states).await.run("{}").await;
    assert_eq!((&ended.status, ended.error()), (&ExecutionStatus::Failed, Some("States.Runtime")));
}

#[tokio::test]
async fn case_22_start_of_an_execution_that_runs_is_repeated_only_with_the_same_input() {
    let machine =
        OwnMachine::create(&json!({ "Only": { "Type": "Wait", "Seconds": 86_400, "End": true } })).await;
    let start = |name: &str, input: &str| {
        let request = machine.client.start_execution().state_machine_arn(&machine.arn);
        request.name(name).input(input).send()
    };
    let first = start("same", "{}").await.unwrap();
    let again = start("same", "{}").await.unwrap();
    assert_eq!((again.execution_arn, again.start_date), (first.execution_arn.clone(), first.start_date));
    let code = |refused: Result<_, SdkError<StartExecutionError>>| {
        refused.err().and_then(|error| error.code().map(str::to_owned))
    };
    assert_eq!(code(start("same", "[]").await).as_deref(), Some("ExecutionAlreadyExists"));
    machine.client.stop_execution().execution_arn(&first.execution_arn).send().await.unwrap();
    assert_eq!(code(start("same", "{}").await).as_deref(), Some("ExecutionAlreadyExists"));
    for name in ["a b", "a/b", "a:b", "é?", &"x".repeat(81)] {
        assert_eq!(code(start(name, "{}").await).as_deref(), Some("InvalidName"), "{name}");
    }
}

#[tokio::test]
async fn task_is_answered_once() {
    let activity = Activity::create().await;
    let token = activity.begin().await;
    let answer = |output: &str| {
        let request = activity.machine.client.send_task_success().task_token(token.expose());
        request.output(output).send()
    };
    answer("1").await.unwrap();
    let late = answer("2").await.unwrap_err();
    assert!(late.into_service_error().is_task_timed_out());
    assert_eq!(activity.outcome(&token).await, Ok(json!(1)));
}

#[tokio::test]
async fn each_attempt_of_a_task_has_a_token_of_its_own() {
    let stack = Stack::open();
    let created = stack.sqs.create_queue().queue_name(own_name()).send().await.unwrap();
    let queue_url = created.queue_url.unwrap();
    let machine = OwnMachine::create(&json!({ "Only": {
        "Type": "Task", "QueryLanguage": "JSONata", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "Arguments": { "QueueUrl": queue_url, "MessageBody": "{% $states.context.Task.Token %}" },
        "Retry": [{ "ErrorEquals": ["Again"] }], "End": true
    } }))
    .await;
    let next = async || {
        eventually("the task's message", SOON, async || {
            let received = stack.sqs.receive_message().queue_url(&queue_url).send().await.unwrap();
            received.messages.and_then(|mut all| all.pop()?.body).ok_or("no message")
        })
        .await
    };
    let answered = async {
        let first = next().await;
        machine.client.send_task_failure().task_token(&first).error("Again").send().await.unwrap();
        let second = next().await;
        assert_ne!(first, second);
        machine.client.send_task_success().task_token(&second).output("2").send().await.unwrap();
    };
    let (ended, ()) = tokio::join!(machine.run("{}"), answered);
    assert_eq!(ended.output(), Some("2"));
    stack.sqs.delete_queue().queue_url(queue_url).send().await.unwrap();
}

/// A task that fails, because its queue does not exist.
fn send_to_nowhere(body: &str) -> Value {
    json!({
        "Type": "Task", "QueryLanguage": "JSONata", "Resource": "arn:aws:states:::sqs:sendMessage",
        "Arguments": { "QueueUrl": "http://127.0.0.1/000000000000/none", "MessageBody": body }, "End": true
    })
}

/// Answers each request, which is a number, with a text of so many bytes.
const BOOTSTRAP: &str = r#"#!/usr/bin/env python3
import os
from urllib.request import Request, urlopen
invocations = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2018-06-01/runtime/invocation"
while True:
    given = urlopen(f"{invocations}/next")
    answer = b'"' + b"x" * (int(given.read()) - 2) + b'"'
    urlopen(Request(f"{invocations}/{given.headers['Lambda-Runtime-Aws-Request-Id']}/response", answer))
"#;

#[tokio::test]
async fn answer_of_a_function_is_limited_to_6_mb() {
    let stack = Stack::open();
    let mut code = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    code.start_file("bootstrap", stored.unix_permissions(0o755)).unwrap();
    code.write_all(BOOTSTRAP.as_bytes()).unwrap();
    let code = BASE64_STANDARD.encode(code.finish().unwrap().into_inner());
    let name = own_name();
    let function = json!({
        "FunctionName": name, "Runtime": "provided.al2023", "Handler": "bootstrap", "Code": { "ZipFile": code },
        "Role": stack.role_of("FailDocumentFunction").await
    });
    let functions = "/2015-03-31/functions";
    lambda(&stack, &Method::POST, functions, &function).await;
    let invocations = format!("{functions}/{name}/invocations");
    let answer = lambda(&stack, &Method::POST, &invocations, &json!(6_291_556)).await;
    assert_eq!(answer.as_str().unwrap().len(), 6_291_554);
    let refused = lambda(&stack, &Method::POST, &invocations, &json!(6_291_557)).await;
    assert_eq!(refused["errorType"], "Function.ResponseSizeTooLarge");
    lambda(&stack, &Method::DELETE, &format!("{functions}/{name}"), &json!(null)).await;
}

/// An alarm looks at each period and at its own dimensions, and ends when its values are old.
#[tokio::test]
async fn alarm_needs_bad_values_of_its_own_metric_in_enough_periods() {
    let stack = Stack::open();
    let name = own_name();
    let dimensions = json!([{ "Name": "Which", "Value": "ours" }]);
    let alarm = json!({
        "AlarmName": name, "Namespace": name, "MetricName": "Errors", "Dimensions": dimensions, "Statistic": "Sum",
        "Period": 60, "EvaluationPeriods": 3, "DatapointsToAlarm": 2, "Threshold": 0,
        "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "notBreaching"
    });
    cloudwatch(&stack, "PutMetricAlarm", &alarm).await;
    let put = async |minutes_ago: i64, dimensions: &Value| {
        let at_s = i64::try_from(now_ms() / 1000).unwrap() - 60 * minutes_ago;
        let datum =
            json!({ "MetricName": "Errors", "Dimensions": dimensions, "Timestamp": at_s, "Value": 1 });
        cloudwatch(&stack, "PutMetricData", &json!({ "Namespace": name, "MetricData": [datum] })).await;
        let found = cloudwatch(&stack, "DescribeAlarms", &json!({ "AlarmNames": [name] })).await;
        found["MetricAlarms"][0]["StateValue"].as_str().unwrap().to_owned()
    };
    assert_eq!(put(0, &json!([])).await, "OK", "the metric has other dimensions");
    assert_eq!(put(5, &dimensions).await, "OK", "the value is too old");
    assert_eq!(put(0, &dimensions).await, "OK", "one of three periods is bad");
    assert_eq!(put(1, &dimensions).await, "ALARM", "two of three periods are bad");
    cloudwatch(&stack, "DeleteAlarms", &json!({ "AlarmNames": [name] })).await;
}
