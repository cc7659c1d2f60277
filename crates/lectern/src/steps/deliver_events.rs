//! `deliver-events`: sends events to one subscriber, within the subscriber's limits.
//!
//! The queue has one message group for each subscriber, so this step has one run at a time for each subscriber, and a
//! subscriber that stalls delays no other. A run makes rounds: it reserves requests and stores the reservations, makes the
//! requests at the same time, and then stores their outcome together with the next reservations. What cannot be sent in
//! this run is stored, and a timer starts the next run. No run waits for anything but answers.
//!
//! An event is deleted only after its delivery is stored, so a run that dies sends an event twice, with the same id.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{
    admission::Timestamp,
    contract::response,
    error::{Error, rfc3339},
    events::{
        Answer, DeliveryState, Event, EventRequest, Outcome, QueuedEvent, Sending, Source, Subscriber,
        SubscriberId, SubscriberStatus,
    },
    message::SCHEMA_VERSION,
    ports::{Alarms, Clock, Deliveries, Endpoints, EventQueue, Random, Subscribers},
    telemetry::metrics,
};

/// A message to this step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u64,
    /// The subscriber.
    pub subscriber_id: SubscriberId,
    /// What to do.
    #[serde(flatten)]
    pub order: Order,
}

/// What a message asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Order {
    /// Deliver these events after all earlier ones.
    Deliver {
        /// In order.
        events: Vec<QueuedEvent>,
    },
    /// Go on with the events that wait. The text is different each time, so that SQS does not take two messages for one.
    Continue {
        /// What is different.
        after: String,
    },
    /// A timer: go on with the events that wait at this time.
    Wake {
        /// When.
        due_at: Timestamp,
    },
}

impl Message {
    /// A message that starts a run. `after` is different each time.
    pub fn run(subscriber_id: SubscriberId, after: String) -> Self {
        Self { schema_version: SCHEMA_VERSION, subscriber_id, order: Order::Continue { after } }
    }
}

/// The messages of one invocation, in order.
#[derive(Debug)]
pub struct Batch {
    /// The messages.
    pub inputs: Vec<Message>,
    /// Whether any of them was delivered before.
    pub again: bool,
}

/// The ports of the step.
#[derive(Debug)]
pub struct Ports<'p, S, Q, E, A, C, R> {
    /// The subscribers, their positions, and the events that wait.
    pub store: &'p S,
    /// The step's own queue, and its timers.
    pub queue: &'p Q,
    /// The subscribers' endpoints.
    pub endpoints: &'p E,
    /// The topic of all alarms.
    pub alarms: &'p A,
    /// The time.
    pub clock: &'p C,
    /// Randomness.
    pub random: &'p R,
    /// The sender that events name.
    pub source: &'p Source,
}

/// A run begins no further round after this time. The function's timeout is longer by a request and some writes.
pub const LONGEST_RUN: Duration = Duration::from_secs(20);
/// The longest delay of a message in SQS.
const LONGEST_TIMER: Duration = Duration::from_mins(15);
/// Requests of one round.
const MAX_REQUESTS: u32 = 100;

impl<S, Q, E, A, C, R> Ports<'_, S, Q, E, A, C, R>
where
    S: Subscribers + Deliveries,
    Q: EventQueue,
    E: Endpoints,
    A: Alarms,
    C: Clock,
    R: Random,
{
    /// Handles the messages of one invocation.
    ///
    /// # Errors
    /// `Store.Unavailable`: SQS delivers the messages again.
    pub async fn handle(&self, batch: Batch) -> Result<(), Error> {
        for Message { subscriber_id, order, .. } in batch.inputs {
            match order {
                Order::Wake { due_at } => self.wake(subscriber_id, due_at).await?,
                Order::Deliver { events } => self.run(&subscriber_id, events, batch.again).await?,
                Order::Continue { .. } => self.run(&subscriber_id, Vec::new(), batch.again).await?,
            }
        }
        Ok(())
    }

    /// A timer has ended, or a part of it: the queue of timers has no order, so the run starts in the subscriber's group.
    async fn wake(&self, subscriber_id: SubscriberId, due_at: Timestamp) -> Result<(), Error> {
        if due_at > self.clock.now().into() {
            return self.start_timer(&subscriber_id, due_at).await;
        }
        let after = format!("timer {}, ended {}", rfc3339(due_at.to_date()), rfc3339(self.clock.now()));
        self.queue.send_events(&[Message::run(subscriber_id, after)]).await
    }

    async fn start_timer(&self, subscriber_id: &SubscriberId, due_at: Timestamp) -> Result<(), Error> {
        let delay = due_at.since(self.clock.now().into()).min(LONGEST_TIMER);
        let order = Order::Wake { due_at };
        let message = Message { schema_version: SCHEMA_VERSION, subscriber_id: subscriber_id.clone(), order };
        self.queue.send_timer(&message, delay).await
    }

    async fn run(&self, id: &SubscriberId, new: Vec<QueuedEvent>, again: bool) -> Result<(), Error> {
        let Some(subscriber) = self.store.subscriber(id).await? else {
            tracing::info!(subscriberId = %id, "The subscriber was removed; its events are dropped.");
            return Ok(());
        };
        let (state, revision) = self.store.delivery_state(id).await?;
        let mut run = Run::new(&subscriber, state, revision, new);
        let began = self.clock.now();
        run.state.advance_to(began);
        if again {
            // The run before may have died between the write of the state and its timer.
            run.state.forget_timer();
        }
        let mut disabled = None;
        while disabled.is_none()
            && subscriber.status == SubscriberStatus::Active
            && self.clock.now() - began < LONGEST_RUN
        {
            let Some(round) = self.reserve(&mut run).await? else { break };
            disabled = self.make_requests(&mut run, round).await?;
        }
        self.finish(run, disabled).await
    }

    /// Takes events and stores the reservations of their requests; `None` if no event may be sent now.
    async fn reserve(&self, run: &mut Run<'_>) -> Result<Option<Vec<Sending>>, Error> {
        let (subscriber, now) = (run.subscriber, self.clock.now());
        run.state.advance_to(now);
        let most = subscriber.max_batch.max(1) * subscriber.max_in_flight.min(MAX_REQUESTS);
        let most = (most as usize).min(DeliveryState::MAX_HELD);
        let candidates = run.state.candidates(most, subscriber, now);
        self.load(run, &candidates).await?;
        let before = run.state.clone();
        let taken = run.state.take(&candidates, &run.events, subscriber, now);
        if taken.is_empty() {
            return Ok(None);
        }
        let stored = run.state.in_flight(&before, run.first_unstored);
        self.store.commit_deliveries(&subscriber.subscriber_id, &stored, run.revision).await?;
        run.revision += 1;
        Ok(Some(taken))
    }

    /// Reads the events of these numbers that the run does not have yet.
    async fn load(&self, run: &mut Run<'_>, numbers: &[u64]) -> Result<(), Error> {
        let is_unknown = |number: &u64| *number < run.first_unstored && !run.events.contains_key(number);
        let unknown: Vec<u64> = numbers.iter().copied().filter(is_unknown).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let id = &run.subscriber.subscriber_id;
        let found = self.store.waiting_events(id, &unknown).await?;
        if found.len() < unknown.len() {
            let missing = unknown.len() - found.len();
            tracing::error!(subscriberId = %id, events = missing, "Events that waited have expired; they are skipped.");
        }
        run.events.extend(found);
        Ok(())
    }

    async fn make_requests(
        &self,
        run: &mut Run<'_>,
        round: Vec<Sending>,
    ) -> Result<Option<Disabling>, Error> {
        let events = &run.events;
        let answers = join_all(round.iter().map(|sending| self.request(run.subscriber, events, sending)));
        let answers = answers.await;
        let mut outcome = Outcome::default();
        for (sending, answer) in round.iter().zip(answers) {
            run.state.report(sending, answer?, self.clock.now(), self.jitter(), &mut outcome);
        }
        let now = self.clock.now();
        let ages = outcome.delivered.iter().filter_map(|number| run.events.get(number));
        let ages: Vec<Duration> = ages.map(|queued| age(queued, now)).collect();
        metrics::delivered(&run.subscriber.subscriber_id, ages.into_iter());
        let is_stored = |number: &u64| *number < run.first_unstored;
        let done = outcome.delivered.iter().copied().filter(is_stored);
        run.done.extend(done);
        for number in &outcome.delivered {
            run.events.remove(number);
        }
        for dead in &outcome.dead {
            if let Some(queued) = run.events.get(&dead.number) {
                tracing::error!(
                    subscriberId = %run.subscriber.subscriber_id,
                    eventId = %queued.event.id,
                    eventType = %queued.event.event_type,
                    status = dead.status,
                    "An event is given up: the subscriber has refused it for three days and accepted others."
                );
            }
        }
        metrics::events_given_up(&run.subscriber.subscriber_id, outcome.dead.len());
        Ok(outcome.disabled.map(|(reason, number, status)| Disabling {
            status: SubscriberStatus::Disabled { reason, at: rfc3339(now) },
            event: run.events.get(&number).map(|queued| queued.event.clone()),
            answer: status,
        }))
    }

    async fn request(
        &self,
        subscriber: &Subscriber,
        events: &BTreeMap<u64, QueuedEvent>,
        sending: &Sending,
    ) -> Result<Answer, Error> {
        let events: Vec<&Event> =
            sending.numbers.iter().filter_map(|number| Some(&events.get(number)?.event)).collect();
        let request = EventRequest::new(&events, subscriber, self.source, self.clock.now())?;
        let response = self.endpoints.post(&subscriber.url, request, subscriber.timeout()).await;
        let answer = match &response {
            Ok(response) => answer(response.status(), response.headers(), self.clock.now()),
            Err(_) => Answer::Unreachable,
        };
        if answer != Answer::Delivered {
            let detail = response.err().map(|error| error.to_string());
            tracing::warn!(
                subscriberId = %subscriber.subscriber_id,
                eventId = events.first().map(|event| event.id.to_string()),
                events = events.len(),
                status = answer.status(),
                detail,
                "A delivery has failed."
            );
            metrics::delivery_failed(&subscriber.subscriber_id);
        }
        Ok(answer)
    }

    fn jitter(&self) -> f64 {
        // 32 of the random bits.
        let part = u32::try_from(self.random.bits() >> 96).unwrap_or_default();
        f64::from(part) / f64::from(u32::MAX)
    }

    /// Stores what is not delivered, and starts the next run or its timer.
    async fn finish(&self, mut run: Run<'_>, disabled: Option<Disabling>) -> Result<(), Error> {
        let (subscriber, now) = (run.subscriber, self.clock.now());
        let id = &subscriber.subscriber_id;
        let unstored: BTreeMap<u64, QueuedEvent> = run
            .events
            .range(run.first_unstored..)
            .filter(|(number, _)| run.state.is_waiting(**number))
            .map(|(number, queued)| (*number, queued.clone()))
            .collect();
        if !unstored.is_empty() {
            self.store.store_events(id, &unstored, now).await?;
        }
        let is_active = subscriber.status == SubscriberStatus::Active && disabled.is_none();
        let fresh = run.state.first_fresh();
        self.load(&mut run, fresh.as_slice()).await?;
        let oldest = run.state.first_fresh().and_then(|number| run.events.get(&number));
        let due = run.state.next_due(oldest, subscriber, now).filter(|_| is_active);
        let timer = due.filter(|due| *due > now.into()).map(Timestamp::to_whole_second);
        let starts_timer = timer.is_some_and(|due| run.state.wake_at(due));
        if let Some(disabling) = &disabled {
            // Operators are told first: if the run dies now, the next one makes the request again and tells them again.
            self.tell(id, disabling).await?;
            // The status comes before the state: if the run dies now, the next one stores the events and makes no request.
            self.store.set_status(id, &disabling.status).await?;
        }
        self.store.commit_deliveries(id, &run.state, run.revision).await?;
        if let Some(due) = timer.filter(|_| starts_timer) {
            self.start_timer(id, due).await?;
        } else if due.is_some() && timer.is_none() {
            let after = format!("revision {}, written {}", run.revision + 1, rfc3339(now));
            self.queue.send_events(&[Message::run(id.clone(), after)]).await?;
        }
        if !run.done.is_empty() {
            self.store.delete_events(id, &run.done).await?;
        }
        self.report(&run, now).await
    }

    /// Reports the age of the oldest event that waits, from the stream on.
    async fn report(&self, run: &Run<'_>, now: OffsetDateTime) -> Result<(), Error> {
        let id = &run.subscriber.subscriber_id;
        let oldest = match run.state.oldest() {
            Some(number) => match run.events.get(&number) {
                Some(queued) => Some(age(queued, now)),
                None => {
                    self.store.waiting_events(id, &[number]).await?.values().next().map(|it| age(it, now))
                }
            },
            None => None,
        };
        let is_active = run.subscriber.status == SubscriberStatus::Active;
        metrics::subscriber(id, run.state.waiting(), oldest.filter(|_| is_active).unwrap_or_default());
        Ok(())
    }

    async fn tell(&self, id: &SubscriberId, disabling: &Disabling) -> Result<(), Error> {
        let Disabling { status, event, answer } = disabling;
        let SubscriberStatus::Disabled { reason, .. } = status else { return Ok(()) };
        let event = event.as_ref().map_or_else(String::new, |event| {
            format!(" The last event was {} ({}).", event.id, event.event_type)
        });
        let answer = answer.map_or_else(|| "none".to_owned(), |status| status.to_string());
        tracing::error!(subscriberId = %id, reason = ?reason, status = answer, "The subscriber is disabled; its events wait.");
        metrics::subscriber_disabled(id);
        let why = match reason {
            crate::events::DisabledReason::Gone => "its endpoint answered 410",
            crate::events::DisabledReason::Unreachable => "no delivery has succeeded for three days",
        };
        let text = format!(
            "Lectern sends no more events to the subscriber {id}, because {why}.{event} The last status was {answer}.\n\
             Its events wait and are not lost. When the endpoint works again, run:\n\
             lectern subscribers resume {id}\n"
        );
        self.alarms.alarm(&format!("Lectern: subscriber {id} is disabled"), &text).await
    }
}

/// A subscriber that this run disables.
struct Disabling {
    status: SubscriberStatus,
    event: Option<Event>,
    answer: Option<u16>,
}

/// What one run knows.
struct Run<'s> {
    subscriber: &'s Subscriber,
    state: DeliveryState,
    revision: u64,
    /// Events that may be sent, by number.
    events: BTreeMap<u64, QueuedEvent>,
    /// The number of the first event that only the message has.
    first_unstored: u64,
    /// Stored events that are delivered.
    done: Vec<u64>,
}

impl<'s> Run<'s> {
    fn new(
        subscriber: &'s Subscriber,
        mut state: DeliveryState,
        revision: u64,
        new: Vec<QueuedEvent>,
    ) -> Self {
        let first_unstored = state.tail();
        state.append(new.len());
        let events = (first_unstored..).zip(new).collect();
        Self { subscriber, state, revision, events, first_unstored, done: Vec::new() }
    }
}

fn age(queued: &QueuedEvent, now: OffsetDateTime) -> Duration {
    Timestamp::from(now).since(queued.changed_at)
}

/// What an answer means. A redirect is a failure: the endpoint that an operator has entered has to answer itself.
fn answer(status: StatusCode, headers: &HeaderMap, now: OffsetDateTime) -> Answer {
    let until = response::retry_at(headers, now);
    match status {
        status if status.is_success() => Answer::Delivered,
        StatusCode::GONE => Answer::Gone,
        StatusCode::TOO_MANY_REQUESTS => Answer::RateLimited(429, until),
        StatusCode::SERVICE_UNAVAILABLE if until.is_some() => Answer::RateLimited(503, until),
        status => Answer::Refused(status.as_u16()),
    }
}

#[cfg(test)]
mod tests;
