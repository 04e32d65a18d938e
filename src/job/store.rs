//! How a job uses object stores.

use std::time::Duration;

use super::Reader;
use crate::location::StoreSettings;

const SECTION: &str = "store";

/// Takes the section out of the job file. Complaints go to the reader.
pub(super) fn read(reader: &mut Reader<'_>) -> StoreSettings {
    let default = StoreSettings::default();
    let mut number = |key: &str, default: u64, range| {
        let default = i64::try_from(default).unwrap_or(i64::MAX);
        reader.number(SECTION, key, default, range).unwrap_or(default).unsigned_abs()
    };
    let requests_at_once = number("requests_at_once", default.requests_at_once as u64, 1..=1024);
    let memory = number("memory_mb", default.memory >> 20, 16..=1 << 20);
    let disk = number("disk_mb", default.disk >> 20, 16..=1 << 30);
    let patience = number("patience_seconds", default.patience.as_secs(), 1..=86_400);
    StoreSettings {
        requests_at_once: usize::try_from(requests_at_once).unwrap_or(usize::MAX),
        memory: memory << 20,
        disk: disk << 20,
        patience: Duration::from_secs(patience),
    }
}
