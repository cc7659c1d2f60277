//! `lectern dlq`: what could not be handled, why, and how it gets back.

mod canary;
pub mod classify;
#[cfg(test)]
mod fake_queues;
mod invoke;
mod judged;
pub(crate) mod letters;
mod markers;
mod native;
mod outcome;
mod plan;
pub mod redact;
mod redrive;
mod report;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_canary;
#[cfg(test)]
mod tests_of_invocations;
#[cfg(test)]
mod tests_of_order;

use lectern::ports::Clock as _;
use lectern_aws::SystemClock;

use self::{
    judged::{Judged, peek},
    report::{ListReport, QueueReport, ShowReport, unseen},
};
use crate::{
    args::{Dlq, DlqCommand, DlqList, DlqShow},
    cloud::Cloud,
    console::{Console, Exit},
    problem::Problem,
    stack::DeadLetters,
};

/// A message is looked for among so many.
const MAX_SEARCHED: usize = 10_000;

pub(crate) async fn run(cloud: &Cloud, options: &Dlq, console: &mut Console<'_>) -> anyhow::Result<Exit> {
    match &options.command {
        DlqCommand::List(options) => list(cloud, options, console).await,
        DlqCommand::Show(options) => show(cloud, options, console).await,
        DlqCommand::Redrive(options) => redrive::run(cloud, options, console).await,
    }
}

async fn list(cloud: &Cloud, options: &DlqList, console: &mut Console<'_>) -> anyhow::Result<Exit> {
    let now = SystemClock.now();
    let asked = cloud.stack.dead_letters(options.queue.as_deref())?;
    let bar = console.progress(Some(asked.len() as u64), "reading queues");
    let mut queues = Vec::with_capacity(asked.len());
    for queue in asked {
        let seen = peek(cloud, queue, options.limit).await?;
        queues.push(QueueReport::new(queue, &seen, now));
        bar.inc(1);
    }
    bar.finish_and_clear();
    console.report(&ListReport { queues })?;
    Ok(Exit::Done)
}

async fn show(cloud: &Cloud, options: &DlqShow, console: &mut Console<'_>) -> anyhow::Result<Exit> {
    let now = SystemClock.now();
    let queue = cloud.stack.dead_letters(Some(&options.queue))?.remove(0);
    let seen = peek(cloud, queue, MAX_SEARCHED).await?;
    let not_seen = seen.not_seen();
    let mut matching =
        seen.letters.into_iter().filter(|judged: &Judged| judged.letter.id.starts_with(&options.message));
    let Some(judged) = matching.next() else {
        let todo = format!("See what is there with `lectern dlq list {} --json`.", queue.name);
        let among = match not_seen {
            0 => String::new(),
            number => {
                format!(" among those that were read; {}", unseen(DeadLetters::is_fifo(&queue.url), number))
            }
        };
        let what = format!("{} has no message {}{among}", queue.name, options.message);
        return Err(Problem::not_found(what, todo).into());
    };
    if matching.next().is_some() {
        let what = format!("several messages of {} begin with {}", queue.name, options.message);
        return Err(Problem::new(what, "Give more of the id.").into());
    }
    console.report(&ShowReport::new(queue, &judged, not_seen, now))?;
    Ok(Exit::Done)
}
