//! The deliveries to one subscriber in virtual time, without a store: the state, the events that wait, and the time.

use std::{collections::BTreeMap, time::Duration};

use time::OffsetDateTime;

use super::{super::*, fixtures::event};
use crate::testing::world::START;

/// The deliveries to one subscriber.
#[derive(Debug)]
pub(super) struct Deliveries {
    pub(super) state: DeliveryState,
    pub(super) subscriber: Subscriber,
    pub(super) events: BTreeMap<u64, QueuedEvent>,
    pub(super) now: OffsetDateTime,
    pub(super) jitter: f64,
    /// Everything that requests have changed besides the state.
    pub(super) outcome: Outcome,
}

impl Deliveries {
    pub(super) fn new(subscriber: Subscriber) -> Self {
        Self {
            state: DeliveryState::default(),
            subscriber,
            events: BTreeMap::new(),
            now: START,
            jitter: 1.0,
            outcome: Outcome::default(),
        }
    }

    /// Adds new events of these submissions. Their changes were in the stream now.
    pub(super) fn add(&mut self, submissions: impl IntoIterator<Item = impl AsRef<str>>) {
        for submission in submissions {
            let number = self.state.tail();
            let event = event(submission.as_ref(), number);
            self.events.insert(number, QueuedEvent { event, changed_at: self.now.into() });
            self.state.append(1);
        }
    }

    pub(super) fn later(&mut self, by: Duration) {
        self.now += by;
    }

    pub(super) fn later_s(&mut self, seconds: u64) {
        self.later(Duration::from_secs(seconds));
    }

    /// Takes what may be sent now. As the step does, reads only the events that the state asks for.
    pub(super) fn take(&mut self) -> Vec<Sending> {
        self.state.advance_to(self.now);
        let most = (self.subscriber.max_batch * self.subscriber.max_in_flight) as usize;
        let candidates = self.state.candidates(most, &self.subscriber, self.now);
        let found = candidates.iter().filter_map(|number| Some((*number, self.events.get(number)?.clone())));
        let found = found.collect();
        self.state.take(&candidates, &found, &self.subscriber, self.now)
    }

    pub(super) fn report(&mut self, sending: &Sending, answer: Answer) {
        self.state.report(sending, answer, self.now, self.jitter, &mut self.outcome);
    }

    /// One round: takes events, and answers each request. Returns the numbers of each request's events.
    pub(super) fn round(&mut self, mut answer: impl FnMut(&[u64]) -> Answer) -> Vec<Vec<u64>> {
        let taken = self.take();
        for sending in &taken {
            let answer = answer(&sending.numbers);
            self.report(sending, answer);
        }
        taken.into_iter().map(|sending| sending.numbers).collect()
    }

    /// Rounds until nothing may be sent now, as one run makes them.
    pub(super) fn run(&mut self, mut answer: impl FnMut(&[u64]) -> Answer) -> Vec<Vec<u64>> {
        let mut requests = Vec::new();
        loop {
            let round = self.round(&mut answer);
            if round.is_empty() {
                return requests;
            }
            requests.extend(round);
        }
    }

    /// Runs, each at the time that the state asks for, until no event waits or this time has passed.
    pub(super) fn run_until(
        &mut self,
        end: OffsetDateTime,
        mut answer: impl FnMut(&[u64], OffsetDateTime) -> Answer,
    ) -> Vec<(OffsetDateTime, Vec<u64>)> {
        let mut requests = Vec::new();
        for _ in 0..100_000 {
            let now = self.now;
            requests
                .extend(self.run(|numbers| answer(numbers, now)).into_iter().map(|numbers| (now, numbers)));
            let Some(due) = self.next_due().filter(|due| *due <= end) else {
                self.now = end;
                return requests;
            };
            self.now = self.now.max(due);
        }
        panic!("the runs do not end: {:?}", self.state.summary());
    }

    /// When the next run has to be.
    pub(super) fn next_due(&self) -> Option<OffsetDateTime> {
        let oldest = self.state.first_fresh().and_then(|number| self.events.get(&number));
        self.state.next_due(oldest, &self.subscriber, self.now).map(Timestamp::to_date)
    }

    /// Whether all earlier events of the same submission are delivered, or are in the same request.
    pub(super) fn is_next(&self, number: u64, request: &[u64]) -> bool {
        let group = self.events[&number].event.group();
        let earlier = self.events.range(..number).filter(|(_, queued)| queued.event.group() == group);
        earlier
            .map(|(number, _)| number)
            .all(|number| self.outcome.delivered.contains(number) || request.contains(number))
    }

    /// In seconds from now; negative if it has passed.
    pub(super) fn next_due_s(&self) -> Option<f64> {
        self.next_due().map(|due| (due - self.now).as_seconds_f64())
    }
}

pub(super) fn delivered(_: &[u64]) -> Answer {
    Answer::Delivered
}

pub(super) fn refused(_: &[u64]) -> Answer {
    Answer::Refused(500)
}
