//! `probe-job`: asks the third party once how an overdue job stands.
//!
//! Invoked by the state machine when a callback is overdue, never on a schedule. A final answer is kept just like a
//! callback's, so that whichever comes first stands.

use serde::{Deserialize, Serialize};

use crate::{
    contract::wire::JobStatus,
    document::{Attempt, DocumentRef, JobResult, Round},
    error::Error,
    ports::{Clock, Load, Recorded, Results, ThirdParty},
    steps::receive_callback::{check_limits, contract_broken},
    steps::transfer_document::idempotency_key,
    telemetry::metrics,
    telemetry::trace::{self, TraceParent},
};

/// The state machine's question: `{"schemaVersion": 2, "submissionId", "documentId", "attempt", "round", "traceparent"?}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// See [`crate::message::SCHEMA_VERSION`].
    pub schema_version: u64,
    /// The document.
    #[serde(flatten)]
    pub document: DocumentRef,
    /// The newest transfer attempt, for the log.
    pub attempt: Attempt,
    /// The round whose job is overdue.
    pub round: Round,
    /// The document's trace.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "trace::optional")]
    pub traceparent: Option<TraceParent>,
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

/// Asks once.
///
/// # Errors
/// `ThirdParty.Unavailable`, `.RateLimited`, `.Unauthorized` or `Store.Unavailable`, for the state machine to decide.
pub async fn handle(
    store: &(impl Load + Results),
    third_party: &impl ThirdParty,
    clock: &impl Clock,
    input: Input,
) -> Result<Output, Error> {
    let document = store.load(&input.document).await?;
    if document.is_some_and(|document| document.result.is_some()) {
        tracing::info!(probe = "resultKept", "A late result is there already.");
        return Ok(Output { status: Status::ResultKept });
    }
    let key = idempotency_key(input.document.document_id, input.round);
    let answer = third_party.status(&key).await.inspect_err(metrics::third_party_error)?;
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
    let (missed, took) = match store.record_result(&input.document, &result).await? {
        Recorded::First(context) => (true, metrics::third_party_time(&context.times, clock.now())),
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

#[cfg(test)]
mod tests;
