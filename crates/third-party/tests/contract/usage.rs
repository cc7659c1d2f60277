//! The usage that the server measures.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use third_party::{Limits, SubmissionFault, UsageView};

use crate::support::{API_KEY, Harness, NOTES, problem};

async fn usage(harness: &Harness) -> UsageView {
    harness.admin(Method::GET, "usage").send().await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn a_new_server_has_no_usage() {
    let harness = Harness::start().await;
    let answer = harness.admin(Method::GET, "usage").send().await.unwrap();
    let expected = json!({
        "requests": 0,
        "accepted": 0,
        "refusedByRate": 0,
        "refusedByInFlight": 0,
        "firstRequestAtMs": null,
        "lastRequestAtMs": null,
        "maxRequestsInAnySecond": 0,
        "averageRequestsPerSecond": null,
        "inFlight": 0,
        "peakInFlight": 0,
        "timeWeightedInFlight": null,
        "arrivalsMs": [],
    });
    assert_eq!(answer.json::<Value>().await.unwrap(), expected);
    let anonymous = harness.client.get(format!("{}/admin/usage", harness.server.url())).bearer_auth(API_KEY);
    assert_eq!(problem(anonymous.send().await.unwrap()).await.0, 401);
}

#[tokio::test]
async fn every_submission_is_measured_whatever_its_outcome() {
    let harness = Harness::start_with(|config| config.delay = Duration::from_hours(1)).await;
    harness.fault_once(SubmissionFault::LoseAnswer);
    assert!(harness.push("text/plain", NOTES).send().await.is_err());
    assert_eq!(harness.push_notes().await.status(), StatusCode::OK);
    harness.fault_once(SubmissionFault::RateLimited { retry_after: None });
    assert_eq!(problem(harness.push_notes().await).await.0, 429);
    harness.fault_once(SubmissionFault::Unreachable);
    assert!(harness.push("text/plain", NOTES).send().await.is_err());
    assert_eq!(harness.push_notes_as("two words").await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(harness.push_notes_as("another-1").await.status(), StatusCode::CREATED);
    let anonymous = harness.client.post(format!("{}/v1/jobs/push", harness.server.url()));
    assert_eq!(problem(anonymous.send().await.unwrap()).await.0, 401);

    harness.server.set_limits(Limits { max_in_flight: Some(2), ..Limits::default() }).unwrap();
    assert_eq!(harness.push_notes_as("third-1").await.status(), StatusCode::TOO_MANY_REQUESTS);
    let one = Limits { requests_per_second: Some(0.001), ..Limits::default() };
    harness.server.set_limits(one).unwrap();
    assert_eq!(harness.push_notes().await.status(), StatusCode::OK);
    assert_eq!(harness.push_notes().await.status(), StatusCode::TOO_MANY_REQUESTS);

    let usage = usage(&harness).await;
    assert_eq!((usage.requests, usage.accepted), (9, 4));
    assert_eq!((usage.refused_by_rate, usage.refused_by_in_flight), (1, 1));
    assert_eq!((usage.in_flight, usage.peak_in_flight), (2, 2));
    assert!((1.0..2.0).contains(&usage.time_weighted_in_flight.unwrap()));
    assert_eq!(usage.arrivals_ms.len(), 9);
    assert!(usage.arrivals_ms.is_sorted() && usage.arrivals_ms[0] == 0.0);
}

#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "the test compares the server's times of day with this machine's"
)]
async fn the_times_agree_with_each_other_and_with_the_time_of_day() {
    let now_ms = || time::OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
    let harness = Harness::start().await;
    let begun = now_ms();
    for _ in 0..5 {
        harness.push_notes().await;
    }
    let usage = usage(&harness).await;
    let (first, last) = (usage.first_request_at_ms.unwrap(), usage.last_request_at_ms.unwrap());
    // The two clocks may differ a little.
    assert!((begun - 50..=now_ms() + 50).contains(&i128::from(first)));
    let lasted_ms = usage.arrivals_ms[4];
    let between_ms = Duration::from_millis(last.abs_diff(first)).as_secs_f64() * 1000.0;
    assert!((between_ms - lasted_ms).abs() <= 1.0, "each time is rounded to a millisecond");
    assert!((usage.average_requests_per_second.unwrap() - 4000.0 / lasted_ms).abs() < 1e-6);
    if lasted_ms < 1000.0 {
        assert_eq!(usage.max_requests_in_any_second, 5);
    }
}

#[tokio::test]
async fn a_reset_keeps_the_jobs_in_flight() {
    let harness = Harness::start_with(|config| config.delay = Duration::from_hours(1)).await;
    harness.push_notes().await;
    let reset = harness.admin(Method::DELETE, "usage").send().await.unwrap();
    assert_eq!(reset.status(), StatusCode::NO_CONTENT);
    let usage = usage(&harness).await;
    assert_eq!((usage.requests, usage.accepted, usage.first_request_at_ms), (0, 0, None));
    assert_eq!((usage.in_flight, usage.peak_in_flight), (1, 1));
    harness.push_notes_as("another-1").await;
    assert_eq!(harness.server.usage().peak_in_flight, 2);
    harness.server.reset_usage();
    assert_eq!(harness.server.usage().requests, 0);
}
