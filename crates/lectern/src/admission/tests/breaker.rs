//! The breaker: when it opens, who tries, when it closes.

use super::*;

/// A gate whose breaker has just opened, at 0 s.
fn opened() -> Gate {
    let mut gate = Gate::default();
    let turn = granted(&mut gate, 0, START);
    told(&mut gate, &turn, Report::Unauthorized, START);
    gate
}

/// Somebody waits; may it have a turn?
fn lets_in(gate: &Gate) -> bool {
    let mut gate = gate.clone();
    gate.line_up(&document("s9", 99));
    gate.next(&ROOMY).is_some()
}

#[test]
fn case_29_five_failures_in_a_row_open_it_and_four_do_not() {
    let mut gate = Gate::default();
    for failure in 1..=5 {
        let turn = granted(&mut gate, failure, START);
        assert_eq!(turn.report, failure > 1, "news of success matters once something failed");
        told(&mut gate, &turn, DOWN, START);
        assert_eq!(open(&gate), failure == 5);
    }
}

#[test]
fn failures_of_those_who_keep_their_place_open_it_too() {
    let mut gate = Gate::default();
    let turns: Vec<Turn> = (0..5).map(|number| granted(&mut gate, number, START)).collect();
    for turn in &turns {
        told(&mut gate, turn, UNAVAILABLE, START);
    }
    assert!(open(&gate));
    let before = gate.clone();
    told(&mut gate, &turns[0], UNAVAILABLE, START);
    assert_eq!(gate, before, "while it is open, what came before changes nothing");
}

#[test]
fn success_between_failures_starts_the_count_anew() {
    let mut gate = Gate::default();
    for round in 0..3 {
        for number in 0..4 {
            let turn = granted(&mut gate, number, START);
            told(&mut gate, &turn, DOWN, START);
        }
        let turn = granted(&mut gate, 10 + round, START);
        told(&mut gate, &turn, Report::Accepted, START);
    }
    assert!(!open(&gate));
    assert!(!granted(&mut gate, 99, START).report);
}

#[test]
fn case_28_one_refusal_of_our_credentials_opens_it() {
    assert!(open(&opened()));
}

#[test]
fn refusals_that_say_nothing_of_the_third_party_do_not_open_it() {
    let mut gate = Gate::default();
    for number in 0..20 {
        let turn = granted(&mut gate, number, START);
        let report = if number.is_multiple_of(2) { Report::Unused } else { Report::RateLimited(None) };
        told(&mut gate, &turn, report, START);
    }
    assert!(!open(&gate));
}

#[test]
fn case_29_one_tries_after_the_pause_and_nobody_else_is_let_in() {
    let mut gate = opened();
    assert!(lets_in(&gate));
    let trial = granted(&mut gate, 1, at(1.0));
    assert_eq!((slot(&trial), trial.report), (15_000, true));
    assert!(!lets_in(&gate) && open(&gate));
    gate.pass(at(600.0));
    assert!(!lets_in(&gate), "it is still at it");
    told(&mut gate, &trial, Report::Accepted, at(601.0));
    assert!(!open(&gate) && lets_in(&gate));
    assert_eq!(slot(&granted(&mut gate, 2, at(601.0))), 601_000);
}

#[test]
fn case_29_failing_trials_double_the_pause_up_to_five_minutes() {
    let mut gate = opened();
    let mut now = START;
    let mut pauses = Vec::new();
    for number in 1..=8 {
        let trial = granted(&mut gate, number, now);
        pauses.push((time_of(trial.at_us) - now).whole_seconds());
        now = time_of(trial.at_us);
        told(&mut gate, &trial, DOWN, now);
        assert!(open(&gate));
    }
    assert_eq!(pauses, [15, 30, 60, 120, 240, 300, 300, 300]);
    let trial = granted(&mut gate, 9, now);
    told(&mut gate, &trial, Report::Accepted, time_of(trial.at_us));
    let turn = granted(&mut gate, 10, time_of(trial.at_us));
    told(&mut gate, &turn, Report::Unauthorized, time_of(turn.at_us));
    let trial = granted(&mut gate, 11, time_of(turn.at_us));
    assert_eq!(trial.at_us - turn.at_us, 15_000_000, "after it had closed, the pauses begin anew");
}

#[test]
fn reports_of_those_who_were_on_their_way_before_neither_close_nor_prolong_it() {
    let mut gate = Gate::default();
    let [on_its_way, too] = [1, 2].map(|number| granted(&mut gate, number, START));
    let turn = granted(&mut gate, 0, START);
    told(&mut gate, &turn, Report::Unauthorized, START);
    told(&mut gate, &on_its_way, Report::Accepted, at(1.0));
    assert!(open(&gate));
    let trial = granted(&mut gate, 3, at(2.0));
    told(&mut gate, &too, DOWN, at(14.0));
    told(&mut gate, &on_its_way, Report::Accepted, at(14.0));
    assert!(open(&gate) && !lets_in(&gate), "only the one who tries can tell");
    told(&mut gate, &trial, DOWN, at(15.0));
    assert_eq!(slot(&granted(&mut gate, 4, at(15.0))), 45_000, "30 s after the first trial, and no later");
}

#[test]
fn trial_that_tells_nothing_of_the_third_party_is_replaced_at_once() {
    for report in [Report::Unused, Report::RateLimited(None)] {
        let mut gate = opened();
        let trial = granted(&mut gate, 1, START);
        told(&mut gate, &trial, report, at(16.0));
        assert!(open(&gate) && lets_in(&gate));
        assert_eq!(slot(&granted(&mut gate, 2, at(16.0))), 16_000);
    }
}

#[test]
fn trial_that_vanishes_is_replaced() {
    for vanishes in ["released", "silent"] {
        let mut gate = opened();
        let trial = granted(&mut gate, 1, START);
        let now = if vanishes == "released" {
            gate.release(trial.waiter.document.document_id, Attempt(u32::MAX));
            at(15.0)
        } else {
            gate.pass(at(15.0 + 1_199.0));
            assert!(!lets_in(&gate));
            at(15.0 + 1_200.0)
        };
        gate.pass(now);
        assert!(open(&gate) && lets_in(&gate), "{vanishes}");
        let next = granted(&mut gate, 2, now);
        told(&mut gate, &trial, Report::Accepted, now);
        assert!(open(&gate), "{vanishes}: whoever was replaced has no say");
        told(&mut gate, &next, Report::Accepted, now);
        assert!(!open(&gate), "{vanishes}");
    }
}

/// Seen in review: two documents that time out whatever the third party does kept their places, and so were the only ones
/// that ever tried.
#[test]
fn trial_is_made_by_one_who_has_not_failed_while_there_is_room_for_it() {
    let mut gate = Gate::default();
    for number in 0..5 {
        let turn = granted(&mut gate, number, START);
        told(&mut gate, &turn, UNAVAILABLE, START);
    }
    let good = document("s2", 9);
    for number in 0..2 {
        gate.line_up(&document("s1", number));
    }
    let returning = gate.next(&ROOMY).unwrap();
    assert!(returning.is_returning(), "nobody else waits");
    gate.line_up(&good);
    assert_eq!(gate.next(&ROOMY).unwrap().lane, "s2");
    let full = Limits { max_in_flight: 5, ..ROOMY };
    assert!(gate.next(&full).unwrap().is_returning(), "only who has a place can try");
    let ticket = gate.next(&ROOMY).unwrap();
    gate.pass_by(&ticket);
    let trial = gate.grant(waiter(&good), &ROOMY, START).clone();
    told(&mut gate, &trial, Report::Accepted, at(16.0));
    assert!(gate.next(&ROOMY).unwrap().is_returning(), "when all is well, who has a place goes first");
}
