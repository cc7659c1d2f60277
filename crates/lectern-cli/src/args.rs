//! The command line: what may be asked, with examples.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

const EXIT_CODES: &str = "\
Exit codes:
  0  done, or nothing to do
  1  it failed; the message says what to do
  2  the command line is not understood
  3  there is no such document, submission, queue or message
  4  something is left that needs a person: refused, stopped, or only partly done

Examples:
  lectern --stack lectern-prod status
  lectern --local explain 6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f
  lectern --stack lectern-prod dlq list
  lectern --stack lectern-prod dlq redrive --all          what would be done
  lectern --stack lectern-prod dlq redrive --all --yes    do it
  lectern --stack lectern-prod redrive --failed --reason overdue --yes
  AWS_PROFILE=ops LECTERN_STACK_NAME=lectern-prod lectern reconcile --json";

/// Where is this file, why, and what do I do: Lectern's command for an engineer on call.
#[derive(Debug, Parser)]
#[command(name = "lectern", version, after_help = EXIT_CODES, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which stack, and how to answer.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Common {
    /// The deployed stack's name; region, credentials and endpoint are the AWS environment's or profile's
    #[arg(long, global = true, env = "LECTERN_STACK_NAME", value_name = "NAME")]
    pub(crate) stack: Option<String>,
    /// The local cloud that `make run` started: the same as --stack-file .local/stack.json
    #[arg(long, global = true)]
    pub(crate) local: bool,
    /// The file that tools/local.py wrote about a local cloud
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "local")]
    pub(crate) stack_file: Option<PathBuf>,
    /// Answer with one JSON document
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// How the stack stands: the third party's limits, the queues, what is dead, alarms, and who needs attention
    ///
    /// The first command at night: a few reads by key, of the queues' depths, of the index, of the alarms that are on and
    /// of the newest executions that broke off; nothing is changed.
    Status,
    Explain(Explain),
    Dlq(Dlq),
    Redrive(Redrive),
    Reconcile(Reconcile),
}

/// One timeline of a document, from upload to record: where it is, why, and what to do
///
/// It is put together from the document's item, the histories of its executions and the functions' logs. Of a
/// submission all documents are listed, and those explained that need somebody.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lectern --local explain 6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f
  lectern --local explain spring-term-7/6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f    a rejected one has no execution
  lectern --local explain spring-term-7")]
pub(crate) struct Explain {
    /// A document id, `<submission id>/<document id>`, or a submission id
    pub(crate) id: String,
    /// Print object keys, which hold file names
    #[arg(long)]
    pub(crate) show_names: bool,
    /// Leave out the functions' logs
    #[arg(long)]
    pub(crate) no_logs: bool,
}

/// The dead-letter queues: what lies in them, why, and how it gets back
#[derive(Debug, Args)]
pub(crate) struct Dlq {
    #[command(subcommand)]
    pub(crate) command: DlqCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DlqCommand {
    List(DlqList),
    Show(DlqShow),
    Redrive(DlqRedrive),
}

/// Count the messages of each queue by class, and tell how old the oldest is
#[derive(Debug, Args)]
pub(crate) struct DlqList {
    /// One queue, such as transfer-document; all of them if none is named
    pub(crate) queue: Option<String>,
    /// Read at most this many messages of each queue
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub(crate) limit: usize,
}

/// Show one message, without its secrets
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lectern --local dlq list --json | jq -r '.queues[].messages[].id'
  lectern --local dlq show TransferDocument 0b5c0f4e")]
pub(crate) struct DlqShow {
    /// The queue, such as transfer-document
    pub(crate) queue: String,
    /// The message's id, or how it begins
    pub(crate) message: String,
}

/// Sort a dead-letter queue out: send back what may work again, drop what is over, quarantine what is poison
///
/// Without --yes nothing is changed and the plan is shown. A message is sent before it is deleted, so that a run may be
/// killed and run again; the duplicate does no harm. The first message of a queue goes alone: the others follow when it is
/// done, and stay where they are if it comes back or is still being tried after --watch. What came back twice, or can
/// never be read, is kept in the returned bucket under quarantine/dead-letters/.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lectern --local dlq redrive TransferDocument
  lectern --local dlq redrive --all --yes --rate 5 --watch 120")]
pub(crate) struct DlqRedrive {
    /// The queue, such as transfer-document
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(crate) queue: Option<String>,
    /// All of the stack's dead-letter queues
    #[arg(long)]
    pub(crate) all: bool,
    /// Do it, instead of showing what would be done
    #[arg(long, visible_alias = "execute")]
    pub(crate) yes: bool,
    /// Messages a second
    #[arg(long, default_value_t = 10.0, value_parser = rate, value_name = "N")]
    pub(crate) rate: f64,
    /// Seconds to wait for the first message to be done, and to look for messages that come straight back after the
    /// last one was sent; 0 sends all of them without looking
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub(crate) watch: u64,
    /// Never let SQS move messages by itself, even where nothing has to be sorted out
    #[arg(long)]
    pub(crate) no_native: bool,
}

/// Start failed documents again, from what is already stored
///
/// A kept result is used, and a job that may be at work is asked for first: nothing is processed twice. Where the
/// document's execution broke off and Step Functions offers a redrive, that is used; otherwise a new execution
/// `<document id>-redrive-<n>` starts. Asking twice changes nothing the second time. A single document is started at once;
/// --failed shows its plan first.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
#[command(after_help = "\
Examples:
  lectern --local redrive 6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f
  lectern --local redrive 6f1c4c1e-6a5e-5d4e-9c3f-0a1b2c3d4e5f --anew
  lectern --stack lectern-prod redrive --failed --reason thirdPartyUnavailable --limit 500 --yes")]
pub(crate) struct Redrive {
    /// A document id or `<submission id>/<document id>`
    #[arg(required_unless_present = "failed", conflicts_with = "failed")]
    pub(crate) document: Option<String>,
    /// Every failed document
    #[arg(long)]
    pub(crate) failed: bool,
    /// Only those that failed for this reason
    #[arg(long, requires = "failed", conflicts_with = "document", value_name = "CODE")]
    pub(crate) reason: Option<String>,
    /// At most this many
    #[arg(long, requires = "failed", conflicts_with = "document", value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Drop a kept result, or a job that may be at work: the third party gets the file again
    #[arg(long)]
    pub(crate) anew: bool,
    /// Do it, instead of showing what would be done (for --failed)
    #[arg(long, visible_alias = "execute")]
    pub(crate) yes: bool,
    /// Only show what would be done
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
    /// Documents a second
    #[arg(long, default_value_t = 5.0, value_parser = rate, value_name = "N")]
    pub(crate) rate: f64,
}

/// Compare the uploads bucket with the table, and register what no event announced
///
/// By hand, after an incident; never on a schedule. It lists the bucket and reads the table by its keys. Without --yes
/// nothing is changed. Objects younger than --min-age are left alone, because their event may still be under way.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lectern --stack lectern-prod reconcile
  lectern --stack lectern-prod reconcile --submission spring-term-7 --yes")]
pub(crate) struct Reconcile {
    /// Only this submission
    #[arg(long, value_name = "ID")]
    pub(crate) submission: Option<String>,
    /// Leave objects and documents alone that are younger than this many minutes
    #[arg(long, default_value_t = 15, value_name = "MINUTES")]
    pub(crate) min_age: u32,
    /// Do it, instead of showing what would be done
    #[arg(long, visible_alias = "execute")]
    pub(crate) yes: bool,
    /// Messages, and questions to Step Functions, a second
    #[arg(long, default_value_t = 10.0, value_parser = rate, value_name = "N")]
    pub(crate) rate: f64,
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
    #[case::both_ways(&["redrive", "--failed", "--yes", "--dry-run"])]
    fn what_cannot_be_meant_is_refused(#[case] arguments: &[&str]) {
        let all = [&["lectern"], arguments].concat();
        assert!(Cli::try_parse_from(all).is_err());
    }

    #[test]
    fn every_command_has_help_that_says_what_it_does() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
        }
        let help = Cli::command().render_long_help().to_string();
        for expected in ["Exit codes:", "Examples:", "LECTERN_STACK_NAME", "explain", "reconcile"] {
            assert!(help.contains(expected), "{expected} is not in:\n{help}");
        }
    }
}
