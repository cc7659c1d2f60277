//! Tests all rules together against a model that is as simple as possible: a token bucket and a list of leases.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const DOCUMENTS: usize = 12;

/// The third party's own limiter: a bucket that gains one token in each interval, up to `burst`.
#[derive(Debug)]
struct Bucket {
    limits: Limits,
    level: Span,
    last: Option<Timestamp>,
}

impl Bucket {
    fn new(limits: Limits) -> Self {
        Self { limits, level: Span::ZERO, last: None }
    }

    fn takes(&mut self, at: Timestamp) -> bool {
        let interval = Span::try_from(self.limits.interval).unwrap();
        let full = interval * self.limits.burst;
        self.level = self.last.map_or(full, |last| (self.level + (at - last)).min(full));
        self.last = Some(at);
        let enough = self.level >= interval;
        self.level -= interval;
        enough
    }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// The document with this number requests a permit; the flag says whether it has failed before.
    Request(usize, bool),
    /// The permit at the first index, counted from the newest, gets the report at the second index.
    Report(usize, usize),
    Renew(usize),
    Release(usize),
    Later(u32),
}

fn event() -> impl Strategy<Value = Event> {
    let which = 0..DOCUMENTS;
    prop_oneof![
        6 => (which.clone(), any::<bool>()).prop_map(|(which, failed)| Event::Request(which, failed)),
        3 => (which.clone(), 0..9usize).prop_map(|(back, report)| Event::Report(back, report)),
        1 => which.clone().prop_map(Event::Renew),
        2 => which.prop_map(Event::Release),
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

fn report_of(kind: usize, now: OffsetDateTime) -> Report {
    match kind {
        0 => Report::Accepted,
        1 => Report::Unavailable,
        2 => Report::Unauthorized,
        3 => Report::RateLimited(None),
        4 => Report::RateLimited(Some(now + Span::seconds(30))),
        5 => Report::OutcomeUnknown,
        6 => Report::AlreadyUsed,
        7 => Report::Rejected,
        _ => Report::Unused,
    }
}

/// A lease in the model's list.
#[derive(Debug)]
struct Held {
    attempt: Attempt,
    until: Timestamp,
    reported: bool,
}

#[derive(Debug)]
struct Run {
    state: AdmissionState,
    limits: Limits,
    now: OffsetDateTime,
    waiting: BTreeMap<QueuePosition, usize>,
    held: Vec<Held>,
    permits: Vec<Permit>,
}

impl Run {
    /// One of the newest permits, counted from the end.
    fn recent(&self, back: usize) -> Option<Attempt> {
        self.permits.iter().rev().nth(back).map(|permit| permit.attempt)
    }

    fn happens(&mut self, event: Event) {
        self.state.clear_granted();
        self.advance();
        match event {
            Event::Request(which, failed) => {
                if !self.waiting.values().any(|waits| *waits == which) {
                    let waiting = waiting(&document_of(which), failed.into());
                    self.waiting.insert(enqueue(&mut self.state, &waiting), which);
                }
            }
            Event::Report(back, kind) => {
                let Some(attempt) = self.recent(back) else { return };
                let report = report_of(kind, self.now);
                self.state.report(attempt, report, self.now);
                let keeps = matches!(report, Report::Accepted | Report::OutcomeUnknown | Report::AlreadyUsed);
                self.held.retain(|held| held.attempt != attempt || held.reported || keeps);
                for held in self.held.iter_mut().filter(|held| held.attempt == attempt) {
                    held.reported = true;
                }
            }
            Event::Renew(back) => {
                // The state machine renews only a lease that has not ended, or a job that the third party confirms.
                let Some(attempt) = self.recent(back).filter(|attempt| self.state.lease(*attempt).is_some())
                else {
                    return;
                };
                self.state.renew(attempt, &self.limits, self.now);
                let until = Timestamp::from(self.now) + self.limits.lease;
                for held in self.held.iter_mut().filter(|held| held.attempt == attempt) {
                    held.until = held.until.max(until);
                }
            }
            Event::Release(back) => {
                let Some(attempt) = self.recent(back) else { return };
                self.state.release(attempt);
                self.held.retain(|held| held.attempt != attempt);
            }
            Event::Later(milliseconds) => self.now += Span::milliseconds(milliseconds.into()),
        }
        self.advance();
        while let Some(position) = self.state.next(&self.limits) {
            self.state.dequeue(&position);
            let which = self.waiting.remove(&position).expect("a document waits at each position");
            self.grant(which);
        }
    }

    fn advance(&mut self) {
        self.state.advance_to(self.now);
        let now = self.now.into();
        self.held.retain(|held| held.until > now);
    }

    fn grant(&mut self, which: usize) {
        let was_open = is_open(&self.state);
        let permit = self.state.grant(waiting(&document_of(which), 0), &self.limits, self.now).clone();
        assert!(permit.starts_at >= self.now.into(), "no reservation lies in the past");
        assert!(self.permits.last().is_none_or(|last| last.attempt < permit.attempt));
        assert_eq!(permit.half_open_trial, was_open);
        assert!(!was_open || permit.report_success, "a half-open trial has to report");
        let until = permit.starts_at + self.limits.lease;
        self.held.push(Held { attempt: permit.attempt, until, reported: false });
        self.permits.push(permit);
    }

    fn check(&self) {
        let max_in_flight = self.limits.max_in_flight as usize;
        let snapshot = self.state.snapshot();
        assert_eq!(snapshot.leases, self.held.len());
        assert!(snapshot.leases <= max_in_flight);
        assert_eq!(snapshot.waiting, self.waiting.len() as u64);
        assert!(self.held.iter().all(|held| self.state.lease(held.attempt).is_some()));
        let idle = snapshot.leases < max_in_flight && !snapshot.breaker_open;
        assert!(!idle || self.waiting.is_empty(), "no document waits without a reason");
    }
}

fn document_of(which: usize) -> DocumentRef {
    document(["a", "b", "c"][which % 3], which)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn permits_used_in_time_never_empty_the_bucket_and_leases_are_those_of_the_list(
        limits in limits(),
        events in prop::collection::vec(event(), 1..200),
        delays in prop::collection::vec(0i32..=1_000, 400),
    ) {
        let (state, waiting) = (AdmissionState::default(), BTreeMap::new());
        let mut run = Run { state, limits, now: START, waiting, held: Vec::new(), permits: Vec::new() };
        for event in events {
            run.happens(event);
            run.check();
        }
        // How long after its start each permit is used, and how long its request travels, in thousandths of an
        // interval.
        let used = |tokens: u32, late: &dyn Fn(usize) -> i32, travels: &dyn Fn(usize) -> i32| {
            let interval = limits.interval;
            let mut times: Vec<Timestamp> = run.permits.iter().enumerate()
                .map(|(index, permit)| {
                    let tolerance = permit.expires_at.since(permit.starts_at);
                    let share = |span: Duration, thousandths: i32| {
                        Duration::from_micros(u64::try_from(span.as_micros()).unwrap() * u64::try_from(thousandths).unwrap() / 1_000)
                    };
                    permit.starts_at + share(tolerance, late(index)) + share(interval, travels(index))
                })
                .collect();
            times.sort_unstable();
            let mut bucket = Bucket::new(Limits { burst: tokens, ..limits });
            times.into_iter().all(|at| bucket.takes(at))
        };
        let any = |index: usize| delays[index % delays.len()];
        let other = |index: usize| delays[(index * 7 + 3) % delays.len()];
        let extreme = |index: usize| any(index) / 501 * 1_000;
        let spared = limits.burst - 1;
        prop_assert!(used(spared, &any, &|_| 0), "used at any time that the permits allow, one token is to spare");
        prop_assert!(used(spared, &extreme, &|_| 0), "also if used in the first or in the last moment");
        prop_assert!(used(limits.burst, &any, &other), "the token is for the time that a request travels");
        prop_assert!(used(limits.burst, &extreme, &extreme), "for an interval at most");
    }

    /// D01: documents that always fail delay a new document by a bounded number of permits, whatever the outcome of
    /// their attempts.
    #[test]
    fn d01_new_document_is_served_after_a_bounded_number_of_permits_of_each_other_lane(
        others in 1usize..6,
        failing in 1usize..40,
        ahead in 0usize..5,
    ) {
        let limits = Limits { max_in_flight: 1, ..ROOMY };
        let mut state = AdmissionState::default();
        for number in 0..failing {
            for other in 0..others {
                enqueue(&mut state, &waiting(&document(&format!("s{other}"), number), 1));
            }
        }
        for number in 0..ahead {
            enqueue(&mut state, &waiting(&document("mine", number), 0));
        }
        let mine = enqueue(&mut state, &waiting(&document("mine", ahead), 0));
        let (mut now, mut permits) = (START, 0);
        loop {
            state.advance_to(now);
            if let Some(position) = state.next(&limits) {
                permits += 1;
                state.dequeue(&position);
                if position == mine {
                    break;
                }
                // Each attempt of another document has an unknown outcome, and its lease ends by itself.
                let submission = position.queue.trim_end_matches('!').rsplit('/').next().unwrap();
                let failed = waiting(&document(submission, permits), 1);
                let attempt = state.grant(failed.clone(), &limits, now).attempt;
                state.report(attempt, Report::OutcomeUnknown, now);
                enqueue(&mut state, &failed);
            }
            now += limits.lease;
        }
        // The new documents of a lane and those that retry are served in turn, and each lane once in a round. Each document
        // ahead of the new one becomes a retrying document itself.
        let bound = 2 * (ahead + 1) * (others + 1);
        prop_assert!(permits <= bound, "{permits} permits, at most {bound}");
        let longest = limits.lease * u32::try_from(bound).unwrap() + Duration::from_hours(1);
        prop_assert!(now <= START + longest, "{} after the beginning", now - START);
    }
}

/// Checks that the property can fail: a bucket with one token less overflows when the first request is late and the
/// others are on time.
#[test]
fn burst_that_is_promised_is_really_used_but_for_one_token() {
    let mut state = AdmissionState::default();
    let permits: Vec<Permit> = (0..9).map(|number| granted(&mut state, number, START)).collect();
    let last_moment = permits[0].expires_at;
    let late = |burst| {
        let mut bucket = Bucket::new(Limits { burst, ..LIMITS });
        permits.iter().all(|_| bucket.takes(last_moment))
    };
    assert!(permits.iter().all(|permit| permit.starts_at <= last_moment && last_moment <= permit.expires_at));
    assert!(late(9) && !late(8), "of {}", LIMITS.burst);
}
