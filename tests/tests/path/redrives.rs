//! A failed document that an operator starts again: from what is stored, and never with one job too many.

use std::time::Duration;

use lectern::{
    contract::wire::FileRole,
    document::{DocumentState, ObjectVersion, Reason},
    error::Error,
    ports::Browse as _,
    testing::world::{START, object, returned_file},
};

use super::{
    door::Outage,
    end_states::{GOOD, PDF, block_on, failed, jobs, ready, uploaded},
    simulation::Simulation,
    third_party::{CallBack, Outcome, Plan},
    weather::{Pace, Roughness},
};

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
fn case_48_job_that_was_lost_is_asked_for_and_then_sent_anew_under_a_key_of_its_own() {
    let (mut simulation, object) = failed_after(Plan { callback: CallBack::AlwaysWorking, ..GOOD });
    let key = simulation.world.third_party.jobs().into_keys().next().unwrap();
    simulation.sender.forget(&simulation.world, &key);
    simulation.sender.plan = Some(GOOD);
    redriven(&mut simulation, &object, false);
    assert_eq!(simulation.end(&object), ready());
    let path = simulation.path(&object);
    assert_eq!(path[2..7], ["RenewTurn", "ProbeJob", "CheckProbe", "TransferAgain", "AwaitTurn"]);
    assert_eq!((jobs(&simulation), places(&simulation)), (2, 0), "a key that was used before makes no job");
    simulation.assert_that_no_turn_is_left();
}

#[test]
fn case_48_job_that_the_third_party_did_not_know_is_not_asked_for_again() {
    let (mut simulation, object) = failed_after(Plan { callback: CallBack::Forgotten, ..GOOD });
    assert_eq!((jobs(&simulation), places(&simulation)), (2, 0));
    simulation.sender.plan = Some(GOOD);
    redriven(&mut simulation, &object, false);
    assert_eq!(simulation.end(&object), ready());
    assert_eq!(simulation.path(&object)[2..4], ["AwaitTurn", "WaitForTurn"]);
    assert_eq!((jobs(&simulation), places(&simulation)), (3, 0), "a key that was used before makes no job");
    simulation.assert_that_no_turn_is_left();
}

/// Seen in review: each was given a place to be asked for, whether there was one or not, and was sent on it, so that
/// the third party got as many jobs as were redriven.
#[test]
fn case_48_refused_documents_are_redriven_on_the_places_that_there_are() {
    const DOCUMENTS: usize = 12;
    let mut simulation = Simulation::new(1, Some(GOOD), Roughness::default());
    simulation.world.limits.max_in_flight = 3;
    let refuses = || Error::Rejected(Reason::new("outOfOrder", "Not today."));
    simulation.outage = Some(Outage { from: START, until: START + Duration::from_hours(9), error: refuses });
    let objects: Vec<ObjectVersion> = (0..DOCUMENTS).map(|n| object(&format!("l-{n}.pdf"), "v1")).collect();
    for object in &objects {
        simulation.world.objects.upload(object, None, PDF);
        simulation.announce(&[(object, "01")]);
    }
    block_on(simulation.run());
    assert!(objects.iter().all(|object| simulation.end(object) == failed("outOfOrder")));
    simulation.outage = None;
    for object in &objects {
        block_on(simulation.redrive(object, false));
    }
    // That there are no more than three places, and no more jobs than places, is looked at after each step.
    block_on(simulation.run());
    for object in &objects {
        assert_eq!(simulation.end(object), ready());
        assert_eq!(simulation.path(object)[2], "AwaitTurn", "there is nothing to ask for");
    }
    assert_eq!((jobs(&simulation), places(&simulation)), (DOCUMENTS, 0));
    assert!(simulation.most_at_work > 1, "or there was nothing to keep to");
}

/// The operator has given the first job up: what becomes of it says nothing of the second.
#[test]
fn case_48_late_failure_of_a_job_that_was_given_up_is_not_taken_for_the_new_jobs() {
    let (mut simulation, object) = failed_after(Plan { callback: CallBack::AlwaysWorking, ..GOOD });
    let first = simulation.world.third_party.jobs().into_keys().next().unwrap();
    simulation.sender.plan = Some(GOOD);
    simulation.pace = Pace::WhenAwaited;
    block_on(simulation.redrive(&object, true));
    block_on(simulation.run_until(|simulation| jobs(simulation) == 2));
    simulation.sender.fail_and_call_back(&simulation.world, &first);
    simulation.pace = Pace::CallbacksFirst;
    block_on(simulation.run());
    assert_eq!(simulation.end(&object), ready());
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

/// Seen in review: the first job's file stayed where it was and stood under the second one's hash, if it had its size.
#[test]
fn case_48_file_of_the_same_size_from_a_new_job_takes_the_place_of_the_first_ones() {
    let (mut simulation, object) = failed_after(Plan { outcome: Outcome::NoRecord, ..GOOD });
    assert_eq!(simulation.end(&object).0, DocumentState::Failed);
    let document = simulation.document(&object).reference;
    let findings = |simulation: &Simulation| {
        simulation.world.objects.returned(&lectern::document::keys::returned_file(&document, 1)).unwrap()
    };
    let first = findings(&simulation);
    simulation.sender.plan = Some(GOOD);
    redriven(&mut simulation, &object, true);
    assert_eq!((simulation.end(&object), jobs(&simulation)), (ready(), 2));
    let second = findings(&simulation);
    assert!(first.len() == second.len() && first != second);
    assert_eq!(simulation.world.count("fetch"), 3, "the text is the same, and stays");
    let record = block_on(simulation.world.store.record(&document)).unwrap().unwrap();
    let expected = returned_file("findings", FileRole::Findings, "application/json", &second);
    assert_eq!(record.attachments[1].sha256, expected.sha256);
    assert_eq!(record.findings.len(), 1);
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
