//! The third party's side of each job in a simulation: what it returns and how it calls back.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use lectern::{
    contract::wire::{CallbackEvent, FileRole, JobStatus, ReturnedFile, SOURCE_UNREADABLE},
    document::{DocumentId, DocumentRef},
    ports::Clock as _,
    steps::receive_callback::Answer,
    testing::world::{MemoryWorld, SECRET, callback_body, failed, of_job, returned_file, signed, succeeded},
};

use time::OffsetDateTime;

use super::{
    conditions::Dice,
    observed::{Question, document_id},
};

/// A secret that Lectern does not know.
const FOREIGN: &str = "whsec_cm90YXRlZC1zZWNyZXQtb2YtMzItYnl0ZXMtbG9uZyE=";

/// The course of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) outcome: Outcome,
    pub(crate) callback: CallBack,
}

/// The result of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Valid files.
    Good,
    /// The job fails.
    Failed,
    /// The first job of a document fails because the third party cannot fetch the document.
    NotFetchedAtFirst,
    /// Every job fails because the third party cannot fetch the document.
    NeverFetched,
    /// Files whose bytes are wrong at first.
    WrongAtFirst,
    /// Files whose bytes are always wrong.
    AlwaysWrong,
    /// Files that match their declaration but cannot be made into a record.
    NoRecord,
}

/// How the third party calls back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallBack {
    Once,
    Thrice,
    /// Twice, with different results.
    Contradictory,
    /// With a wrong signature, then with the right one.
    BadlySigned,
    /// Not at all, but probes are answered.
    OnlyIfProbed,
    /// Not at all, and the job never ends.
    AlwaysWorking,
    /// Not at all, and probes find no job.
    Forgotten,
}

const OUTCOMES: [Outcome; 10] = [
    Outcome::Good,
    Outcome::Good,
    Outcome::Good,
    Outcome::Good,
    Outcome::Failed,
    Outcome::NotFetchedAtFirst,
    Outcome::NeverFetched,
    Outcome::WrongAtFirst,
    Outcome::AlwaysWrong,
    Outcome::NoRecord,
];
const CALLBACKS: [CallBack; 8] = [
    CallBack::Once,
    CallBack::Once,
    CallBack::Thrice,
    CallBack::Contradictory,
    CallBack::BadlySigned,
    CallBack::OnlyIfProbed,
    CallBack::AlwaysWorking,
    CallBack::Forgotten,
];

#[derive(Clone, Debug)]
struct Delivery {
    key: String,
    document: DocumentRef,
    event: CallbackEvent,
    secret: &'static str,
    not_before: OffsetDateTime,
}

/// The third party's side of all jobs.
#[derive(Debug)]
pub(crate) struct Sender {
    /// The course of every job from now on; without a plan it is random.
    pub(crate) plan: Option<Plan>,
    /// How long the jobs of some documents take; all other jobs end at once.
    pub(crate) durations: BTreeMap<DocumentId, Duration>,
    /// All documents whose executions were started.
    pub(crate) documents: BTreeMap<DocumentId, DocumentRef>,
    known: BTreeSet<String>,
    deliveries: Vec<Delivery>,
    /// Jobs without a callback so far, and whether they ever end.
    working: BTreeMap<String, bool>,
    mendable: Vec<(ReturnedFile, &'static [u8])>,
}

impl Sender {
    pub(crate) fn new(plan: Option<Plan>) -> Self {
        Self {
            plan,
            durations: BTreeMap::new(),
            documents: BTreeMap::new(),
            known: BTreeSet::new(),
            deliveries: Vec::new(),
            working: BTreeMap::new(),
            mendable: Vec::new(),
        }
    }

    /// The callbacks that may be sent now.
    pub(crate) fn pending(&self, now: OffsetDateTime) -> Vec<usize> {
        let deliveries = self.deliveries.iter().enumerate();
        deliveries.filter(|(_, delivery)| delivery.not_before <= now).map(|(index, _)| index).collect()
    }

    /// When the next job with a duration ends.
    pub(crate) fn next_at(&self) -> Option<OffsetDateTime> {
        self.deliveries.iter().map(|delivery| delivery.not_before).min()
    }

    /// The jobs without a callback so far.
    pub(crate) fn working(&self) -> usize {
        self.working.len()
    }

    /// The documents whose jobs are in progress. A finished job counts as in progress until a probe about it is
    /// answered.
    pub(crate) fn at_work(&self, questions: &[Question]) -> Vec<DocumentRef> {
        let answered: BTreeSet<&str> = questions
            .iter()
            .filter(|question| question.answered)
            .map(|question| question.key.as_str())
            .collect();
        let at_work = self.working.iter().filter(|(key, ends)| !**ends || !answered.contains(key.as_str()));
        at_work.map(|(key, _)| self.document_of(key)).collect()
    }

    /// Decides the course of new jobs. Their callbacks may come from now on, even before Lectern has read the answer to
    /// its submission.
    pub(crate) fn plan_new_jobs(&mut self, world: &MemoryWorld, dice: &mut Dice) {
        for key in world.third_party.jobs().into_keys() {
            if !self.known.insert(key.clone()) {
                continue;
            }
            let plan = self
                .plan
                .unwrap_or_else(|| Plan { outcome: dice.pick(&OUTCOMES), callback: dice.pick(&CALLBACKS) });
            let document = self.document_of(&key);
            let event = self.result(world, plan.outcome, &key);
            let duration = self.durations.get(&document.document_id).copied().unwrap_or_default();
            let not_before = world.clock.now() + duration;
            if plan.callback != CallBack::Forgotten {
                self.working.insert(key.clone(), plan.callback != CallBack::AlwaysWorking);
            }
            let delivery = |event: &CallbackEvent, secret| Delivery {
                key: key.clone(),
                document: document.clone(),
                event: event.clone(),
                secret,
                not_before,
            };
            match plan.callback {
                CallBack::Once => self.deliveries.push(delivery(&event, SECRET)),
                CallBack::Thrice => self.deliveries.extend([(); 3].map(|()| delivery(&event, SECRET))),
                CallBack::Contradictory => {
                    self.deliveries.push(delivery(&event, SECRET));
                    self.deliveries
                        .push(delivery(&of_job(&format!("job-{key}"), failed("contradiction")), SECRET));
                }
                CallBack::BadlySigned => {
                    self.deliveries.push(delivery(&of_job(&format!("job-{key}"), failed("forged")), FOREIGN));
                    self.deliveries.push(delivery(&event, SECRET));
                }
                CallBack::OnlyIfProbed | CallBack::AlwaysWorking | CallBack::Forgotten => {}
            }
            let status = match (plan.callback, event) {
                (CallBack::Forgotten, _) => continue,
                (CallBack::AlwaysWorking, _) => JobStatus::Working { job_id: format!("job-{key}") },
                _ if !duration.is_zero() => JobStatus::Working { job_id: format!("job-{key}") },
                (_, CallbackEvent::Succeeded(job)) => JobStatus::Succeeded(job),
                (_, CallbackEvent::Failed(job)) => JobStatus::Failed(job),
            };
            world.third_party.set_status(&key, status);
        }
    }

    fn result(&mut self, world: &MemoryWorld, outcome: Outcome, key: &str) -> CallbackEvent {
        let findings: &'static [u8] = match outcome {
            // The same length as the valid file.
            Outcome::NoRecord => {
                br#"{"findings": [{"start": 9, "end": 3, "rule": "r", "message": "m", "severity": "info"}]}"#
            }
            Outcome::Good
            | Outcome::Failed
            | Outcome::NotFetchedAtFirst
            | Outcome::NeverFetched
            | Outcome::WrongAtFirst
            | Outcome::AlwaysWrong => {
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
                Outcome::WrongAtFirst | Outcome::AlwaysWrong => {
                    world.third_party.serve(&file.url, &content[1..]);
                    if outcome == Outcome::WrongAtFirst {
                        self.mendable.push((file.clone(), content));
                    }
                }
                Outcome::Good
                | Outcome::NoRecord
                | Outcome::Failed
                | Outcome::NotFetchedAtFirst
                | Outcome::NeverFetched => world.third_party.serve(&file.url, content),
            }
            file
        });
        let is_not_fetched = outcome == Outcome::NeverFetched
            || (outcome == Outcome::NotFetchedAtFirst && key.ends_with("-1"));
        let event = if is_not_fetched {
            failed(SOURCE_UNREADABLE)
        } else if outcome == Outcome::Failed {
            failed("encrypted")
        } else {
            succeeded(&files)
        };
        of_job(&format!("job-{key}"), event)
    }

    /// Ends a job that seemed endless; probes then get its result.
    pub(crate) fn finish(&mut self, world: &MemoryWorld, key: &str) {
        let event = self.result(world, Outcome::Good, key);
        let CallbackEvent::Succeeded(job) = event else { unreachable!("the event is a success") };
        world.third_party.set_status(key, JobStatus::Succeeded(job));
        self.working.insert(key.to_owned(), true);
    }

    /// Ends a job that seemed endless, with a callback.
    pub(crate) fn finish_and_call_back(&mut self, world: &MemoryWorld, key: &str) {
        let event = self.result(world, Outcome::Good, key);
        self.notify(world, key, event);
    }

    /// Fails a job in progress, with a callback.
    pub(crate) fn fail_and_call_back(&mut self, world: &MemoryWorld, key: &str) {
        let event = self.result(world, Outcome::Failed, key);
        self.notify(world, key, event);
    }

    fn notify(&mut self, world: &MemoryWorld, key: &str, event: CallbackEvent) {
        let (key, document, not_before) = (key.to_owned(), self.document_of(key), world.clock.now());
        self.deliveries.push(Delivery { key, document, event, secret: SECRET, not_before });
    }

    /// Loses a job in progress; probes then find no job.
    pub(crate) fn forget(&mut self, world: &MemoryWorld, key: &str) {
        world.third_party.forget(key);
        self.working.remove(key);
    }

    /// Replaces the wrong bytes of files with the right ones.
    pub(crate) fn mend_files(&mut self, world: &MemoryWorld) {
        for (file, content) in self.mendable.drain(..) {
            world.third_party.serve(&file.url, content);
        }
    }

    /// Sends one callback; after a 5xx it is sent again later.
    pub(crate) async fn call_back(&mut self, world: &MemoryWorld, index: usize) -> DocumentRef {
        let delivery = self.deliveries.swap_remove(index);
        let document = delivery.document.clone();
        self.working.remove(&delivery.key);
        let body = callback_body(delivery.event.clone());
        let headers = signed(delivery.secret, "event", world.clock.now(), &body);
        let callback_id = world.store.get(&delivery.document).unwrap().callback_id;
        let answer = world.callback(callback_id.expose(), &headers, &body).await;
        match answer {
            Answer::Unavailable => self.deliveries.push(delivery),
            Answer::Kept => assert_eq!(delivery.secret, SECRET),
            Answer::Unauthorized => assert_eq!(delivery.secret, FOREIGN),
            Answer::KeptUnknown => panic!("{answer:?}"),
        }
        document
    }

    fn document_of(&self, key: &str) -> DocumentRef {
        self.documents[&document_id(key)].clone()
    }
}
