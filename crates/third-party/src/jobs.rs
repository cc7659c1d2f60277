//! The jobs: one for each idempotency key, what is known of it, and what was called back.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use lectern::contract::wire::{CallbackEvent, JobStatus};
use lectern_content::MediaType;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::traceparent::Traceparent;

/// All jobs, in the order of their creation. They live in memory: a restart forgets them.
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
}

/// The document as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// SHA-256 of all bytes, lower-case hex.
    pub(crate) sha256: String,
    /// How many they were.
    pub(crate) size_bytes: u64,
}

/// What the status endpoint says of a job.
#[derive(Clone, Debug)]
pub(crate) enum Reported {
    /// Not finished.
    Working,
    /// Finished.
    Final(CallbackEvent),
    /// As if the job had never been.
    Unknown,
}

/// What a submission came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Submitted {
    /// The job that the key has.
    pub(crate) job_id: String,
    /// Whether this submission created it.
    pub(crate) created: bool,
}

impl Jobs {
    /// The job that `key` already has; the submission is counted on it.
    pub(crate) fn resubmit(&self, key: &str) -> Option<Submitted> {
        let mut book = self.lock();
        let index = *book.by_key.get(key)?;
        let job = book.jobs.get_mut(index)?;
        job.submissions += 1;
        Some(Submitted { job_id: job.id.clone(), created: false })
    }

    /// Creates the job of `key`, unless another submission was faster.
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
        });
        Submitted { job_id: id, created: true }
    }

    /// Notes what a pull brought; false if the job knew it already, since it was pushed.
    pub(crate) fn received(&self, job_id: &str, received: Received) -> bool {
        let mut new = false;
        self.update(job_id, |job| {
            new = job.received.is_none();
            job.received = Some(received);
        });
        new
    }

    /// Sets what the status endpoint says.
    pub(crate) fn report(&self, job_id: &str, reported: Reported) {
        self.update(job_id, |job| job.reported = reported);
    }

    /// Notes one delivery of a callback, successful or not.
    pub(crate) fn called_back(&self, job_id: &str, callback: CallbackView) {
        self.update(job_id, |job| job.callbacks.push(callback));
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
        self.lock().jobs.iter().filter(|job| job.key.starts_with(prefix)).map(Job::view).collect()
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

/// A job, as `GET /admin/jobs` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobView {
    /// The job.
    pub job_id: String,
    /// Its idempotency key.
    pub idempotency_key: String,
    /// What it was said to be.
    pub media_type: MediaType,
    /// SHA-256 of the bytes that arrived; absent until a pull has brought them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// How many bytes arrived.
    pub bytes_received: u64,
    /// How many submissions were answered with this job, or would have been.
    pub submissions: u32,
    /// What the status endpoint says: `working`, `succeeded`, `failed` or `unknown`.
    pub status: String,
    /// The `traceparent` of the submission that created it; absent if it had none that is well-formed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Deliveries of its callbacks, oldest first.
    pub callbacks: Vec<CallbackView>,
}

/// One delivery of a callback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallbackView {
    /// The event's id.
    pub webhook_id: String,
    /// `job.succeeded` or `job.failed`.
    pub event: String,
    /// The receiver's answer; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why there was no answer: `connect`, `timeout` or `other`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When it was sent, RFC 3339.
    pub sent_at: String,
    /// When it was answered or given up, RFC 3339.
    pub ended_at: String,
}
