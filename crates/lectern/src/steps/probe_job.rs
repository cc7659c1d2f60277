//! `probe-job`: requests the status of a job from the third party, once.
//!
//! The state machine invokes this function, never a schedule: when a callback is overdue or the outcome of an attempt
//! is unknown. A final answer is stored in the same way as a callback's result, so the first of the two counts.

use serde::{Deserialize, Serialize};

use crate::{
    contract::wire::JobStatus,
    document::{JobResult, Round},
    error::Error,
    message::Envelope,
    ports::{Clock, Load, Recorded, Results, ThirdParty},
    steps::receive_callback::{check_limits, contract_broken},
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

/// The answer, `{"status": "resultStored" | "working" | "unknown"}`.
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
    /// The third party is still processing the job.
    Working,
    /// The third party does not know the job.
    Unknown,
}

impl Status {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ResultStored => "resultStored",
            Self::Working => "working",
            Self::Unknown => "unknown",
        }
    }
}

impl<S: Load + Results, P: ThirdParty, C: Clock> Ports<'_, S, P, C> {
    /// Requests the status once.
    ///
    /// # Errors
    /// `ThirdParty.Unavailable`, `.RateLimited`, `.Unauthorized` or `Store.Unavailable`.
    pub async fn handle(&self, input: Input) -> Result<Output, Error> {
        let document = self.store.load(&input.envelope.document).await?;
        if document.is_some_and(|document| document.result.is_some()) {
            tracing::info!(probe = "resultStored", "The result is already stored.");
            return Ok(Output { status: Status::ResultStored });
        }
        let key = idempotency_key(input.envelope.document.document_id, input.round);
        let answer = self.third_party.status(&key).await.inspect_err(metrics::third_party_error)?;
        let result = match answer {
            Some(JobStatus::Succeeded(job)) => {
                if let Err(error) = check_limits(&job.files) {
                    tracing::error!(probe = "contractBroken", detail = %error, "The third party's answer breaks the contract.");
                    contract_broken(job.job_id)
                } else {
                    JobResult::Succeeded(job)
                }
            }
            Some(JobStatus::Failed(job)) => JobResult::Failed(job),
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
        tracing::info!(probe = "resultStored", "The third party's answer was stored as the result.");
        metrics::probed(Status::ResultStored, missed, took);
        Ok(Output { status: Status::ResultStored })
    }
}

#[cfg(test)]
mod tests;
