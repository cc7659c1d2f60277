//! The effect of a fault on a submission: a refusal, a slow or cut upload, a late or lost answer.

use std::time::Duration;

use http::{HeaderValue, StatusCode};
use time::{OffsetDateTime, format_description::well_known::Rfc2822};
use tokio::time::sleep;

use crate::{
    app::App,
    clock,
    faults::{RetryAfter, SubmissionFault},
    intake::BodyFault,
    jobs::Submitted,
    problem::Problem,
    refusal::Refusal,
};

/// The effect of a fault on a submission that is not refused at once.
#[derive(Debug, Default)]
pub(crate) struct Behaviour {
    /// How reading the body is disturbed.
    pub(crate) body_fault: BodyFault,
    pause: Duration,
    lose_answer: bool,
}

impl Behaviour {
    /// The effect of `fault`, or the refusal that it demands.
    pub(crate) fn of(fault: &SubmissionFault) -> Result<Self, Refusal> {
        let status = |status: u16| StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let problem = match fault {
            SubmissionFault::RateLimited { retry_after } => Problem {
                retry_after: retry_after.as_ref().and_then(retry_after_header),
                ..Problem::new(StatusCode::TOO_MANY_REQUESTS, "rateLimited", "Too many documents at once.")
            },
            SubmissionFault::NoRoom { retry_in } => Problem {
                retry_in_s: Some(*retry_in),
                ..Problem::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "noRoom",
                    "The service has no room for this document now.",
                )
            },
            SubmissionFault::ServerError { status: code } => {
                Problem::new(status(*code), "unavailable", "The service cannot accept documents now.")
            }
            SubmissionFault::Unauthorized { status: code } => {
                Problem::new(status(*code), "unauthorized", "The credentials are refused.")
            }
            SubmissionFault::Rejected { code, message } => {
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code.as_str(), message.as_str())
            }
            SubmissionFault::ResetUpload { after_bytes } => {
                let body_fault = BodyFault { cut_after: Some(*after_bytes), ..BodyFault::default() };
                return Ok(Self { body_fault, ..Self::default() });
            }
            SubmissionFault::SlowUpload { bytes_per_second, pause_ms } => {
                let body_fault = BodyFault { bytes_per_second: *bytes_per_second, ..BodyFault::default() };
                let pause = Duration::from_millis(pause_ms.unwrap_or(0));
                return Ok(Self { body_fault, pause, ..Self::default() });
            }
            SubmissionFault::Unreachable => return Err(Refusal::Cut),
            SubmissionFault::LoseAnswer => return Ok(Self { lose_answer: true, ..Self::default() }),
        };
        Err(problem.into())
    }

    /// Returns the answer to an accepted submission after the fault's pause, unless the fault loses the answer.
    pub(crate) async fn finish(self, app: &App, submitted: Submitted) -> Result<Submitted, Refusal> {
        app.usage.accepted();
        sleep(self.pause).await;
        if self.lose_answer { Err(Refusal::Cut) } else { Ok(submitted) }
    }
}

fn retry_after_header(retry_after: &RetryAfter) -> Option<HeaderValue> {
    match retry_after {
        RetryAfter::Seconds(seconds) => Some(HeaderValue::from(*seconds)),
        RetryAfter::Date { date_in_s } => {
            let date = clock::now().checked_add(time::Duration::seconds(*date_in_s))?;
            HeaderValue::from_str(&http_date(date)?).ok()
        }
        RetryAfter::Text(text) => HeaderValue::from_str(text).ok(),
    }
}

/// An HTTP date such as `Fri, 20 Nov 2026 16:31:19 GMT`: RFC 2822 with `GMT` as the name of UTC.
fn http_date(date: OffsetDateTime) -> Option<String> {
    let text = date.to_offset(time::UtcOffset::UTC).format(&Rfc2822).ok()?;
    text.strip_suffix("+0000").map(|text| format!("{text}GMT"))
}
