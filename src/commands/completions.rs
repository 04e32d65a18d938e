//! What a shell needs to complete lookback's arguments.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;

/// The script for a shell.
pub fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "lookback", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
