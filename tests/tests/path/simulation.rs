//! The whole workflow over the ports in memory, driven by a seed: queues that redeliver, executions, the third party's
//! callbacks, timeouts and calls that are cut off. Every step that succeeds runs a second time and may change nothing.

use std::collections::{BTreeMap, BTreeSet};

use lectern::{
    document::{Document, DocumentRef, DocumentState, JobResult, ObjectVersion, TaskToken},
    error::Error,
    memory::{
        Cut,
        world::{MemoryWorld, s3_event},
    },
    message, normalize_document,
    ports::Clock as _,
    submission::Submission,
    trace::{TRACEPARENT, TraceParent},
    transfer_document,
};
use serde_json::{Value, json};

use super::{
    machine::{Execution, Machine, Work},
    third_party::{Plan, Sender},
    weather::{CALLS, Dice, Pace, Roughness},
};

#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) queue: &'static str,
    pub(crate) body: String,
    pub(crate) receives: usize,
    again: bool,
}

const MAX_RECEIVES: usize = 5;
const UPLOADS: &str = "receive-upload";
const TRANSFERS: &str = "TransferDocumentQueueUrl";
const NORMALIZATIONS: &str = "NormalizeDocumentQueueUrl";

pub(crate) struct Simulation {
    pub(crate) world: MemoryWorld,
    pub(crate) machine: Machine,
    pub(crate) executions: BTreeMap<DocumentRef, Execution>,
    pub(crate) dead: Vec<Message>,
    pub(crate) sender: Sender,
    pub(crate) pace: Pace,
    queues: Vec<Message>,
    dice: Dice,
    roughness: Roughness,
    tokens: usize,
    ended: BTreeMap<DocumentRef, Document>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handled {
    /// It did what it was sent for, or is of the past.
    Done,
    /// The state machine was told an error.
    Reported,
    /// It stays on its queue.
    Left,
}

/// All that a second run may not change.
type Snapshot = (Vec<Document>, Vec<Option<Submission>>, BTreeSet<DocumentRef>, BTreeMap<String, Vec<u8>>);

enum Activity {
    Deliver(usize),
    Step(DocumentRef),
    CallBack(usize),
    TimeOut(DocumentRef),
}

impl Simulation {
    pub(crate) fn new(seed: u64, plan: Option<Plan>, roughness: Roughness) -> Self {
        Self {
            world: MemoryWorld::default(),
            machine: Machine::load(),
            executions: BTreeMap::new(),
            dead: Vec::new(),
            sender: Sender::new(plan),
            pace: Pace::Any,
            queues: Vec::new(),
            dice: Dice::new(seed),
            roughness,
            tokens: 0,
            ended: BTreeMap::new(),
        }
    }

    /// One message of S3.
    pub(crate) fn announce(&mut self, created: &[(&ObjectVersion, &str)]) {
        self.send(UPLOADS, s3_event(created));
    }

    pub(crate) fn send_upload_message(&mut self, body: &str) {
        self.send(UPLOADS, body.to_owned());
    }

    fn send(&mut self, queue: &'static str, body: String) {
        self.queues.push(Message { queue, body, receives: 0, again: false });
    }

    /// An operator moves the dead letters back.
    pub(crate) fn redrive_dead_letters(&mut self) {
        self.queues.extend(self.dead.drain(..).map(|message| Message { receives: 0, ..message }));
    }

    /// Until nothing is left to happen.
    pub(crate) async fn run(&mut self) {
        self.run_until(|_| false).await;
    }

    /// Until this holds, or nothing is left to happen.
    pub(crate) async fn run_until(&mut self, reached: impl Fn(&Self) -> bool) {
        for _ in 0..20_000 {
            if reached(self) {
                return;
            }
            let Some(activity) = self.next() else { return };
            self.world.clock.advance(std::time::Duration::from_secs(1));
            self.trouble();
            match activity {
                Activity::Deliver(index) => self.deliver(index).await,
                Activity::Step(document) => self.step(&document).await,
                Activity::CallBack(index) => self.sender.call_back(&self.world, index).await,
                Activity::TimeOut(document) => self.time_out(&document),
            }
            self.observe();
        }
        panic!("it does not come to an end: {:?}", self.executions);
    }

    fn next(&mut self) -> Option<Activity> {
        let probed =
            || self.executions.values().any(|execution| execution.path.iter().any(|s| s == "ProbeJob"));
        let callbacks = match self.pace {
            Pace::CallbacksLate if !probed() => 0,
            Pace::Any | Pace::CallbacksFirst | Pace::WhenAwaited | Pace::CallbacksLate => {
                self.sender.pending()
            }
        };
        if [Pace::CallbacksFirst, Pace::CallbacksLate].contains(&self.pace) && callbacks > 0 {
            return Some(Activity::CallBack(0));
        }
        let waiting = |(document, execution): (&DocumentRef, &Execution)| {
            let token = execution.token.as_ref()?;
            self.world.states.answer(&TaskToken::new(token)).is_none().then(|| document.clone())
        };
        let waits: Vec<DocumentRef> = self.executions.iter().filter_map(waiting).collect();
        let steps = self
            .executions
            .iter()
            .filter(|(document, execution)| !execution.is_over() && !waits.contains(document));
        let mut all: Vec<Activity> = steps.map(|(document, _)| Activity::Step(document.clone())).collect();
        all.extend((0..self.queues.len()).map(Activity::Deliver));
        if self.pace != Pace::WhenAwaited || all.is_empty() {
            all.extend((0..callbacks).map(Activity::CallBack));
        }
        let impatient = self.roughness.timeouts > 0 && self.dice.percent(4);
        if !waits.is_empty() && (all.is_empty() || impatient) {
            self.roughness.timeouts -= usize::from(!all.is_empty());
            return Some(Activity::TimeOut(self.dice.pick(&waits)));
        }
        let count = all.len();
        (count > 0).then(|| all.swap_remove(self.dice.below(count)))
    }

    /// Now and then something is about to go wrong.
    fn trouble(&mut self) {
        if self.roughness.cuts > 0 && self.dice.percent(15) {
            self.roughness.cuts -= 1;
            self.world.faults.cut_next(self.dice.pick(&CALLS), self.dice.pick(&[Cut::Before, Cut::After]));
        }
        if self.roughness.refusals > 0 && self.dice.percent(10) {
            self.roughness.refusals -= 1;
            let error = match self.dice.below(5) {
                0 => Error::RateLimited { retry_at: self.world.clock.now() + time::Duration::minutes(1) },
                1 => Error::Unauthorized,
                2 => Error::Rejected(lectern::document::Reason::new("drmProtected", "No DRM, please.")),
                _ => Error::Unavailable("503".to_owned()),
            };
            self.world.third_party.refuse_next(error);
        }
    }

    async fn deliver(&mut self, index: usize) {
        let mut message = self.queues.swap_remove(index);
        message.receives += 1;
        match self.handle(&message).await {
            Handled::Left if message.receives >= MAX_RECEIVES => self.dead.push(message),
            Handled::Left => self.queues.push(message),
            handled @ (Handled::Done | Handled::Reported) => {
                let before = self.snapshot();
                // A message whose error was reported may still do its work when it comes again.
                if handled == Handled::Done {
                    self.handle(&message).await;
                    assert!(self.snapshot() == before, "the second run of {message:?} changed something");
                }
                if self.roughness.redeliveries && !message.again && self.dice.percent(25) {
                    self.queues.push(Message { again: true, ..message });
                }
            }
        }
        for document in self.world.states.started() {
            let started = self.world.states.start_of(&document).unwrap();
            let input = json!({
                "schemaVersion": message::SCHEMA_VERSION, "submissionId": document.submission_id,
                "documentId": document.document_id, "traceparent": started.traceparent,
            });
            let machine = &self.machine;
            self.executions.entry(document).or_insert_with(|| Execution::start(machine, input));
        }
    }

    async fn handle(&mut self, message: &Message) -> Handled {
        match message.queue {
            UPLOADS => match self.world.receive_upload(&message.body).await {
                Ok(_) => Handled::Done,
                Err(_) => Handled::Left,
            },
            TRANSFERS => {
                let input: transfer_document::Input = message::parse(&message.body).unwrap();
                self.assert_trace(&input.document, input.traceparent);
                match self.world.transfer(input).await {
                    Ok(transfer_document::Outcome::Reported(_)) => Handled::Reported,
                    Ok(_) => Handled::Done,
                    Err(_) => Handled::Left,
                }
            }
            _ => {
                let input: normalize_document::Input = message::parse(&message.body).unwrap();
                self.assert_trace(&input.document, input.traceparent);
                match self.world.normalize(input).await {
                    Ok(normalize_document::Outcome::Reported(_)) => Handled::Reported,
                    Ok(_) => Handled::Done,
                    Err(_) => Handled::Left,
                }
            }
        }
    }

    async fn step(&mut self, document: &DocumentRef) {
        let mut execution = self.executions[document].clone();
        if let Some(token) = execution.token.clone().map(TaskToken::new) {
            let cause = self.world.states.cause(&token).unwrap_or_default().to_string();
            match self.world.states.answer(&token).unwrap() {
                Ok(output) => execution.succeed(&self.machine, &output),
                Err(name) => execution.fail(&self.machine, name, &cause),
            }
        } else {
            self.tokens += 1;
            let token = format!("token-{}", self.tokens);
            match execution.step(&self.machine, &token) {
                Work::Moved | Work::Over => {}
                Work::Send(queue, body) => {
                    let queue =
                        [TRANSFERS, NORMALIZATIONS].into_iter().find(|known| *known == queue).unwrap();
                    self.send(queue, body.to_string());
                }
                Work::AwaitCallback => {
                    let now = self.world.clock.now();
                    if self.world.store.await_callback(document, TaskToken::new(&token), now) {
                        execution.token = Some(token);
                    } else {
                        execution.fail(&self.machine, "DynamoDb.ConditionalCheckFailedException", "");
                    }
                }
                Work::BeginVerify => match self.begin_verify(document) {
                    Some(output) => execution.succeed(&self.machine, &output),
                    None => execution.fail(&self.machine, "DynamoDb.ConditionalCheckFailedException", ""),
                },
                Work::Invoke(function, payload) => match self.invoke(&function, payload).await {
                    Ok(output) => execution.succeed(&self.machine, &json!({ "Payload": output })),
                    Err(error) => execution.fail(&self.machine, error.name(), &envelope(&error)),
                },
                Work::Map(payloads) => match self.map(payloads).await {
                    Ok(outputs) => execution.succeed(&self.machine, &outputs),
                    Err(error) => execution.fail(&self.machine, error.name(), &envelope(&error)),
                },
            }
        }
        self.executions.insert(document.clone(), execution);
    }

    fn begin_verify(&self, document: &DocumentRef) -> Option<Value> {
        let result = self.world.store.begin_verify(document, self.world.clock.now())?;
        let (outcome, files) = match result {
            JobResult::Succeeded(job) => ("succeeded", job.files.len()),
            JobResult::Failed(_) => ("failed", 0),
        };
        let attributes =
            json!({ "resultOutcome": { "S": outcome }, "resultFiles": { "N": files.to_string() } });
        Some(json!({ "Attributes": attributes }))
    }

    async fn map(&mut self, payloads: Vec<Value>) -> Result<Value, Error> {
        let mut outputs = Vec::new();
        for payload in payloads {
            let mut tried = Vec::new();
            loop {
                match self.invoke("VerifyReturnedFileFunctionArn", payload.clone()).await {
                    Ok(output) => break outputs.push(output),
                    Err(error) if Execution::retries_file(&self.machine, &mut tried, error.name()) => {
                        self.sender.mend_files(&self.world);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(outputs.into())
    }

    /// Invokes a function with the very JSON of the state machine, and gives its output as JSON.
    async fn invoke(&mut self, function: &str, payload: Value) -> Result<Value, Error> {
        let first = self.call(function, payload.clone()).await?;
        let before = self.snapshot();
        if let Ok(second) = self.call(function, payload).await {
            assert_eq!(second, first, "the second run of {function} answered otherwise");
        }
        assert!(self.snapshot() == before, "the second run of {function} changed something");
        Ok(first)
    }

    /// Every message and every payload has the trace of its document.
    fn assert_trace(&self, document: &DocumentRef, traceparent: Option<TraceParent>) {
        let stored = self.world.store.get(document).unwrap().traceparent;
        assert!(stored.is_some() && traceparent == stored, "{traceparent:?} instead of {stored:?}");
    }

    async fn call(&self, function: &str, payload: Value) -> Result<Value, Error> {
        let document: DocumentRef = serde_json::from_value(payload.clone()).unwrap();
        self.assert_trace(&document, serde_json::from_value(payload[TRACEPARENT].clone()).unwrap());
        let output = match function {
            "ProbeJobFunctionArn" => {
                serde_json::to_value(self.world.probe(serde_json::from_value(payload).unwrap()).await?)
            }
            "VerifyReturnedFileFunctionArn" => {
                serde_json::to_value(self.world.verify(serde_json::from_value(payload).unwrap()).await?)
            }
            "FailDocumentFunctionArn" => {
                serde_json::to_value(self.world.fail(serde_json::from_value(payload).unwrap()).await?)
            }
            other => panic!("no function {other}"),
        };
        Ok(output.unwrap())
    }

    fn time_out(&mut self, document: &DocumentRef) {
        let execution = self.executions.get_mut(document).unwrap();
        self.world.states.expire(&TaskToken::new(execution.token.clone().unwrap()));
        execution.fail(&self.machine, "States.Timeout", "");
    }

    /// What has to hold at every moment: an ended document stays as it ended, but for who supersedes it and for what
    /// the third party says later.
    fn observe(&mut self) {
        self.sender.plan_new_jobs(&self.world, &mut self.dice);
        for document in self.world.store.all() {
            if !document.state.is_terminal() {
                assert!(
                    !self.ended.contains_key(&document.reference),
                    "{:?} was revived",
                    document.reference
                );
                continue;
            }
            let ended = self.ended.entry(document.reference.clone()).or_insert_with(|| document.clone());
            assert_eq!(
                (ended.state, &ended.reason, &ended.times),
                (document.state, &document.reason, &document.times)
            );
        }
    }

    fn snapshot(&self) -> Snapshot {
        let documents = self.world.store.all();
        let submissions = documents
            .iter()
            .map(|document| self.world.store.submission_now(&document.reference.submission_id))
            .collect();
        (documents, submissions, self.world.states.started(), self.world.third_party.jobs())
    }

    /// The document of this version.
    pub(crate) fn document(&self, object: &ObjectVersion) -> Document {
        self.world.document(object).unwrap_or_else(|| panic!("{object:?} is lost"))
    }

    /// The states its execution went through.
    pub(crate) fn path(&self, object: &ObjectVersion) -> Vec<String> {
        self.executions[&self.document(object).reference].path.clone()
    }

    /// How it ended, and why.
    pub(crate) fn end(&self, object: &ObjectVersion) -> (DocumentState, Option<String>) {
        let document = self.document(object);
        (document.state, document.reason.map(|reason| reason.code))
    }
}

/// What Step Functions catches from Lambda.
fn envelope(error: &Error) -> String {
    json!({ "errorType": error.name(), "errorMessage": error.cause().to_string() }).to_string()
}
