//! The endpoints of the simulation. Each checks what it receives.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
    ops::Range,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{StatusCode, header::RETRY_AFTER};
use time::OffsetDateTime;
use uuid::Uuid;

use super::services::{Dice, VirtualClock};
use crate::{
    events::{Event, EventRequest, Subscriber, SubscriberId, tests::fixtures::Meter},
    ports::{Clock as _, Endpoints, NoAnswer},
    testing::{lock, world::START},
};

/// A time of the simulation.
pub(super) fn hours(hours: i64) -> OffsetDateTime {
    START + time::Duration::hours(hours)
}

/// How an endpoint behaves.
#[derive(Clone, Debug)]
pub(super) enum Character {
    /// It accepts everything at once.
    Well,
    /// It answers nothing or 500 at these times.
    Down(Range<OffsetDateTime>),
    /// Its answers take long, and often longer than the subscriber's timeout.
    Slow,
    /// It often answers 429 or 503, with all kinds of `Retry-After`.
    Limited,
    /// It answers 500 after it has processed an event, or 2xx and then 500 for the same event.
    Liar,
    /// It never accepts one of its events.
    Poisoned,
    /// It fails now and then, in many ways.
    Unreliable,
    /// It answers 410 for an hour from this time on.
    Gone(OffsetDateTime),
}

/// One endpoint.
#[derive(Debug)]
pub(super) struct Sink {
    subscriber: Subscriber,
    character: Character,
    meter: Meter,
    in_flight: u32,
    received: BTreeSet<Uuid>,
    /// The events that were answered with 2xx.
    pub(super) accepted: BTreeSet<Uuid>,
    /// The event that it never accepts.
    pub(super) poison: Option<Uuid>,
    /// How many events it has received again.
    pub(super) repeated: usize,
}

/// All endpoints.
#[derive(Debug)]
pub(super) struct Sinks {
    all: Mutex<BTreeMap<SubscriberId, Sink>>,
    clock: VirtualClock,
    dice: Arc<Dice>,
    /// All events so far, in the order of the stream, with the times of their changes.
    happened: Arc<Mutex<Vec<(Event, OffsetDateTime)>>>,
    /// What should not have happened.
    pub(super) violations: Mutex<Vec<String>>,
    /// The longest time from a change to the subscriber that is well.
    pub(super) longest_delay: Mutex<Duration>,
}

/// What an endpoint does with a request.
struct Reply {
    after: Duration,
    status: Option<StatusCode>,
    retry_after: Option<String>,
}

/// A request in flight, until it is answered or its run dies.
struct InFlight<'s>(&'s Sinks, SubscriberId);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if let Some(sink) = lock(&self.0.all).get_mut(&self.1) {
            sink.in_flight -= 1;
        }
    }
}

impl Sinks {
    pub(super) fn new(
        subscribers: Vec<(Subscriber, Character)>,
        clock: VirtualClock,
        dice: Arc<Dice>,
        happened: Arc<Mutex<Vec<(Event, OffsetDateTime)>>>,
    ) -> Self {
        let sinks = subscribers.into_iter().map(|(subscriber, character)| {
            let sink = Sink {
                meter: Meter::of(&subscriber),
                subscriber,
                character,
                in_flight: 0,
                received: BTreeSet::new(),
                accepted: BTreeSet::new(),
                poison: None,
                repeated: 0,
            };
            (sink.subscriber.subscriber_id.clone(), sink)
        });
        Self {
            all: Mutex::new(sinks.collect()),
            clock,
            dice,
            happened,
            violations: Mutex::default(),
            longest_delay: Mutex::default(),
        }
    }

    /// An endpoint at the end.
    pub(super) fn of(&self, id: &SubscriberId) -> Sink {
        lock(&self.all).remove(id).unwrap()
    }

    pub(super) fn violation(&self, text: String) {
        lock(&self.violations).push(text);
    }

    /// Checks a request, and decides on the answer.
    fn receive(&self, id: &SubscriberId, ids: &[Uuid]) -> Reply {
        let now = self.clock.now();
        let happened = lock(&self.happened);
        let mut all = lock(&self.all);
        let sink = all.get_mut(id).unwrap();
        if !sink.meter.allows(now) {
            self.violation(format!("{id}: more requests at {now} than the rate allows"));
        }
        sink.in_flight += 1;
        if sink.in_flight > sink.subscriber.max_in_flight {
            self.violation(format!("{id}: {} requests in flight at {now}", sink.in_flight));
        }
        if ids.len() > sink.subscriber.max_batch as usize || ids.is_empty() {
            self.violation(format!("{id}: {} events in a request", ids.len()));
        }
        for (position, event) in ids.iter().enumerate() {
            self.check(sink, &happened, *event, &ids[..position]);
            if !sink.received.insert(*event) {
                sink.repeated += 1;
            }
        }
        self.reply(sink, ids, now)
    }

    fn check(&self, sink: &Sink, happened: &[(Event, OffsetDateTime)], id: Uuid, before: &[Uuid]) {
        let name = &sink.subscriber.subscriber_id;
        let Some(index) = happened.iter().position(|(event, _)| event.id == id) else {
            return self.violation(format!("{name}: {id} has never happened"));
        };
        let event = &happened[index].0;
        if !sink.subscriber.wants(event) {
            self.violation(format!("{name}: {event:?} was not asked for"));
        }
        if !sink.subscriber.is_ordered || sink.received.contains(&id) {
            return;
        }
        let is_done =
            |id: &Uuid| sink.accepted.contains(id) || before.contains(id) || sink.poison == Some(*id);
        let earlier = happened[..index].iter().map(|(earlier, _)| earlier);
        let late = earlier
            .filter(|earlier| earlier.group() == event.group() && sink.subscriber.wants(earlier))
            .find(|earlier| !is_done(&earlier.id));
        if let Some(late) = late {
            self.violation(format!("{name}: {event:?} came before {late:?}"));
        }
    }

    fn reply(&self, sink: &mut Sink, ids: &[Uuid], now: OffsetDateTime) -> Reply {
        let dice = &self.dice;
        let soon = Duration::from_millis(20 + dice.below(100));
        let answer =
            |status: u16| Reply { after: soon, status: StatusCode::from_u16(status).ok(), retry_after: None };
        let timeout = sink.subscriber.timeout();
        let nothing = Reply { after: timeout, status: None, retry_after: None };
        // In the end every endpoint works.
        let is_rough = now < hours(100);
        match &sink.character {
            Character::Down(times) if times.contains(&now) => {
                if dice.happens(2) {
                    nothing
                } else {
                    answer(500)
                }
            }
            Character::Slow if is_rough => match dice.up_to(timeout.mul_f64(1.5)) {
                takes if takes < timeout => Reply { after: takes, ..answer(200) },
                _ => nothing,
            },
            Character::Limited if is_rough && dice.happens(3) => {
                let values =
                    ["0", "7", "600", "soon", "-5", "", "Fri, 20 Nov 2026 18:00:00 GMT", "99999999999"];
                // A day is rare, because nothing is sent meanwhile.
                let most = if dice.happens(30) { values.len() } else { values.len() - 1 };
                let chosen = values[usize::try_from(dice.below(most as u64)).unwrap()].to_owned();
                Reply { retry_after: Some(chosen), ..answer(if dice.happens(4) { 503 } else { 429 }) }
            }
            Character::Liar if is_rough => {
                answer([200, 500, 202, 299][usize::try_from(dice.below(4)).unwrap()])
            }
            Character::Poisoned => {
                if sink.poison.is_none() && now > hours(1) && now < hours(7) && dice.happens(10) {
                    sink.poison = ids.iter().find(|id| !sink.accepted.contains(id)).copied();
                }
                answer(if sink.poison.is_some_and(|id| ids.contains(&id)) { 422 } else { 204 })
            }
            Character::Unreliable if is_rough && dice.happens(6) => match dice.below(4) {
                0 => nothing,
                1 => answer(302),
                2 => answer(404),
                _ => answer(503),
            },
            Character::Gone(at) if (*at..*at + time::Duration::hours(1)).contains(&now) => answer(410),
            Character::Well
            | Character::Down(_)
            | Character::Slow
            | Character::Limited
            | Character::Liar
            | Character::Unreliable
            | Character::Gone(_) => answer(204),
        }
    }

    fn accept(&self, id: &SubscriberId, ids: &[Uuid]) {
        let now = self.clock.now();
        let mut all = lock(&self.all);
        let sink = all.get_mut(id).unwrap();
        for event in ids {
            if sink.accepted.insert(*event) && matches!(sink.character, Character::Well) {
                let happened = lock(&self.happened);
                let changed = happened.iter().find(|(it, _)| it.id == *event).map_or(now, |(_, at)| *at);
                let mut longest = lock(&self.longest_delay);
                *longest = longest.max((now - changed).unsigned_abs());
            }
        }
    }
}

fn ids_of(request: &EventRequest) -> Vec<Uuid> {
    let mut json = request.body.clone();
    if request.headers.contains_key("content-encoding") {
        json.clear();
        GzDecoder::new(request.body.as_slice()).read_to_end(&mut json).unwrap();
    }
    let body: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let events = body.as_array().cloned().unwrap_or_else(|| vec![body]);
    events.iter().map(|event| event["id"].as_str().unwrap().parse().unwrap()).collect()
}

impl Endpoints for Sinks {
    async fn post(
        &self,
        url: &str,
        request: EventRequest,
        _timeout: Duration,
    ) -> Result<http::Response<Bytes>, NoAnswer> {
        let host = url.trim_start_matches("https://").split('.').next().unwrap();
        let id: SubscriberId = host.parse().unwrap();
        let ids = ids_of(&request);
        let reply = self.receive(&id, &ids);
        let in_flight = InFlight(self, id.clone());
        tokio::time::sleep(reply.after).await;
        drop(in_flight);
        let Some(status) = reply.status else { return Err(NoAnswer("no answer".to_owned())) };
        if status.is_success() {
            self.accept(&id, &ids);
        }
        let mut response = http::Response::new(Bytes::new());
        *response.status_mut() = status;
        if let Some(value) = reply.retry_after {
            response.headers_mut().insert(RETRY_AFTER, value.parse().unwrap());
        }
        Ok(response)
    }

    fn check(&self, _url: &str) -> Result<(), NoAnswer> {
        Ok(())
    }
}
