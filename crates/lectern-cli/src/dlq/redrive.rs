//! Sorting a dead-letter queue out, letter by letter: sent before deleted, so that a kill loses nothing, counted on the
//! letter, so that the next run knows, the first one alone until it is done, and stopped when letters come straight back.

mod send;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use indicatif::ProgressBar;
use lectern::ports::Clock as _;
use lectern_aws::SystemClock;
use time::OffsetDateTime;

use super::{
    canary::Canary,
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

const LONGEST_POLL_S: u64 = 10;
/// While the first letter is out, so many others are put aside.
const MAX_ASIDE: usize = 100;
/// The store tells whether the first letter is done only when it is asked, as long as the engineer lets this run.
const LOOKS_EVERY: Duration = Duration::from_secs(1);

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
        rate: options.rate,
        moves_natively: !options.no_native && queue.source != Source::Invocations,
        trial: if options.watch == 0 { Trial::Over } else { Trial::Begins },
        aside: Vec::new(),
        id: format!("{:016x}", fastrand::u64(..)),
        begun: SystemClock.now(),
        last_sent: None,
        done: BTreeSet::new(),
        marks: BTreeSet::new(),
        kept: BTreeMap::new(),
        outcome: Outcome::new(queue),
        bar,
    };
    let mut worked = run.work().await;
    if worked.is_ok() && run.outcome.stopped.is_none() {
        worked = run.look_behind().await;
    }
    for handle in run.kept.values() {
        run.letters.release(handle).await;
    }
    run.let_go().await;
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

/// How far the first letter is.
enum Trial<'a> {
    /// None was sent yet.
    Begins,
    /// It was sent, and is not done.
    Out(Box<Canary<'a>>),
    /// The others may follow.
    Over,
}

struct Run<'a> {
    cloud: &'a Cloud,
    queue: &'a DeadLetters,
    letters: Letters<'a>,
    judge: Judge<'a>,
    timer: Timer,
    watch: Duration,
    rate: f64,
    moves_natively: bool,
    trial: Trial<'a>,
    /// What waits, hidden, until the first letter is done.
    aside: Vec<Judged>,
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
    async fn work(&mut self) -> Result<(), Problem> {
        if matches!(self.trial, Trial::Over) {
            self.follow().await?;
        }
        while self.outcome.stopped.is_none() {
            let is_out = match self.look_after_first().await {
                Ok(Some(is_done)) if is_done => {
                    self.follow().await?;
                    continue;
                }
                Ok(is_out) => is_out.is_some(),
                Err(problem) => {
                    self.failed(problem).await?;
                    continue;
                }
            };
            let left =
                self.last_sent.map_or(Duration::ZERO, |sent| self.watch.saturating_sub(sent.elapsed()));
            if is_out && left.is_zero() {
                if !self.aside.is_empty() {
                    self.outcome.stopped = Some(Stop::StillTried { waited_s: self.watch.as_secs() });
                }
                break;
            }
            if is_out && self.aside.len() >= MAX_ASIDE {
                tokio::time::sleep(LOOKS_EVERY).await;
                continue;
            }
            let poll_s = if is_out { 1 } else { left.as_secs().clamp(1, LONGEST_POLL_S) };
            let poll_s = i32::try_from(poll_s).unwrap_or(1);
            let received = match self.letters.receive(self.timer.batch(BATCH), poll_s).await {
                Ok(received) => received,
                Err(problem) => {
                    self.failed(problem).await?;
                    continue;
                }
            };
            let fresh = self.without_known(received);
            if !fresh.is_empty() {
                self.handle(fresh).await?;
            } else if is_out {
                tokio::time::sleep(LOOKS_EVERY).await;
            } else if left.is_zero() {
                break;
            } else {
                // Kept letters that show again would be polled without a pause.
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        Ok(())
    }

    /// Whether the first letter is done, if it is out.
    async fn look_after_first(&mut self) -> Result<Option<bool>, Problem> {
        let Trial::Out(canary) = &mut self.trial else { return Ok(None) };
        let is_done = canary.is_done().await?;
        if is_done {
            self.trial = Trial::Over;
            // It will not come back.
            self.last_sent = None;
        }
        Ok(Some(is_done))
    }

    /// The others follow: by SQS itself, or what was put aside first of all.
    async fn follow(&mut self) -> Result<(), Problem> {
        if self.moves_natively && native::is_offered(self.cloud, self.queue).await? {
            self.let_go().await;
            if let Some(moved) = native::move_all(self.cloud, self.queue, self.rate).await? {
                self.outcome.native = true;
                self.outcome.sent += moved.len();
                self.marks.extend(moved);
                self.last_sent = Some(tokio::time::Instant::now());
            }
        }
        while !self.aside.is_empty() {
            let rest = self.aside.split_off(self.aside.len().min(BATCH));
            let first = std::mem::replace(&mut self.aside, rest);
            self.sort(first).await?;
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

    /// Of letters that stay or wait only the newest receipt handle is of use.
    fn without_known(&mut self, received: Vec<Letter>) -> Vec<Letter> {
        let mut fresh = Vec::with_capacity(received.len());
        for letter in received {
            let waits = self.aside.iter_mut().find(|judged| judged.letter.id == letter.id);
            match waits.map(|judged| &mut judged.letter.handle).or_else(|| self.kept.get_mut(&letter.id)) {
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
        self.sort(all).await
    }

    /// Does with each letter what it is worth.
    async fn sort(&mut self, all: Vec<Judged>) -> Result<(), Problem> {
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
        match self.trial {
            Trial::Begins => self.send_first(send).await?,
            Trial::Out(_) => self.aside.extend(send),
            Trial::Over => self.send(send).await?,
        }
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

    /// Lets what was put aside be seen again.
    async fn let_go(&mut self) {
        for judged in std::mem::take(&mut self.aside) {
            self.letters.release(&judged.letter.handle).await;
        }
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
