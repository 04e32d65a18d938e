//! The reference tables: links, stores, rates, fx rates, identities. They are read, checked as a
//! whole (B3) and returned as typed record batches. All complaints come together.
//!
//! Refuses to know how they are used: SQL decides which row is in force for a click or an order.

mod complaints;
mod in_force;
mod repeats;
mod sheet;
mod table;
mod times;
mod values;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::OnceLock;

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::job::Job;
use crate::location::Location;
use crate::stop::Stop;
use in_force::{InForce, fingerprints};
use sheet::Sheet;
use table::Table;

/// The checked reference tables of a job.
pub struct Reference {
    /// By table name: `links`, `stores`, `rates`, `fx_rates`, `identities`.
    pub tables: BTreeMap<&'static str, RecordBatch>,
    /// Made when they are asked for.
    in_force: BTreeMap<&'static str, OnceLock<InForce>>,
    zone: Tz,
}

impl Reference {
    /// Reads and checks all tables. Errors: exit 2 with every complaint; exit 1 when a store fails.
    pub async fn load(job: &Job) -> Result<Reference, Stop> {
        let mut complaints = Vec::new();
        let mut reference =
            Reference { tables: BTreeMap::new(), in_force: BTreeMap::new(), zone: job.zone };
        for (name, location) in [
            ("links", Some(&job.links)),
            ("stores", Some(&job.stores)),
            ("rates", Some(&job.rates)),
            ("fx_rates", job.fx_rates.as_ref()),
            ("identities", job.identities.as_ref()),
        ] {
            let table = load(name, location, job, &mut complaints).await?;
            reference.in_force.insert(name, OnceLock::new());
            reference.tables.insert(name, table.batch()?);
        }
        match complaints.is_empty() {
            true => Ok(reference),
            false => Err(Stop::fix(complaints)
                .hint("nothing was written; fix the reference tables and run again")),
        }
    }

    /// A digest of the rows of a table that are in force in a range of instants (half open).
    pub fn in_force(&self, table: &str, range: &Range<DateTime<Utc>>) -> u128 {
        let Some((rows, in_force)) = self.tables.get(table).zip(self.in_force.get(table)) else {
            return 0;
        };
        in_force.get_or_init(|| InForce::new(fingerprints(rows, self.zone))).digest(range)
    }
}

/// Reads and checks one table. Complaints are added to `complaints`. Errors: exit 1 when a store
/// fails.
async fn load(
    name: &'static str,
    location: Option<&Location>,
    job: &Job,
    complaints: &mut Vec<String>,
) -> Result<Table, Stop> {
    let Some(location) = location else { return Ok(Table::empty(name)) };
    let Some(content) = location.read().await? else {
        complaints.push(format!("{location}: there is no such file ([input] {name})"));
        return Ok(Table::empty(name));
    };
    let (reading, zone) = (location.clone(), job.zone);
    // In a separate thread, because bytes may make the decoder panic: it is a bad file.
    let read = move || {
        let mut complaints = Vec::new();
        let table = match Sheet::open(&reading, content, &table::wanted(name)) {
            Ok(sheet) => Table::read(name, sheet, zone, &[], &mut complaints),
            Err(troubles) => {
                let file = reading.name();
                complaints.extend(troubles.iter().map(|trouble| format!("{file}: {trouble}")));
                Ok(Table::empty(name))
            }
        };
        (table, complaints)
    };
    match tokio::task::spawn_blocking(read).await {
        Ok((table, found)) => {
            // What cannot be read is not asked for again.
            let is_fine = found.is_empty();
            complaints.extend(found);
            Ok(if is_fine { table? } else { Table::empty(name) })
        }
        Err(_) => {
            complaints.push(format!("{location}: is no readable Parquet"));
            Ok(Table::empty(name))
        }
    }
}
