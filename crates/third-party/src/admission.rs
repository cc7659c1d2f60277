//! Decides whether a request is admitted: by its API key, the limits, and the fault of an unreachable service.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};

use crate::{
    app::App, faults::SubmissionFault, limits::Lease, problem::Problem, refusal::Refusal,
    requests::SubmissionView,
};

/// Admits or refuses a submission as soon as its headers have arrived. Every submission with a valid API key is
/// measured and counts towards the rate limit, even if it is refused later.
///
/// # Errors
/// The API key is wrong, a fault makes the service unreachable, or the rate limit is exceeded.
pub(crate) fn admit(app: &App, headers: &HeaderMap, note: &mut SubmissionView) -> Result<(), Refusal> {
    app.authorize(headers)?;
    let within = app.limits.admit(app.usage.arrived());
    if app.faults.unreachable(&note.idempotency_key) {
        note.fault = Some(SubmissionFault::Unreachable);
        return Err(Refusal::Cut);
    }
    within.map_err(|wait| {
        app.usage.refused_by_rate();
        come_back("rateLimited", "Too many documents at once.", wait).into()
    })
}

/// Admits or refuses a request for the status of the job with this idempotency key.
///
/// # Errors
/// The API key is wrong, or a fault makes the service unreachable.
pub(crate) fn admit_status_request(app: &App, headers: &HeaderMap, key: &str) -> Result<(), Refusal> {
    app.authorize(headers)?;
    if app.faults.unreachable(key) { Err(Refusal::Cut) } else { Ok(()) }
}

/// Takes a lease for the job of this idempotency key.
///
/// # Errors
/// All leases are taken.
pub(crate) fn reserve(app: &App, key: &str) -> Result<Lease, Problem> {
    app.limits.reserve(key).ok_or_else(|| {
        app.usage.refused_by_in_flight();
        come_back("tooManyJobs", "Too many documents are being processed.", Duration::from_secs(1))
    })
}

/// A 429 whose `Retry-After` is `wait`, rounded up to whole seconds.
fn come_back(code: &str, message: &str, wait: Duration) -> Problem {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Problem {
        retry_after: Some(HeaderValue::from(seconds.max(1))),
        ..Problem::new(StatusCode::TOO_MANY_REQUESTS, code, message)
    }
}
