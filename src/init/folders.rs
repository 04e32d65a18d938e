//! How the folders of a log are named by date, guessed from the names that lie there.
//!
//! Reads listings only. Refuses to know what is in a file.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use anyhow::Result;
use object_store::ObjectMeta;
use regex::Regex;

use crate::location::Location;
use crate::raw::Layout;

/// So many of the newest folders with files are looked at.
const NEWEST: usize = 3;
/// And so many are listed to find these.
const LISTED: usize = 10;
/// Sub-folders in which folders of dates are looked for where there are none in the location itself.
const SEARCHED: usize = 50;

/// What lies at a location.
#[derive(Default)]
pub struct Folders {
    /// Folders to go down first: the location was given too high. Empty or ends in a slash.
    pub below: String,
    /// The layout, or none where no folders look like dates.
    pub layout: Option<String>,
    /// Other layouts that some folders have, each with a name.
    pub others: Vec<String>,
    /// The newest folders with files, the newest first, as `2026/04/03`.
    pub newest: Vec<(String, Vec<ObjectMeta>)>,
    /// The ending of the data files' names. None: the usual one.
    pub suffix: Option<String>,
    /// An object that lies in each of these folders and may say that they are complete.
    pub marker: Option<String>,
    /// What a person should know about.
    pub notes: Vec<String>,
}

/// A way to write a part of a date in a folder's name, and the parts that it gives.
struct Spelling {
    value: Regex,
    layout: &'static str,
    /// What has to be known from the folders above, and what is known with it.
    from: Known,
    to: Known,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Nothing,
    Year,
    Month,
    Date,
    Hour,
}

static SPELLINGS: LazyLock<Vec<Spelling>> = LazyLock::new(|| {
    use Known::{Date, Hour, Month, Nothing, Year};
    let year = "(?:19|20)[0-9]{2}";
    let month = "(?:0[1-9]|1[0-2])";
    let day = "(?:0[1-9]|[12][0-9]|3[01])";
    let hour = "(?:[01][0-9]|2[0-3])";
    let spellings = [
        (format!("{year}-{month}-{day}"), "%Y-%m-%d", Nothing, Date),
        (format!("{year}{month}{day}"), "%Y%m%d", Nothing, Date),
        (format!("{year}_{month}_{day}"), "%Y_%m_%d", Nothing, Date),
        (format!("{year}-{month}-{day}-{hour}"), "%Y-%m-%d-%H", Nothing, Hour),
        (format!("{year}-{month}-{day}T{hour}"), "%Y-%m-%dT%H", Nothing, Hour),
        (format!("{year}{month}{day}{hour}"), "%Y%m%d%H", Nothing, Hour),
        (year.to_owned(), "%Y", Nothing, Year),
        (format!("{year}-{month}"), "%Y-%m", Nothing, Month),
        (format!("{year}{month}"), "%Y%m", Nothing, Month),
        (month.to_owned(), "%m", Year, Month),
        (day.to_owned(), "%d", Month, Date),
        (hour.to_owned(), "%H", Date, Hour),
    ];
    let spellings = spellings.into_iter().filter_map(|(value, layout, from, to)| {
        let value = Regex::new(&format!("^{value}$")).ok()?;
        Some(Spelling { value, layout, from, to })
    });
    spellings.collect()
});

/// Looks at the folders of a location, and at the names in the newest ones. Errors: the store fails.
pub async fn look(location: &Location) -> Result<Folders> {
    let mut found = Folders::default();
    let (objects, folders) = location.list().await?;
    tell_other_formats(&folders, &mut found.notes);
    let mut top = location.clone();
    let mut first = spelt(&folders, Known::Nothing);
    if first.is_empty() {
        match folders_of_dates_below(location, &folders).await?.as_slice() {
            [] => {
                tell_what_lies_there(location, &objects, &folders, &mut found.notes);
                return Ok(found);
            }
            [only] => {
                top = location.child(only);
                found.below = format!("{only}/");
                first = spelt(&top.list().await?.1, Known::Nothing);
            }
            several => {
                let names = several.join("/, ");
                found.notes.push(format!(
                    "the folders of dates lie in {names}/: give one of them, or make each a \
                     source of its own ([[input.clicks]])"
                ));
                return Ok(found);
            }
        }
    }
    walk(&top, first, &mut found).await?;
    let objects: Vec<&ObjectMeta> = found.newest.iter().flat_map(|(_, objects)| objects).collect();
    found.suffix = suffix(&objects);
    found.marker = marker(&found.newest);
    Ok(found)
}

/// The names that are spelt as a part of a date which is wanted next, by layout.
fn spelt(names: &[String], known: Known) -> BTreeMap<(String, usize), Vec<String>> {
    let mut layouts: BTreeMap<(String, usize), Vec<String>> = BTreeMap::new();
    for name in names {
        let at = name.rfind('=').map_or(0, |at| at + 1);
        let (literal, value) = name.split_at(at);
        let fits = |spelling: &Spelling| spelling.from == known && spelling.value.is_match(value);
        if let Some(position) = SPELLINGS.iter().position(fits) {
            let layout = format!("{}{}", literal.replace('%', ""), SPELLINGS[position].layout);
            layouts.entry((layout, position)).or_default().push(name.clone());
        }
    }
    layouts
}

/// Goes down into the newest folders and notes how each level is named.
async fn walk(
    top: &Location,
    first: BTreeMap<(String, usize), Vec<String>>,
    found: &mut Folders,
) -> Result<()> {
    let mut level = first;
    let mut layout: Vec<String> = Vec::new();
    let mut known = Known::Nothing;
    let mut path = String::new();
    // The newest folders of the level that was reached last.
    let mut leaves: Vec<String> = Vec::new();
    while let Some(((name, spelling), names)) = most(&level) {
        for ((other, _), names) in level.iter().filter(|((other, _), _)| other != &name) {
            let example = names.last().cloned().unwrap_or_default();
            found.others.push(format!("{other} ({} folders such as {example})", names.len()));
        }
        let mut names = names;
        names.sort();
        leaves = names.iter().rev().take(LISTED).map(|name| format!("{path}{name}")).collect();
        layout.push(name);
        known = SPELLINGS[spelling].to;
        let Some(newest) = leaves.first().cloned() else { break };
        if known == Known::Hour {
            break;
        }
        let (objects, folders) = top.child(&newest).list().await?;
        // Hours lie in the folders of dates that hold no files themselves.
        let has_files = objects.iter().any(is_data);
        level = if has_files { BTreeMap::new() } else { spelt(&folders, known) };
        if level.is_empty() && known != Known::Date {
            let shown: Vec<&str> = folders.iter().take(3).map(String::as_str).collect();
            found.notes.push(format!(
                "below {newest} no folders such as {} are found, but {}: months, days and hours \
                 need two digits: rename these folders",
                if known == Known::Year { "04" } else { "04 or 30" },
                if shown.is_empty() { "nothing".to_owned() } else { shown.join(", ") }
            ));
            return Ok(());
        }
        path = format!("{newest}/");
    }
    let text = layout.join("/");
    if !matches!(known, Known::Date | Known::Hour) || Layout::parse(&text).is_err() {
        return Ok(());
    }
    found.layout = Some(text);
    for leaf in leaves {
        let (objects, folders) = top.child(&leaf).list().await?;
        if let Some(folder) = folders.first().filter(|_| found.newest.is_empty()) {
            found.notes.push(format!(
                "{leaf} has sub-folders such as {folder}: what lies in them is not read"
            ));
        }
        if objects.iter().any(is_data) {
            found.newest.push((leaf, objects));
        }
        if found.newest.len() == NEWEST {
            break;
        }
    }
    Ok(())
}

/// The spelling of the most names; of several such the one with the latest.
fn most(level: &BTreeMap<(String, usize), Vec<String>>) -> Option<((String, usize), Vec<String>)> {
    let count = |names: &Vec<String>| (names.len(), names.iter().max().cloned());
    let most = level.iter().max_by_key(|(_, names)| count(names));
    most.map(|(spelling, names)| (spelling.clone(), names.clone()))
}

async fn folders_of_dates_below(location: &Location, folders: &[String]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for folder in folders.iter().filter(|name| !name.starts_with(['_', '.'])).take(SEARCHED) {
        let (_, below) = location.child(folder).list().await?;
        if !spelt(&below, Known::Nothing).is_empty() {
            found.push(folder.clone());
        }
    }
    Ok(found)
}

pub fn is_data(object: &ObjectMeta) -> bool {
    let name = object.location.filename().unwrap_or_default();
    !name.is_empty() && !name.starts_with(['_', '.']) && object.size > 0
}

fn tell_other_formats(folders: &[String], notes: &mut Vec<String>) {
    let has = |name: &str| folders.iter().any(|folder| folder == name);
    if has("_delta_log") {
        notes.push("it is a Delta table, and is read by its log".to_owned());
    }
    if has("metadata") && has("data") {
        notes.push(
            "it looks like an Iceberg table, which is not read: export it to Parquet files in a \
             folder per landing date"
                .to_owned(),
        );
    }
    if has(".hoodie") {
        notes.push(
            "it is a Hudi table, which is not read: export it to Parquet files in a folder per \
             landing date"
                .to_owned(),
        );
    }
}

fn tell_what_lies_there(
    location: &Location,
    objects: &[ObjectMeta],
    folders: &[String],
    notes: &mut Vec<String>,
) {
    let last = location.name().trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let is_date = !spelt(&[last.to_owned()], Known::Nothing).is_empty();
    notes.push(match (objects.iter().find(|object| is_data(object)), folders.first()) {
        _ if is_date => "it is the folder of one date: give the folder above it".to_owned(),
        (Some(object), _) => format!(
            "files such as {} lie in it without a folder per landing date: a log needs one, such \
             as dt=2026-05-01",
            object.location.filename().unwrap_or_default()
        ),
        (None, Some(folder)) => {
            format!("no folder in it is named like a date; there is {folder}, for example")
        }
        (None, None) => "there is nothing".to_owned(),
    });
}

/// The ending by which the data files are told apart from others. None where it is the usual one.
fn suffix(objects: &[&ObjectMeta]) -> Option<String> {
    let mut endings: BTreeMap<&str, usize> = BTreeMap::new();
    for object in objects.iter().filter(|object| is_data(object)) {
        let name = object.location.filename().unwrap_or_default();
        let ending = name.rfind('.').map_or("", |at| &name[at..]);
        // Numbers and letters of a name such as 000000_0 or part.1 are no ending.
        let is_word = ending.bytes().skip(1).any(|byte| byte.is_ascii_alphabetic());
        *endings.entry(if is_word { ending } else { "" }).or_default() += 1;
    }
    if endings.is_empty() || endings.contains_key(".parquet") {
        return None;
    }
    let most = endings.into_iter().max_by_key(|(_, count)| *count);
    most.map(|(ending, _)| ending.to_owned())
}

fn marker(newest: &[(String, Vec<ObjectMeta>)]) -> Option<String> {
    let has = |objects: &[ObjectMeta]| {
        objects.iter().any(|object| object.location.filename() == Some("_SUCCESS"))
    };
    let is_everywhere = !newest.is_empty() && newest.iter().all(|(_, objects)| has(objects));
    is_everywhere.then(|| "_SUCCESS".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    async fn found(files: &[&str]) -> Folders {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let path = folder.path().display().to_string();
        let location = Location::parse(&path, folder.path());
        look(&location.unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn folders_say_their_layout() {
        for (files, layout, newest) in [
            (
                &["dt=2026-04-01/a.parquet", "dt=2026-04-02/a.parquet"][..],
                "dt=%Y-%m-%d",
                "dt=2026-04-02",
            ),
            (&["2026/04/01/a.parquet", "2026/05/02/a.parquet"], "%Y/%m/%d", "2026/05/02"),
            (&["2026/04/01/22/a.parquet", "2026/04/01/23/a"], "%Y/%m/%d/%H", "2026/04/01/23"),
            (
                &["year=2026/month=04/day=01/hour=07/a.parquet"],
                "year=%Y/month=%m/day=%d/hour=%H",
                "year=2026/month=04/day=01/hour=07",
            ),
            (
                &["year=2026/month=04/day=01/a.parquet"],
                "year=%Y/month=%m/day=%d",
                "year=2026/month=04/day=01",
            ),
            (&["date=2026-04-01/a.parquet"], "date=%Y-%m-%d", "date=2026-04-01"),
            (&["2026-04-01/a.parquet"], "%Y-%m-%d", "2026-04-01"),
            (&["20260401/a.parquet", "_tmp/a"], "%Y%m%d", "20260401"),
            (&["p_day=20260401/a.parquet"], "p_day=%Y%m%d", "p_day=20260401"),
            (&["dt=2026-04-01/hr=05/a.parquet"], "dt=%Y-%m-%d/hr=%H", "dt=2026-04-01/hr=05"),
            (&["2026-04-01-13/a.parquet"], "%Y-%m-%d-%H", "2026-04-01-13"),
        ] {
            let found = found(files).await;
            assert_eq!(found.layout.as_deref(), Some(layout), "{files:?}");
            assert_eq!(found.newest[0].0, newest);
            assert!(found.notes.is_empty() && found.suffix.is_none(), "{:?}", found.notes);
        }
    }

    #[tokio::test]
    async fn what_is_no_layout_is_told() {
        for (files, words) in [
            (&[][..], "there is nothing"),
            (&["a.parquet"], "without a folder per landing date"),
            (&["year=2026/month=4/day=1/a.parquet"], "two digits"),
            (&["web/dt=2026-04-01/a.parquet", "app/dt=2026-04-01/a.parquet"], "app/, web/"),
            (&["data/a.parquet", "metadata/v1.json"], "Iceberg"),
        ] {
            let found = found(files).await;
            assert_eq!(found.layout, None, "{files:?}");
            assert!(found.notes.iter().any(|note| note.contains(words)), "{:?}", found.notes);
        }
    }

    #[tokio::test]
    async fn a_location_may_be_given_too_high_and_files_may_have_other_endings() {
        let found = found(&["web/dt=2026-04-01/000000_0", "web/dt=2026-04-01/_SUCCESS"]).await;
        assert_eq!((found.below.as_str(), found.layout.as_deref()), ("web/", Some("dt=%Y-%m-%d")));
        assert_eq!(
            (found.suffix.as_deref(), found.marker.as_deref()),
            (Some(""), Some("_SUCCESS"))
        );
    }

    #[tokio::test]
    async fn of_two_spellings_the_one_of_the_most_folders_is_taken() {
        let files = ["dt=2026-04-01/a.parquet", "dt=2026-04-02/a.parquet", "2026-04-03/a.parquet"];
        let found = found(&files).await;
        assert_eq!(found.layout.as_deref(), Some("dt=%Y-%m-%d"));
        assert_eq!(found.others, ["%Y-%m-%d (1 folders such as 2026-04-03)"]);
    }
}
