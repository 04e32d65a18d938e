//! The job file: text in, a checked [`Job`] or all complaints together out (B4).
//!
//! Refuses to know what is at the locations it names. Every default is here and nowhere else.

mod attribution;
mod input;
mod limits;
mod store;

use std::path::{Path, PathBuf};

pub use attribution::{AttributionSettings, Scope, Tie, decimal};
use chrono_tz::Tz;
pub use limits::Limits;
use regex::Regex;
use toml::{Table, Value};

use crate::days::Reach;
use crate::location::{Location, Stores};
use crate::nearest::{meant, nearest};
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
            Stop::fix_one(format!("{}: cannot read the job file: {error}", file.display()))
                .hint("`lookback init DIR` writes a job file to start from")
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
    })
}

/// Takes keys out of the table. Keys that are left at the end are unknown.
struct Reader<'a> {
    table: Table,
    folder: &'a Path,
    stores: Stores,
    /// Section and name of each key that was asked for. No others are known.
    known: Vec<(&'static str, String)>,
    complaints: Vec<String>,
}

impl Reader<'_> {
    fn complain<T>(&mut self, section: &str, key: &str, trouble: impl AsRef<str>) -> Option<T> {
        self.complaints.push(format!("[{section}] {key} {}", trouble.as_ref()));
        None
    }

    fn take(&mut self, section: &'static str, key: &str) -> Option<Value> {
        self.knows(section, key);
        self.table.get_mut(section)?.as_table_mut()?.remove(key)
    }

    /// Whether the key is given. It stays where it is.
    fn has(&mut self, section: &'static str, key: &str) -> bool {
        self.knows(section, key);
        self.table.get(section).and_then(|keys| keys.get(key)).is_some()
    }

    fn knows(&mut self, section: &'static str, key: &str) {
        if !self.known.iter().any(|(of, known)| *of == section && known == key) {
            self.known.push((section, key.to_owned()));
        }
    }

    fn text(&mut self, section: &'static str, key: &str, default: Option<&str>) -> Option<String> {
        match (self.take(section, key), default) {
            (Some(Value::String(text)), _) if !text.is_empty() => Some(text),
            (Some(Value::String(_)), _) => self.complain(section, key, "is empty"),
            (Some(other), _) => {
                let found = other.type_str();
                self.complain(section, key, format!("is a {found}, but a text is wanted"))
            }
            (None, Some(default)) => Some(default.to_owned()),
            (None, None) => self.complain(section, key, "is missing"),
        }
    }

    fn location(&mut self, section: &'static str, key: &str) -> Option<Location> {
        let text = self.text(section, key, None)?;
        match Location::parse_in(&self.stores, &text, self.folder) {
            Ok(location) => Some(location),
            Err(error) => self.complain(section, key, format!("= \"{text}\" {error:#}")),
        }
    }

    fn optional_text(&mut self, section: &'static str, key: &str) -> Option<String> {
        self.has(section, key).then(|| self.text(section, key, None)).flatten()
    }

    fn number(
        &mut self,
        section: &'static str,
        key: &str,
        default: i64,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<i64> {
        let wanted = format!("a whole number from {} to {} is wanted", range.start(), range.end());
        match self.take(section, key) {
            None => Some(default),
            Some(Value::Integer(number)) if range.contains(&number) => Some(number),
            Some(Value::Integer(number)) => {
                self.complain(section, key, format!("is {number}, but {wanted}"))
            }
            Some(other) => {
                let found = other.type_str();
                self.complain(section, key, format!("is a {found}, but {wanted}"))
            }
        }
    }

    fn choice<T: Copy>(&mut self, at: (&'static str, &str), choices: &[(&str, T)]) -> Option<T> {
        let (section, key) = at;
        let (default, _) = choices.first()?;
        let text = self.text(section, key, Some(default))?;
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
            return Some(*value);
        }
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let wanted = names.join(" or ");
        self.complain(section, key, format!("is \"{text}\", but {wanted} is wanted"))
    }

    /// True or false. False where it is left out.
    fn flag(&mut self, section: &'static str, key: &str) -> Option<bool> {
        match self.take(section, key) {
            None => Some(false),
            Some(Value::Boolean(flag)) => Some(flag),
            Some(other) => {
                let found = other.type_str();
                self.complain(section, key, format!("is a {found}, but true or false is wanted"))
            }
        }
    }

    /// A list of texts. Empty where it is left out.
    fn texts(&mut self, section: &'static str, key: &str) -> Option<Vec<String>> {
        let list = match self.take(section, key) {
            None => return Some(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(other) => {
                let found = other.type_str();
                let trouble = format!("is a {found}, but a list of texts is wanted");
                return self.complain(section, key, trouble);
            }
        };
        let mut texts = Vec::new();
        for (position, value) in list.iter().enumerate() {
            match value {
                Value::String(text) => texts.push(text.clone()),
                other => {
                    let name = format!("{key}, number {}", position + 1);
                    let trouble = format!("is a {}, but a text is wanted", other.type_str());
                    self.complain::<()>(section, &name, trouble);
                }
            }
        }
        (texts.len() == list.len()).then_some(texts)
    }

    fn zone(&mut self) -> Option<Tz> {
        let name = self.text("program", "time_zone", Some("UTC"))?;
        match name.parse() {
            Ok(zone) => Some(zone),
            Err(_) => self.complain(
                "program",
                "time_zone",
                format!("= \"{name}\" is no time zone of the IANA database"),
            ),
        }
    }

    fn default_rate(&mut self) -> Option<i128> {
        let at = ("program", "default_rate");
        if let Some(Value::Float(_) | Value::Integer(_)) =
            self.table.get(at.0).and_then(|table| table.get(at.1))
        {
            self.take(at.0, at.1);
            return self.complain(
                at.0,
                at.1,
                "is a number, but a text such as \"0.03\" is wanted: money is no float",
            );
        }
        let text = self.text(at.0, at.1, None)?;
        match millionths(&text) {
            Some(rate) => Some(rate),
            None => self.complain(
                at.0,
                at.1,
                format!("is \"{text}\", but a rate from 0 to 1 with at most 6 decimals is wanted"),
            ),
        }
    }

    fn formats(&mut self) -> Option<Vec<Regex>> {
        let at = ("links", "formats");
        let wanted = "a list of at least one regular expression is wanted";
        let list = match self.take(at.0, at.1) {
            Some(Value::Array(list)) if !list.is_empty() => list,
            Some(_) => return self.complain(at.0, at.1, format!("is no such list: {wanted}")),
            None => return self.complain(at.0, at.1, format!("is missing: {wanted}")),
        };
        let mut formats = Vec::new();
        for (position, value) in list.iter().enumerate() {
            let name = format!("formats, number {}", position + 1);
            match value.as_str().map(link_format) {
                Some(Ok(format)) => formats.push(format),
                Some(Err(trouble)) => {
                    self.complain::<()>(at.0, &name, trouble);
                }
                None => {
                    self.complain::<()>(at.0, &name, "is no text");
                }
            }
        }
        (formats.len() == list.len()).then_some(formats)
    }

    /// What was not asked for is unknown.
    fn refuse_leftovers(&mut self) {
        let known = std::mem::take(&mut self.known);
        let mut sections: Vec<&str> = Vec::new();
        for (section, _) in &known {
            if !sections.contains(section) {
                sections.push(section);
            }
        }
        let keys_of = |section: &str| {
            let keys = known.iter().filter(|(of, _)| *of == section);
            keys.map(|(_, key)| key.as_str()).collect::<Vec<_>>()
        };
        let home = |key: &str| known.iter().find(|(_, known)| known == key).map(|(of, _)| *of);
        for (section, value) in std::mem::take(&mut self.table) {
            match value {
                Value::Table(keys) if sections.contains(&section.as_str()) => {
                    for key in keys.keys() {
                        let all = keys_of(&section);
                        let meant = match home(key) {
                            Some(home) if nearest(key, all.clone()).is_none() => {
                                format!(" here: its place is [{home}]")
                            }
                            _ => meant(key, all),
                        };
                        self.complaints.push(format!("[{section}] {key} is an unknown key{meant}"));
                    }
                }
                Value::Table(_) => {
                    let meant = match nearest(&section, sections.clone()) {
                        Some(name) => format!(": is [{name}] meant?"),
                        None => meant(&section, sections.clone()),
                    };
                    self.complaints.push(format!("[{section}] is an unknown section{meant}"));
                }
                _ if sections.contains(&section.as_str()) => {
                    self.complaints.push(format!("{section} is no section: write [{section}]"));
                }
                _ => {
                    let meant = match home(&section) {
                        Some(home) => format!(" outside of sections: its place is [{home}]"),
                        None => meant(&section, sections.clone()),
                    };
                    self.complaints.push(format!("{section} is an unknown key{meant}"));
                }
            }
        }
    }
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
        let mut reader =
            Reader { table, folder, stores, known: Vec::new(), complaints: Vec::new() };
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
