//! Who is let in: by the API key, by what is measured and limited, and by a service that cannot be reached.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};

use crate::{
    app::App, faults::SubmissionFault, limits::Place, problem::Problem, refusal::Refusal,
    requests::SubmissionView,
};

/// Lets a submission in whose headers have arrived. Each one with a valid API key is measured and counts for the
/// rate, whatever becomes of it.
///
/// # Errors
/// The key is wrong, the service is not to be reached, or the submission comes too fast.
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

/// Lets a request for a job's status in; `key` is the job's.
///
/// # Errors
/// The API key is wrong, or the service is not to be reached.
pub(crate) fn admit_question(app: &App, headers: &HeaderMap, key: &str) -> Result<(), Refusal> {
    app.authorize(headers)?;
    if app.faults.unreachable(key) { Err(Refusal::Cut) } else { Ok(()) }
}

/// Takes the place in flight of the job that `key` is to have.
///
/// # Errors
/// There is none.
pub(crate) fn reserve(app: &App, key: &str) -> Result<Place, Problem> {
    app.limits.reserve(key).ok_or_else(|| {
        app.usage.refused_by_in_flight();
        come_back("tooManyJobs", "Too many documents are being processed.", Duration::from_secs(1))
    })
}

/// 429, with the wait in whole seconds that are never too few.
fn come_back(code: &str, message: &str, wait: Duration) -> Problem {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Problem {
        retry_after: Some(HeaderValue::from(seconds.max(1))),
        ..Problem::new(StatusCode::TOO_MANY_REQUESTS, code, message)
    }
}
