//! `lectern record`: prints a document's record.

mod plain;
mod vtt;

use std::io::{self, Write};

use lectern::{document::DocumentRef, record};
use serde::Serialize;

use crate::{
    api::{Call, Client, failure::Failure},
    args::{Common, Record},
    console::{Console, Exit, Report},
    ids::Named,
    problem::Problem,
};

pub(crate) async fn run(
    common: &Common,
    options: &Record,
    console: &mut Console<'_>,
) -> anyhow::Result<Exit> {
    let Named::DocumentOf(DocumentRef { submission_id, document_id }) = options.document.parse()? else {
        return Err(Problem::new(
            "this is not the id of a document with its submission",
            "Give <submission id>/<document id>; `lectern watch <submission id>` shows them.",
        )
        .into());
    };
    let client = Client::open(common).await?;
    let path = ["submissions", submission_id.as_str(), "documents", &document_id.to_string(), "record"];
    let answer = client.call(&Call::get(&path)).await.map_err(Problem::from)?;
    let record = record::Record::from_json(&answer.body).map_err(|_| Problem::from(Failure::Unreadable))?;
    if options.vtt {
        let transcript = record.transcript.as_ref().ok_or_else(|| {
            Problem::not_found(
                "the record has no transcript",
                "Only videos and recordings with speech have one. Print the text without --vtt.",
            )
        })?;
        console.report(&Vtt(transcript))?;
    } else {
        console.report(&Text(&record))?;
    }
    Ok(Exit::Done)
}

#[derive(Serialize)]
#[serde(transparent)]
struct Text<'a>(&'a record::Record);

impl Report for Text<'_> {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        plain::write(self.0, out)
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Vtt<'a>(&'a record::Transcript);

impl Report for Vtt<'_> {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        vtt::write(self.0, out)
    }
}

/// `00:01:02.345`.
fn timestamp(ms: u64) -> String {
    let (hours, minutes, seconds, ms) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
    format!("{hours:02}:{minutes:02}:{seconds:02}.{ms:03}")
}
