//! The deliveries to one subscriber as a pure state: which events may be sent now, and what their outcome changes.
//! [`crate::steps::deliver_events`] reads and writes the state and makes the requests.
//!
//! The events of a subscriber are numbered. Numbers from `head` (inclusive) to `tail` (exclusive) were never sent. Events
//! below `head` are done, except those that are *held*: an attempt has failed, or another event of the same submission has
//! to be delivered first. So a subscriber's position is `head` and the held events, and nothing moves while the
//! subscriber is paused.
//!
//! The limits are the [`Permits`] of admission control: one reservation and one lease for each request.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{DisabledReason, Event, QueuedEvent, Subscriber};
use crate::{
    admission::{Permits, Report, Timestamp},
    document::Attempt,
};

/// The deliveries to one subscriber.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeliveryState {
    /// The limits towards this subscriber. An attempt is a request.
    #[serde(flatten)]
    permits: Permits,
    /// The number of the first event that was never taken.
    head: u64,
    /// The number of the next event.
    tail: u64,
    /// Events below `head` that are not delivered, by number.
    held: Vec<Held>,
    /// Since when every request has failed; `None` after a success.
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<Timestamp>,
    /// How many events were given up since the subscriber was added.
    dead_letters: u64,
    /// When the timer of the subscriber ends that was sent last.
    #[serde(skip_serializing_if = "Option::is_none")]
    wakes_at: Option<Timestamp>,
    /// The events in flight that were not held, by number. The stored state has not taken them, so a run that dies loses
    /// nothing.
    #[serde(skip)]
    in_flight: BTreeMap<u64, Held>,
}

/// An event that was taken and is not delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// The event's number.
    pub number: u64,
    /// The event's id. A copy of the event that comes later, because a message was delivered again, is not sent.
    pub event_id: Uuid,
    /// Its group ([`super::Event::group`]).
    pub group: String,
    /// How many requests with it have failed. With 0, it waits for another event of its group.
    pub attempts: u32,
    /// When it may be sent again.
    pub due_at: Timestamp,
    /// When the first request failed that had only this event; until then, when the first request failed.
    pub failed_since: Timestamp,
    /// The last answer's status, if there was an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// A request that may be made now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sending {
    /// The attempt whose lease the request has.
    pub attempt: Attempt,
    /// The numbers of its events, in order.
    pub numbers: Vec<u64>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 2xx.
    Delivered,
    /// 429, or 503 with a time: no request before this time, if it is known.
    RateLimited(u16, Option<OffsetDateTime>),
    /// 410: the subscriber does not want events any more.
    Gone,
    /// Any other status.
    Refused(u16),
    /// No answer: no connection, or none in time, or a forbidden address.
    Unreachable,
}

impl Answer {
    /// The answer's status, if there was one.
    pub fn status(self) -> Option<u16> {
        match self {
            Self::Delivered | Self::Unreachable => None,
            Self::RateLimited(status, _) | Self::Refused(status) => Some(status),
            Self::Gone => Some(410),
        }
    }
}

/// An event that is given up: requests with it have failed for [`DeliveryState::GIVES_UP_AFTER`] while others succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The event's number.
    pub number: u64,
    /// The last answer's status, if there was an answer.
    pub status: Option<u16>,
}

/// What the outcomes of some requests change besides the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Delivered events.
    pub delivered: Vec<u64>,
    /// Events that are given up.
    pub dead: Vec<DeadLetter>,
    /// The subscriber has to be disabled, because of this event and answer.
    pub disabled: Option<(DisabledReason, u64, Option<u16>)>,
}

/// The state for operators and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Events that are not delivered.
    pub waiting: u64,
    /// The number of the oldest event that is not delivered.
    pub oldest: Option<u64>,
    /// Events whose delivery has failed, oldest first.
    pub retrying: Vec<Held>,
    /// Events that wait for another event of their group.
    pub blocked: u64,
    /// Events that were given up since the subscriber was added.
    pub dead_letters: u64,
    /// Requests in flight.
    pub in_flight: usize,
    /// Whether the circuit breaker is open or half-open.
    pub breaker_open: bool,
    /// Since when every request has failed.
    pub failing_since: Option<OffsetDateTime>,
}

impl DeliveryState {
    /// An event is given up, or its subscriber is disabled, after failures for this long.
    pub const GIVES_UP_AFTER: Duration = Duration::from_hours(72);
    /// The state holds at most so many events (about 300 KB of the item's 400 KB), and takes no event that it could not hold
    /// if its request failed.
    pub const MAX_HELD: usize = 1500;
    /// How much the clocks of two machines differ at most.
    const CLOCK_SKEW: Duration = Duration::from_secs(1);
    const FIRST_BACKOFF: Duration = Duration::from_secs(5);
    const MAX_BACKOFF: Duration = Duration::from_hours(4);

    /// The number of the next event.
    pub fn tail(&self) -> u64 {
        self.tail
    }

    /// Numbers so many new events.
    pub fn append(&mut self, events: usize) {
        self.tail += events as u64;
    }

    /// Applies the time.
    pub fn advance_to(&mut self, now: OffsetDateTime) {
        self.permits.advance_to(now);
        // By the clock of the machine that sent this run, the timer may have ended.
        if self.wakes_at.is_some_and(|at| at <= (now + Self::CLOCK_SKEW).into()) {
            self.wakes_at = None;
        }
    }

    /// Forgets the timer that was sent last, because it may not have been sent.
    pub fn forget_timer(&mut self) {
        self.wakes_at = None;
    }

    /// The numbers of the events that [`Self::take`] may look at now: at most `most` of those that are held and may be sent
    /// again, and as many that were never taken.
    pub fn candidates(&self, most: usize, subscriber: &Subscriber, now: OffsetDateTime) -> Vec<u64> {
        let groups = self.first_held_of_groups();
        let is_first = |held: &&Held| groups.get(&held.group) == Some(&held.number);
        let due = self.held.iter().filter(|held| held.due_at <= now.into());
        let due = due.filter(|held| !subscriber.is_ordered || is_first(held));
        due.map(|held| held.number).take(most).chain((self.head..self.tail).take(most)).collect()
    }

    /// Takes the events that may be sent now: reserves the requests, and advances the position. `candidates` are those of
    /// [`Self::candidates`], and `events` are their events; one that is missing has expired and is skipped.
    ///
    /// A request that has failed is repeated with one event only, so that one event that always fails delays no other.
    pub fn take(
        &mut self,
        candidates: &[u64],
        events: &BTreeMap<u64, QueuedEvent>,
        subscriber: &Subscriber,
        now: OffsetDateTime,
    ) -> Vec<Sending> {
        let mut round = Round {
            taken: Vec::new(),
            groups: self.first_held_of_groups(),
            ids: self.held.iter().map(|held| held.event_id).collect(),
            filling: None,
        };
        let (held, fresh): (Vec<u64>, Vec<u64>) = candidates.iter().partition(|number| **number < self.head);
        // While the circuit breaker is not closed, the trial is an event that has not failed, if there is one.
        let is_closed = self.permits.is_closed();
        if is_closed {
            self.take_held(&held, events, subscriber, now, &mut round);
        }
        self.take_fresh(&fresh, events, subscriber, now, &mut round);
        if !is_closed {
            self.take_held(&held, events, subscriber, now, &mut round);
        }
        round.taken
    }

    /// The groups of which events are held, each with the number of its first event.
    fn first_held_of_groups(&self) -> BTreeMap<String, u64> {
        let mut groups = BTreeMap::new();
        for held in &self.held {
            groups.entry(held.group.clone()).or_insert(held.number);
        }
        groups
    }

    fn take_held(
        &mut self,
        due: &[u64],
        events: &BTreeMap<u64, QueuedEvent>,
        subscriber: &Subscriber,
        now: OffsetDateTime,
        round: &mut Round,
    ) {
        for number in due.iter().copied() {
            if !events.contains_key(&number) {
                self.held.retain(|held| held.number != number);
                self.end_failures();
                continue;
            }
            let Some(attempt) = self.reserve(subscriber, now) else { return };
            round.taken.push(Sending { attempt, numbers: vec![number] });
        }
    }

    fn take_fresh(
        &mut self,
        fresh: &[u64],
        events: &BTreeMap<u64, QueuedEvent>,
        subscriber: &Subscriber,
        now: OffsetDateTime,
        round: &mut Round,
    ) {
        let most = subscriber.max_batch.max(1) as usize;
        for (index, number) in fresh.iter().copied().enumerate() {
            let Some(queued) = events.get(&number) else {
                self.head = number + 1;
                continue;
            };
            if self.held.len() + self.in_flight.len() >= Self::MAX_HELD {
                return;
            }
            let event = &queued.event;
            if round.ids.contains(&event.id) {
                self.head = number + 1;
                continue;
            }
            if subscriber.is_ordered && round.is_blocked(event.group(), most) {
                round.ids.insert(event.id);
                self.hold(Held::new(number, event, now.into()));
                self.head = number + 1;
                continue;
            }
            if !round.has_room(most) {
                if Self::waits_for_batch(fresh.len() - index, queued, subscriber, now) {
                    return;
                }
                let Some(attempt) = self.reserve(subscriber, now) else { return };
                round.filling = Some(round.taken.len());
                round.taken.push(Sending { attempt, numbers: Vec::new() });
            }
            round.fill(number, event);
            self.in_flight.insert(number, Held::new(number, event, now.into()));
            self.head = number + 1;
        }
    }

    /// Whether events wait until there are enough for a batch.
    fn waits_for_batch(
        ready: usize,
        oldest: &QueuedEvent,
        subscriber: &Subscriber,
        now: OffsetDateTime,
    ) -> bool {
        let wait = Duration::from_secs(subscriber.max_batch_wait_seconds.into());
        subscriber.max_batch > 1
            && ready < subscriber.max_batch as usize
            && oldest.changed_at + wait > Timestamp::from(now)
    }

    fn reserve(&mut self, subscriber: &Subscriber, now: OffsetDateTime) -> Option<Attempt> {
        let limits = subscriber.limits();
        let earliest = earliest(subscriber, now);
        let may = self.permits.room(&limits) > 0 && self.permits.next_start(earliest) <= now.into();
        may.then(|| self.permits.reserve(earliest, &limits).attempt)
    }

    fn hold(&mut self, held: Held) {
        self.held.push(held);
        self.held.sort_by_key(|held| held.number);
    }

    /// Applies the outcome of a request. `jitter` is random, from 0 to 1.
    pub fn report(
        &mut self,
        sending: &Sending,
        answer: Answer,
        now: OffsetDateTime,
        jitter: f64,
        outcome: &mut Outcome,
    ) {
        let at = Timestamp::from(now);
        let report = match answer {
            Answer::Delivered | Answer::Gone => Report::Accepted,
            Answer::RateLimited(_, until) => Report::RateLimited(until),
            Answer::Refused(_) | Answer::Unreachable => Report::Unavailable,
        };
        self.permits.report(sending.attempt, report, now);
        self.permits.release(sending.attempt);
        for number in &sending.numbers {
            if let Some(held) = self.in_flight.remove(number)
                && answer != Answer::Delivered
            {
                self.hold(held);
            }
        }
        if answer == Answer::Delivered {
            self.failing_since = None;
            self.held.retain(|held| !sending.numbers.contains(&held.number));
            outcome.delivered.extend(&sending.numbers);
            // Another request of the round may have failed for the last time.
            outcome.disabled.take_if(|(reason, ..)| *reason == DisabledReason::Unreachable);
            return;
        }
        let since = *self.failing_since.get_or_insert(at);
        if let Some(number) = sending.numbers.first().copied() {
            if answer == Answer::Gone {
                outcome.disabled = Some((DisabledReason::Gone, number, Some(410)));
            } else if at.since(since) >= Self::GIVES_UP_AFTER {
                outcome.disabled = Some((DisabledReason::Unreachable, number, answer.status()));
            }
        }
        for held in self.held.iter_mut().filter(|held| sending.numbers.contains(&held.number)) {
            // The first request may have failed because of another event of its batch, so the second one, which has only this
            // event, counts.
            if held.attempts <= 1 {
                held.failed_since = at;
            }
            held.status = answer.status();
            held.attempts += 1;
            let backoff = backoff(held.attempts).mul_f64(jitter.clamp(0.0, 1.0));
            let asked = if let Answer::RateLimited(_, Some(until)) = answer { until.into() } else { at };
            held.due_at = asked.max(at + backoff);
        }
        if outcome.disabled.is_none() {
            self.give_up(&sending.numbers, at, outcome);
        }
    }

    /// Gives up those of these events, whose request has just failed, that have failed for too long, if the subscriber accepts
    /// others. An event that waits for one of them is not given up with it.
    fn give_up(&mut self, failed: &[u64], now: Timestamp, outcome: &mut Outcome) {
        let failing_since = self.failing_since;
        let is_dead = |held: &Held| {
            failed.contains(&held.number)
                && now.since(held.failed_since) >= Self::GIVES_UP_AFTER
                && failing_since.is_none_or(|since| since > held.failed_since)
        };
        let dead = self.held.iter().filter(|held| is_dead(held));
        let dead: Vec<DeadLetter> =
            dead.map(|held| DeadLetter { number: held.number, status: held.status }).collect();
        self.held.retain(|held| !is_dead(held));
        self.dead_letters += dead.len() as u64;
        outcome.dead.extend(dead);
        self.end_failures();
    }

    /// Forgets since when requests have failed, if no event is left that would be sent again.
    fn end_failures(&mut self) {
        if self.held.iter().all(|held| held.attempts == 0) {
            self.failing_since = None;
        }
    }

    /// The time at which [`Self::take`] may take an event; `None` if no event waits. A time that has passed means now.
    /// `oldest` is the oldest event that was never taken.
    pub fn next_due(
        &self,
        oldest: Option<&QueuedEvent>,
        subscriber: &Subscriber,
        now: OffsetDateTime,
    ) -> Option<Timestamp> {
        let groups = self.first_held_of_groups();
        let is_first = |held: &&Held| !subscriber.is_ordered || groups.get(&held.group) == Some(&held.number);
        let held = self.held.iter().filter(is_first).map(|held| held.due_at).min();
        let ready = usize::try_from(self.tail - self.head).unwrap_or(usize::MAX);
        let is_full = self.held.len() >= Self::MAX_HELD;
        let fresh = (ready > 0 && !is_full).then(|| match oldest {
            Some(oldest) if Self::waits_for_batch(ready, oldest, subscriber, now) => {
                oldest.changed_at + Duration::from_secs(subscriber.max_batch_wait_seconds.into())
            }
            _ => now.into(),
        });
        let due = [held, fresh].into_iter().flatten().min()?;
        let start = if self.permits.room(&subscriber.limits()) > 0 {
            self.permits.next_start(earliest(subscriber, now))
        } else {
            self.permits.first_lease_end().unwrap_or(now.into())
        };
        Some(due.max(start))
    }

    /// Notes that a timer ends at this time. Returns whether it has to be sent: no timer of before ends soon enough.
    pub fn wake_at(&mut self, due: Timestamp) -> bool {
        if self.wakes_at.is_some_and(|at| at <= due) {
            return false;
        }
        self.wakes_at = Some(due);
        true
    }

    /// Prepares the deliveries to a subscriber that is resumed: everything that waits may be sent at once, and no event is
    /// given up for what failed before. Returns how many events wait.
    pub fn resume(&mut self, now: OffsetDateTime) -> u64 {
        self.permits.reset();
        self.failing_since = None;
        self.wakes_at = None;
        for held in &mut self.held {
            (held.due_at, held.failed_since) = (now.into(), now.into());
            held.attempts = held.attempts.min(1);
        }
        self.waiting()
    }

    /// Skips everything that waits. Returns how many events that were.
    pub fn skip(&mut self) -> u64 {
        let skipped = self.waiting();
        self.held.clear();
        self.head = self.tail;
        self.end_failures();
        skipped
    }

    /// The state as it is stored while requests are in flight: with their reservations, and otherwise as `before` they were
    /// taken. Events from `first_unstored` on exist only in the message that brought them. If the run dies, SQS delivers
    /// the message again, and its events are numbered anew.
    #[must_use]
    pub fn in_flight(&self, before: &Self, first_unstored: u64) -> Self {
        let mut stored = Self { permits: self.permits.clone(), ..before.clone() };
        stored.tail = stored.tail.min(first_unstored);
        stored.head = stored.head.min(first_unstored);
        stored.held.retain(|held| held.number < first_unstored);
        stored.in_flight.clear();
        stored
    }

    /// Whether an event still waits.
    pub fn is_waiting(&self, number: u64) -> bool {
        (self.head..self.tail).contains(&number) || self.held.iter().any(|held| held.number == number)
    }

    /// The number of the oldest event that was never taken.
    pub fn first_fresh(&self) -> Option<u64> {
        (self.head < self.tail).then_some(self.head)
    }

    /// How many events are not delivered.
    pub fn waiting(&self) -> u64 {
        self.tail - self.head + self.held.len() as u64
    }

    /// The number of the oldest event that is not delivered.
    pub fn oldest(&self) -> Option<u64> {
        self.held.first().map(|held| held.number).or(self.first_fresh())
    }

    /// The state for operators and metrics.
    pub fn summary(&self) -> Summary {
        let retrying: Vec<Held> = self.held.iter().filter(|held| held.attempts > 0).cloned().collect();
        Summary {
            waiting: self.waiting(),
            oldest: self.oldest(),
            blocked: (self.held.len() - retrying.len()) as u64,
            retrying,
            dead_letters: self.dead_letters,
            in_flight: self.permits.leases(),
            breaker_open: !self.permits.is_closed(),
            failing_since: self.failing_since.map(Timestamp::to_date),
        }
    }
}

impl Held {
    fn new(number: u64, event: &Event, now: Timestamp) -> Self {
        let (event_id, group) = (event.id, event.group().to_owned());
        Self { number, event_id, group, attempts: 0, due_at: now, failed_since: now, status: None }
    }
}

/// One call of [`DeliveryState::take`].
struct Round {
    taken: Vec<Sending>,
    /// The groups of which an event is held or taken, with the first event's number.
    groups: BTreeMap<String, u64>,
    /// The events that are held or taken.
    ids: BTreeSet<Uuid>,
    /// The index in `taken` of the request to which events are added.
    filling: Option<usize>,
}

impl Round {
    fn filling(&self) -> Option<&Sending> {
        self.taken.get(self.filling?)
    }

    fn has_room(&self, most: usize) -> bool {
        self.filling().is_some_and(|sending| sending.numbers.len() < most)
    }

    /// Whether another event of the group has to be delivered first: one that is not in the request that is being filled, or
    /// one in a request that is full.
    fn is_blocked(&self, group: &str, most: usize) -> bool {
        let Some(first) = self.groups.get(group) else { return false };
        let follows = self.has_room(most) && self.filling().is_some_and(|it| it.numbers.contains(first));
        !follows
    }

    fn fill(&mut self, number: u64, event: &Event) {
        self.ids.insert(event.id);
        self.groups.entry(event.group().to_owned()).or_insert(number);
        if let Some(sending) = self.filling.and_then(|index| self.taken.get_mut(index)) {
            sending.numbers.push(number);
        }
    }
}

/// A reservation may be used for so long after its time, so it may lie in the past.
fn earliest(subscriber: &Subscriber, now: OffsetDateTime) -> Timestamp {
    (now - subscriber.limits().tolerance()).into()
}

fn backoff(attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    (DeliveryState::FIRST_BACKOFF * 2u32.pow(doublings)).min(DeliveryState::MAX_BACKOFF)
}
