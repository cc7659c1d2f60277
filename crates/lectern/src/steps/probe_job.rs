//! `probe-job`: requests the status of a job from the third party, once.
//!
//! The state machine invokes this function, never a schedule: when a callback is overdue or the outcome of an attempt
//! is unknown. The answer tells the job's id, which may be unknown so far. A final answer is stored in the same way as a
//! callback's result, so the first of the two counts.

use serde::{Deserialize, Serialize};

use crate::{
    contract::callback::{check, contract_broken},
    contract::wire::{JobStatus, is_job_id},
    document::{Document, JobResult, Round},
    error::Error,
    message::Envelope,
    ports::{Clock, Load, Recorded, Results, ThirdParty, Transfers},
    steps::transfer_document::idempotency_key,
    telemetry::metrics,
};

/// The task's input: the [`Envelope`] with `{"round"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// The fields of every message.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// The round of the job.
    pub round: Round,
}

/// The ports of the step.
#[derive(Debug)]
pub struct Ports<'p, S, P, C> {
    /// The documents and their results.
    pub store: &'p S,
    /// The third party.
    pub third_party: &'p P,
    /// The time.
    pub clock: &'p C,
}

/// The answer, `{"status": "resultStored" | "sourceUnreadable" | "working" | "unknown"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// The job's status.
    pub status: Status,
}

/// The status of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// There is a result, from this probe or from a late callback.
    ResultStored,
    /// The stored result says that the third party could not fetch the document.
    SourceUnreadable,
    /// The third party is still processing the job.
    Working,
    /// The third party does not know the job.
    Unknown,
}

impl Status {
    /// All statuses.
    pub const ALL: [Self; 4] = [Self::ResultStored, Self::SourceUnreadable, Self::Working, Self::Unknown];

    fn of(result: &JobResult) -> Self {
        if result.is_source_unreadable() { Self::SourceUnreadable } else { Self::ResultStored }
    }

    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ResultStored => "resultStored",
            Self::SourceUnreadable => "sourceUnreadable",
            Self::Working => "working",
            Self::Unknown => "unknown",
        }
    }
}

impl<S: Load + Results + Transfers, P: ThirdParty, C: Clock> Ports<'_, S, P, C> {
    /// Requests the status once.
    ///
    /// # Errors
    /// `ThirdParty.Unavailable`, `.RateLimited`, `.Unauthorized` or `Store.Unavailable`.
    pub async fn handle(&self, input: Input) -> Result<Output, Error> {
        let document = self.store.load(&input.envelope.document).await?;
        let stored = document.as_ref().and_then(|document| document.result.as_ref());
        if let Some(status) = stored.map(Status::of) {
            tracing::info!(probe = status.as_str(), "The result is already stored.");
            return Ok(Output { status });
        }
        let key = idempotency_key(input.envelope.document.document_id, input.round);
        let answer = self.third_party.status(&key).await.inspect_err(metrics::third_party_error)?;
        if let (Some(document), Some(answer)) = (&document, &answer) {
            self.learn_job(document, &input, answer.job_id()).await?;
        }
        let result = match answer {
            Some(JobStatus::Succeeded(job)) => checked(JobResult::Succeeded(job)),
            Some(JobStatus::Failed(job)) => checked(JobResult::Failed(job)),
            Some(JobStatus::Working { .. }) => {
                tracing::info!(probe = "working", "The job is still running.");
                metrics::probed(Status::Working, false, None);
                return Ok(Output { status: Status::Working });
            }
            None => {
                tracing::warn!(probe = "unknown", "The third party does not know the job.");
                metrics::probed(Status::Unknown, true, None);
                return Ok(Output { status: Status::Unknown });
            }
        };
        let now = self.clock.now();
        // If this is not the first result, a callback arrived during the probe.
        let (missed, took) = match self.store.record_result(&input.envelope.document, &result, now).await? {
            Recorded::First(context) => (true, metrics::third_party_time(&context.times, now)),
            Recorded::Same(_) | Recorded::Conflict | Recorded::OtherJob | Recorded::Unknown => (false, None),
            Recorded::Forgotten => {
                tracing::error!(probe = "unknown", "The third party answers with a job that was abandoned.");
                metrics::probed(Status::Unknown, false, None);
                return Ok(Output { status: Status::Unknown });
            }
        };
        let status = Status::of(&result);
        tracing::info!(probe = status.as_str(), "The third party's answer was stored as the result.");
        metrics::probed(status, missed, took);
        Ok(Output { status })
    }

    /// Stores the id of the job under the document's key, if it is news. An abandoned job stays abandoned.
    async fn learn_job(&self, document: &Document, input: &Input, job_id: &str) -> Result<(), Error> {
        let is_known = document.job_id.as_deref() == Some(job_id);
        if is_known || document.abandoned_jobs.contains(job_id) || !is_job_id(job_id) {
            return Ok(());
        }
        let Envelope { document: reference, attempt, .. } = &input.envelope;
        self.store.record_job(reference, *attempt, job_id).await
    }
}

/// The result, or the failure that replaces one that violates the contract.
fn checked(result: JobResult) -> JobResult {
    match check(&result) {
        Ok(()) => result,
        Err(error) => {
            tracing::error!(probe = "contractBroken", detail = %error, "The third party's answer breaks the contract.");
            contract_broken(result.job_id())
        }
    }
}

#[cfg(test)]
mod tests;
