//! What the third party does with each job of a simulation: what it returns, and how it calls back.

use std::collections::{BTreeMap, BTreeSet};

use lectern::{
    contract::wire::{CallbackEvent, FileRole, JobFailed, JobStatus, JobSucceeded, ReturnedFile},
    document::{DocumentId, DocumentRef},
    ports::Clock as _,
    steps::receive_callback::Answer,
    testing::world::{MemoryWorld, SECRET, callback_body, failed, returned_file, signed, succeeded},
};

use super::{door::Question, weather::Dice};

/// A secret that Lectern does not know.
const FOREIGN: &str = "whsec_cm90YXRlZC1zZWNyZXQtb2YtMzItYnl0ZXMtbG9uZyE=";

/// What becomes of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) outcome: Outcome,
    pub(crate) callback: CallBack,
}

/// What a job comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Sound files.
    Good,
    /// It is given up.
    GivenUp,
    /// Files that are served with other bytes at first.
    WrongAtFirst,
    /// Files that are served with other bytes for good.
    WrongForGood,
    /// Sound bytes that make no record.
    NoRecord,
}

/// How it calls back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallBack {
    Once,
    Thrice,
    /// Twice, with different results.
    Contradictory,
    /// Badly signed, then well.
    BadlySigned,
    /// Not at all, but a question is answered.
    OnlyIfAsked,
    /// Not at all, and it is always still at it.
    AlwaysWorking,
    /// Not at all, and it has never heard of the job.
    Forgotten,
}

const OUTCOMES: [Outcome; 8] = [
    Outcome::Good,
    Outcome::Good,
    Outcome::Good,
    Outcome::Good,
    Outcome::GivenUp,
    Outcome::WrongAtFirst,
    Outcome::WrongForGood,
    Outcome::NoRecord,
];
const CALLBACKS: [CallBack; 8] = [
    CallBack::Once,
    CallBack::Once,
    CallBack::Thrice,
    CallBack::Contradictory,
    CallBack::BadlySigned,
    CallBack::OnlyIfAsked,
    CallBack::AlwaysWorking,
    CallBack::Forgotten,
];

#[derive(Clone, Debug)]
struct Delivery {
    key: String,
    document: DocumentRef,
    event: CallbackEvent,
    secret: &'static str,
}

/// The third party's side of all jobs.
#[derive(Debug)]
pub(crate) struct Sender {
    /// What becomes of every job from now on; chosen by the dice if it is not said.
    pub(crate) plan: Option<Plan>,
    known: BTreeSet<String>,
    deliveries: Vec<Delivery>,
    /// Jobs that it has not called back for, and whether it will ever come to an end with them.
    working: BTreeMap<String, bool>,
    mendable: Vec<(ReturnedFile, &'static [u8])>,
}

impl Sender {
    pub(crate) fn new(plan: Option<Plan>) -> Self {
        Self {
            plan,
            known: BTreeSet::new(),
            deliveries: Vec::new(),
            working: BTreeMap::new(),
            mendable: Vec::new(),
        }
    }

    pub(crate) fn pending(&self) -> usize {
        self.deliveries.len()
    }

    /// The documents of the jobs that it is at, if these questions were answered. A job that it has forgotten is none.
    pub(crate) fn at_work(&self, world: &MemoryWorld, questions: &[Question]) -> Vec<DocumentRef> {
        let answered: BTreeSet<&str> = questions
            .iter()
            .filter(|question| !question.refused)
            .map(|question| question.key.as_str())
            .collect();
        let at_work = self.working.iter().filter(|(key, ends)| !**ends || !answered.contains(key.as_str()));
        at_work.map(|(key, _)| document_of(world, key)).collect()
    }

    /// Decides what becomes of jobs that were not there before. From now on their callbacks may come, so also before
    /// Lectern has read the answer to its submission.
    pub(crate) fn plan_new_jobs(&mut self, world: &MemoryWorld, dice: &mut Dice) {
        for key in world.third_party.jobs().into_keys() {
            if !self.known.insert(key.clone()) {
                continue;
            }
            let plan = self
                .plan
                .unwrap_or_else(|| Plan { outcome: dice.pick(&OUTCOMES), callback: dice.pick(&CALLBACKS) });
            let document = document_of(world, &key);
            let event = self.result(world, plan.outcome, &key);
            if plan.callback != CallBack::Forgotten {
                self.working.insert(key.clone(), plan.callback != CallBack::AlwaysWorking);
            }
            let delivery = |event: &CallbackEvent, secret| Delivery {
                key: key.clone(),
                document: document.clone(),
                event: event.clone(),
                secret,
            };
            match plan.callback {
                CallBack::Once => self.deliveries.push(delivery(&event, SECRET)),
                CallBack::Thrice => self.deliveries.extend([(); 3].map(|()| delivery(&event, SECRET))),
                CallBack::Contradictory => {
                    self.deliveries.push(delivery(&event, SECRET));
                    self.deliveries.push(delivery(&of_job(&key, failed("contradiction")), SECRET));
                }
                CallBack::BadlySigned => {
                    self.deliveries.push(delivery(&of_job(&key, failed("forged")), FOREIGN));
                    self.deliveries.push(delivery(&event, SECRET));
                }
                CallBack::OnlyIfAsked | CallBack::AlwaysWorking | CallBack::Forgotten => {}
            }
            let status = match (plan.callback, event) {
                (CallBack::Forgotten, _) => continue,
                (CallBack::AlwaysWorking, _) => JobStatus::Working { job_id: format!("job-{key}") },
                (_, CallbackEvent::Succeeded(job)) => JobStatus::Succeeded(job),
                (_, CallbackEvent::Failed(job)) => JobStatus::Failed(job),
            };
            world.third_party.set_status(&key, status);
        }
    }

    fn result(&mut self, world: &MemoryWorld, outcome: Outcome, key: &str) -> CallbackEvent {
        let findings: &'static [u8] = match outcome {
            // As long as the good one.
            Outcome::NoRecord => {
                br#"{"findings": [{"start": 0, "end": 3, "rule": "r", "message": "m", "severity": "none"}]}"#
            }
            Outcome::Good | Outcome::GivenUp | Outcome::WrongAtFirst | Outcome::WrongForGood => {
                br#"{"findings": [{"start": 0, "end": 3, "rule": "r", "message": "m", "severity": "info"}]}"#
            }
        };
        let contents: [(&str, FileRole, &str, &'static [u8]); 2] = [
            ("text", FileRole::Text, "text/plain", b"the lesson"),
            ("findings", FileRole::Findings, "application/json", findings),
        ];
        let files = contents.map(|(name, role, media_type, content)| {
            let file = returned_file(&format!("{name}-{key}"), role, media_type, content);
            match outcome {
                Outcome::WrongAtFirst | Outcome::WrongForGood => {
                    world.third_party.serve(&file.url, &content[1..]);
                    if outcome == Outcome::WrongAtFirst {
                        self.mendable.push((file.clone(), content));
                    }
                }
                Outcome::Good | Outcome::NoRecord | Outcome::GivenUp => {
                    world.third_party.serve(&file.url, content);
                }
            }
            file
        });
        of_job(key, if outcome == Outcome::GivenUp { failed("encrypted") } else { succeeded(&files) })
    }

    /// It has come to an end with a job that it seemed to be at for ever, and tells whoever asks.
    pub(crate) fn finish(&mut self, world: &MemoryWorld, key: &str) {
        let event = self.result(world, Outcome::Good, key);
        let CallbackEvent::Succeeded(job) = event else { unreachable!("it is good") };
        world.third_party.set_status(key, JobStatus::Succeeded(job));
        self.working.insert(key.to_owned(), true);
    }

    /// The same, and it calls back.
    pub(crate) fn finish_and_call_back(&mut self, world: &MemoryWorld, key: &str) {
        let event = self.result(world, Outcome::Good, key);
        self.tell(world, key, event);
    }

    /// It gives up a job that it was at, and calls back.
    pub(crate) fn fail_and_call_back(&mut self, world: &MemoryWorld, key: &str) {
        let event = self.result(world, Outcome::GivenUp, key);
        self.tell(world, key, event);
    }

    fn tell(&mut self, world: &MemoryWorld, key: &str, event: CallbackEvent) {
        let document = document_of(world, key);
        self.deliveries.push(Delivery { key: key.to_owned(), document, event, secret: SECRET });
    }

    /// It has lost a job that it was at, and says so to whoever asks.
    pub(crate) fn forget(&mut self, world: &MemoryWorld, key: &str) {
        world.third_party.forget(key);
        self.working.remove(key);
    }

    /// Serves the files that were wrong at first as they should be.
    pub(crate) fn mend_files(&mut self, world: &MemoryWorld) {
        for (file, content) in self.mendable.drain(..) {
            world.third_party.serve(&file.url, content);
        }
    }

    /// Sends one callback; on a 5xx it will come again.
    pub(crate) async fn call_back(&mut self, world: &MemoryWorld, index: usize) {
        let delivery = self.deliveries.swap_remove(index);
        self.working.remove(&delivery.key);
        let body = callback_body(delivery.event.clone());
        let headers = signed(delivery.secret, "event", world.clock.now(), &body);
        let callback_id = world.store.get(&delivery.document).unwrap().callback_id;
        let answer = world.callback(callback_id.expose(), &headers, &body).await;
        match answer {
            Answer::Unavailable => self.deliveries.push(delivery),
            Answer::Kept => assert_eq!(delivery.secret, SECRET),
            Answer::Unauthorized => assert_eq!(delivery.secret, FOREIGN),
            Answer::KeptUnknown | Answer::TooLarge => panic!("{answer:?}"),
        }
    }
}

/// The event, told of the job with this key.
fn of_job(key: &str, mut event: CallbackEvent) -> CallbackEvent {
    let (CallbackEvent::Succeeded(JobSucceeded { job_id, .. })
    | CallbackEvent::Failed(JobFailed { job_id, .. })) = &mut event;
    *job_id = format!("job-{key}");
    event
}

fn document_of(world: &MemoryWorld, key: &str) -> DocumentRef {
    let (id, _round) = key.rsplit_once('-').unwrap();
    let id: DocumentId = id.parse().unwrap();
    world
        .store
        .all()
        .into_iter()
        .map(|document| document.reference)
        .find(|found| found.document_id == id)
        .unwrap()
}
