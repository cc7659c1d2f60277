//! Tests the volume of logs: the lines for one document in all functions, with and without errors.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use aws_lambda_events::sqs::SqsEvent;
use aws_smithy_mocks::mock;
use lectern::{
    contract::wire::{FileRole, ReturnedFile},
    document::{DocumentState, ObjectVersion, TaskToken},
    error::{Error, rfc3339},
    ports::Clock as _,
    telemetry::trace::TraceParent,
    testing::{
        Cut,
        world::{MemoryWorld, object, of_job, returned_file, s3_event, succeeded},
    },
};
use serde_json::{Value, json};
use tracing::Instrument as _;

use crate::logging::{filter::Wanted, invocation_span, subscriber};
use crate::{
    SourceQueue,
    lambda::{Received, handle_batch, handle_message, handle_task},
    test_support::{Captured, client, json_error},
};

/// The limit on log lines of a document with [`FILES`] returned files and no error: one line for each file, one for
/// each other step of a function (upload, permit, transfer, callback, record), and a reserve for an added step.
const LINES_PER_DOCUMENT: usize = 20;
const FILES: usize = 8;
/// How often a step fails here before it succeeds.
const RETRIES: usize = 30;
const TEXT: &[u8] = b"What the teacher said.";

struct Workflow {
    world: MemoryWorld,
    queue: SourceQueue,
    object: ObjectVersion,
    files: Vec<ReturnedFile>,
    attempts: AtomicU32,
}

impl Workflow {
    fn new() -> Self {
        let visibility =
            mock!(aws_sdk_sqs::Client::change_message_visibility).then_http_response(|| json_error("X"));
        let (world, object) = (MemoryWorld::default(), object("plan.txt", "v1"));
        world.objects.upload(&object, None, TEXT);
        let role = |index| if index == 0 { FileRole::Text } else { FileRole::Attachment };
        let file = |index: usize| returned_file(&format!("{index}.txt"), role(index), "text/plain", TEXT);
        let files: Vec<_> = (0..FILES).map(file).collect();
        for file in &files {
            world.third_party.serve(&file.url, TEXT);
        }
        let queue = SourceQueue::new(client!(aws_sdk_sqs, visibility), "https://queue".to_owned());
        Self { world, queue, object, files, attempts: AtomicU32::new(1000) }
    }

    /// A message of the state machine, as its payloads are.
    fn message(&self, more: &Value) -> Value {
        let document = self.world.document(&self.object).unwrap();
        let start = self.world.states.start_of(&document.reference).unwrap();
        let mut message = json!(document.reference);
        let fields = message.as_object_mut().unwrap();
        fields.extend(
            json!({ "schemaVersion": 2, "traceparent": start.traceparent }).as_object().unwrap().clone(),
        );
        fields.extend(more.as_object().unwrap().clone());
        message
    }

    async fn upload(&self) {
        let handle = async |received: Received| self.world.receive_upload(&received.body).await;
        let event = s3_event(&[(&self.object, "01")]);
        handle_batch("receive-upload", None, &self.queue, &handle, batch(&event)).await;
    }

    async fn transfer(&self, token: &str) {
        let handle = async |input, _| self.world.transfer(input).await;
        let parse = |received: Received| handle_message(&self.world.states, &handle, received);
        let message = self.message(&json!({
            "attempt": self.attempts.fetch_add(1, Ordering::Relaxed),
            "reportSuccess": false,
            "permitExpiresAt": rfc3339(self.world.clock.now() + Duration::from_mins(1)),
            "round": 1,
            "taskToken": token,
        }));
        handle_batch("transfer-document", None, &self.queue, &parse, batch(&message.to_string())).await;
    }

    async fn call_back(&self) {
        let document = self.world.document(&self.object).unwrap().reference;
        let job_id = self.world.store.get(&document).and_then(|document| document.job_id);
        let event = of_job(&job_id.unwrap_or_else(|| "job".to_owned()), succeeded(&self.files));
        let answer = self.world.call_back(&document, event);
        answer.instrument(invocation_span("receive-callback", None)).await;
    }

    async fn probe(&self) {
        let handle = async |input| self.world.probe(input).await;
        let input = self.message(&json!({ "attempt": 1000, "round": 1 }));
        let _ = handle_task("probe-job", None, &handle, input).await;
    }

    /// Does the state machine's `BeginVerify`.
    fn begin_verify(&self) {
        let document = self.world.document(&self.object).unwrap().reference;
        self.world.store.begin_verify(&document, self.world.clock.now()).unwrap();
    }

    async fn verify(&self, index: usize) {
        let handle = async |input| self.world.verify(input).await;
        let input = self.message(&json!({ "attempt": 1000, "index": index }));
        let _ = handle_task("verify-returned-file", None, &handle, input).await;
    }

    async fn normalize(&self, token: &str) {
        let handle = async |input, again| self.world.normalize(input, again).await;
        let parse = |received: Received| handle_message(&self.world.states, &handle, received);
        let message = self.message(&json!({ "attempt": 1000, "taskToken": token })).to_string();
        handle_batch("normalize-document", None, &self.queue, &parse, batch(&message)).await;
    }

    async fn fail(&self) {
        let handle = async |input| self.world.fail(input).await;
        let input = self
            .message(&json!({ "attempt": 1000, "error": "ThirdParty.Overdue", "cause": "", "redrives": 0 }));
        let _ = handle_task("fail-document", None, &handle, input).await;
    }

    /// The whole workflow, without an error.
    async fn run(&self) {
        self.upload().await;
        self.transfer("transfer").await;
        let document = self.world.document(&self.object).unwrap().reference;
        self.world.store.await_callback(&document, TaskToken::new("callback"), self.world.clock.now());
        self.call_back().await;
        self.begin_verify();
        for index in 0..FILES {
            self.verify(index).await;
        }
        self.normalize("normalize").await;
        assert_eq!(self.world.document(&self.object).unwrap().state, DocumentState::Ready);
    }
}

fn batch(body: &str) -> SqsEvent {
    let message = json!({
        "messageId": "m1", "receiptHandle": "r1", "body": body,
        "attributes": { "ApproximateReceiveCount": "9", "AWSTraceHeader": "Root=1-5759e988-bd862e3fe1be46a994272793" }
    });
    serde_json::from_value(json!({ "Records": [message] })).unwrap()
}

/// The log of this work at `info`. Each function writes at most one line of metrics for each of these lines.
fn lines_of(work: impl AsyncFnOnce(&Workflow)) -> Vec<Value> {
    let captured = Captured::default();
    let writer = captured.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tracing::subscriber::with_default(
        subscriber(Wanted::new("info".parse().unwrap(), None), "test", move || writer.clone()),
        || {
            runtime.block_on(async { work(&Workflow::new()).await });
        },
    );
    let (metrics, lines): (Vec<_>, Vec<_>) =
        captured.lines().into_iter().partition(|line| line["_aws"].is_object());
    let functions: BTreeSet<Option<&str>> =
        metrics.iter().map(|line: &Value| line["function"].as_str()).collect();
    for function in functions {
        let count =
            |lines: &[Value]| lines.iter().filter(|line| line["function"].as_str() == function).count();
        assert!(count(&metrics) <= count(&lines), "{function:?} writes {} lines of metrics", count(&metrics));
    }
    lines
}

#[test]
fn document_without_errors_has_a_bounded_number_of_lines_all_of_one_trace() {
    let mut trace = None;
    let lines = lines_of(async |workflow| {
        workflow.run().await;
        trace = workflow.world.document(&workflow.object).unwrap().traceparent.map(TraceParent::trace_id);
    });
    assert!((FILES + 4..=LINES_PER_DOCUMENT).contains(&lines.len()), "{} lines: {lines:#?}", lines.len());
    for line in &lines {
        assert_eq!(line["traceId"].as_str(), trace.as_deref(), "{line}");
        assert!(line["documentId"].is_string() && line["submissionId"] == "s1", "{line}");
    }
}

/// An error that repeats before a step succeeds.
async fn repeat(workflow: &Workflow, kind: &str) {
    let world = &workflow.world;
    for time in 0..RETRIES {
        let token = format!("{kind}-{time}");
        match kind {
            "the third party is down" => {
                world.third_party.refuse_next(Error::Unavailable("503".to_owned()));
                workflow.transfer(&token).await;
            }
            "the report fails" => {
                world.third_party.refuse_next(Error::Unauthorized);
                world.faults.cut_next("fail", Cut::Before);
                workflow.transfer(&token).await;
            }
            "the store is down" => {
                world.faults.cut_next("is_awaited", Cut::Before);
                workflow.transfer(&token).await;
            }
            "the token is not awaited" => {
                world.states.expire(&TaskToken::new(&token));
                workflow.transfer(&token).await;
            }
            "the job is working" => workflow.probe().await,
            "the status is not answered" => {
                world.third_party.refuse_next(Error::Unavailable("503".to_owned()));
                workflow.probe().await;
            }
            "an event is delivered again" => workflow.upload().await,
            other => panic!("{other}"),
        }
    }
}

#[test]
fn error_before_the_callback_adds_at_most_one_line_each_time() {
    for kind in [
        "the third party is down",
        "the report fails",
        "the store is down",
        "the token is not awaited",
        "the job is working",
        "the status is not answered",
        "an event is delivered again",
    ] {
        let lines = lines_of(async |workflow| {
            workflow.upload().await;
            repeat(workflow, kind).await;
            workflow.run().await;
        });
        let bound = LINES_PER_DOCUMENT + RETRIES;
        assert!(
            (RETRIES..=bound).contains(&lines.len()),
            "{kind}: {} lines, such as {}",
            lines.len(),
            lines[5]
        );
        let named = |line: &&Value| line["documentId"].is_string() && line["traceId"].is_string();
        assert_eq!(lines.iter().filter(named).count(), lines.len(), "{kind}");
    }
}

#[test]
fn error_after_the_callback_adds_at_most_one_line_each_time() {
    let lines = lines_of(async |workflow| {
        workflow.upload().await;
        workflow.transfer("transfer").await;
        for _ in 0..RETRIES {
            workflow.call_back().await;
            workflow.world.third_party.serve(&workflow.files[0].url, b"Other bytes.".as_slice());
            workflow.verify(0).await;
        }
        workflow.begin_verify();
        workflow.world.third_party.serve(&workflow.files[0].url, TEXT);
        for index in 0..FILES {
            workflow.verify(index).await;
        }
        for time in 0..RETRIES {
            workflow.world.faults.cut_next("finish", Cut::Before);
            workflow.normalize(&format!("normalize-{time}")).await;
        }
        workflow.normalize("normalize").await;
    });
    let bound = LINES_PER_DOCUMENT + 3 * RETRIES;
    assert!((3 * RETRIES..=bound).contains(&lines.len()), "{} lines", lines.len());
}

#[test]
fn document_that_fails_has_a_bounded_number_of_lines() {
    let lines = lines_of(async |workflow| {
        workflow.upload().await;
        workflow.transfer("transfer").await;
        workflow.probe().await;
        workflow.fail().await;
        assert_eq!(workflow.world.document(&workflow.object).unwrap().state, DocumentState::Failed);
    });
    assert!((4..=LINES_PER_DOCUMENT - FILES).contains(&lines.len()), "{lines:#?}");
}
