//! The binary `lectern`.

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use lectern_cli::{Console, run};

#[tokio::main]
async fn main() -> ExitCode {
    let is_terminal = io::stderr().is_terminal();
    let (mut out, mut err) = (io::stdout().lock(), io::stderr());
    let mut console = Console::new(&mut out, &mut err, is_terminal);
    ExitCode::from(run(std::env::args_os(), &mut console).await as u8)
}
