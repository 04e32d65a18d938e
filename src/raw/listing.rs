//! Which landing dates of a log have landed, and the objects in their folders.
//!
//! An object store lists a whole log in about one request, and a request takes long. A disk lists one
//! folder after the other, and a walk through all of them takes long.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use chrono::NaiveDate;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectMeta;
use object_store::path::Path;

use crate::location::{Location, in_parallel};

/// Objects that a store lists with one request.
const PAGE: usize = 1000;

pub struct Listing {
    /// Whether there is a folder of any landing date, wanted or not.
    pub has_dates: bool,
    /// The objects in the folders of the wanted dates themselves, sorted by name. None is empty.
    pub landed: BTreeMap<NaiveDate, Vec<ObjectMeta>>,
}

/// Lists the dates from `from` on that are wanted. Errors: the store fails.
pub async fn list(
    location: &Location,
    from: Option<NaiveDate>,
    wanted: impl Fn(NaiveDate) -> bool,
) -> Result<Listing> {
    let is_wanted = |date: NaiveDate| from.is_none_or(|from| from <= date) && wanted(date);
    if location.local_path().is_none()
        && let Some(listing) = all_at_once(location, from, is_wanted).await?
    {
        return Ok(listing);
    }
    folder_by_folder(location, is_wanted).await
}

/// With one request. None where it would take more, or where no date is found.
async fn all_at_once(
    location: &Location,
    from: Option<NaiveDate>,
    is_wanted: impl Fn(NaiveDate) -> bool,
) -> Result<Option<Listing>> {
    // The names of a folder's objects come after the folder's own.
    let first = from.map(|date| date.to_string()).unwrap_or_default();
    let before = location.child(&format!("dt={first}"));
    let objects = location.store().list_with_offset(Some(location.path()), before.path());
    let objects: Vec<ObjectMeta> = objects
        .take(PAGE)
        .try_collect()
        .await
        .with_context(|| format!("{location}: cannot list"))?;
    if objects.len() == PAGE {
        return Ok(None);
    }
    let mut listing = Listing { has_dates: false, landed: BTreeMap::new() };
    for object in objects {
        let Some((date, place)) = place(location.path(), &object) else { continue };
        listing.has_dates = true;
        if place == Place::Folder && is_wanted(date) {
            listing.landed.entry(date).or_default().push(object);
        }
    }
    for objects in listing.landed.values_mut() {
        objects.sort_by(|one, other| one.location.cmp(&other.location));
    }
    Ok(listing.has_dates.then_some(listing))
}

async fn folder_by_folder(
    location: &Location,
    is_wanted: impl Fn(NaiveDate) -> bool,
) -> Result<Listing> {
    let (_, folders) = location.list().await?;
    let all: BTreeSet<NaiveDate> = folders.iter().filter_map(|folder| date_of(folder)).collect();
    let has_dates = !all.is_empty();
    let dates: Vec<NaiveDate> = all.into_iter().filter(|date| is_wanted(*date)).collect();
    let listings = in_parallel(dates.clone(), async |date| {
        let (mut objects, _) = location.child(&folder_of(date)).list().await?;
        objects.retain(|object| {
            place(location.path(), object).is_some_and(|(_, place)| place == Place::Folder)
        });
        Ok(objects)
    });
    let landed = dates.into_iter().zip(listings.await?);
    Ok(Listing { has_dates, landed: landed.filter(|(_, objects)| !objects.is_empty()).collect() })
}

#[derive(PartialEq, Eq)]
enum Place {
    /// In the folder of its date itself.
    Folder,
    /// Elsewhere below a folder that names a date: in a folder within it, or the date is not written
    /// as the job would.
    Elsewhere,
}

/// The date below whose folder an object lies. None for others, and for the empty objects by which
/// some tools mark a folder: a store names them like the folder.
fn place(log: &Path, object: &ObjectMeta) -> Option<(NaiveDate, Place)> {
    let mut parts = object.location.prefix_match(log)?;
    let folder = parts.next()?;
    let date = date_of(folder.as_ref())?;
    parts.next()?;
    let is_itself = parts.next().is_none() && folder.as_ref() == folder_of(date);
    Some((date, if is_itself { Place::Folder } else { Place::Elsewhere }))
}

fn folder_of(date: NaiveDate) -> String {
    format!("dt={date}")
}

fn date_of(folder: &str) -> Option<NaiveDate> {
    folder.strip_prefix("dt=")?.parse().ok()
}
