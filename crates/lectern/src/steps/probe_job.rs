//! `probe-job`: asks the third party once how an overdue job stands.
//!
//! Invoked by the state machine when a callback is overdue, never on a schedule. A final answer is kept just like a
//! callback's, so that whichever comes first stands.

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
    /// What every message carries.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// The round whose job is overdue.
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

/// The answer, `{"status": "resultKept" | "working" | "unknown"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// How the job stands.
    pub status: Status,
}

/// How an overdue job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// There is a result, from now or from a late callback.
    ResultKept,
    /// The third party is still at it.
    Working,
    /// The third party does not know it.
    Unknown,
}

impl Status {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ResultKept => "resultKept",
            Self::Working => "working",
            Self::Unknown => "unknown",
        }
    }
}

impl<S: Load + Results, P: ThirdParty, C: Clock> Ports<'_, S, P, C> {
    /// Asks once.
    ///
    /// # Errors
    /// `ThirdParty.Unavailable`, `.RateLimited`, `.Unauthorized` or `Store.Unavailable`, for the state machine to decide.
    pub async fn handle(&self, input: Input) -> Result<Output, Error> {
        let document = self.store.load(&input.envelope.document).await?;
        if document.is_some_and(|document| document.result.is_some()) {
            tracing::info!(probe = "resultKept", "A late result is there already.");
            return Ok(Output { status: Status::ResultKept });
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
                tracing::info!(probe = "working", "The third party is still at it.");
                metrics::probed(Status::Working, false, None);
                return Ok(Output { status: Status::Working });
            }
            None => {
                tracing::warn!(probe = "unknown", "The third party does not know the job.");
                metrics::probed(Status::Unknown, true, None);
                return Ok(Output { status: Status::Unknown });
            }
        };
        // Unless it is the first result, a callback came while the third party was asked.
        let (missed, took) = match self.store.record_result(&input.envelope.document, &result).await? {
            Recorded::First(context) => (true, metrics::third_party_time(&context.times, self.clock.now())),
            Recorded::Same(_) | Recorded::Conflict | Recorded::OtherJob | Recorded::Unknown => (false, None),
            Recorded::Forgotten => {
                tracing::error!(probe = "unknown", "The third party answers with a job that was given up.");
                metrics::probed(Status::Unknown, false, None);
                return Ok(Output { status: Status::Unknown });
            }
        };
        tracing::info!(probe = "resultKept", "The third party's answer was kept as the result.");
        metrics::probed(Status::ResultKept, missed, took);
        Ok(Output { status: Status::ResultKept })
    }
}

#[cfg(test)]
mod tests;
