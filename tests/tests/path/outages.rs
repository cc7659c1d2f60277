//! Outages of the third party, by the clock: with the times of the template, and as many documents as wait then.

use std::{collections::BTreeSet, time::Duration};

use lectern::{
    admission::Limits,
    document::DocumentState,
    error::Error,
    testing::world::{START, object},
};

use super::{
    door::{Knock, Outage},
    machine::Machine,
    simulation::Simulation,
    third_party::{CallBack, Outcome, Plan},
    weather::Roughness,
};

const DOCUMENTS: usize = 60;
const ROOM: u32 = 10;
/// By the template: `CallbackTimeoutSeconds` and `LeaseMarginSeconds`.
const LEASE: Duration = Duration::from_hours(4 + 9);

/// Uploads to a third party that refuses all and answers nothing while an outage lasts that begins so much later.
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
    simulation.world.limits =
        Limits { interval: Duration::from_millis(200), burst: 25, max_in_flight: ROOM, lease: LEASE };
    let from = START + beginning;
    simulation.outage = Some(Outage { from, until: from + lasting, error });
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
    simulation.assert_that_no_turn_is_left();
    assert_eq!(simulation.world.store.gate_now().standing().leases, 0, "nobody failed");
    let jobs = simulation.world.third_party.jobs().len();
    assert_eq!(jobs, DOCUMENTS, "each is one job, whatever was asked in vain");
    assert!(simulation.most_at_work <= ROOM as usize, "{} jobs at a time", simulation.most_at_work);
    simulation
}

fn refused(simulation: &Simulation) -> Vec<Knock> {
    simulation.knocks.lock().unwrap().iter().filter(|knock| knock.refused).copied().collect()
}

/// The pauses of the breaker: 15, 30, 60, 120, 240, then 300 seconds.
fn trials(lasting: Duration) -> usize {
    let doubling = 15 + 30 + 60 + 120 + 240;
    5 + usize::try_from(lasting.as_secs().saturating_sub(doubling).div_ceil(300)).unwrap()
}

#[test]
fn case_29_eight_hours_without_the_third_party_fail_no_document_and_cost_few_requests() {
    for error in [|| Error::Down("503".to_owned()), || Error::Unavailable("no answer".to_owned())] {
        let lasting = Duration::from_hours(8);
        let simulation = after_an_outage(Duration::ZERO, lasting, error, CallBack::Once);
        let refused = refused(&simulation);
        assert!(refused.len() <= ROOM as usize + 5 + trials(lasting), "{} requests", refused.len());
        let knocks = simulation.knocks.lock().unwrap();
        assert_eq!(knocks.len() - refused.len(), DOCUMENTS, "each was accepted once");
        let end = knocks.iter().map(|knock| knock.at).max().unwrap() - START;
        assert!(end < lasting + Duration::from_mins(45), "all were handed over {end} after the beginning");
    }
}

/// Those that it had taken before are asked for in vain, keep their places meanwhile, and are not sent a second time.
#[test]
fn case_29_jobs_that_cannot_be_asked_for_keep_their_places_and_nobody_takes_them() {
    for error in [|| Error::Down("503".to_owned()), || Error::Unavailable("no answer".to_owned())] {
        let (beginning, lasting) = (Duration::from_mins(30), Duration::from_hours(8));
        let simulation = after_an_outage(beginning, lasting, error, CallBack::OnlyIfAsked);
        let outage = simulation.outage.unwrap();
        let questions = simulation.questions.lock().unwrap();
        let refused: Vec<_> = questions.iter().filter(|question| question.refused).collect();
        assert!(refused.iter().all(|question| outage.lasts_at(question.at)), "{refused:?}");
        let keys: BTreeSet<&str> = refused.iter().map(|question| question.key.as_str()).collect();
        assert_eq!(keys.len(), ROOM as usize, "those that were at work when it began");
        assert!((10 * keys.len()..75 * keys.len()).contains(&refused.len()), "{} questions", refused.len());
        let knocks = simulation.knocks.lock().unwrap();
        assert!(knocks.iter().all(|knock| !outage.lasts_at(knock.at)), "there is no room for others");
        assert_eq!(knocks.len(), DOCUMENTS, "each was sent once");
        assert_eq!(simulation.most_at_work, ROOM as usize);
    }
}

#[test]
fn case_28_refused_credentials_park_all_and_one_tries_until_they_are_accepted() {
    let lasting = Duration::from_hours(2);
    let simulation = after_an_outage(Duration::ZERO, lasting, || Error::Unauthorized, CallBack::Once);
    let refused = refused(&simulation);
    assert!(refused.len() <= ROOM as usize + trials(lasting), "{} requests", refused.len());
    let parked = refused.iter().filter(|knock| knock.at > START + Duration::from_secs(10));
    let times: Vec<_> = parked.map(|knock| knock.at).collect();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_secs(14)), "never two at a time");
    let ends: BTreeSet<_> =
        simulation.executions.values().map(|execution| execution.state.as_str()).collect();
    assert_eq!(ends, BTreeSet::from(["Done"]));
}
