//! Standard output carries the answer, as text or JSON; standard error carries progress and failures.
//!
//! Messages in dead-letter queues, logs and AWS's answers may contain text from anyone, so everything that is written
//! passes through [`lines`] or [`escaped`].

use std::{
    fmt::Display,
    io::{self, Write},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lectern::display_text::{is_neutralised, lines};
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
            writeln!(self.out, "{}", escaped(&text))
        } else {
            let mut text = Vec::new();
            report.write(&mut text)?;
            self.out.write_all(lines(&String::from_utf8_lossy(&text)).as_bytes())
        };
        match written.and_then(|()| self.out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Writes one line of a report that grows while the command runs.
    pub(crate) fn line(&mut self, text: &str) -> anyhow::Result<()> {
        self.raw(format!("{}\n", lines(text)).as_bytes())
    }

    /// Writes bytes as they are: a file's format, which nobody else has written.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match self.out.write_all(bytes).and_then(|()| self.out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Tells a person something that is not part of the answer.
    pub(crate) fn note(&mut self, text: &str) {
        self.say(&lines(text));
    }

    /// A progress bar, shown on a terminal only.
    pub(crate) fn progress(&self, length: Option<u64>, what: &str) -> ProgressBar {
        let template = match length {
            Some(_) => "{msg} [{wide_bar}] {pos}/{len} {eta}",
            None => "{spinner} {msg} {pos}",
        };
        self.bar(length, template).with_message(what.to_owned())
    }

    /// A progress bar for so many bytes, shown on a terminal only.
    pub(crate) fn progress_of_bytes(&self, bytes: u64) -> ProgressBar {
        self.bar(
            Some(bytes),
            "{msg} [{wide_bar}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}",
        )
    }

    fn bar(&self, length: Option<u64>, template: &str) -> ProgressBar {
        let target = if self.is_terminal && !self.json {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        ProgressBar::with_draw_target(length, target).with_style(style(template))
    }

    pub(crate) fn failed(&mut self, error: &anyhow::Error) -> Exit {
        let problem = error.downcast_ref::<Problem>();
        let exit = problem.map_or(Exit::Failed, |problem| problem.exit);
        let todo = problem.map(|problem| problem.todo.as_str());
        let said = if self.json {
            let value = json!({ "error": { "message": format!("{error:#}"), "todo": todo } });
            writeln!(self.out, "{}", escaped(&format!("{value:#}")))
        } else {
            self.say(&lines(&format!("Failed: {error:#}")));
            todo.map_or(Ok(()), |todo| writeln!(self.err, "{}", lines(todo)))
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

/// JSON with each character that could control a terminal or deceive a reader in its escaped form, which means the same.
fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        if character == '\n' || !is_neutralised(character) {
            escaped.push(character);
        } else {
            let mut units = [0; 2];
            let sequences = character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}"));
            escaped.push_str(&sequences.collect::<Vec<_>>().concat());
        }
    }
    escaped
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Quoting(&'static str);

    impl Report for Quoting {
        fn write(&self, out: &mut dyn Write) -> io::Result<()> {
            writeln!(out, "It says:\n  {}", self.0)
        }
    }

    const HOSTILE: &str = "\u{1b}[2J\u{9b}1m \u{202e}gnp.exe\u{e0041}";

    fn shown(json: bool) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut console = Console { json, ..Console::new(&mut out, &mut err, true) };
        console.report(&Quoting(HOSTILE)).unwrap();
        console.failed(&anyhow::anyhow!("It said {HOSTILE}."));
        (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn v03_text_from_outside_controls_no_terminal() {
        let (out, err) = shown(false);
        assert_eq!(out, "It says:\n  [2J1m gnp.exe\n");
        assert_eq!(err, "Failed: It said [2J1m gnp.exe.\n");
    }

    #[test]
    fn v03_json_holds_the_text_in_escaped_form() {
        let (out, err) = shown(true);
        assert!(
            err.is_empty() && out.chars().all(|character| character == '\n' || !is_neutralised(character))
        );
        let answer = serde_json::Deserializer::from_str(&out).into_iter::<String>().next().unwrap().unwrap();
        assert_eq!(answer, HOSTILE);
    }
}
