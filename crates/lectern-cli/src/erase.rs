//! `lectern erase`: erases a submission for good, and shows what was erased.

mod report;
#[cfg(test)]
mod tests;

use backon::{ExponentialBuilder, Retryable as _};
use lectern::{
    document::{Document, DocumentRef, DocumentState, SubmissionId},
    erasure,
    ports::{Clock, EraseJobs, Erasures, Failure, FinalOutcome, Finishing, SubmissionObjects},
};
use lectern_aws::{SystemClock, sfn::execution_name};
use time::{Duration, OffsetDateTime};

use self::report::{EraseReport, Outcome};
use crate::{
    args::Erase,
    cloud::Cloud,
    console::{Console, Exit},
    dlq::queue::depth,
    executions::Executions,
    problem::Problem,
    text::time,
};

/// A function that was working on a document when its execution was stopped works for 15 minutes at most. A minute is added
/// for the difference of clocks.
const FUNCTIONS_END_WITHIN: Duration = Duration::minutes(16);

pub(crate) async fn run(cloud: &Cloud, options: &Erase, console: &mut Console<'_>) -> anyhow::Result<Exit> {
    let id = options
        .submission
        .parse::<SubmissionId>()
        .map_err(|_| Problem::new("this is not a submission id", "Give the second part of an object key."))?;
    let (store, objects) = (&cloud.store, &cloud.objects());
    let seen = look(store, objects, &id).await?;
    let mut report = if options.show || !options.yes {
        seen.report(if options.show { Outcome::Shown } else { Outcome::Would })
    } else {
        let third_party = &cloud.third_party().await?;
        let by = cloud.caller().await?;
        let bar = console.progress(None, "erasing");
        let work = Work { store, objects, third_party, executions: &cloud.executions, clock: &SystemClock };
        let report = work.erase(seen, &by, options.stop).await;
        bar.finish_and_clear();
        report?
    };
    for queue in &cloud.stack.dead_letter_queues {
        report.dead_letters += depth(&cloud.sqs, &queue.url).await?.visible;
    }
    console.report(&report)?;
    Ok(if report.is_complete() { Exit::Done } else { Exit::Attention })
}

/// What exists of a submission.
struct Seen {
    id: SubmissionId,
    documents: Vec<Document>,
    object_versions: u64,
    erasure: Option<lectern::ports::Erasure>,
}

async fn look(
    store: &impl Erasures,
    objects: &impl SubmissionObjects,
    id: &SubmissionId,
) -> Result<Seen, Problem> {
    let seen = Seen {
        documents: store.documents_to_erase(id).await?,
        object_versions: objects.count_versions(id).await?,
        erasure: store.erasure(id).await?,
        id: id.clone(),
    };
    if seen.documents.is_empty() && seen.object_versions == 0 && seen.erasure.is_none() {
        return Err(Problem::not_found(
            format!("there is no submission {id}, and none was erased"),
            "Check the id: it is the second part of the uploads' keys.",
        ));
    }
    Ok(seen)
}

impl Seen {
    fn report(self, outcome: Outcome) -> EraseReport {
        EraseReport {
            open: self.documents.iter().filter(|document| !document.state.is_terminal()).count(),
            documents: self.documents.len(),
            object_versions: self.object_versions,
            erasure: self.erasure,
            submission: self.id,
            outcome,
            dead_letters: 0,
        }
    }
}

/// Stops executions; a step of its own, because only this command stops an execution and starts none.
trait StopExecutions {
    async fn stop(&self, name: &str) -> Result<(), Problem>;
}

impl StopExecutions for Executions {
    async fn stop(&self, name: &str) -> Result<(), Problem> {
        self.stop(name).await
    }
}

struct Work<'a, S, O, T, X, C> {
    store: &'a S,
    objects: &'a O,
    third_party: &'a T,
    executions: &'a X,
    clock: &'a C,
}

impl<S, O, T, X, C> Work<'_, S, O, T, X, C>
where
    S: Erasures + Finishing,
    O: SubmissionObjects,
    T: EraseJobs,
    X: StopExecutions,
    C: Clock,
{
    async fn erase(&self, seen: Seen, by: &str, stops: bool) -> Result<EraseReport, Problem> {
        let is_open = |document: &&Document| !document.state.is_terminal();
        if !stops && seen.documents.iter().any(|document| is_open(&document)) {
            return Ok(seen.report(Outcome::Refused));
        }
        let id = seen.id;
        // From here on no document is added, so the documents that are read now are all.
        self.store.begin_erasure(&id, by, self.clock.now()).await?;
        let documents = self.store.documents_to_erase(&id).await?;
        let open: Vec<&Document> = documents.iter().filter(is_open).collect();
        if !stops && !open.is_empty() {
            return Ok(look(self.store, self.objects, &id).await?.report(Outcome::Refused));
        }
        for document in &open {
            self.stop(document).await?;
        }
        let newest_stop = if open.is_empty() { last_stop(&documents) } else { Some(self.clock.now()) };
        let until = newest_stop.map(|stopped| stopped + FUNCTIONS_END_WITHIN);
        if let Some(until) = until.filter(|until| *until > self.clock.now()) {
            return Ok(look(self.store, self.objects, &id).await?.report(Outcome::Waiting { until }));
        }
        let Self { store, objects, third_party, clock, .. } = self;
        let ports =
            erasure::Ports { store: *store, objects: *objects, third_party: *third_party, clock: *clock };
        let attempt = async || ports.handle(&id, by).await.map_err(Problem::from);
        let backoff = ExponentialBuilder::default().with_jitter().with_max_times(7);
        let ended = attempt.retry(backoff).when(|problem: &Problem| problem.is_transient).await?;
        let trouble = ended.trouble.map(|error| error.to_string());
        let left = look(self.store, self.objects, &id).await?;
        Ok(left.report(match ended.unconfirmed {
            0 => Outcome::Erased,
            documents => Outcome::Unconfirmed { documents, trouble },
        }))
    }

    /// Stops a document's execution, and ends the document, so that a message that is still in a queue changes nothing.
    async fn stop(&self, document: &Document) -> Result<(), Problem> {
        let Document { reference, redrives, .. } = document;
        self.executions.stop(&execution_name(reference, *redrives)).await?;
        let end = async || self.end(reference, *redrives).await.map_err(Problem::from);
        let backoff = ExponentialBuilder::default().with_jitter().with_max_times(7);
        end.retry(backoff).when(|problem: &Problem| problem.is_transient).await
    }

    async fn end(&self, document: &DocumentRef, redrives: u32) -> Result<(), lectern::error::Error> {
        let failure = Failure { reason: erasure::stopped(), redrives };
        self.store.finish(document, FinalOutcome::Failed(failure), self.clock.now()).await.map(drop)
    }
}

/// When this command stopped a document most recently, if it did.
fn last_stop(documents: &[Document]) -> Option<OffsetDateTime> {
    let stopped = documents
        .iter()
        .filter(|document| document.reason.as_ref().is_some_and(|reason| reason.code == erasure::STOPPED))
        .filter_map(|document| time(document.times.get(DocumentState::Failed.as_str())?));
    stopped.max()
}
