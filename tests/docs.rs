//! The documents say what is there: rule ids, links and commands.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Parser;
use lookback::cli::Cli;
use regex::Regex;

const RULES: &str = "docs/rules.md";

/// Text files below a folder, by their endings.
fn files(folder: &str, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let ending = path.extension().unwrap_or_default().to_string_lossy().into_owned();
            match path.is_dir() {
                true => folders.push(path),
                false if endings.contains(&ending.as_str()) => found.push(path),
                false => {}
            }
        }
    }
    found.sort();
    found
}

/// The Markdown files that are not case pages.
fn documents() -> Vec<PathBuf> {
    let top = std::fs::read_dir(".").unwrap().map(|entry| entry.unwrap().path());
    let top = top.filter(|path| path.extension().is_some_and(|ending| ending == "md"));
    let mut documents: Vec<PathBuf> = top.map(|path| path.file_name().unwrap().into()).collect();
    for folder in ["docs", "benches", "tests"] {
        documents.extend(
            files(folder, &["md"])
                .into_iter()
                .filter(|path| !path.starts_with("tests/cases") || path.ends_with("README.md")),
        );
    }
    documents
}

/// Rules by id, each with the text below its heading.
fn rules() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(RULES).unwrap();
    let heading = Regex::new(r"(?m)^### ([A-Z][0-9]) .*$").unwrap();
    let starts: Vec<_> = heading.captures_iter(&text).collect();
    let ends = starts.iter().skip(1).map(|next| next.get(0).unwrap().start());
    let ends = ends.chain([text.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(start, end)| {
            (start[1].to_owned(), text[start.get(0).unwrap().end()..end].to_owned())
        })
        .collect()
}

#[test]
fn each_rule_id_that_is_used_is_a_heading() {
    let rules = rules();
    let id = Regex::new(r"\b[A-DIMQ][1-9]\b").unwrap();
    let mut unknown = BTreeSet::new();
    let mut used = BTreeSet::new();
    let folders = ["src", "sql", "tests", "docs", "jobs"];
    for path in folders.iter().flat_map(|folder| files(folder, &["rs", "sql", "md", "toml"])) {
        for found in id.find_iter(&std::fs::read_to_string(&path).unwrap()) {
            used.insert(found.as_str().to_owned());
            if !rules.contains_key(found.as_str()) {
                unknown.insert(format!("{}: {}", path.display(), found.as_str()));
            }
        }
    }
    assert!(unknown.is_empty(), "no heading in {RULES}: {unknown:#?}");
    assert!(used.len() > 20, "{used:?}");
}

#[test]
fn each_folder_of_cases_is_linked_by_its_rule() {
    let rules = rules();
    for entry in std::fs::read_dir("tests/cases").unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        let Some((id, _)) = name.split_once('-').filter(|(id, _)| id.len() == 2) else { continue };
        let rule = rules.get(id).unwrap_or_else(|| panic!("{RULES}: no heading {id}"));
        assert!(rule.contains(&format!("(../tests/cases/{name})")), "{RULES}: {id} lacks {name}");
    }
}

#[test]
fn each_plain_rule_is_named_by_the_page() {
    let text = std::fs::read_to_string(RULES).unwrap();
    for model in lookback::model::layer("rule").unwrap() {
        let file = format!("sql/{}.sql", model.folder());
        assert!(text.contains(&file), "{RULES}: {file}");
    }
}

#[test]
fn relative_links_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let mut broken = Vec::new();
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for link in link.captures_iter(&text) {
            let target = link[1].split('#').next().unwrap();
            let is_outside = target.contains("://") || target.is_empty();
            let path = document.parent().unwrap_or(Path::new("")).join(target);
            if !is_outside && !path.exists() {
                broken.push(format!("{}: {}", document.display(), &link[1]));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn each_command_in_the_documents_can_be_typed() {
    let mut commands = 0;
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for block in text.split("```sh\n").skip(1) {
            let block = block.split("```").next().unwrap().replace("\\\n", " ");
            for line in block.lines().filter_map(|line| line.strip_prefix("lookback ")) {
                let line = line.split(" #").next().unwrap().split(" |").next().unwrap();
                let into_file = line.rsplit_once(" > ").filter(|(_, file)| !file.contains(' '));
                let line = into_file.map_or(line, |(line, _)| line);
                let words = words(line);
                // A build without the feature knows of no workers.
                let is_of_a_cluster =
                    words.iter().any(|word| word == "worker" || word == "--workers");
                if is_of_a_cluster && !cfg!(feature = "cluster") {
                    continue;
                }
                let words = words.iter().map(String::as_str).take_while(|word| *word != ">");
                let typed = std::iter::once("lookback").chain(words);
                if let Err(error) = Cli::try_parse_from(typed)
                    && error.use_stderr()
                {
                    panic!("{}: lookback {line}\n{error}", document.display());
                }
                commands += 1;
            }
        }
    }
    assert!(commands > 5, "{commands} commands found");
}

/// As a shell splits a line, with double quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (position, part) in line.split('"').enumerate() {
        match position % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}
