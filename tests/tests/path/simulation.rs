//! The whole workflow on in-memory ports, driven by a seed: queues that redeliver, executions, the third party's
//! callbacks, timeouts and calls that are cut off. Every successful step runs a second time, which must change nothing.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use lectern::{
    document::submission::Submission,
    document::{
        Attempt, Document, DocumentId, DocumentRef, DocumentState, JobResult, ObjectVersion, TaskToken,
    },
    error::Error,
    message,
    ports::{Clock as _, Reopened, Reopening as _, StartExecution},
    steps::admit_document::{self, Batch, Order},
    steps::normalize_document,
    steps::probe_job,
    steps::transfer_document,
    telemetry::trace::{TRACEPARENT, TraceParent},
    testing::{
        Cut,
        world::{MemoryWorld, s3_event},
    },
};
use lectern_aws::sfn::execution_input;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

mod checks;
mod permits;
mod schedule;
mod steps;

use super::{
    conditions::{CALLS, CallbackTime, Dice, Roughness, WRITES},
    fifo::Fifo,
    machine::{Execution, Machine, Sending, Sleep, Work},
    observed::{Behaviour, Behind, Log, Observed, Outage},
    third_party::{Plan, Sender},
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
const ADMISSIONS: &str = "AdmitDocument";
const TRANSFERS: &str = "TransferDocument";
const NORMALIZATIONS: &str = "NormalizeDocument";

pub(crate) struct Simulation {
    pub(crate) world: MemoryWorld,
    pub(crate) machine: Machine,
    pub(crate) executions: BTreeMap<DocumentRef, Execution>,
    pub(crate) dead_letters: Vec<Message>,
    pub(crate) sender: Sender,
    pub(crate) callback_time: CallbackTime,
    pub(crate) outage: Option<Outage>,
    /// How the third party answers submissions of some documents; it accepts all other documents.
    pub(crate) behaviours: BTreeMap<DocumentId, Behaviour>,
    /// How many of a hundred submissions are answered 503.
    pub(crate) scattered_failures: usize,
    /// Replaces the behaviour for the next submissions.
    pub(crate) instead: VecDeque<Behaviour>,
    pub(crate) log: Log,
    /// The largest number of jobs and open submissions that the third party had at one time.
    pub(crate) most_in_flight: usize,
    /// Whether time passes only when nothing else can happen, up to the next wait, timeout, callback or upload.
    pub(crate) by_the_clock: bool,
    /// How long each activity takes in simulated time.
    pub(crate) moment: Duration,
    /// Whether the run is so long that it skips the second runs of steps and the checks of all documents after each
    /// step.
    pub(crate) is_long: bool,
    /// S3 events that have not been sent yet.
    arrivals: BTreeSet<(OffsetDateTime, (DocumentRef, String))>,
    /// Documents whose executions a long run starts next.
    arrived: BTreeSet<DocumentRef>,
    admissions: Fifo,
    queues: Vec<Message>,
    dice: Dice,
    roughness: Roughness,
    tokens: BTreeMap<String, DocumentRef>,
    ended: BTreeMap<DocumentRef, Document>,
    permits: permits::Permits,
    schedule: schedule::Schedule,
    /// When submissions end that the third party answers late and creates no job for.
    open_requests: Vec<OffsetDateTime>,
    requests_seen: usize,
    accepted: usize,
    /// Documents that failed so long ago that the leases of their jobs have ended.
    outlasted: BTreeSet<DocumentRef>,
    /// Documents whose first job was abandoned for a new one.
    abandoned: BTreeSet<DocumentRef>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handled {
    /// It was handled, or is no longer needed.
    Done,
    /// An error was reported to the state machine.
    Reported,
    /// It stays on its queue.
    Left,
}

/// Everything that a second run must not change.
type Snapshot = (Vec<Document>, Vec<Option<Submission>>, BTreeSet<DocumentRef>, BTreeMap<String, Vec<u8>>);

enum Activity {
    Deliver(usize),
    Admit,
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
            dead_letters: Vec::new(),
            sender: Sender::new(plan),
            callback_time: CallbackTime::Any,
            outage: None,
            behaviours: BTreeMap::new(),
            scattered_failures: 0,
            instead: VecDeque::new(),
            log: Log::default(),
            most_in_flight: 0,
            by_the_clock: false,
            moment: Duration::from_millis(1),
            is_long: false,
            arrivals: BTreeSet::new(),
            arrived: BTreeSet::new(),
            admissions: Fifo::default(),
            queues: Vec::new(),
            dice: Dice::new(seed),
            roughness,
            tokens: BTreeMap::new(),
            ended: BTreeMap::new(),
            permits: permits::Permits::default(),
            schedule: schedule::Schedule::default(),
            open_requests: Vec::new(),
            requests_seen: 0,
            accepted: 0,
            outlasted: BTreeSet::new(),
            abandoned: BTreeSet::new(),
        }
    }

    /// Sends one S3 event.
    pub(crate) fn announce(&mut self, created: &[(&ObjectVersion, &str)]) {
        self.send(UPLOADS, s3_event(created));
    }

    /// Schedules one S3 event about a new object for this time.
    pub(crate) fn announce_at(&mut self, at: OffsetDateTime, document: DocumentRef, object: &ObjectVersion) {
        self.arrivals.insert((at, (document, s3_event(&[(object, "01")]))));
    }

    pub(crate) fn send_upload_message(&mut self, body: &str) {
        self.send(UPLOADS, body.to_owned());
    }

    fn send(&mut self, queue: &'static str, body: String) {
        self.queues.push(Message { queue, body, receives: 0, again: false });
    }

    /// Moves the dead-letter messages back to their queues, as an operator does.
    pub(crate) fn redrive_dead_letters(&mut self) {
        for message in std::mem::take(&mut self.dead_letters) {
            if message.queue == ADMISSIONS {
                self.admissions.send(message.body, self.world.clock.now());
            } else {
                self.queues.push(Message { receives: 0, ..message });
            }
        }
    }

    /// Runs until nothing is left to do.
    pub(crate) async fn run(&mut self) {
        self.run_until(|_| false).await;
    }

    /// Runs until `reached` holds or nothing is left to do.
    pub(crate) async fn run_until(&mut self, reached: impl Fn(&Self) -> bool) {
        let most = if self.is_long { 1_000_000 } else { 50_000 };
        for _ in 0..most {
            if reached(self) {
                return;
            }
            let Some(activity) = self.next() else { return };
            self.world.clock.advance(if self.by_the_clock { self.moment } else { Duration::from_secs(1) });
            self.disturb();
            match activity {
                Activity::Deliver(index) => self.deliver(index).await,
                Activity::Admit => self.admit().await,
                Activity::Step(document) => self.step(&document).await,
                Activity::CallBack(index) => {
                    let document = self.sender.call_back(&self.world, index).await;
                    self.refresh(&document);
                }
                Activity::TimeOut(document) => self.time_out(&document),
            }
            self.observe();
        }
        panic!("the run does not end: {:?}", self.executions);
    }

    /// Injects a random fault now and then.
    fn disturb(&mut self) {
        if self.roughness.cuts > 0 && self.dice.percent(15) {
            self.roughness.cuts -= 1;
            self.world.faults.cut_next(self.dice.pick(&CALLS), self.dice.pick(&[Cut::Before, Cut::After]));
        }
        if self.roughness.conflicts > 0 && self.dice.percent(30) {
            self.roughness.conflicts -= 1;
            self.world.faults.cut_next(self.dice.pick(&WRITES), Cut::Conflict);
        }
        if self.roughness.refusals > 0 && self.dice.percent(10) {
            self.roughness.refusals -= 1;
            let times_out = |behind| Behaviour::TimesOut(Duration::ZERO, behind);
            let error = match self.dice.below(7) {
                0 => Error::RateLimited { retry_at: self.world.clock.now() + time::Duration::minutes(1) },
                1 => Error::Unauthorized,
                2 => Error::Rejected(lectern::document::Reason::new("drmProtected", "No DRM, please.")),
                3 => return self.instead.push_back(times_out(Behind::NoJob)),
                4 => return self.instead.push_back(times_out(Behind::Job)),
                _ => Error::Unavailable("503".to_owned()),
            };
            self.world.third_party.refuse_next(error);
        }
    }

    async fn deliver(&mut self, index: usize) {
        let mut message = self.queues.swap_remove(index);
        message.receives += 1;
        let document = serde_json::from_str::<DocumentRef>(&message.body).ok();
        match self.handle(&message).await {
            Handled::Left if message.receives >= MAX_RECEIVES => self.dead_letters.push(message),
            Handled::Left => self.queues.push(message),
            handled @ (Handled::Done | Handled::Reported) => {
                // A redelivered message may still succeed after its error was reported.
                if handled == Handled::Done && !self.is_long {
                    let before = self.snapshot();
                    self.handle(&message).await;
                    assert!(self.snapshot() == before, "the second run of {message:?} changed something");
                }
                if self.roughness.redeliveries && !message.again && self.dice.percent(25) {
                    self.queues.push(Message { again: true, ..message });
                }
            }
        }
        match document {
            Some(document) => self.refresh(&document),
            None => self.start_executions(),
        }
    }

    fn start_executions(&mut self) {
        let started = if self.is_long { self.arrived.clone() } else { self.world.states.started() };
        for document in started {
            if self.executions.contains_key(&document) {
                continue;
            }
            if let Some(start) = self.world.states.start_of(&document) {
                self.arrived.remove(&document);
                self.start(&document, &start);
            }
        }
    }

    fn start(&mut self, document: &DocumentRef, start: &StartExecution) {
        let execution = Execution::start(&self.machine, execution_input(start), self.world.clock.now());
        self.sender.documents.insert(document.document_id, document.clone());
        self.executions.insert(document.clone(), execution);
        self.refresh(document);
    }

    /// Redrives a failed document, as an operator does.
    pub(crate) async fn redrive(&mut self, object: &ObjectVersion, discard_result: bool) {
        let failed = self.document(object);
        let now = self.world.clock.now();
        let reopened = self.world.store.reopen(&failed.reference, failed.redrives, discard_result, now).await;
        let Ok(Reopened::Open(opened)) = reopened else { panic!("{reopened:?}") };
        self.ended.remove(&failed.reference);
        if discard_result {
            self.abandoned.insert(failed.reference.clone());
        }
        self.start(&failed.reference, &StartExecution::of(&opened));
    }

    async fn handle(&mut self, message: &Message) -> Handled {
        match message.queue {
            UPLOADS => match self.world.receive_upload(&message.body).await {
                Ok(_) => Handled::Done,
                Err(_) => Handled::Left,
            },
            TRANSFERS => {
                let input: transfer_document::Input = message::parse(&message.body).unwrap();
                self.assert_trace(&input.envelope.document, input.envelope.traceparent);
                match self.transfer(input, message.receives > 1 || message.again).await {
                    Ok(transfer_document::Outcome::Reported(_)) => Handled::Reported,
                    Ok(_) => Handled::Done,
                    Err(_) => Handled::Left,
                }
            }
            _ => {
                let input: normalize_document::Input = message::parse(&message.body).unwrap();
                self.assert_trace(&input.envelope.document, input.envelope.traceparent);
                match self.world.normalize(input, message.receives > 1 || message.again).await {
                    Ok(normalize_document::Outcome::Reported(_)) => Handled::Reported,
                    Ok(_) => Handled::Done,
                    Err(_) => Handled::Left,
                }
            }
        }
    }

    fn time_out(&mut self, document: &DocumentRef) {
        self.schedule.clear(document);
        let execution = self.executions.get_mut(document).unwrap();
        self.world.states.expire(&TaskToken::new(execution.token.clone().unwrap()));
        execution.now = self.world.clock.now();
        execution.fail(&self.machine, "States.Timeout", "");
        self.refresh(document);
    }

    /// The number of submissions that the third party accepted.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted
    }

    /// The document of this object version.
    pub(crate) fn document(&self, object: &ObjectVersion) -> Document {
        self.world.document(object).unwrap_or_else(|| panic!("{object:?} is lost"))
    }

    /// The states that the document's execution entered.
    pub(crate) fn path(&self, object: &ObjectVersion) -> Vec<String> {
        self.executions[&self.document(object).reference].path.clone()
    }

    /// The document's final state and reason.
    pub(crate) fn end(&self, object: &ObjectVersion) -> (DocumentState, Option<String>) {
        let document = self.document(object);
        (document.state, document.reason.map(|reason| reason.code))
    }
}
