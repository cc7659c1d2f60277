//! `lectern explain`: shows one document's timeline, and what to do about the document.

mod advice;
pub(crate) mod history;
mod logs;
mod report;
#[cfg(test)]
mod tests;
mod timeline;

use lectern::{
    document::{Document, DocumentState, SubmissionId},
    ports::{Browse as _, Clock as _, Load as _},
};
use lectern_aws::SystemClock;
use time::{Duration, OffsetDateTime};

use self::{
    advice::Admission,
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

/// The maximum number of a submission's documents that are explained in full; a table lists all.
const MAX_EXPLAINED: usize = 10;
/// The maximum number of a submission's open documents that are looked up in Step Functions.
const MAX_LOOKED_UP: usize = 50;

pub(crate) async fn run(cloud: &Cloud, options: &Explain, console: &mut Console<'_>) -> anyhow::Result<Exit> {
    let now = SystemClock.now();
    let named = options.id.parse::<Named>()?;
    if let Named::Submission(submission) = &named {
        let report = submission_report(cloud, options, submission, now, console).await?;
        console.report(&report)?;
        return Ok(Exit::Done);
    }
    match (cloud.document(&named).await, SubmissionId::try_from(options.id.clone())) {
        (Ok(document), _) => console.report(&explain(cloud, options, &document, now).await?)?,
        // A submission id may look like a document id.
        (Err(problem), Ok(submission)) if problem.exit == Exit::NotFound => {
            if cloud.store.submission(&submission).await?.is_none() {
                return Err(problem.into());
            }
            let report = submission_report(cloud, options, &submission, now, console).await?;
            console.report(&report)?;
        }
        (Err(problem), _) => return Err(problem.into()),
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
    let between = bounds(document, &runs, now);
    let (lines, mut notes) =
        logs::read(&cloud.logs, &cloud.stack, document.reference.document_id, between).await;
    let (timeline, pending) = timeline::build(document, &runs, &lines);
    let admission = if advice::is_to_be_sent(document, pending.as_ref()) {
        let admission = admission(cloud, document, now).await;
        admission
            .inspect_err(|problem| notes.push(format!("The limits could not be read: {}", problem.text())))
            .ok()
    } else {
        None
    };
    let conclusion = advice::conclude(document, newest.as_ref(), pending.as_ref(), admission.as_ref(), now);
    let steps = runs.last().map(|run| run.steps.as_slice()).unwrap_or_default();
    let mut conclusion = advice::about_overdue(conclusion, document, steps);
    if !options.show_names {
        conclusion.why = without_name(&conclusion.why, document);
    }
    let mut report = DocumentReport::new(document, timeline, conclusion, notes, options.show_names);
    report.limiter = admission.map(|admission| admission.limiter);
    Ok(report)
}

async fn admission(cloud: &Cloud, document: &Document, now: OffsetDateTime) -> Result<Admission, Problem> {
    let (limiter, state) = Limiter::read(cloud, now).await?;
    let standpoint = standpoint(cloud, &state, document).await?;
    Ok(Admission { limiter, standpoint, api_key: cloud.stack.api_key.clone() })
}

/// Removes the file's name, which the third party's message may quote.
fn without_name(text: &str, document: &Document) -> String {
    let name = document.display_name();
    if name.len() < 3 { text.to_owned() } else { text.replace(name.as_str(), "(the file)") }
}

/// The period of log lines to search: the document's known times, extended until now if it is in progress.
fn bounds(document: &Document, runs: &[Run], now: OffsetDateTime) -> (OffsetDateTime, OffsetDateTime) {
    let steps = runs.iter().flat_map(|run| run.steps.iter().map(|step| step.at));
    let known: Vec<OffsetDateTime> =
        document.times.values().filter_map(|text| time(text)).chain(steps).collect();
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
    let (submission, documents) = cloud.store.submission(id).await?.ok_or_else(|| {
        Problem::not_found(
            format!("there is no submission {id}"),
            format!(
                "If it has uploaded files, `lectern reconcile --submission {id}` finds those whose events were lost."
            ),
        )
    })?;
    let mut admission = None;
    if documents.iter().any(|document| advice::is_to_be_sent(document, None)) {
        let (limiter, _) = Limiter::read(cloud, now).await?;
        let api_key = cloud.stack.api_key.clone();
        admission = Some(Admission { limiter, standpoint: Standpoint::Unknown, api_key });
    }
    let (mut suspects, mut to_look_up) = (Vec::new(), MAX_LOOKED_UP);
    for document in documents.iter().filter(|document| document.is_counted()) {
        let mut needs_attention = document.state == DocumentState::Failed;
        if !document.state.is_terminal() && to_look_up > 0 {
            to_look_up -= 1;
            let execution = cloud.executions.find(&document.reference, document.redrives).await?;
            let conclusion = advice::conclude(document, execution.as_ref(), None, admission.as_ref(), now);
            needs_attention = conclusion.needs_attention;
        }
        if needs_attention {
            suspects.push(document);
        }
    }
    let unexplained = suspects.len().saturating_sub(MAX_EXPLAINED);
    suspects.truncate(MAX_EXPLAINED);
    let bar = console.progress(Some(suspects.len() as u64), "explaining");
    let mut attention = Vec::with_capacity(suspects.len());
    for listed in suspects {
        // The list returns documents without their results.
        let whole = cloud.store.load(&listed.reference).await?;
        attention.push(explain(cloud, options, whole.as_ref().unwrap_or(listed), now).await?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(SubmissionReport {
        submission,
        documents: documents.iter().map(Row::new).collect(),
        attention,
        unexplained,
    })
}
