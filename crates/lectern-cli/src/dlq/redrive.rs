//! Sorting a dead-letter queue out, letter by letter: sent before deleted, so that a kill loses nothing, counted on the
//! letter, so that the next run knows, and stopped when letters come straight back.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use indicatif::ProgressBar;
use lectern::ports::Clock as _;
use lectern_aws::SystemClock;
use time::OffsetDateTime;

use super::{
    classify::{Action, Content},
    judged::{Judge, Judged},
    letters::{BATCH, Letter, Letters},
    markers, native,
    outcome::{Outcome, RedriveReport, Stop},
    plan::plan,
};
use crate::{
    args::DlqRedrive,
    cloud::Cloud,
    console::{Console, Exit},
    pace::Timer,
    problem::Problem,
    stack::{DeadLetters, Source},
};

/// SQS takes a batch of 1 MiB.
const MAX_BATCH_BYTES: usize = 900_000;
const LONGEST_POLL_S: u64 = 10;

pub(super) async fn run(
    cloud: &Cloud,
    options: &DlqRedrive,
    console: &mut Console<'_>,
) -> anyhow::Result<Exit> {
    let mut queues = Vec::new();
    for queue in cloud.stack.dead_letters(options.queue.as_deref())? {
        queues.push(if options.yes {
            redrive(cloud, queue, options, console).await?
        } else {
            plan(cloud, queue).await?
        });
    }
    let left = queues.iter().any(Outcome::needs_attention);
    console.report(&RedriveReport { dry_run: !options.yes, watched_s: options.watch, queues })?;
    Ok(if options.yes && left { Exit::Attention } else { Exit::Done })
}

pub(super) async fn redrive(
    cloud: &Cloud,
    queue: &DeadLetters,
    options: &DlqRedrive,
    console: &Console<'_>,
) -> Result<Outcome, Problem> {
    let letters = Letters { client: &cloud.sqs, queue };
    let bar = console.progress(Some(letters.depth().await?.visible), &queue.name);
    let mut run = Run {
        cloud,
        queue,
        letters,
        judge: Judge::new(cloud, queue),
        timer: Timer::per_second(options.rate),
        watch: Duration::from_secs(options.watch),
        id: format!("{:016x}", fastrand::u64(..)),
        begun: SystemClock.now(),
        last_sent: None,
        done: BTreeSet::new(),
        marks: BTreeSet::new(),
        kept: BTreeMap::new(),
        outcome: Outcome::new(queue),
        bar,
    };
    let mut worked = run.work(options).await;
    if worked.is_ok() && run.outcome.stopped.is_none() {
        worked = run.look_behind().await;
    }
    for handle in run.kept.values() {
        run.letters.release(handle).await;
    }
    run.bar.finish_and_clear();
    match worked {
        Ok(()) => Ok(run.outcome),
        // What was done so far is worth telling.
        Err(problem) if run.outcome.has_changed_anything() => {
            run.outcome.stopped = Some(Stop::Failed { what: problem.what, todo: problem.todo });
            Ok(run.outcome)
        }
        Err(problem) => Err(problem),
    }
}

struct Run<'a> {
    cloud: &'a Cloud,
    queue: &'a DeadLetters,
    letters: Letters<'a>,
    judge: Judge<'a>,
    timer: Timer,
    watch: Duration,
    id: String,
    begun: OffsetDateTime,
    last_sent: Option<tokio::time::Instant>,
    /// What was asked for by the letters that were sent.
    done: BTreeSet<String>,
    /// Those letters by what they say.
    marks: BTreeSet<String>,
    /// Receipt handles of letters that stay, by their ids.
    kept: BTreeMap<String, String>,
    outcome: Outcome,
    bar: ProgressBar,
}

impl Run<'_> {
    async fn work(&mut self, options: &DlqRedrive) -> Result<(), Problem> {
        if !options.no_native
            && self.queue.source != Source::Invocations
            && let Some(moved) = native::move_all(self.cloud, self.queue, options.rate).await?
        {
            self.outcome.native = true;
            self.outcome.sent = moved.len();
            self.marks = moved;
            self.last_sent = Some(tokio::time::Instant::now());
        }
        while self.outcome.stopped.is_none() {
            let left =
                self.last_sent.map_or(Duration::ZERO, |sent| self.watch.saturating_sub(sent.elapsed()));
            let poll_s = left.as_secs().clamp(1, LONGEST_POLL_S);
            let received = match self.letters.receive(self.timer.batch(BATCH), poll_s as i32).await {
                Ok(received) => received,
                Err(problem) => {
                    self.failed(problem).await?;
                    continue;
                }
            };
            let fresh = self.without_kept(received);
            if fresh.is_empty() {
                if left.is_zero() {
                    break;
                }
                // Kept letters that show again would be polled without a pause.
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
            self.handle(fresh).await?;
        }
        Ok(())
    }

    /// Letters that are kept at the head of a FIFO queue hide those behind them, for as long as they are hidden
    /// themselves; and so do those that another command is at work on.
    async fn look_behind(&mut self) -> Result<(), Problem> {
        let is_first = !self.kept.is_empty() || !self.outcome.has_changed_anything();
        if DeadLetters::is_fifo(&self.queue.url) && is_first {
            self.outcome.not_seen = self.letters.depth().await?.visible;
            if self.outcome.not_seen > 0 {
                self.outcome.is_in_order();
            }
        }
        Ok(())
    }

    fn without_kept(&mut self, received: Vec<Letter>) -> Vec<Letter> {
        let mut fresh = Vec::with_capacity(received.len());
        for letter in received {
            match self.kept.get_mut(&letter.id) {
                Some(handle) => *handle = letter.handle,
                None => fresh.push(letter),
            }
        }
        fresh
    }

    async fn handle(&mut self, fresh: Vec<Letter>) -> Result<(), Problem> {
        let mut all = Vec::with_capacity(fresh.len());
        for letter in fresh {
            all.push(self.judge.judge(letter).await?);
        }
        let returned = all.iter().filter(|judged| self.is_straight_back(judged)).count();
        if returned > 0 {
            self.outcome.stopped = Some(Stop::StraightBack { messages: returned });
            for judged in &all {
                self.letters.release(&judged.letter.handle).await;
            }
            return Ok(());
        }
        let (mut send, mut twins, mut drop, mut asked) =
            (Vec::new(), Vec::new(), Vec::new(), BTreeSet::new());
        for judged in all {
            match judged.verdict.class.action() {
                Action::Send => {
                    let keys = judged.keys();
                    let twin = keys.iter().any(|key| self.done.contains(key) || asked.contains(key));
                    asked.extend(keys);
                    if twin { twins.push(judged) } else { send.push(judged) }
                }
                Action::Drop => drop.push(judged),
                Action::Quarantine => {
                    let key = markers::quarantine(self.cloud, &self.queue.name, &judged).await?;
                    if self.delete(std::slice::from_ref(&judged)).await? == 1 {
                        self.outcome.quarantined.push(key);
                    }
                }
                Action::Keep => {
                    self.outcome.keep(&judged);
                    self.kept.insert(judged.letter.id.clone(), judged.letter.handle);
                }
            }
        }
        self.outcome.dropped += self.delete(&drop).await?;
        self.send(send).await?;
        // Only the twin of a letter that was really sent may go.
        let (over, early): (Vec<_>, Vec<_>) =
            twins.into_iter().partition(|judged| judged.keys().iter().any(|key| self.done.contains(key)));
        self.outcome.duplicates += self.delete(&over).await?;
        for judged in early {
            self.letters.release(&judged.letter.handle).await;
        }
        Ok(())
    }

    /// Whether this very run has sent the letter. An invocation's failure is told anew; a native move leaves no count.
    fn is_straight_back(&self, judged: &Judged) -> bool {
        let is_newer = judged.letter.sent.is_some_and(|sent| sent >= self.begun);
        let by_mark = self.outcome.native || matches!(judged.content, Content::Invocation(_));
        judged.letter.run.as_deref() == Some(self.id.as_str())
            || by_mark && is_newer && self.marks.contains(&judged.mark())
    }

    async fn send(&mut self, mut waiting: Vec<Judged>) -> Result<(), Problem> {
        while !waiting.is_empty() {
            let rest = waiting.split_off(batch_of(&waiting));
            let batch = std::mem::replace(&mut waiting, rest);
            self.timer.turn(batch.len()).await;
            let answer = match &self.queue.source {
                Source::Queue(source) => {
                    let all: Vec<Letter> = batch.iter().map(|judged| judged.letter.clone()).collect();
                    self.letters.send(source, &all, &self.id).await
                }
                Source::Invocations => self.invoke(&batch).await,
            };
            let flags = match answer {
                Ok(flags) => flags,
                Err(problem) => {
                    for judged in batch.iter().chain(&waiting) {
                        self.letters.release(&judged.letter.handle).await;
                    }
                    return self.failed(problem).await;
                }
            };
            let (sent, refused): (Vec<_>, Vec<_>) = batch.into_iter().zip(flags).partition(|(_, sent)| *sent);
            let sent: Vec<Judged> = sent.into_iter().map(|(judged, _)| judged).collect();
            for judged in &sent {
                self.done.extend(judged.keys());
                self.marks.insert(judged.mark());
            }
            if !sent.is_empty() {
                self.last_sent = Some(tokio::time::Instant::now());
            }
            self.outcome.sent += sent.len();
            self.delete(&sent).await?;
            if refused.is_empty() {
                self.timer.succeeded();
            } else {
                for (judged, _) in &refused {
                    self.letters.release(&judged.letter.handle).await;
                }
                let what = format!("{} messages were not taken", refused.len());
                let problem = Problem::new(what, "Run the command again; they are still there.");
                self.failed(Problem { transient: true, ..problem }).await?;
            }
        }
        Ok(())
    }

    /// Invokes the functions again. The count is kept first: an invocation too many counted is harmless.
    async fn invoke(&self, batch: &[Judged]) -> Result<Vec<bool>, Problem> {
        let mut flags = vec![false; batch.len()];
        for (judged, flag) in batch.iter().zip(&mut flags) {
            let Content::Invocation(failed) = &judged.content else { continue };
            markers::write(self.cloud, &self.queue.name, &judged.mark(), judged.redrives + 1).await?;
            let payload = failed.request_payload.to_string().into_bytes();
            let request = self.cloud.lambda.invoke().function_name(failed.function());
            let request = request.invocation_type(aws_sdk_lambda::types::InvocationType::Event);
            let answer = request.payload(aws_sdk_lambda::primitives::Blob::new(payload)).send().await;
            answer.map_err(|error| Problem::aws("Invoke", &error))?;
            *flag = true;
        }
        Ok(flags)
    }

    /// Deletes, and counts what really went. What stays is sent once more at worst, which does no harm.
    async fn delete(&mut self, all: &[Judged]) -> Result<usize, Problem> {
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

    /// A failure that may pass is waited out, up to a bound.
    async fn failed(&mut self, problem: Problem) -> Result<(), Problem> {
        if !problem.transient || !self.timer.failed() {
            return Err(problem);
        }
        self.timer.turn(0).await;
        Ok(())
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
