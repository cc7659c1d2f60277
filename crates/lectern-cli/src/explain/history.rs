//! Reduces an execution's history to the steps of the timeline. Inputs, outputs and parameters contain task tokens and
//! are never read. Of a cause, only the code of our own reason is read.

use aws_sdk_sfn::types::{HistoryEvent, HistoryEventType as Type};
use serde_json::Value;
use time::OffsetDateTime;

use crate::text::aws_time;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) at: OffsetDateTime,
    pub(crate) what: What,
}

/// The event of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Entered(String),
    Exited(String),
    /// A try of a task began.
    Scheduled,
    Succeeded,
    /// The task failed or timed out.
    Failed(Failure),
    /// The execution succeeded.
    Ended,
    /// The execution failed, timed out or was aborted.
    Broken(Failure),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The error's name.
    pub(crate) error: String,
    /// The reason's code, such as `overdue`.
    pub(crate) reason: Option<String>,
}

impl Failure {
    fn new(error: Option<&str>, cause: Option<&str>) -> Self {
        Self { error: error.unwrap_or("unknown").to_owned(), reason: cause.and_then(reason_code) }
    }
}

/// The reason's code in our own cause, which Lambda may wrap in an envelope.
fn reason_code(cause: &str) -> Option<String> {
    let value: Value = serde_json::from_str(cause).ok()?;
    if let Some(inner) = value["errorMessage"].as_str() {
        return reason_code(inner);
    }
    let code = value["reason"]["code"].as_str()?;
    code.bytes().all(|byte| byte.is_ascii_alphanumeric()).then(|| code.to_owned())
}

impl Step {
    /// The step of a history event; `None` for events that the timeline leaves out.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the timeline leaves out dozens of event types")]
    pub(crate) fn of(event: &HistoryEvent) -> Option<Self> {
        let entered = event.state_entered_event_details.as_ref().map(|details| details.name.clone());
        let exited = event.state_exited_event_details.as_ref().map(|details| details.name.clone());
        let what = match event.r#type {
            Type::TaskScheduled | Type::LambdaFunctionScheduled => What::Scheduled,
            Type::TaskSucceeded | Type::LambdaFunctionSucceeded => What::Succeeded,
            Type::TaskFailed => {
                let details = event.task_failed_event_details.as_ref();
                What::Failed(Failure::new(
                    details.and_then(|details| details.error()),
                    details.and_then(|details| details.cause()),
                ))
            }
            Type::TaskTimedOut => {
                let details = event.task_timed_out_event_details.as_ref();
                let error = details.and_then(|details| details.error()).unwrap_or("States.Timeout");
                What::Failed(Failure::new(Some(error), None))
            }
            Type::TaskSubmitFailed => {
                let details = event.task_submit_failed_event_details.as_ref();
                What::Failed(Failure::new(details.and_then(|details| details.error()), None))
            }
            Type::TaskStartFailed => {
                let details = event.task_start_failed_event_details.as_ref();
                What::Failed(Failure::new(details.and_then(|details| details.error()), None))
            }
            Type::ExecutionSucceeded => What::Ended,
            Type::ExecutionFailed => {
                let details = event.execution_failed_event_details.as_ref();
                What::Broken(Failure::new(
                    details.and_then(|details| details.error()),
                    details.and_then(|details| details.cause()),
                ))
            }
            Type::ExecutionTimedOut => What::Broken(Failure::new(Some("it timed out"), None)),
            Type::ExecutionAborted => What::Broken(Failure::new(Some("it was stopped by a person"), None)),
            _ => match (entered, exited) {
                (Some(name), _) => What::Entered(name),
                (_, Some(name)) => What::Exited(name),
                _ => return None,
            },
        };
        Some(Self { at: aws_time(&event.timestamp), what })
    }
}
