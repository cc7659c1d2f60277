//! `lectern subscribers`: manages the subscribers of events through the API, as an operator who has signed in.

mod report;
#[cfg(test)]
mod tests;
mod trial;
mod wire;

use lectern::events::SubscriberId;
use serde_json::{Value, json};

use self::{
    report::{Added, Listed, Paused, Removed, Replayed, Resumed, Rotated, Shown},
    trial::Tried,
    wire::{AddedSubscriber, NewSecret, ReplayedPage, ResumedSubscriber, Subscriber, SubscribersList, Trial},
};
use crate::{
    api::{Call, Client, failure::Failure},
    args::{
        AddSubscriber, Common, OneSubscriber, RemoveSubscriber, ReplayEvents, ResumeFrom, ResumeSubscriber,
        Subscribers, SubscribersCommand,
    },
    console::{Console, Exit},
    problem::Problem,
    text::count,
};

const COLLECTION: &str = "subscribers";

pub(crate) async fn run(
    common: &Common,
    options: &Subscribers,
    console: &mut Console<'_>,
) -> anyhow::Result<Exit> {
    let client = &Client::open(common).await?;
    match &options.command {
        SubscribersCommand::Add(options) => console.report(&add(client, options).await?)?,
        SubscribersCommand::List => console.report(&list(client).await?)?,
        SubscribersCommand::Show(options) => console.report(&show(client, options).await?)?,
        SubscribersCommand::Pause(options) => console.report(&pause(client, options).await?)?,
        SubscribersCommand::Resume(options) => console.report(&resume(client, options).await?)?,
        SubscribersCommand::Remove(options) => console.report(&remove(client, options).await?)?,
        SubscribersCommand::Rotate(options) => console.report(&rotate(client, options).await?)?,
        SubscribersCommand::Replay(options) => {
            let bar = console.progress(None, "replaying");
            let replayed = replay(client, options, |events| bar.set_position(events)).await;
            bar.finish_and_clear();
            console.report(&replayed?)?;
        }
        SubscribersCommand::Test(options) => {
            let tried = test(client, options).await?;
            console.report(&tried)?;
            return Ok(tried.exit());
        }
    }
    Ok(Exit::Done)
}

async fn add(client: &Client, options: &AddSubscriber) -> Result<Added, Problem> {
    // Not repeated if the answer is lost: the subscriber would exist, and the second answer would be a refusal.
    let added: AddedSubscriber = client.read(Call::create(&[COLLECTION], settings(options))).await?;
    Ok(Added(added))
}

/// The settings that the command line has, in the words of the API. The API knows the defaults and the ranges.
fn settings(options: &AddSubscriber) -> Value {
    let mut body = json!({
        "subscriberId": options.subscriber,
        "url": options.endpoint,
        "eventTypes": options.events,
        "kinds": options.kinds,
        "format": if options.thin { "thin" } else { "full" },
        "signature": if options.ed25519 { "ed25519" } else { "hmac" },
        "ordered": !options.unordered,
        "gzip": options.gzip,
    });
    for (name, value) in [
        ("maxBatch", options.batch.map(Value::from)),
        ("maxBatchWaitSeconds", options.batch_wait.map(Value::from)),
        ("requestsPerSecond", options.requests_per_second.map(Value::from)),
        ("maxInFlight", options.max_in_flight.map(Value::from)),
        ("timeoutSeconds", options.timeout.map(Value::from)),
    ] {
        if let Some(value) = value {
            body[name] = value;
        }
    }
    body
}

async fn list(client: &Client) -> Result<Listed, Problem> {
    let list: SubscribersList = client.read(Call::get(&[COLLECTION])).await?;
    Ok(Listed(list))
}

async fn show(client: &Client, options: &OneSubscriber) -> Result<Shown, Problem> {
    read(client, &id(&options.subscriber)?).await.map(Shown)
}

async fn pause(client: &Client, options: &OneSubscriber) -> Result<Paused, Problem> {
    let id = id(&options.subscriber)?;
    let call = Call::post(&[COLLECTION, id.as_str(), "pause"], json!({}));
    Ok(Paused(client.read(call).await.map_err(problem(&id))?))
}

async fn resume(client: &Client, options: &ResumeSubscriber) -> Result<Resumed, Problem> {
    let id = id(&options.subscriber)?;
    let path = [COLLECTION, id.as_str(), "resume"];
    let is_skipping = options.from == ResumeFrom::Now;
    // A second request skips nothing more, but its answer does not count what the first one has skipped.
    let call = if is_skipping {
        Call::create(&path, json!({ "from": "now" }))
    } else {
        Call::post(&path, json!({ "from": "position" }))
    };
    let answer: ResumedSubscriber = client.read(call).await.map_err(problem(&id))?;
    Ok(Resumed { answer, is_skipping })
}

async fn remove(client: &Client, options: &RemoveSubscriber) -> Result<Removed, Problem> {
    let id = id(&options.subscriber)?;
    let subscriber = read(client, &id).await?;
    if options.yes {
        client.call(&Call::delete(&[COLLECTION, id.as_str()])).await.map_err(problem(&id))?;
    }
    Ok(Removed { removed: options.yes, subscriber })
}

async fn test(client: &Client, options: &OneSubscriber) -> Result<Tried, Problem> {
    let id = id(&options.subscriber)?;
    let call = Call::create(&[COLLECTION, id.as_str(), "test"], json!({}));
    let trial: Trial = client.read(call).await.map_err(problem(&id))?;
    Ok(Tried(trial))
}

async fn rotate(client: &Client, options: &OneSubscriber) -> Result<Rotated, Problem> {
    let id = id(&options.subscriber)?;
    // Not repeated if the answer is lost: a second rotation ends the secret that the endpoint has.
    let call = Call::create(&[COLLECTION, id.as_str(), "rotate"], json!({}));
    let secret: NewSecret = client.read(call).await.map_err(problem(&id))?;
    Ok(Rotated(secret))
}

/// Replays all pages. After each page, calls `progress` with the number of events that were sent so far.
async fn replay(
    client: &Client,
    options: &ReplayEvents,
    progress: impl Fn(u64),
) -> Result<Replayed, Problem> {
    let id = id(&options.subscriber)?;
    let (mut events, mut cursor) = (0, None::<String>);
    loop {
        let mut body = json!({ "from": options.from });
        for (name, value) in [("to", &options.to), ("cursor", &cursor)] {
            if let Some(value) = value {
                body[name] = value.as_str().into();
            }
        }
        // A page that is repeated sends the same events again, which have the same ids.
        let call = Call::post(&[COLLECTION, id.as_str(), "replay"], body);
        let page: ReplayedPage = client.read(call).await.map_err(|failure| {
            let mut problem = problem(&id)(failure);
            if events > 0 {
                let sent = count(usize::try_from(events).unwrap_or(usize::MAX), "event");
                problem.todo = format!(
                    "{} {sent} of the newest submissions are sent. The command begins anew when it runs again, and sends them \
                     twice, with the same ids.",
                    problem.todo
                );
            }
            problem
        })?;
        events += page.events;
        progress(events);
        cursor = page.cursor;
        if cursor.is_none() {
            return Ok(Replayed { subscriber_id: id, events });
        }
    }
}

async fn read(client: &Client, id: &SubscriberId) -> Result<Subscriber, Problem> {
    client.read(Call::get(&[COLLECTION, id.as_str()])).await.map_err(problem(id))
}

fn id(text: &str) -> Result<SubscriberId, Problem> {
    text.parse().map_err(|_| {
        Problem::new(
            "this is not the id of a subscriber",
            "`lectern subscribers list` shows all subscribers.",
        )
    })
}

/// The problem with a request about one subscriber.
fn problem(id: &SubscriberId) -> impl Fn(Failure) -> Problem {
    move |failure| match failure.kind() {
        "not-found" => Problem::not_found(
            format!("there is no subscriber {id}"),
            "`lectern subscribers list` shows all subscribers.",
        ),
        _ => failure.into(),
    }
}
