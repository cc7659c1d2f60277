//! Sending letters, the first one alone, and deleting what was sent.

use super::{
    super::{
        canary::Canary,
        invoke::{self, Ended},
        judged::Judged,
        letters::{BATCH, Letter},
        outcome::Stop,
    },
    Run, Trial,
};
use crate::{problem::Problem, stack::Source};

/// SQS takes a batch of 1 MiB.
const MAX_BATCH_BYTES: usize = 900_000;

impl Run<'_> {
    /// Sends the first letter alone.
    pub(super) async fn send_first(&mut self, mut all: Vec<Judged>) -> Result<(), Problem> {
        if all.is_empty() {
            return Ok(());
        }
        let first = all.remove(0);
        self.aside.extend(all);
        if self.queue.source == Source::Invocations {
            return self.invoke_first(first).await;
        }
        let canary = match Canary::choose(self.cloud, self.queue, &first).await {
            Ok(canary) => canary,
            Err(problem) => {
                self.letters.release(&first.letter.handle).await;
                self.let_go().await;
                return self.failed(problem).await;
            }
        };
        let mark = first.mark();
        self.send(vec![first]).await?;
        if self.marks.contains(&mark) {
            self.trial = Trial::Out(Box::new(canary));
        } else {
            // In a queue that keeps an order they would hide the first one.
            self.let_go().await;
        }
        Ok(())
    }

    /// Of an invocation nothing tells but its own answer, so the first one is waited for.
    async fn invoke_first(&mut self, first: Judged) -> Result<(), Problem> {
        self.timer.turn(1).await;
        match invoke::one(self.cloud, &self.queue.name, &first, self.watch).await {
            Ok(Ended::Well) => {
                self.trial = Trial::Over;
                self.note_sent(std::slice::from_ref(&first));
                self.last_sent = None;
                self.timer.succeeded();
                self.delete(&[first]).await?;
                return Box::pin(self.follow()).await;
            }
            Ok(Ended::Badly) => self.outcome.stopped = Some(Stop::StraightBack { messages: 1 }),
            Ok(Ended::NotYet) => {
                self.outcome.stopped = Some(Stop::StillTried { waited_s: self.watch.as_secs() });
            }
            Err(problem) => {
                self.letters.release(&first.letter.handle).await;
                self.let_go().await;
                return self.failed(problem).await;
            }
        }
        self.letters.release(&first.letter.handle).await;
        Ok(())
    }

    pub(super) async fn send(&mut self, mut waiting: Vec<Judged>) -> Result<(), Problem> {
        while !waiting.is_empty() {
            let rest = waiting.split_off(batch_of(&waiting));
            let batch = std::mem::replace(&mut waiting, rest);
            self.timer.turn(batch.len()).await;
            let (flags, problem) = match &self.queue.source {
                Source::Queue(source) => {
                    let all: Vec<Letter> = batch.iter().map(|judged| judged.letter.clone()).collect();
                    match self.letters.send(source, &all, &self.id).await {
                        Ok(flags) => (flags, None),
                        Err(problem) => (vec![false; all.len()], Some(problem)),
                    }
                }
                Source::Invocations => invoke::all(self.cloud, &self.queue.name, &batch).await,
            };
            let (sent, refused): (Vec<_>, Vec<_>) = batch.into_iter().zip(flags).partition(|(_, sent)| *sent);
            let sent: Vec<Judged> = sent.into_iter().map(|(judged, _)| judged).collect();
            self.note_sent(&sent);
            for (judged, _) in &refused {
                self.letters.release(&judged.letter.handle).await;
            }
            if problem.is_some() {
                for judged in &waiting {
                    self.letters.release(&judged.letter.handle).await;
                }
            }
            self.delete(&sent).await?;
            if let Some(problem) = problem {
                return self.failed(problem).await;
            }
            if refused.is_empty() {
                self.timer.succeeded();
            } else {
                let what = format!("{} messages were not taken", refused.len());
                let problem = Problem::new(what, "Run the command again; they are still there.");
                self.failed(Problem { transient: true, ..problem }).await?;
            }
        }
        Ok(())
    }

    fn note_sent(&mut self, sent: &[Judged]) {
        for judged in sent {
            self.done.extend(judged.keys());
            self.marks.insert(judged.mark());
        }
        if !sent.is_empty() {
            self.last_sent = Some(tokio::time::Instant::now());
        }
        self.outcome.sent += sent.len();
    }

    /// Deletes, and counts what really went. What stays is sent once more at worst, which does no harm.
    pub(super) async fn delete(&mut self, all: &[Judged]) -> Result<usize, Problem> {
        if all.is_empty() {
            return Ok(0);
        }
        let letters: Vec<Letter> = all.iter().map(|judged| judged.letter.clone()).collect();
        let flags = self.letters.delete(&letters).await?;
        let deleted = flags.iter().filter(|deleted| **deleted).count();
        self.outcome.not_deleted += flags.len() - deleted;
        self.bar.inc(deleted as u64);
        Ok(deleted)
    }
}

/// How many of the first letters fit into one batch.
fn batch_of(waiting: &[Judged]) -> usize {
    let mut bytes = 0;
    let fit = waiting.iter().take(BATCH).take_while(|judged| {
        bytes += judged.letter.body.len();
        bytes <= MAX_BATCH_BYTES
    });
    fit.count().max(1)
}
