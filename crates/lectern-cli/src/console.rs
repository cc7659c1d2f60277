//! Where answers go: people or programs on standard output, progress and failures on standard error.

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::json;

use crate::problem::Problem;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or nothing to do.
    Done,
    /// It failed.
    Failed,
    /// The command line is not understood.
    Usage,
    /// There is no such thing.
    NotFound,
    /// Something is left that needs a person.
    Attention,
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Attention => 4,
        })
    }
}

/// What a command found or did: one JSON document, or text for a person.
pub(crate) trait Report: Serialize {
    fn write(&self, out: &mut dyn Write) -> io::Result<()>;
}

/// The two outputs of a command.
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
    /// Answers on `out`; failures, and progress if that is a terminal, go to `err`.
    pub fn new(out: &'a mut dyn Write, err: &'a mut dyn Write, is_terminal: bool) -> Self {
        Self { out, err, is_terminal, json: false }
    }

    /// Writes the answer. A reader that went away wants no more of it.
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

    /// A bar for long work; invisible unless a person watches.
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
        // There is nowhere left to tell that telling failed.
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

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
