//! `lookback init`: a folder to begin with. Looks at the logs where locations are given, guesses how
//! they are laid out and which columns are ours, and writes a job file and reference tables.
//!
//! Asks nothing, and overwrites nothing. Refuses to print.

mod columns;
mod folders;
mod guess;
mod links;
mod names;
mod score;
mod template;

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};

use crate::job::Job;
use crate::location::Location;
use crate::raw::{Log, Sample, sample};
use crate::stop::Stop;
use columns::Column;
use folders::Folders;
use template::{LinksText, LogText, REFERENCE};

/// Rows that are looked at of each file.
const ROWS: usize = 2_000;

/// What was typed.
pub struct Request<'a> {
    pub dir: &'a Path,
    pub clicks: Option<&'a str>,
    pub orders: Option<&'a str>,
}

/// What was written, what was guessed, and what is still missing.
pub struct Made {
    pub files: Vec<PathBuf>,
    job_file: PathBuf,
    logs: [LogText; 2],
    /// Locations as they were typed.
    typed: [Option<String>; 2],
    looked_at: [Looked; 2],
    links: LinksText,
    currencies: Vec<(String, usize)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Looked {
    files: usize,
    rows: usize,
}

/// Looks and writes. Errors: exit 2 when a file is there already or a location is no folder, before
/// anything is written; exit 1 when a store or the disk fails.
pub async fn init(request: &Request<'_>) -> Result<Made, Stop> {
    let dir = request.dir;
    let mut files = vec![(dir.join("job.toml"), String::new())];
    for (name, content) in REFERENCE {
        files.push((dir.join("reference").join(format!("{name}.csv")), content.to_owned()));
    }
    refuse_what_is_there(dir, &files)?;
    let clicks = look(Log::Clicks, request.clicks, dir).await?;
    let orders = look(Log::Orders, request.orders, dir).await?;
    let links = links_of(&clicks);
    let currencies = currencies_of(&orders);
    let looked_at = [clicks.looked_at, orders.looked_at];
    let logs = [clicks.text, orders.text];
    let all: usize = currencies.iter().map(|(_, count)| count).sum();
    let currency = currencies.first().map(|(currency, count)| (currency.as_str(), *count, all));
    files[0].1 = template::job_file(&logs, &links, currency);
    for known in &logs {
        if let Some(guesses) =
            known.guesses.as_ref().filter(|all| all.needs_view() && !all.is_wide())
        {
            let file = dir.join(template::view_file(known.log));
            files.push((file, template::view(known.log, guesses)));
        }
    }
    refuse_what_is_there(dir, &files)?;
    for (file, content) in &files {
        write(file, content)?;
    }
    let job_file = files[0].0.clone();
    // What was written has to be a job.
    Job::load(&job_file)?;
    let typed = [request.clicks, request.orders].map(|typed| typed.map(str::to_owned));
    let files = files.into_iter().map(|(file, _)| file).collect();
    Ok(Made { files, job_file, logs, typed, looked_at, links, currencies })
}

/// The job file where nothing is known of the logs.
pub fn blank_job_file() -> String {
    let logs = [Log::Clicks, Log::Orders].map(LogText::blank);
    template::job_file(&logs, &LinksText::default(), None)
}

fn refuse_what_is_there(dir: &Path, files: &[(PathBuf, String)]) -> Result<(), Stop> {
    if dir.exists() && !dir.is_dir() {
        return Err(Stop::fix_one(format!("{}: is no folder", dir.display())));
    }
    let there = files.iter().filter(|(file, _)| file.symlink_metadata().is_ok());
    let complaints: Vec<String> =
        there.map(|(file, _)| format!("{}: is there already", file.display())).collect();
    match complaints.is_empty() {
        true => Ok(()),
        false => Err(Stop::fix(complaints)
            .hint("nothing was written; name another folder, or remove these files")),
    }
}

fn write(file: &Path, content: &str) -> Result<()> {
    let context = || format!("{}: cannot write", file.display());
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(context)?;
    let mut to = std::fs::File::create_new(file).with_context(context)?;
    to.write_all(content.as_bytes()).with_context(context)
}

/// What was found of a log.
struct Seen {
    text: LogText,
    columns: Vec<Column>,
    looked_at: Looked,
}

async fn look(log: Log, typed: Option<&str>, dir: &Path) -> Result<Seen, Stop> {
    let mut text = LogText::blank(log);
    let Some(typed) = typed else {
        return Ok(Seen { text, columns: Vec::new(), looked_at: Looked::default() });
    };
    let here = std::path::absolute(".").map_err(anyhow::Error::from)?;
    let location = Location::parse(typed, &here)
        .map_err(|error| Stop::fix_one(format!("--{} \"{typed}\" {error:#}", log.name())))?;
    if let Some(path) = location.local_path() {
        let trouble = match path.is_dir() {
            true => None,
            false if path.exists() => Some("is a file: give the folder of the log"),
            false => Some("there is no such folder"),
        };
        if let Some(trouble) = trouble {
            let complaint = format!("--{} {typed}: {trouble}", log.name());
            return Err(Stop::fix_one(complaint).hint("nothing was written"));
        }
    }
    let found = folders::look(&location).await?;
    let (samples, mut notes) = samples(&location, &found).await?;
    let columns = columns::of(&samples);
    let path = path_for_job(typed, &here, dir)?;
    let separator = if path.ends_with('/') || found.below.is_empty() { "" } else { "/" };
    text.path = Some(format!("{path}{separator}{}", found.below.trim_end_matches('/')));
    text.notes.extend(found.notes);
    text.notes.extend(found.others.iter().map(|other| format!("some folders are named {other}")));
    text.notes.append(&mut notes);
    text.newest = found.newest.first().map(|(name, _)| name.clone());
    (text.layout, text.suffix, text.marker) = (found.layout, found.suffix, found.marker);
    text.guesses = (!samples.is_empty()).then(|| guess::guess(log, &columns));
    let rows = samples.iter().map(|sample| sample.head.num_rows()).sum();
    Ok(Seen { text, columns, looked_at: Looked { files: samples.len(), rows } })
}

/// Looks into one file of each of the newest folders. Also what is to be told.
async fn samples(location: &Location, found: &Folders) -> Result<(Vec<Sample>, Vec<String>)> {
    let (mut samples, mut notes, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
    let location = match found.below.trim_end_matches('/') {
        "" => location.clone(),
        below => location.child(below),
    };
    let suffix = found.suffix.as_deref().unwrap_or(".parquet");
    for (folder, objects) in &found.newest {
        let data = objects.iter().filter(|object| folders::is_data(object));
        let mut data = data.filter(|object| object.location.as_ref().ends_with(suffix));
        let Some(object) = data.next() else { continue };
        let name = format!("{folder}/{}", object.location.filename().unwrap_or_default());
        match sample(&location, object, ROWS).await? {
            Ok(sample) => {
                if let Some(trouble) = &sample.trouble {
                    notes.push(format!("{name}: its rows cannot be read: {trouble}"));
                }
                samples.push(sample);
            }
            Err(trouble) => unreadable.push((name, trouble)),
        }
    }
    if let [(name, trouble), others @ ..] = unreadable.as_slice() {
        let more = match others.len() {
            0 => String::new(),
            others => format!(" (and {others} more)"),
        };
        let trouble = trouble.trim_start_matches("Parquet error: ");
        notes.push(format!(
            "{name}{more}: is no readable Parquet file ({trouble}): only Parquet is read, so \
             convert other files first"
        ));
    }
    Ok((samples, notes))
}

/// A location as a job file in `dir` has to say it.
fn path_for_job(typed: &str, here: &Path, dir: &Path) -> Result<String> {
    if typed.contains("://") || Path::new(typed).is_absolute() {
        return Ok(typed.to_owned());
    }
    let (from, to) = (plain(&here.join(dir)), plain(&here.join(typed)));
    let shared = from.iter().zip(&to).take_while(|(from, to)| from == to).count();
    let up = std::iter::repeat_n("..".to_owned(), from.len() - shared);
    let path: Vec<String> = up.chain(to.into_iter().skip(shared)).collect();
    Ok(if path.is_empty() { ".".to_owned() } else { path.join("/") })
}

/// The folders of a path, without `.` and `..`.
fn plain(path: &Path) -> Vec<String> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(parts.pop()),
            Component::Normal(name) => parts.push(name.to_string_lossy().into_owned()),
            _ => {}
        }
    }
    parts
}

fn links_of(clicks: &Seen) -> LinksText {
    let url = clicks.text.guesses.as_ref().and_then(|guesses| guesses.of("url"));
    let column = url.and_then(|url| clicks.columns.iter().find(|column| column.name == url.name));
    let Some(column) = column else { return LinksText::default() };
    let (formats, others) = links::guess(&column.values);
    LinksText { formats, others, urls: column.values.len() }
}

/// The currencies of the orders that were looked at, the commonest first.
fn currencies_of(orders: &Seen) -> Vec<(String, usize)> {
    let theirs = orders.text.guesses.as_ref().and_then(|guesses| guesses.of("currency"));
    let column =
        theirs.and_then(|theirs| orders.columns.iter().find(|column| column.name == theirs.name));
    let Some(column) = column else { return Vec::new() };
    let count = |currency: &str| column.values.iter().filter(|value| *value == currency).count();
    let distinct = column.distinct().into_iter().take(500);
    let mut counts: Vec<(String, usize)> =
        distinct.map(|currency| (currency.to_owned(), count(currency))).collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

impl Made {
    /// What is still missing, in the order in which to get it.
    fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for known in &self.logs {
            let name = known.log.name();
            missing.extend(missing_of(known, &format!("[input.{name}]")));
        }
        if self.links.formats.is_empty() {
            missing.push("[links] formats: what your promotion links look like".to_owned());
        } else {
            missing.push("[links] formats: are these your promotion links?".to_owned());
        }
        missing.push("reference/links.csv: which publisher each link key belongs to".to_owned());
        missing.push("reference/stores.csv: which stores joined the program, and when".to_owned());
        missing.push(
            "reference/rates.csv: the commission rates; and [program] default_rate for the rest"
                .to_owned(),
        );
        if let [(first, _), others @ ..] = self.currencies.as_slice()
            && !others.is_empty()
        {
            let others: Vec<&str> =
                others.iter().take(5).map(|(currency, _)| currency.as_str()).collect();
            missing.push(format!(
                "reference/fx_rates.csv: what {} are worth in {first}; then [input] fx_rates",
                others.join(", ")
            ));
        }
        let has_visitors = self.logs[0].guesses.as_ref().is_some_and(|guesses| {
            guesses.of("visitor_id").is_some() && guesses.of("buyer_id").is_none()
        });
        if has_visitors {
            missing.push(
                "[identity] from_logs or reference/identities.csv: clicks name visitors, no buyers"
                    .to_owned(),
            );
        }
        missing.push("[program] time_zone: by whose calendar reports are made".to_owned());
        missing
    }
}

fn missing_of(known: &LogText, section: &str) -> Option<String> {
    if known.path.is_none() {
        return Some(format!("{section} path: where the log lies, and how it looks"));
    }
    let Some(guesses) = &known.guesses else {
        let what = if known.layout.is_some() { "Parquet files" } else { "folders of dates" };
        return Some(format!("{section} path: no {what} were found there"));
    };
    if guesses.is_wide() {
        return Some(format!("{section} view: SQL that makes events of order lines"));
    }
    let missing = guesses.missing();
    match (missing.is_empty(), guesses.needs_view()) {
        (true, true) => {
            Some(format!("{}: look through the guesses", template::view_file(known.log)))
        }
        (true, false) if guesses.are_guesses() => {
            Some(format!("{section} columns: look through the guesses"))
        }
        (true, false) => None,
        (false, true) => {
            Some(format!("{}: {}", template::view_file(known.log), missing.join(", ")))
        }
        (false, false) => Some(format!("{section} columns: {}", missing.join(", "))),
    }
}

/// What was done, for stderr.
impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for file in &self.files {
            writeln!(f, "wrote {}", file.display())?;
        }
        for ((known, typed), looked_at) in self.logs.iter().zip(&self.typed).zip(&self.looked_at) {
            if let Some(typed) = typed {
                writeln!(f, "\n{}", guesses_as_text(known, typed, *looked_at))?;
            }
        }
        if !self.links.formats.is_empty() {
            writeln!(f, "\nlinks: guesses about the formats of {} URLs", self.links.urls)?;
        }
        for format in &self.links.formats {
            writeln!(f, "  {:<12} match {}", format.matches, format.text)?;
        }
        writeln!(f, "\nwhat is missing, in this order:")?;
        for (position, missing) in self.missing().iter().enumerate() {
            writeln!(f, "  {}. {missing}", position + 1)?;
        }
        write!(f, "\nnext: lookback check {}", self.job_file.display())
    }
}

fn guesses_as_text(known: &LogText, typed: &str, looked_at: Looked) -> String {
    let mut text = format!("{}: guesses about {typed}", known.log.name());
    let mut row = |left: &str, words: String| {
        let _ = write!(text, "\n  {left:<12} {words}");
    };
    match (&known.layout, &known.newest) {
        (Some(layout), Some(newest)) => row("layout", format!("{layout:<28} newest {newest}")),
        (Some(layout), None) => row("layout", format!("{layout:<28} no files in the newest ones")),
        _ => row("layout", "not found".to_owned()),
    }
    if let Some(suffix) = &known.suffix {
        let words = if suffix.is_empty() { "names of files have no ending" } else { "" };
        row("suffix", format!("{:<28} {words}", format!("\"{suffix}\"")));
    }
    for note in &known.notes {
        row("note", note.clone());
    }
    let Some(guesses) = &known.guesses else { return text };
    row("looked at", format!("{} rows of {} files", looked_at.rows, looked_at.files));
    if guesses.is_wide() {
        row(
            "note",
            format!(
                "one row per order line, it seems, with the times {}: a view makes events of it",
                guesses.milestones.join(", ")
            ),
        );
        row("", "begin with jobs/views/wide_orders.sql of lookback's repository".to_owned());
        return text;
    }
    for guess in &guesses.columns {
        let others = match guess.others.as_slice() {
            [] => String::new(),
            others => format!("  or: {}", others.join(", ")),
        };
        match &guess.theirs {
            Some(theirs) if theirs.name == guess.ours && theirs.note.is_none() => {}
            Some(theirs) => {
                let what = match &theirs.note {
                    Some(note) => format!("by {}; {note}", theirs.why),
                    None => format!("{}, by {}", theirs.kind.name(), theirs.why),
                };
                row(guess.ours, format!("<- {:<25} {what}{others}", theirs.name));
            }
            None if guess.is_required => row(guess.ours, format!("not found{others}")),
            None if !others.is_empty() => row(guess.ours, format!("not found{others}")),
            None => {}
        }
    }
    let ours = guesses.columns.iter().filter(|guess| {
        guess
            .theirs
            .as_ref()
            .is_some_and(|theirs| theirs.name == guess.ours && theirs.note.is_none())
    });
    let ours: Vec<&str> = ours.map(|guess| guess.ours).collect();
    if !ours.is_empty() {
        row("as named", ours.join(", "));
    }
    for list in &guesses.lists {
        row(
            "note",
            format!("{list} is a list: a view with unnest makes a row of each of its parts"),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    #[test]
    fn a_location_is_said_from_where_the_job_file_lies() {
        let here = Path::new("/home/ana");
        for (typed, dir, expected) in [
            ("exports/web", "job", "../exports/web"),
            ("./exports/web/", "exports/job", "../web"),
            ("../logs", ".", "../logs"),
            ("job/raw", "job", "raw"),
            ("job", "job", "."),
            ("/logs", "job", "/logs"),
            ("s3://logs/web", "job", "s3://logs/web"),
        ] {
            assert_eq!(path_for_job(typed, here, Path::new(dir)).unwrap(), expected, "{typed}");
        }
    }
}
