//! `lectern reconcile`: compares the uploads bucket with the table after an incident.

pub(crate) mod compare;
pub(crate) mod listing;
mod report;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
};

use futures_util::TryStreamExt as _;
use lectern::{
    document::{Document, DocumentState, SubmissionId, submission::SubmissionState},
    ports::{Browse as _, Clock as _, Withdrawing as _},
};
use lectern_aws::SystemClock;
use time::{Duration, OffsetDateTime};
use tokio::time::Interval;

use self::{
    compare::{Unannounced, compare, document_of, event, events},
    listing::{Listing, UploadVersion},
    report::{Finding, ReconcileReport},
};
use crate::{
    args::Reconcile,
    cloud::Cloud,
    console::{Console, Exit},
    executions::Status,
    pace,
    problem::Problem,
};

pub(crate) async fn run(
    cloud: &Cloud,
    options: &Reconcile,
    console: &mut Console<'_>,
) -> anyhow::Result<Exit> {
    let now = SystemClock.now();
    let only = options.submission.as_deref().map(str::parse::<SubmissionId>).transpose();
    let only = only
        .map_err(|_| Problem::new("this is not a submission id", "Give the second part of an object key."))?;
    let mut work = Work {
        cloud,
        before: now - Duration::minutes(i64::from(options.min_age)),
        pace: pace::per_second(options.rate),
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
    pace: Interval,
    /// The number of compared submissions.
    seen: BTreeSet<SubmissionId>,
    /// The events to send, each with its number of documents.
    events: Vec<(String, usize)>,
    report: ReconcileReport,
}

impl Work<'_> {
    async fn bucket(&mut self, only: Option<&SubmissionId>, console: &Console<'_>) -> Result<(), Problem> {
        let bar = console.progress(None, "listing objects");
        let bucket = &self.cloud.stack.uploads_bucket;
        let mut listing = Listing::new(&self.cloud.s3, bucket, only.map(SubmissionId::as_str));
        let mut found: BTreeMap<SubmissionId, Vec<UploadVersion>> = BTreeMap::new();
        while let Some(page) = listing.page().await? {
            bar.inc(page.len() as u64);
            self.report.versions += page.len();
            for version in page {
                if let Some(reference) = document_of(&version.object) {
                    found.entry(reference.submission_id).or_default().push(version);
                }
            }
        }
        bar.finish_and_clear();
        for (id, versions) in found {
            self.submission(id, &versions).await?;
        }
        Ok(())
    }

    /// Adds the submissions in progress that have no object in the bucket.
    async fn in_progress(&mut self, console: &Console<'_>) -> Result<(), Problem> {
        let bar = console.progress(None, "reading submissions");
        let mut submissions = pin!(self.cloud.submissions(SubmissionState::InProgress));
        while let Some(submission) = submissions.try_next().await? {
            if !self.seen.contains(&submission.submission_id) {
                self.submission(submission.submission_id, &[]).await?;
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(())
    }

    async fn submission(&mut self, id: SubmissionId, versions: &[UploadVersion]) -> Result<(), Problem> {
        let found = self.cloud.store.submission(&id).await?;
        let documents = found.map(|(_, documents)| documents).unwrap_or_default();
        self.report.submissions += 1;
        self.report.documents += documents.len();
        let compared = compare(versions, &documents, self.before);
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

    /// Makes the events for a file's versions whose events were lost, newest first.
    async fn unannounced(&mut self, versions: &[Unannounced]) -> Result<(), Problem> {
        let Some((newest, object)) = versions.first() else { return Ok(()) };
        let registered = self.cloud.store.newest_version(&newest.submission_id, object).await?;
        self.events.extend(events(versions, registered.as_ref().map(|(_, sequencer)| sequencer)));
        for (reference, _) in versions {
            self.report.findings.push(Finding::unannounced(reference, reference == newest));
        }
        Ok(())
    }

    async fn open(&mut self, document: &Document) -> Result<(), Problem> {
        self.pace.tick().await;
        let execution = self.cloud.executions.find(&document.reference, document.redrives).await?;
        let status = execution.map(|execution| execution.status);
        match status {
            Some(Status::Running) => {}
            // A second delivery of the event starts the execution if the first delivery did not.
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

    /// Sends the events in S3's format. After a failure, the next run finds the remaining versions.
    async fn announce(&mut self, console: &Console<'_>) -> Result<(), Problem> {
        let bar = console.progress(Some(self.events.len() as u64), "announcing");
        for (body, documents) in std::mem::take(&mut self.events) {
            self.pace.tick().await;
            let request = self.cloud.sqs.send_message().queue_url(&self.cloud.stack.receive_upload_queue);
            request.message_body(body).send().await.map_err(Problem::aws("SendMessage"))?;
            self.report.announced += documents;
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(())
    }
}
