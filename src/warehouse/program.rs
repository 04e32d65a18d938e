//! The program of a warehouse (D9): the time zone, the currency and the name of its first run.

use anyhow::{Context, Result};
use chrono::{Offset, TimeDelta, TimeZone};
use chrono_tz::Tz;
use object_store::ObjectStoreExt;
use serde::{Deserialize, Serialize};

use crate::location::Location;

/// The object, below the root, that stores the program.
const REMEMBERED: &str = "_lookback/program.json";

/// What two programs in one warehouse would mix up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// An IANA name.
    pub time_zone: String,
    pub currency: String,
    /// None when the job has no name.
    pub name: Option<String>,
}

impl Program {
    /// None before the first run, or in a warehouse of a release that did not store it.
    pub(super) async fn read(root: &Location) -> Result<Option<Program>> {
        let object = root.child(REMEMBERED);
        let Some(bytes) = object.read().await? else { return Ok(None) };
        let program = serde_json::from_slice(&bytes);
        Ok(Some(program.with_context(|| format!("{object}: is not what a run wrote"))?))
    }

    pub(super) async fn write(&self, root: &Location) -> Result<()> {
        let object = root.child(REMEMBERED);
        let text = serde_json::to_vec_pretty(self)?;
        let written = object.store().put(object.path(), text.into()).await;
        written.with_context(|| format!("{object}: cannot write"))?;
        Ok(())
    }

    /// How a job's program differs, one text per key, for messages. A missing name is no difference,
    /// nor are two names of one zone.
    pub fn differences(&self, job: &Program) -> Vec<String> {
        let mut differences = Vec::new();
        let mut compare = |key: &str, here: &str, there: &str, is_same: bool| {
            if !is_same {
                differences
                    .push(format!("{key} is \"{here}\" there and \"{there}\" in the job file"));
            }
        };
        let (here, there) = (&self.time_zone, &job.time_zone);
        compare("time_zone", here, there, are_same_zone(here, there));
        compare("currency", &self.currency, &job.currency, self.currency == job.currency);
        if let (Some(here), Some(there)) = (&self.name, &job.name) {
            compare("name", here, there, here == there);
        }
        differences
    }

    /// The same program, with the job's name if it has none.
    pub(super) fn named_by(&self, job: &Program) -> Program {
        Program { name: self.name.clone().or_else(|| job.name.clone()), ..self.clone() }
    }
}

/// Whether two names mean the same zone: from 1970 to 2100, every three hours, their clocks agree.
fn are_same_zone(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    let (Ok(one), Ok(other)) = (one.parse::<Tz>(), other.parse::<Tz>()) else { return false };
    let offset = |zone: Tz, at: &chrono::NaiveDateTime| zone.offset_from_utc_datetime(at).fix();
    let first = chrono::NaiveDate::from_ymd_opt(1970, 1, 1).unwrap_or_default();
    let hours = (0..130 * 366 * 8)
        .map(|step| first.and_time(chrono::NaiveTime::MIN) + TimeDelta::hours(3 * step));
    hours.into_iter().all(|at| offset(one, &at) == offset(other, &at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(zone: &str, currency: &str, name: Option<&str>) -> Program {
        Program {
            time_zone: zone.to_owned(),
            currency: currency.to_owned(),
            name: name.map(str::to_owned),
        }
    }

    #[test]
    fn a_zone_has_several_names_and_a_program_may_get_one_later() {
        let here = program("America/Los_Angeles", "USD", None);
        assert!(here.differences(&program("US/Pacific", "USD", Some("us"))).is_empty());
        assert_eq!(here.differences(&program("America/Tijuana", "EUR", None)).len(), 2);
        let named = here.named_by(&program("US/Pacific", "USD", Some("us")));
        assert_eq!(named, program("America/Los_Angeles", "USD", Some("us")));
        assert_eq!(named.differences(&program("US/Pacific", "USD", Some("eu"))).len(), 1);
        assert!(named.differences(&here).is_empty());
    }
}
