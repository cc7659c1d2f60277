//! Outages of the third party in simulated time, with the template's durations.

use std::{collections::BTreeSet, time::Duration};

use lectern::{
    admission::Limits,
    document::DocumentState,
    error::Error,
    testing::world::{START, object},
};

use super::{
    conditions::Roughness,
    machine::Machine,
    observed::{Outage, Request},
    simulation::Simulation,
    third_party::{CallBack, Outcome, Plan},
};

const DOCUMENTS: usize = 60;
const MAX_IN_FLIGHT: u32 = 10;
/// The template's `CallbackTimeoutSeconds` plus `LeaseMarginSeconds`.
const LEASE: Duration = Duration::from_hours(4 + 2);

/// Runs documents through an outage that begins `beginning` after the uploads. During the outage the third party
/// refuses all submissions and answers no probe.
fn after_an_outage(
    beginning: Duration,
    lasting: Duration,
    error: fn() -> Error,
    callback: CallBack,
) -> Simulation {
    let plan = Plan { outcome: Outcome::Good, callback };
    let mut simulation = Simulation::new(1, Some(plan), Roughness::default());
    simulation.machine = Machine::as_deployed();
    simulation.by_the_clock = true;
    simulation.world.limits = Limits {
        interval: Duration::from_millis(200),
        burst: 25,
        max_in_flight: MAX_IN_FLIGHT,
        lease: LEASE,
    };
    let from = START + beginning;
    simulation.outage = Some(Outage { from, until: from + lasting, error, answers_probes: false });
    for number in 0..DOCUMENTS {
        let object = object(&format!("lesson-{number}.pdf"), "v1");
        simulation.world.objects.upload(&object, None, b"%PDF-1.7\n1 0 obj".as_slice());
        simulation.announce(&[(&object, "01")]);
    }
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(simulation.run());
    assert_eq!(simulation.executions.len(), DOCUMENTS);
    for document in simulation.world.store.all() {
        assert_eq!(document.state, DocumentState::Ready, "{:?}", document.reason);
    }
    simulation.assert_that_no_permit_is_left();
    assert_eq!(simulation.world.store.admission_now().snapshot().leases, 0, "no document failed");
    let jobs = simulation.world.third_party.jobs().len();
    assert_eq!(jobs, DOCUMENTS, "each document has one job, however many submissions were refused");
    assert!(
        simulation.most_in_flight <= MAX_IN_FLIGHT as usize,
        "{} jobs at a time",
        simulation.most_in_flight
    );
    simulation
}

fn refused(simulation: &Simulation) -> Vec<Request> {
    simulation.log.requests().iter().filter(|request| !request.accepted).cloned().collect()
}

/// The number of half-open trials in an outage: the breaker's pauses are 15, 30, 60, 120, 240, then 300 seconds.
fn trials(lasting: Duration) -> usize {
    let doubling = 15 + 30 + 60 + 120 + 240;
    5 + usize::try_from(lasting.as_secs().saturating_sub(doubling).div_ceil(300)).unwrap()
}

/// The submissions before the circuit breaker stops them all: those in flight when the first one fails, ten failures in
/// a row after that, and those in flight when the breaker opens.
const BEFORE_IT_OPENS: usize = 2 * MAX_IN_FLIGHT as usize + 10;

#[test]
fn case_29_eight_hours_without_the_third_party_fail_no_document_and_cost_few_requests() {
    for error in [|| Error::Unavailable("503".to_owned()), || Error::OutcomeUnknown("no answer".to_owned())] {
        let lasting = Duration::from_hours(8);
        let simulation = after_an_outage(Duration::ZERO, lasting, error, CallBack::Once);
        let refused = refused(&simulation);
        assert!(refused.len() <= BEFORE_IT_OPENS + trials(lasting), "{} requests", refused.len());
        let requests = simulation.log.requests();
        assert_eq!(requests.len() - refused.len(), DOCUMENTS, "each document was accepted once");
        let end = requests.iter().map(|request| request.at).max().unwrap() - START;
        assert!(
            end < lasting + Duration::from_mins(45),
            "the last document was submitted {end} after the start"
        );
    }
}

/// The jobs that were in progress before the outage are probed in vain. Meanwhile they keep their leases, and their
/// documents are not submitted a second time.
#[test]
fn case_29_jobs_whose_probes_get_no_answer_keep_their_leases() {
    for error in [|| Error::Unavailable("503".to_owned()), || Error::OutcomeUnknown("no answer".to_owned())] {
        let (beginning, lasting) = (Duration::from_mins(30), Duration::from_hours(8));
        let simulation = after_an_outage(beginning, lasting, error, CallBack::OnlyIfProbed);
        let outage = simulation.outage.unwrap();
        let questions = simulation.log.questions();
        let unanswered: Vec<_> = questions.iter().filter(|question| !question.answered).collect();
        assert!(unanswered.iter().all(|question| outage.lasts_at(question.at)), "{unanswered:?}");
        let keys: BTreeSet<&str> = unanswered.iter().map(|question| question.key.as_str()).collect();
        assert_eq!(
            keys.len(),
            MAX_IN_FLIGHT as usize,
            "the probed jobs are those in progress when the outage began"
        );
        assert!(
            (10 * keys.len()..75 * keys.len()).contains(&unanswered.len()),
            "{} probes",
            unanswered.len()
        );
        let requests = simulation.log.requests();
        assert!(requests.iter().all(|request| !outage.lasts_at(request.at)), "all leases are held");
        assert_eq!(requests.len(), DOCUMENTS, "each document was submitted once");
        assert_eq!(simulation.most_in_flight, MAX_IN_FLIGHT as usize);
    }
}

#[test]
fn case_28_refused_credentials_stop_all_requests_but_one_trial_at_a_time() {
    let lasting = Duration::from_hours(2);
    let simulation = after_an_outage(Duration::ZERO, lasting, || Error::Unauthorized, CallBack::Once);
    let refused = refused(&simulation);
    assert!(refused.len() <= MAX_IN_FLIGHT as usize + trials(lasting), "{} requests", refused.len());
    let trials = refused.iter().filter(|request| request.at > START + Duration::from_secs(10));
    let times: Vec<_> = trials.map(|request| request.at).collect();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_secs(14)), "one at a time");
    let ends: BTreeSet<_> =
        simulation.executions.values().map(|execution| execution.state.as_str()).collect();
    assert_eq!(ends, BTreeSet::from(["Done"]));
}
