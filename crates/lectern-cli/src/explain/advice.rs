//! Concludes where a document is, why, and what to do.

use lectern::{
    advice::{after_failure, redrive_command},
    document::{Document, DocumentState},
};
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use super::{
    history::{Step, What},
    timeline::{GIVE_UP_WAITING, GIVE_UP_WORKING, Pending, Phase},
};
use crate::{
    executions::{Execution, Status},
    limiter::{Limiter, Standpoint},
    text::{duration, time},
};

#[cfg(test)]
mod tests;

/// After this time in a step that a queue feeds, the step's message may be in the dead-letter queue.
const LONG: Duration = Duration::minutes(15);

/// The state of admission control, for a document that has not been submitted to the third party.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Admission {
    pub(super) limiter: Limiter,
    pub(super) standpoint: Standpoint,
    /// The ARN of the secret with our key for the third party.
    pub(super) api_key: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Conclusion {
    #[serde(rename = "where")]
    pub(super) place: String,
    pub(super) why: String,
    /// Commands or instructions. Empty if nothing has to be done.
    #[serde(rename = "do")]
    pub(super) todo: Vec<String>,
    pub(super) needs_attention: bool,
}

impl Conclusion {
    fn new(place: impl Into<String>, why: impl Into<String>) -> Self {
        Self { place: place.into(), why: why.into(), todo: Vec::new(), needs_attention: false }
    }

    /// Marks that a person has to act.
    fn act(self, todo: Vec<String>) -> Self {
        Self { needs_attention: !todo.is_empty(), todo, ..self }
    }
}

/// Draws the conclusion. `execution` is the document's newest one.
pub(super) fn conclude(
    document: &Document,
    execution: Option<&Execution>,
    pending: Option<&Pending>,
    admission: Option<&Admission>,
    now: OffsetDateTime,
) -> Conclusion {
    let state = document.state;
    let reason = document.reason.as_ref();
    let (code, message) = reason.map_or(("", ""), |reason| (&*reason.code, &*reason.message));
    if let Some(newer) = document.superseded_by {
        let why = format!("A newer version of the same file is document {newer}; only that one counts.");
        let todo = vec![format!("lectern explain {}/{newer}", document.reference.submission_id)];
        return Conclusion { todo, ..Conclusion::new(format!("{state}, and superseded."), why) };
    }
    if document.is_withdrawn {
        let why = "The file was deleted, so the document no longer counts in its submission.";
        return Conclusion::new(format!("{state} ({code}), and withdrawn."), why);
    }
    match state {
        DocumentState::Ready => {
            let at = |state: DocumentState| document.times.get(state.as_str()).and_then(|text| time(text));
            let why = match (at(DocumentState::Received), at(DocumentState::Ready)) {
                (Some(received), Some(ready)) => {
                    format!("Its record was written {} after the upload.", duration(ready - received))
                }
                _ => "Its record was written.".to_owned(),
            };
            Conclusion::new("Ready.", why)
        }
        DocumentState::Rejected => {
            let todo = vec!["The teacher uploads the file again, as the reason says.".to_owned()];
            Conclusion { todo, ..Conclusion::new(format!("Rejected ({code})."), message) }
        }
        DocumentState::Failed => {
            Conclusion::new(format!("Failed ({code})."), message).act(after_failure(document))
        }
        DocumentState::Received
        | DocumentState::Transferring
        | DocumentState::Processing
        | DocumentState::Verifying
        | DocumentState::Normalizing => {
            let conclusion = open(document, execution, pending, admission, now);
            let refused = admission.filter(|admission| admission.limiter.needs_attention());
            match refused.filter(|_| is_to_be_sent(document, pending)) {
                Some(admission) => refuse(admission, conclusion, now),
                None => conclusion,
            }
        }
    }
}

/// Whether the document may still have to be submitted, so that admission control concerns it.
pub(super) fn is_to_be_sent(document: &Document, pending: Option<&Pending>) -> bool {
    let is_early = matches!(document.state, DocumentState::Received | DocumentState::Transferring);
    match pending.map(|pending| pending.state.as_str()) {
        _ if document.superseded_by.is_some() => false,
        // The document may be submitted again as a new job.
        Some("AwaitPermit" | "WaitForPermitStart") => !document.state.is_terminal(),
        Some(state) => is_early && matches!(Phase::of(state), Phase::Upload | Phase::Transfer),
        None => is_early,
    }
}

/// The third party refuses our key, so a person has to renew the key first.
fn refuse(admission: &Admission, conclusion: Conclusion, now: OffsetDateTime) -> Conclusion {
    let because = admission.limiter.breaker_text(now);
    let mut todo = admission.limiter.todo(admission.api_key.as_deref());
    todo.extend(conclusion.todo.iter().cloned());
    let mut why = conclusion.why.clone();
    if !why.contains(&because) {
        why = format!("{why} {because}");
    }
    Conclusion { why, ..conclusion }.act(todo)
}

/// The advice for an overdue document depends on the answer to the last probe, which the steps of the newest execution
/// show.
pub(super) fn about_overdue(conclusion: Conclusion, document: &Document, steps: &[Step]) -> Conclusion {
    let is_overdue = document.reason.as_ref().is_some_and(|reason| reason.code == "overdue");
    if document.state != DocumentState::Failed || document.superseded_by.is_some() || !is_overdue {
        return conclusion;
    }
    let has_entered = |state: &str| {
        steps.iter().any(|step| matches!(&step.what, What::Entered(entered) if entered.as_str() == state))
    };
    let redrive = redrive_command(&document.reference);
    let first = if has_entered(GIVE_UP_WORKING) {
        vec![
            "The job was still in progress at the last probe. Its lease lasts until it ends by itself."
                .to_owned(),
            format!("{redrive}    probes this job first"),
            format!("{redrive} --discard-result    starts a second job"),
        ]
    } else if has_entered(GIVE_UP_WAITING) {
        vec![format!("{redrive}    submits the file again: the third party does not know the job")]
    } else {
        return conclusion;
    };
    let others = conclusion.todo.into_iter().skip(1);
    Conclusion { todo: first.into_iter().chain(others).collect(), ..conclusion }
}

fn open(
    document: &Document,
    execution: Option<&Execution>,
    pending: Option<&Pending>,
    admission: Option<&Admission>,
    now: OffsetDateTime,
) -> Conclusion {
    let state = document.state;
    let why = match execution.map(|execution| execution.status) {
        Some(Status::Running) => None,
        None => Some("It has no execution: none was started, or it was deleted after 90 days.".to_owned()),
        Some(Status::Broken(how)) => Some(format!("Its execution {how} before the document had ended.")),
        Some(Status::Succeeded) => Some(
            "Its execution succeeded, but its item in the table is not Ready; the two contradict each other."
                .to_owned(),
        ),
    };
    if let Some(why) = why {
        return Conclusion::new(format!("{state}, but no execution is running."), why)
            .act(vec![redrive_command(&document.reference)]);
    }
    let Some(pending) = pending else {
        return Conclusion::new(format!("{state}, in progress."), "Its execution is running.");
    };
    let waited = now - pending.since;
    let tries = if pending.tries > 1 { format!(", try {}", pending.tries) } else { String::new() };
    let place = format!("{state}, in {}{tries}, for {}.", pending.state, duration(waited));
    if let (Some(admission), "AwaitPermit") = (admission, pending.state.as_str()) {
        return awaits_permit(admission, place, waited, now);
    }
    let takes_a_message = ["TransferDocument", "NormalizeDocument"].contains(&pending.state.as_str());
    let is_long = takes_a_message && waited > LONG;
    let why = match (&pending.failure, pending.state.as_str()) {
        (Some(failure), _) => format!("The last try failed: {}.", failure.error),
        (None, "AwaitCallback") => "The third party is processing it and will call back.".to_owned(),
        (None, "AwaitPermit") => "It waits for a permit: the third party's limits hold.".to_owned(),
        (None, "WaitForPermitStart") => {
            match admission.filter(|admission| admission.limiter.breaker.is_some()) {
                Some(admission) => {
                    format!("Its permit is for a later time. {}", admission.limiter.breaker_text(now))
                }
                None => "Its permit is for a later time.".to_owned(),
            }
        }
        (None, "WaitBeforeProbe") => {
            "It is unknown whether the third party has a job; after a pause the job is probed.".to_owned()
        }
        (None, "WaitAfterFailure") => {
            "The transfer failed; after a pause the document requests another permit.".to_owned()
        }
        (None, _) if is_long => {
            "The function has not answered; its message may be in the dead-letter queue.".to_owned()
        }
        (None, _) => "The step is in progress.".to_owned(),
    };
    let todo = if is_long { vec!["lectern dlq list".to_owned()] } else { Vec::new() };
    Conclusion::new(place, why).act(todo)
}

/// The conclusion for a document that waits for its permit. The wait may be long; a person has to act only if
/// admit-document does not handle orders.
fn awaits_permit(admission: &Admission, place: String, waited: Duration, now: OffsetDateTime) -> Conclusion {
    let Admission { limiter, standpoint, .. } = admission;
    let is_undecided = *standpoint == Standpoint::Unknown && waited > LONG;
    let why = if is_undecided {
        "It requested a permit but is in no queue: admit-document does not handle orders.".to_owned()
    } else if limiter.breaker.is_some() {
        limiter.breaker_text(now)
    } else if limiter.is_full() {
        "All leases are held; the teachers are served in turn as jobs end.".to_owned()
    } else if *standpoint == Standpoint::Queued {
        "It waits in its submission's queue; the teachers are served in turn, then their submissions."
            .to_owned()
    } else {
        "admit-document is handling its request for a permit.".to_owned()
    };
    let mut todo = Vec::new();
    if is_undecided {
        todo.push(
            "lectern status    is the queue AdmitDocument long, or are its messages dead letters?".to_owned(),
        );
        todo.push(
            "If they are dead letters, fix the cause, then: lectern dlq redrive admit-document".to_owned(),
        );
    }
    Conclusion::new(place, format!("{why} {}", limiter.numbers())).act(todo)
}
