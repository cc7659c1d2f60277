//! `erase-submission`: one pass of the erasure of a submission that its owner has withdrawn ([`crate::erasure`]).
//!
//! The state machine `erase-submission.asl.json` invokes this function until a pass erases the rest. A pass that leaves
//! something to do ends with an error that is named by what the state machine waits for.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

use crate::{
    document::SubmissionId,
    erasure::{self, BY_OWNER, Outcome},
    error::{Error, TaskError, rfc3339},
    ports::{Clock, EraseJobs, Erasures, Finishing, StopExecutions, SubmissionObjects},
};

/// The task's input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// [`SCHEMA_VERSION`](crate::message::SCHEMA_VERSION) of the writer.
    pub schema_version: u64,
    /// The submission to erase.
    pub submission_id: SubmissionId,
}

/// The answer: how much was erased, over all passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// Documents.
    pub documents: u64,
    /// Versions of objects and delete markers.
    pub object_versions: u64,
}

/// Why a submission is not erased yet. Every variant leads to another pass; they differ in when.
#[derive(Debug, thiserror::Error)]
pub enum Incomplete {
    /// Documents in progress were stopped. The next pass runs when no function can work on them any more.
    #[error("functions may work on the stopped documents until {}", rfc3339(*.0))]
    DocumentsStopped(OffsetDateTime),
    /// There are more objects than one pass erases. The next pass runs at once.
    #[error("there are more objects")]
    MoreObjects,
    /// The third party has not confirmed the erasure of all jobs. The next pass asks it again, hours later.
    #[error("the third party has not confirmed the erasure of {documents} documents{}", because(.trouble.as_ref()))]
    Unconfirmed {
        /// The number of documents.
        documents: usize,
        /// Why it could not be asked for all documents.
        trouble: Option<Error>,
    },
    /// A call to our own store or to another AWS service failed.
    #[error(transparent)]
    Failed(#[from] Error),
}

fn because(trouble: Option<&Error>) -> String {
    trouble.map(|error| format!(": {error}")).unwrap_or_default()
}

impl Incomplete {
    /// The names of the errors that only this step reports, for the contract test.
    pub const NAMES: [&'static str; 3] =
        ["Erasure.DocumentsStopped", "Erasure.MoreObjects", "Erasure.Unconfirmed"];
}

impl TaskError for Incomplete {
    fn name(&self) -> &'static str {
        match self {
            Self::DocumentsStopped(_) => "Erasure.DocumentsStopped",
            Self::MoreObjects => "Erasure.MoreObjects",
            Self::Unconfirmed { .. } => "Erasure.Unconfirmed",
            Self::Failed(error) => error.name(),
        }
    }

    /// For the person who reads the execution. It holds no name.
    fn cause(&self) -> Value {
        serde_json::json!({ "message": self.to_string() })
    }
}

/// The ports of the step.
pub type Ports<'p, S, O, T, X, C> = erasure::Ports<'p, S, O, T, X, C>;

impl<S, O, T, X, C> Ports<'_, S, O, T, X, C>
where
    S: Erasures + Finishing,
    O: SubmissionObjects,
    T: EraseJobs,
    X: StopExecutions,
    C: Clock,
{
    /// Runs one pass.
    ///
    /// # Errors
    /// [`Incomplete`], until a pass leaves nothing to do.
    pub async fn erase_submission(&self, input: &Input) -> Result<Output, Incomplete> {
        let id = &input.submission_id;
        tracing::Span::current().record("submissionId", id.as_str());
        match self.handle(id, BY_OWNER).await? {
            Outcome::Erased(erasure) => {
                tracing::info!("The submission is erased.");
                Ok(Output { documents: erasure.documents, object_versions: erasure.object_versions })
            }
            Outcome::Stopped { until } => Err(Incomplete::DocumentsStopped(until)),
            Outcome::MoreObjects => Err(Incomplete::MoreObjects),
            Outcome::Unconfirmed { documents, trouble } => {
                Err(Incomplete::Unconfirmed { documents, trouble })
            }
        }
    }
}

#[cfg(test)]
mod tests;
