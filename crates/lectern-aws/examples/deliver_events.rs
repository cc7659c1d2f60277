//! Runs `deliver-events` with its real HTTP client against `event_sink`: `make bench-events`.
//!
//! `deliver_events JSON`, where the JSON is a [`Run`]. The table and the queues are those of `lectern::testing`, in memory,
//! so the figures are those of the step and of the client: parsing messages, the state of the deliveries, bodies,
//! signatures, HTTP, metrics. As on Lambda, there is one thread.
//!
//! Metrics and log lines go to the standard output, as in the function, so the result is one line of JSON on the standard
//! error.

use std::{
    collections::BTreeMap,
    fs::{File, read_to_string},
    io::{self, Write as _},
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use futures_util::{TryStreamExt as _, stream::FuturesUnordered};
use lectern::{
    contract::{network::Network, webhook::WEBHOOK_ID},
    error::{Error, StoreError, rfc3339},
    events::{
        DeliveryState, DocumentData, Event, EventData, EventRequest, EventType, Format, QueuedEvent, Secret,
        SignatureKind, Source, Subscriber, SubscriberId, SubscriberStatus,
    },
    message,
    ports::{Clock as _, Deliveries, Endpoints, NoAnswer, Subscribers},
    steps::{
        deliver_events::{Batch, Message, Order, Ports},
        route_events::in_messages,
    },
    testing::{MemoryAlarms, MemoryEventQueue, MemoryStore},
};
use lectern_aws::{Config, HttpEndpoints, SystemClock, SystemRandom, logging};
use lectern_content::MediaType;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

/// Tells the ids of events that are made at the same time apart.
const TIMES: u32 = 64;
/// Size of an event in the file of [`StoreOnDisk`].
const RECORD_BYTES: usize = 1024;

/// What to run.
#[derive(Deserialize)]
#[serde(tag = "mode", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
enum Run {
    /// Print the largest message that `route-events` sends.
    Message,
    /// Deliver as much as possible for some seconds: each subscriber's next message is there when one is done.
    Throughput { target: Target, subscribers: usize, seconds: f64 },
    /// Deliver a message of some events to each subscriber at regular times, and measure each event's delivery.
    Isolation {
        target: Target,
        subscribers: usize,
        /// Whether there is one more subscriber, which gets as many events and answers no request.
        has_stalled: bool,
        events: usize,
        interval_ms: u64,
        seconds: f64,
    },
    /// Deliver messages to one subscriber that answers no request, and measure the memory.
    Backlog { target: Target, backlog_file: PathBuf, messages: u64, interval_ms: u64 },
}

/// The subscribers and what they get.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Target {
    /// The base URL of the sink.
    url: String,
    /// A file with the message of [`Run::Message`].
    message_file: PathBuf,
    max_in_flight: u32,
    max_batch: u32,
    timeout_seconds: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let text = std::env::args().nth(1).context("usage: deliver_events JSON")?;
    let result = match serde_json::from_str(&text)? {
        Run::Message => message()?,
        Run::Throughput { target, subscribers, seconds } => throughput(target, subscribers, seconds).await?,
        Run::Isolation { target, subscribers, has_stalled, events, interval_ms, seconds } => {
            let times = Schedule::new(interval_ms, seconds);
            isolation(target, subscribers, has_stalled, events, times).await?
        }
        Run::Backlog { target, backlog_file, messages, interval_ms } => {
            backlog(target, &File::create_new(backlog_file)?, messages, interval_ms).await?
        }
    };
    Ok(writeln!(io::stderr(), "{result}")?)
}

/// A message with as many events as `route-events` puts into one: each about a document of its own submission.
fn message() -> anyhow::Result<Value> {
    let now = SystemClock.now();
    let queued = |number: u128| {
        let document = Uuid::from_u128(0x5f0d_71c2_8c1b_4b54_9d2e_0000_0000_0000 | number);
        let data = DocumentData {
            submission_id: document.simple().to_string().parse()?,
            document_id: document.to_string().parse()?,
            media_type: Some(MediaType::Mp4),
            size_bytes: 200_000_000,
            redrives: 0,
            reason_code: None,
            superseded_by: None,
        };
        let event = Event {
            id: Uuid::new_v5(&document, b"ready"),
            event_type: EventType::DocumentReady,
            time: Some(rfc3339(now)),
            data: EventData::Document(data),
        };
        anyhow::Ok(QueuedEvent { event, changed_at: now.into() })
    };
    let events = (0..2000).map(queued).collect::<anyhow::Result<Vec<_>>>()?;
    let messages = in_messages(&"subscriber".parse()?, events);
    Ok(serde_json::to_value(messages.first().context("there are no events")?)?)
}

async fn throughput(target: Target, subscribers: usize, seconds: f64) -> anyhow::Result<Value> {
    logging::init(Config::from_env())?;
    let text = read_to_string(&target.message_file)?;
    let store = MemoryStore::default();
    let bench = Bench::new(&store, HttpEndpoints::new(Network::Loopback), target);
    let ends = Instant::now() + Duration::from_secs_f64(seconds);
    let deliver = async |number: usize| -> anyhow::Result<u64> {
        let mut group = bench.subscribe(&format!("subscriber-{number}"), "events").await?;
        while Instant::now() < ends {
            bench.handle(&mut group, vec![message::parse(&text)?]).await?;
        }
        let (state, _) = store.delivery_state(&group.subscriber).await?;
        ensure!(group.later.is_empty() && state.waiting() == 0, "{} events wait", state.waiting());
        Ok(state.tail())
    };
    let delivered: Vec<u64> =
        (0..subscribers).map(deliver).collect::<FuturesUnordered<_>>().try_collect().await?;
    Ok(json!({
        "events": delivered.iter().sum::<u64>(),
        "cpuSeconds": cpu_seconds()?,
        "peakRssKib": memory_kib("VmHWM:")?,
    }))
}

/// When messages arrive.
#[derive(Clone, Copy)]
struct Schedule {
    starts: Instant,
    interval: Duration,
    messages: u32,
}

impl Schedule {
    fn new(interval_ms: u64, seconds: f64) -> Self {
        let interval = Duration::from_millis(interval_ms);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "there are some hundreds"
        )]
        let messages = (seconds / interval.as_secs_f64()) as u32;
        Self { starts: Instant::now(), interval, messages }
    }

    /// The times of the messages of one of several subscribers, which take turns.
    fn of(self, number: usize, subscribers: usize) -> impl Iterator<Item = Instant> {
        #[expect(clippy::cast_precision_loss, reason = "there are some tens")]
        let offset = self.interval.mul_f64(number as f64 / subscribers as f64);
        (0..self.messages).map(move |message| self.starts + offset + self.interval * message)
    }
}

async fn isolation(
    target: Target,
    subscribers: usize,
    has_stalled: bool,
    events: usize,
    schedule: Schedule,
) -> anyhow::Result<Value> {
    logging::init(Config::from_env())?;
    let message: Message = message::parse(&read_to_string(&target.message_file)?)?;
    let Order::Deliver { events: template } = message.order else { bail!("the message has no events") };
    let template: Vec<_> = template.into_iter().take(events).collect();
    let store = MemoryStore::default();
    let timed = Timed::new(HttpEndpoints::new(Network::Loopback), schedule.starts);
    let bench = Bench::new(&store, timed, target);
    let numbers = 0..subscribers + usize::from(has_stalled);
    let deliver = async |number: usize| -> anyhow::Result<()> {
        let path = if number < subscribers { "events" } else { "stalled" };
        let mut group = bench.subscribe(&format!("subscriber-{number}"), path).await?;
        for at in schedule.of(number, numbers.len()) {
            sleep_until(at).await;
            let mut queued = template.clone();
            for (queued, id) in queued.iter_mut().zip(bench.endpoints.ids(at)) {
                queued.event.id = id;
                queued.changed_at = SystemClock.now().into();
            }
            let messages = in_messages(&group.subscriber, queued);
            bench.handle(&mut group, messages).await?;
        }
        Ok(())
    };
    numbers.clone().map(deliver).collect::<FuturesUnordered<_>>().try_collect::<()>().await?;
    let stalled = if has_stalled { bench.waiting(&format!("subscriber-{subscribers}")).await? } else { 0 };
    let mut seconds = bench.endpoints.seconds.into_inner().unwrap_or_else(PoisonError::into_inner);
    seconds.sort_by(f64::total_cmp);
    let quantile = |part: usize| seconds.get(seconds.len() * part / 100).copied();
    Ok(json!({
        "deliveries": seconds.len(),
        "p50Seconds": quantile(50),
        "p99Seconds": quantile(99),
        "waitingForStalled": stalled,
        "cpuSeconds": cpu_seconds()?,
    }))
}

async fn backlog(target: Target, file: &File, messages: u64, interval_ms: u64) -> anyhow::Result<Value> {
    logging::init(Config::from_env())?;
    let text = read_to_string(&target.message_file)?;
    let store = StoreOnDisk { memory: MemoryStore::default(), file };
    let bench = Bench::new(&store, HttpEndpoints::new(Network::Loopback), target);
    let mut group = bench.subscribe("subscriber", "stalled").await?;
    let mut memory = Vec::new();
    let starts = Instant::now();
    for number in 0..messages {
        sleep_until(starts + Duration::from_millis(interval_ms * number)).await;
        bench.handle(&mut group, vec![message::parse(&text)?]).await?;
        memory.push((bench.waiting("subscriber").await?, memory_kib("VmRSS:")?));
    }
    Ok(json!({ "waitingAndRssKib": memory, "peakRssKib": memory_kib("VmHWM:")? }))
}

/// The ports of the step.
struct Bench<'s, S, E> {
    target: Target,
    store: &'s S,
    endpoints: E,
    alarms: MemoryAlarms,
    source: Source,
}

impl<'s, S: Subscribers + Deliveries, E: Endpoints> Bench<'s, S, E> {
    fn new(store: &'s S, endpoints: E, target: Target) -> Self {
        let source = Source { name: "lectern".to_owned(), api_url: "https://api.lectern.example".to_owned() };
        Self { target, store, endpoints, alarms: MemoryAlarms::default(), source }
    }

    async fn subscribe(&self, id: &str, path: &str) -> anyhow::Result<Group> {
        let subscriber_id: SubscriberId = id.parse()?;
        let subscriber = Subscriber {
            subscriber_id: subscriber_id.clone(),
            url: format!("{}/{path}/{id}", self.target.url),
            event_types: [].into(),
            kinds: [].into(),
            format: Format::Full,
            signature: SignatureKind::Hmac,
            is_ordered: true,
            max_batch: self.target.max_batch,
            max_batch_wait_seconds: 0,
            has_gzip: false,
            // High enough not to bind.
            requests_per_second: 100_000.0,
            max_in_flight: self.target.max_in_flight,
            timeout_seconds: self.target.timeout_seconds,
            status: SubscriberStatus::Active,
            created_at: rfc3339(SystemClock.now()),
            secrets: vec![Secret::of([1, 2])],
        };
        self.store.add_subscriber(&subscriber).await?;
        Ok(Group { subscriber: subscriber_id, queue: MemoryEventQueue::default(), later: Vec::new() })
    }

    /// Handles messages, and those that the step has sent before and that are due.
    async fn handle(&self, group: &mut Group, messages: Vec<Message>) -> anyhow::Result<()> {
        let now = Instant::now();
        let inputs =
            messages.into_iter().chain(group.later.extract_if(.., |(at, _)| *at <= now).map(|(_, due)| due));
        let mut inputs: Vec<Message> = inputs.collect();
        for message in &mut inputs {
            message.subscriber_id.clone_from(&group.subscriber);
        }
        let Self { store, endpoints, alarms, source, .. } = self;
        let (clock, random) = (&SystemClock, &SystemRandom);
        let ports = Ports { store: *store, queue: &group.queue, endpoints, alarms, clock, random, source };
        ports.handle(Batch { inputs, again: false }).await?;
        let now = Instant::now();
        group.later.extend(group.queue.take().into_iter().map(|message| (now, message)));
        let timers = group.queue.take_timers().into_iter();
        group.later.extend(timers.map(|(message, delay)| (now + delay, message)));
        Ok(())
    }

    async fn waiting(&self, id: &str) -> anyhow::Result<u64> {
        Ok(self.store.delivery_state(&id.parse()?).await?.0.waiting())
    }
}

/// The message group of a subscriber.
struct Group {
    subscriber: SubscriberId,
    queue: MemoryEventQueue,
    /// The messages that the step has sent, and when they arrive.
    later: Vec<(Instant, Message)>,
}

/// Endpoints that measure each delivery of one event, from the time that its id contains.
struct Timed {
    endpoints: HttpEndpoints,
    starts: Instant,
    seconds: Mutex<Vec<f64>>,
}

impl Timed {
    /// Deliveries of this first time make the connections and are not measured.
    const WARM_UP: Duration = Duration::from_secs(1);

    fn new(endpoints: HttpEndpoints, starts: Instant) -> Self {
        Self { endpoints, starts, seconds: Mutex::default() }
    }

    /// Ids of events that happen at this time.
    fn ids(&self, at: Instant) -> impl Iterator<Item = Uuid> {
        let nanos = at.duration_since(self.starts).as_nanos();
        (0u128..).map(move |number| Uuid::from_u128(number << TIMES | nanos))
    }

    fn happened_at(&self, id: &str) -> Option<Instant> {
        let (_, nanos) = Uuid::parse_str(id).ok()?.as_u64_pair();
        Some(self.starts + Duration::from_nanos(nanos))
    }
}

impl Endpoints for Timed {
    async fn post(
        &self,
        url: &str,
        request: EventRequest,
        timeout: Duration,
    ) -> Result<http::Response<Bytes>, NoAnswer> {
        let id = request.headers.get(WEBHOOK_ID).and_then(|id| id.to_str().ok()).map(str::to_owned);
        let response = self.endpoints.post(url, request, timeout).await?;
        if let Some(at) = id.and_then(|id| self.happened_at(&id))
            && at >= self.starts + Self::WARM_UP
        {
            let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
            seconds.push(at.elapsed().as_secs_f64());
        }
        Ok(response)
    }

    fn check(&self, url: &str) -> Result<(), NoAnswer> {
        self.endpoints.check(url)
    }
}

/// A table of one subscriber of which the waiting events are in a file, so that they do not count as this process's memory.
/// They are in `DynamoDB` on AWS.
struct StoreOnDisk<'f> {
    memory: MemoryStore,
    file: &'f File,
}

impl StoreOnDisk<'_> {
    fn write(&self, number: u64, queued: &QueuedEvent) -> anyhow::Result<()> {
        let json = serde_json::to_string(queued)?;
        ensure!(json.len() <= RECORD_BYTES, "an event is too large");
        Ok(self.file.write_all_at(format!("{json:RECORD_BYTES$}").as_bytes(), offset(number))?)
    }

    fn read(&self, number: u64) -> anyhow::Result<QueuedEvent> {
        let mut record = [0; RECORD_BYTES];
        self.file.read_exact_at(&mut record, offset(number))?;
        Ok(serde_json::from_slice(&record)?)
    }
}

fn offset(number: u64) -> u64 {
    number * RECORD_BYTES as u64
}

fn defect(error: &anyhow::Error) -> Error {
    StoreError::defect(format!("the file of waiting events: {error}")).into()
}

impl Subscribers for StoreOnDisk<'_> {
    async fn subscribers(&self) -> Result<Vec<Subscriber>, Error> {
        self.memory.subscribers().await
    }

    async fn subscriber(&self, id: &SubscriberId) -> Result<Option<Subscriber>, Error> {
        self.memory.subscriber(id).await
    }

    async fn add_subscriber(&self, subscriber: &Subscriber) -> Result<bool, Error> {
        self.memory.add_subscriber(subscriber).await
    }

    async fn set_status(&self, id: &SubscriberId, status: &SubscriberStatus) -> Result<(), Error> {
        self.memory.set_status(id, status).await
    }

    async fn set_secrets(&self, subscriber: &Subscriber) -> Result<(), Error> {
        self.memory.set_secrets(subscriber).await
    }

    async fn remove_subscriber(&self, id: &SubscriberId) -> Result<(), Error> {
        self.memory.remove_subscriber(id).await
    }
}

impl Deliveries for StoreOnDisk<'_> {
    async fn delivery_state(&self, id: &SubscriberId) -> Result<(DeliveryState, u64), Error> {
        self.memory.delivery_state(id).await
    }

    async fn commit_deliveries(
        &self,
        id: &SubscriberId,
        state: &DeliveryState,
        revision: u64,
    ) -> Result<(), Error> {
        self.memory.commit_deliveries(id, state, revision).await
    }

    async fn waiting_events(
        &self,
        _id: &SubscriberId,
        numbers: &[u64],
    ) -> Result<BTreeMap<u64, QueuedEvent>, Error> {
        numbers
            .iter()
            .map(|number| Ok((*number, self.read(*number).map_err(|error| defect(&error))?)))
            .collect()
    }

    async fn store_events(
        &self,
        _id: &SubscriberId,
        events: &BTreeMap<u64, QueuedEvent>,
        _now: OffsetDateTime,
    ) -> Result<(), Error> {
        events
            .iter()
            .try_for_each(|(number, queued)| self.write(*number, queued).map_err(|error| defect(&error)))
    }

    async fn delete_events(&self, _id: &SubscriberId, _numbers: &[u64]) -> Result<(), Error> {
        Ok(())
    }
}

/// A line of `/proc/self/status`, in KiB.
fn memory_kib(name: &str) -> anyhow::Result<u64> {
    let status = read_to_string("/proc/self/status").context("this needs Linux")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context("a figure is missing")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

/// The processor time of this process until now, which the kernel counts in hundredths of a second.
fn cpu_seconds() -> anyhow::Result<f64> {
    let stat = read_to_string("/proc/self/stat").context("this needs Linux")?;
    let (_, fields) = stat.rsplit_once(')').context("/proc/self/stat is malformed")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks =
        |index: usize| fields.get(index).context("a figure is missing")?.parse::<f64>().map_err(Into::into);
    let (user, system): (anyhow::Result<f64>, anyhow::Result<f64>) = (ticks(11), ticks(12));
    Ok((user? + system?) / 100.0)
}
