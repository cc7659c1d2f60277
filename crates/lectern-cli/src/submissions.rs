//! `lectern submissions`: lists submissions.

use std::io::{self, Write};

use serde::Serialize;

use crate::{
    api::{
        Call, Client,
        failure::Failure,
        wire::{Submission, SubmissionsPage},
    },
    args::{Common, Submissions},
    console::{Console, Exit, Report},
    problem::Problem,
};

/// The largest page that the API gives.
const PAGE: usize = 100;

pub(crate) async fn run(
    common: &Common,
    options: &Submissions,
    console: &mut Console<'_>,
) -> anyhow::Result<Exit> {
    let client = Client::open(common).await?;
    let report = list(&client, options).await.map_err(Problem::from)?;
    console.report(&report)?;
    Ok(Exit::Done)
}

async fn list(client: &Client, options: &Submissions) -> Result<SubmissionsReport, Failure> {
    let wanted = usize::try_from(options.limit).unwrap_or(usize::MAX);
    let (mut submissions, mut cursor) = (Vec::new(), None);
    loop {
        let left = wanted - submissions.len();
        let call = Call::get(&["submissions"])
            .query("mine", options.mine.then_some("true"))
            .query("state", options.state.as_deref())
            .query("type", options.kind.as_deref())
            .query("from", options.from.as_deref())
            .query("to", options.to.as_deref())
            .query("limit", Some(&left.min(PAGE).to_string()))
            .query("cursor", cursor.as_deref());
        // A page may be empty and not be the last one.
        let page: SubmissionsPage = client.read(call).await?;
        submissions.extend(page.submissions.into_iter().take(left));
        cursor = page.cursor;
        if cursor.is_none() || submissions.len() == wanted {
            return Ok(SubmissionsReport { submissions, has_more: cursor.is_some() });
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SubmissionsReport {
    /// Newest first.
    submissions: Vec<Submission>,
    /// Whether there may be older ones.
    has_more: bool,
}

impl Report for SubmissionsReport {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { submissions, has_more } = self;
        if submissions.is_empty() {
            return writeln!(out, "No submissions match.");
        }
        let width = submissions.iter().map(|one| one.submission_id.len()).max().unwrap_or_default();
        writeln!(
            out,
            "{:<width$}  {:<24}  {:<14}  FILES                 TITLE",
            "SUBMISSION", "CREATED", "STATE"
        )?;
        for submission in submissions {
            let Submission { submission_id, created_at, state, title, .. } = submission;
            let title = title.as_deref().unwrap_or_default();
            writeln!(
                out,
                "{submission_id:<width$}  {created_at:<24}  {state:<14}  {:<20}  {title}",
                files(submission)
            )?;
        }
        if *has_more {
            writeln!(out, "There may be older ones: list more with --limit, or narrow the time with --to.")?;
        }
        Ok(())
    }
}

/// `2 ready, 1 failed`.
fn files(submission: &Submission) -> String {
    let Submission { open, ready, rejected, failed, .. } = submission;
    let counts = [(ready, "ready"), (open, "open"), (rejected, "rejected"), (failed, "failed")];
    let parts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| **count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests;
