//! Declares files to the API, and finds the files whose upload broke off.

use lectern::document::DocumentState;
use serde_json::{Value, json};

use super::{
    files::LocalFile,
    report::{FileReport, Outcome},
};
use crate::{
    api::{
        Call, Client,
        failure::Failure,
        wire::{Detail, Document, PendingFile},
    },
    problem::Problem,
};

/// What is to be done with the files.
pub(super) struct Plan {
    /// `None` if every file was refused, so that no submission was created.
    pub(super) submission: Option<String>,
    pub(super) to_send: Vec<Work>,
    /// Files that are not sent.
    pub(super) reports: Vec<FileReport>,
}

/// A declared file.
pub(super) struct Work {
    pub(super) file: LocalFile,
    pub(super) file_id: String,
}

/// Creates a submission with the first file that the API accepts, and declares the others.
pub(super) async fn create(client: &Client, title: &str, files: Vec<LocalFile>) -> Result<Plan, Problem> {
    let mut plan = Plan { submission: None, to_send: Vec::new(), reports: Vec::new() };
    let mut files = files.into_iter();
    for file in files.by_ref() {
        let body = json!({ "title": title, "files": [declaration(&file)] });
        match client.read::<Detail>(Call::create(&["submissions"], body)).await {
            Ok(Detail { submission, pending, .. }) => {
                plan.submission = Some(submission.submission_id);
                let file_id = pending.into_iter().next().map(|pending| pending.file_id);
                let file_id = file_id.ok_or(Failure::Unreadable)?;
                plan.to_send.push(Work { file, file_id });
                break;
            }
            Err(failure) if failure.kind() == "file-refused" => plan.reports.push(refused(&file, failure)),
            Err(failure) => return Err(failure.into()),
        }
    }
    if let Some(submission) = plan.submission.clone() {
        for file in files {
            declare(client, &submission, file, &mut plan).await?;
        }
    }
    Ok(plan)
}

/// Adds files to a submission. A pending file of the same name and size is continued, and a file that has arrived is left
/// alone.
pub(super) async fn add(client: &Client, submission: &str, files: Vec<LocalFile>) -> Result<Plan, Problem> {
    let Detail { mut pending, mut documents, .. } = client.submission(submission).await?;
    let mut plan = Plan { submission: Some(submission.to_owned()), to_send: Vec::new(), reports: Vec::new() };
    for file in files {
        if let Some(index) = pending.iter().position(|pending| is_same(pending, &file)) {
            let PendingFile { file_id, .. } = pending.swap_remove(index);
            plan.to_send.push(Work { file, file_id });
        } else if let Some(index) = documents.iter().position(|document| has_arrived(document, &file)) {
            let Document { document_id, .. } = documents.swap_remove(index);
            plan.reports.push(FileReport::new(&file, Outcome::Arrived { document_id }));
        } else {
            declare(client, submission, file, &mut plan).await?;
        }
    }
    Ok(plan)
}

async fn declare(client: &Client, submission: &str, file: LocalFile, plan: &mut Plan) -> Result<(), Problem> {
    let call = Call::create(&["submissions", submission, "files"], declaration(&file));
    match client.read::<PendingFile>(call).await {
        Ok(PendingFile { file_id, .. }) => plan.to_send.push(Work { file, file_id }),
        // The others may still be accepted.
        Err(failure) if matches!(failure.kind(), "file-refused" | "quota-exceeded" | "invalid-request") => {
            plan.reports.push(refused(&file, failure));
        }
        // What was declared before can still be sent.
        Err(failure @ Failure::Unreachable { .. }) => {
            plan.reports.push(FileReport::new(&file, Outcome::Failed { why: failure.text() }));
        }
        Err(failure) => return Err(failure.into()),
    }
    Ok(())
}

fn declaration(file: &LocalFile) -> Value {
    json!({ "name": file.name, "sizeBytes": file.size_bytes })
}

fn refused(file: &LocalFile, failure: Failure) -> FileReport {
    let why = failure.text();
    // The API's sentence begins with the file's name, which the report shows anyway.
    let why = why.strip_prefix(&format!("{}: ", file.name)).map(str::to_owned).unwrap_or(why);
    FileReport::new(file, Outcome::Refused { why })
}

fn is_same(pending: &PendingFile, file: &LocalFile) -> bool {
    pending.replaces.is_none() && file.is(&pending.name, pending.size_bytes)
}

/// A file that was rejected or has failed may be handed in again.
fn has_arrived(document: &Document, file: &LocalFile) -> bool {
    let has_failed = matches!(document.state, DocumentState::Rejected | DocumentState::Failed);
    document.is_current() && file.is(&document.file_name, document.size_bytes) && !has_failed
}
