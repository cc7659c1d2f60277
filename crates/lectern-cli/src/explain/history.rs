//! An execution's history, reduced to what is told of it. Inputs, outputs and parameters, which hold task tokens, are
//! never looked at; of a cause only our own reason's code is.

use std::collections::BTreeMap;

use aws_sdk_sfn::types::{HistoryEvent, HistoryEventType as Type};
use serde_json::Value;
use time::OffsetDateTime;

use crate::text::aws_time;

/// One thing that happened in an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub at: OffsetDateTime,
    /// What.
    pub what: What,
    /// The event with which its state was entered; none if the history does not tell. What runs side by side is told
    /// apart by it.
    pub entry: Option<i64>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A state was entered.
    Entered(String),
    /// A state was left.
    Exited(String),
    /// A task was handed out: the state's first try, or another one.
    Scheduled,
    /// The task was done.
    Succeeded,
    /// The task failed, or nobody answered it in time.
    Failed(Failure),
    /// An operator let Step Functions go on where it broke off.
    Redriven,
    /// The execution ended well.
    Ended,
    /// The execution ended badly.
    Broken(Failure),
}

/// A failure's name, and our reason's code if there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// The name that the state machine matches.
    pub error: String,
    /// The code of the reason, such as `overdue`.
    pub reason: Option<String>,
}

impl Failure {
    fn new(error: Option<&str>, cause: Option<&str>) -> Self {
        Self { error: error.unwrap_or("unknown").to_owned(), reason: cause.and_then(reason_code) }
    }
}

/// The code in our own cause, or in the one inside Lambda's envelope.
fn reason_code(cause: &str) -> Option<String> {
    let value: Value = serde_json::from_str(cause).ok()?;
    if let Some(inner) = value["errorMessage"].as_str() {
        return reason_code(inner);
    }
    let code = value["reason"]["code"].as_str()?;
    code.bytes().all(|byte| byte.is_ascii_alphanumeric()).then(|| code.to_owned())
}

/// Reads a history, event by event, from its beginning.
#[derive(Debug, Default)]
pub struct Reader {
    /// By event, the one with which its state was entered.
    entries: BTreeMap<i64, i64>,
}

impl Reader {
    /// What is told of the next event, if anything is.
    pub fn read(&mut self, event: &HistoryEvent) -> Option<Step> {
        let entry = match event.state_entered_event_details {
            Some(_) => Some(event.id),
            None => self.entries.get(&event.previous_event_id).copied(),
        };
        if let Some(entry) = entry {
            self.entries.insert(event.id, entry);
        }
        Step::of(event, entry)
    }
}

impl Step {
    /// What is told of an event, if anything is.
    #[expect(clippy::wildcard_enum_match_arm, reason = "what is not told is one of dozens of kinds")]
    fn of(event: &HistoryEvent, entry: Option<i64>) -> Option<Self> {
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
                What::Failed(Failure::new(
                    details.and_then(|details| details.error()).or(Some("States.Timeout")),
                    None,
                ))
            }
            Type::TaskSubmitFailed => {
                let error =
                    event.task_submit_failed_event_details.as_ref().and_then(|details| details.error());
                What::Failed(Failure::new(error, None))
            }
            Type::TaskStartFailed => {
                let error =
                    event.task_start_failed_event_details.as_ref().and_then(|details| details.error());
                What::Failed(Failure::new(error, None))
            }
            Type::ExecutionRedriven => What::Redriven,
            Type::ExecutionSucceeded => What::Ended,
            Type::ExecutionFailed => {
                let details = event.execution_failed_event_details.as_ref();
                What::Broken(Failure::new(
                    details.and_then(|details| details.error()),
                    details.and_then(|details| details.cause()),
                ))
            }
            Type::ExecutionTimedOut => What::Broken(Failure::new(Some("the execution's timeout"), None)),
            Type::ExecutionAborted => What::Broken(Failure::new(Some("aborted by a person"), None)),
            _ => match (entered, exited) {
                (Some(name), _) => What::Entered(name),
                (_, Some(name)) => What::Exited(name),
                _ => return None,
            },
        };
        Some(Self { at: aws_time(&event.timestamp), what, entry })
    }
}
