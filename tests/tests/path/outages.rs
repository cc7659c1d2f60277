//! Outages of the third party, by the clock: with the times of the template, and as many documents as wait then.

use std::{collections::BTreeSet, time::Duration};

use lectern::{
    document::DocumentState,
    error::Error,
    memory::world::{START, object},
    turns::Limits,
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

/// Uploads to a third party that refuses all from the start until an outage is over.
fn after_an_outage(lasting: Duration, error: fn() -> Error) -> Simulation {
    let plan = Plan { outcome: Outcome::Good, callback: CallBack::Once };
    let mut simulation = Simulation::new(1, Some(plan), Roughness::default());
    simulation.machine = Machine::as_deployed();
    simulation.by_the_clock = true;
    simulation.world.limits = Limits {
        interval: Duration::from_millis(200),
        burst: 10,
        max_in_flight: ROOM,
        lease: Duration::from_hours(6),
    };
    simulation.outage = Some(Outage { until: START + lasting, error });
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
        let simulation = after_an_outage(lasting, error);
        let refused = refused(&simulation);
        assert!(refused.len() <= ROOM as usize + 5 + trials(lasting), "{} requests", refused.len());
        let knocks = simulation.knocks.lock().unwrap();
        assert_eq!(knocks.len() - refused.len(), DOCUMENTS, "each was accepted once");
        let end = knocks.iter().map(|knock| knock.at).max().unwrap() - START;
        assert!(end < lasting + Duration::from_mins(45), "all were handed over {end} after the beginning");
    }
}

#[test]
fn case_28_refused_credentials_park_all_and_one_tries_until_they_are_accepted() {
    let lasting = Duration::from_hours(2);
    let simulation = after_an_outage(lasting, || Error::Unauthorized);
    let refused = refused(&simulation);
    assert!(refused.len() <= ROOM as usize + trials(lasting), "{} requests", refused.len());
    let parked = refused.iter().filter(|knock| knock.at > START + Duration::from_secs(10));
    let times: Vec<_> = parked.map(|knock| knock.at).collect();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_secs(14)), "never two at a time");
    let ends: BTreeSet<_> =
        simulation.executions.values().map(|execution| execution.state.as_str()).collect();
    assert_eq!(ends, BTreeSet::from(["Done"]));
}
