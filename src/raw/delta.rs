//! A raw log that is a Delta table: its own log says which files are its rows (B5).

use std::collections::BTreeMap;

use chrono::NaiveDate;
use object_store::ObjectMeta;

use super::listing::Listing;
use super::source::Source;
use crate::location::is_of_store;
use crate::stop::Stop;
use crate::warehouse::live_files;

/// The folder of a table's log.
pub const LOG: &str = "_delta_log";

/// The files of the wanted landing dates. Dates are the table's partitions: its partition columns are
/// those that the layout's folders name. Errors: exit 2 where the table is partitioned otherwise, or
/// has features that are not read; exit 1 when the store fails.
pub async fn list(source: &Source, wanted: impl Fn(NaiveDate) -> bool) -> Result<Listing, Stop> {
    let Source { location, layout, .. } = source;
    let files = live_files(location).await.map_err(|error| {
        if is_of_store(&error) {
            return error.context(format!("{location}: cannot read the log of the table")).into();
        }
        let cause = error.root_cause();
        Stop::fix_one(format!("{location}: is a Delta table that cannot be read: {cause}"))
    })?;
    let columns = layout.partition_columns();
    let mut dates: BTreeMap<NaiveDate, Vec<(String, ObjectMeta)>> = BTreeMap::new();
    let mut first: Option<NaiveDate> = None;
    for file in files {
        let others: Vec<&str> = file
            .partition
            .keys()
            .map(String::as_str)
            .filter(|name| !columns.contains(name))
            .collect();
        let value = |column: &str| file.partition.get(column)?.as_deref();
        let Some(date) = layout.read_partition(value).and_then(|named| named.date()) else {
            return Err(Stop::fix_one(format!(
                "{location}: is a Delta table whose file {} is in no landing date: the layout {} \
                 names the partition column {}",
                file.path,
                layout.text(),
                columns.join(", "),
            )));
        };
        if !others.is_empty() {
            return Err(Stop::fix_one(format!(
                "{location}: is a Delta table that is partitioned by {} as well, whose values are \
                 not in its files; partition it by landing date alone",
                others.join(", ")
            )));
        }
        first = Some(first.map_or(date, |first| first.min(date)));
        if wanted(date) {
            let name = file.path.rsplit('/').next().unwrap_or_default().to_owned();
            dates.entry(date).or_default().push((name, file.meta));
        }
    }
    Ok(Listing::of_delta(dates, first, wanted))
}
