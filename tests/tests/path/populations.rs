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
    end_states::{GOOD, PDF, block_on, failed, ready},
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
/// - All `queues` (two for each submission) are served in turn, so `permits` are granted until the document has its own, if
///   so many documents are `ahead` in its queue. The rate limiter spaces them by its interval.
/// - Each of the `max_in_flight` leases is free again within `holding`, the longest time that an attempt of these documents
///   has a lease. If questions get no answer, that is the lease's own time.
/// - The circuit breaker opens once in ten permits at most, and at the beginning a half-open probe may be under way. The
///   next one is a document that has not failed: the document itself, or one of the `bad` ones ahead of it, each once.
///   [`GATEWAY`] is the longest time until a probe is reported.
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

    /// Every good document was accepted within its bound, which depends on the time of its upload.
    fn assert_served(&self, bound: impl Fn(OffsetDateTime) -> Bound) {
        let accepted = self.accepted();
        for (id, (kind, uploaded)) in self.uploads.iter().filter(|(_, (kind, _))| *kind == Kind::Good) {
            let wait =
                accepted.get(id).unwrap_or_else(|| panic!("{id:?} was not served")).to_owned() - *uploaded;
            let bound = bound(*uploaded);
            assert!(wait <= bound.wait(), "{kind:?} of {uploaded} waited {wait}: {bound:?}");
        }
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

fn handover_unclear() -> (DocumentState, Option<String>) {
    failed("handoverUnclear")
}

/// The review's case: none of the good documents was served in ten days.
#[rstest]
#[case::in_one_submission("s1", "s1")]
#[case::in_two_submissions("s1", "s2")]
fn d01_sixty_documents_with_504_do_not_keep_1440_good_ones_from_being_served(
    #[case] doubtful: &str,
    #[case] good: &str,
) {
    const DOUBTFUL: Kind = Kind::Doubtful(Behind::NoJob);
    let mut population = Population::new(1);
    population.upload(doubtful, DOUBTFUL, 60, Duration::ZERO);
    population.upload(good, Kind::Good, 1440, Duration::from_mins(10));
    population.run_until_served();
    population.assert_served(|uploaded| {
        // Only the first good document finds doubtful ones that have not failed yet.
        let (ahead, bad) = if uploaded == START { (60, 60) } else { (1, 0) };
        Bound { ahead, queues: 4, bad, holding: DOUBT }
    });
    assert_eq!(population.ends(DOUBTFUL), vec![handover_unclear(); 60]);
    let requests = population.simulation.log.requests();
    let doubtful = requests.iter().filter(|request| !request.accepted).count();
    let probes = population.simulation.half_open_probes();
    assert!((60 * 11..=60 * 11 + probes).contains(&doubtful), "{doubtful} requests, {probes} probes");
}

/// Of each kind more documents than there may be jobs in flight.
#[rstest]
fn d01_good_documents_are_served_within_a_bound_whatever_the_others_do(
    #[values(
        (Kind::Doubtful(Behind::NoJob), DOUBT),
        (Kind::Doubtful(Behind::NoAnswer), LIMITS.lease),
        (Kind::Doubtful(Behind::Job), DOUBT + JOB),
        (Kind::Failing, DOUBT),
        (Kind::Slow, SLOW_JOB + JOB)
    )]
    others: (Kind, Duration),
    #[values(1, 3)] submissions: usize,
) {
    let ((kind, holding), mut population) = (others, Population::new(2));
    for number in 1..=submissions {
        population.upload(&format!("s{number}"), kind, 60 / submissions, Duration::ZERO);
    }
    population.upload("s1", Kind::Good, 48, Duration::from_mins(10));
    population.run_until_served();
    let queues = 2 * u32::try_from(submissions).unwrap();
    // Good documents that come every ten minutes may wait for each other as long as a lease lasts.
    let good = u32::try_from(holding.as_secs().div_ceil(600)).unwrap();
    population.assert_served(|uploaded| {
        let bad = if uploaded == START { 60 } else { 0 };
        Bound { ahead: bad + good, queues, bad, holding }
    });
}

/// All kinds at once, in one submission and in several, in a different order for each seed.
#[rstest]
#[case::in_one_submission(1)]
#[case::in_four_submissions(4)]
fn d01_good_documents_of_a_crowd_are_served_within_a_bound(
    #[case] submissions: usize,
    #[values(3, 4)] seed: u64,
) {
    const OTHERS: [Kind; 4] =
        [Kind::Slow, Kind::Failing, Kind::Doubtful(Behind::NoJob), Kind::Doubtful(Behind::Job)];
    let mut population = Population::new(seed);
    for number in 0..submissions {
        let submission = format!("s{number}");
        for kind in OTHERS {
            population.upload(&submission, kind, 20 / submissions, Duration::ZERO);
        }
        population.upload(&submission, Kind::Good, 80 / submissions, Duration::ZERO);
    }
    population.run_until_served();
    let count = |number: usize| u32::try_from(number / submissions).unwrap();
    let (ahead, queues) = (count(160), 2 * u32::try_from(submissions).unwrap());
    population.assert_served(|_| Bound { ahead, queues, bad: 40, holding: SLOW_JOB + JOB });
}

/// Each question about their jobs stays without an answer, so each attempt keeps its lease until the lease ends.
#[test]
fn d01_documents_in_doubt_fail_after_some_ten_attempts_although_no_question_is_answered() {
    const DOUBTFUL: Kind = Kind::Doubtful(Behind::NoAnswer);
    let mut population = Population::new(6);
    population.upload("s1", DOUBTFUL, 3, Duration::ZERO);
    population.upload("s1", Kind::Good, 3, Duration::from_hours(24));
    population.run();
    assert_eq!(population.ends(DOUBTFUL), vec![handover_unclear(); 3]);
    assert_eq!(population.ends(Kind::Good), vec![ready(); 3]);
    assert_eq!(population.simulation.world.third_party.jobs().len(), 3);
}

/// The third party has created the job each time, and says so when it is asked.
#[test]
fn d01_document_in_doubt_whose_job_exists_is_sent_once_and_waits_for_its_callback() {
    const DOUBTFUL: Kind = Kind::Doubtful(Behind::Job);
    let mut population = Population::new(7);
    population.upload("s1", DOUBTFUL, 60, Duration::ZERO);
    population.run();
    assert_eq!(population.ends(DOUBTFUL), vec![ready(); 60]);
    assert_eq!(population.simulation.log.requests().len(), 60, "each was sent once");
    population.simulation.assert_that_no_permit_is_left();
}

/// For four hours each request gets no answer, but the third party says that it has no job.
#[test]
fn d01_doubt_does_not_count_while_the_third_party_is_known_to_be_down() {
    let mut population = Population::new(8);
    population.simulation.outage = Some(Outage {
        from: START,
        until: START + Duration::from_hours(4),
        error: || Error::OutcomeUnknown("no answer".to_owned()),
        answers_questions: true,
    });
    population.upload("s1", Kind::Good, 1, Duration::ZERO);
    population.run();
    assert_eq!(population.ends(Kind::Good), [ready()]);
    let requests = population.simulation.log.requests().len();
    assert!(requests > 30, "{requests} requests");
    population.simulation.assert_that_no_permit_is_left();
}

/// Half-open probes go on during an outage, and no good document is served.
#[test]
fn d01_time_without_a_served_document_rises_although_half_open_probes_go_on() {
    let mut population = Population::new(9);
    let until = START + Duration::from_hours(3);
    let error = || Error::Unavailable("503".to_owned());
    population.simulation.outage = Some(Outage { from: START, until, error, answers_questions: true });
    population.upload("s1", Kind::Good, 100, Duration::from_mins(1));
    let stalled = |simulation: &Simulation| {
        let now = simulation.world.clock.now();
        simulation.world.store.admission_now().stalled_for(now)
    };
    let mut before = (Duration::ZERO, 0);
    for hours in 1..=2 {
        let reached = START + Duration::from_hours(hours);
        block_on(population.simulation.run_until(|simulation| simulation.world.clock.now() >= reached));
        let now = (stalled(&population.simulation), population.simulation.half_open_probes());
        assert!(now.0 >= before.0 + Duration::from_mins(50), "stalled for {:?}, then {:?}", before.0, now.0);
        assert!(now.1 >= before.1 + 8, "{} probes, then {}", before.1, now.1);
        before = now;
    }
    population.run();
    assert_eq!(stalled(&population.simulation), Duration::ZERO);
    assert_eq!(population.ends(Kind::Good), vec![ready(); 100]);
}

/// The review: at these rates the breaker opened 6, 13, 35 and 44 times an hour.
#[rstest]
fn d04_scattered_failures_never_open_the_circuit_breaker(
    #[values(4, 6, 8, 10)] percent: usize,
    #[values(10, 11)] seed: u64,
) {
    let mut population = Population::new(seed);
    population.simulation.scattered_failures = percent;
    population.upload("s1", Kind::Good, 150, Duration::ZERO);
    population.upload("s2", Kind::Good, 150, Duration::from_secs(1));
    population.run_until_served();
    let requests = population.simulation.log.requests().len();
    assert!(requests > 300 + percent, "{requests} requests");
    assert_eq!(population.simulation.half_open_probes(), 0, "the breaker opened");
}

/// The message of the first document lies in its queue until its permit has expired.
#[test]
fn d09_expired_permit_releases_its_lease_at_once() {
    let mut population = Population::new(12);
    population.simulation.world.limits = Limits { max_in_flight: 1, ..LIMITS };
    population.upload("s1", Kind::Good, 2, Duration::ZERO);
    let is_sent = |simulation: &Simulation| {
        simulation
            .executions
            .values()
            .any(|execution| execution.state == "TransferDocument" && execution.token.is_some())
    };
    block_on(population.simulation.run_until(is_sent));
    population.simulation.world.clock.advance(Duration::from_mins(10));
    let expired = population.simulation.world.clock.now();
    block_on(population.simulation.run_until(|simulation| simulation.accepted() == 1));
    let served = population.simulation.log.requests()[0].at;
    assert!(served - expired < Duration::from_secs(2), "the other document waited {}", served - expired);
    population.run();
    assert_eq!(population.ends(Kind::Good), [ready(), ready()]);
    let expirations = population
        .simulation
        .executions
        .values()
        .filter(|execution| execution.path.iter().any(|state| state == "ReportFailure"));
    assert_eq!(expirations.count(), 1);
    assert_eq!(population.simulation.log.requests().len(), 2, "nothing was sent with the expired permit");
}
