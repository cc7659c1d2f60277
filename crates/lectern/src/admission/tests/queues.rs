//! Who is served next.

use std::collections::BTreeMap;

use super::*;

/// Lets everybody who waits through, and gives the lanes in the order they were served.
fn served(lanes: &mut Lanes) -> Vec<Ticket> {
    std::iter::from_fn(|| {
        let ticket = lanes.first()?;
        lanes.pop(&ticket);
        Some(ticket)
    })
    .collect()
}

fn id(name: &str) -> crate::document::SubmissionId {
    name.parse().unwrap()
}

#[test]
fn lanes_are_served_in_turn_and_each_in_its_order() {
    let mut lanes = Lanes::default();
    for name in ["b", "b", "b", "a", "c", "c"] {
        lanes.push(&id(name));
    }
    assert_eq!(lanes.waiting(), 6);
    let order: Vec<(String, u64)> =
        served(&mut lanes).into_iter().map(|ticket| (ticket.lane, ticket.number)).collect();
    let expected = [("a", 0), ("b", 0), ("c", 0), ("b", 1), ("c", 1), ("b", 2)];
    assert_eq!(order, expected.map(|(lane, number)| (lane.to_owned(), number)));
    assert_eq!((lanes.waiting(), lanes.first()), (0, None));
}

#[test]
fn submission_of_thousands_delays_another_one_by_one_turn() {
    for other in ["a-before", "z-after"] {
        let mut lanes = Lanes::default();
        for _ in 0..5_000 {
            lanes.push(&id("crowd"));
        }
        for _ in 0..37 {
            let ticket = lanes.first().unwrap();
            lanes.pop(&ticket);
        }
        let mine = lanes.push(&id(other));
        let position = served(&mut lanes).iter().position(|ticket| *ticket == mine).unwrap();
        assert!(position < 2, "{other} is served after {position} others");
    }
}

/// Seen in review: each one that came back began the round of the others anew, so that only the first lane was served.
#[test]
fn those_who_come_back_do_not_begin_the_round_of_the_others_anew() {
    let mut lanes = Lanes::default();
    for name in ["a", "a", "a", "b", "c"] {
        lanes.push(&id(name));
    }
    let mut others = Vec::new();
    for _ in 0..3 {
        let back = lanes.push_returning();
        assert_eq!(lanes.first_returning(), Some(back.clone()));
        lanes.pop(&back);
        let ticket = lanes.first().unwrap();
        lanes.pop(&ticket);
        others.push(ticket.lane);
    }
    assert_eq!(others, ["a", "b", "c"]);
}

#[test]
fn ticket_never_comes_again_when_its_lane_was_empty_meanwhile() {
    let mut lanes = Lanes::default();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..5 {
        for _ in 0..2 {
            assert!(seen.insert(lanes.push(&id("s1"))));
        }
        served(&mut lanes);
    }
}

#[test]
fn more_than_256_submissions_share_lanes_and_everybody_is_served_in_bounded_time() {
    let mut lanes = Lanes::default();
    let mut tickets: BTreeMap<Ticket, usize> = BTreeMap::new();
    for round in 0..3 {
        for submission in 0..1_000 {
            tickets.insert(lanes.push(&id(&format!("s{submission}"))), round);
        }
    }
    let names: std::collections::BTreeSet<&str> = tickets.keys().map(|ticket| ticket.lane.as_str()).collect();
    assert!(names.len() <= 256 + 64, "{}", names.len());
    assert!(names.iter().any(|name| name.starts_with('#')), "no submission's id starts like a shared lane");
    let order = served(&mut lanes);
    assert_eq!(order.len(), 3_000, "everybody is served, once");
    let last_of_own = order.iter().rposition(|ticket| !ticket.lane.starts_with('#')).unwrap();
    assert!(last_of_own < 3 * names.len(), "a lane of three waits for three rounds");
}

#[test]
fn submission_that_comes_late_gets_a_lane_of_its_own_again_once_there_is_room() {
    let mut lanes = Lanes::default();
    for submission in 0..256 {
        lanes.push(&id(&format!("s{submission}")));
    }
    let shared = lanes.push(&id("late"));
    assert!(shared.lane.starts_with('#'));
    served(&mut lanes);
    assert_eq!(lanes.push(&id("late")).lane, "late");
}
