//! `lectern status`: the first command in an incident. It shows the whole stack with a few reads.

mod report;
#[cfg(test)]
mod tests;
mod trouble;

use std::pin::pin;

use futures_util::TryStreamExt as _;
use lectern::{document::submission::SubmissionState, ports::Clock as _};
use lectern_aws::SystemClock;
use time::OffsetDateTime;

use self::{
    report::{QueueRow, StatusReport, Submissions},
    trouble::Trouble,
};
use crate::{
    cloud::Cloud,
    console::{Console, Exit},
    dlq::queue::depth,
    limiter::Limiter,
    problem::Problem,
};

/// The maximum number of submissions of a state that are counted; with more, the report says "at least".
const MAX_COUNTED: u64 = 1000;

pub(crate) async fn run(cloud: &Cloud, console: &mut Console<'_>) -> anyhow::Result<Exit> {
    let report = status(cloud, SystemClock.now(), console).await?;
    console.report(&report)?;
    Ok(Exit::Done)
}

async fn status(cloud: &Cloud, now: OffsetDateTime, console: &Console<'_>) -> Result<StatusReport, Problem> {
    let bar = console.progress(None, "reading");
    let (limiter, _) = Limiter::read(cloud, now).await?;
    let mut queues = Vec::with_capacity(cloud.stack.dead_letter_queues.len());
    for queue in &cloud.stack.dead_letter_queues {
        let source = depth(&cloud.sqs, &queue.source_url).await?;
        queues.push(QueueRow::new(queue, source, depth(&cloud.sqs, &queue.url).await?));
        bar.inc(1);
    }
    let needs_attention = count(cloud, SubmissionState::NeedsAttention).await?;
    let in_progress = count(cloud, SubmissionState::InProgress).await?;
    let trouble = Trouble::read(cloud).await;
    bar.finish_and_clear();
    Ok(StatusReport::new(&cloud.stack, limiter, queues, [needs_attention, in_progress], trouble, now))
}

async fn count(cloud: &Cloud, state: SubmissionState) -> Result<Submissions, Problem> {
    let (mut counted, mut read) = (Submissions::default(), 0);
    let mut submissions = pin!(cloud.submissions(state));
    while let Some(submission) = submissions.try_next().await? {
        if read == MAX_COUNTED {
            counted.at_least = true;
            break;
        }
        read += 1;
        // The index may still contain a submission that has just left the state.
        if submission.state == state {
            counted.add(&submission);
        }
    }
    Ok(counted)
}
