//! The third party's limits under load: never exceeded, nearly fully used, and shared fairly.

use third_party::{FaultRule, JobFault, ReportedStatus};

use super::load::{
    MAX_IN_FLIGHT, REQUESTS_PER_SECOND, assert_all_ready, assert_no_lease_is_left, assert_within_limits,
    documents, limit, states, summary, upload_many,
};
use crate::case::Case;
use lectern::document::DocumentState;

/// The share of the binding limit that a run has to use.
const USED: f64 = 0.9;

#[tokio::test]
async fn rate_is_never_above_the_limit_and_uses_nine_tenths_of_it() {
    let (noisy, quiet) = (Case::begin(), Case::begin());
    limit(&noisy.stack).await;
    let uploads = upload_many(&noisy, documents()).await;
    // A submission of one document does not wait for the hundreds of another submission that came before it.
    let one = upload_many(&quiet, 1).await;
    assert_all_ready(&quiet, &one).await;
    let open = uploads.len() - states(&noisy.stack, &noisy.submission).await[&DocumentState::Ready];
    let at_most_before = usize::try_from(MAX_IN_FLIGHT).unwrap();
    assert!(
        open * 2 > uploads.len().saturating_sub(at_most_before),
        "the single document waited for {} other documents: only {open} are still open",
        uploads.len()
    );

    assert_all_ready(&noisy, &uploads).await;
    assert_no_lease_is_left(&noisy.stack, &uploads).await;
    let usage = noisy.stack.usage().await;
    println!("Bound by the rate, {} documents: {}", uploads.len() + 1, summary(&usage));
    assert_within_limits(&usage);
    assert_eq!(usage.accepted, uploads.len() as u64 + 1, "each document was submitted once");
    let average = usage.average_requests_per_second.unwrap();
    println!("The run used {:.1} % of the rate.", 100.0 * average / REQUESTS_PER_SECOND);
    assert!(average >= used(uploads.len()) * REQUESTS_PER_SECOND, "{}", summary(&usage));
    for upload in uploads.iter().chain(&one) {
        let entered = noisy.stack.states_entered(upload).await;
        let count = |state: &str| entered.iter().filter(|entered| *entered == state).count();
        // The third party refused no document, so each reported failure is a permit that expired on a busy machine.
        let waits = count("WaitForPermitStart") - count("ReportFailure");
        assert_eq!(waits, 1, "{} waited more than once: {entered:?}", upload.id());
    }
}

#[tokio::test]
async fn jobs_in_flight_are_never_above_the_limit_and_use_nearly_all_of_it() {
    // The jobs are so slow that the rate alone would allow more than twice as many in flight as the limit does.
    const JOB_MS: u64 = 10_000;
    let case = Case::begin();
    let slow = JobFault::LateCallback { delay_ms: JOB_MS, status: ReportedStatus::Working };
    let rule = case.stack.add_fault(&FaultRule::for_all(slow)).await;
    limit(&case.stack).await;
    let uploads = upload_many(&case, documents()).await;
    // While documents wait for a permit, all leases are held.
    let last = uploads.len() as u64 - 1;
    let busy =
        case.stack.usage_when("nearly all documents are accepted", |usage| usage.accepted >= last).await;
    case.stack.remove_fault(rule).await;
    assert_all_ready(&case, &uploads).await;
    assert_no_lease_is_left(&case.stack, &uploads).await;
    let usage = case.stack.usage().await;
    println!("Bound by the jobs in flight, {} documents: {}", uploads.len(), summary(&usage));
    assert_within_limits(&usage);
    assert_eq!(usage.peak_in_flight, MAX_IN_FLIGHT, "all leases were held at some time");
    let share = busy.time_weighted_in_flight.unwrap() / f64::from(MAX_IN_FLIGHT);
    println!("While documents waited, {:.1} % of the leases were in use.", 100.0 * share);
    assert!(share >= used(uploads.len()), "{}", summary(&busy));
}

/// The share of a limit that a run of this size has to use. The beginning, when the jobs in flight grow only as fast as
/// the rate limit allows, weighs more in a small run.
fn used(documents: usize) -> f64 {
    if documents >= 300 { USED } else { 0.75 }
}
