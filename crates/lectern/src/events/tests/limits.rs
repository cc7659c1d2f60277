//! The limits of one subscriber: requests per second and in flight, and the size of its state.

use std::time::Duration;

use proptest::prelude::*;
use time::OffsetDateTime;

use super::{
    super::*,
    deliveries::{Deliveries, delivered},
    fixtures::{Meter, subscriber},
};
use crate::testing::world::START;

#[test]
fn rate_is_kept_exactly_while_events_wait() {
    let mut deliveries = Deliveries::new(subscriber("portal"));
    deliveries.subscriber.is_ordered = false;
    deliveries.add(["a"; 600]);
    let end = START + Duration::from_secs(30);
    let sent = deliveries.run_until(end, |_, _| Answer::Delivered).len();
    // 10 per second, and those of the two seconds before, which were not used.
    assert!((315..=322).contains(&sent), "{sent}");
}

#[test]
fn slow_rate_is_kept_too() {
    let mut deliveries = Deliveries::new(Subscriber { requests_per_second: 0.1, ..subscriber("portal") });
    deliveries.add((0..20).map(|number| format!("s{number}")));
    let sent = deliveries.run_until(START + Duration::from_secs(100), |_, _| Answer::Delivered);
    let seconds: Vec<i64> = sent.iter().map(|(at, _)| (*at - START).whole_seconds()).collect();
    assert_eq!(seconds, [0, 0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
}

#[test]
fn no_more_requests_are_in_flight_than_allowed() {
    let mut deliveries = Deliveries::new(Subscriber { max_in_flight: 3, ..subscriber("portal") });
    deliveries.add((0..10).map(|number| format!("s{number}")));
    let first = deliveries.take();
    assert_eq!(first.len(), 3);
    assert_eq!(deliveries.take(), []);
    deliveries.report(&first[1], Answer::Delivered);
    deliveries.report(&first[2], Answer::Refused(500));
    assert_eq!(deliveries.take().len(), 2);
    assert_eq!(deliveries.state.summary().in_flight, 3);
}

#[test]
fn requests_of_a_run_that_died_count_until_their_leases_end() {
    let mut deliveries = Deliveries::new(Subscriber { max_in_flight: 3, ..subscriber("portal") });
    deliveries.add((0..10).map(|number| format!("s{number}")));
    let before = deliveries.state.clone();
    assert_eq!(deliveries.take().len(), 3);
    deliveries.state = deliveries.state.in_flight(&before, 10);
    assert_eq!((deliveries.take().len(), deliveries.next_due_s()), (0, Some(38.0)));
    deliveries.later_s(38);
    assert_eq!(deliveries.take().len(), 1, "each lease began with its reservation");
    deliveries.later_s(1);
    assert_eq!(deliveries.take().len(), 2);
}

#[test]
fn state_that_is_stored_while_requests_are_in_flight_loses_no_event() {
    let mut deliveries = Deliveries::new(subscriber("portal"));
    deliveries.add(["a", "b", "a", "c"]);
    deliveries.round(|numbers| if numbers == [0] { Answer::Refused(500) } else { Answer::Delivered });
    deliveries.later_s(5);
    let first_unstored = deliveries.state.tail();
    deliveries.add(["a", "d"]);
    let before = deliveries.state.clone();
    let taken = deliveries.take();
    assert_eq!(taken.iter().map(|sending| sending.numbers.clone()).collect::<Vec<_>>(), [[0], [5]]);
    let stored = deliveries.state.in_flight(&before, first_unstored);
    assert_eq!(stored.summary().in_flight, 2, "the reservations count");
    assert_eq!((stored.tail(), stored.waiting()), (first_unstored, 2), "new events are only in the message");
    assert_eq!((stored.is_waiting(0), stored.is_waiting(2)), (true, true));
    let json = serde_json::to_string(&stored).unwrap();
    assert_eq!(serde_json::from_str::<DeliveryState>(&json).unwrap(), stored);

    // The run dies, and the message is delivered again.
    deliveries.state = stored;
    deliveries.add(["a", "d"]);
    deliveries.later_s(41);
    let end = deliveries.now + Duration::from_mins(1);
    deliveries.run_until(end, |_, _| Answer::Delivered);
    assert_eq!(deliveries.outcome.delivered[2..], [0, 5, 2, 4]);
    assert_eq!(deliveries.state.waiting(), 0);
}

#[test]
fn later_round_stores_what_the_earlier_ones_delivered() {
    let mut deliveries = Deliveries::new(Subscriber { max_in_flight: 2, ..subscriber("portal") });
    deliveries.add(["a", "b", "c", "d"]);
    deliveries.round(delivered);
    let before = deliveries.state.clone();
    assert_eq!(deliveries.take().len(), 2);
    let stored = deliveries.state.in_flight(&before, 4);
    assert_eq!(
        (0..4).map(|number| stored.is_waiting(number)).collect::<Vec<_>>(),
        [false, false, true, true]
    );
}

#[test]
fn state_holds_a_bounded_number_of_events_and_fits_into_an_item() {
    let limit = DeliveryState::MAX_HELD;
    let subscriber = Subscriber {
        requests_per_second: 100.0,
        max_in_flight: 50,
        max_batch: 100,
        is_ordered: false,
        ..subscriber("portal")
    };
    let mut deliveries = Deliveries::new(subscriber);
    deliveries.add((0..limit + 500).map(|number| format!("{number:0>64}")));
    assert_eq!(deliveries.round(|_| Answer::RateLimited(429, None)).len(), 15);
    let fresh = deliveries.state.first_fresh();
    assert_eq!((deliveries.state.summary().retrying.len(), fresh), (limit, Some(limit as u64)));
    deliveries.later_s(60);
    let taken = deliveries.take();
    assert_eq!(taken.len(), 50);
    assert!(taken.iter().all(|sending| sending.numbers[0] < limit as u64), "no event that it could not hold");
    let json = serde_json::to_string(&deliveries.state).unwrap();
    assert!(json.len() < 400_000, "{}", json.len());

    for sending in &taken {
        deliveries.report(sending, Answer::Delivered);
    }
    for _ in 0..60 {
        deliveries.later_s(1);
        deliveries.run(delivered);
    }
    assert_eq!((deliveries.outcome.delivered.len(), deliveries.state.waiting()), (limit + 500, 0));
}

#[test]
fn events_behind_a_failing_one_are_bounded_too_and_none_is_lost() {
    let limit = DeliveryState::MAX_HELD;
    let subscriber = Subscriber { requests_per_second: 100.0, max_in_flight: 50, ..subscriber("portal") };
    let mut deliveries = Deliveries::new(subscriber);
    deliveries.add(vec!["a"; limit + 100]);
    deliveries.add(["b"]);
    for _ in 0..limit / 50 {
        deliveries.run(|numbers| if numbers == [0] { Answer::Refused(500) } else { Answer::Delivered });
    }
    assert_eq!(deliveries.state.summary().blocked, limit as u64 - 1);
    assert!(deliveries.next_due_s().unwrap() > 0.0, "no run is started while nothing can be taken");
    deliveries.later_s(5);
    deliveries.run(delivered);
    let sent = deliveries.outcome.delivered.len() as u64;
    assert!(sent > 150);
    deliveries.outcome.delivered.retain(|number| *number < limit as u64 + 100);
    assert_eq!(deliveries.outcome.delivered, (0..sent - 1).collect::<Vec<_>>());
    assert_eq!(deliveries.state.waiting(), limit as u64 + 101 - sent);
}

#[test]
fn timer_is_sent_only_if_none_of_before_ends_soon_enough() {
    let mut state = DeliveryState::default();
    let at = |seconds| Timestamp::from(START + Duration::from_secs(seconds));
    assert!(state.wake_at(at(60)));
    assert!(!state.wake_at(at(60)));
    assert!(!state.wake_at(at(90)), "the run at 60 s will send it");
    assert!(state.wake_at(at(30)));
    state.advance_to(START + Duration::from_secs(20));
    assert!(!state.wake_at(at(45)));
    state.advance_to(START + Duration::from_secs(30));
    assert!(state.wake_at(at(45)), "the timer has ended");
}

/// What happens in the simulation.
#[derive(Clone, Copy, Debug)]
enum Step {
    Add(u8),
    Later(u64),
    /// The requests in flight are answered.
    Answer(Answers),
    /// The run dies.
    Die,
}

#[derive(Clone, Copy, Debug)]
enum Answers {
    All,
    Refused,
    RateLimited(Option<u64>),
}

impl Answers {
    fn answer(self, now: OffsetDateTime) -> Answer {
        match self {
            Self::All => Answer::Delivered,
            Self::Refused => Answer::Refused(500),
            Self::RateLimited(wait) => {
                Answer::RateLimited(429, wait.map(|seconds| now + Duration::from_secs(seconds)))
            }
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..5u8).prop_map(Step::Add),
        6 => prop_oneof![0..300u64, 0..3_000u64, 0..60_000u64].prop_map(Step::Later),
        6 => Just(Step::Answer(Answers::All)),
        2 => Just(Step::Answer(Answers::Refused)),
        1 => prop::option::of(0..30u64).prop_map(|wait| Step::Answer(Answers::RateLimited(wait))),
        1 => Just(Step::Die),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_span_has_fewer_requests_than_the_rate_and_burst_allow_and_nothing_is_lost_or_reordered(
        is_ordered: bool,
        max_batch in 1..4u32,
        requests_per_second in prop_oneof![Just(0.5), Just(3.0), Just(40.0)],
        max_in_flight in 1..6u32,
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let subscriber = Subscriber {
            is_ordered, max_batch, requests_per_second, max_in_flight, max_batch_wait_seconds: 2,
            ..subscriber("portal")
        };
        let mut meter = Meter::of(&subscriber);
        let mut deliveries = Deliveries::new(subscriber);
        // What a run that dies leaves.
        let mut stored = deliveries.state.clone();
        let mut in_flight: Vec<Sending> = Vec::new();
        // Then everything is delivered.
        let rest = (0..400).flat_map(|_| [Step::Answer(Answers::All), Step::Later(200_000)]);
        for step in steps.into_iter().chain(rest) {
            match step {
                Step::Add(submission) => deliveries.add([format!("s{submission}")]),
                Step::Later(milliseconds) => deliveries.later(Duration::from_millis(milliseconds)),
                Step::Answer(answers) => {
                    for sending in std::mem::take(&mut in_flight) {
                        let answer = answers.answer(deliveries.now);
                        deliveries.report(&sending, answer);
                    }
                }
                Step::Die if in_flight.is_empty() => {}
                Step::Die => {
                    in_flight.clear();
                    let unstored = deliveries.state.tail() - stored.tail();
                    deliveries.state = stored.clone();
                    deliveries.state.append(usize::try_from(unstored).unwrap());
                }
            }
            // A round begins when the answers of the one before are there.
            if !in_flight.is_empty() {
                continue;
            }
            let before = deliveries.state.clone();
            let is_due = deliveries.next_due().is_some_and(|due| due <= deliveries.now);
            in_flight = deliveries.take();
            let is_idle = in_flight.is_empty() && deliveries.state == before;
            prop_assert!(!(is_idle && is_due), "a run changes nothing and is repeated at once");
            prop_assert!(in_flight.len() <= max_in_flight as usize);
            stored = deliveries.state.in_flight(&before, deliveries.state.tail());
            for Sending { numbers, .. } in &in_flight {
                prop_assert!(meter.allows(deliveries.now), "{meter:?}");
                prop_assert!(numbers.len() <= max_batch as usize);
                for number in numbers {
                    prop_assert!(stored.is_waiting(*number));
                    prop_assert!(!is_ordered || deliveries.is_next(*number, numbers), "{number} is not the next one");
                }
            }
        }
        let numbers: Vec<u64> = deliveries.events.keys().copied().collect();
        let mut all = deliveries.outcome.delivered.clone();
        all.sort_unstable();
        prop_assert_eq!(all, numbers, "{:?}", deliveries.state.summary());
    }
}
