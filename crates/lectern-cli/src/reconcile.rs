//! `lectern reconcile`: the uploads bucket against the table, by hand, after an incident.

pub mod compare;
pub mod listing;
mod report;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use lectern::{
    document::submission::SubmissionState,
    document::{Document, DocumentState, ObjectVersion, SubmissionId},
    ports::{Browse as _, Clock as _, Cursor},
};
use lectern_aws::SystemClock;
use time::{Duration, OffsetDateTime};

use self::{
    compare::{Unannounced, compare, document_of, event, events},
    listing::{Listing, Version},
    report::{Finding, ReconcileReport},
};
use crate::{
    args::Reconcile,
    cloud::Cloud,
    console::{Console, Exit},
    executions::Status,
    pace::Timer,
    problem::Problem,
};

const PAGE: usize = 100;
const BATCH: usize = 10;

pub(crate) async fn run(
    cloud: &Cloud,
    options: &Reconcile,
    console: &mut Console<'_>,
) -> anyhow::Result<Exit> {
    let now = SystemClock.now();
    let only = options.submission.as_deref().map(str::parse::<SubmissionId>).transpose();
    let only =
        only.map_err(|_| Problem::new("that is no submission id", "Give the second part of the key."))?;
    let mut work = Work {
        cloud,
        before: now - Duration::minutes(i64::from(options.min_age)),
        timer: Timer::per_second(options.rate),
        seen: BTreeSet::new(),
        events: Vec::new(),
        report: ReconcileReport { dry_run: !options.yes, ..ReconcileReport::default() },
    };
    work.bucket(only.as_ref(), console).await?;
    if only.is_none() {
        work.in_progress(console).await?;
    }
    if options.yes {
        work.announce(console).await?;
    }
    console.report(&work.report)?;
    Ok(if options.yes && work.report.needs_attention() { Exit::Attention } else { Exit::Done })
}

struct Work<'a> {
    cloud: &'a Cloud,
    before: OffsetDateTime,
    timer: Timer,
    /// Submissions that were compared.
    seen: BTreeSet<SubmissionId>,
    /// The events to send, and how many documents each announces.
    events: Vec<(String, usize)>,
    report: ReconcileReport,
}

impl Work<'_> {
    /// Lists the bucket. Keys come in their order, so a submission's come together; those that name none are gathered.
    async fn bucket(&mut self, only: Option<&SubmissionId>, console: &Console<'_>) -> Result<(), Problem> {
        let bar = console.progress(None, "listing objects");
        let bucket = &self.cloud.stack.uploads_bucket;
        let mut listing = Listing::new(&self.cloud.s3, bucket, only.map(SubmissionId::as_str));
        let (mut current, mut unassigned): (Option<(SubmissionId, Vec<Version>)>, Vec<Version>) =
            (None, Vec::new());
        while let Some(page) = listing.page().await? {
            bar.inc(page.len() as u64);
            for version in page {
                self.report.versions += 1;
                let object = ObjectVersion {
                    bucket: bucket.clone(),
                    key: version.key.clone(),
                    version_id: version.version_id.clone(),
                };
                let Some(reference) = document_of(&object) else { continue };
                if reference.submission_id == SubmissionId::unassigned() {
                    unassigned.push(version);
                } else if let Some((_, versions)) =
                    current.as_mut().filter(|(id, _)| *id == reference.submission_id)
                {
                    versions.push(version);
                } else if let Some((id, versions)) = current.replace((reference.submission_id, vec![version]))
                {
                    self.submission(id, &versions).await?;
                }
            }
        }
        if let Some((id, versions)) = current {
            self.submission(id, &versions).await?;
        }
        if !unassigned.is_empty() {
            self.submission(SubmissionId::unassigned(), &unassigned).await?;
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Submissions that are in progress though the bucket holds nothing of them.
    async fn in_progress(&mut self, console: &Console<'_>) -> Result<(), Problem> {
        let bar = console.progress(None, "reading submissions");
        let mut after: Option<Cursor> = None;
        loop {
            let page =
                self.cloud.store.submissions(Some(SubmissionState::InProgress), after.as_ref(), PAGE).await;
            let page = page.map_err(|error| Problem::store(&error))?;
            let Some(last) = page.last() else { break };
            after = Some(Cursor {
                created_at: last.created_at.clone(),
                submission_id: last.submission_id.to_string(),
            });
            for submission in page {
                if !self.seen.contains(&submission.submission_id) {
                    self.submission(submission.submission_id, &[]).await?;
                }
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    async fn submission(&mut self, id: SubmissionId, versions: &[Version]) -> Result<(), Problem> {
        let found = self.cloud.store.submission(&id).await.map_err(|error| Problem::store(&error))?;
        let documents = found.map(|(_, documents)| documents).unwrap_or_default();
        self.report.submissions += 1;
        self.report.documents += documents.len();
        let compared = compare(&self.cloud.stack.uploads_bucket, versions, &documents, self.before);
        self.report.young += compared.young;
        for versions in compared.unannounced {
            self.unannounced(&versions).await?;
        }
        for reference in compared.gone {
            self.report.findings.push(Finding::gone(&reference));
        }
        for document in compared.open {
            self.open(&document).await?;
        }
        self.seen.insert(id);
        Ok(())
    }

    /// The events that never came of a file's versions, newest first.
    async fn unannounced(&mut self, versions: &[Unannounced]) -> Result<(), Problem> {
        let Some((newest, object)) = versions.first() else { return Ok(()) };
        let registered = self.cloud.store.newest_sequencer(&newest.submission_id, object).await;
        let registered = registered.map_err(|error| Problem::store(&error))?;
        self.events.extend(events(versions, registered.as_ref()));
        for (reference, _) in versions {
            self.report.findings.push(Finding::unannounced(reference, reference == newest));
        }
        Ok(())
    }

    async fn open(&mut self, document: &Document) -> Result<(), Problem> {
        self.timer.turn(1).await;
        let execution = self.cloud.executions.find(&document.reference, document.redrives).await?;
        let status = execution.map(|execution| execution.status);
        match status {
            Some(Status::Running) => {}
            // The event is as good as new: its second delivery starts what the first one did not.
            None if document.state == DocumentState::Received && document.redrives == 0 => {
                self.events.push((event(&document.object, None), 1));
                self.report.findings.push(Finding::not_started(&document.reference));
            }
            None | Some(Status::Broken(_) | Status::Succeeded) => {
                self.report.findings.push(Finding::stalled(document));
            }
        }
        Ok(())
    }

    async fn announce(&mut self, console: &Console<'_>) -> Result<(), Problem> {
        let documents = |events: &[(String, usize)]| events.iter().map(|(_, number)| number).sum::<usize>();
        let bar = console.progress(Some(documents(&self.events) as u64), "announcing");
        let mut waiting = std::mem::take(&mut self.events);
        while !waiting.is_empty() {
            let rest = waiting.split_off(waiting.len().min(self.timer.batch(BATCH)));
            let batch = std::mem::replace(&mut waiting, rest);
            self.timer.turn(batch.len()).await;
            match self.send(&batch).await {
                Ok(refused) => {
                    let announced = documents(&batch) - documents(&refused);
                    bar.inc(announced as u64);
                    self.report.announced += announced;
                    if refused.is_empty() {
                        self.timer.succeeded();
                        continue;
                    }
                    waiting.extend(refused);
                    if !self.timer.failed() {
                        break;
                    }
                }
                Err(problem) if problem.transient && self.timer.failed() => waiting.extend(batch),
                Err(problem) => return Err(problem),
            }
        }
        self.report.not_announced = documents(&waiting);
        bar.finish_and_clear();
        Ok(())
    }

    /// Sends events as S3 does, and returns those that were not taken.
    async fn send(&self, batch: &[(String, usize)]) -> Result<Vec<(String, usize)>, Problem> {
        let entries = batch.iter().enumerate().filter_map(|(id, (body, _))| {
            SendMessageBatchRequestEntry::builder().id(id.to_string()).message_body(body).build().ok()
        });
        let request = self.cloud.sqs.send_message_batch().queue_url(&self.cloud.stack.receive_upload_queue);
        let answer = request.set_entries(Some(entries.collect())).send().await;
        let answer = answer.map_err(|error| Problem::aws("SendMessageBatch", &error))?;
        let taken: BTreeSet<&str> = answer.successful.iter().map(|done| done.id.as_str()).collect();
        let refused = batch.iter().enumerate().filter(|(id, _)| !taken.contains(id.to_string().as_str()));
        Ok(refused.map(|(_, event)| event.clone()).collect())
    }
}
