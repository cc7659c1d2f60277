//! `lectern dlq`: lists the messages of the dead-letter queues, and sends them back.
//!
//! A redrive sends each message back with a count, and then deletes it. It does not check first whether the message is
//! still needed, because every consumer is idempotent: a message whose token is no longer awaited has no effect. The
//! options, and the parts of docs/operating.md that need them:
//!
//! | option | needed for |
//! |---|---|
//! | `list [QUEUE]` | each `…DeadLetterAlarm` |
//! | `list --bodies` | "A poisonous message in a dead-letter queue" |
//! | `redrive QUEUE`, `--yes` | each `…DeadLetterAlarm`, when the cause is gone |
//! | `redrive --all` | "A poisonous message in a dead-letter queue", with several queues |
//! | `redrive --limit` | `TransferDocumentDeadLetterAlarm`: one message first, to test whether the cause is gone |
//! | `redrive --rate` | `…ThrottlesAlarm`: a throttled function gets the backlog slowly |

pub(crate) mod classify;
pub(crate) mod queue;
mod redact;
mod redrive;
mod report;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use lectern::ports::Clock as _;
use lectern_aws::SystemClock;

use self::{
    classify::{Verdict, classify},
    queue::{Depth, Message, Queue},
    report::{ListReport, QueueReport},
};
use crate::{
    args::{Dlq, DlqCommand},
    cloud::Cloud,
    console::{Console, Exit},
    problem::Problem,
    stack::DeadLetterQueue,
};

/// The maximum number of messages that a listing reads from a queue.
const MAX_LISTED: usize = 1000;

pub(crate) async fn run(cloud: &Cloud, options: &Dlq, console: &mut Console<'_>) -> anyhow::Result<Exit> {
    match &options.command {
        DlqCommand::List(options) => {
            list(cloud, options.queue.as_deref(), options.bodies, false, console).await
        }
        DlqCommand::Redrive(options) if options.yes => redrive::run(cloud, options, console).await,
        DlqCommand::Redrive(options) => list(cloud, options.queue.as_deref(), false, true, console).await,
    }
}

async fn list(
    cloud: &Cloud,
    queue: Option<&str>,
    bodies: bool,
    dry_run: bool,
    console: &mut Console<'_>,
) -> anyhow::Result<Exit> {
    let now = SystemClock.now();
    let mut queues = Vec::new();
    for dead in cloud.stack.dead_letter_queues(queue)? {
        queues.push(QueueReport::new(dead, &peek(cloud, dead).await?, now));
    }
    console.report(&ListReport { dry_run, queues, bodies })?;
    Ok(Exit::Done)
}

/// The messages read from a queue, and the queue's depth just before.
struct Seen {
    messages: Vec<(Message, Verdict)>,
    depth: Depth,
}

/// Reads messages and makes them visible again. A FIFO queue returns at most ten messages, because while messages of a
/// group are hidden, it does not return the messages behind them.
async fn peek(cloud: &Cloud, dead: &DeadLetterQueue) -> Result<Seen, Problem> {
    let queue = Queue::new(&cloud.sqs, dead);
    let depth = queue.depth().await?;
    let mut seen: BTreeMap<String, Message> = BTreeMap::new();
    let failure = loop {
        match queue.receive(MAX_LISTED).await {
            Ok(batch) if batch.is_empty() => break None,
            Ok(batch) => seen.extend(batch.into_iter().map(|message| (message.id.clone(), message))),
            Err(problem) => break Some(problem),
        }
        if seen.len() >= MAX_LISTED {
            break None;
        }
    };
    for message in seen.values() {
        queue.release(&message.handle).await;
    }
    failure.map_or(Ok(()), Err)?;
    let classified = seen.into_values().map(|message| {
        let verdict = classify(dead, &message);
        (message, verdict)
    });
    Ok(Seen { messages: classified.collect(), depth })
}
