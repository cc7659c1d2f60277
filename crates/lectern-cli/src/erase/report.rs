//! The report of an erasure.

use std::io::{self, Write};

use lectern::{
    document::SubmissionId,
    error::rfc3339,
    ports::{Erasure, ErasureState},
};
use serde::{Serialize, Serializer};
use time::OffsetDateTime;

use crate::{
    console::{Report, write_todo},
    text::count,
};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EraseReport {
    pub(super) submission: SubmissionId,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
    /// Documents, those in progress, and versions of objects that exist now.
    pub(super) documents: usize,
    pub(super) open: usize,
    pub(super) object_versions: u64,
    pub(super) erasure: Option<Erasure>,
    /// Messages in all dead-letter queues of the stack.
    pub(super) dead_letters: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase", tag = "outcome")]
pub(super) enum Outcome {
    /// Only shown.
    Shown,
    /// Nothing was changed.
    Would,
    /// Documents are in progress.
    Refused,
    /// Functions may still be working on documents.
    Waiting {
        #[serde(serialize_with = "as_text")]
        until: OffsetDateTime,
    },
    /// The third party has not confirmed the erasure of these documents.
    Unconfirmed {
        documents: usize,
        trouble: Option<String>,
    },
    Erased,
}

fn as_text<S: Serializer>(time: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*time))
}

impl EraseReport {
    /// Whether nothing is left to do.
    pub(super) fn is_complete(&self) -> bool {
        match self.outcome {
            Outcome::Would => true,
            Outcome::Refused | Outcome::Waiting { .. } | Outcome::Unconfirmed { .. } => false,
            Outcome::Shown | Outcome::Erased => self.is_all_gone(),
        }
    }

    fn is_all_gone(&self) -> bool {
        let is_erased = self.erasure.as_ref().is_some_and(|erasure| erasure.state == ErasureState::Erased);
        is_erased && self.documents == 0 && self.object_versions == 0
    }

    fn todo(&self) -> Vec<String> {
        let id = &self.submission;
        let again = format!("Run `lectern erase {id} --yes` again");
        let mut todo = match &self.outcome {
            Outcome::Refused => vec![format!(
                "Wait until its documents have ended, or stop them: lectern erase {id} --yes --stop"
            )],
            Outcome::Waiting { until } => vec![format!("{again} after {}.", rfc3339(*until))],
            Outcome::Unconfirmed { trouble: Some(trouble), .. } => {
                vec![format!("{again} when the third party can be reached: {trouble}.")]
            }
            Outcome::Unconfirmed { trouble: None, .. } => {
                vec![format!("{again} in some days; the third party erases the rest by then.")]
            }
            Outcome::Would => vec![format!("To erase it for good: lectern erase {id} --yes")],
            Outcome::Shown | Outcome::Erased if self.is_all_gone() => Vec::new(),
            Outcome::Shown if self.erasure.is_none() => Vec::new(),
            Outcome::Shown | Outcome::Erased => vec![format!("{again}: something was added since.")],
        };
        if self.dead_letters > 0 && self.erasure.is_some() {
            let messages = count(usize::try_from(self.dead_letters).unwrap_or(usize::MAX), "message");
            todo.push(format!(
                "The dead-letter queues hold {messages}, which may name a file of this submission: `lectern dlq redrive --all`. A message of an erased submission changes nothing and is gone then."
            ));
        }
        todo
    }
}

impl Report for EraseReport {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { submission, documents, open, object_versions, .. } = self;
        match &self.outcome {
            Outcome::Shown if self.erasure.is_none() => {
                writeln!(out, "Submission {submission} was never erased.")?;
            }
            Outcome::Shown => {}
            Outcome::Would => writeln!(out, "Submission {submission} would be erased. Nothing was changed.")?,
            Outcome::Refused => {
                writeln!(out, "Submission {submission} was not erased: {} in progress.", are(*open))?;
            }
            Outcome::Waiting { until } => writeln!(
                out,
                "Submission {submission} takes no documents any more. Functions may still work on it until {}.",
                rfc3339(*until)
            )?,
            Outcome::Unconfirmed { documents, .. } => writeln!(
                out,
                "Submission {submission} is erased, but the third party has not confirmed it for {}.",
                count(*documents, "document")
            )?,
            Outcome::Erased => writeln!(out, "Submission {submission} is erased.")?,
        }
        if let Some(erasure) = &self.erasure {
            let state = match erasure.state {
                ErasureState::Erasing => "not complete",
                ErasureState::Erased => "complete",
            };
            writeln!(out, "  erasure  {state}")?;
            writeln!(out, "  began    {}", erasure.began_at)?;
            if let Some(ended_at) = &erasure.ended_at {
                writeln!(out, "  ended    {ended_at}")?;
            }
            writeln!(out, "  by       {}", erasure.by)?;
            let erased = count(usize::try_from(erasure.documents).unwrap_or(usize::MAX), "document");
            writeln!(out, "  erased   {erased}, {}", versions(erasure.object_versions))?;
        }
        let is_open = if *open > 0 { format!(" ({open} in progress)") } else { String::new() };
        let exist = count(*documents, "document");
        writeln!(out, "  now      {exist}{is_open}, {}", versions(*object_versions))?;
        write_todo(out, &self.todo())
    }
}

fn versions(number: u64) -> String {
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    format!("{} of objects", count(number, "version"))
}

fn are(open: usize) -> String {
    format!("{} {}", count(open, "document"), if open == 1 { "is" } else { "are" })
}
