//! `lectern upload`: hands in files.
//!
//! A file is declared to the API, which says how to send it to S3: a small file in one request, a large one in parts. At most
//! [`PARALLEL`] requests with content run at the same time, over all files, and each holds its content in memory. S3 checks
//! the SHA-256 of everything that is sent. What S3 has already is not sent again.

mod declare;
mod files;
mod report;
mod send;
#[cfg(test)]
mod tests;

use futures_util::{StreamExt as _, stream};
use lectern::document::keys::is_companion;

use self::{
    declare::{Plan, add, create},
    files::{Found, LocalFile},
    report::{FileReport, Outcome, UploadReport},
    send::Sender,
};
use crate::{
    api::Client,
    args::{Common, Upload},
    console::{Console, Exit},
    ids::submission_id,
    problem::Problem,
    text::count,
};

/// Requests with content at the same time.
const PARALLEL: usize = 4;

pub(crate) async fn run(
    common: &Common,
    options: &Upload,
    console: &mut Console<'_>,
) -> anyhow::Result<Exit> {
    if let Some(id) = &options.submission {
        submission_id(id)?;
    }
    let Found { files, skipped } = files::find(&options.paths)?;
    for path in &skipped {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let why = if is_companion(&name) {
            "a program created it; it is not part of your lesson"
        } else {
            "it is neither a file nor a link to one"
        };
        console.note(&format!("Skipped {}: {why}.", path.display()));
    }
    if files.is_empty() {
        return Err(Problem::new("there is no file to hand in", "Give files, or folders with files.").into());
    }
    let client = Client::open(common).await?;
    let report = upload(&client, options, files, console).await?;
    console.report(&report)?;
    Ok(report.exit())
}

async fn upload(
    client: &Client,
    options: &Upload,
    files: Vec<LocalFile>,
    console: &mut Console<'_>,
) -> Result<UploadReport, Problem> {
    let Plan { submission, to_send, mut reports } = match (&options.submission, &options.title) {
        (Some(submission), _) => add(client, submission, files).await?,
        (None, title) => create(client, title.as_deref().unwrap_or_default(), files).await?,
    };
    let Some(submission) = submission else { return Ok(UploadReport { submission: None, files: reports }) };
    if !to_send.is_empty() {
        let what = count(to_send.len(), "file");
        console.note(&format!("Sending {what} to submission {submission}."));
    }
    let bytes = to_send.iter().map(|work| work.file.size_bytes).sum();
    let bar = console.progress_of_bytes(bytes).with_message(count(to_send.len(), "file"));
    let sender = Sender::new(client, &submission, bar.clone(), PARALLEL);
    let sending = to_send.into_iter().map(|work| {
        let sender = &sender;
        async move {
            let outcome = match sender.send(&work).await {
                Ok(kept_bytes) => Outcome::Sent { kept_bytes },
                Err(problem) => Outcome::Failed { why: problem.text() },
            };
            FileReport::new(&work.file, outcome)
        }
    });
    let mut sent: Vec<FileReport> = stream::iter(sending).buffer_unordered(PARALLEL).collect().await;
    bar.finish_and_clear();
    reports.append(&mut sent);
    reports.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(UploadReport { submission: Some(submission), files: reports })
}
