//! The jobs: one for each idempotency key, with its status and its callbacks.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use lectern::contract::wire::{CallbackEvent, JobStatus};
use lectern_content::MediaType;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::traceparent::Traceparent;

/// All jobs in the order of their creation. They are kept in memory, so a restart loses them.
#[derive(Debug, Default)]
pub(crate) struct Jobs(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    jobs: Vec<Job>,
    by_id: HashMap<String, usize>,
    by_key: HashMap<String, usize>,
}

#[derive(Debug)]
struct Job {
    id: String,
    key: String,
    media_type: MediaType,
    received: Option<Received>,
    submissions: u32,
    reported: Reported,
    traceparent: Option<Traceparent>,
    callbacks: Vec<CallbackView>,
    is_erased: bool,
}

/// The document as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// SHA-256 of all bytes, lower-case hex.
    pub(crate) sha256: String,
    /// The number of bytes.
    pub(crate) size_bytes: u64,
}

/// The answer of the status endpoint about a job.
#[derive(Clone, Debug)]
pub(crate) enum Reported {
    /// Not finished.
    Working,
    /// Finished.
    Final(CallbackEvent),
    /// As if the job did not exist.
    Unknown,
}

/// The outcome of an accepted submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Submitted {
    /// The job of the idempotency key.
    pub(crate) job_id: String,
    /// Whether this submission created the job.
    pub(crate) created: bool,
}

impl Jobs {
    /// The existing job of `key`; counts the submission.
    pub(crate) fn resubmit(&self, key: &str) -> Option<Submitted> {
        let mut book = self.lock();
        let index = *book.by_key.get(key)?;
        let job = book.jobs.get_mut(index)?;
        job.submissions += 1;
        Some(Submitted { job_id: job.id.clone(), created: false })
    }

    /// Creates the job of `key`, unless another submission has created it.
    pub(crate) fn submit(
        &self,
        key: &str,
        media_type: MediaType,
        received: Option<Received>,
        traceparent: Option<Traceparent>,
    ) -> Submitted {
        let mut book = self.lock();
        if let Some(job) = book.by_key.get(key).copied().and_then(|index| book.jobs.get_mut(index)) {
            job.submissions += 1;
            return Submitted { job_id: job.id.clone(), created: false };
        }
        let id = format!("job_{}", Uuid::new_v4().simple());
        let index = book.jobs.len();
        book.by_id.insert(id.clone(), index);
        book.by_key.insert(key.to_owned(), index);
        book.jobs.push(Job {
            id: id.clone(),
            key: key.to_owned(),
            media_type,
            received,
            submissions: 1,
            reported: Reported::Working,
            traceparent,
            callbacks: Vec::new(),
            is_erased: false,
        });
        Submitted { job_id: id, created: true }
    }

    /// Records the document that a pull fetched; false if the job already had its document from a push.
    pub(crate) fn received(&self, job_id: &str, received: Received) -> bool {
        let mut new = false;
        self.update(job_id, |job| {
            new = job.received.is_none();
            job.received = Some(received);
        });
        new
    }

    /// Sets the answer of the status endpoint.
    pub(crate) fn report(&self, job_id: &str, reported: Reported) {
        self.update(job_id, |job| job.reported = reported);
    }

    /// Records one attempt to send a callback, successful or not.
    pub(crate) fn called_back(&self, job_id: &str, callback: CallbackView) {
        self.update(job_id, |job| job.callbacks.push(callback));
    }

    /// Forgets the job of `key`; false if there is none.
    pub(crate) fn erase(&self, key: &str) -> bool {
        let mut book = self.lock();
        let Some(index) = book.by_key.remove(key) else { return false };
        let Some(job) = book.jobs.get_mut(index) else { return false };
        job.is_erased = true;
        (job.received, job.traceparent, job.reported) = (None, None, Reported::Unknown);
        job.callbacks.clear();
        let id = job.id.clone();
        book.by_id.remove(&id);
        true
    }

    /// Whether a job was erased, so that it has to stop.
    pub(crate) fn is_erased(&self, job_id: &str) -> bool {
        !self.lock().by_id.contains_key(job_id)
    }

    /// The idempotency key of a job.
    pub(crate) fn key(&self, job_id: &str) -> Option<String> {
        let book = self.lock();
        book.by_id.get(job_id).and_then(|index| book.jobs.get(*index)).map(|job| job.key.clone())
    }

    /// The status of a job by its id.
    pub(crate) fn status(&self, job_id: &str) -> Option<JobStatus> {
        let book = self.lock();
        book.by_id.get(job_id).and_then(|index| book.jobs.get(*index)).and_then(Job::status)
    }

    /// The status of a job by its idempotency key.
    pub(crate) fn status_by_key(&self, key: &str) -> Option<JobStatus> {
        let book = self.lock();
        book.by_key.get(key).and_then(|index| book.jobs.get(*index)).and_then(Job::status)
    }

    /// The jobs whose idempotency key starts with `prefix`, oldest first.
    pub(crate) fn list(&self, prefix: &str) -> Vec<JobView> {
        let book = self.lock();
        let found = book.jobs.iter().filter(|job| job.key.starts_with(prefix) && !job.is_erased);
        found.map(Job::view).collect()
    }

    fn update(&self, job_id: &str, change: impl FnOnce(&mut Job)) {
        let mut book = self.lock();
        if let Some(job) = book.by_id.get(job_id).copied().and_then(|index| book.jobs.get_mut(index)) {
            change(job);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    fn status(&self) -> Option<JobStatus> {
        match &self.reported {
            Reported::Working => Some(JobStatus::Working { job_id: self.id.clone() }),
            Reported::Final(CallbackEvent::Succeeded(succeeded)) => {
                Some(JobStatus::Succeeded(succeeded.clone()))
            }
            Reported::Final(CallbackEvent::Failed(failed)) => Some(JobStatus::Failed(failed.clone())),
            Reported::Unknown => None,
        }
    }

    fn view(&self) -> JobView {
        let status = match &self.reported {
            Reported::Working => "working",
            Reported::Final(CallbackEvent::Succeeded(_)) => "succeeded",
            Reported::Final(CallbackEvent::Failed(_)) => "failed",
            Reported::Unknown => "unknown",
        };
        JobView {
            job_id: self.id.clone(),
            idempotency_key: self.key.clone(),
            media_type: self.media_type,
            sha256: self.received.as_ref().map(|received| received.sha256.clone()),
            bytes_received: self.received.as_ref().map_or(0, |received| received.size_bytes),
            submissions: self.submissions,
            status: status.to_owned(),
            traceparent: self.traceparent.as_ref().map(|traceparent| traceparent.as_str().to_owned()),
            callbacks: self.callbacks.clone(),
        }
    }
}

/// A job in the answer of `GET /admin/jobs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobView {
    /// The job's id.
    pub job_id: String,
    /// Its idempotency key.
    pub idempotency_key: String,
    /// The declared media type.
    pub media_type: MediaType,
    /// SHA-256 of the received bytes; absent until a pull has fetched them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The number of received bytes.
    pub bytes_received: u64,
    /// The number of submissions with this job as their outcome, including those whose answer a fault lost.
    pub submissions: u32,
    /// The answer of the status endpoint: `working`, `succeeded`, `failed` or `unknown`.
    pub status: String,
    /// The `traceparent` of the submission that created the job; absent if it was missing or malformed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The attempts to send the job's callbacks, oldest first.
    pub callbacks: Vec<CallbackView>,
}

/// One attempt to send a callback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallbackView {
    /// The callback's `webhook-id`.
    pub webhook_id: String,
    /// `job.succeeded` or `job.failed`.
    pub event: String,
    /// The status of the receiver's answer; absent without an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why no answer came: `connect`, `timeout` or `other`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When the attempt began, RFC 3339.
    pub sent_at: String,
    /// When the attempt was answered or failed, RFC 3339.
    pub ended_at: String,
}
