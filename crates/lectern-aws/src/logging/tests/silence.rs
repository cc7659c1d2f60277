//! Case 53: runs every function's handler, with success and failure, at the most verbose filter, with recognisable
//! names, URLs, tokens and secrets, and searches the log for them.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use aws_lambda_events::sqs::SqsEvent;
use aws_smithy_mocks::mock;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderMap;
use lambda_runtime::Diagnostic;
use lectern::{
    contract::webhook::{SigningSecret, SigningSecrets, sign},
    contract::wire::{FileRole, JobStatus, JobSucceeded, ReturnedFile},
    document::keys,
    document::{CallbackId, Document, DocumentState, JobResult, ObjectVersion, Reason, TaskToken},
    error::Error,
    ports::{
        Clock as _, Executions as _, Random, Results as _, StartExecution, Tasks as _, TokenUse,
        Transfers as _,
    },
    steps::fail_document,
    steps::normalize_document,
    steps::probe_job,
    steps::receive_callback,
    steps::receive_upload::{self, Message},
    steps::transfer_document::{self, Settings},
    steps::verify_returned_file,
    testing::{Cut, Faults, MemoryClock, MemoryObjects, MemoryStates, MemoryStore, MemoryThirdParty},
};
use serde_json::json;

use crate::logging::{filter::Wanted, subscriber};
use crate::{
    SourceQueue, StateMachine,
    lambda::{Received, handle_batch, handle_message, handle_task},
    sfn::TaskTokens,
    test_support::{Captured, NOW, client, json_error, sha256, xml_error},
};

/// Part of every text that must not be logged.
const MARK: &str = "mArKeD";
const TEXT: &[u8] = b"mArKeD content of a lesson plan.\n";
const KEY: &str = "submissions/s1/mArKeD name.txt";

struct OneCallback;

impl Random for OneCallback {
    fn callback_id(&self) -> CallbackId {
        CallbackId::new("mArKeD-callback")
    }

    fn bits(&self) -> u128 {
        7
    }
}

/// The ports of all functions.
struct World {
    faults: Arc<Faults>,
    store: MemoryStore,
    objects: MemoryObjects,
    states: MemoryStates,
    third_party: MemoryThirdParty,
    clock: MemoryClock,
    queue: SourceQueue,
    tokens: AtomicU32,
}

impl World {
    fn new() -> Self {
        let faults = Arc::<Faults>::default();
        let third_party = MemoryThirdParty::new(Arc::clone(&faults));
        third_party.set_secrets(SigningSecrets::parse(&secret_text()).unwrap());
        let visibility =
            mock!(aws_sdk_sqs::Client::change_message_visibility).then_http_response(|| json_error("X"));
        Self {
            store: MemoryStore::new(Arc::clone(&faults)),
            objects: MemoryObjects::new(Arc::clone(&faults)),
            states: MemoryStates::new(Arc::clone(&faults)),
            third_party,
            clock: MemoryClock::at(NOW),
            queue: SourceQueue::new(client!(aws_sdk_sqs, visibility), "https://mArKeD/queue".to_owned()),
            tokens: AtomicU32::new(0),
            faults,
        }
    }

    fn document(&self) -> Document {
        self.store.all().into_iter().next().unwrap()
    }

    async fn upload(&self, key: &str) {
        let event = json!({"Records": [{
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "uploads"}, "object": {"key": key, "versionId": "v1", "sequencer": "0A"}}
        }]});
        let handle = async |received: Received| {
            let (uploads, store, executions) = (&self.objects, &self.store, &self.states);
            let (clock, random, max_upload_bytes) = (&self.clock, &OneCallback, 1 << 20);
            let ports = receive_upload::Ports {
                uploads,
                store,
                executions,
                clock,
                random,
                max_upload_bytes,
                scans_for_malware: false,
            };
            let message = Message { body: &received.body, xray_header: received.xray_header.as_deref() };
            ports.handle(message).await
        };
        handle_batch("receive-upload", Some("Root=1-a"), &self.queue, &handle, batch(&event.to_string()))
            .await;
    }

    async fn transfer(&self, attempt: u32, push_max_bytes: u64) {
        let base = format!("https://callbacks.example/{MARK}");
        let settings = Settings { push_max_bytes, callback_base_url: base };
        let handle = async |input: transfer_document::Input, again| {
            let Self { store, objects: uploads, third_party, states: tasks, clock, .. } = self;
            let settings = &settings;
            let ports = transfer_document::Ports {
                store,
                uploads,
                third_party,
                tasks,
                orders: tasks,
                clock,
                settings,
            };
            ports.handle(input, again).await
        };
        let permit_expires_at = "2026-11-20T13:00:00Z";
        let message =
            self.message(&json!({ "attempt": attempt, "round": 1, "permitExpiresAt": permit_expires_at, "reportSuccess": true }));
        let parse = |received: Received| handle_message(&self.states, &handle, received);
        handle_batch("transfer-document", None, &self.queue, &parse, batch(&message)).await;
    }

    async fn normalize(&self) {
        let handle = async |input: normalize_document::Input, again| {
            let Self { store, objects: files, states: tasks, clock, .. } = self;
            let ports = normalize_document::Ports { store, files, tasks, clock, provider: "the-service" };
            ports.handle(input, again).await
        };
        let message = self.message(&json!({ "attempt": 1000 }));
        let parse = |received: Received| handle_message(&self.states, &handle, received);
        handle_batch("normalize-document", None, &self.queue, &parse, batch(&message)).await;
    }

    fn message(&self, more: &serde_json::Value) -> String {
        let number = self.tokens.fetch_add(1, Ordering::Relaxed);
        let mut message = json!({"schemaVersion": 2, "taskToken": format!("{MARK}-token-{number}")});
        message
            .as_object_mut()
            .unwrap()
            .extend(serde_json::to_value(self.document().reference).unwrap().as_object().unwrap().clone());
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        message.to_string()
    }

    async fn call_back(&self, callback_id: &str, body: &str, secret: &str) {
        let secret = SigningSecret::parse(secret).unwrap();
        let signature = sign(&secret, "mArKeD-event", NOW, body.as_bytes());
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", "mArKeD-event".parse().unwrap());
        headers.insert("webhook-timestamp", NOW.unix_timestamp().into());
        headers.insert("webhook-signature", signature.parse().unwrap());
        let trace = self.document().traceparent.map(|trace| trace.child("callback").to_string());
        let trace = trace.filter(|_| !body.contains("job.failed")).unwrap_or_else(|| MARK.to_owned());
        headers.insert("traceparent", trace.parse().unwrap());
        let delivery =
            receive_callback::WebhookRequest { callback_id, headers: &headers, body: body.as_bytes() };
        let Self { store, states: tasks, third_party: secrets, clock, .. } = self;
        let ports = receive_callback::Ports { store, tasks, orders: tasks, secrets, clock };
        ports.handle::<MemoryThirdParty>(delivery).await;
    }

    async fn verify(&self) -> Result<verify_returned_file::Output, Diagnostic> {
        let input = serde_json::from_str(&self.message(&json!({ "attempt": 1000, "index": 0 }))).unwrap();
        let Self { store, third_party, objects: files, .. } = self;
        let ports = verify_returned_file::Ports { store, third_party, files };
        let handle = async |input| ports.handle(input).await;
        handle_task("verify-returned-file", None, &handle, input).await
    }
}

fn secret_text() -> String {
    format!("whsec_{}", STANDARD.encode(format!("{MARK}-signing-secret-of-lectern")))
}

fn batch(body: &str) -> SqsEvent {
    let message = json!({
        "messageId": "m1", "receiptHandle": "mArKeD-receipt", "body": body,
        "attributes": {"ApproximateReceiveCount": "1"}
    });
    serde_json::from_value(json!({ "Records": [message] })).unwrap()
}

fn returned() -> ReturnedFile {
    ReturnedFile {
        name: "mArKeD.txt".into(),
        role: FileRole::Text,
        url: "https://files.example/mArKeD".to_owned(),
        size_bytes: TEXT.len() as u64,
        sha256: sha256(TEXT),
        media_type: "text/plain".to_owned(),
    }
}

fn callback(files: &[ReturnedFile]) -> String {
    json!({"timestamp": "2026-11-20T12:00:00Z", "type": "job.succeeded", "data": {"jobId": "mArKeD-job", "files": files}})
        .to_string()
}

async fn upload(world: &World) {
    let object =
        ObjectVersion { bucket: "uploads".to_owned(), key: KEY.to_owned(), version_id: "v1".to_owned() };
    world.faults.cut_next("head", Cut::Before);
    world.upload(KEY).await;
    world.objects.upload(&object, Some("text/plain"), TEXT);
    for (call, cut) in [("register", Cut::After), ("start", Cut::After), ("start", Cut::Before)] {
        world.faults.cut_next(call, cut);
        world.upload(KEY).await;
    }
    world.upload(KEY).await;
    let handle = async |_: transfer_document::Input, _| Ok(());
    let parse = |received: Received| handle_message(&world.states, &handle, received);
    for unreadable in
        ["mArKeD", r#"{"schemaVersion":"mArKeD"}"#, r#"{"schemaVersion":2,"taskToken":"mArKeD"}"#]
    {
        handle_batch("transfer-document", None, &world.queue, &parse, batch(unreadable)).await;
    }
}

async fn transfer(world: &World) {
    let refusals = [
        Error::Unavailable("it answered 503".to_owned()),
        Error::OutcomeUnknown("it answered 504".to_owned()),
        Error::RateLimited { retry_at: NOW },
        Error::Rejected(Reason::new("drm", "The file mArKeD is protected.")),
        Error::Unauthorized,
    ];
    // The document goes on although it was rejected, because the reason cannot be stored.
    world.faults.cut_next("record_result", Cut::Before);
    for (refusal, attempt) in refusals.into_iter().zip(1000..) {
        world.third_party.refuse_next(refusal);
        world.transfer(attempt, u64::MAX).await;
    }
    world.faults.cut_next("fail", Cut::Before);
    world.third_party.refuse_next(Error::Unauthorized);
    world.transfer(1010, 0).await;
    world.transfer(1011, 0).await;
    world.transfer(1000, u64::MAX).await;
}

async fn call_back(world: &World) {
    let (good, stranger) = (secret_text(), format!("whsec_{}", STANDARD.encode([7; 24])));
    let document = world.document();
    world.store.record_job(&document.reference, document.attempt.unwrap(), "mArKeD-job").await.unwrap();
    world.store.await_callback(&document.reference, TaskToken::new("mArKeD-waiting"), NOW);
    let body = callback(&[returned()]);
    world.call_back("mArKeD-callback", &body, &stranger).await;
    world.call_back("mArKeD-unknown", &body, &good).await;
    world.call_back("mArKeD-callback", r#"{"type": "mArKeD"}"#, &good).await;
    world.faults.cut_next("record_result", Cut::Before);
    for body in [&body, &body, &body, &callback(&[])] {
        world.call_back("mArKeD-callback", body, &good).await;
    }
    world.call_back("mArKeD-callback", r#"{"type": "job.failed", "mArKeD": 1}"#, &good).await;
    world.call_back("mArKeD-callback", &"mArKeD ".repeat(100_000), &good).await;
}

async fn finish(world: &World) {
    let document = world.document().reference;
    let input = serde_json::from_str(&world.message(&json!({ "attempt": 1000, "round": 1 }))).unwrap();
    let World { store, third_party, clock, .. } = world;
    probe_job::Ports { store, third_party, clock }.handle(input).await.unwrap();
    world.store.begin_verify(&document, world.clock.now()).unwrap();
    for wrong in [&b"mArKeD other bytes"[..], TEXT] {
        world.third_party.serve(&returned().url, wrong);
        let _ = world.verify().await;
    }
    world.verify().await.unwrap();
    world.objects.put_returned(&keys::returned_file(&document, 0), &b"\xFF mArKeD"[..]);
    world.normalize().await;
    world.objects.put_returned(&keys::returned_file(&document, 0), TEXT);
    world.faults.cut_next("finish", Cut::Before);
    world.normalize().await;
    world.normalize().await;
    assert_eq!(world.document().state, DocumentState::Ready);
    let cause = r#"{"reason":{"code":"x","message":"mArKeD"}}"#.to_owned();
    let failure = json!({ "attempt": 1000, "error": "States.Timeout", "cause": cause, "redrives": 0 });
    let input = serde_json::from_str(&world.message(&failure)).unwrap();
    fail_document::Ports { store, clock }.handle(input).await.unwrap();
}

/// Calls the adapters with services that quote the request in their errors.
async fn meet_failing_services(world: &World) {
    let start =
        mock!(aws_sdk_sfn::Client::start_execution).then_http_response(|| json_error("ThrottlingException"));
    let answer =
        mock!(aws_sdk_sfn::Client::send_task_success).then_http_response(|| json_error("InvalidToken"));
    let client = client!(aws_sdk_sfn, start, answer);
    let machine = StateMachine::new(client.clone(), "arn:m".to_owned());
    let execution = StartExecution::of(&world.document());
    assert!(machine.start(&execution).await.is_err());
    let used = TaskTokens::new(client).succeed(&TaskToken::new("mArKeD"), json!({})).await;
    assert_eq!(used.unwrap(), TokenUse::NotAwaited);
    let head = mock!(aws_sdk_s3::Client::head_object).then_http_response(|| xml_error(403, "AccessDenied"));
    let uploads = crate::UploadsBucket::new(client!(aws_sdk_s3, head));
    assert!(lectern::ports::Uploads::head(&uploads, &world.document().object).await.is_err());
}

/// The log of every function, with success and failure.
fn logged(wanted: Wanted) -> Captured {
    let captured = Captured::default();
    let writer = captured.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tracing::subscriber::with_default(subscriber(wanted, "test", move || writer.clone()), || {
        runtime.block_on(async {
            let world = World::new();
            upload(&world).await;
            transfer(&world).await;
            world.third_party.set_status("unused", JobStatus::Working { job_id: MARK.to_owned() });
            call_back(&world).await;
            finish(&world).await;
            meet_failing_services(&world).await;
            let again = JobResult::Succeeded(JobSucceeded { job_id: MARK.to_owned(), files: vec![] });
            world.store.record_result(&world.document().reference, &again, world.clock.now()).await.unwrap();
        });
    });
    let text = captured.text();
    for secret in [MARK, "secret detail", &STANDARD.encode(MARK), "0a".repeat(40).as_str(), "files.example"] {
        assert!(!text.contains(secret), "{secret} was logged:\n{text}");
    }
    captured
}

#[test]
fn case_53_debug_of_one_submission_logs_more_and_no_secrets() {
    let submission = |id: &str| Some(id.parse().unwrap());
    let debug_lines = |captured: Captured| {
        let lines = captured.lines();
        lines.into_iter().filter(|line| line["level"] == "DEBUG").collect::<Vec<_>>()
    };
    let lines = debug_lines(logged(Wanted::new("info".parse().unwrap(), submission("s1"))));
    assert!(lines.len() > 10, "{lines:?}");
    assert!(lines.iter().all(|line| line["submissionId"] == "s1"), "{lines:?}");
    for said in
        ["A transfer attempt was refused", "The returned file is in quarantine", "own trace was compared"]
    {
        let found = lines.iter().any(|line| line["message"].as_str().unwrap().contains(said));
        assert!(found, "{said}: {lines:?}");
    }
    let compared = |same: &serde_json::Value| lines.iter().any(|line| &line["sameTrace"] == same);
    assert!(compared(&json!(true)) && compared(&json!(null)), "{lines:?}");
    assert!(debug_lines(logged(Wanted::new("info".parse().unwrap(), submission("another")))).is_empty());
}

#[test]
fn case_53_no_name_url_token_or_secret_is_ever_logged() {
    let captured = logged(Wanted::new("trace".parse().unwrap(), None));
    let lines = captured.lines();
    assert!(lines.len() > 30, "{} lines were searched", lines.len());
    for function in ["receive-upload", "transfer-document", "normalize-document"] {
        let of_function = || lines.iter().filter(|line| line["function"] == function);
        assert!(of_function().all(|line| line.get("traceId").is_some()), "{function}");
        let named = of_function().find(|line| line.get("documentId").is_some()).expect(function);
        assert_eq!(named["submissionId"], "s1");
    }
    let attempts =
        lines.iter().filter(|line| line["function"] == "transfer-document" && line["attempt"] == 1002);
    assert!(attempts.count() > 0, "the attempt is on its lines");
    let metrics = lines.iter().filter(|line| line.get("_aws").is_some()).count();
    assert!(metrics >= 10, "{metrics} lines of metrics were searched too");
    for line in lines.iter().filter(|line| line.get("_aws").is_none()) {
        let flat = line.as_object().unwrap().values().all(|value| !value.is_object() && !value.is_array());
        assert!(flat, "{line}");
    }
}
