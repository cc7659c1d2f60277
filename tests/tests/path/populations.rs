//! D01, D04 and D09 by the clock, with the limits of the template: populations of documents that the third party accepts,
//! works on for an hour, always answers with 503, or whose hand-over always ends in doubt. Every document that the third
//! party accepts is served within a bound, whatever becomes of the others, and its limits hold on its side.

use std::{collections::BTreeMap, time::Duration};

use lectern::{
    admission::Limits,
    document::{DocumentId, DocumentRef, DocumentState, ObjectVersion},
    error::Error,
    ports::Clock as _,
    testing::world::{BUCKET, START},
};
use rstest::rstest;
use time::OffsetDateTime;

use super::{
    conditions::Roughness,
    end_states::{GOOD, PDF, block_on},
    machine::Machine,
    observed::{Behaviour, Behind, Outage, Request, document_id},
    simulation::Simulation,
};

/// The defaults of the template.
const LIMITS: Limits = Limits {
    interval: Duration::from_millis(200),
    burst: 25,
    max_in_flight: 50,
    lease: Duration::from_hours(4 + 2),
};
/// The longest pause of the circuit breaker.
const MAX_PAUSE: Duration = Duration::from_mins(5);
/// After this long the gateway answers 504.
const GATEWAY: Duration = Duration::from_mins(1);
/// How long an attempt in doubt keeps its lease if the question about its job is answered: until the 504, five seconds
/// before the question, and a moment.
const DOUBT: Duration = Duration::from_secs(70);
const JOB: Duration = Duration::from_secs(30);
const SLOW_JOB: Duration = Duration::from_hours(1);

/// What the third party does with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Good,
    Slow,
    Failing,
    Doubtful(Behind),
}

/// How long a document that has not failed waits for the third party at most:
///
/// ```text
/// permits  = (ahead + 1) × queues
/// wait    <= permits × interval
///          + ceil(permits / max_in_flight) × holding
///          + (permits / 10 + 2 + bad) × (MAX_PAUSE + GATEWAY)
/// ```
///
/// - All `queues` are served in turn, so `permits` are granted until the document has its own, if so many documents are
///   `ahead` in its queue. The rate limiter spaces them by its interval.
/// - Each of the `max_in_flight` leases is free again within `holding`, the longest time that an attempt of these
///   documents has a lease: at most the lease's own time.
/// - The circuit breaker opens once in ten permits at most, and at the beginning a half-open probe may be under way. The
///   next one is a document that has not failed: the document itself, or one of the `bad` ones, each once.
#[derive(Clone, Copy, Debug)]
struct Bound {
    ahead: u32,
    queues: u32,
    bad: u32,
    holding: Duration,
}

impl Bound {
    fn wait(self) -> Duration {
        let permits = (self.ahead + 1) * self.queues;
        permits * LIMITS.interval
            + permits.div_ceil(LIMITS.max_in_flight) * self.holding
            + (permits / 10 + 2 + self.bad) * (MAX_PAUSE + GATEWAY)
    }
}

struct Population {
    simulation: Simulation,
    uploads: BTreeMap<DocumentId, (Kind, OffsetDateTime)>,
}

impl Population {
    fn new(seed: u64) -> Self {
        let mut simulation = Simulation::new(seed, Some(GOOD), Roughness::default());
        simulation.machine = Machine::as_deployed();
        simulation.by_the_clock = true;
        simulation.is_long = true;
        simulation.moment = Duration::from_micros(20);
        simulation.world.limits = LIMITS;
        Self { simulation, uploads: BTreeMap::new() }
    }

    /// Uploads so many documents of a kind, one each time that `every` has passed.
    fn upload(&mut self, submission: &str, kind: Kind, count: usize, every: Duration) {
        let mut at = START;
        for number in 0..count {
            let object = ObjectVersion {
                bucket: BUCKET.to_owned(),
                key: format!("submissions/{submission}/{kind:?}-{number}.pdf"),
                version_id: "v1".to_owned(),
            };
            let id = DocumentId::of(&object.bucket, object.key.as_bytes(), &object.version_id);
            self.simulation.world.objects.upload(&object, None, PDF);
            let document = DocumentRef { submission_id: submission.parse().unwrap(), document_id: id };
            self.simulation.announce_at(at, document, &object);
            self.uploads.insert(id, (kind, at));
            let duration = if kind == Kind::Slow { SLOW_JOB } else { JOB };
            self.simulation.sender.durations.insert(id, duration);
            match kind {
                Kind::Good | Kind::Slow => {}
                Kind::Failing => drop(self.simulation.behaviours.insert(id, Behaviour::Fails)),
                Kind::Doubtful(behind) => {
                    self.simulation.behaviours.insert(id, Behaviour::TimesOut(GATEWAY, behind));
                }
            }
            at += every;
        }
    }

    fn count(&self, is_kind: impl Fn(Kind) -> bool) -> usize {
        self.uploads.values().filter(|(kind, _)| is_kind(*kind)).count()
    }

    /// When the third party accepted each document.
    fn accepted(&self) -> BTreeMap<DocumentId, OffsetDateTime> {
        let requests = self.simulation.log.requests();
        let accepted = requests.iter().filter(|request| request.accepted);
        accepted.map(|request| (document_id(&request.key), request.at)).collect()
    }

    /// Runs until every good document is accepted, and checks the limits on the third party's side.
    fn run_until_served(&mut self) {
        let good = self.count(|kind| matches!(kind, Kind::Good | Kind::Slow));
        block_on(self.simulation.run_until(|simulation| simulation.accepted() == good));
        self.check_limits();
    }

    /// Runs until nothing is left to happen.
    fn run(&mut self) {
        block_on(self.simulation.run());
        self.check_limits();
    }

    /// The longest time from the upload of a good document until the third party accepted it.
    fn longest_wait(&self) -> Duration {
        let accepted = self.accepted();
        let good = self.uploads.iter().filter(|(_, (kind, _))| *kind == Kind::Good);
        let waits = good.map(|(id, (_, uploaded))| accepted[id] - *uploaded);
        waits.max().unwrap().try_into().unwrap()
    }

    fn check_limits(&self) {
        let most = self.simulation.most_in_flight;
        assert!(most <= LIMITS.max_in_flight as usize, "{most} jobs and requests at a time");
        assert_rate(&self.simulation.log.requests());
    }

    /// How the documents of a kind ended, and why.
    fn ends(&self, kind: Kind) -> Vec<(DocumentState, Option<String>)> {
        let documents = self.simulation.world.store.all();
        let of_kind =
            documents.into_iter().filter(|found| self.uploads[&found.reference.document_id].0 == kind);
        of_kind.map(|document| (document.state, document.reason.map(|reason| reason.code))).collect()
    }
}

/// The requests pass a token bucket with the rate and the burst of the limits.
fn assert_rate(requests: &[Request]) {
    let (mut tokens, mut last) = (f64::from(LIMITS.burst), START);
    for request in requests {
        let passed = (request.at - last) / LIMITS.interval;
        tokens = (tokens + passed).min(f64::from(LIMITS.burst)) - 1.0;
        assert!(tokens >= 0.0, "a request too many at {}", request.at);
        last = request.at;
    }
}

/// The review's case: none of the good documents was served in ten days.
#[rstest]
#[case::in_one_submission("s1", "s1")]
#[case::in_two_submissions("s1", "s2")]
fn d01_sixty_documents_with_504_do_not_keep_1440_good_ones_from_being_served(
    #[case] doubtful: &str,
    #[case] good: &str,
) {
    let mut population = Population::new(1);
    population.upload(doubtful, Kind::Doubtful(Behind::NoJob), 60, Duration::ZERO);
    population.upload(good, Kind::Good, 1440, Duration::from_mins(10));
    population.run_until_served();
    let bound = Bound { ahead: 60, queues: 4, bad: 60, holding: DOUBT }.wait();
    let longest = population.longest_wait();
    assert!(longest <= bound, "a good document waited {longest:?}, more than {bound:?}");
    let unclear = (DocumentState::Failed, Some("handoverUnclear".to_owned()));
    assert_eq!(population.ends(Kind::Doubtful(Behind::NoJob)), vec![unclear; 60]);
}
