//! What a subscriber was sent to try it, and what it answered.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use serde::Serialize;

use super::wire::Trial;
use crate::console::{Exit, Report, write_todo};

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Tried(pub(super) Trial);

impl Tried {
    fn is_accepted(&self) -> bool {
        self.0.response.as_ref().is_some_and(|response| (200..300).contains(&response.status))
    }

    pub(super) fn exit(&self) -> Exit {
        if self.is_accepted() { Exit::Done } else { Exit::Attention }
    }

    fn todo(&self) -> Vec<String> {
        let advice = match &self.0.response {
            _ if self.is_accepted() => return Vec::new(),
            None => "Check that the endpoint runs, and that its host's address is public.",
            Some(response) => match response.status {
                300..=399 => {
                    "Redirects are not followed: remove the subscriber, and add it with the URL that answers."
                }
                401 | 403 => "Check that the endpoint verifies signatures with the secret that it was given.",
                410 => {
                    "This answer to an event disables the subscriber. Check that its endpoint still wants events."
                }
                _ => "Look at the endpoint's own logs. Its answer has to be 2xx.",
            },
        };
        vec![advice.to_owned()]
    }
}

/// Each line of the request begins with `>` and each line of the answer with `<`, so that no body can imitate the rest.
impl Report for Tried {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Trial { request, response, error } = &self.0;
        writeln!(out, "> POST {}", request.url)?;
        write_message(out, '>', &request.headers, &request.body)?;
        match response {
            Some(response) => {
                writeln!(out, "< {}", response.status)?;
                write_message(out, '<', &response.headers, &response.body)?;
            }
            None => {
                writeln!(
                    out,
                    "There is no answer: {}.",
                    error.as_deref().unwrap_or("the reason is unknown")
                )?;
            }
        }
        write_todo(out, &self.todo())
    }
}

fn write_message(
    out: &mut dyn Write,
    mark: char,
    headers: &BTreeMap<String, String>,
    body: &str,
) -> io::Result<()> {
    headers.iter().try_for_each(|(name, value)| writeln!(out, "{mark} {name}: {value}"))?;
    if !body.is_empty() {
        writeln!(out, "{mark}")?;
        body.lines().try_for_each(|line| writeln!(out, "{mark} {line}"))?;
    }
    Ok(())
}
