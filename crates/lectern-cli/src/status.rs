//! `lectern status`: the first command at night. What the stack looks like as a whole, from a few reads.

mod report;
#[cfg(test)]
mod tests;
mod trouble;

use lectern::{
    document::submission::SubmissionState,
    ports::{Browse as _, Clock as _, Cursor},
};
use lectern_aws::SystemClock;
use time::OffsetDateTime;

use self::{
    report::{QueueRow, StatusReport, Submissions},
    trouble::Trouble,
};
use crate::{
    cloud::Cloud,
    console::{Console, Exit},
    dlq::letters::depth,
    limiter::Limiter,
    problem::Problem,
    stack::Source,
};

const PAGE: usize = 100;
/// So many submissions of a state are counted; more are told as "at least".
const MAX_COUNTED: usize = 1000;

pub(crate) async fn run(cloud: &Cloud, console: &mut Console<'_>) -> anyhow::Result<Exit> {
    let report = status(cloud, SystemClock.now(), console).await?;
    console.report(&report)?;
    Ok(Exit::Done)
}

async fn status(cloud: &Cloud, now: OffsetDateTime, console: &Console<'_>) -> Result<StatusReport, Problem> {
    let bar = console.progress(None, "reading");
    let (limiter, _) = Limiter::read(cloud, now).await?;
    let mut queues = Vec::with_capacity(cloud.stack.dead_letters.len());
    for queue in &cloud.stack.dead_letters {
        let source = match &queue.source {
            Source::Queue(url) => Some(depth(&cloud.sqs, url).await?),
            Source::Invocations => None,
        };
        let dead = depth(&cloud.sqs, &queue.url).await?;
        queues.push(QueueRow::new(queue, source, dead));
        bar.inc(1);
    }
    let needs_attention = count(cloud, SubmissionState::NeedsAttention).await?;
    let in_progress = count(cloud, SubmissionState::InProgress).await?;
    let trouble = Trouble::read(cloud).await;
    bar.finish_and_clear();
    let stack = cloud.stack.name.clone();
    let todo = limiter.todo(cloud.stack.api_key.as_deref());
    Ok(StatusReport::new(stack, limiter, queues, [needs_attention, in_progress], trouble, todo, now))
}

/// Counts submissions of a state by the index, newest first. Those that have just left the state are not counted.
async fn count(cloud: &Cloud, state: SubmissionState) -> Result<Submissions, Problem> {
    let (mut counted, mut read, mut after) = (Submissions::default(), 0, None);
    loop {
        let page = cloud.store.submissions(Some(state), after.as_ref(), PAGE).await;
        let page = page.map_err(|error| Problem::store(&error))?;
        let Some(last) = page.last() else { return Ok(counted) };
        after = Some(Cursor {
            created_at: last.created_at.clone(),
            submission_id: last.submission_id.to_string(),
        });
        read += page.len();
        page.iter().filter(|submission| submission.state == state).for_each(|one| counted.add(one));
        if read >= MAX_COUNTED {
            counted.at_least = true;
            return Ok(counted);
        }
        if page.len() < PAGE {
            return Ok(counted);
        }
    }
}
