//! The build script: lists the SQL files for `model.rs`.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "cargo talks to a build script through its environment and stdout"
)]

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let variable = |name: &str| env::var_os(name).map(PathBuf::from).unwrap_or_default();
    let folder = variable("CARGO_MANIFEST_DIR").join("sql");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut list = String::from("const SQL_FILES: &[SqlFile] = &[\n");
    for layer in entries(&folder)?.iter().filter(|path| path.is_dir()) {
        for (files, is_step) in [(entries(layer)?, false), (entries(&layer.join("steps"))?, true)] {
            for file in files.iter().filter(|path| path.extension().is_some_and(|end| end == "sql"))
            {
                let stem = |path: &Path| path.file_stem().unwrap_or_default().display().to_string();
                let name = format!("{}.{}", stem(layer), stem(file));
                let path = file.display().to_string();
                let _ = writeln!(
                    list,
                    "    SqlFile {{ name: {name:?}, is_step: {is_step}, sql: include_str!({path:?}) }},"
                );
            }
        }
    }
    list.push_str("];\n");
    fs::write(variable("OUT_DIR").join("sql_files.rs"), list)
}

/// The entries of a folder, sorted by name. Empty where there is no folder.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths?;
    paths.sort();
    Ok(paths)
}
