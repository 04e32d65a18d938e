//! The build script: lists the SQL files for `model.rs`, and names the commit for `version.rs`.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "cargo talks to a build script through its environment and stdout"
)]

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
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
    if let Some(commit) = commit(&variable("CARGO_MANIFEST_DIR")) {
        println!("cargo::rustc-env=LOOKBACK_BUILT_FROM={commit}");
    }
    fs::write(variable("OUT_DIR").join("sql_files.rs"), list)
}

/// The commit that is built, as `LOOKBACK_COMMIT` or git tells it. None without them. None in debug
/// builds, too: they would be built again after every commit.
fn commit(folder: &Path) -> Option<String> {
    println!("cargo::rerun-if-env-changed=LOOKBACK_COMMIT");
    if let Some(commit) = env::var("LOOKBACK_COMMIT").ok().filter(|commit| !commit.is_empty()) {
        return Some(commit);
    }
    if env::var("PROFILE").is_ok_and(|profile| profile == "debug") {
        return None;
    }
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(folder).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    // A package that was unpacked within another repository is no commit of that.
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if fs::canonicalize(top).ok()? != fs::canonicalize(folder).ok()? {
        return None;
    }
    // The log of HEAD grows with every commit and checkout.
    for name in ["HEAD", "logs/HEAD"] {
        let path = folder.join(git(&["rev-parse", "--git-path", name])?);
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    let built = ["src", "sql", "Cargo.toml", "Cargo.lock"];
    for name in built {
        println!("cargo::rerun-if-changed={}", folder.join(name).display());
    }
    let changes = git(&[&["status", "--porcelain", "--"], &built[..]].concat())?;
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    Some(format!("{commit}{}", if changes.is_empty() { "" } else { ", with changes" }))
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
