//! The whole workflow over the ports in memory, driven by a seed: queues that redeliver, executions, the third party's
//! callbacks, timeouts and calls that are cut off. Every step that succeeds runs a second time and may change nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::Duration,
};

use lectern::{
    document::submission::Submission,
    document::{Attempt, Document, DocumentRef, DocumentState, JobResult, ObjectVersion, TaskToken},
    error::Error,
    message,
    ports::{Clock as _, Reopened, Reopening as _, StartExecution},
    steps::admit_document::{self, Batch, Order},
    steps::normalize_document,
    steps::probe_job,
    steps::transfer_document::{self, DeliveryMode},
    telemetry::trace::{TRACEPARENT, TraceParent},
    testing::{
        Cut,
        world::{MemoryWorld, s3_event},
    },
};
use lectern_aws::sfn::execution_input;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

mod steps;

use super::{
    door::{Door, Knock, Outage, Question},
    fifo::Fifo,
    machine::{Execution, Machine, Sending, Sleep, Work},
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
/// How long something takes if time goes by the clock.
const A_MOMENT: Duration = Duration::from_millis(1);
const UPLOADS: &str = "receive-upload";
const TURNS: &str = "AdmitDocument";
const TRANSFERS: &str = "TransferDocument";
const NORMALIZATIONS: &str = "NormalizeDocument";

pub(crate) struct Simulation {
    pub(crate) world: MemoryWorld,
    pub(crate) machine: Machine,
    pub(crate) executions: BTreeMap<DocumentRef, Execution>,
    pub(crate) dead: Vec<Message>,
    pub(crate) sender: Sender,
    pub(crate) pace: Pace,
    pub(crate) outage: Option<Outage>,
    pub(crate) knocks: Mutex<Vec<Knock>>,
    pub(crate) questions: Mutex<Vec<Question>>,
    /// How many jobs the third party was at in the busiest moment.
    pub(crate) most_at_work: usize,
    /// Documents that were given up for so long that no place is kept for their jobs any more.
    outlasted: BTreeSet<DocumentRef>,
    /// Documents whose first job was given up for a new one.
    left_behind: BTreeSet<DocumentRef>,
    /// Whether time goes on only when nothing else can happen, as far as the next wait or timeout.
    pub(crate) by_the_clock: bool,
    turns: Fifo,
    queues: Vec<Message>,
    dice: Dice,
    roughness: Roughness,
    tokens: usize,
    ended: BTreeMap<DocumentRef, Document>,
    attempts: BTreeMap<DocumentRef, Attempt>,
    /// When the state that an execution is in is over by itself.
    due: BTreeMap<DocumentRef, OffsetDateTime>,
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
    AdmitDocuments,
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
            outage: None,
            knocks: Mutex::new(Vec::new()),
            questions: Mutex::new(Vec::new()),
            most_at_work: 0,
            outlasted: BTreeSet::new(),
            left_behind: BTreeSet::new(),
            by_the_clock: false,
            turns: Fifo::default(),
            queues: Vec::new(),
            dice: Dice::new(seed),
            roughness,
            tokens: 0,
            ended: BTreeMap::new(),
            attempts: BTreeMap::new(),
            due: BTreeMap::new(),
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
        for message in std::mem::take(&mut self.dead) {
            if message.queue == TURNS {
                self.turns.send(message.body, self.world.clock.now());
            } else {
                self.queues.push(Message { receives: 0, ..message });
            }
        }
    }

    /// Until nothing is left to happen.
    pub(crate) async fn run(&mut self) {
        self.run_until(|_| false).await;
    }

    /// Until this holds, or nothing is left to happen.
    pub(crate) async fn run_until(&mut self, reached: impl Fn(&Self) -> bool) {
        for _ in 0..50_000 {
            if reached(self) {
                return;
            }
            let Some(activity) = self.next() else { return };
            self.world.clock.advance(if self.by_the_clock { A_MOMENT } else { Duration::from_secs(1) });
            self.trouble();
            match activity {
                Activity::Deliver(index) => self.deliver(index).await,
                Activity::AdmitDocuments => self.grant_turns().await,
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
        let down = self.outage.is_some_and(|outage| outage.lasts_at(self.world.clock.now()));
        let callbacks = match self.pace {
            Pace::CallbacksLate if !probed() => 0,
            _ if down => 0,
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
        let now = self.world.clock.now();
        let steps = self.executions.iter().filter(|(document, execution)| {
            let sleeps = execution.token.is_none() && self.due.get(*document).is_some_and(|due| now < *due);
            !execution.is_over() && !waits.contains(document) && !sleeps
        });
        let mut all: Vec<Activity> = steps.map(|(document, _)| Activity::Step(document.clone())).collect();
        all.extend((0..self.queues.len()).map(Activity::Deliver));
        all.extend((!self.turns.is_empty()).then_some(Activity::AdmitDocuments));
        if self.pace != Pace::WhenAwaited || all.is_empty() {
            all.extend((0..callbacks).map(Activity::CallBack));
        }
        if self.by_the_clock && all.is_empty() {
            return self.next_by_the_clock();
        }
        let impatient = self.roughness.timeouts > 0 && self.dice.percent(4);
        if !waits.is_empty() && (all.is_empty() || impatient) {
            self.roughness.timeouts -= usize::from(!all.is_empty());
            // Whoever stands in the line is patient as long as somebody else may give its place back.
            let at_work: Vec<DocumentRef> = waits
                .iter()
                .filter(|document| self.executions[*document].state != "AwaitTurn")
                .cloned()
                .collect();
            if !impatient && at_work.is_empty() {
                let gate = self.world.store.gate_now();
                if waits.iter().any(|document| gate.holds(document.document_id)) {
                    // It comes before all others once the one who tries for all has taken too long.
                    self.world.clock.advance(Duration::from_hours(1));
                } else {
                    self.let_leases_end();
                }
            }
            let candidates = if impatient || at_work.is_empty() { waits } else { at_work };
            return Some(Activity::TimeOut(self.dice.pick(&candidates)));
        }
        let count = all.len();
        (count > 0).then(|| all.swap_remove(self.dice.below(count)))
    }

    /// Nobody gives a place back any more, so those who wait do so until the leases that were kept are over.
    fn let_leases_end(&mut self) {
        // A lease runs from its slot, which may lie ahead.
        self.world.clock.advance(2 * self.world.limits.lease);
        let over = self.executions.iter().filter(|(_, execution)| execution.is_over());
        self.outlasted.extend(over.map(|(document, _)| document.clone()));
    }

    /// Time goes on until the first wait is over or the first task has run out of time.
    fn next_by_the_clock(&mut self) -> Option<Activity> {
        let (document, due) = self.due.iter().min_by_key(|(_, due)| **due)?;
        let (document, due) = (document.clone(), *due);
        let now = self.world.clock.now();
        if let Some(outage) = self.outage.filter(|outage| outage.lasts_at(now) && outage.until <= due) {
            // Then the third party calls back for what it has done meanwhile.
            self.world.clock.advance((outage.until - now).try_into().unwrap_or_default());
            return self.next();
        }
        let left = due - now;
        self.world.clock.advance(left.try_into().unwrap_or_default());
        let waits = self.executions[&document].token.is_some();
        Some(if waits { Activity::TimeOut(document) } else { Activity::Step(document) })
    }

    async fn grant_turns(&mut self) {
        let batch = self.turns.receive(&mut self.dice);
        match self.world.grant_turns(batch).await {
            // It is done, but its deletion did not arrive.
            Ok(_) if self.roughness.redeliveries && self.dice.percent(25) => {}
            Ok(_) => self.turns.done(),
            Err(error) => {
                assert_eq!(error.name(), "Store.Unavailable");
                let dead = self.turns.dead().into_iter();
                self.dead.extend(dead.map(|body| Message { queue: TURNS, body, receives: 20, again: false }));
            }
        }
    }

    /// Now and then something is about to go wrong.
    fn trouble(&mut self) {
        if self.roughness.cuts > 0 && self.dice.percent(15) {
            self.roughness.cuts -= 1;
            self.world.faults.cut_next(self.dice.pick(&CALLS), self.dice.pick(&[Cut::Before, Cut::After]));
        }
        if self.roughness.refusals > 0 && self.dice.percent(10) {
            self.roughness.refusals -= 1;
            let error = match self.dice.below(6) {
                0 => Error::RateLimited { retry_at: self.world.clock.now() + time::Duration::minutes(1) },
                1 => Error::Unauthorized,
                2 => Error::Rejected(lectern::document::Reason::new("drmProtected", "No DRM, please.")),
                3 => Error::Down("503".to_owned()),
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
            let input = execution_input(&self.world.states.start_of(&document).unwrap());
            let machine = &self.machine;
            self.executions.entry(document).or_insert_with(|| Execution::start(machine, input));
        }
    }

    /// An operator starts a failed document again.
    pub(crate) async fn redrive(&mut self, object: &ObjectVersion, anew: bool) {
        let failed = self.document(object);
        let now = self.world.clock.now();
        let reopened = self.world.store.reopen(&failed.reference, failed.redrives, anew, now).await;
        let Ok(Reopened::Open(opened)) = reopened else { panic!("{reopened:?}") };
        self.ended.remove(&failed.reference);
        if anew {
            self.left_behind.insert(failed.reference.clone());
        }
        let execution = Execution::start(&self.machine, execution_input(&StartExecution::of(&opened)));
        self.executions.insert(failed.reference, execution);
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
                match self.transfer(input).await {
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

    fn time_out(&mut self, document: &DocumentRef) {
        self.due.remove(document);
        let execution = self.executions.get_mut(document).unwrap();
        self.world.states.expire(&TaskToken::new(execution.token.clone().unwrap()));
        execution.fail(&self.machine, "States.Timeout", "");
    }

    /// What has to hold at every moment: an ended document stays as it ended, but for who supersedes it and for what
    /// the third party says later.
    fn observe(&mut self) {
        for (document, attempt) in self.world.states.take_given_back() {
            let (schema_version, order) = (message::SCHEMA_VERSION, Order::Release { attempt });
            let order = admit_document::Input { schema_version, document, traceparent: None, order };
            self.turns.send(serde_json::to_string(&order).unwrap(), self.world.clock.now());
        }
        self.sender.plan_new_jobs(&self.world, &mut self.dice);
        let gate = self.world.store.gate_now();
        let leases = gate.standing().leases;
        assert!(leases <= self.world.limits.max_in_flight as usize, "{leases} leases");
        let at_work = self.sender.at_work(&self.world, &self.questions.lock().unwrap());
        self.most_at_work = self.most_at_work.max(at_work.len());
        if self.outlasted.is_empty() {
            assert!(at_work.len() <= leases, "{} jobs on {leases} places", at_work.len());
        }
        let known = |document: &DocumentRef| {
            !self.outlasted.contains(document) && !self.left_behind.contains(document)
        };
        for document in at_work.into_iter().filter(known) {
            let path = self.executions.get(&document).map(|execution| &execution.path);
            assert!(gate.holds(document.document_id), "a job without a place: {document:?} {path:?}");
        }
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

    /// Who gave up while there was no room, or while one tried for all and did not say how it went, is still in the line: the next decision after a lease is over passes it by. If
    /// somebody else waited there, it would get a place now, and nobody would give it back.
    pub(crate) async fn settle_the_line(&mut self) {
        let standing = self.world.store.gate_now().standing();
        if standing.waiting > 0 {
            let full = standing.leases == self.world.limits.max_in_flight as usize;
            assert!(full || standing.breaker_open, "somebody waits for nothing: {standing:?}");
            self.assert_kept_places();
            self.let_leases_end();
            // What was still to be cut off is cut off now.
            let mut batch = Batch { inputs: Vec::new(), again: false };
            while self.world.grant_turns(batch.clone()).await.is_err() {
                batch.again = true;
            }
        }
    }

    /// What has to hold when nothing is left to happen: nobody waits for a place, no turn was used twice, and nobody has
    /// a place but who failed while a job may be at the third party; that one ends by itself.
    pub(crate) fn assert_that_no_turn_is_left(&self) {
        let standing = self.world.store.gate_now().standing();
        assert_eq!((standing.waiting, self.world.store.waiting_items()), (0, 0));
        self.assert_kept_places();
        let knocks = self.knocks.lock().unwrap();
        let attempts: BTreeSet<Attempt> = knocks.iter().map(|knock| knock.attempt).collect();
        assert_eq!(attempts.len(), knocks.len(), "a turn is good for one request");
    }

    fn assert_kept_places(&self) {
        let mut gate = self.world.store.gate_now();
        let holding: Vec<_> =
            self.executions.iter().filter(|(document, _)| gate.holds(document.document_id)).collect();
        assert_eq!(holding.len(), gate.standing().leases, "a place of nobody");
        for (document, execution) in holding {
            let failed = execution.path.ends_with(&["ReleaseTurnOfFailed", "Failed"].map(str::to_owned));
            assert!(failed && execution.job_possible(), "{document:?} keeps its place: {:?}", execution.path);
        }
        gate.pass(self.world.clock.now() + 2 * self.world.limits.lease);
        assert_eq!(gate.standing().leases, 0, "a lease ends by itself");
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
