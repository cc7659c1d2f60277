//! `lectern watch`: shows the changes of a submission until all of its files are in a final state.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    time::Duration,
};

use lectern::document::DocumentState;
use reqwest::StatusCode;
use serde::Serialize;

use crate::{
    api::{
        Call, Client,
        wire::{Detail, Document},
    },
    args::{Common, Watch},
    console::{Console, Exit, Report},
    ids::submission_id,
    problem::Problem,
    text::count,
};

/// The pauses between two requests while nothing changes. They are those of the pages.
const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(30);
const GROWTH: f64 = 1.5;

pub(crate) async fn run(common: &Common, options: &Watch, console: &mut Console<'_>) -> anyhow::Result<Exit> {
    submission_id(&options.submission)?;
    let client = Client::open(common).await?;
    watch(&client, &options.submission, FIRST, console).await
}

async fn watch(
    client: &Client,
    submission: &str,
    first: Duration,
    console: &mut Console<'_>,
) -> anyhow::Result<Exit> {
    let mut shown = BTreeMap::new();
    let (mut etag, mut pause) = (None, first);
    loop {
        let call = Call::get(&["submissions", submission]).unless(etag.as_deref());
        let answer = client.call(&call).await.map_err(Problem::from)?;
        if answer.status != StatusCode::NOT_MODIFIED {
            let detail = answer.json().map_err(Problem::from)?;
            let detail = client.with_all_documents(detail).await.map_err(Problem::from)?;
            let changes = changes(&detail, &mut shown);
            if !changes.is_empty() {
                pause = first;
            }
            if !console.json {
                changes.iter().try_for_each(|line| console.line(line))?;
            }
            if is_final(&detail) {
                let report = WatchReport(detail);
                console.report(&report)?;
                return Ok(report.exit());
            }
            etag = answer.etag;
        }
        tokio::time::sleep(pause).await;
        pause = pause.mul_f64(GROWTH).min(LONGEST);
    }
}

/// The current documents; the others were replaced or removed.
fn current(detail: &Detail) -> impl Iterator<Item = &Document> {
    detail.documents.iter().filter(|document| document.is_current())
}

/// Lines for what has changed since the last call, and remembers it in `shown`.
fn changes(detail: &Detail, shown: &mut BTreeMap<String, Option<DocumentState>>) -> Vec<String> {
    let mut lines = Vec::new();
    for pending in &detail.pending {
        if shown.insert(pending.file_id.clone(), None).is_none() {
            lines.push(format!(
                "{}  not yet uploaded; submission created {}",
                pending.name, detail.submission.created_at
            ));
        }
    }
    for document in current(detail) {
        let state = document.state;
        if shown.insert(document.document_id.clone(), Some(state)) == Some(Some(state)) {
            continue;
        }
        let time = document.times.get(&format!("{state:?}")).map(String::as_str).unwrap_or_default();
        let why = document.reason.as_ref().map(|reason| format!(": {}", reason.message.as_str()));
        lines.push(format!("{time}  {}  {state:?}{}", document.file_name, why.unwrap_or_default()));
    }
    lines
}

/// Whether nothing will change any more: a submission without files is not final, because its files will come.
fn is_final(detail: &Detail) -> bool {
    let is_final = |document: &Document| {
        matches!(document.state, DocumentState::Ready | DocumentState::Rejected | DocumentState::Failed)
    };
    detail.pending.is_empty() && current(detail).next().is_some() && current(detail).all(is_final)
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct WatchReport(Detail);

impl WatchReport {
    fn number(&self, state: DocumentState) -> usize {
        current(&self.0).filter(|document| document.state == state).count()
    }

    fn exit(&self) -> Exit {
        let is_ready = |document: &Document| document.state == DocumentState::Ready;
        if current(&self.0).all(is_ready) { Exit::Done } else { Exit::Attention }
    }
}

impl Report for WatchReport {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "{} ready", count(self.number(DocumentState::Ready), "file"))?;
        for (state, word) in [(DocumentState::Rejected, "rejected"), (DocumentState::Failed, "failed")] {
            let number = self.number(state);
            if number > 0 {
                write!(out, ", {number} {word}")?;
            }
        }
        writeln!(out, ".")?;
        let id = &self.0.submission.submission_id;
        current(&self.0).filter(|document| document.state == DocumentState::Ready).try_for_each(|document| {
            let Document { document_id, file_name, .. } = document;
            writeln!(out, "To read {file_name}: lectern record {id}/{document_id}")
        })
    }
}

#[cfg(test)]
mod tests;
