//! All rules at once, against what they promise, said as plainly as it can be: a bucket of tokens, a list of places.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const DOCUMENTS: usize = 12;

/// What the third party does: a bucket that fills by one token in each interval up to `burst`, counted in
/// microseconds.
#[derive(Debug)]
struct Bucket {
    limits: Limits,
    level_us: i64,
    last_us: i64,
}

impl Bucket {
    fn new(limits: Limits) -> Self {
        Self { limits, level_us: 0, last_us: i64::MIN / 2 }
    }

    fn takes(&mut self, at_us: i64) -> bool {
        let interval_us = span_us(self.limits.interval);
        let full_us = interval_us * i64::from(self.limits.burst);
        self.level_us = (self.level_us + at_us.saturating_sub(self.last_us)).min(full_us);
        self.last_us = at_us;
        let enough = self.level_us >= interval_us;
        self.level_us -= interval_us;
        enough
    }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Ask(usize),
    Report(usize, usize),
    Renew(usize),
    /// Whose place, and whether the order is of the attempt before, and comes late.
    Release(usize, bool),
    Later(u32),
}

fn event() -> impl Strategy<Value = Event> {
    let which = 0..DOCUMENTS;
    prop_oneof![
        6 => which.clone().prop_map(Event::Ask),
        3 => (which.clone(), 0..8usize).prop_map(|(document, report)| Event::Report(document, report)),
        1 => which.clone().prop_map(Event::Renew),
        2 => (which, prop::bool::weighted(0.3)).prop_map(|(which, late)| Event::Release(which, late)),
        4 => prop_oneof![0..300u32, 0..20_000u32, 0..2_000_000u32].prop_map(Event::Later),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    (1u64..1_000, 2u32..6, 1u32..5, 1u64..4_000).prop_map(|(interval_ms, burst, max_in_flight, lease_s)| {
        Limits {
            interval: Duration::from_millis(interval_ms),
            burst,
            max_in_flight,
            lease: Duration::from_secs(lease_s),
        }
    })
}

fn reported(kind: usize, now: OffsetDateTime) -> Report {
    match kind {
        0 => Report::Accepted,
        1 => DOWN,
        6 => UNAVAILABLE,
        7 => Report::Used,
        2 => Report::Unauthorized,
        3 => Report::RateLimited(None),
        4 => Report::RateLimited(Some(now + Span::seconds(30))),
        _ => Report::Unused,
    }
}

/// Who holds a place, kept as a list and looked through each time.
#[derive(Debug)]
struct Place {
    document: usize,
    attempt: Attempt,
    until_us: i64,
    reported: bool,
    job_possible: bool,
}

#[derive(Debug)]
struct Run {
    gate: Gate,
    limits: Limits,
    now: OffsetDateTime,
    waiting: BTreeMap<Ticket, usize>,
    places: Vec<Place>,
    turns: Vec<Turn>,
}

impl Run {
    fn happens(&mut self, event: Event) {
        let Self { gate, limits, now, places, .. } = self;
        gate.begin();
        gate.pass(*now);
        places.retain(|place| place.until_us > micros(*now));
        let id = |which: usize| document_of(which).document_id;
        match event {
            Event::Ask(which) => {
                if !self.waiting.values().any(|waits| *waits == which) {
                    self.waiting.insert(gate.line_up(&document_of(which)), which);
                }
            }
            Event::Report(which, kind) => {
                let report = reported(kind, *now);
                if let Some(place) = places.iter_mut().find(|place| place.document == which) {
                    gate.report(id(which), place.attempt, report, *now);
                    let says_so = [Report::Accepted, UNAVAILABLE, Report::Used].contains(&report);
                    place.job_possible |= says_so && !place.reported;
                    let gives_back = report == DOWN && !place.reported && !place.job_possible;
                    places.retain(|place| place.document != which || !gives_back);
                    for place in places.iter_mut().filter(|place| place.document == which) {
                        place.reported = true;
                    }
                }
            }
            Event::Renew(which) => {
                let end_us = micros(*now) + span_us(limits.lease);
                for place in places.iter_mut().filter(|place| place.document == which) {
                    gate.renew(id(which), place.attempt, limits, *now);
                    place.until_us = place.until_us.max(end_us);
                }
            }
            Event::Release(which, late) => {
                if let Some(place) = places.iter().find(|place| place.document == which) {
                    gate.release(id(which), Attempt(place.attempt.0 - u32::from(late)));
                } else {
                    gate.release(id(which), Attempt(u32::MAX));
                }
                places.retain(|place| place.document != which || late);
            }
            Event::Later(milliseconds) => *now += Span::milliseconds(milliseconds.into()),
        }
        self.gate.pass(self.now);
        self.places.retain(|place| place.until_us > micros(self.now));
        while let Some(ticket) = self.gate.next(&self.limits) {
            self.gate.pass_by(&ticket);
            let which = self.waiting.remove(&ticket).expect("who has a ticket waits");
            if self.gate.may_have(&ticket, document_of(which).document_id) {
                self.grant(which);
            } else {
                self.waiting.insert(self.gate.line_up(&document_of(which)), which);
            }
        }
    }

    fn grant(&mut self, which: usize) {
        let before = open(&self.gate);
        let turn = self.gate.grant(waiter(&document_of(which)), &self.limits, self.now).clone();
        assert!(turn.at_us >= micros(self.now), "no slot lies in the past");
        assert!(self.turns.last().is_none_or(|last| last.attempt < turn.attempt), "each has its own number");
        assert!(!before || turn.report, "who tries has to tell");
        let until_us = turn.at_us + span_us(self.limits.lease);
        let before = self.places.iter().position(|place| place.document == which);
        let job_possible = before.is_some_and(|index| self.places.swap_remove(index).job_possible);
        let attempt = turn.attempt;
        self.places.push(Place { document: which, attempt, until_us, reported: false, job_possible });
        self.turns.push(turn);
    }

    fn check(&self) {
        let room = self.limits.max_in_flight as usize;
        let standing = self.gate.standing();
        assert_eq!(standing.leases, self.places.len());
        assert!(standing.leases <= room);
        assert_eq!(standing.waiting, self.waiting.len() as u64);
        for place in &self.places {
            assert!(self.gate.holds(document_of(place.document).document_id));
        }
        let idle = standing.leases < room && !standing.breaker_open;
        assert!(!idle || self.waiting.is_empty(), "nobody waits for nothing");
    }
}

fn document_of(which: usize) -> DocumentRef {
    document(["a", "b", "c"][which % 3], which)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn slots_used_in_time_never_empty_the_bucket_and_places_are_those_of_the_list(
        limits in limits(),
        events in prop::collection::vec(event(), 1..200),
        delays in prop::collection::vec(0i64..=1_000, 400),
    ) {
        let (gate, waiting) = (Gate::default(), BTreeMap::new());
        let mut run = Run { gate, limits, now: START, waiting, places: Vec::new(), turns: Vec::new() };
        for event in events {
            run.happens(event);
            run.check();
        }
        // How late each is in its turn, in thousandths, and how long its way is, in thousandths of an interval.
        let used = |tokens: u32, late: &dyn Fn(usize) -> i64, way: &dyn Fn(usize) -> i64| {
            let interval_us = span_us(limits.interval);
            let mut times: Vec<i64> = run.turns.iter().enumerate()
                .map(|(index, turn)| {
                    let used_us = turn.at_us + (turn.until_us - turn.at_us) * late(index) / 1_000;
                    used_us + interval_us * way(index) / 1_000
                })
                .collect();
            times.sort_unstable();
            let mut bucket = Bucket::new(Limits { burst: tokens, ..limits });
            times.into_iter().all(|at_us| bucket.takes(at_us))
        };
        let any = |index: usize| delays[index % delays.len()];
        let other = |index: usize| delays[(index * 7 + 3) % delays.len()];
        let extreme = |index: usize| any(index) / 501 * 1_000;
        let spared = limits.burst - 1;
        prop_assert!(used(spared, &any, &|_| 0), "used at any time that the turns allow, one token is to spare");
        prop_assert!(used(spared, &extreme, &|_| 0), "so it is if used in the first or in the last moment");
        prop_assert!(used(limits.burst, &any, &other), "the token is for what a request's way takes");
        prop_assert!(used(limits.burst, &extreme, &extreme), "for an interval at most");
    }
}

/// That the property can fail: a bucket that is one smaller overflows when the first comes late and the rest in time.
#[test]
fn burst_that_is_promised_is_really_used_but_for_one_token() {
    let mut gate = Gate::default();
    let turns: Vec<Turn> = (0..9).map(|number| granted(&mut gate, number, START)).collect();
    let late = |burst| {
        let mut bucket = Bucket::new(Limits { burst, ..LIMITS });
        turns.iter().all(|_| bucket.takes(turns[0].until_us))
    };
    assert!(turns.iter().all(|turn| turn.at_us <= turns[0].until_us && turns[0].until_us <= turn.until_us));
    assert!(late(9) && !late(8), "of {}", LIMITS.burst);
}
