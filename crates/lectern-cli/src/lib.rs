//! The command `lectern` for the engineer on call: shows where a file is, why, and what to do.
//!
//! The command works with AWS and with the local cloud, and gets the stack's resources from `CloudFormation`. Bulk
//! changes show a plan first and have a rate limit, and every command may be interrupted and run again. The output
//! contains no task tokens, URLs or callback ids. It contains object keys, and so file names, only with `--show-names`.

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
mod pace;
mod problem;
mod reconcile;
mod redrive;
mod stack;
mod status;
#[cfg(test)]
mod testing;
mod text;

use std::ffi::OsString;

use clap::Parser as _;

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
    let cloud = Cloud::open(&cli.common).await?;
    match &cli.command {
        Command::Explain(options) => explain::run(&cloud, options, console).await,
        Command::Status => status::run(&cloud, console).await,
        Command::Dlq(options) => dlq::run(&cloud, options, console).await,
        Command::Redrive(options) => redrive::run(&cloud, options, console).await,
        Command::Audit(options) => audit::run(&cloud, options, console).await,
        Command::Erase(options) => erase::run(&cloud, options, console).await,
        Command::Reconcile(options) => reconcile::run(&cloud, options, console).await,
    }
}
