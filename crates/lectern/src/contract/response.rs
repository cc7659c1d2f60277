//! Maps the third party's HTTP answers to workflow errors.

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use serde::Deserialize;
use time::OffsetDateTime;

use crate::{
    contract::{json, wire::JobError},
    display_text::Sentence,
    document::Reason,
    error::Error,
    limits::{DEFAULT_RATE_LIMIT_WAIT, MAX_RATE_LIMIT_WAIT, MAX_SUBSCRIBER_WAIT},
};

/// The workflow error for an answer other than 2xx. `body` is the beginning of the answer's body.
///
/// A gateway between us and the third party may answer in its place. So a rejection counts only with the contract's
/// problem document (D03), and after a 502, a 504 or the like it is unknown whether the third party has the document.
pub fn error_of(status: StatusCode, headers: &HeaderMap, body: &[u8], now: OffsetDateTime) -> Error {
    let answered = format!("it answered {}", status.as_u16());
    match status {
        StatusCode::TOO_MANY_REQUESTS => rate_limited(retry_after(headers, now), now),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Unauthorized,
        StatusCode::CONFLICT => Error::PermitAlreadyUsed("the third party still reads an earlier request"),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => Error::Unavailable(answered),
        StatusCode::PAYLOAD_TOO_LARGE if retry_in(body).is_some() => rate_limited(retry_in(body), now),
        status if status.is_client_error() => match problem(body) {
            Some(problem) => Error::Rejected(reason(problem)),
            None => Error::Unavailable(format!("{answered} without a problem document of the contract")),
        },
        // By the contract, the third party has no job after these statuses.
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::SERVICE_UNAVAILABLE => Error::Unavailable(answered),
        status if status.is_server_error() => Error::OutcomeUnknown(answered),
        _ => Error::Unavailable(answered),
    }
}

/// Whether an answer says that the third party does not know the job. A gateway's own 404 does not say so (D03).
pub fn says_unknown_job(status: StatusCode, body: &[u8]) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE)
        && problem(body).is_some_and(|problem| problem.code == "notFound")
}

/// Bounds the wait on both sides. Without a usable time, the wait is the default.
fn rate_limited(seconds: Option<f64>, now: OffsetDateTime) -> Error {
    let wait_s = seconds
        .filter(|seconds| seconds.is_finite())
        .unwrap_or(DEFAULT_RATE_LIMIT_WAIT.as_secs_f64())
        .clamp(1.0, MAX_RATE_LIMIT_WAIT.as_secs_f64());
    Error::RateLimited { retry_at: now + time::Duration::seconds_f64(wait_s) }
}

/// The time that a subscriber's `Retry-After` gives, if it can be read: at most a day from now.
pub fn retry_at(headers: &HeaderMap, now: OffsetDateTime) -> Option<OffsetDateTime> {
    let wait_s = retry_after(headers, now)?.clamp(0.0, MAX_SUBSCRIBER_WAIT.as_secs_f64());
    Some(now + time::Duration::seconds_f64(wait_s))
}

/// Seconds until the time that `Retry-After` gives, as seconds or as an HTTP date.
fn retry_after(headers: &HeaderMap, now: OffsetDateTime) -> Option<f64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        #[expect(clippy::cast_precision_loss, reason = "bounded to minutes right after")]
        return Some(seconds as f64);
    }
    let date = OffsetDateTime::from(httpdate::parse_http_date(text).ok()?);
    Some((date - now).as_seconds_f64())
}

/// Some services answer 413 for an exceeded quota and give the time to wait in the body.
fn retry_in(body: &[u8]) -> Option<f64> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct RetryIn {
        retry_in: f64,
    }
    json::from_slice::<RetryIn>(body).ok().map(|answer| answer.retry_in)
}

/// The problem document of the contract.
#[derive(Deserialize)]
struct Problem {
    code: String,
    #[serde(default)]
    message: Sentence,
}

fn problem(body: &[u8]) -> Option<Problem> {
    json::from_slice(body).ok()
}

/// What a teacher reads about a refusal without a usable message.
pub(crate) const NOT_ACCEPTED: &str = "The processing service does not accept this file.";

/// The reason in a problem document.
fn reason(Problem { code, message }: Problem) -> Reason {
    Reason::new(known_code(&code), message.or(NOT_ACCEPTED))
}

/// The reason of a failed job.
pub fn job_reason(error: &JobError) -> Reason {
    let default = "The processing service could not process this file and gave no reason.";
    Reason::new(known_code(&error.code), error.message.clone().or(default))
}

/// The third party's code, if it is a word; it becomes a dimension of a metric.
fn known_code(code: &str) -> &str {
    let is_word = (1..=64).contains(&code.len())
        && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_word { code } else { "rejected" }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-20 12:00:00 UTC);

    fn wait_s(status: u16, retry_after: Option<&str>, body: &str) -> Option<f64> {
        let mut headers = HeaderMap::new();
        if let Some(text) = retry_after {
            headers.insert(RETRY_AFTER, text.parse().unwrap());
        }
        let error = error_of(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes(), NOW);
        let Error::RateLimited { retry_at } = error else { return None };
        Some((retry_at - NOW).as_seconds_f64())
    }

    #[rstest]
    #[case::seconds(429, Some("30"), "", Some(30.0))]
    #[case::date(429, Some("Fri, 20 Nov 2026 12:01:00 GMT"), "", Some(60.0))]
    #[case::date_in_the_past(429, Some("Fri, 20 Nov 2020 12:01:00 GMT"), "", Some(1.0))]
    #[case::garbage(429, Some("soon"), "", Some(5.0))]
    #[case::negative(429, Some("-5"), "", Some(5.0))]
    #[case::none(429, None, "", Some(5.0))]
    #[case::far_too_long(429, Some("99999999999"), "", Some(900.0))]
    #[case::quota_413(413, None, r#"{"retryIn": 12.5}"#, Some(12.5))]
    #[case::quota_413_absurd(413, None, r#"{"retryIn": 1e300}"#, Some(900.0))]
    #[case::plain_413(413, None, r#"{"code":"tooLarge"}"#, None)]
    fn case_25_wait_is_honoured_and_bounded(
        #[case] status: u16,
        #[case] retry_after: Option<&str>,
        #[case] body: &str,
        #[case] expected: Option<f64>,
    ) {
        assert_eq!(wait_s(status, retry_after, body), expected);
    }

    #[rstest]
    #[case(500, "ThirdParty.Unavailable")]
    #[case(503, "ThirdParty.Unavailable")]
    #[case(302, "ThirdParty.Unavailable")]
    #[case(408, "ThirdParty.Unavailable")]
    #[case(502, "ThirdParty.OutcomeUnknown")]
    #[case(504, "ThirdParty.OutcomeUnknown")]
    #[case(524, "ThirdParty.OutcomeUnknown")]
    #[case(409, "Permit.AlreadyUsed")]
    #[case(401, "ThirdParty.Unauthorized")]
    #[case(403, "ThirdParty.Unauthorized")]
    fn each_status_has_its_error(#[case] status: u16, #[case] name: &str) {
        assert_eq!(error_of(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), b"", NOW).name(), name);
    }

    #[rstest]
    fn d03_refusal_counts_only_with_a_problem_document_of_the_contract(
        #[values(400, 404, 405, 410, 413, 415, 421, 422)] status: u16,
    ) {
        let status = StatusCode::from_u16(status).unwrap();
        let name = |body: &str| error_of(status, &HeaderMap::new(), body.as_bytes(), NOW).name();
        assert_eq!(name(r#"{"code": "unsupported"}"#), "ThirdParty.Rejected");
        for gateway in
            ["", "<html><h1>404 Not Found</h1></html>", "{}", "null", r#"{"message": "Not Found"}"#]
        {
            assert_eq!(name(gateway), "ThirdParty.Unavailable", "{gateway}");
        }
    }

    #[test]
    fn d03_job_is_unknown_only_if_the_third_party_itself_says_so() {
        let unknown = |status: u16, body: &str| {
            says_unknown_job(StatusCode::from_u16(status).unwrap(), body.as_bytes())
        };
        assert!(unknown(404, r#"{"code": "notFound", "message": "x"}"#));
        assert!(unknown(410, r#"{"code": "notFound"}"#));
        assert!(!unknown(404, "<html>404 Not Found</html>"));
        assert!(!unknown(404, r#"{"message": "Not Found"}"#));
        assert!(!unknown(404, r#"{"code": "noSuchRoute"}"#));
        assert!(!unknown(400, r#"{"code": "notFound"}"#));
    }

    #[test]
    fn case_30_rejection_carries_their_reason_made_displayable() {
        let body = br#"{"code":"drmProtected","message":"No\u0007 DRM, please."}"#;
        let error = error_of(StatusCode::UNPROCESSABLE_ENTITY, &HeaderMap::new(), body, NOW);
        assert_eq!(error.reason(), Reason::new("drmProtected", "No DRM, please."));
        let hostile = error_of(StatusCode::BAD_REQUEST, &HeaderMap::new(), br#"{"code":"<script>"}"#, NOW);
        assert_eq!(hostile.reason().code, "rejected");
    }

    #[rstest]
    #[case::bidi_and_escape("Not\u{202e} \u{1b}[31mthis", "Not [31mthis")]
    #[case::line_breaks("Save it\r\nagain.", "Save it again.")]
    #[case::empty(" \u{200b}", "The processing service could not process this file and gave no reason.")]
    fn v03_third_partys_message_is_neutralised_for_the_teacher(#[case] message: &str, #[case] shown: &str) {
        let error = JobError { code: "unreadable".to_owned(), message: message.into() };
        assert_eq!(job_reason(&error).message, shown);
        let body = serde_json::json!({ "code": "unreadable", "message": message }).to_string();
        let refused = error_of(StatusCode::UNPROCESSABLE_ENTITY, &HeaderMap::new(), body.as_bytes(), NOW);
        let shown = if shown.contains("gave no reason") {
            "The processing service does not accept this file."
        } else {
            shown
        };
        assert_eq!(refused.reason().message, shown);
    }

    proptest! {
        #[test]
        fn any_answer_is_bounded_and_never_panics(
            status in 100u16..1000, text in "[ -~]{0,40}", body in prop::collection::vec(any::<u8>(), 0..200)
        ) {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            if let Error::RateLimited { retry_at } = error_of(StatusCode::from_u16(status).unwrap(), &headers, &body, NOW) {
                prop_assert!(retry_at > NOW && retry_at <= NOW + MAX_RATE_LIMIT_WAIT);
            }
        }
    }
}
