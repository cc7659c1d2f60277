//! The rate limiter and its slowdown.

use super::*;

#[test]
fn reservations_lie_an_interval_apart_and_none_is_in_the_past() {
    let mut state = AdmissionState::default();
    let starts: Vec<i128> = (0..3).map(|number| starts_ms(&granted(&mut state, number, START))).collect();
    assert_eq!(starts, [0, 200, 400]);
    assert_eq!(starts_ms(&granted(&mut state, 3, at(10.0))), 10_000);
    assert_eq!(starts_ms(&granted(&mut state, 4, at(10.0))), 10_200, "unused time is not made up for");
}

#[test]
fn interval_that_is_no_whole_number_of_microseconds_is_never_shortened() {
    let thirds = Limits { interval: Duration::from_secs_f64(1.0 / 3.0), ..ROOMY };
    let mut state = AdmissionState::default();
    let last = (0..=3_000).map(|number| {
        state.clear_granted();
        state.grant(waiting(&document("s1", number), 0), &thirds, START).starts_at
    });
    assert!(last.max().unwrap() >= at(1_000.0).into(), "3,000 requests take 1,000 seconds");
}

#[test]
fn case_25_time_that_the_third_party_asks_for_delays_all_later_reservations() {
    let mut state = AdmissionState::default();
    let first = granted(&mut state, 0, START);
    reported(&mut state, &first, Report::RateLimited(Some(at(60.0))), at(1.0));
    let starts: Vec<i128> = (1..4).map(|number| starts_ms(&granted(&mut state, number, at(1.0)))).collect();
    assert_eq!(starts, [60_000, 60_400, 60_800], "from then on, at half the rate");
    assert_eq!(state.snapshot().slowdown, 2);
}

#[test]
fn case_25_without_a_time_the_rate_is_halved_from_now_on() {
    let mut state = AdmissionState::default();
    let first = granted(&mut state, 0, START);
    reported(&mut state, &first, Report::RateLimited(None), at(1.0));
    let starts: Vec<i128> = (1..3).map(|number| starts_ms(&granted(&mut state, number, at(1.0)))).collect();
    assert_eq!(starts, [1_000, 1_400]);
}

#[test]
fn wave_of_refusals_slows_down_once_and_the_next_wave_once_more() {
    let mut state = AdmissionState::default();
    for wave in 1..=8_u32 {
        let now = at(f64::from(wave) * 10.0);
        let permits: Vec<Permit> = (0..5).map(|number| granted(&mut state, number, now)).collect();
        let end = permits[4].starts_at.to_date() + Span::seconds(1);
        for permit in &permits {
            state.report(permit.attempt, Report::RateLimited(None), end);
        }
        assert_eq!(state.snapshot().slowdown, 1 << wave.min(6), "after wave {wave}; 64 is the slowest");
    }
}

#[test]
fn slowdown_falls_step_by_step_after_quiet_and_ends_at_the_full_rate() {
    let mut state = AdmissionState::default();
    for _ in 0..3 {
        let permit = granted(&mut state, 0, at(1.0));
        let now = permit.starts_at.to_date() + Span::milliseconds(1);
        reported(&mut state, &permit, Report::RateLimited(Some(at(30.0))), now);
    }
    let slowed = state.snapshot().slowdown;
    assert_eq!(slowed, 8);
    state.advance_to(at(59.0));
    assert_eq!(state.snapshot().slowdown, 8, "quiet begins when the asked time is over");
    let eased: Vec<u32> = [62.0, 92.0, 122.0, 1000.0]
        .map(|now| {
            state.advance_to(at(now));
            state.snapshot().slowdown
        })
        .into();
    assert_eq!(eased, [4, 2, 1, 1]);
    let starts: Vec<i128> =
        (0..2).map(|number| starts_ms(&granted(&mut state, number, at(1000.0)))).collect();
    assert_eq!(starts, [1_000_000, 1_000_200]);
}
