//! The workflow of one document, case by case: its states, its end, and the number of its jobs.

use std::time::Duration;

use lectern::{
    contract::wire::SOURCE_UNREADABLE,
    document::{Attempt, DocumentState, ObjectVersion, Reason},
    error::Error,
    testing::{
        Cut,
        world::{object, s3_event},
    },
};
use rstest::rstest;

use super::{
    conditions::{CallbackTime, Roughness},
    machine::{MAX_FAILED, MAX_REQUESTS, MAX_SLOW, MAX_UNKNOWN_OUTCOMES},
    observed::{Behaviour, Behind},
    simulation::Simulation,
    third_party::{CallBack, Outcome, Plan},
};

pub(crate) const PDF: &[u8] = b"%PDF-1.7\n1 0 obj";
pub(crate) const GOOD: Plan = Plan { outcome: Outcome::Good, callback: CallBack::Once };
const STRAIGHT: [&str; 8] = [
    "Begin",
    "AwaitPermit",
    "WaitForPermitStart",
    "TransferDocument",
    "AwaitCallback",
    "VerifyReturned",
    "NormalizeDocument",
    "Done",
];

/// The end of a document that failed for its content.
const NOT_ACCEPTED: [&str; 3] = ["FailDocument", "CheckCause", "NotAccepted"];

/// The path of a document whose result came before the execution waited for it.
fn early() -> Vec<&'static str> {
    [&STRAIGHT[..5], &["ReleaseLease", "BeginVerify", "CheckOutcome"], &STRAIGHT[5..]].concat()
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

pub(crate) fn uploaded(plan: Plan) -> (Simulation, ObjectVersion) {
    let mut simulation = Simulation::new(1, Some(plan), Roughness::default());
    let object = object("lesson.pdf", "v1");
    simulation.world.objects.upload(&object, None, PDF);
    simulation.announce(&[(&object, "01")]);
    (simulation, object)
}

pub(crate) fn jobs(simulation: &Simulation) -> usize {
    simulation.world.third_party.jobs().len()
}

pub(crate) fn leases(simulation: &Simulation) -> usize {
    simulation.world.store.admission_now().snapshot().leases
}

pub(crate) fn ready() -> (DocumentState, Option<String>) {
    (DocumentState::Ready, None)
}

pub(crate) fn failed(code: &str) -> (DocumentState, Option<String>) {
    (DocumentState::Failed, Some(code.to_owned()))
}

#[test]
fn good_document_goes_straight_to_its_record() {
    let (mut simulation, object) = uploaded(GOOD);
    simulation.callback_time = CallbackTime::WhenAwaited;
    block_on(simulation.run());
    assert_eq!(simulation.end(&object), ready());
    assert_eq!(simulation.path(&object), STRAIGHT);
    assert_eq!(jobs(&simulation), 1);
    let times: Vec<_> = simulation.document(&object).times.into_keys().collect();
    assert_eq!(times, ["Normalizing", "Processing", "Ready", "Received", "Transferring", "Verifying"]);
}

#[test]
fn case_31_callback_that_comes_before_the_execution_waits_is_used_all_the_same() {
    let (mut simulation, object) = uploaded(GOOD);
    simulation.callback_time = CallbackTime::First;
    block_on(simulation.run());
    assert_eq!(simulation.end(&object), ready());
    assert_eq!(simulation.path(&object), early());
    assert!(
        !simulation.document(&object).times.contains_key("Processing"),
        "the execution never waited for the callback"
    );
}

#[test]
fn case_34_callback_that_comes_after_the_timeout_is_used() {
    let (mut simulation, object) = uploaded(GOOD);
    simulation.callback_time = CallbackTime::Late;
    block_on(simulation.run());
    assert_eq!(simulation.end(&object), ready());
    assert_eq!(simulation.path(&object)[5..8], ["ProbeJob", "CheckProbe", "ReleaseLease"]);
    assert_eq!(simulation.world.count("status"), 0, "the late result was used without a probe");
    assert_eq!(jobs(&simulation), 1);
}

#[rstest]
#[case::case_32_thrice(CallBack::Thrice)]
#[case::case_35_forged_too(CallBack::BadlySigned)]
fn case_32_case_35_further_callbacks_change_nothing(#[case] callback: CallBack) {
    let (mut simulation, object) = uploaded(Plan { callback, ..GOOD });
    simulation.callback_time = CallbackTime::WhenAwaited;
    block_on(simulation.run());
    assert_eq!(simulation.end(&object), ready());
    assert_eq!(simulation.path(&object), STRAIGHT);
}

#[test]
fn case_33_if_no_callback_comes_the_third_party_is_asked_once() {
    let (mut simulation, object) = uploaded(Plan { callback: CallBack::OnlyIfProbed, ..GOOD });
    block_on(simulation.run());
    assert_eq!(simulation.end(&object), ready());
    let asked = ["AwaitCallback", "ProbeJob", "CheckProbe", "ReleaseLease"];
    assert_eq!(simulation.path(&object)[4..8], asked);
    assert_eq!(simulation.world.count("status"), 1);
    assert_eq!(jobs(&simulation), 1);
}

/// A presigned URL may end earlier than it says. Whether the callback, an early callback or a probe says so, a new round
/// gets a new URL, once.
#[rstest]
fn a06_document_that_could_not_be_fetched_gets_a_new_url_once(
    #[values(Outcome::NotFetchedAtFirst, Outcome::NeverFetched)] outcome: Outcome,
    #[values(CallBack::Once, CallBack::OnlyIfProbed)] callback: CallBack,
) {
    let (mut simulation, object) = uploaded(Plan { outcome, callback });
    simulation.callback_time = CallbackTime::WhenAwaited;
    block_on(simulation.run());
    let end = if outcome == Outcome::NeverFetched { failed(SOURCE_UNREADABLE) } else { ready() };
    assert_eq!((simulation.end(&object), jobs(&simulation), leases(&simulation)), (end, 2, 0));
    let path = simulation.path(&object);
    let count = |state: &str| path.iter().filter(|entered| *entered == state).count();
    assert_eq!((count("TransferDocument"), count("TransferAgain"), count("CheckUnknownOutcomes")), (2, 1, 0));
    simulation.assert_that_no_permit_is_left();
}

/// A push of many gigabytes that cannot end in time must not be repeated two hundred times.
#[test]
fn a05_document_that_takes_too_long_to_send_is_sent_three_times() {
    let (mut simulation, object) = uploaded(GOOD);
    for _ in 0..=MAX_SLOW {
        simulation.world.third_party.refuse_next(Error::TooSlow);
    }
    block_on(simulation.run());
    assert_eq!(simulation.end(&object), failed("tooSlow"));
    let path = simulation.path(&object);
    assert_eq!(path.iter().filter(|state| *state == "TransferDocument").count(), 1 + MAX_SLOW);
    assert_eq!(path[path.len() - 4..], ["CheckFailure", "FailDocument", "CheckCause", "Failed"]);
    assert!(
        simulation.world.store.admission_now().outage().is_none(),
        "it does not count against the third party"
    );
    simulation.assert_that_no_permit_is_left();
}

#[test]
fn case_33_document_whose_job_is_lost_is_sent_again_once_and_then_fails() {
    let (mut simulation, object) = uploaded(Plan { callback: CallBack::Forgotten, ..GOOD });
    block_on(simulation.run());
    assert_eq!(simulation.end(&object), failed("overdue"));
    let path = simulation.path(&object);
    let count = |state: &str| path.iter().filter(|entered| *entered == state).count();
    assert_eq!((count("TransferDocument"), count("TransferAgain"), count("GiveUpWaiting")), (2, 1, 1));
    assert_eq!((count("AwaitCallback"), count("RenewLease"), count("GiveUpWorking")), (2, 0, 0));
    assert_eq!(jobs(&simulation), 2, "each round is a new job");
    assert_eq!(path[path.len() - 4..], ["GiveUpWaiting", "FailDocument", "CheckCause", "Failed"]);
    assert_eq!(leases(&simulation), 0, "no job needs a lease any more");
    simulation.assert_that_no_permit_is_left();
}

#[test]
fn case_33_document_whose_job_never_ends_fails_without_a_second_job_and_keeps_the_lease() {
    let (mut simulation, object) = uploaded(Plan { callback: CallBack::AlwaysWorking, ..GOOD });
    block_on(simulation.run());
    assert_eq!(simulation.end(&object), failed("overdue"));
    let path = simulation.path(&object);
    let count = |state: &str| path.iter().filter(|entered| *entered == state).count();
    assert_eq!((count("TransferDocument"), count("TransferAgain"), count("GiveUpWaiting")), (1, 0, 0));
    assert_eq!((count("AwaitCallback"), count("RenewLease"), count("ProbeJob")), (2, 1, 2));
    assert_eq!(jobs(&simulation), 1, "the first job is still in progress, so there is no second one");
    assert_eq!(path[path.len() - 4..], ["GiveUpWorking", "FailDocument", "CheckCause", "Failed"]);
    assert_eq!(leases(&simulation), 1, "its job is still in progress");
    simulation.assert_that_no_permit_is_left();
}

#[test]
fn case_40_of_contradictory_callbacks_the_first_stands() {
    for time in [CallbackTime::Any, CallbackTime::First, CallbackTime::WhenAwaited, CallbackTime::Late] {
        let (mut simulation, object) = uploaded(Plan { callback: CallBack::Contradictory, ..GOOD });
        simulation.callback_time = time;
        block_on(simulation.run());
        let end = simulation.end(&object);
        let first = format!("{:?}", simulation.document(&object).result).contains("Succeeded");
        assert_eq!(end, if first { ready() } else { failed("contradiction") });
    }
}

#[test]
fn case_30_document_whose_job_fails_fails_with_the_third_partys_reason_and_no_retry() {
    let before = [&STRAIGHT[..5], &["ReleaseLease", "BeginVerify", "CheckOutcome", "JobFailed"]].concat();
    for (time, before) in [(CallbackTime::WhenAwaited, STRAIGHT[..5].to_vec()), (CallbackTime::First, before)]
    {
        let (mut simulation, object) = uploaded(Plan { outcome: Outcome::Failed, ..GOOD });
        simulation.callback_time = time;
        block_on(simulation.run());
        assert_eq!(simulation.end(&object), failed("encrypted"));
        assert_eq!(simulation.path(&object), [&before[..], &NOT_ACCEPTED].concat());
        assert_eq!((jobs(&simulation), leases(&simulation)), (1, 0));
    }
}

#[test]
fn case_30_document_that_the_third_party_refuses_fails_with_its_reason_and_no_retry() {
    let (mut simulation, object) = uploaded(GOOD);
    simulation.world.third_party.refuse_next(Error::Rejected(Reason::new("drmProtected", "No DRM, please.")));
    block_on(simulation.run());
    assert_eq!(simulation.end(&object), failed("drmProtected"));
    let before = ["TransferDocument", "ReportFailure", "CheckFailure"];
    assert_eq!(simulation.path(&object)[3..], [&before[..], &NOT_ACCEPTED].concat());
    simulation.assert_that_no_permit_is_left();
    assert_eq!(jobs(&simulation), 0);
}

#[test]
fn case_25_after_a_rate_limit_the_document_requests_another_permit() {
    let (mut simulation, object) = uploaded(GOOD);
    for _ in 0..MAX_FAILED {
        let retry_at = lectern::testing::world::START + std::time::Duration::from_secs(30);
        simulation.world.third_party.refuse_next(Error::RateLimited { retry_at });
    }
    block_on(simulation.run());
    assert_eq!(simulation.end(&object), ready());
    let path = simulation.path(&object);
    assert_eq!(path.iter().filter(|state| *state == "AwaitPermit").count(), 1 + MAX_FAILED);
    let newest = Attempt(1 + u32::try_from(MAX_FAILED).unwrap());
    assert_eq!(simulation.document(&object).attempt, Some(newest));
    simulation.assert_that_no_permit_is_left();
}

#[rstest]
#[case::case_25_rate_limited(|| Error::RateLimited { retry_at: lectern::testing::world::START }, "rateLimited")]
#[case::case_26_and_29_unavailable(|| Error::Unavailable("503".to_owned()), "thirdPartyUnavailable")]
#[case::case_28_unauthorized(|| Error::Unauthorized, "thirdPartyUnauthorized")]
fn case_25_case_26_case_28_case_29_failures_are_retried_up_to_a_limit_and_then_the_document_fails(
    #[case] error: fn() -> Error,
    #[case] code: &str,
) {
    for (failures, end) in [(MAX_FAILED, ready()), (MAX_FAILED + 1, failed(code))] {
        let (mut simulation, object) = uploaded(GOOD);
        for _ in 0..failures {
            simulation.world.third_party.refuse_next(error());
        }
        block_on(simulation.run());
        assert_eq!(simulation.end(&object), end, "{failures}");
        assert_eq!(jobs(&simulation), usize::from(failures == MAX_FAILED));
        assert_eq!(leases(&simulation), 0);
        simulation.assert_that_no_permit_is_left();
    }
}

#[test]
fn success_is_reported_only_after_a_failure() {
    let (mut simulation, _) = uploaded(GOOD);
    simulation.world.third_party.refuse_next(Error::Unauthorized);
    block_on(simulation.run());
    assert!(!simulation.world.store.admission_now().snapshot().breaker_open, "the success was reported");
}

#[test]
fn case_19_permit_that_was_used_without_a_report_leads_to_a_probe_of_the_same_job() {
    let (mut simulation, object) = uploaded(GOOD);
    simulation.callback_time = CallbackTime::WhenAwaited;
    simulation.world.faults.cut_next("succeed", Cut::Before);
    simulation.world.faults.cut_nth("succeed", 2, Cut::Before);
    block_on(simulation.run());
    assert_eq!(simulation.end(&object), ready());
    assert_eq!(jobs(&simulation), 1);
    simulation.assert_that_no_permit_is_left();
}

/// A delivery created the job and then died, and the probe fails. The job keeps its lease, so no other document gets
/// it.
#[test]
fn case_19_job_whose_answer_was_lost_keeps_its_lease_when_its_document_fails() {
    let (mut simulation, object) = uploaded(Plan { callback: CallBack::AlwaysWorking, ..GOOD });
    simulation.callback_time = CallbackTime::WhenAwaited;
    simulation.world.faults.cut_nth("succeed", 1, Cut::Before);
    block_on(simulation.run_until(|simulation| jobs(simulation) == 1));
    simulation.world.third_party.refuse_next(Error::Rejected(Reason::new("drmProtected", "No DRM, please.")));
    block_on(simulation.run());
    assert_eq!(simulation.end(&object), failed("drmProtected"));
    let path = simulation.path(&object);
    assert_eq!(
        path[path.len() - 6..],
        [&["ReportUnknownOutcome", "WaitBeforeProbe", "ProbeJob"][..], &NOT_ACCEPTED].concat()
    );
    assert_eq!(leases(&simulation), 1, "the third party may have a job");
    simulation.assert_that_no_permit_is_left();
}

/// A document that gets no permit repeats its request a bounded number of times, then fails.
#[test]
fn document_that_never_gets_a_permit_fails_after_a_bounded_time() {
    let (mut simulation, object) = uploaded(GOOD);
    simulation.world.limits.max_in_flight = 0;
    block_on(simulation.run());
    assert_eq!(simulation.end(&object).0, DocumentState::Failed);
    let path = simulation.path(&object);
    assert_eq!(path.iter().filter(|state| *state == "AwaitPermit").count(), MAX_REQUESTS);
    assert_eq!(path[path.len() - 4..], ["CheckPermitRequests", "FailDocument", "CheckCause", "Failed"]);
}

/// After each attempt with an unknown outcome, the third party answers that it has no job.
#[test]
fn d01_document_whose_outcome_is_always_unknown_fails_after_a_bounded_number_of_attempts() {
    let no_job = Behaviour::TimesOut(Duration::ZERO, Behind::NoJob);
    for (unknown_outcomes, end) in
        [(MAX_UNKNOWN_OUTCOMES, ready()), (MAX_UNKNOWN_OUTCOMES + 1, failed("outcomeUnknown"))]
    {
        let (mut simulation, object) = uploaded(GOOD);
        simulation.instead.extend(vec![no_job; unknown_outcomes]);
        block_on(simulation.run());
        assert_eq!(simulation.end(&object), end, "{unknown_outcomes}");
        let path = simulation.path(&object);
        let count = |state: &str| path.iter().filter(|entered| *entered == state).count();
        assert_eq!(
            (count("TransferDocument"), count("ProbeJob")),
            (MAX_UNKNOWN_OUTCOMES + 1, unknown_outcomes),
            "{path:?}"
        );
        assert_eq!((jobs(&simulation), leases(&simulation)), (usize::from(end == ready()), 0));
        simulation.assert_that_no_permit_is_left();
    }
}

#[test]
fn case_27_after_a_lost_answer_the_probe_finds_the_job() {
    let (mut simulation, object) = uploaded(GOOD);
    simulation.world.faults.cut_next("submit", Cut::After);
    block_on(simulation.run());
    assert_eq!(simulation.end(&object), ready());
    assert_eq!(jobs(&simulation), 1);
}

#[test]
fn case_16_object_that_was_deleted_before_the_transfer_fails_as_source_gone() {
    let (mut simulation, document) = uploaded(GOOD);
    simulation.world.objects.delete(&object("lesson.pdf", "marker"));
    block_on(simulation.run());
    assert_eq!(simulation.end(&document), failed("sourceGone"));
    assert_eq!(jobs(&simulation), 0);
}

#[test]
fn case_03_overwrite_during_processing_is_a_new_job_and_only_the_newer_one_counts() {
    let (mut simulation, old) = uploaded(Plan { callback: CallBack::AlwaysWorking, ..GOOD });
    block_on(simulation.run_until(|simulation| jobs(simulation) == 1));
    let new = object("lesson.pdf", "v2");
    simulation.world.objects.upload(&new, None, PDF);
    simulation.announce(&[(&new, "02")]);
    simulation.sender.plan = Some(GOOD);
    block_on(simulation.run());
    assert_eq!(simulation.end(&new), ready());
    assert!(simulation.document(&old).state.is_terminal());
    assert_eq!(
        simulation.document(&old).superseded_by,
        Some(simulation.document(&new).reference.document_id)
    );
    let counts = simulation.world.store.submission_now(&"s1".parse().unwrap()).unwrap().counts;
    assert_eq!((counts.open, counts.ready, counts.rejected, counts.failed), (0, 1, 0, 0));
}

#[rstest]
#[case::right_at_the_second_fetch(Outcome::WrongAtFirst, ready())]
#[case::always_wrong(Outcome::AlwaysWrong, failed("wrongSize"))]
fn case_42_returned_file_that_does_not_match_is_fetched_again_and_then_fails_the_document(
    #[case] outcome: Outcome,
    #[case] end: (DocumentState, Option<String>),
) {
    let (mut simulation, object) = uploaded(Plan { outcome, ..GOOD });
    block_on(simulation.run());
    assert_eq!(simulation.end(&object), end);
    let readable = lectern::document::keys::returned_file(&simulation.document(&object).reference, 0);
    assert_eq!(simulation.world.objects.returned(&readable).is_some(), end.0 == DocumentState::Ready);
}

#[test]
fn case_17_case_18_unreadable_message_ends_in_the_dead_letter_queue_and_delays_no_other() {
    let (mut simulation, good) = uploaded(GOOD);
    simulation.send_upload_message("poison");
    block_on(simulation.run());
    assert_eq!(simulation.end(&good), ready());
    let [dead] = simulation.dead_letters.as_slice() else { panic!("{:?}", simulation.dead_letters) };
    assert_eq!((dead.body.as_str(), dead.receives), ("poison", 5));
}

#[rstest]
fn case_19_case_20_case_22_call_that_is_cut_off_at_any_point_changes_nothing(
    #[values(Cut::Before, Cut::After)] cut: Cut,
) {
    let (mut undisturbed, object) = uploaded(GOOD);
    block_on(undisturbed.run());
    let calls: std::collections::BTreeSet<_> = undisturbed.world.faults.calls().into_iter().collect();
    assert!(calls.len() >= 20, "{calls:?}");
    for call in calls {
        let (mut simulation, _) = uploaded(GOOD);
        simulation.world.faults.cut_next(call, cut);
        block_on(simulation.run());
        assert_eq!(simulation.end(&object), ready(), "{call}");
        assert_eq!(jobs(&simulation), 1, "{call}");
        assert!(simulation.dead_letters.is_empty(), "{call}");
        simulation.assert_that_no_permit_is_left();
        let counts = simulation.world.store.submission_now(&"s1".parse().unwrap()).unwrap().counts;
        assert_eq!((counts.open, counts.ready, counts.rejected, counts.failed), (0, 1, 0, 0), "{call}");
    }
}

#[test]
fn case_01_event_that_comes_ten_times_is_one_execution_and_one_job() {
    let (mut simulation, object) = uploaded(GOOD);
    let event = s3_event(&[(&object, "01")]);
    for _ in 0..10 {
        simulation.send_upload_message(&event);
    }
    block_on(simulation.run());
    assert_eq!(simulation.end(&object), ready());
    assert_eq!((simulation.executions.len(), jobs(&simulation)), (1, 1));
}
