//! The first letter that goes back tells whether the others may follow. What fails again is dead again only after all of
//! its deliveries, which takes from minutes to hours, and until then nobody sees it in the dead-letter queue. So the first
//! letter is looked after until it is done, and nothing else is sent before.

use std::time::Duration;

use lectern::{
    document::{DocumentRef, DocumentState},
    ports::{AdmissionStore as _, Load as _},
};
use lectern_aws::sfn::execution_name;
use tokio::time::Instant;

use super::{
    classify::{Class, Content},
    judged::{Judge, Judged},
    letters::depth,
};
use crate::{
    cloud::Cloud,
    problem::Problem,
    stack::{DeadLetters, Source},
};

/// SQS counts roughly, and what was sent just now may not be counted yet.
const COUNTS_AFTER: Duration = Duration::from_secs(30);
/// So often in a row the source has to be empty.
const EMPTY_LOOKS: u32 = 2;

/// A letter that is looked after.
#[derive(Debug)]
pub(super) struct Canary<'a> {
    cloud: &'a Cloud,
    queue: &'a DeadLetters,
    judged: Judged,
    /// What it asks for had not come about before it was sent, so that it tells something if it has now.
    tells: bool,
    sent: Instant,
    empty: u32,
}

impl<'a> Canary<'a> {
    /// Looks at how things stand before the letter is sent, which is to be done next.
    pub(super) async fn choose(
        cloud: &'a Cloud,
        queue: &'a DeadLetters,
        judged: &Judged,
    ) -> Result<Self, Problem> {
        let tells = !has_come_about(cloud, queue, judged).await?;
        Ok(Self { cloud, queue, judged: judged.clone(), tells, sent: Instant::now(), empty: 0 })
    }

    /// For how long it has been out.
    pub(super) fn age(&self) -> Duration {
        self.sent.elapsed()
    }

    /// Whether somebody has handled the letter: what it asks for has come about; or, if nothing in the store can tell
    /// that (its token is not awaited any more, its place was free before), its source is empty.
    pub(super) async fn is_done(&mut self) -> Result<bool, Problem> {
        if self.tells && has_come_about(self.cloud, self.queue, &self.judged).await? {
            return Ok(true);
        }
        let Source::Queue(source) = &self.queue.source else { return Ok(false) };
        if self.age() < COUNTS_AFTER {
            return Ok(false);
        }
        let depth = depth(&self.cloud.sqs, source).await?;
        self.empty = if depth.visible + depth.hidden == 0 { self.empty + 1 } else { 0 };
        Ok(self.empty >= EMPTY_LOOKS)
    }
}

/// Whether what a letter asks for is so: uploads are registered and on their way, a document is beyond the step and its
/// execution waits for something else, a place is free.
async fn has_come_about(cloud: &Cloud, queue: &DeadLetters, judged: &Judged) -> Result<bool, Problem> {
    let now = Judge::new(cloud, queue).judge(judged.letter.clone()).await?;
    if now.verdict.class == Class::Over {
        return Ok(true);
    }
    match &judged.content {
        Content::Task { document, kind: None, .. } => is_beyond(cloud, &queue.name, document).await,
        Content::Task { document, kind: Some(_), .. } => {
            let (state, _) = cloud.store.admission_state().await.map_err(|error| Problem::store(&error))?;
            let found = cloud.store.load(document).await.map_err(|error| Problem::store(&error))?;
            let attempt = found.and_then(|document| document.attempt);
            Ok(attempt.is_none_or(|attempt| state.lease(attempt).is_none()))
        }
        Content::Uploads(_) | Content::Unreadable(_) | Content::Newer(_) | Content::Invocation(_) => {
            Ok(false)
        }
    }
}

/// Whether the document's execution is in another state than the one that is named like the queue.
async fn is_beyond(cloud: &Cloud, step: &str, reference: &DocumentRef) -> Result<bool, Problem> {
    let found = cloud.store.load(reference).await.map_err(|error| Problem::store(&error))?;
    let Some(document) = found else { return Ok(true) };
    if step == "TransferDocument" && document.state > DocumentState::Transferring {
        return Ok(true);
    }
    let execution = execution_name(reference, document.redrives);
    let state = cloud.executions.state_now(&execution).await?;
    Ok(state.is_some_and(|state| state != step))
}
