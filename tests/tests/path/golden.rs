//! The golden sets of what travels: the messages, payloads and outputs of the workflow, the record and the callback
//! (A07). The definition and the steps write them here as they do when deployed.

use lectern::{
    contract::wire::{FileRole, JobStatus},
    document::{DocumentRef, TaskToken},
    message::{self, SCHEMA_VERSION, Unreadable},
    ports::Clock as _,
    record::Record,
    steps::{
        admit_document, fail_document, normalize_document, probe_job, receive_upload, transfer_document,
        verify_returned_file,
    },
    testing::{
        golden::{self, Set},
        world::{
            MemoryWorld, SECRET, START, callback_body, object, of_job, returned_file, s3_event, signed,
            succeeded,
        },
    },
};
use lectern_aws::sfn::execution_input;
use serde_json::{Value, json};

use super::machine::{Execution, Machine, Work};

/// A part of the workflow that has written down what it sent.
struct Writer {
    world: MemoryWorld,
    machine: Machine,
    set: Set,
}

impl Writer {
    fn note(&mut self, name: &str, value: &Value) {
        let earlier = self.set.insert(name.to_owned(), value.clone());
        assert_eq!(earlier, None, "{name} is written once");
    }

    /// Runs the execution to its next message or payload, and notes it under this name.
    fn next(&mut self, execution: &mut Execution, name: &str, token: &str) -> Value {
        let sent = next(&self.machine, execution, token);
        self.note(name, &sent);
        sent
    }

    /// The output with which a step completed the task of this token.
    fn output(&mut self, name: &str, token: &str) -> Value {
        let output = self.world.states.answer(&TaskToken::new(token)).unwrap().unwrap();
        self.note(name, &output);
        output
    }

    fn orders(&mut self, name: &str) {
        let orders = self.world.states.take_orders();
        let [order] = orders.as_slice() else { panic!("{name}: {orders:?}") };
        self.note(name, &serde_json::to_value(order).unwrap());
    }
}

/// Runs the execution to its next message or payload.
fn next(machine: &Machine, execution: &mut Execution, token: &str) -> Value {
    loop {
        match execution.step(machine, token) {
            Work::Moved => {}
            Work::Sleep(_) => execution.wake(machine),
            Work::Send(sending) => return sending.body,
            Work::Invoke(_, payload) => return payload,
            Work::Map(payloads) => return payloads.into_iter().next().unwrap(),
            work @ (Work::AwaitCallback | Work::BeginVerify | Work::Over) => {
                panic!("{work:?} in {}", execution.state)
            }
        }
    }
}

fn parsed<T: serde::de::DeserializeOwned>(body: &Value) -> T {
    message::parse(&body.to_string()).unwrap()
}

/// Everything that this code sends from an upload to its record, and after failures on the way.
async fn written() -> Set {
    let mut writer =
        Writer { world: MemoryWorld::default(), machine: Machine::as_deployed(), set: Set::new() };
    let upload = object("plan.txt", "v1");
    writer.world.objects.upload(&upload, Some("text/plain"), b"Lesson plan".as_slice());
    let event = s3_event(&[(&upload, "0055AED6DCD90281E5")]);
    writer.note("receive-upload-event", &serde_json::from_str(&event).unwrap());
    writer.world.receive_upload(&event).await.unwrap();
    let document = writer.world.document(&upload).unwrap().reference;
    let input = execution_input(&writer.world.states.start_of(&document).unwrap());
    writer.note("execution-input", &input);
    let mut execution = Execution::start(&writer.machine, input, START);

    let request = writer.next(&mut execution, "admit-document-request", "token-1");
    let batch = admit_document::Batch { inputs: vec![parsed(&request)], again: false };
    writer.world.admit(batch).await.unwrap();
    let permit = writer.output("admit-document-permit", "token-1");
    execution.succeed(&writer.machine, &permit);

    let mut transfer = writer.next(&mut execution, "transfer-document-message", "token-2");
    after_failures(&mut writer, &execution).await;
    transfer["reportSuccess"] = true.into();
    writer.world.transfer(parsed(&transfer)).await.unwrap();
    let output = writer.output("transfer-document-output", "token-2");
    writer.orders("transfer-document-report");
    execution.succeed(&writer.machine, &output);
    after_a_missing_callback(&mut writer, &execution, &document).await;

    assert_eq!(execution.step(&writer.machine, "token-3"), Work::AwaitCallback);
    assert!(writer.world.store.await_callback(&document, TaskToken::new("token-3"), START));
    let text = b"Lesson plan";
    let files = [returned_file("plan.txt", FileRole::Text, "text/plain", text)];
    writer.world.third_party.serve(&files[0].url, text.as_slice());
    let job_id = writer.world.store.get(&document).unwrap().job_id.unwrap();
    let event = of_job(&job_id, succeeded(&files));
    writer.note("receive-callback-body", &serde_json::from_slice(&callback_body(event.clone())).unwrap());
    assert!(writer.world.call_back(&document, event).await.status().is_success());
    let output = writer.output("receive-callback-output", "token-3");
    writer.orders("receive-callback-release");
    execution.succeed(&writer.machine, &output);

    let payload = writer.next(&mut execution, "verify-returned-file-payload", "");
    let output = writer.world.verify(message::input(payload).unwrap()).await.unwrap();
    let output = serde_json::to_value(output).unwrap();
    writer.note("verify-returned-file-output", &output);
    execution.succeed(&writer.machine, &json!([output]));

    let message = writer.next(&mut execution, "normalize-document-message", "token-4");
    writer.world.normalize(parsed(&message), false).await.unwrap();
    let output = writer.output("normalize-document-output", "token-4");
    execution.succeed(&writer.machine, &output);
    assert!(execution.is_over());
    let record = serde_json::to_value(writer.world.record(&document).unwrap()).unwrap();
    writer.note("record", &record);
    writer.set
}

/// The attempt fails in each way that leads to another message.
async fn after_failures(writer: &mut Writer, execution: &Execution) {
    let cause = json!({ "reason": { "code": "sourceGone", "message": "It is gone." } }).to_string();
    let mut failed = execution.clone();
    failed.fail(&writer.machine, "Source.Gone", &cause);
    writer.next(&mut failed, "admit-document-report", "");
    failed.succeed(&writer.machine, &Value::Null);
    let payload = writer.next(&mut failed, "fail-document-payload", "");
    // A world of its own, because the document goes on in the other one.
    let world = MemoryWorld::default();
    let output = world.fail(message::input(payload).unwrap()).await.unwrap();
    writer.note("fail-document-output", &serde_json::to_value(output).unwrap());

    let mut unknown = execution.clone();
    unknown.fail(&writer.machine, "ThirdParty.OutcomeUnknown", "");
    writer.next(&mut unknown, "admit-document-report-unknown-outcome", "");
    unknown.succeed(&writer.machine, &Value::Null);
    let payload = writer.next(&mut unknown, "probe-job-payload", "");
    let output = writer.world.probe(message::input(payload).unwrap()).await.unwrap();
    let output = serde_json::to_value(output).unwrap();
    writer.note("probe-job-output", &output);
    unknown.succeed(&writer.machine, &json!({ "Payload": output }));
    writer.next(&mut unknown, "admit-document-release", "");
}

/// The job is at work after the time in which its callback was due.
async fn after_a_missing_callback(writer: &mut Writer, execution: &Execution, document: &DocumentRef) {
    let mut overdue = execution.clone();
    overdue.fail(&writer.machine, "States.Timeout", "");
    let payload = next(&writer.machine, &mut overdue, "");
    let working = JobStatus::Working { job_id: writer.world.store.get(document).unwrap().job_id.unwrap() };
    writer.world.third_party.set_status(&format!("{}-1", document.document_id), working);
    let output = writer.world.probe(message::input(payload).unwrap()).await.unwrap();
    let output = serde_json::to_value(output).unwrap();
    assert_eq!(output["status"], "working");
    overdue.succeed(&writer.machine, &json!({ "Payload": output }));
    writer.next(&mut overdue, "admit-document-renew", "");
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn a07_code_writes_exactly_the_golden_set_of_its_version() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let compared = golden::compare("wire", &block_on(written()), update);
    assert!(compared.is_ok(), "{}", compared.unwrap_err());
}

/// What the reader of a file says: read, or `Unreadable`.
fn read(name: &str, value: &Value) -> Result<(), Unreadable> {
    let body = value.to_string();
    match name {
        "receive-upload-event" => receive_upload::parse_event(&body).map(drop),
        "transfer-document-message" => message::parse::<transfer_document::Input>(&body).map(drop),
        "normalize-document-message" => message::parse::<normalize_document::Input>(&body).map(drop),
        "probe-job-payload" => message::parse::<probe_job::Input>(&body).map(drop),
        "verify-returned-file-payload" => message::parse::<verify_returned_file::Input>(&body).map(drop),
        "fail-document-payload" => message::parse::<fail_document::Input>(&body).map(drop),
        "record" => {
            Record::from_json(body.as_bytes()).unwrap();
            Ok(())
        }
        // These are read in `whole_workflow_goes_on_with`.
        "execution-input" | "receive-callback-body" => Ok(()),
        output if output.ends_with("-output") || output.ends_with("-permit") => Ok(()),
        order
            if order.starts_with("admit-document-")
                || order.ends_with("-report")
                || order.ends_with("-release") =>
        {
            message::parse::<admit_document::Input>(&body).map(drop)
        }
        other => panic!("say in this test who reads {other}"),
    }
}

/// The present definition goes from its start to its end with the input, the outputs and the callback of a set.
async fn whole_workflow_goes_on_with(set: &Set) {
    let machine = Machine::as_deployed();
    let mut execution = Execution::start(&machine, set["execution-input"].clone(), START);
    for output in ["admit-document-permit", "transfer-document-output"] {
        parsed::<DocumentRef>(&next(&machine, &mut execution, "token"));
        execution.succeed(&machine, &set[output]);
    }
    let mut unknown = execution.clone();
    unknown.fail(&machine, "States.Timeout", "");
    next(&machine, &mut unknown, "");
    unknown.succeed(&machine, &json!({ "Payload": set["probe-job-output"] }));
    next(&machine, &mut unknown, "");
    assert_eq!(execution.step(&machine, "token"), Work::AwaitCallback);
    execution.succeed(&machine, &set["receive-callback-output"]);
    next(&machine, &mut execution, "");
    execution.succeed(&machine, &json!([set["verify-returned-file-output"]]));
    next(&machine, &mut execution, "token");
    execution.succeed(&machine, &set["normalize-document-output"]);
    assert!(execution.is_over());

    let world = MemoryWorld::default();
    let body = set["receive-callback-body"].to_string();
    let headers = signed(SECRET, "event", world.clock.now(), body.as_bytes());
    let answer = world.callback("nobody's", &headers, body.as_bytes()).await.status();
    assert!(answer.is_success(), "{answer}");
}

/// In a release before, this test also reads the sets of the releases after it (`make golden-before`).
#[test]
fn a07_every_golden_set_is_read() {
    let sets = golden::every_version("wire").unwrap();
    assert!(sets.contains_key(env!("CARGO_PKG_VERSION")));
    for (version, set) in sets {
        let is_newer = |value: &Value| value["schemaVersion"].as_u64() > Some(SCHEMA_VERSION);
        for (name, value) in &set {
            let read = read(name, value);
            let waits = matches!(read, Err(Unreadable::Newer(_))) && is_newer(value);
            assert!(read.is_ok() || waits, "{version}, {name}: {read:?}");
        }
        if !is_newer(&set["execution-input"]) {
            block_on(whole_workflow_goes_on_with(&set));
        }
    }
}

/// The function that was rolled back answers the token; the state machine sends the message again, with another token.
#[test]
fn a07_message_that_was_refused_as_newer_is_sent_again_for_days() {
    let machine = Machine::as_deployed();
    let set = block_on(written());
    let mut execution = Execution::start(&machine, set["execution-input"].clone(), START);
    next(&machine, &mut execution, "token");
    execution.succeed(&machine, &set["admit-document-permit"]);
    let mut waited_s = 0.0;
    for number in 0..200 {
        let message = next(&machine, &mut execution, &format!("token-{number}"));
        assert_eq!(message["taskToken"], format!("token-{number}"));
        execution.fail(&machine, "Input.Newer", "");
        waited_s += execution.take_retry_pause().expect("it is retried").as_secs_f64();
    }
    assert!(waited_s > 3.5 * 86_400.0, "{waited_s}");
    next(&machine, &mut execution, "token");
    execution.fail(&machine, "Input.Newer", "");
    assert_eq!(execution.state, "FailDocument", "nothing waits for ever");
}

#[test]
fn a07_next_versions_unknown_fields_are_read_and_its_newer_schema_version_waits() {
    let set = block_on(written());
    let grown: Set =
        set.iter().map(|(name, value)| (name.clone(), golden::with_unknown_fields(value))).collect();
    let mut newer = 0;
    for (name, value) in &grown {
        let read_grown = read(name, value);
        assert!(read_grown.is_ok(), "{name}: {read_grown:?}");
        if value["schemaVersion"] != SCHEMA_VERSION || name == "execution-input" {
            continue;
        }
        newer += 1;
        // Of another form in all its fields but those of the envelope that never change.
        let mut next = json!({ "schemaVersion": SCHEMA_VERSION + 1, "attempt": { "of": "another form" } });
        next["taskToken"] = value["taskToken"].clone();
        let read_next = read(name, &next);
        assert!(matches!(read_next, Err(Unreadable::Newer(_))), "{name}: {read_next:?}");
        let token = message::task_token(&next.to_string());
        assert_eq!(token.is_some(), value["taskToken"].is_string(), "{name}: the state machine is answered");
    }
    assert!(newer >= 12, "only {newer} files have a schema version; correct the test");
    block_on(whole_workflow_goes_on_with(&grown));
}
