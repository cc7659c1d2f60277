//! `lectern erase`: erases a submission for good, and shows what was erased.

mod report;
#[cfg(test)]
mod tests;

use backon::{ExponentialBuilder, Retryable as _};
use lectern::{
    document::{Document, SubmissionId},
    erasure,
    ports::{Clock, EraseJobs, Erasures, Finishing, StopExecutions, SubmissionObjects},
};
use lectern_aws::SystemClock;

use self::report::{EraseReport, Outcome};
use crate::{
    args::Erase,
    cloud::Cloud,
    console::{Console, Exit},
    dlq::queue::depth,
    ids::submission_id,
    problem::Problem,
};

pub(crate) async fn run(cloud: &Cloud, options: &Erase, console: &mut Console<'_>) -> anyhow::Result<Exit> {
    let id = submission_id(&options.submission)?;
    let (store, objects) = (&cloud.store, &cloud.objects());
    let seen = look(store, objects, &id).await?;
    let mut report = if options.show || !options.yes {
        seen.report(if options.show { Outcome::Shown } else { Outcome::Would })
    } else {
        let third_party = &cloud.third_party().await?;
        let by = cloud.caller().await?;
        let bar = console.progress(None, "erasing");
        let (executions, clock) = (&cloud.executions.of_documents(), &SystemClock);
        let functions_end_within = cloud.stopped_document_time().await?;
        let ports = erasure::Ports { store, objects, third_party, executions, clock, functions_end_within };
        let report = Work { ports, by: &by }.erase(seen, options.stop).await;
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

/// An erasure on behalf of the principal with the ARN `by`.
struct Work<'a, S, O, T, X, C> {
    ports: erasure::Ports<'a, S, O, T, X, C>,
    by: &'a str,
}

impl<S, O, T, X, C> Work<'_, S, O, T, X, C>
where
    S: Erasures + Finishing,
    O: SubmissionObjects,
    T: EraseJobs,
    X: StopExecutions,
    C: Clock,
{
    async fn erase(&self, seen: Seen, stops: bool) -> Result<EraseReport, Problem> {
        let Self { ports: erasure::Ports { store, objects, clock, .. }, by } = self;
        let is_open = |document: &Document| !document.state.is_terminal();
        if !stops && seen.documents.iter().any(is_open) {
            return Ok(seen.report(Outcome::Refused));
        }
        let id = seen.id;
        if !stops {
            // From here on no document is added, so the documents that are read now are all.
            store.begin_erasure(&id, by, clock.now()).await?;
            if store.documents_to_erase(&id).await?.iter().any(is_open) {
                return Ok(look(*store, *objects, &id).await?.report(Outcome::Refused));
            }
        }
        let outcome = loop {
            let pass = async || self.ports.handle(&id, by).await.map_err(Problem::from);
            let backoff = ExponentialBuilder::default().with_jitter().with_max_times(7);
            match pass.retry(backoff).when(|problem: &Problem| problem.is_transient).await? {
                erasure::Outcome::MoreObjects => {}
                erasure::Outcome::Stopped { until } => break Outcome::Waiting { until },
                erasure::Outcome::Unconfirmed { documents, trouble } => {
                    let trouble = trouble.map(|error| error.to_string());
                    break Outcome::Unconfirmed { documents, trouble };
                }
                erasure::Outcome::Erased(_) => break Outcome::Erased,
            }
        };
        Ok(look(*store, *objects, &id).await?.report(outcome))
    }
}
