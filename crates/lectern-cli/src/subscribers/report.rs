//! What the commands print, and what there is to do next.

use std::io::{self, Write};

use lectern::events::SubscriberId;
use serde::Serialize;

use super::wire::{
    AddedSubscriber, Deliveries, NewSecret, ResumedSubscriber, Retrying, Subscriber, SubscribersList,
};
use crate::{
    console::{Report, write_todo},
    text::count,
};

fn events(number: u64) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), "event")
}

impl Subscriber {
    fn command(&self, command: &str) -> String {
        format!("lectern subscribers {command} {}", self.subscriber_id)
    }

    fn is_active(&self) -> bool {
        self.status == "active"
    }

    /// Whether an operator has to look at it.
    fn is_in_trouble(&self) -> bool {
        self.status == "disabled" || self.deliveries.breaker_open || self.deliveries.failing_since.is_some()
    }

    /// `active`, or since when and why it is disabled.
    fn status_text(&self) -> String {
        let why = match self.disabled_reason.as_deref() {
            Some("gone") => "; its endpoint answered 410",
            Some("unreachable") => "; no delivery has succeeded for three days",
            Some(_) | None => "",
        };
        match &self.disabled_at {
            Some(at) => format!("{} since {at}{why}", self.status),
            None => self.status.clone(),
        }
    }

    fn events_text(&self) -> String {
        let listed = |list: &[String], all: &str| {
            if list.is_empty() { all.to_owned() } else { list.join(", ") }
        };
        let types = listed(&self.event_types, "all types");
        if self.kinds.is_empty() { types } else { format!("{types}; files: {}", self.kinds.join(", ")) }
    }

    fn requests_text(&self) -> String {
        let batch = match self.max_batch {
            1 => "one event each".to_owned(),
            most => {
                format!("at most {most} events each, which wait at most {} s", self.max_batch_wait_seconds)
            }
        };
        let gzip = if self.gzip { ", gzip" } else { "" };
        format!("{} events, {batch}, signed with {}{gzip}", self.format, self.signature)
    }

    fn todo(&self) -> Vec<String> {
        let test = format!("{}    see what its endpoint answers", self.command("test"));
        match self.status.as_str() {
            "paused" => vec![self.command("resume")],
            "disabled" if self.disabled_reason.as_deref() == Some("gone") => vec![
                format!("{}    when its endpoint wants events again", self.command("resume")),
                format!("{} --yes    if it does not", self.command("remove")),
            ],
            "disabled" => vec![test, format!("{}    when its endpoint works again", self.command("resume"))],
            _ if self.is_in_trouble() => {
                vec![test, format!("{}    retry at once when it works again", self.command("resume"))]
            }
            _ => Vec::new(),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Listed(pub(super) SubscribersList);

impl Report for Listed {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let subscribers = &self.0.subscribers;
        if subscribers.is_empty() {
            return writeln!(
                out,
                "There are no subscribers. To add one: lectern subscribers add <ID> <ENDPOINT>"
            );
        }
        let width = subscribers.iter().map(|one| one.subscriber_id.len()).max().unwrap_or_default().max(10);
        writeln!(
            out,
            "{:<width$}  STATUS    WAITING  RETRYING  DEAD LETTERS  BREAKER  ENDPOINT",
            "SUBSCRIBER"
        )?;
        for Subscriber { subscriber_id, status, url, deliveries, .. } in subscribers {
            let Deliveries { waiting, retrying_count, dead_letters, breaker_open, .. } = deliveries;
            let breaker = if *breaker_open { "open" } else { "closed" };
            writeln!(
                out,
                "{subscriber_id:<width$}  {status:<8}  {waiting:>7}  {retrying_count:>8}  {dead_letters:>12}  {breaker:<7}  {url}"
            )?;
        }
        let troubled = subscribers.iter().filter(|one| one.is_in_trouble());
        let todo: Vec<String> = troubled.map(|one| one.command("show")).collect();
        write_todo(out, &todo)
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Shown(pub(super) Subscriber);

impl Report for Shown {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let it = &self.0;
        writeln!(out, "Subscriber    {}", it.subscriber_id)?;
        writeln!(out, "Endpoint      {}", it.url)?;
        writeln!(out, "Status        {}", it.status_text())?;
        writeln!(out, "Created       {}", it.created_at)?;
        writeln!(out, "Events        {}", it.events_text())?;
        writeln!(out, "Requests      {}", it.requests_text())?;
        let order = if it.ordered { "kept within each submission" } else { "not kept" };
        writeln!(out, "Order         {order}")?;
        writeln!(
            out,
            "Limits        {} requests/s, {} in flight, {} s each",
            it.requests_per_second, it.max_in_flight, it.timeout_seconds
        )?;
        write_deliveries(out, &it.deliveries)?;
        write_todo(out, &it.todo())
    }
}

fn write_deliveries(out: &mut dyn Write, deliveries: &Deliveries) -> io::Result<()> {
    let Deliveries {
        waiting,
        oldest_at,
        retrying,
        retrying_count,
        blocked,
        dead_letters,
        in_flight,
        breaker_open,
        failing_since,
    } = deliveries;
    let oldest = oldest_at.as_ref().map(|at| format!(", the oldest since {at}")).unwrap_or_default();
    writeln!(out, "Waiting       {}{oldest}", events(*waiting))?;
    writeln!(out, "In flight     {in_flight}")?;
    let failing = failing_since.as_ref().map(|at| format!("; every request has failed since {at}"));
    let breaker = if *breaker_open { "open" } else { "closed" };
    writeln!(out, "Breaker       {breaker}{}", failing.unwrap_or_default())?;
    if *blocked > 0 {
        writeln!(out, "Blocked       {}, behind an event of the same submission", events(*blocked))?;
    }
    if *dead_letters > 0 {
        writeln!(out, "Dead letters  {}, given up after three days", events(*dead_letters))?;
    }
    if *retrying_count > 0 {
        writeln!(out, "Retrying      {}", events(*retrying_count))?;
    }
    for Retrying { event_id, event_type, subject, attempts, next_at, status } in retrying {
        let last = status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        let attempts = count(usize::try_from(*attempts).unwrap_or(usize::MAX), "attempt");
        writeln!(out, "  {event_id}  {event_type} of {subject}: {attempts}, last {last}, next at {next_at}")?;
    }
    Ok(())
}

#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct Added(pub(super) AddedSubscriber);

impl Report for Added {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let AddedSubscriber { subscriber, secret } = &self.0;
        writeln!(
            out,
            "Subscriber {} is added. From now on, its events are sent to {}",
            subscriber.subscriber_id, subscriber.url
        )?;
        write_secret(out, secret)?;
        let test = format!("{}    send a signed event, and see the answer", subscriber.command("test"));
        write_todo(out, &[test])
    }
}

fn write_secret(out: &mut dyn Write, NewSecret { secret, public_key }: &NewSecret) -> io::Result<()> {
    if let Some(secret) = secret {
        writeln!(out, "Secret      {secret}")?;
    }
    if let Some(key) = public_key {
        writeln!(out, "Public key  {key}")?;
    }
    writeln!(out, "It is shown only now. The endpoint verifies signatures with it.")
}

#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct Rotated(pub(super) NewSecret);

impl Report for Rotated {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        write_secret(out, &self.0)?;
        let todo = "Give it to the endpoint within 24 hours. Until then, requests carry a signature of the one before, too. \
                    Do not rotate again before the endpoint has it.";
        write_todo(out, &[todo.to_owned()])
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Paused(pub(super) Subscriber);

impl Report for Paused {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let it = &self.0;
        writeln!(out, "Subscriber {}: {}", it.subscriber_id, it.status_text())?;
        writeln!(out, "Its events wait for 30 days at most.")?;
        write_todo(out, &[it.command("resume")])
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Resumed {
    #[serde(flatten)]
    pub(super) answer: ResumedSubscriber,
    #[serde(skip)]
    pub(super) is_skipping: bool,
}

impl Report for Resumed {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { answer: ResumedSubscriber { events: number, subscriber }, is_skipping } = self;
        let id = &subscriber.subscriber_id;
        if *is_skipping {
            writeln!(out, "Subscriber {id} is {}: {} skipped.", subscriber.status, were(*number))?;
        } else {
            writeln!(out, "Subscriber {id} is {}: {} to be sent.", subscriber.status, wait(*number))?;
        }
        let show = format!("{}    see how the deliveries go", subscriber.command("show"));
        let todo = if subscriber.is_active() { vec![show] } else { subscriber.todo() };
        write_todo(out, &todo)
    }
}

fn were(number: u64) -> String {
    format!("{} {}", events(number), if number == 1 { "was" } else { "were" })
}

fn are(number: u64) -> String {
    format!("{} that waited {}", events(number), if number == 1 { "is" } else { "are" })
}

fn wait(number: u64) -> String {
    format!("{} {}", events(number), if number == 1 { "waits" } else { "wait" })
}

#[derive(Debug, Serialize)]
pub(super) struct Removed {
    pub(super) removed: bool,
    pub(super) subscriber: Subscriber,
}

impl Report for Removed {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { removed, subscriber } = self;
        let Subscriber { subscriber_id, url, deliveries, .. } = subscriber;
        if *removed {
            writeln!(out, "Subscriber {subscriber_id} is removed. {} never sent.", are(deliveries.waiting))?;
            return write_todo(out, &[]);
        }
        writeln!(out, "Subscriber {subscriber_id} would be removed. Its endpoint is {url}")?;
        writeln!(out, "{} for it, and would never be sent.", wait(deliveries.waiting))?;
        write_todo(out, &[format!("To remove it: {} --yes", subscriber.command("remove"))])
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Replayed {
    pub(super) subscriber_id: SubscriberId,
    pub(super) events: u64,
}

impl Report for Replayed {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { subscriber_id, events: number } = self;
        writeln!(out, "Subscriber {subscriber_id}: {} queued again, with the same ids.", were(*number))?;
        let todo = match number {
            0 => Vec::new(),
            _ => vec![format!("lectern subscribers show {subscriber_id}    see how the deliveries go")],
        };
        write_todo(out, &todo)
    }
}
