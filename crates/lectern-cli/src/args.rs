//! The command line, with examples in its help.

#![expect(clippy::doc_markdown, reason = "the texts are the command's help, which shows backticks")]

mod subscribers;

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand};
use clap_complete::Shell;

pub(crate) use self::subscribers::{
    AddSubscriber, OneSubscriber, RemoveSubscriber, ReplayEvents, ResumeFrom, ResumeSubscriber, Subscribers,
    SubscribersCommand,
};

const EXIT_CODES: &str = "\
Exit codes:
  0  done, or nothing to do
  1  it failed; the message says what to do
  2  the command line is invalid
  3  the document, submission, queue or stack does not exist
  4  a person has to act: something was refused, stopped, or only partly done

Examples:
  lectern --url https://lectern.example.com login            hand in and read, without AWS credentials
  lectern upload lesson.mp4 plan.docx --title 'Fractions, part 2'
  lectern --stack lectern-prod status
  lectern --local explain 6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f
  lectern --stack lectern-prod dlq list
  lectern --stack lectern-prod dlq redrive --all          show the plan
  lectern --stack lectern-prod dlq redrive --all --yes    run the plan
  lectern --stack lectern-prod redrive --failed --reason overdue --yes
  AWS_PROFILE=ops LECTERN_STACK_NAME=lectern-prod lectern reconcile --json";

/// Lectern's command: hands in files and reads records, and shows the engineer on call where a file is, why, and what to do.
#[derive(Debug, Parser)]
#[command(name = "lectern", version, after_help = EXIT_CODES, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Common {
    /// The deployed stack's name; region, credentials and endpoint come from the AWS environment or profile
    #[arg(long, global = true, env = "LECTERN_STACK_NAME", value_name = "NAME")]
    pub(crate) stack: Option<String>,
    /// The local cloud that `make run` started; the same as --stack-file .local/stack.json
    #[arg(long, global = true)]
    pub(crate) local: bool,
    /// The description of a local cloud that tools/local.py wrote
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "local")]
    pub(crate) stack_file: Option<PathBuf>,
    /// The address of the stack's pages, for people without AWS credentials; use it instead of --stack for
    /// commands that need a sign-in
    #[arg(long, global = true, env = "LECTERN_URL", value_name = "URL")]
    pub(crate) url: Option<String>,
    /// The folder that keeps sign-ins; the default is lectern in the user's state directory
    #[arg(long, global = true, env = "LECTERN_STATE_DIR", value_name = "FOLDER")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Print the answer as one JSON document
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the whole stack: limits, queues, dead-letter messages, alarms, and documents that need attention
    ///
    /// The first command in an incident. It changes nothing.
    #[command(after_help = "\
Examples:
  lectern --local status
  lectern --stack lectern-prod status --json")]
    Status,
    Explain(Explain),
    Dlq(Dlq),
    Redrive(Redrive),
    Erase(Erase),
    Audit(Audit),
    Reconcile(Reconcile),
    /// Sign in with a browser on this machine, as a teacher, evaluator or operator
    ///
    /// Prints the address of the sign-in page, opens it where there is a display, and waits for the browser at
    /// http://localhost:8976/. The sign-in is kept in a private file until `lectern logout`. If it is the only one, the
    /// other commands need neither --url nor --stack.
    #[command(after_help = "\
Examples:
  lectern --url https://lectern.example.com login
  lectern --local login
  ssh -L 8976:localhost:8976 server    sign in on a server, with the browser of this machine")]
    Login,
    /// Delete the sign-in that `lectern login` has kept
    #[command(after_help = "\
Examples:
  lectern logout
  lectern --url https://lectern.example.com logout    if you have signed in to several stacks")]
    Logout,
    Upload(Upload),
    Watch(Watch),
    Submissions(Submissions),
    Record(Record),
    Subscribers(Subscribers),
    Completions(Completions),
}

/// Show one document's timeline from upload to record: where it is, why, and what to do
///
/// The timeline comes from the document's item, the histories of its executions and the functions' logs. For a
/// submission, all documents are listed, and those that need attention are explained.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lectern --local explain 6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f
  lectern --local explain spring-term-7/6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f    a rejected document has no execution
  lectern --local explain spring-term-7")]
pub(crate) struct Explain {
    /// A document id, `<submission id>/<document id>`, or a submission id
    pub(crate) id: String,
    /// Print object keys, which contain file names
    #[arg(long)]
    pub(crate) show_names: bool,
}

/// List dead-letter messages, or send them back
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lectern --stack lectern-prod dlq list
  lectern --stack lectern-prod dlq redrive --all    show the plan")]
pub(crate) struct Dlq {
    #[command(subcommand)]
    pub(crate) command: DlqCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DlqCommand {
    List(DlqList),
    Redrive(DlqRedrive),
}

/// Show the messages of each dead-letter queue: number, age, whether they are readable, and their documents
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lectern --local dlq list
  lectern --local dlq list transfer-document --bodies")]
pub(crate) struct DlqList {
    /// One queue, such as transfer-document; the default is all queues
    pub(crate) queue: Option<String>,
    /// Print the messages' bodies without secrets; --json always includes them
    #[arg(long)]
    pub(crate) bodies: bool,
}

/// Send dead-letter messages back to their queues or functions, when the cause is gone
///
/// Without --yes the command shows its plan and changes nothing. Each message is sent before it is deleted, so an
/// interrupted run loses nothing; run the command again. Every consumer ignores messages that it has already handled. A
/// message that is unreadable, or that has come back twice, is moved to quarantine/dead-letters/ in the returned
/// bucket.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lectern --local dlq redrive transfer-document
  lectern --local dlq redrive transfer-document --limit 1 --yes    test whether the cause is gone
  lectern --local dlq redrive --all --yes --rate 5")]
pub(crate) struct DlqRedrive {
    /// The queue, such as transfer-document
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(crate) queue: Option<String>,
    /// All dead-letter queues of the stack
    #[arg(long)]
    pub(crate) all: bool,
    /// Run the plan instead of showing it
    #[arg(long)]
    pub(crate) yes: bool,
    /// Maximum number of messages from each queue
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Messages per second
    #[arg(long, default_value_t = 10.0, value_parser = rate, value_name = "N")]
    pub(crate) rate: f64,
}

/// Start failed documents again, using what is already stored
///
/// A redrive uses a stored result and first probes a job that may still exist, so nothing is processed twice. It starts
/// a new execution `<document id>-redrive-<n>`. A document in progress is not changed, so a second run of the command
/// changes nothing. A single document is redriven at once; --failed shows its plan first.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[command(after_help = "\
Examples:
  lectern --local redrive 6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f
  lectern --local redrive 6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f --discard-result
  lectern --stack lectern-prod redrive --failed --reason thirdPartyUnavailable --limit 5 --yes")]
pub(crate) struct Redrive {
    /// A document id or `<submission id>/<document id>`
    #[arg(required_unless_present = "failed", conflicts_with = "failed")]
    pub(crate) document: Option<String>,
    /// All failed documents
    #[arg(long)]
    pub(crate) failed: bool,
    /// Only documents that failed for this reason
    #[arg(long, requires = "failed", conflicts_with = "document", value_name = "CODE")]
    pub(crate) reason: Option<String>,
    /// Maximum number of documents
    #[arg(long, requires = "failed", conflicts_with = "document", value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Discard a stored result or a job that may still exist, and let the third party process the file again
    #[arg(long)]
    pub(crate) discard_result: bool,
    /// Run the plan instead of showing it (for --failed)
    #[arg(long)]
    pub(crate) yes: bool,
    /// Only show the plan
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
    /// Documents per second
    #[arg(long, default_value_t = 5.0, value_parser = rate, value_name = "N")]
    pub(crate) rate: f64,
}

/// Erase a submission for good: at the third party, in both buckets and in the table
///
/// Without --yes the command shows what it would erase and changes nothing. What it erases cannot be restored. The
/// command may be interrupted and run again, and it says when it has to be run again: when the third party has not
/// confirmed the erasure, or functions may still be working on a document. docs/privacy.md says what remains, and for how
/// long.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lectern --stack lectern-prod erase spring-term-7
  lectern --stack lectern-prod erase spring-term-7 --yes
  lectern --stack lectern-prod erase spring-term-7 --show    show who erased it, when, and how much")]
pub(crate) struct Erase {
    /// The submission's id
    pub(crate) submission: String,
    /// Erase the submission instead of showing what would be erased
    #[arg(long)]
    pub(crate) yes: bool,
    /// Stop the documents that are in progress; without this option they keep the submission from being erased
    #[arg(long)]
    pub(crate) stop: bool,
    /// Only show who erased the submission, when, how much, and whether anything is left
    #[arg(long, conflicts_with_all = ["yes", "stop"])]
    pub(crate) show: bool,
}

/// Show who read or changed a submission: when, the subject of the person's token, the action, and ids
///
/// The entries come from the audit trail, which the API writes before it answers. They expire after a year by default, and
/// the erasure of a submission does not delete them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lectern --stack lectern-prod audit spring-term-7
  lectern --stack lectern-prod audit spring-term-7 --json")]
pub(crate) struct Audit {
    /// The submission's id
    pub(crate) submission: String,
}

/// Compare the uploads bucket with the table, and register uploads whose events were lost
///
/// Run it by hand after an incident, never on a schedule. It lists the bucket and reads the table by its keys. Without
/// --yes it changes nothing. Objects younger than --min-age are skipped, because their events may still arrive.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lectern --stack lectern-prod reconcile
  lectern --stack lectern-prod reconcile --submission spring-term-7 --yes")]
pub(crate) struct Reconcile {
    /// Only this submission
    #[arg(long, value_name = "ID")]
    pub(crate) submission: Option<String>,
    /// Skip objects and documents that are younger than this number of minutes
    #[arg(long, default_value_t = 15, value_name = "MINUTES")]
    pub(crate) min_age: u32,
    /// Run the plan instead of showing it
    #[arg(long)]
    pub(crate) yes: bool,
    /// Messages to receive-upload, and calls to Step Functions, per second
    #[arg(long, default_value_t = 10.0, value_parser = rate, value_name = "N")]
    pub(crate) rate: f64,
}

/// Hand in files: create a submission, or add files to one
///
/// Folders are searched for files. Files that programs create automatically, such as .DS_Store, Thumbs.db and ~$plan.docx,
/// are skipped. A file that Lectern does not accept is named with the reason, and the others are handed in. An upload that
/// broke off continues when the command runs again with --submission: only what is missing is sent.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("to").required(true).args(["title", "submission"])), after_help = "\
Examples:
  lectern upload lesson.mp4 plan.docx --title 'Fractions, part 2'
  lectern upload slides.pptx --submission 0af7651916cd43dd8448eb211c80319c
  lectern upload lesson-folder --submission 0af7651916cd43dd8448eb211c80319c    continue an upload that broke off")]
pub(crate) struct Upload {
    /// Files and folders
    #[arg(required = true, value_name = "FILE")]
    pub(crate) paths: Vec<PathBuf>,
    /// Create a submission with this title
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// Add the files to this submission of your own
    #[arg(long, value_name = "ID")]
    pub(crate) submission: Option<String>,
}

/// Show each change of a submission's files until all are ready, rejected or failed
///
/// Exits with 0 if all files are ready, and with 4 if a file was rejected or has failed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lectern watch 0af7651916cd43dd8448eb211c80319c")]
pub(crate) struct Watch {
    /// The submission's id
    pub(crate) submission: String,
}

/// List submissions, newest first: your own as a teacher, all as an evaluator or operator
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lectern submissions --state Ready --type video
  lectern submissions --from 2026-11-01 --limit 100 --json")]
pub(crate) struct Submissions {
    /// Only your own
    #[arg(long)]
    pub(crate) mine: bool,
    /// Only submissions in this state: Draft (of your own), InProgress, Ready or NeedsAttention
    #[arg(long)]
    pub(crate) state: Option<String>,
    /// Only submissions with a file of this kind: video, audio, document or picture
    #[arg(long = "type", value_name = "KIND")]
    pub(crate) kind: Option<String>,
    /// Only submissions created at this time or later: RFC 3339, or a date in UTC
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Only submissions created before this time: RFC 3339, or a date in UTC
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// Maximum number of submissions
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    pub(crate) limit: u32,
}

/// Print a document's record: what is said in it, or its text with the findings
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lectern record 0af7651916cd43dd8448eb211c80319c/6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f
  lectern record 0af7651916cd43dd8448eb211c80319c/6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f --vtt >lesson.vtt
  lectern record 0af7651916cd43dd8448eb211c80319c/6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f --json")]
pub(crate) struct Record {
    /// `<submission id>/<document id>`
    pub(crate) document: String,
    /// The transcript as WebVTT captions
    #[arg(long, conflicts_with_all = ["text", "json"])]
    pub(crate) vtt: bool,
    /// The transcript or the text with its findings, as plain text (the default)
    #[arg(long, conflicts_with = "json")]
    pub(crate) text: bool,
}

/// Print the completions of a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lectern completions bash >~/.local/share/bash-completion/completions/lectern
  lectern completions zsh >\"${fpath[1]}/_lectern\"
  lectern completions fish >~/.config/fish/completions/lectern.fish")]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: Shell,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.01..=1000.0).contains(&rate) => Ok(rate),
        _ => Err("give a number from 0.01 to 1000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use rstest::rstest;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[rstest]
    #[case::no_document_and_not_failed(&["redrive"])]
    #[case::both(&["redrive", "x", "--failed"])]
    #[case::reason_without_failed(&["redrive", "x", "--reason", "overdue"])]
    #[case::no_queue(&["dlq", "redrive"])]
    #[case::queue_and_all(&["dlq", "redrive", "TransferDocument", "--all"])]
    #[case::no_rate(&["dlq", "redrive", "--all", "--rate", "0"])]
    #[case::two_places(&["--local", "--stack-file", "x", "dlq", "list"])]
    #[case::show_and_erase(&["erase", "s1", "--show", "--yes"])]
    #[case::no_title_and_no_submission(&["upload", "x"])]
    #[case::title_and_submission(&["upload", "x", "--title", "T", "--submission", "s1"])]
    #[case::no_files(&["upload", "--title", "T"])]
    #[case::vtt_and_json(&["record", "s1/d1", "--vtt", "--json"])]
    #[case::both_ways(&["redrive", "--failed", "--yes", "--dry-run"])]
    #[case::no_endpoint(&["subscribers", "add", "portal"])]
    #[case::wait_without_batches(&["subscribers", "add", "portal", "https://p.example", "--batch-wait", "5"])]
    #[case::from_elsewhere(&["subscribers", "resume", "portal", "--from", "yesterday"])]
    #[case::no_start(&["subscribers", "replay", "portal"])]
    fn contradictory_options_are_refused(#[case] arguments: &[&str]) {
        let all = [&["lectern"], arguments].concat();
        assert!(Cli::try_parse_from(all).is_err());
    }

    #[test]
    fn every_command_has_help_that_says_what_it_does() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for command in command.get_subcommands() {
                assert!(command.get_about().is_some(), "{}", command.get_name());
            }
        }
        let help = Cli::command().render_long_help().to_string();
        for expected in [
            "Exit codes:",
            "Examples:",
            "LECTERN_STACK_NAME",
            "explain",
            "erase",
            "audit",
            "reconcile",
            "upload",
            "login",
            "subscribers",
        ] {
            assert!(help.contains(expected), "{expected} is not in:\n{help}");
        }
    }
}
