//! `lectern dlq`: what is in the dead-letter queues, and sending it back.
//!
//! A redrive is one thing: each message is sent back, with a count, and then deleted. Nothing is looked up first, because
//! every consumer is idempotent: a message that nobody waits for any more has no effect. The options, and the part of
//! docs/operating.md that needs each:
//!
//! | option | needed |
//! |---|---|
//! | `list [QUEUE]` | at each `…DeadLetterAlarm` |
//! | `list --bodies` | "A poisonous message in a dead-letter queue", `FailedInvocationAlarm` |
//! | `redrive QUEUE`, `--yes` | at each `…DeadLetterAlarm`, when the cause is gone |
//! | `redrive --all` | "A poisonous message in a dead-letter queue", where several queues are concerned |
//! | `redrive --limit` | `TransferDocumentDeadLetterAlarm`: one message first, to see whether the cause is gone |
//! | `redrive --rate` | `…ThrottlesAlarm`: a function that is throttled gets the backlog slowly |

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

/// A listing reads so many messages of a queue.
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

/// What was read of a queue, and how full the queue was just before.
struct Seen {
    messages: Vec<(Message, Verdict)>,
    depth: Depth,
}

/// Reads messages and makes them visible again. A FIFO queue shows ten at most: while messages of a group are hidden, it
/// does not show those behind them.
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
        let verdict = classify(&cloud.stack, dead, &message);
        (message, verdict)
    });
    Ok(Seen { messages: classified.collect(), depth })
}
