//! `fail-document`: records that a document failed, and why.
//!
//! The state machine's common Catch invokes this function. It is not a direct `DynamoDB` call of the state machine,
//! because ending a document and counting it in its submission is one write with the same rules as in
//! `normalize-document`. Those rules are implemented, and tested against a model, in one place.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    contract::response::job_reason,
    document::{Document, JobResult, Reason},
    error::Error,
    message::Envelope,
    ports::{Clock, Failure, FinalOutcome, Finish, Finishing, Load},
    telemetry::metrics,
};

/// The task's input: the [`Envelope`] with `{"error", "cause", "redrives"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// The fields of every message.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// The error's name: one of [`Error::NAMES`] or of Step Functions' own names.
    pub error: String,
    /// The error's cause: [`Error::cause`] as JSON text, Lambda's envelope around it, or any other text.
    #[serde(default)]
    pub cause: String,
    /// The number of redrives before this execution, so that a late execution cannot end a document that was redriven
    /// since.
    pub redrives: u32,
}

/// The ports of the step.
#[derive(Debug)]
pub struct Ports<'p, S, C> {
    /// The documents.
    pub store: &'p S,
    /// The time.
    pub clock: &'p C,
}

/// The answer: `{"code": "…"}`. The message, which may be the third party's text, is stored with the document only and
/// does not appear in the execution's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The code of the failure's reason.
    pub code: String,
}

impl<S: Load + Finishing, C: Clock> Ports<'_, S, C> {
    /// Records the failure once. A document in a final state is not changed.
    ///
    /// # Errors
    /// `Store.Unavailable`; the state machine tries again.
    pub async fn handle(&self, input: Input) -> Result<Output, Error> {
        let document = self.store.load(&input.envelope.document).await?;
        let reason = reason_of(&input, document.as_ref());
        let now = self.clock.now();
        let failure = Failure { reason: reason.clone(), redrives: input.redrives };
        match self.store.finish(&input.envelope.document, FinalOutcome::Failed(failure), now).await? {
            Finish::Finished => {
                tracing::error!(error = input.error, reason = reason.code, "The document failed.");
                if let Some(document) = &document {
                    metrics::ended(document, Some(&reason), now);
                }
            }
            Finish::AlreadyTerminal => {
                tracing::warn!(error = input.error, "The document had ended before or was redriven since.");
            }
            Finish::Unknown => tracing::error!(error = input.error, "There is no such document to fail."),
        }
        Ok(Output { code: reason.code })
    }
}

fn reason_of(input: &Input, document: Option<&Document>) -> Reason {
    let reason_of_job =
        document.and_then(|document| document.result.as_ref()).and_then(|result| match result {
            JobResult::Failed(job) => Some(job_reason(&job.error)),
            JobResult::Succeeded(_) => None,
        });
    reason_of_job.or_else(|| reason_in(&input.cause)).unwrap_or_else(|| match input.error.as_str() {
        "ThirdParty.Overdue" => Error::Overdue.reason(),
        "States.Timeout" => {
            Reason::new("timeout", "A step took longer than it may. The file can be sent again.")
        }
        _ => Reason::new("internal", "A step of the workflow failed. An operator has to look at it."),
    })
}

/// The reason in our own cause, or in the cause inside Lambda's `{"errorType", "errorMessage"}`.
fn reason_in(cause: &str) -> Option<Reason> {
    let value: Value = serde_json::from_str(cause).ok()?;
    if let Some(message) = value.get("errorMessage").and_then(Value::as_str) {
        return reason_in(message);
    }
    serde_json::from_value(value.get("reason")?.clone()).ok()
}

#[cfg(test)]
mod tests;
