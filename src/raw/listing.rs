//! What lies in the folders of a source: the data files of each landing date, whether the date has
//! landed, and what lies there that is not read (B5).
//!
//! An object store lists a whole log in about one request, and a request takes long. A disk lists one
//! folder after the other, and a walk through all of them takes long.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use chrono::NaiveDate;
use futures::{StreamExt, TryStreamExt, try_join};
use object_store::ObjectMeta;

use super::delta;
use super::layout::{Layout, Named};
use super::source::Source;
use crate::days::{self, DateRange};
use crate::location::{Location, in_parallel};
use crate::stop::Stop;

/// Objects that a store lists with one request.
const PAGE: usize = 1000;

/// The last hour of a day.
const LAST_HOUR: u32 = 23;

/// The object by which Spark, Hive and others say that a folder is complete.
const SUCCESS: &str = "_SUCCESS";

/// What lies in a source.
#[derive(Debug, Default)]
pub struct Listing {
    /// Whether there is a folder of any landing date, wanted or not.
    pub has_dates: bool,
    /// The wanted dates whose folders hold anything.
    pub dates: BTreeMap<NaiveDate, Landing>,
    /// Folders beside those of the landing dates that look like dates in another spelling.
    pub alike: BTreeSet<String>,
    /// Of a Delta table: the last date that has rows. All before it have landed.
    landed_through: Option<NaiveDate>,
}

/// What lies in the folders of a landing date.
#[derive(Debug, Default)]
pub struct Landing {
    /// The data files, sorted by their names below the date's folder.
    pub files: Vec<(String, ObjectMeta)>,
    pub has_landed: bool,
    /// Objects that are no data by their names.
    pub names: Tally,
    /// Objects in sub-folders, and above the folders of the hours.
    pub folders: Tally,
    /// The hours that have landed. Without hours, the whole date is hour 23.
    hours: BTreeSet<u32>,
}

/// So many, and one of them by name.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    pub count: u64,
    pub first: Option<String>,
}

impl Tally {
    fn add(&mut self, name: &str) {
        self.count += 1;
        self.first.get_or_insert_with(|| name.to_owned());
    }
}

/// Lists the dates from `from` on that are wanted. Errors: exit 2 where the root is a table of a
/// format that is not read; exit 1 when the store fails.
pub async fn list(
    source: &Source,
    from: Option<NaiveDate>,
    wanted: impl Fn(NaiveDate) -> bool,
) -> Result<Listing, Stop> {
    let is_wanted = |date: NaiveDate| from.is_none_or(|from| from <= date) && wanted(date);
    // The next date tells that the one before is complete, where there are hours.
    let is_of_interest = |date: NaiveDate| {
        is_wanted(date)
            || source.layout.has_hours() && is_wanted(days::minus(date, 1)) && wanted(date)
    };
    let location = &source.location;
    let at_once = async {
        match location.local_path() {
            None => all_at_once(source, from, &is_of_interest).await,
            Some(_) => Ok(None),
        }
    };
    let ((_, folders), at_once) = try_join!(location.list(), at_once)?;
    if folders.iter().any(|folder| folder == delta::LOG) {
        return delta::list(source, is_wanted).await;
    }
    if let Some(format) = other_format(location, &folders).await? {
        return Err(Stop::fix_one(format!(
            "{location}: is {format}, which is not read as a log: its folders also hold rows that \
             were removed"
        ))
        .hint("export the rows as Parquet files, in a folder per landing date"));
    }
    let mut listing = match at_once {
        Some(mut listing) => {
            // What comes before the first date that was asked for is only in the other listing.
            folders
                .iter()
                .for_each(|folder| note_alike(&mut listing, &source.layout, 0, folder, folder));
            listing
        }
        None => walk(source, folders, from, &is_of_interest).await?,
    };
    listing.has_dates |= !listing.dates.is_empty();
    for landing in listing.dates.values_mut() {
        landing.files.sort_by(|(one, _), (other, _)| one.cmp(other));
    }
    decide_landed(&mut listing, source.layout.has_hours(), source.marker.is_some());
    listing.dates.retain(|date, _| is_wanted(*date));
    Ok(listing)
}

/// I3: the last hour landed, or a later one did. With a marker only the last hour counts.
fn decide_landed(listing: &mut Listing, has_hours: bool, has_marker: bool) {
    let is_later = |date: &NaiveDate| {
        let next = listing.dates.get(&days::next(*date));
        has_hours && !has_marker && next.is_some_and(|next| !next.hours.is_empty())
    };
    let first = listing.dates.keys().next().copied();
    let quiet = listing.dates.keys().map(|date| days::minus(*date, 1));
    let quiet: Vec<NaiveDate> = quiet
        .filter(|date| first.is_some_and(|first| first <= *date))
        .filter(|date| !listing.dates.contains_key(date) && is_later(date))
        .collect();
    // What lies there unread may be its rows (B5).
    let is_in_doubt = |landing: &Landing| {
        landing.files.is_empty() && landing.names.count + landing.folders.count > 0
    };
    let follows =
        |date: &NaiveDate| is_later(date) && !listing.dates.get(date).is_some_and(is_in_doubt);
    let landed: Vec<NaiveDate> = listing
        .dates
        .iter()
        .filter(|(date, landing)| landing.hours.contains(&LAST_HOUR) || follows(date))
        .map(|(date, _)| *date)
        .collect();
    for date in landed.into_iter().chain(quiet) {
        listing.dates.entry(date).or_default().has_landed = true;
    }
}

/// A table format whose folders hold more than its rows.
async fn other_format(location: &Location, folders: &[String]) -> Result<Option<&'static str>> {
    if folders.iter().any(|folder| folder == ".hoodie") {
        return Ok(Some("a Hudi table"));
    }
    if folders.iter().any(|folder| folder == "metadata") {
        let (objects, _) = location.child("metadata").list().await?;
        let is_metadata = |object: &ObjectMeta| {
            object.location.filename().is_some_and(|name| name.ends_with(".metadata.json"))
        };
        if objects.iter().any(is_metadata) {
            return Ok(Some("an Iceberg table"));
        }
    }
    Ok(None)
}

/// With one request. None where it would take more, or where no date is found.
async fn all_at_once(
    source: &Source,
    from: Option<NaiveDate>,
    is_wanted: &impl Fn(NaiveDate) -> bool,
) -> Result<Option<Listing>> {
    let location = &source.location;
    // The names of a folder's objects come after the folder's own.
    let first = from.map(|date| source.layout.first_name(date));
    let before = match first {
        Some(Some(first)) => location.child(&first),
        Some(None) => location.clone(),
        None => location.child(source.layout.literal_start()),
    };
    let objects = location.store().list_with_offset(Some(location.path()), before.path());
    let objects: Vec<ObjectMeta> = objects
        .take(PAGE)
        .try_collect()
        .await
        .with_context(|| format!("{location}: cannot list"))?;
    if objects.len() == PAGE {
        return Ok(None);
    }
    let mut listing = Listing::default();
    for object in objects {
        note(&mut listing, source, object, is_wanted);
    }
    Ok(listing.has_dates.then_some(listing))
}

/// Folder by folder down to the dates, then all that lies below each wanted date.
async fn walk(
    source: &Source,
    folders: Vec<String>,
    from: Option<NaiveDate>,
    is_wanted: &impl Fn(NaiveDate) -> bool,
) -> Result<Listing> {
    let Source { location, layout, .. } = source;
    let mut listing = Listing::default();
    let mut level: Vec<(String, Named)> = Vec::new();
    let read = |listing: &mut Listing, above: &str, named: Named, depth, folders: Vec<String>| {
        let mut found = Vec::new();
        for folder in folders {
            let path = if above.is_empty() { folder.clone() } else { format!("{above}/{folder}") };
            match layout.read(depth, &folder, named) {
                Some(named) => {
                    let is_near = named.may_be_within(from, None);
                    listing.has_dates |= named.date().is_some() || !is_near;
                    if is_near {
                        found.push((path, named));
                    }
                }
                None => note_alike(listing, layout, depth, &folder, &path),
            }
        }
        found
    };
    level.extend(read(&mut listing, "", Named::default(), 0, folders));
    for depth in 1..layout.date_depth() {
        let below = in_parallel(level, async |(path, named)| {
            let (_, folders) = location.child(&path).list().await?;
            Ok((path, named, folders))
        });
        level = Vec::new();
        for (path, named, folders) in below.await? {
            level.extend(read(&mut listing, &path, named, depth, folders));
        }
    }
    level.retain(|(_, named)| named.date().is_some_and(is_wanted));
    let is_deep = layout.depth() > layout.date_depth();
    let objects = in_parallel(level, async |(path, _)| {
        let folder = location.child(&path);
        match folder.local_path().is_some() && !is_deep {
            // A disk is not asked for what lies in folders that writers hide.
            true => {
                let (mut objects, folders) = folder.list().await?;
                for hidden in folders.iter().filter(|folder| !is_hidden(folder)) {
                    objects.extend(all_below(&folder.child(hidden)).await?);
                }
                Ok(objects)
            }
            false => all_below(&folder).await,
        }
    });
    for object in objects.await?.into_iter().flatten() {
        note(&mut listing, source, object, is_wanted);
    }
    Ok(listing)
}

async fn all_below(folder: &Location) -> Result<Vec<ObjectMeta>> {
    let objects = folder.store().list(Some(folder.path()));
    objects.try_collect().await.with_context(|| format!("{folder}: cannot list"))
}

fn is_hidden(name: &str) -> bool {
    name.starts_with(['_', '.'])
}

fn note_alike(listing: &mut Listing, layout: &Layout, depth: usize, folder: &str, path: &str) {
    if layout.is_alike(depth, folder) {
        listing.alike.insert(path.to_owned());
    }
}

/// Notes an object of the source in the landing date below whose folder it lies.
fn note(
    listing: &mut Listing,
    source: &Source,
    object: ObjectMeta,
    is_wanted: &impl Fn(NaiveDate) -> bool,
) {
    let layout = &source.layout;
    let Some(parts) = object.location.prefix_match(source.location.path()) else { return };
    let mut folders: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
    let Some(name) = folders.pop() else { return };
    let mut named = Named::default();
    let mut depth = 0;
    for folder in folders.iter().take(layout.depth()) {
        match layout.read(depth, folder, named) {
            Some(read) => named = read,
            None => break,
        }
        depth += 1;
    }
    let Some(date) = named.date() else {
        if let Some(folder) = folders.get(depth) {
            note_alike(listing, layout, depth, folder, &folders[..=depth].join("/"));
        }
        return;
    };
    listing.has_dates = true;
    if !is_wanted(date) {
        return;
    }
    let below = folders[layout.date_depth().min(folders.len())..].join("/");
    let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
    let others = &folders[depth..];
    if others.iter().any(|folder| is_hidden(folder)) {
        return;
    }
    let is_marker = source.marker.as_deref() == Some(name.as_str());
    // Some tools mark a folder by an empty object of its name.
    let is_named = !source.suffix.is_empty() && is_data(source, &name);
    let is_folder = object.size == 0 && !is_marker && !is_hidden(&name) && !is_named;
    if is_folder {
        return;
    }
    let landing = listing.dates.entry(date).or_default();
    if !others.is_empty() || depth < layout.depth() {
        if !is_hidden(&name) {
            landing.folders.add(&path);
        }
        return;
    }
    let hour = named.hour.unwrap_or(LAST_HOUR);
    let is_data = is_data(source, &name) && !is_marker;
    let has_landed = match &source.marker {
        Some(_) => is_marker,
        None => is_data || name == SUCCESS,
    };
    if has_landed {
        landing.hours.insert(hour);
    }
    if is_data {
        landing.files.push((path, object));
    } else if !is_hidden(&name) && !is_marker {
        landing.names.add(&path);
    }
}

fn is_data(source: &Source, name: &str) -> bool {
    !is_hidden(name) && name.ends_with(&source.suffix)
}

impl Listing {
    /// What lies in the source and is not read, in sentences (B5).
    pub fn unread(&self, source: &Source) -> Vec<String> {
        let location = &source.location;
        let told = |of: fn(&Landing) -> &Tally, what: &str, hint: &str| {
            let found = self.dates.iter().filter(|(_, landing)| of(landing).count > 0);
            let found: Vec<(&NaiveDate, &Tally)> =
                found.map(|(date, landing)| (date, of(landing))).collect();
            let (date, first) = found.first()?;
            let objects: u64 = found.iter().map(|(_, tally)| tally.count).sum();
            let folder = source.layout.folder_of(**date, None);
            let name = first.first.as_deref().unwrap_or_default();
            Some(format!(
                "{location}: {objects} {} of {} landing {} {} not read, such as {folder}/{name}: \
                 {what}; {hint}",
                if objects == 1 { "object" } else { "objects" },
                found.len(),
                if found.len() == 1 { "date" } else { "dates" },
                if objects == 1 { "is" } else { "are" },
            ))
        };
        let ending = match source.suffix.as_str() {
            "" => "it is empty".to_owned(),
            suffix => format!("its name does not end in {suffix}"),
        };
        let names = told(
            |landing| &landing.names,
            &ending,
            "[input] suffix says how the names of data files end, \"\" takes all",
        );
        let folders = told(
            |landing| &landing.folders,
            "it lies in another folder than the layout says",
            "[input] layout says how folders are named, such as \"dt=%Y-%m-%d/hour=%H\"",
        );
        let alike = self.alike.first().map(|first| {
            let count = self.alike.len();
            let (noun, verb) = if count == 1 { ("folder", "looks") } else { ("folders", "look") };
            format!(
                "{location}: {count} {noun} not read, such as {first}: {verb} like a date, in \
                 another spelling than {}; rename, or say so with [input] layout",
                source.layout.text()
            )
        });
        names.into_iter().chain(folders).chain(alike).collect()
    }

    /// The wanted dates of a table's log, each with the files that are not removed. A date without rows
    /// has landed when a later one has some. `first` is the first date of the table.
    pub fn of_delta(
        dates: BTreeMap<NaiveDate, Vec<(String, ObjectMeta)>>,
        first: Option<NaiveDate>,
        wanted: impl Fn(NaiveDate) -> bool,
    ) -> Listing {
        let last = dates.keys().next_back().copied();
        let span = first.zip(last).map(|(from, to)| DateRange { from, to });
        let mut listing =
            Listing { has_dates: first.is_some(), landed_through: last, ..Listing::default() };
        for date in span.into_iter().flat_map(DateRange::iter).filter(|date| wanted(*date)) {
            listing.dates.insert(date, Landing { has_landed: true, ..Landing::default() });
        }
        for (date, mut files) in dates {
            files.sort_by(|(one, _), (other, _)| one.cmp(other));
            listing.dates.entry(date).or_default().files = files;
        }
        listing
    }

    /// Whether a landing date has landed in the source (D2, I3).
    pub fn has_landed(&self, dt: NaiveDate) -> bool {
        self.landed_through.is_some_and(|last| dt <= last)
            || self.dates.get(&dt).is_some_and(|landing| landing.has_landed)
    }
}
