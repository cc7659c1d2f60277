//! Where a document is, why, and what to do.

use lectern::document::{Document, DocumentState};
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use super::timeline::Pending;
use crate::{
    executions::{Execution, Status},
    text::{duration, time},
};

/// After so long in a step that a function takes from a queue, its message may be dead.
const LONG: Duration = Duration::minutes(15);

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
            open(document, execution, pending, now, &format!("lectern redrive {submission}/{id}"))
        }
    }
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

fn open(
    document: &Document,
    execution: Option<&Execution>,
    pending: Option<&Pending>,
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
    let from_a_queue =
        ["TransferDocument", "NormalizeDocument", "AwaitTurn"].contains(&pending.state.as_str());
    let is_long = from_a_queue && now - pending.since > LONG;
    Conclusion {
        place: format!("{state}, in {}{tries}, for {since}.", pending.state),
        why: match (&pending.failure, pending.state.as_str()) {
            (Some(failure), _) => format!("The try before failed: {}.", failure.error),
            (None, "AwaitCallback") => "The third party is at work; its callback is waited for.".to_owned(),
            (None, "AwaitTurn" | "WaitForTurn" | "WaitForRateLimit") => {
                "It waits for its turn: the third party's limits hold.".to_owned()
            }
            (None, _) if is_long => "The function has not answered; its message may be dead.".to_owned(),
            (None, _) => "The step is under way.".to_owned(),
        },
        todo: if is_long { vec!["lectern dlq list".to_owned()] } else { Vec::new() },
        needs_attention: is_long,
    }
}

fn reached(document: &Document, state: DocumentState) -> Option<Duration> {
    let at = |state: DocumentState| document.times.get(state.as_str()).and_then(|text| time(text));
    Some(at(state)? - at(DocumentState::Received)?)
}
