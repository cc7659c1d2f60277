//! Standard output carries the answer, as text or JSON; standard error carries progress and failures.

use std::{
    fmt::Display,
    io::{self, Write},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::json;

use crate::problem::Problem;

/// The outcome of a command, which becomes the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or nothing to do.
    Done = 0,
    /// The command failed.
    Failed = 1,
    /// The command line is invalid.
    Usage = 2,
    /// The document, submission, queue or stack does not exist.
    NotFound = 3,
    /// A person has to act.
    Attention = 4,
}

/// A command's answer. Its serialised form is the output of `--json`; `write` prints the text.
pub(crate) trait Report: Serialize {
    fn write(&self, out: &mut dyn Write) -> io::Result<()>;
}

/// The outputs of a command.
pub struct Console<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    is_terminal: bool,
    pub(crate) json: bool,
}

impl std::fmt::Debug for Console<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console").field("is_terminal", &self.is_terminal).finish_non_exhaustive()
    }
}

impl<'a> Console<'a> {
    /// Answers go to `out`. Failures go to `err`, and progress too, if `err` is a terminal.
    pub fn new(out: &'a mut dyn Write, err: &'a mut dyn Write, is_terminal: bool) -> Self {
        Self { out, err, is_terminal, json: false }
    }

    /// Writes the answer. A reader that has closed the pipe (`lectern … | head`) is not a failure.
    pub(crate) fn report(&mut self, report: &impl Report) -> anyhow::Result<()> {
        let written = if self.json {
            let text = serde_json::to_string_pretty(report)?;
            writeln!(self.out, "{text}")
        } else {
            report.write(self.out)
        };
        match written.and_then(|()| self.out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// A progress bar, shown on a terminal only.
    pub(crate) fn progress(&self, length: Option<u64>, what: &str) -> ProgressBar {
        let target = if self.is_terminal && !self.json {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = match length {
            Some(length) => ProgressBar::with_draw_target(Some(length), target)
                .with_style(style("{msg} [{wide_bar}] {pos}/{len} {eta}")),
            None => ProgressBar::with_draw_target(None, target).with_style(style("{spinner} {msg} {pos}")),
        };
        bar.with_message(what.to_owned())
    }

    pub(crate) fn failed(&mut self, error: &anyhow::Error) -> Exit {
        let problem = error.downcast_ref::<Problem>();
        let exit = problem.map_or(Exit::Failed, |problem| problem.exit);
        let todo = problem.map(|problem| problem.todo.as_str());
        let said = if self.json {
            let value = json!({ "error": { "message": format!("{error:#}"), "todo": todo } });
            writeln!(self.out, "{value:#}")
        } else {
            self.say(&format!("Failed: {error:#}"));
            todo.map_or(Ok(()), |todo| writeln!(self.err, "{todo}"))
        };
        // If this fails, there is no other output to report it to.
        let _ = said;
        exit
    }

    pub(crate) fn usage(&mut self, error: &clap::Error) -> Exit {
        let text = error.render();
        if error.use_stderr() {
            self.say(&text);
            return Exit::Usage;
        }
        let _ = write!(self.out, "{text}");
        Exit::Done
    }

    fn say(&mut self, text: &dyn Display) {
        let text = text.to_string();
        let _ = writeln!(self.err, "{}", text.trim_end());
    }
}

/// Writes the end of a report: what the engineer has to do.
pub(crate) fn write_todo(out: &mut dyn Write, todo: &[String]) -> io::Result<()> {
    match todo.split_first() {
        None => writeln!(out, "Do     Nothing."),
        Some((first, rest)) => {
            writeln!(out, "Do     {first}")?;
            rest.iter().try_for_each(|line| writeln!(out, "       {line}"))
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
