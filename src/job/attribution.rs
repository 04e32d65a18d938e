//! The settings that decide which click earns an order line: as values, and as text that is read back.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use anyhow::Context;
use chrono_tz::Tz;

use super::millionths;
use crate::days::Reach;

/// The settings that decide which click earns an order line, and how much. They are stored with
/// each order date, so that `lookback explain` can use those of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttributionSettings {
    pub zone: Tz,
    pub window_hours: i64,
    pub tie: Tie,
    pub scope: Scope,
    pub order_horizon_days: u64,
    pub late_days: u64,
    /// Millionths.
    pub default_rate: i128,
    /// Whether sightings tell whose a visitor's clicks are, too (C7).
    pub from_logs: bool,
}

impl AttributionSettings {
    pub fn reach(&self) -> Reach {
        let reach =
            Reach::new(self.zone, self.window_hours, self.order_horizon_days, self.late_days);
        if self.from_logs { reach.with_sightings() } else { reach }
    }
}

/// `time_zone=UTC window_hours=720 …`
impl fmt::Display for AttributionSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "time_zone={} window_hours={} tie={} scope={} order_horizon_days={} late_days={} \
             default_rate={} from_logs={}",
            self.zone,
            self.window_hours,
            self.tie.name(),
            self.scope.name(),
            self.order_horizon_days,
            self.late_days,
            decimal(self.default_rate),
            self.from_logs
        )
    }
}

/// Reads what `Display` wrote, and ignores other words. Errors: a setting is missing or unreadable.
impl FromStr for AttributionSettings {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<AttributionSettings> {
        let words: BTreeMap<&str, &str> =
            text.split(' ').filter_map(|word| word.split_once('=')).collect();
        let get = |name: &str| words.get(name).copied().with_context(|| format!("no {name}"));
        let choice = |name: &str, first: &str| Ok::<_, anyhow::Error>(get(name)? == first);
        Ok(AttributionSettings {
            zone: get("time_zone")?.parse()?,
            window_hours: get("window_hours")?.parse()?,
            tie: if choice("tie", Tie::Before.name())? { Tie::Before } else { Tie::AtOrBefore },
            scope: match choice("scope", Scope::Platform.name())? {
                true => Scope::Platform,
                false => Scope::Store,
            },
            order_horizon_days: get("order_horizon_days")?.parse()?,
            late_days: get("late_days")?.parse()?,
            default_rate: millionths(get("default_rate")?).context("no rate")?,
            // Texts of the first version do not have it, and no sightings counted then.
            from_logs: words.get("from_logs").is_some_and(|word| *word == "true"),
        })
    }
}

/// Whether a click at the very instant of the order can win (A1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tie {
    Before,
    AtOrBefore,
}

/// Which clicks can win an order line: all of the buyer's, or those that landed on its store (A3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Platform,
    Store,
}

impl Tie {
    /// As the job file says it.
    pub fn name(self) -> &'static str {
        match self {
            Tie::Before => "before",
            Tie::AtOrBefore => "at_or_before",
        }
    }
}

impl Scope {
    /// As the job file says it.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Platform => "platform",
            Scope::Store => "store",
        }
    }
}

/// Millionths as a rate or a share is written: 85,000 as "0.085".
pub fn decimal(millionths: i128) -> String {
    let text = format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_they_were_written() {
        let settings = AttributionSettings {
            zone: Tz::America__Los_Angeles,
            window_hours: 24,
            tie: Tie::AtOrBefore,
            scope: Scope::Store,
            order_horizon_days: 90,
            late_days: 2,
            default_rate: 30_000,
            from_logs: true,
        };
        let written = format!("{settings} clicks=1a2b orders=3c4d");
        assert_eq!(written.parse::<AttributionSettings>().unwrap(), settings);
        let first_version = written.replace("from_logs=true ", "");
        let settings = AttributionSettings { from_logs: false, ..settings };
        assert_eq!(first_version.parse::<AttributionSettings>().unwrap(), settings);
        assert!("0123456789abcdef".parse::<AttributionSettings>().is_err());
    }

    #[test]
    fn a_rate_is_written_as_it_is_read() {
        for rate in ["0", "0.03", "0.000001", "1"] {
            assert_eq!(millionths(rate).map(decimal).as_deref(), Some(rate));
        }
    }
}
