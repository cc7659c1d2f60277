//! Letters with what is known of their documents: read, looked up, judged.

use std::collections::BTreeMap;

use lectern::{document::DocumentRef, ports::Load as _};
use serde::Serialize;
use time::OffsetDateTime;

use super::{
    classify::{Class, Content, Known, Mail, Verdict, judge},
    letters::{Depth, Letter, Letters, hash},
};
use crate::{
    cloud::Cloud,
    executions::Status,
    problem::Problem,
    stack::{DeadLetters, Source},
    text::duration,
};

/// The kind of letters that a queue holds.
pub(super) fn mail(queue: &DeadLetters) -> Mail {
    match (&queue.source, queue.name.as_str()) {
        (Source::Invocations, _) => Mail::Invocations,
        (Source::Queue(_), "ReceiveUpload") => Mail::Uploads,
        (Source::Queue(_), _) => Mail::Tasks,
    }
}

/// A letter and what it is.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) letter: Letter,
    pub(super) content: Content,
    pub(super) verdict: Verdict,
    /// How often it was redriven before.
    pub(super) redrives: u32,
}

impl Judged {
    /// What it has in common with letters that ask for the same.
    pub(super) fn keys(&self) -> Vec<String> {
        std::iter::once(self.mark()).chain(self.content.same_as()).collect()
    }

    /// Names the letter by what it says; a failed invocation by what was to be done, since each failure is told anew.
    pub(super) fn mark(&self) -> String {
        match &self.content {
            Content::Invocation(failed) => {
                hash(&format!("{}/{}", failed.request_context.function_arn, failed.request_payload))
            }
            Content::Unreadable(_) | Content::Newer(_) | Content::Uploads(_) | Content::Task { .. } => {
                self.letter.hash()
            }
        }
    }

    pub(super) fn row(&self, now: OffsetDateTime) -> Row {
        let document = self.content.documents().into_iter().next();
        Row {
            id: self.letter.id.clone(),
            class: self.verdict.class,
            why: self.verdict.why.clone(),
            sent_at: self.letter.sent.map(lectern::error::rfc3339),
            age: self.letter.sent.map(|sent| duration(now - sent)),
            received: self.letter.received,
            redrives: self.redrives,
            submission_id: document.as_ref().map(|document| document.submission_id.to_string()),
            document_id: document.map(|document| document.document_id.to_string()),
        }
    }
}

/// One letter in a list.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) class: Class,
    pub(super) why: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sent_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) age: Option<String>,
    pub(super) received: u32,
    pub(super) redrives: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) submission_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) document_id: Option<String>,
}

/// Judges letters; a document is looked up once.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    cloud: &'a Cloud,
    queue: &'a DeadLetters,
    known: BTreeMap<DocumentRef, Known>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(cloud: &'a Cloud, queue: &'a DeadLetters) -> Self {
        Self { cloud, queue, known: BTreeMap::new() }
    }

    pub(super) async fn judge(&mut self, letter: Letter) -> Result<Judged, Problem> {
        let content = Content::read(mail(self.queue), &letter.body);
        let mut known = Vec::new();
        for document in content.documents() {
            known.push(self.look_up(document).await?);
        }
        let functions: Vec<&str> = self.cloud.stack.functions.values().map(String::as_str).collect();
        let verdict = Verdict { class: Class::Over, why: String::new() };
        let mut judged = Judged { redrives: letter.redrives, letter, content, verdict };
        if let Content::Invocation(_) = &judged.content {
            judged.redrives = super::markers::read(self.cloud, &self.queue.name, &judged.mark()).await?;
        }
        judged.verdict = judge(&judged.content, judged.redrives, &known, &functions);
        Ok(judged)
    }

    async fn look_up(&mut self, reference: DocumentRef) -> Result<Known, Problem> {
        if let Some(known) = self.known.get(&reference) {
            return Ok(known.clone());
        }
        let document = self.cloud.store.load(&reference).await.map_err(|error| Problem::store(&error))?;
        let runs = match &document {
            Some(document) if !document.state.is_terminal() => {
                let found = self.cloud.executions.find(&reference, document.redrives).await?;
                found.is_some_and(|execution| execution.status == Status::Running)
            }
            _ => false,
        };
        let known = Known { document, runs };
        self.known.insert(reference, known.clone());
        Ok(known)
    }
}

/// What was seen of a queue.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) letters: Vec<Judged>,
    /// How full it was just before.
    pub(super) depth: Depth,
}

impl Seen {
    /// How many more there are, as SQS guesses.
    pub(super) fn not_seen(&self) -> u64 {
        self.depth.visible.saturating_sub(self.letters.len() as u64)
    }
}

/// Reads up to `limit` letters and lets others see them again. They stay where they are. A FIFO queue gives ten at most:
/// while letters of a message group are hidden, those behind them are not given out.
pub(super) async fn peek(cloud: &Cloud, queue: &DeadLetters, limit: usize) -> Result<Seen, Problem> {
    let letters = Letters { client: &cloud.sqs, queue };
    let depth = letters.depth().await?;
    let mut handles: BTreeMap<String, String> = BTreeMap::new();
    let result = collect(cloud, queue, &letters, limit, &mut handles).await;
    for handle in handles.values() {
        letters.release(handle).await;
    }
    Ok(Seen { letters: result?, depth })
}

async fn collect(
    cloud: &Cloud,
    queue: &DeadLetters,
    letters: &Letters<'_>,
    limit: usize,
    handles: &mut BTreeMap<String, String>,
) -> Result<Vec<Judged>, Problem> {
    let mut judge = Judge::new(cloud, queue);
    let mut found = Vec::new();
    while found.len() < limit {
        let batch = letters.receive(limit - found.len(), 1).await?;
        if batch.is_empty() {
            break;
        }
        for letter in batch {
            if handles.insert(letter.id.clone(), letter.handle.clone()).is_none() {
                found.push(judge.judge(letter).await?);
            }
        }
    }
    Ok(found)
}
