//! The pace of requests and its slowdown.

use super::*;

#[test]
fn slots_lie_an_interval_apart_and_none_is_in_the_past() {
    let mut gate = Gate::default();
    let slots: Vec<i128> = (0..3).map(|number| slot(&granted(&mut gate, number, START))).collect();
    assert_eq!(slots, [0, 200, 400]);
    assert_eq!(slot(&granted(&mut gate, 3, at(10.0))), 10_000);
    assert_eq!(slot(&granted(&mut gate, 4, at(10.0))), 10_200, "what was not used is not made up for");
}

#[test]
fn interval_that_is_no_whole_number_of_microseconds_is_never_shortened() {
    let thirds = Limits { interval: Duration::from_secs_f64(1.0 / 3.0), ..ROOMY };
    let mut gate = Gate::default();
    let last = (0..=3_000).map(|number| {
        gate.begin();
        gate.grant(waiter(&document("s1", number)), &thirds, START).at_us
    });
    assert!(last.max().unwrap() >= micros(at(1_000.0)), "3,000 requests take 1,000 seconds");
}

#[test]
fn case_25_time_that_the_third_party_asks_for_delays_all_later_slots() {
    let mut gate = Gate::default();
    let first = granted(&mut gate, 0, START);
    told(&mut gate, &first, Report::RateLimited(Some(at(60.0))), at(1.0));
    let slots: Vec<i128> = (1..4).map(|number| slot(&granted(&mut gate, number, at(1.0)))).collect();
    assert_eq!(slots, [60_000, 60_400, 60_800], "from then on, at half the pace");
    assert_eq!(gate.standing().slowdown, 2);
}

#[test]
fn case_25_without_a_time_the_pace_is_halved_from_now_on() {
    let mut gate = Gate::default();
    let first = granted(&mut gate, 0, START);
    told(&mut gate, &first, Report::RateLimited(None), at(1.0));
    let slots: Vec<i128> = (1..3).map(|number| slot(&granted(&mut gate, number, at(1.0)))).collect();
    assert_eq!(slots, [1_000, 1_400]);
}

#[test]
fn wave_of_refusals_slows_down_once_and_the_next_wave_once_more() {
    let mut gate = Gate::default();
    for wave in 1..=8_u32 {
        let now = at(f64::from(wave) * 10.0);
        let turns: Vec<Turn> = (0..5).map(|number| granted(&mut gate, number, now)).collect();
        let end = time_of(turns[4].at_us) + Span::seconds(1);
        for turn in &turns {
            gate.report(turn.waiter.document.document_id, turn.attempt, Report::RateLimited(None), end);
        }
        assert_eq!(gate.standing().slowdown, 1 << wave.min(6), "after wave {wave}; 64 is the slowest");
    }
}

#[test]
fn slowdown_eases_step_by_step_after_quiet_and_ends_at_the_full_pace() {
    let mut gate = Gate::default();
    for _ in 0..3 {
        let turn = granted(&mut gate, 0, at(1.0));
        let now = time_of(turn.at_us) + Span::milliseconds(1);
        told(&mut gate, &turn, Report::RateLimited(Some(at(30.0))), now);
    }
    let slowed = gate.standing().slowdown;
    assert_eq!(slowed, 8);
    gate.pass(at(59.0));
    assert_eq!(gate.standing().slowdown, 8, "quiet begins when the asked time is over");
    let eased: Vec<u32> = [62.0, 92.0, 122.0, 1000.0]
        .map(|now| {
            gate.pass(at(now));
            gate.standing().slowdown
        })
        .into();
    assert_eq!(eased, [4, 2, 1, 1]);
    let slots: Vec<i128> = (0..2).map(|number| slot(&granted(&mut gate, number, at(1000.0)))).collect();
    assert_eq!(slots, [1_000_000, 1_000_200]);
}
