//! The reference tables: links, stores, rates, fx rates, identities. They are read, checked as a
//! whole (B3) and returned as typed record batches. All complaints come together.
//!
//! Refuses to know how they are used: SQL decides which row is in force for a click or an order.

mod in_force;
mod sheet;
mod table;

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};

use crate::job::Job;
use crate::location::Location;
use crate::stop::Stop;
use in_force::InForce;
use table::Draft;

/// The checked reference tables of a job.
pub struct Reference {
    /// By table name: `links`, `stores`, `rates`, `fx_rates`, `identities`.
    pub tables: BTreeMap<&'static str, RecordBatch>,
    in_force: BTreeMap<&'static str, InForce>,
}

impl Reference {
    /// Reads and checks all tables. Errors: exit 2 with every complaint; exit 1 when a store fails.
    pub async fn load(job: &Job) -> Result<Reference, Stop> {
        let mut complaints = Vec::new();
        let mut reference = Reference { tables: BTreeMap::new(), in_force: BTreeMap::new() };
        for (name, location) in [
            ("links", Some(&job.links)),
            ("stores", Some(&job.stores)),
            ("rates", Some(&job.rates)),
            ("fx_rates", job.fx_rates.as_ref()),
            ("identities", job.identities.as_ref()),
        ] {
            let draft = load(name, location, &mut complaints).await?;
            reference.in_force.insert(name, InForce::new(draft.fingerprints));
            reference.tables.insert(name, draft.batch);
        }
        match complaints.is_empty() {
            true => Ok(reference),
            false => Err(Stop::fix(complaints)
                .hint("nothing was written; fix the reference tables and run again")),
        }
    }

    /// A digest of the rows of a table that are in force in a range of instants (half open).
    pub fn in_force(&self, table: &str, range: &Range<DateTime<Utc>>) -> u128 {
        self.in_force.get(table).map(|rows| rows.digest(range)).unwrap_or_default()
    }
}

async fn load(
    name: &'static str,
    location: Option<&Location>,
    complaints: &mut Vec<String>,
) -> Result<Draft, Stop> {
    let empty = |complaints: &mut Vec<String>| table::build(name, "", Vec::new(), complaints);
    let Some(location) = location else { return Ok(empty(complaints)?) };
    let Some(content) = location.read().await? else {
        complaints.push(format!("{location}: there is no such file ([input] {name})"));
        return Ok(empty(complaints)?);
    };
    let reading = location.clone();
    // In a separate thread, because bytes may make the decoder panic: it is a bad file.
    let read = move || sheet::read(&reading, content, table::columns(name));
    let sheet = tokio::task::spawn_blocking(read).await;
    match sheet.unwrap_or_else(|_| Err(vec![format!("{location}: is no readable Parquet")])) {
        Ok(sheet) => Ok(table::build(name, &sheet.file, sheet.rows, complaints)?),
        Err(troubles) => {
            complaints.extend(troubles);
            Ok(empty(complaints)?)
        }
    }
}
