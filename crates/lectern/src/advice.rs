//! What to do about a document that failed: the words of `lectern explain` and of the operators' page.

use crate::document::{Document, DocumentRef};

/// The command that redrives a document.
pub fn redrive_command(DocumentRef { submission_id, document_id }: &DocumentRef) -> String {
    format!("lectern redrive {submission_id}/{document_id}")
}

/// What a person has to do about a failed document: commands or instructions, the best one first. The advice depends on
/// the document's stored result, if it has one.
pub fn after_failure(document: &Document) -> Vec<String> {
    let DocumentRef { submission_id, document_id } = &document.reference;
    let redrive = redrive_command(&document.reference);
    let code = document.reason.as_ref().map_or("", |reason| &reason.code);
    match code {
        "thirdPartyUnauthorized" => vec![
            "Renew the key in the secret ThirdPartyApiKey, then redrive all documents that failed for this reason:"
                .to_owned(),
            "lectern redrive --failed --reason thirdPartyUnauthorized --yes".to_owned(),
        ],
        "thirdPartyUnavailable" | "overdue" | "rateLimited" => vec![
            redrive,
            format!("Or all documents that failed for this reason: lectern redrive --failed --reason {code} --yes"),
        ],
        "tooSlow" => vec![
            "Deploy with a PushMaxBytes below the file's size, so that the third party fetches such files itself."
                .to_owned(),
            redrive,
        ],
        "sourceGone" => vec!["The teacher uploads the file again.".to_owned()],
        "internal" | "timeout" => vec![
            redrive,
            format!(
                "If the document fails again, the log lines of `lectern explain {submission_id}/{document_id}` show where."
            ),
        ],
        _ if document.has_succeeded_result() => vec![
            format!("{redrive}    checks the stored result again"),
            format!("{redrive} --discard-result    lets the third party process the file again"),
        ],
        _ => vec![
            "The teacher uploads another file, if this file is the cause.".to_owned(),
            format!("{redrive}    if the third party has corrected the cause"),
        ],
    }
}
