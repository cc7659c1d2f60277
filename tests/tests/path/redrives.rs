//! A failed document that an operator starts again: from what is stored, and never with one job too many.

use super::{
    end_states::{GOOD, block_on, failed, jobs, ready, uploaded},
    simulation::Simulation,
    third_party::{CallBack, Outcome, Plan},
    weather::Pace,
};
use lectern::document::ObjectVersion;

fn failed_after(plan: Plan) -> (Simulation, ObjectVersion) {
    let (mut simulation, object) = uploaded(plan);
    block_on(simulation.run());
    (simulation, object)
}

fn redriven(simulation: &mut Simulation, object: &ObjectVersion, anew: bool) {
    block_on(simulation.redrive(object, anew));
    block_on(simulation.run());
}

fn places(simulation: &Simulation) -> usize {
    simulation.world.store.gate_now().standing().leases
}

/// Seen in review: the redrive asked for a second job while the first one was at work, and both had one place.
#[test]
fn case_48_job_that_is_still_at_work_is_asked_for_and_gets_no_second_one_beside_it() {
    let (mut simulation, object) = failed_after(Plan { callback: CallBack::AlwaysWorking, ..GOOD });
    assert_eq!((simulation.end(&object), places(&simulation)), (failed("overdue"), 1));
    redriven(&mut simulation, &object, false);
    assert_eq!(simulation.end(&object), failed("overdue"), "it is at work even now");
    let path = simulation.path(&object);
    assert_eq!(path[..6], ["Begin", "CheckResume", "RenewTurn", "ProbeJob", "CheckProbe", "AwaitCallback"]);
    assert!(!path.contains(&"TransferDocument".to_owned()), "{path:?}");
    assert_eq!((jobs(&simulation), places(&simulation)), (1, 1));
}

#[test]
fn case_48_result_of_a_job_that_has_ended_meanwhile_is_used() {
    let (mut simulation, object) = failed_after(Plan { callback: CallBack::AlwaysWorking, ..GOOD });
    let key = simulation.world.third_party.jobs().into_keys().next().unwrap();
    simulation.sender.finish(&simulation.world, &key);
    redriven(&mut simulation, &object, false);
    assert_eq!(simulation.end(&object), ready());
    assert_eq!(simulation.path(&object)[2..6], ["RenewTurn", "ProbeJob", "CheckProbe", "ReleaseTurn"]);
    assert_eq!((jobs(&simulation), places(&simulation)), (1, 0));
    simulation.assert_that_no_turn_is_left();
}

#[test]
fn case_48_callback_that_comes_after_a_redrive_ends_its_wait() {
    let (mut simulation, object) = failed_after(Plan { callback: CallBack::AlwaysWorking, ..GOOD });
    let key = simulation.world.third_party.jobs().into_keys().next().unwrap();
    simulation.pace = Pace::WhenAwaited;
    block_on(simulation.redrive(&object, false));
    block_on(
        simulation.run_until(|simulation| simulation.path(&object).ends_with(&["AwaitCallback".to_owned()])),
    );
    simulation.sender.finish_and_call_back(&simulation.world, &key);
    block_on(simulation.run());
    assert_eq!(simulation.end(&object), ready());
    assert_eq!((jobs(&simulation), places(&simulation)), (1, 0));
}

/// Seen in review: after a long outage all places were kept by documents whose jobs had ended and been told of.
#[test]
fn case_34_callback_that_comes_after_the_document_was_given_up_gives_its_place_back() {
    let (mut simulation, object) = failed_after(Plan { callback: CallBack::AlwaysWorking, ..GOOD });
    assert_eq!(places(&simulation), 1);
    let key = simulation.world.third_party.jobs().into_keys().next().unwrap();
    simulation.sender.finish_and_call_back(&simulation.world, &key);
    block_on(simulation.run());
    assert_eq!((simulation.end(&object), places(&simulation)), (failed("overdue"), 0));
    redriven(&mut simulation, &object, false);
    assert_eq!((simulation.end(&object), jobs(&simulation)), (ready(), 1), "the late result is used");
}

#[test]
fn case_48_job_that_nobody_knows_is_asked_for_and_then_sent_anew_under_a_key_of_its_own() {
    let (mut simulation, object) = failed_after(Plan { callback: CallBack::Forgotten, ..GOOD });
    assert_eq!((jobs(&simulation), places(&simulation)), (2, 0));
    simulation.sender.plan = Some(GOOD);
    redriven(&mut simulation, &object, false);
    assert_eq!(simulation.end(&object), ready());
    let path = simulation.path(&object);
    assert_eq!(path[3..7], ["ProbeJob", "CheckProbe", "TransferAgain", "AwaitTurn"]);
    assert_eq!((jobs(&simulation), places(&simulation)), (3, 0), "a key that was used before makes no job");
    simulation.assert_that_no_turn_is_left();
}

#[test]
fn case_48_document_that_is_sent_anew_leaves_the_place_of_its_first_job_to_it() {
    let (mut simulation, object) = failed_after(Plan { callback: CallBack::AlwaysWorking, ..GOOD });
    simulation.sender.plan = Some(GOOD);
    block_on(simulation.redrive(&object, true));
    block_on(simulation.run_until(|simulation| jobs(simulation) == 2));
    assert_eq!(places(&simulation), 2, "two jobs, two places");
    block_on(simulation.run());
    assert_eq!((simulation.end(&object), places(&simulation)), (ready(), 1));
    simulation.world.clock.advance(2 * simulation.world.limits.lease);
    let mut gate = simulation.world.store.gate_now();
    gate.pass(lectern::ports::Clock::now(&simulation.world.clock));
    assert_eq!(gate.standing().leases, 0, "nobody gives it back, and it ends by itself");
}

#[test]
fn case_48_failure_that_the_third_party_told_begins_anew_at_once() {
    let (mut simulation, object) = failed_after(Plan { outcome: Outcome::GivenUp, ..GOOD });
    simulation.sender.plan = Some(GOOD);
    redriven(&mut simulation, &object, false);
    assert_eq!(simulation.end(&object), ready());
    assert_eq!(simulation.path(&object)[2], "AwaitTurn");
    assert_eq!((jobs(&simulation), places(&simulation)), (2, 0));
}

#[test]
fn case_48_kept_success_gives_back_the_place_of_its_job_and_is_only_verified() {
    let (mut simulation, object) = failed_after(Plan { outcome: Outcome::WrongForGood, ..GOOD });
    let end = simulation.end(&object);
    redriven(&mut simulation, &object, false);
    assert_eq!(simulation.end(&object), end, "the files are as they were");
    assert_eq!(simulation.path(&object)[2..4], ["ReleaseTurn", "BeginVerify"]);
    assert_eq!((jobs(&simulation), places(&simulation)), (1, 0));
}
