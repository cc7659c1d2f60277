//! The command `lectern`. For the engineer on call it shows where a file is, why, and what to do; for teachers and
//! evaluators it hands in files and reads records.
//!
//! The engineer's commands work with AWS and with the local cloud, and get the stack's resources from `CloudFormation`. Bulk
//! changes show a plan first and have a rate limit, and every command may be interrupted and run again. Their output
//! contains no task tokens, URLs or callback ids. It contains object keys, and so file names, only with `--show-names`.
//!
//! The commands for teachers and evaluators, and `lectern subscribers` for operators, use the stack's HTTP API as the
//! person who signed in with `lectern login`, and need no AWS credentials. Only `subscribers add` and `subscribers rotate`
//! print a secret, which is their purpose.

mod api;
mod args;
mod audit;
mod cloud;
mod console;
mod dlq;
mod erase;
mod executions;
mod explain;
mod ids;
mod limiter;
mod login;
mod pace;
mod problem;
mod reconcile;
mod record;
mod redrive;
mod stack;
mod status;
mod submissions;
mod subscribers;
#[cfg(test)]
mod testing;
mod text;
mod upload;
mod watch;

use std::ffi::OsString;

use clap::{CommandFactory as _, Parser as _};
use clap_complete::Shell;

use self::args::{Cli, Command};
pub use self::console::{Console, Exit};
use crate::cloud::Cloud;

/// Runs one command line; the first argument is the program's name.
pub async fn run<I, T>(arguments: I, console: &mut Console<'_>) -> Exit
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return console.usage(&error),
    };
    console.json = cli.common.json;
    match Box::pin(execute(&cli, console)).await {
        Ok(exit) => exit,
        Err(error) => console.failed(&error),
    }
}

async fn execute(cli: &Cli, console: &mut Console<'_>) -> anyhow::Result<Exit> {
    let common = &cli.common;
    match &cli.command {
        Command::Login => login::login(common, console).await,
        Command::Logout => login::logout(common, console).await,
        Command::Upload(options) => upload::run(common, options, console).await,
        Command::Watch(options) => watch::run(common, options, console).await,
        Command::Submissions(options) => submissions::run(common, options, console).await,
        Command::Record(options) => record::run(common, options, console).await,
        Command::Subscribers(options) => subscribers::run(common, options, console).await,
        Command::Completions(options) => completions(options.shell, console),
        Command::Explain(options) => explain::run(&Cloud::open(common).await?, options, console).await,
        Command::Status => status::run(&Cloud::open(common).await?, console).await,
        Command::Dlq(options) => dlq::run(&Cloud::open(common).await?, options, console).await,
        Command::Redrive(options) => redrive::run(&Cloud::open(common).await?, options, console).await,
        Command::Audit(options) => audit::run(&Cloud::open(common).await?, options, console).await,
        Command::Erase(options) => erase::run(&Cloud::open(common).await?, options, console).await,
        Command::Reconcile(options) => reconcile::run(&Cloud::open(common).await?, options, console).await,
    }
}

fn completions(shell: Shell, console: &mut Console<'_>) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "lectern", &mut script);
    console.raw(&script)?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_shell_completes_the_commands() {
        for shell in Shell::value_variants() {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            completions(*shell, &mut Console::new(&mut out, &mut err, false)).unwrap();
            let script = String::from_utf8(out).unwrap();
            for command in ["upload", "watch", "record", "audit", "subscribers"] {
                assert!(script.contains(command), "{shell} does not complete {command}");
            }
        }
    }
}
