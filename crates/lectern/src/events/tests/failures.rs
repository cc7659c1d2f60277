//! What happens when requests fail: backoff, `Retry-After`, the circuit breaker, giving up and disabling.

use std::time::Duration;

use proptest::prelude::*;
use rstest::rstest;
use time::{Duration as Span, OffsetDateTime};

use super::{
    super::*,
    deliveries::{Deliveries, delivered, refused},
    fixtures::subscriber,
};
use crate::testing::world::START;

const DAYS: fn(u64) -> Duration = |days| Duration::from_hours(24 * days);

fn portal() -> Deliveries {
    Deliveries::new(subscriber("portal"))
}

/// One request at a time.
fn one_by_one() -> Deliveries {
    Deliveries::new(Subscriber { max_in_flight: 1, ..subscriber("portal") })
}

/// The waits after failures of one event, in seconds.
fn waits(deliveries: &mut Deliveries, failures: usize) -> Vec<f64> {
    let mut waits = Vec::new();
    for _ in 0..failures {
        assert_eq!(deliveries.run(refused).len(), 1);
        let held = &deliveries.state.summary().retrying[0];
        waits.push((held.due_at.to_date() - deliveries.now).as_seconds_f64());
        // The breaker, which opens meanwhile, asks for minutes.
        deliveries.now = deliveries.next_due().unwrap();
    }
    waits
}

#[test]
fn waits_double_from_5_seconds_to_4_hours() {
    let mut deliveries = portal();
    deliveries.add(["a"]);
    let hours = 14_400.0;
    let expected = [
        5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 1280.0, 2560.0, 5120.0, 10240.0, hours, hours,
        hours,
    ];
    assert_eq!(waits(&mut deliveries, 15), expected);
}

proptest! {
    #[test]
    fn wait_is_random_between_nothing_and_the_backoff(jitter in 0.0..=1.0f64, failures in 1..20usize) {
        let mut deliveries = portal();
        deliveries.jitter = jitter;
        deliveries.add(["a"]);
        let mut longest = 5.0f64;
        for wait in waits(&mut deliveries, failures) {
            prop_assert!((0.0..=longest).contains(&wait) && (wait - longest * jitter).abs() < 1e-5, "{wait}");
            longest = (longest * 2.0).min(14_400.0);
        }
    }
}

#[test]
fn time_that_the_subscriber_asks_for_is_waited_by_all_its_events() {
    let mut deliveries = portal();
    deliveries.add(["a", "b"]);
    let until = START + Span::minutes(10);
    assert_eq!(deliveries.round(|_| Answer::RateLimited(429, Some(until))).len(), 2);
    deliveries.add(["c"]);
    assert_eq!(deliveries.next_due(), Some(until));
    deliveries.later(Duration::from_secs(599));
    assert_eq!(deliveries.run(delivered), [[0; 0]; 0]);
    deliveries.later(Duration::from_secs(1));
    let end = deliveries.now + Span::minutes(1);
    deliveries.run_until(end, |_, _| Answer::Delivered);
    assert_eq!(deliveries.outcome.delivered, [0, 1, 2]);
}

#[test]
fn time_in_the_past_and_none_at_all_slow_down_and_back_off() {
    for until in [None, Some(START - Span::hours(1))] {
        let mut deliveries = portal();
        deliveries.add(["a"]);
        deliveries.run(|_| Answer::RateLimited(429, until));
        assert_eq!(deliveries.next_due_s(), Some(5.0), "the first backoff");
        // The rate is halved, at first.
        deliveries.later_s(5);
        deliveries.add((0..100).map(|number| format!("s{number}")));
        let start = deliveries.now;
        deliveries.run_until(start + Span::seconds(25), |_, _| Answer::Delivered);
        let sent = deliveries.outcome.delivered.len();
        assert!((100..=101).contains(&sent) || sent < 25 * 10, "{sent}");
    }
}

#[test]
fn rate_limit_is_no_failure_of_the_endpoint_for_the_circuit_breaker() {
    let mut deliveries = one_by_one();
    deliveries.add((0..40).map(|number| format!("s{number}")));
    let end = START + Span::minutes(10);
    deliveries.run_until(end, |_, _| Answer::RateLimited(429, None));
    assert!(!deliveries.state.summary().breaker_open);
}

/// Fails ten requests, one after the other.
fn opened() -> Deliveries {
    let mut deliveries = one_by_one();
    deliveries.add((0..10).map(|number| format!("s{number}")));
    for failure in 0..10 {
        assert!(!deliveries.state.summary().breaker_open, "after {failure} failures");
        assert_eq!(deliveries.round(refused), [[failure]]);
    }
    assert!(deliveries.state.summary().breaker_open);
    deliveries.subscriber.max_in_flight = 5;
    deliveries
}

#[test]
fn breaker_opens_after_ten_failures_and_then_one_request_at_a_time_tries() {
    let mut deliveries = opened();
    deliveries.add(["t0", "t1", "t2"]);
    assert_eq!(deliveries.take(), []);
    assert_eq!(deliveries.next_due_s(), Some(15.0));
    deliveries.later_s(15);
    let trial = deliveries.take();
    assert_eq!(trial.len(), 1);
    assert_eq!(trial[0].numbers, [10], "an event that has not failed");
    assert_eq!(deliveries.take(), [], "while the trial is in flight");
    assert!(deliveries.next_due_s().unwrap() > 0.0);
    deliveries.report(&trial[0], Answer::Unreachable);
    assert_eq!(deliveries.next_due_s(), Some(30.0), "the pause doubles");
    deliveries.later_s(30);
    assert_eq!(deliveries.round(delivered), [[11]]);
    assert!(!deliveries.state.summary().breaker_open);
    // The rate begins anew, without a burst.
    assert_eq!((deliveries.take().len(), deliveries.next_due_s()), (0, Some(0.1)));
    deliveries.later_s(1);
    assert_eq!(deliveries.take().len(), 5);
}

#[test]
fn trial_is_a_repeated_event_if_there_is_no_other() {
    let mut deliveries = opened();
    deliveries.later_s(15);
    assert_eq!(deliveries.round(delivered).len(), 1);
    let summary = deliveries.state.summary();
    assert_eq!((summary.breaker_open, summary.waiting, summary.failing_since), (false, 9, None));
}

/// A trial that prefers new events must see them, however many events are repeated.
#[test]
fn events_that_always_fail_do_not_hold_the_breaker_open() {
    let mut deliveries = opened();
    deliveries.jitter = 0.0;
    deliveries.add(["good"]);
    deliveries.subscriber.max_in_flight = 1;
    deliveries.later_s(15);
    assert_eq!(
        deliveries.round(|numbers| if numbers == [10] { Answer::Delivered } else { Answer::Refused(400) }),
        [[10]]
    );
    assert!(!deliveries.state.summary().breaker_open);
}

#[test]
fn trial_whose_run_has_died_is_over_with_its_lease() {
    let mut deliveries = opened();
    deliveries.later_s(15);
    let before = deliveries.state.clone();
    let trial = deliveries.take();
    assert_eq!(trial.len(), 1);
    deliveries.state = deliveries.state.in_flight(&before, deliveries.state.tail());
    assert_eq!(deliveries.take(), []);
    assert_eq!(
        deliveries.next_due_s(),
        Some(40.0),
        "a request takes 10 s at most, and the lease ends 30 s later"
    );
    deliveries.later_s(40);
    assert_eq!(deliveries.take().len(), 1);
}

/// Until this day, with another event every 12 hours, which is accepted if it is the only one of its request.
fn run_with_others(
    deliveries: &mut Deliveries,
    day: u64,
    refused: &[u64],
) -> Vec<(OffsetDateTime, Vec<u64>)> {
    let mut sent = Vec::new();
    while deliveries.now < START + DAYS(day) {
        deliveries.add(["other"]);
        sent.extend(deliveries.run_until(deliveries.now + DAYS(1) / 2, |numbers, _| {
            if numbers.iter().any(|number| refused.contains(number)) {
                Answer::Refused(422)
            } else {
                Answer::Delivered
            }
        }));
    }
    sent
}

/// When the last request with this event alone was made.
fn last_with(number: u64, sent: &[(OffsetDateTime, Vec<u64>)]) -> OffsetDateTime {
    sent.iter().rfind(|(_, numbers)| *numbers == [number]).unwrap().0
}

#[test]
fn event_that_fails_for_three_days_while_others_succeed_is_given_up_and_its_submission_goes_on() {
    let mut deliveries = portal();
    deliveries.add(["a", "a"]);
    run_with_others(&mut deliveries, 3, &[0]);
    assert_eq!((deliveries.outcome.dead.len(), deliveries.state.waiting()), (0, 2));
    let sent = run_with_others(&mut deliveries, 4, &[0]);
    assert_eq!(deliveries.outcome.dead, [DeadLetter { number: 0, status: Some(422) }]);
    assert!(
        last_with(0, &sent) < START + DAYS(3) + Duration::from_hours(5),
        "with the next request after three days"
    );
    assert!(deliveries.outcome.delivered.contains(&1), "the next of its submission");
    assert_eq!((deliveries.state.waiting(), deliveries.state.summary().dead_letters), (0, 1));
    assert_eq!(deliveries.outcome.disabled, None);
}

/// Seen in the simulation: an event that had failed once, beside a poisonous one of its batch and submission, was given up
/// together with it, and was never sent again.
#[test]
fn event_that_waits_for_a_poisonous_one_is_not_given_up_with_it_and_has_three_days_of_its_own() {
    let mut deliveries = Deliveries::new(Subscriber { max_batch: 3, ..subscriber("portal") });
    deliveries.add(["a", "a", "a"]);
    run_with_others(&mut deliveries, 4, &[0, 1]);
    assert_eq!(deliveries.outcome.dead, [DeadLetter { number: 0, status: Some(422) }]);
    let sent = run_with_others(&mut deliveries, 7, &[1]);
    assert_eq!(deliveries.outcome.dead[1..], [DeadLetter { number: 1, status: Some(422) }]);
    assert!(last_with(1, &sent) > START + DAYS(6));
    assert!(deliveries.outcome.delivered.contains(&2));
    assert_eq!((deliveries.state.waiting(), deliveries.outcome.disabled), (0, None));
}

#[test]
fn subscriber_is_disabled_when_no_delivery_has_succeeded_for_three_days_and_nothing_is_given_up() {
    let mut deliveries = portal();
    deliveries.add(["a", "b"]);
    let end = START + DAYS(3) - Span::MICROSECOND;
    deliveries.run_until(end, |_, _| Answer::Unreachable);
    assert_eq!(deliveries.outcome, Outcome::default());
    deliveries.run_until(START + DAYS(4), |_, _| Answer::Unreachable);
    let Some((DisabledReason::Unreachable, number, None)) = deliveries.outcome.disabled else {
        panic!("{:?}", deliveries.outcome)
    };
    assert!(number < 2);
    assert_eq!((deliveries.outcome.dead.len(), deliveries.state.waiting()), (0, 2));
}

#[test]
fn one_success_within_three_days_keeps_a_subscriber_active() {
    let mut deliveries = portal();
    deliveries.add(["a", "b"]);
    let answer = |numbers: &[u64], now| {
        if numbers == [1] && now >= START + DAYS(2) { Answer::Delivered } else { Answer::Refused(503) }
    };
    deliveries.run_until(START + DAYS(3) + Duration::from_hours(5), answer);
    assert_eq!(deliveries.outcome.disabled, None);
    assert_eq!(deliveries.outcome.dead.len(), 1, "the other event is given up");
}

/// Seen in this test: the failures of an event that was given up counted for ever.
#[test]
fn failure_long_after_an_event_was_given_up_does_not_disable_the_subscriber() {
    let mut deliveries = portal();
    deliveries.add(["a"]);
    run_with_others(&mut deliveries, 3, &[0]);
    deliveries.run_until(START + DAYS(3) + Duration::from_hours(5), |_, _| Answer::Refused(422));
    assert_eq!((deliveries.outcome.dead.len(), deliveries.state.waiting()), (1, 0));
    assert_eq!(deliveries.state.summary().failing_since, None, "nothing fails any more");
    // A quiet week.
    deliveries.now = START + DAYS(11);
    deliveries.add(["c"]);
    deliveries.run(refused);
    assert_eq!(deliveries.outcome.disabled, None);
}

#[test]
fn failure_long_after_failing_events_were_skipped_does_not_disable_the_subscriber() {
    let mut deliveries = portal();
    deliveries.add(["a"]);
    deliveries.run(refused);
    deliveries.state.skip();
    deliveries.later(DAYS(7));
    deliveries.add(["b"]);
    deliveries.run(refused);
    assert_eq!(deliveries.outcome.disabled, None);
}

/// Seen in this test: a success counted only if it came before the failure of the same round.
#[rstest]
#[case::failure_first(0)]
#[case::success_first(1)]
fn success_beside_a_failure_keeps_the_subscriber_active(#[case] failing: usize) {
    let mut deliveries = portal();
    deliveries.add(["a", "b"]);
    deliveries.round(refused);
    deliveries.later(DAYS(3));
    let taken = deliveries.take();
    assert_eq!(taken.len(), 2);
    for (index, sending) in taken.iter().enumerate() {
        let answer = if index == failing { Answer::Refused(500) } else { Answer::Delivered };
        deliveries.report(sending, answer);
    }
    assert_eq!(deliveries.outcome.disabled, None);
}

#[test]
fn answer_410_disables_at_once_and_the_event_waits() {
    let mut deliveries = portal();
    deliveries.add(["a", "a", "b"]);
    deliveries.round(|numbers| if numbers == [2] { Answer::Gone } else { Answer::Delivered });
    assert_eq!(deliveries.outcome.disabled, Some((DisabledReason::Gone, 2, Some(410))));
    assert_eq!((&deliveries.outcome.delivered, deliveries.state.waiting()), (&vec![0], 2));
    assert!(!deliveries.state.summary().breaker_open, "it has answered");
}

#[rstest]
#[case(Answer::Delivered, None)]
#[case(Answer::RateLimited(503, None), Some(503))]
#[case(Answer::Gone, Some(410))]
#[case(Answer::Refused(302), Some(302))]
#[case(Answer::Unreachable, None)]
fn answer_says_its_status(#[case] answer: Answer, #[case] status: Option<u16>) {
    assert_eq!(answer.status(), status);
}
