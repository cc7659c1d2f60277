//! Redrives of failed documents: they use what is stored, and never create one job too many.

use std::time::Duration;

use lectern::{
    contract::wire::FileRole,
    document::{DocumentState, ObjectVersion},
    error::Error,
    testing::world::{START, object, returned_file},
};

use super::{
    conditions::{CallbackTime, Roughness},
    end_states::{GOOD, PDF, block_on, failed, jobs, leases, ready, uploaded},
    observed::Outage,
    simulation::Simulation,
    third_party::{CallBack, Outcome, Plan},
};

fn failed_after(plan: Plan) -> (Simulation, ObjectVersion) {
    let (mut simulation, object) = uploaded(plan);
    block_on(simulation.run());
    (simulation, object)
}

fn redriven(simulation: &mut Simulation, object: &ObjectVersion, discard_result: bool) {
    block_on(simulation.redrive(object, discard_result));
    block_on(simulation.run());
}

/// An earlier redrive created a second job while the first was in progress, and both shared one lease.
#[test]
fn case_48_redriven_document_gets_no_second_job_while_the_first_one_is_in_progress() {
    let (mut simulation, object) = failed_after(Plan { callback: CallBack::AlwaysWorking, ..GOOD });
    assert_eq!((simulation.end(&object), leases(&simulation)), (failed("overdue"), 1));
    redriven(&mut simulation, &object, false);
    assert_eq!(simulation.end(&object), failed("overdue"), "the job is still in progress");
    let path = simulation.path(&object);
    assert_eq!(path[..6], ["Begin", "CheckResume", "ProbeJob", "CheckProbe", "RenewLease", "AwaitCallback"]);
    assert!(!path.contains(&"TransferDocument".to_owned()), "{path:?}");
    assert_eq!((jobs(&simulation), leases(&simulation)), (1, 1));
}

#[test]
fn case_48_result_of_a_job_that_has_ended_meanwhile_is_used() {
    let (mut simulation, object) = failed_after(Plan { callback: CallBack::AlwaysWorking, ..GOOD });
    let key = simulation.world.third_party.jobs().into_keys().next().unwrap();
    simulation.sender.finish(&simulation.world, &key);
    redriven(&mut simulation, &object, false);
    assert_eq!(simulation.end(&object), ready());
    assert_eq!(simulation.path(&object)[2..5], ["ProbeJob", "CheckProbe", "ReleaseLease"]);
    assert_eq!((jobs(&simulation), leases(&simulation)), (1, 0));
    simulation.assert_that_no_permit_is_left();
}

#[test]
fn case_48_callback_that_comes_after_a_redrive_ends_its_wait() {
    let (mut simulation, object) = failed_after(Plan { callback: CallBack::AlwaysWorking, ..GOOD });
    let key = simulation.world.third_party.jobs().into_keys().next().unwrap();
    simulation.callback_time = CallbackTime::WhenAwaited;
    block_on(simulation.redrive(&object, false));
    block_on(
        simulation.run_until(|simulation| simulation.path(&object).ends_with(&["AwaitCallback".to_owned()])),
    );
    simulation.sender.finish_and_call_back(&simulation.world, &key);
    block_on(simulation.run());
    assert_eq!(simulation.end(&object), ready());
    assert_eq!((jobs(&simulation), leases(&simulation)), (1, 0));
}

/// After a long outage, an earlier design kept all leases for documents whose jobs had ended with a callback.
#[test]
fn case_34_callback_that_comes_after_the_document_failed_releases_its_lease() {
    let (mut simulation, object) = failed_after(Plan { callback: CallBack::AlwaysWorking, ..GOOD });
    assert_eq!(leases(&simulation), 1);
    let key = simulation.world.third_party.jobs().into_keys().next().unwrap();
    simulation.sender.finish_and_call_back(&simulation.world, &key);
    block_on(simulation.run());
    assert_eq!((simulation.end(&object), leases(&simulation)), (failed("overdue"), 0));
    redriven(&mut simulation, &object, false);
    assert_eq!((simulation.end(&object), jobs(&simulation)), (ready(), 1), "the late result is used");
}

#[test]
fn case_48_document_whose_job_was_lost_is_sent_again_under_another_idempotency_key() {
    let (mut simulation, object) = failed_after(Plan { callback: CallBack::AlwaysWorking, ..GOOD });
    let key = simulation.world.third_party.jobs().into_keys().next().unwrap();
    simulation.sender.forget(&simulation.world, &key);
    simulation.sender.plan = Some(GOOD);
    redriven(&mut simulation, &object, false);
    assert_eq!(simulation.end(&object), ready());
    let path = simulation.path(&object);
    let asked =
        ["ProbeJob", "CheckProbe", "ReleaseUnknownJob", "CheckUnknownJob", "TransferAgain", "AwaitPermit"];
    assert_eq!(path[2..8], asked);
    assert_eq!((jobs(&simulation), leases(&simulation)), (2, 0), "a key that was used before makes no job");
    simulation.assert_that_no_permit_is_left();
}

#[test]
fn case_48_document_whose_last_job_was_lost_gets_a_new_one() {
    let (mut simulation, object) = failed_after(Plan { callback: CallBack::Forgotten, ..GOOD });
    assert_eq!((jobs(&simulation), leases(&simulation)), (2, 0));
    simulation.sender.plan = Some(GOOD);
    redriven(&mut simulation, &object, false);
    assert_eq!(simulation.end(&object), ready());
    assert_eq!(simulation.path(&object)[2..5], ["ProbeJob", "CheckProbe", "ReleaseUnknownJob"]);
    assert_eq!((jobs(&simulation), leases(&simulation)), (3, 0), "a key that was used before makes no job");
    simulation.assert_that_no_permit_is_left();
}

/// An earlier design gave each redriven document a lease for its probe, even above the limit, so the third party got as
/// many jobs as documents were redriven.
#[test]
fn case_48_documents_without_a_result_are_redriven_within_the_limit_of_jobs_in_flight() {
    const DOCUMENTS: usize = 12;
    let mut simulation = Simulation::new(1, Some(GOOD), Roughness::default());
    simulation.world.limits.max_in_flight = 3;
    let refuses = || Error::TooSlow;
    let until = START + Duration::from_hours(9);
    simulation.outage = Some(Outage { from: START, until, error: refuses, answers_probes: true });
    let objects: Vec<ObjectVersion> = (0..DOCUMENTS).map(|n| object(&format!("l-{n}.pdf"), "v1")).collect();
    for object in &objects {
        simulation.world.objects.upload(object, None, PDF);
        simulation.announce(&[(object, "01")]);
    }
    block_on(simulation.run());
    assert!(objects.iter().all(|object| simulation.end(object) == failed("tooSlow")));
    simulation.outage = None;
    for object in &objects {
        block_on(simulation.redrive(object, false));
    }
    // After each step, the simulation checks that there are at most three leases and no more jobs than leases.
    block_on(simulation.run());
    for object in &objects {
        assert_eq!(simulation.end(object), ready());
        let path = simulation.path(object);
        assert_eq!(path[2..5], ["ProbeJob", "CheckProbe", "ReleaseUnknownJob"], "the document was submitted");
    }
    assert_eq!((jobs(&simulation), leases(&simulation)), (DOCUMENTS, 0));
    assert!(simulation.most_in_flight > 1, "the test needs several jobs in flight to show anything");
}

/// The first execution failed while the document waited for a permit, so the document's queue position still exists.
#[test]
fn case_48_document_that_failed_in_its_queue_leaves_no_position_behind_when_it_is_redriven() {
    let (mut simulation, object) = uploaded(GOOD);
    simulation.world.limits.max_in_flight = 0;
    block_on(simulation.run());
    assert_eq!(simulation.end(&object), failed("timeout"));
    simulation.world.limits.max_in_flight = 1;
    redriven(&mut simulation, &object, false);
    assert_eq!((simulation.end(&object), jobs(&simulation)), (ready(), 1));
    simulation.assert_that_no_permit_is_left();
}

/// The operator has abandoned the first job, so its result must not count for the second one.
#[test]
fn case_48_late_failure_of_an_abandoned_job_is_not_taken_for_the_new_jobs() {
    let (mut simulation, object) = failed_after(Plan { callback: CallBack::AlwaysWorking, ..GOOD });
    let first = simulation.world.third_party.jobs().into_keys().next().unwrap();
    simulation.sender.plan = Some(GOOD);
    simulation.callback_time = CallbackTime::WhenAwaited;
    block_on(simulation.redrive(&object, true));
    block_on(simulation.run_until(|simulation| jobs(simulation) == 2));
    simulation.sender.fail_and_call_back(&simulation.world, &first);
    simulation.callback_time = CallbackTime::First;
    block_on(simulation.run());
    assert_eq!(simulation.end(&object), ready());
}

#[test]
fn case_48_lease_of_an_abandoned_job_stays_beside_the_new_one_and_ends_by_itself() {
    let (mut simulation, object) = failed_after(Plan { callback: CallBack::AlwaysWorking, ..GOOD });
    simulation.sender.plan = Some(GOOD);
    block_on(simulation.redrive(&object, true));
    block_on(simulation.run_until(|simulation| jobs(simulation) == 2));
    assert_eq!(leases(&simulation), 2, "two jobs, two leases");
    block_on(simulation.run());
    assert_eq!((simulation.end(&object), leases(&simulation)), (ready(), 1));
    simulation.world.clock.advance(2 * simulation.world.limits.lease);
    let mut state = simulation.world.store.admission_now();
    state.advance_to(lectern::ports::Clock::now(&simulation.world.clock));
    assert_eq!(state.snapshot().leases, 0, "the lease ends by itself");
}

/// Earlier, the first job's file stayed and was recorded with the second job's hash if both had the same size.
#[test]
fn case_48_file_of_a_new_job_replaces_the_first_jobs_file_of_the_same_size() {
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
    assert_eq!(simulation.world.count("fetch"), 3, "the text file is the same and is not fetched again");
    let record = simulation.world.record(&document).unwrap();
    let expected = returned_file("findings", FileRole::Findings, "application/json", &second);
    assert_eq!(record.attachments[1].sha256, expected.sha256);
    assert_eq!(record.findings.len(), 1);
}

#[test]
fn case_48_after_a_job_that_failed_the_document_is_sent_again_at_once() {
    let (mut simulation, object) = failed_after(Plan { outcome: Outcome::Failed, ..GOOD });
    simulation.sender.plan = Some(GOOD);
    redriven(&mut simulation, &object, false);
    assert_eq!(simulation.end(&object), ready());
    assert_eq!(simulation.path(&object)[1], "AwaitPermit");
    assert_eq!((jobs(&simulation), leases(&simulation)), (2, 0));
}

#[test]
fn case_48_document_with_a_kept_success_releases_the_lease_of_its_job_and_is_only_verified() {
    let (mut simulation, object) = failed_after(Plan { outcome: Outcome::AlwaysWrong, ..GOOD });
    let end = simulation.end(&object);
    redriven(&mut simulation, &object, false);
    assert_eq!(simulation.end(&object), end, "the files have not changed");
    assert_eq!(simulation.path(&object)[2..4], ["ReleaseLease", "BeginVerify"]);
    assert_eq!((jobs(&simulation), leases(&simulation)), (1, 0));
}
