//! `lectern explain`: one timeline of a document, and what to do about it.

pub mod advice;
pub mod history;
pub mod logs;
mod report;
#[cfg(test)]
mod tests;
pub mod timeline;

use lectern::{
    document::keys,
    document::{Document, DocumentState, SubmissionId},
    ports::{Browse as _, Clock as _, Load as _},
};
use lectern_aws::SystemClock;
use time::{Duration, OffsetDateTime};

use self::{
    advice::AtGate,
    report::{DocumentReport, Row, SubmissionReport},
    timeline::Run,
};
use crate::{
    args::Explain,
    cloud::Cloud,
    console::{Console, Exit},
    ids::Named,
    limiter::{Limiter, Standpoint, standpoint},
    problem::Problem,
    text::time,
};

/// So many documents of a submission are explained in full; a table lists all.
const MAX_EXPLAINED: usize = 10;
/// So many open documents of a submission are looked up in Step Functions.
const MAX_LOOKED_UP: usize = 50;

pub(crate) async fn run(cloud: &Cloud, options: &Explain, console: &mut Console<'_>) -> anyhow::Result<Exit> {
    let now = SystemClock.now();
    match options.id.parse::<Named>()? {
        Named::Submission(submission) => {
            let report = submission_report(cloud, options, &submission, now, console).await?;
            console.report(&report)?;
        }
        named @ (Named::Document(_) | Named::DocumentOf(_)) => {
            // A submission may be named like a document.
            let document = match (cloud.document(&named).await, &named) {
                (Err(problem), Named::Document(_)) if problem.exit == Exit::NotFound => {
                    let submission = SubmissionId::try_from(options.id.clone());
                    let known = match &submission {
                        Ok(id) => cloud.store.submission(id).await.map_err(|error| Problem::store(&error))?,
                        Err(_) => None,
                    };
                    let (Ok(submission), Some(_)) = (submission, known) else { return Err(problem.into()) };
                    let report = submission_report(cloud, options, &submission, now, console).await?;
                    console.report(&report)?;
                    return Ok(Exit::Done);
                }
                (found, _) => found?,
            };
            console.report(&explain(cloud, options, &document, now).await?)?;
        }
    }
    Ok(Exit::Done)
}

async fn explain(
    cloud: &Cloud,
    options: &Explain,
    document: &Document,
    now: OffsetDateTime,
) -> Result<DocumentReport, Problem> {
    let (mut runs, mut newest) = (Vec::new(), None);
    for redrive in 0..=document.redrives {
        newest = cloud.executions.find(&document.reference, redrive).await?;
        if let Some(execution) = &newest {
            let steps = cloud.executions.history(&execution.name).await?;
            runs.push(Run { redrive, started: execution.started, steps });
        }
    }
    let (lines, mut notes) = if options.no_logs {
        (Vec::new(), Vec::new())
    } else {
        let document_id = document.reference.document_id;
        logs::read(&cloud.logs, &cloud.stack, document_id, bounds(document, &runs, now)).await
    };
    let (timeline, pending) = timeline::build(document, &runs, &lines);
    let gate = if advice::is_to_be_sent(document, pending.as_ref()) {
        match at_gate(cloud, document, now).await {
            Ok(gate) => Some(gate),
            Err(problem) => {
                notes.push(format!("The limits could not be read: {problem}. {}", problem.todo));
                None
            }
        }
    } else {
        None
    };
    let mut conclusion = advice::conclude(document, newest.as_ref(), pending.as_ref(), gate.as_ref(), now);
    let steps = runs.last().map(|run| run.steps.as_slice()).unwrap_or_default();
    conclusion = advice::about_overdue(conclusion, document, steps);
    if !options.show_names {
        conclusion.why = without_name(&conclusion.why, document);
    }
    let mut report = DocumentReport::new(document, timeline, conclusion, notes, options.show_names);
    report.limiter = gate.map(|gate| gate.limiter);
    Ok(report)
}

async fn at_gate(cloud: &Cloud, document: &Document, now: OffsetDateTime) -> Result<AtGate, Problem> {
    let (limiter, gate) = Limiter::read(cloud, now).await?;
    let standpoint = standpoint(cloud, &gate, document).await?;
    Ok(AtGate { limiter, standpoint, api_key: cloud.stack.api_key.clone() })
}

/// A third party's sentence may quote the file's name.
fn without_name(text: &str, document: &Document) -> String {
    let name = keys::file_name(&document.object.key);
    if name.len() < 3 { text.to_owned() } else { text.replace(name, "(the file)") }
}

/// From the first that is known of the document until a while after the last; until now if it is on its way.
fn bounds(document: &Document, runs: &[Run], now: OffsetDateTime) -> (OffsetDateTime, OffsetDateTime) {
    let known: Vec<OffsetDateTime> = document
        .times
        .values()
        .filter_map(|text| time(text))
        .chain(runs.iter().flat_map(|run| run.steps.iter().map(|step| step.at)))
        .collect();
    let margin = Duration::minutes(10);
    let first = known.iter().min().map_or(now - Duration::days(1), |first| *first - margin);
    let last = known.iter().max().filter(|_| document.state.is_terminal()).map_or(now, |last| *last + margin);
    (first, last.max(first))
}

async fn submission_report(
    cloud: &Cloud,
    options: &Explain,
    id: &SubmissionId,
    now: OffsetDateTime,
    console: &Console<'_>,
) -> Result<SubmissionReport, Problem> {
    let found = cloud.store.submission(id).await.map_err(|error| Problem::store(&error))?;
    let (submission, documents) = found.ok_or_else(|| {
        Problem::not_found(
            format!("there is no submission {id}"),
            format!("If files of it were uploaded, `lectern reconcile --submission {id}` finds what no event announced."),
        )
    })?;
    let (rows, mut suspects) = (documents.iter().map(Row::new).collect(), Vec::new());
    let mut to_look_up = MAX_LOOKED_UP;
    let gate = if documents.iter().any(|document| advice::is_to_be_sent(document, None)) {
        let (limiter, _) = Limiter::read(cloud, now).await?;
        Some(AtGate { limiter, standpoint: Standpoint::Unknown, api_key: cloud.stack.api_key.clone() })
    } else {
        None
    };
    for document in documents.iter().filter(|document| document.superseded_by.is_none()) {
        let mut stuck = false;
        if !document.state.is_terminal() && to_look_up > 0 {
            to_look_up -= 1;
            let execution = cloud.executions.find(&document.reference, document.redrives).await?;
            stuck = advice::conclude(document, execution.as_ref(), None, gate.as_ref(), now).needs_attention;
        }
        if stuck || document.state == DocumentState::Failed {
            suspects.push(document);
        }
    }
    let unexplained = suspects.len().saturating_sub(MAX_EXPLAINED);
    suspects.truncate(MAX_EXPLAINED);
    let bar = console.progress(Some(suspects.len() as u64), "explaining");
    let mut attention = Vec::with_capacity(suspects.len());
    for listed in suspects {
        // A listed document comes without its result.
        let whole = cloud.store.load(&listed.reference).await.map_err(|error| Problem::store(&error))?;
        attention.push(explain(cloud, options, whole.as_ref().unwrap_or(listed), now).await?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(SubmissionReport { submission, documents: rows, attention, unexplained })
}
