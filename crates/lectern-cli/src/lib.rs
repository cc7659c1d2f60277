//! The command `lectern`, for an engineer on call: where is this file, why, and what do I do.
//!
//! The command works against AWS and the local cloud alike; `CloudFormation` tells it the stack's resources. Everything that
//! changes something shows its plan first, is paced, and may be interrupted and run again. The output holds no task token,
//! URL or callback id, and object keys, which hold file names, only with `--show-names`.

mod args;
mod cloud;
mod console;
mod dlq;
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
        Command::Reconcile(options) => reconcile::run(&cloud, options, console).await,
    }
}
