//! Man pages, one for the program and one for each command.

use std::fs;
use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;

use crate::cli::Cli;
use crate::stop::Stop;

/// Writes the pages into a folder, which is made if it is not there. Errors: exit 1.
pub fn man(dir: &Path) -> Result<String, Stop> {
    let told = || format!("{}: cannot write man pages", dir.display());
    fs::create_dir_all(dir).with_context(told)?;
    clap_mangen::generate_to(Cli::command(), dir).with_context(told)?;
    let page = dir.join("lookback.1");
    Ok(format!("wrote man pages to {}; read them with: man {}", dir.display(), page.display()))
}
