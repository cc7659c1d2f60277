//! Where a document is, why, and what to do.

use lectern::document::{Document, DocumentState};
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

/// After so long in a step that a function takes from a queue, its message may be dead. A line may be longer than that.
const LONG: Duration = Duration::minutes(15);

/// What the gate says of a document that the third party does not have yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtGate {
    /// The limits as they stand.
    pub limiter: Limiter,
    /// The document among those that wait.
    pub standpoint: Standpoint,
    /// The secret of the key that we show to the third party, by its ARN.
    pub api_key: Option<String>,
}

/// The end of an explanation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Conclusion {
    /// Where the document is.
    #[serde(rename = "where")]
    pub place: String,
    /// Why it is there.
    pub why: String,
    /// What to do: commands, or what a person has to do. Empty if nothing has to be done.
    #[serde(rename = "do")]
    pub todo: Vec<String>,
    /// Whether somebody has to do something.
    pub needs_attention: bool,
}

/// Draws the conclusion. `execution` is the document's newest one.
pub(crate) fn conclude(
    document: &Document,
    execution: Option<&Execution>,
    pending: Option<&Pending>,
    gate: Option<&AtGate>,
    now: OffsetDateTime,
) -> Conclusion {
    let id = &document.reference.document_id;
    let submission = &document.reference.submission_id;
    let reason = document.reason.clone();
    let (code, message) =
        reason.map_or((String::new(), String::new()), |reason| (reason.code, reason.message));
    if let Some(newer) = document.superseded_by {
        return Conclusion {
            place: format!("{}, and superseded.", document.state),
            why: format!("A newer version of the same file is document {newer}; only that one counts."),
            todo: vec![format!("lectern explain {submission}/{newer}")],
            needs_attention: false,
        };
    }
    match document.state {
        DocumentState::Ready => Conclusion {
            place: "Ready.".to_owned(),
            why: match reached(document, DocumentState::Ready) {
                Some(took) => format!("Its record was written {} after the upload.", duration(took)),
                None => "Its record was written.".to_owned(),
            },
            todo: Vec::new(),
            needs_attention: false,
        },
        DocumentState::Rejected => Conclusion {
            place: format!("Rejected ({code})."),
            why: message,
            todo: vec!["The teacher uploads the file again, as the reason says.".to_owned()],
            needs_attention: false,
        },
        DocumentState::Failed => Conclusion {
            place: format!("Failed ({code})."),
            why: message,
            todo: after_failure(document, &code),
            needs_attention: true,
        },
        DocumentState::Received
        | DocumentState::Transferring
        | DocumentState::Processing
        | DocumentState::Verifying
        | DocumentState::Normalizing => {
            let redrive = format!("lectern redrive {submission}/{id}");
            let conclusion = open(document, execution, (pending, gate), now, &redrive);
            match gate.filter(|gate| gate.limiter.needs_attention() && is_to_be_sent(document, pending)) {
                Some(gate) => refused(gate, conclusion, now),
                None => conclusion,
            }
        }
    }
}

/// Whether the third party does not have the document yet, so that the limits hold for it.
pub(crate) fn is_to_be_sent(document: &Document, pending: Option<&Pending>) -> bool {
    let is_early = matches!(document.state, DocumentState::Received | DocumentState::Transferring);
    match pending.map(|pending| pending.state.as_str()) {
        _ if document.superseded_by.is_some() => false,
        // It may be sent again, as a new job.
        Some("AwaitPermit" | "WaitForPermitStart") => !document.state.is_terminal(),
        Some(state) => is_early && matches!(Phase::of(state), Phase::Upload | Phase::Transfer),
        None => is_early,
    }
}

/// Wherever a document is on its way to a third party that refuses our key: somebody has to renew that.
fn refused(gate: &AtGate, conclusion: Conclusion, now: OffsetDateTime) -> Conclusion {
    let Conclusion { place, mut why, todo, .. } = conclusion;
    let because = gate.limiter.breaker_text(now);
    if !why.contains(&because) {
        why = format!("{why} {because}");
    }
    let mut first = gate.limiter.todo(gate.api_key.as_deref());
    first.extend(todo);
    Conclusion { place, why, todo: first, needs_attention: true }
}

fn after_failure(document: &Document, code: &str) -> Vec<String> {
    let id = format!("{}/{}", document.reference.submission_id, document.reference.document_id);
    let redrive = format!("lectern redrive {id}");
    match code {
        "thirdPartyUnauthorized" => vec![
            "Renew the key in the secret ThirdPartyApiKey, then start all that failed for it again:"
                .to_owned(),
            "lectern redrive --failed --reason thirdPartyUnauthorized --yes".to_owned(),
        ],
        "thirdPartyUnavailable" | "overdue" | "rateLimited" => vec![
            redrive,
            format!("Or all that failed for it: lectern redrive --failed --reason {code} --yes"),
        ],
        "sourceGone" => vec!["The teacher uploads the file again.".to_owned()],
        "internal" | "timeout" => {
            vec![redrive, "If it fails again, the functions' logs above say where.".to_owned()]
        }
        _ if document.has_succeeded_result() => vec![
            format!("{redrive}    looks at the kept result again"),
            format!("{redrive} --anew    has the third party process the file again"),
        ],
        _ => vec![
            "The teacher uploads another file, if the reason lies in it.".to_owned(),
            format!("{redrive}    if the third party has mended what was wrong"),
        ],
    }
}

/// What is to be done about an overdue document depends on what the third party said last of its job, which the steps of
/// its newest execution tell.
pub(crate) fn about_overdue(conclusion: Conclusion, document: &Document, steps: &[Step]) -> Conclusion {
    let is_overdue = document.reason.as_ref().is_some_and(|reason| reason.code == "overdue");
    if document.state != DocumentState::Failed || document.superseded_by.is_some() || !is_overdue {
        return conclusion;
    }
    let has_entered = |state: &str| {
        steps.iter().any(|step| matches!(&step.what, What::Entered(entered) if entered.as_str() == state))
    };
    let redrive =
        format!("lectern redrive {}/{}", document.reference.submission_id, document.reference.document_id);
    let first = if has_entered(GIVE_UP_WORKING) {
        vec![
            "The third party was still at work on the job, whose place is kept until its lease ends."
                .to_owned(),
            format!("{redrive}    asks the third party about that job first"),
            format!("{redrive} --anew    starts a second job beside it"),
        ]
    } else if has_entered(GIVE_UP_WAITING) {
        vec![format!("{redrive}    the third party does not know the job, and gets the file again")]
    } else {
        return conclusion;
    };
    let others = conclusion.todo.into_iter().skip(1);
    Conclusion { todo: first.into_iter().chain(others).collect(), ..conclusion }
}

fn open(
    document: &Document,
    execution: Option<&Execution>,
    (pending, gate): (Option<&Pending>, Option<&AtGate>),
    now: OffsetDateTime,
    redrive: &str,
) -> Conclusion {
    let state = document.state;
    let Some(execution) = execution else {
        return Conclusion {
            place: format!("{state}, and nothing moves it."),
            why: "No execution is there: it was never started, or is so old that it was forgotten."
                .to_owned(),
            todo: vec![redrive.to_owned()],
            needs_attention: true,
        };
    };
    if let Status::Broken(how) = execution.status {
        return Conclusion {
            place: format!("{state}, and nothing moves it."),
            why: format!("Its execution {how} before the document had ended."),
            todo: vec![redrive.to_owned()],
            needs_attention: true,
        };
    }
    if execution.status == Status::Succeeded {
        return Conclusion {
            place: format!("{state}, though its execution has ended well."),
            why: "The item and the execution contradict each other.".to_owned(),
            todo: vec![redrive.to_owned()],
            needs_attention: true,
        };
    }
    let Some(pending) = pending else {
        return Conclusion {
            place: format!("{state}, on its way."),
            why: "Its execution runs.".to_owned(),
            todo: Vec::new(),
            needs_attention: false,
        };
    };
    let since = duration(now - pending.since);
    let tries = if pending.tries > 1 { format!(", try {}", pending.tries) } else { String::new() };
    let place = format!("{state}, in {}{tries}, for {since}.", pending.state);
    if let (Some(gate), "AwaitPermit") = (gate, pending.state.as_str()) {
        return lines_up(gate, place, now - pending.since, now);
    }
    let from_a_queue = ["TransferDocument", "NormalizeDocument"].contains(&pending.state.as_str());
    let is_long = from_a_queue && now - pending.since > LONG;
    let why = match (&pending.failure, pending.state.as_str()) {
        (Some(failure), _) => format!("The try before failed: {}.", failure.error),
        (None, "AwaitCallback") => "The third party is at work; its callback is waited for.".to_owned(),
        (None, "AwaitPermit") => "It lines up for its turn: the third party's limits hold.".to_owned(),
        (None, "WaitForPermitStart") => match gate.filter(|gate| gate.limiter.breaker.is_some()) {
            Some(gate) => {
                format!("It has its turn and waits for the time of it. {}", gate.limiter.breaker_text(now))
            }
            None => "It has its turn and waits for the time of it.".to_owned(),
        },
        (None, "WaitAfterFailure") => {
            "The third party was in trouble; it lines up again after a while.".to_owned()
        }
        (None, _) if is_long => "The function has not answered; its message may be dead.".to_owned(),
        (None, _) => "The step is under way.".to_owned(),
    };
    let todo = if is_long { vec!["lectern dlq list".to_owned()] } else { Vec::new() };
    Conclusion { place, why, todo, needs_attention: is_long }
}

/// A document that waits for its turn. The line moves by itself, however long that takes; somebody has to do something
/// only if the gate does not decide.
fn lines_up(gate: &AtGate, place: String, waited: Duration, now: OffsetDateTime) -> Conclusion {
    let AtGate { limiter, standpoint, .. } = gate;
    let numbers = limiter.numbers();
    let is_undecided = *standpoint == Standpoint::Unknown && waited > LONG;
    let why = if is_undecided {
        format!("It asked for a turn and stands in no line: admit-document does not decide. {numbers}")
    } else if limiter.breaker.is_some() {
        format!("{} {numbers}", limiter.breaker_text(now))
    } else if limiter.is_full() {
        format!(
            "All places at the third party are taken; submissions take turns at those that get free. {numbers}"
        )
    } else if *standpoint == Standpoint::InLine {
        format!("It stands in line; submissions take turns. {numbers}")
    } else {
        format!("It has asked for its turn, which is being decided. {numbers}")
    };
    let mut todo = Vec::new();
    if is_undecided {
        todo.push("lectern status    is its queue long, or are its orders dead?".to_owned());
        todo.push("If they are dead, see why; it asks again by itself within the hour.".to_owned());
    }
    Conclusion { place, why, needs_attention: !todo.is_empty(), todo }
}

fn reached(document: &Document, state: DocumentState) -> Option<Duration> {
    let at = |state: DocumentState| document.times.get(state.as_str()).and_then(|text| time(text));
    Some(at(state)? - at(DocumentState::Received)?)
}
