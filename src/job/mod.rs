//! The job file: text in, a checked [`Job`] or all complaints together out (B4).
//!
//! Refuses to know what is at the locations it names. Every default is here and nowhere else.

mod attribution;
mod cluster;
mod input;
mod limits;
mod reader;
mod store;

use std::path::{Path, PathBuf};

pub use attribution::{AttributionSettings, Scope, Tie, decimal};
use chrono_tz::Tz;
pub use cluster::{ClusterSettings, TlsFiles, is_address};
pub use limits::Limits;
use reader::Reader;
use regex::Regex;
use toml::Table;

use crate::days::Reach;
use crate::location::{Location, Stores};
use crate::raw::{Log, Reading, Source};
use crate::reference::TableSource;
use crate::stop::Stop;

/// A checked job file.
#[derive(Debug, Clone)]
pub struct Job {
    pub file: PathBuf,
    /// The sources of a log. Their rows together are the log.
    pub clicks: Vec<Source>,
    pub orders: Vec<Source>,
    pub links: TableSource,
    pub stores: TableSource,
    pub rates: TableSource,
    pub fx_rates: Option<TableSource>,
    pub identities: Option<TableSource>,
    pub root: Location,
    /// The object stores of all these locations.
    pub object_stores: Stores,
    /// Whose warehouse this is (D9).
    pub name: Option<String>,
    pub zone: Tz,
    pub currency: String,
    /// The rate for lines that no rate covers, in millionths: 0.03 is 30,000.
    pub default_rate: i128,
    pub window_hours: i64,
    pub tie: Tie,
    pub scope: Scope,
    pub late_days: u64,
    pub order_horizon_days: u64,
    /// How many days before its own dates a nightly run makes outdated dates again (D6).
    pub heal_days: u64,
    /// Whether sightings tell whose a visitor's clicks are, too (C7).
    pub from_logs: bool,
    /// Words that count as null in `buyer_id` and `visitor_id` of the raw logs.
    pub nobody: Vec<String>,
    /// What a run accepts of its landing dates (Q1 to Q3).
    pub limits: Limits,
    /// The first format that matches decides. Its first group is the link's key.
    pub formats: Vec<Regex>,
    /// Who works on its runs. It changes no row.
    pub cluster: ClusterSettings,
}

impl Job {
    pub fn log(&self, log: Log) -> &[Source] {
        match log {
            Log::Clicks => &self.clicks,
            Log::Orders => &self.orders,
        }
    }

    /// What bears on how raw rows are read.
    pub fn reading(&self) -> Reading<'_> {
        Reading { formats: &self.formats, nobody: &self.nobody }
    }

    pub fn reach(&self) -> Reach {
        self.attribution().reach()
    }

    pub fn attribution(&self) -> AttributionSettings {
        AttributionSettings {
            zone: self.zone,
            window_hours: self.window_hours,
            tie: self.tie,
            scope: self.scope,
            order_horizon_days: self.order_horizon_days,
            late_days: self.late_days,
            default_rate: self.default_rate,
            from_logs: self.from_logs,
        }
    }

    /// Reads and checks a job file. Errors: exit 2 with all complaints.
    pub fn load(file: &Path) -> Result<Job, Stop> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            let inside = file.join("job.toml");
            let hint = match inside.is_file() {
                true => format!("is {} meant?", inside.display()),
                false => "`lookback init DIR` writes a job file to start from".to_owned(),
            };
            Stop::fix_one(format!("{}: cannot read the job file: {error}", file.display()))
                .hint(hint)
        })?;
        let absolute = std::path::absolute(file).map_err(anyhow::Error::from)?;
        let folder = absolute.parent().unwrap_or(Path::new("/"));
        Job::parse(&text, file, folder)
    }

    fn parse(text: &str, file: &Path, folder: &Path) -> Result<Job, Stop> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            Stop::fix_one(format!("{}: is not TOML: {error}", file.display()))
        })?;
        let mut reader = Reader {
            table,
            folder,
            typed: file.parent().unwrap_or(Path::new("")),
            stores: Stores::default(),
            known: Vec::new(),
            complaints: Vec::new(),
        };
        let job = read(&mut reader, file);
        reader.refuse_leftovers();
        match job {
            Some(job) if reader.complaints.is_empty() => Ok(job),
            _ => Err(Stop::fix(
                reader
                    .complaints
                    .iter()
                    .map(|complaint| format!("{}: {complaint}", file.display()))
                    .collect(),
            )),
        }
    }
}

/// Reads every key before it returns, so that all complaints come together.
fn read(reader: &mut Reader, file: &Path) -> Option<Job> {
    reader.stores = Stores::new(store::read(reader));
    let clicks = input::log(reader, Log::Clicks);
    let orders = input::log(reader, Log::Orders);
    let links = input::table(reader, "links");
    let stores = input::table(reader, "stores");
    let rates = input::table(reader, "rates");
    let fx_rates = input::optional_table(reader, "fx_rates");
    let identities = input::optional_table(reader, "identities");
    let root = reader.location("output", "root");
    let name = reader.optional_text("program", "name");
    let zone = reader.zone();
    let currency = reader.text("program", "currency", Some("USD"));
    let default_rate = reader.default_rate();
    let window_hours = reader.number("attribution", "window_hours", 720, 1..=8760);
    let tie = reader.choice(
        ("attribution", "tie"),
        &[Tie::Before, Tie::AtOrBefore].map(|tie| (tie.name(), tie)),
    );
    let scope = reader.choice(
        ("attribution", "scope"),
        &[Scope::Platform, Scope::Store].map(|scope| (scope.name(), scope)),
    );
    let late_days = reader.number("lateness", "late_days", 2, 0..=30);
    let order_horizon_days = reader.number("lateness", "order_horizon_days", 90, 2..=400);
    let heal_days = reader.number("lateness", "heal_days", 0, 0..=400);
    let from_logs = reader.flag("identity", "from_logs");
    let nobody = reader.texts("identity", "nobody");
    let limits = Limits::read(reader);
    let formats = reader.formats();
    let cluster = cluster::read(reader);
    for source in [&clicks, &orders].into_iter().flatten().flatten() {
        if let Some(root) = root.as_ref().filter(|root| root.is_within(&source.location)) {
            let trouble = format!(
                "= \"{root}\" is in the log {}: its tables would be read as logs",
                source.location
            );
            reader.complain::<()>("output", "root", trouble);
        }
    }
    Some(Job {
        file: file.to_owned(),
        clicks: clicks?,
        orders: orders?,
        links: links?,
        stores: stores?,
        rates: rates?,
        fx_rates,
        identities,
        root: root?,
        object_stores: reader.stores.clone(),
        name,
        zone: zone?,
        currency: currency?,
        default_rate: default_rate?,
        window_hours: window_hours?,
        tie: tie?,
        scope: scope?,
        late_days: late_days?.unsigned_abs(),
        order_horizon_days: order_horizon_days?.unsigned_abs(),
        heal_days: heal_days?.unsigned_abs(),
        from_logs: from_logs?,
        nobody: nobody?,
        limits,
        formats: formats?,
        cluster,
    })
}

/// A rate ("0.085") in millionths. None if it is not from 0 to 1 with at most 6 decimals.
pub fn millionths(text: &str) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let fraction = fraction.trim_end_matches('0');
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 6 {
        return None;
    }
    let rate: i128 = format!("{whole}{fraction:0<6}").parse().ok()?;
    (rate <= 1_000_000).then_some(rate)
}

/// A link format: a regular expression whose first group is the link's key. Errors: what is wrong.
fn link_format(text: &str) -> Result<Regex, String> {
    let format = Regex::new(text).map_err(|error| format!("is no regular expression: {error}"))?;
    match format.captures_len() {
        1 => Err("has no group: put the part that is the link's key in ( )".to_owned()),
        _ => Ok(format),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
[input]
clicks = "raw/clicks"
orders = "s3://logs/orders"
links = "links.csv"
stores = "stores.csv"
rates = "rates.csv"
[output]
root = "warehouse"
[program]
default_rate = "0.03"
[links]
formats = ['/e/([a-z]+)']
"#;

    fn parse(text: &str) -> Result<Job, Stop> {
        Job::parse(text, Path::new("job.toml"), Path::new("/jobs"))
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let job = parse(WHOLE).unwrap();
        assert_eq!((job.window_hours, job.late_days, job.order_horizon_days), (720, 2, 90));
        assert_eq!((job.zone, job.currency.as_str()), (Tz::UTC, "USD"));
        assert_eq!((job.tie, job.scope), (Tie::Before, Scope::Platform));
        assert_eq!((job.from_logs, job.nobody), (false, Vec::new()));
        assert_eq!(job.root.url().as_str(), "file:///jobs/warehouse");
    }

    #[test]
    fn all_complaints_come_together() {
        let text = WHOLE
            .replace("\"0.03\"", "0.03\ntime_zone = \"Mars/Olympus\"")
            .replace("/e/([a-z]+)", "/e/([a-z]+")
            + "[lateness]\nlate_days = 31\nlate_dayz = 1\n[extra]\n"
            + "[identity]\nfrom_logs = 'yes'\nnobody = ['0', 0]\n";
        let stop = parse(&text).unwrap_err();
        assert_eq!((stop.exit_code(), stop.complaints.len()), (2, 8), "{stop}");
    }

    #[test]
    fn a_mistyped_name_is_answered_with_the_nearest() {
        let text = WHOLE.replace("[links]", "[link]").replace("[output]", "root = 'w'\n[output]")
            + "[lateness]\nlate_dayz = 1\nwindow_hours = 3\n[store]\nmemory_mb = 64\n";
        let text = text.replace(
            "clicks = \"raw/clicks\"",
            "clicks = { path = 'c', layuot = '%Y', columns = { clik_id = 'id', colour = 'c' } }",
        );
        let told = parse(&format!("rates = 'r'\n{text}")).unwrap_err().to_string();
        for words in [
            "rates is an unknown key outside of sections: its place is [input]",
            "[link] is an unknown section: is [links] meant?",
            "[lateness] late_dayz is an unknown key: is late_days meant?",
            "[lateness] window_hours is an unknown key here: its place is [attribution]",
            "[input] root is an unknown key here: its place is [output]",
            "[input] clicks.layuot is an unknown key: is layout meant?",
            "[input] clicks.columns.clik_id is an unknown column: is click_id meant?",
            "[input] clicks.columns.colour is an unknown column; known are click_id, ",
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }
        assert!(!told.contains("[store]"), "{told}");
    }

    /// The keys of a job file, also those behind a #, each with its section.
    fn keys_of(text: &str) -> Vec<(String, String)> {
        let mut section = String::new();
        let mut keys = Vec::new();
        for line in text.lines().map(|line| line.trim_start_matches(['#', ' '])) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                section = name.0.trim_start_matches('[').to_owned();
            } else if let Some((key, _)) = line.split_once('=') {
                keys.push((section.clone(), key.trim().to_owned()));
            }
        }
        keys
    }

    #[test]
    fn files_to_start_from_have_every_key() {
        let folder = Path::new("/jobs");
        let (table, stores) = (Table::new(), Stores::default());
        let typed = Path::new("");
        let mut reader =
            Reader { table, folder, typed, stores, known: Vec::new(), complaints: Vec::new() };
        read(&mut reader, Path::new("job.toml"));
        let logs = ["clicks", "orders"];
        let mut known: Vec<(String, String)> = reader
            .known
            .into_iter()
            .filter(|(_, key)| !logs.contains(&key.as_str()))
            .map(|(section, key)| (section.to_owned(), key))
            .collect();
        assert!(known.len() > 25, "{known:?}");
        for (log, key) in logs.iter().flat_map(|log| input::KEYS_OF_A_SOURCE.map(|key| (log, key)))
        {
            known.push((format!("input.{log}"), key.to_owned()));
        }
        for text in [crate::init::blank_job_file(), include_str!("../../jobs/job.toml").to_owned()]
        {
            let keys = keys_of(&text);
            for key in &known {
                assert!(keys.contains(key), "{key:?}: {text}");
            }
            Job::parse(&text, Path::new("job.toml"), folder).unwrap();
        }
    }

    #[test]
    fn a_link_format_has_a_group() {
        assert!(link_format("(a)?(b(c))(?P<d>e)").is_ok());
        assert!(link_format("no (?:group)").unwrap_err().contains("has no group"));
    }

    #[test]
    fn rates_are_exact_text() {
        assert_eq!(millionths("0.085"), Some(85_000));
        assert_eq!(millionths("1.000000"), Some(1_000_000));
        assert_eq!(millionths("0.0000001"), None);
        assert_eq!(millionths("1.01"), None);
        assert_eq!(millionths("-0.1"), None);
    }
}
