//! Sends messages back one by one. Each message is sent before it is deleted, so an interruption loses nothing. The
//! message carries the number of its redrives, so later runs know it. No message is sent twice in one run.

use std::collections::BTreeMap;

use aws_sdk_s3::primitives::ByteStream;
use futures_util::{StreamExt as _, stream};
use lectern::error::rfc3339;
use serde_json::json;
use tokio::{sync::Mutex, time::Interval};

use super::{
    classify::{Action, Verdict, classify},
    queue::{Message, Queue},
    report::{Outcome, RedriveReport},
};
use crate::{
    args::DlqRedrive,
    cloud::Cloud,
    console::{Console, Exit},
    pace,
    problem::Problem,
    stack::DeadLetterQueue,
};

#[cfg(test)]
mod tests;

/// The number of messages handled in parallel, so that the network's latency does not limit the rate.
const AT_A_TIME: usize = 8;

pub(super) async fn run(
    cloud: &Cloud,
    options: &DlqRedrive,
    console: &mut Console<'_>,
) -> anyhow::Result<Exit> {
    let mut queues = Vec::new();
    for dead in cloud.stack.dead_letter_queues(options.queue.as_deref())? {
        queues.push(redrive(cloud, dead, options, console).await?);
    }
    let is_left = queues.iter().any(Outcome::needs_attention);
    console.report(&RedriveReport { queues })?;
    Ok(if is_left { Exit::Attention } else { Exit::Done })
}

/// The outcome for one message.
pub(super) enum Settled {
    Sent,
    /// The message was moved to the object with this key.
    Quarantined(String),
    /// The message stays in the queue, for this reason.
    Kept(String),
}

pub(super) async fn redrive(
    cloud: &Cloud,
    dead: &DeadLetterQueue,
    options: &DlqRedrive,
    console: &Console<'_>,
) -> Result<Outcome, Problem> {
    let run = Run {
        cloud,
        queue: Queue::new(&cloud.sqs, dead),
        pace: Mutex::new(pace::per_second(options.rate)),
        id: format!("{:016x}", fastrand::u64(..)),
    };
    let (mut outcome, mut held) = (Outcome::new(dead), BTreeMap::new());
    let bar = console.progress(Some(run.queue.depth().await?.visible), &dead.name);
    let worked = run.work(options.limit.unwrap_or(usize::MAX), &mut outcome, &mut held, &bar).await;
    for handle in held.values() {
        run.queue.release(handle).await;
    }
    bar.finish_and_clear();
    match worked {
        Err(problem) if !outcome.has_changed_anything() => return Err(problem),
        Err(problem) => outcome.stopped = Some(problem.text()),
        Ok(()) => {}
    }
    Ok(outcome)
}

struct Run<'a> {
    cloud: &'a Cloud,
    queue: Queue<'a>,
    pace: Mutex<Interval>,
    id: String,
}

impl Run<'_> {
    /// Handles messages until the queue returns no more. `held` contains the receipt handles of the messages that are
    /// not deleted, by message id.
    async fn work(
        &self,
        limit: usize,
        outcome: &mut Outcome,
        held: &mut BTreeMap<String, String>,
        bar: &indicatif::ProgressBar,
    ) -> Result<(), Problem> {
        let is_fifo = self.queue.dead.is_fifo();
        let mut left = limit;
        while left > 0 {
            let mut messages = self.queue.receive(left).await?;
            if messages.is_empty() {
                // Messages that stay at the head of a FIFO queue hide the messages behind them.
                outcome.not_seen = if is_fifo { self.queue.depth().await?.visible } else { 0 };
                return Ok(());
            }
            // A message that stays becomes visible again after its visibility timeout.
            messages.retain(|message| held.insert(message.id.clone(), message.handle.clone()).is_none());
            let returned = messages.iter().filter(|message| message.run.as_ref() == Some(&self.id)).count();
            if returned > 0 {
                outcome.stopped = Some(format!(
                    "{returned} of the messages just sent are dead letters again. Fix the cause, then run this again."
                ));
                return Ok(());
            }
            left = left.saturating_sub(messages.len());
            let settled = stream::iter(messages)
                .map(|message| self.settle(message))
                .buffered(if is_fifo { 1 } else { AT_A_TIME })
                .collect::<Vec<_>>();
            let mut failure = None;
            for settled in settled.await {
                match settled {
                    Ok((id, settled)) => {
                        if !matches!(settled, Settled::Kept(_)) {
                            held.remove(&id);
                        }
                        outcome.add(settled);
                        bar.inc(1);
                    }
                    Err(problem) => failure = failure.or(Some(problem)),
                }
            }
            failure.map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    /// Handles a message by its class, and deletes it unless it stays. Returns its id.
    async fn settle(&self, message: Message) -> Result<(String, Settled), Problem> {
        let verdict = classify(self.queue.dead, &message);
        let settled = match verdict.class.action() {
            Action::Keep => return Ok((message.id, Settled::Kept(verdict.why))),
            Action::Send => {
                self.pace.lock().await.tick().await;
                self.queue.send(&self.queue.dead.source_url, &message, &self.id).await?;
                Settled::Sent
            }
            Action::Quarantine => {
                self.pace.lock().await.tick().await;
                Settled::Quarantined(self.quarantine(&message, &verdict).await?)
            }
        };
        self.queue.delete(&message).await?;
        Ok((message.id, settled))
    }

    /// Stores the whole message in the returned bucket, which only operators can read.
    async fn quarantine(&self, message: &Message, verdict: &Verdict) -> Result<String, Problem> {
        let key = format!("quarantine/dead-letters/{}/{}.json", self.queue.dead.name, message.id);
        let kept = json!({
            "queue": self.queue.dead.name,
            "messageId": message.id,
            "class": verdict.class,
            "why": verdict.why,
            "sentAt": message.sent.map(rfc3339),
            "redrives": message.redrives,
            "attributes": message.texts(),
            "body": message.body,
        });
        let request = self.cloud.s3.put_object().bucket(&self.cloud.stack.returned_bucket).key(&key);
        let body = ByteStream::from(kept.to_string().into_bytes());
        let answer = request.content_type("application/json").body(body).send().await;
        answer.map_err(Problem::aws("PutObject"))?;
        Ok(key)
    }
}
