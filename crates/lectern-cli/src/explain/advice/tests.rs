//! Tests of the conclusions: where a document is, why, and what to do.

use lectern::{
    admission::Cause,
    document::{DocumentState, Reason},
};
use rstest::rstest;

use super::{
    super::{
        history::Failure,
        tests::{NOW, execution},
        timeline::{Run, build},
    },
    *,
};
use crate::{limiter::Breaker, testing::document};

#[rstest]
#[case::no_execution(None, "no execution is running")]
#[case::broken(Some(Status::Broken("timed out")), "Its execution timed out")]
#[case::contradiction(Some(Status::Succeeded), "contradict")]
fn open_document_without_a_running_execution_is_to_be_redriven(
    #[case] status: Option<Status>,
    #[case] says: &str,
) {
    let open = document(DocumentState::Processing);
    let found = conclude(&open, status.map(execution).as_ref(), None, None, NOW);
    assert!(found.needs_attention);
    assert!(format!("{} {}", found.place, found.why).contains(says), "{found:?}");
    assert_eq!(found.todo, [format!("lectern redrive s1/{}", open.reference.document_id)]);
}

#[rstest]
#[case("thirdPartyUnauthorized", "ThirdPartyApiKey")]
#[case("overdue", "lectern redrive --failed --reason overdue --yes")]
#[case("sourceGone", "uploads the file again")]
#[case("internal", "lectern redrive s1/")]
#[case("drmProtected", "another file")]
fn every_failure_says_what_to_do(#[case] code: &str, #[case] todo: &str) {
    let mut failed = document(DocumentState::Failed);
    failed.reason = Some(Reason::new(code, "Why."));
    let found = conclude(&failed, None, None, None, NOW);
    assert!(found.needs_attention && found.todo.join("\n").contains(todo), "{found:?}");
}

#[test]
fn f07_withdrawn_document_needs_no_attention() {
    let withdrawn = Document { is_withdrawn: true, ..document(DocumentState::Failed) };
    let found = conclude(&withdrawn, None, None, None, NOW);
    assert!(!found.needs_attention && found.todo.is_empty(), "{found:?}");
    assert_eq!(found.place, "Failed (overdue), and withdrawn.");
}

fn entered(states: &[&str]) -> Vec<Step> {
    let step = |state: &&str| Step { at: NOW, what: What::Entered((*state).to_owned()) };
    states.iter().map(step).collect()
}

#[rstest]
#[case::still_working(
    &["ProbeJob", "CheckProbe", "GiveUpWorking", "FailDocument"],
    Some("The job is still in progress; the document no longer waits for it."),
    &["lease lasts", "probes this job first", "--discard-result    starts a second job"]
)]
#[case::unknown(
    &["ProbeJob", "CheckProbe", "GiveUpWaiting", "FailDocument"],
    Some("No callback came, and the third party does not know the job."),
    &["submits the file again: the third party does not know the job"]
)]
#[case::history_is_gone(&[], None, &["lectern redrive s1/"])]
fn overdue_document_is_redriven_as_the_third_partys_last_answer_demands(
    #[case] states: &[&str],
    #[case] line: Option<&str>,
    #[case] todo: &[&str],
) {
    let mut failed = document(DocumentState::Failed);
    failed.reason = Some(Reason::new("overdue", "Why."));
    let steps = entered(states);
    let found = about_overdue(conclude(&failed, None, None, None, NOW), &failed, &steps);
    let all = found.todo.join("\n");
    assert!(todo.iter().all(|part| all.contains(part)), "{found:?}");
    assert!(all.contains("lectern redrive --failed --reason overdue --yes"), "{found:?}");
    let is_working = states.contains(&"GiveUpWorking");
    assert_eq!(
        (all.contains("--discard-result"), all.contains("submits the file again")),
        (is_working, states.contains(&"GiveUpWaiting"))
    );
    let run = Run { redrive: 0, started: NOW, steps };
    let (timeline, _) = build(&failed, &[run], &[]);
    let shown: Vec<_> =
        timeline.iter().filter(|entry| entry.phase == Phase::End && entry.source == "history").collect();
    assert_eq!(shown.iter().map(|entry| entry.text.as_str()).collect::<Vec<_>>(), Vec::from_iter(line));
    // A document that is in progress again gets no such advice.
    let open = document(DocumentState::Processing);
    let before = conclude(&open, None, None, None, NOW);
    assert_eq!(about_overdue(before.clone(), &open, &entered(states)), before);
}

#[test]
fn message_that_waits_for_long_may_be_a_dead_letter() {
    let open = document(DocumentState::Transferring);
    let pending = |minutes| Pending {
        state: "TransferDocument".to_owned(),
        since: NOW - Duration::minutes(minutes),
        tries: 1,
        failure: None,
    };
    let execution = execution(Status::Running);
    assert!(conclude(&open, Some(&execution), Some(&pending(2)), None, NOW).todo.is_empty());
    assert_eq!(conclude(&open, Some(&execution), Some(&pending(20)), None, NOW).todo, ["lectern dlq list"]);
}

fn admitted_by(limiter: Limiter, standpoint: Standpoint) -> Admission {
    Admission { limiter, standpoint, api_key: Some("arn:key".to_owned()) }
}

fn limits(breaker: Option<Breaker>, leases: usize) -> Limiter {
    Limiter { breaker, waiting: 37, leases, max_leases: Some(50), slowdown: 1 }
}

fn breaker(cause: Cause) -> Breaker {
    Breaker { cause, trial_at: "2026-11-20T16:31:00Z".to_owned(), has_trial: false }
}

#[rstest]
#[case::down(admitted_by(limits(Some(breaker(Cause::Unavailable)), 3), Standpoint::Queued), "cannot be reached", &[])]
#[case::key(admitted_by(limits(Some(breaker(Cause::Unauthorized)), 3), Standpoint::Queued), "refuses our key",
    &["Renew the key", "put-secret-value --secret-id arn:key"])]
#[case::full(admitted_by(limits(None, 50), Standpoint::Queued), "All leases are held", &[])]
#[case::in_a_queue(admitted_by(limits(None, 3), Standpoint::Queued), "37 documents wait for a permit; 3 of 50 leases", &[])]
#[case::has_a_lease(admitted_by(limits(None, 3), Standpoint::HoldsLease), "is handling its request", &[])]
#[case::undecided(admitted_by(limits(None, 3), Standpoint::Unknown), "admit-document does not handle orders", &["lectern status"])]
fn document_that_waits_for_a_permit_is_explained_and_is_not_stuck_however_long_it_waits(
    #[case] admission: Admission,
    #[case] why: &str,
    #[case] todo: &[&str],
) {
    let open = document(DocumentState::Received);
    let failure = Failure { error: "States.Timeout".to_owned(), reason: None };
    for failure in [None, Some(failure)] {
        let since = NOW - Duration::hours(5);
        let pending = Pending { state: "AwaitPermit".to_owned(), since, tries: 1, failure };
        let execution = execution(Status::Running);
        let found = conclude(&open, Some(&execution), Some(&pending), Some(&admission), NOW);
        assert!(found.place.contains("in AwaitPermit, for 5 h 0 min"), "{found:?}");
        assert!(found.why.contains(why), "{found:?}");
        let all = found.todo.join("\n");
        assert!(todo.iter().all(|part| all.contains(part)), "{found:?}");
        assert_eq!((found.todo.is_empty(), found.needs_attention), (todo.is_empty(), !todo.is_empty()));
        let unread =
            conclude(&open, Some(&execution), Some(&Pending { failure: None, ..pending }), None, NOW);
        assert!(unread.todo.is_empty() && !unread.needs_attention, "{unread:?}");
    }
}

#[test]
fn request_that_was_just_sent_is_being_decided() {
    let open = document(DocumentState::Received);
    let pending = Pending { state: "AwaitPermit".to_owned(), since: NOW, tries: 1, failure: None };
    let admission = admitted_by(limits(None, 3), Standpoint::Unknown);
    let found = conclude(&open, Some(&execution(Status::Running)), Some(&pending), Some(&admission), NOW);
    assert!(found.why.contains("is handling its request") && !found.needs_attention, "{found:?}");
}

#[test]
fn half_open_trial_that_waits_for_its_time_is_explained() {
    let open = document(DocumentState::Received);
    let pending = Pending { state: "WaitForPermitStart".to_owned(), since: NOW, tries: 0, failure: None };
    let limiter = limits(Some(Breaker { has_trial: true, ..breaker(Cause::Unavailable) }), 3);
    let admission = admitted_by(limiter, Standpoint::HoldsLease);
    let found = conclude(&open, Some(&execution(Status::Running)), Some(&pending), Some(&admission), NOW);
    assert!(
        found.why.contains("permit is for a later time") && found.why.contains("trial is in 60 s"),
        "{found:?}"
    );
    assert!(found.todo.is_empty());
}

#[rstest]
#[case(DocumentState::Received, Some("Begin"))]
#[case(DocumentState::Received, Some("AwaitPermit"))]
#[case(DocumentState::Transferring, Some("AwaitPermit"))]
#[case(DocumentState::Transferring, Some("WaitForPermitStart"))]
#[case(DocumentState::Transferring, Some("TransferDocument"))]
#[case(DocumentState::Transferring, Some("ReportAccepted"))]
#[case(DocumentState::Transferring, Some("ReportFailure"))]
#[case(DocumentState::Transferring, Some("WaitAfterFailure"))]
#[case(DocumentState::Processing, Some("AwaitPermit"))]
#[case(DocumentState::Transferring, None)]
fn refused_key_is_to_be_renewed_wherever_a_document_is_before_the_third_party_has_it(
    #[case] state: DocumentState,
    #[case] step: Option<&str>,
    #[values(false, true)] has_trial: bool,
    #[values(None, Some("ThirdParty.Unauthorized"))] error: Option<&str>,
) {
    let failure = error.map(|error| Failure { error: error.to_owned(), reason: None });
    let pending = step.map(|step| Pending { state: step.to_owned(), since: NOW, tries: 1, failure });
    let limiter = limits(Some(Breaker { has_trial, ..breaker(Cause::Unauthorized) }), 3);
    let todo = limiter.todo(Some("arn:key"));
    let admission = admitted_by(limiter, Standpoint::HoldsLease);
    let document = document(state);
    for status in [None, Some(Status::Running), Some(Status::Broken("failed"))] {
        let execution = status.map(execution);
        let found = conclude(&document, execution.as_ref(), pending.as_ref(), Some(&admission), NOW);
        assert!(found.needs_attention && found.todo.starts_with(&todo), "{found:?}");
        assert_eq!(found.why.matches("refuses our key").count(), 1, "{found:?}");
        let redrive = format!("lectern redrive s1/{}", document.reference.document_id);
        assert_eq!(found.todo.contains(&redrive), status != Some(Status::Running), "{found:?}");
    }
}

#[rstest]
#[case(DocumentState::Processing, Some("AwaitCallback"))]
#[case(DocumentState::Received, Some("BeginVerify"))]
#[case(DocumentState::Verifying, None)]
fn refused_key_does_not_concern_a_document_whose_job_has_ended(
    #[case] state: DocumentState,
    #[case] step: Option<&str>,
) {
    let pending = step.map(|step| Pending { state: step.to_owned(), since: NOW, tries: 1, failure: None });
    let admission = admitted_by(limits(Some(breaker(Cause::Unauthorized)), 3), Standpoint::HoldsLease);
    let execution = execution(Status::Running);
    let found = conclude(&document(state), Some(&execution), pending.as_ref(), Some(&admission), NOW);
    assert!(found.todo.is_empty() && !found.needs_attention, "{found:?}");
}
