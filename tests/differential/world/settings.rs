//! The setting of a world: its days and time zone, and what its job file says.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use rust_decimal::Decimal;

use super::dice::Dice;

#[derive(Clone)]
pub struct Settings {
    pub time_zone: Tz,
    pub currency: String,
    pub default_rate: Decimal,
    pub window_hours: i64,
    pub tie: Tie,
    pub scope: Scope,
    pub late_days: i64,
    pub order_horizon_days: i64,
    pub from_logs: bool,
    pub nobody: Vec<String>,
    pub formats: Vec<String>,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Tie {
    Before,
    AtOrBefore,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Scope {
    Platform,
    Store,
}

const SHORT_LINK: &str = r"^https?://s\.click\.aliexpress\.com/e/([0-9A-Za-z_-]+)";
const LONG_LINK: &str = r"[?&]aff_fcid=[0-9a-f]{32}-[0-9]{13}-[0-9]{5}-(_?[0-9A-Za-z]+)(?:&|#|$)";
/// Its key may be empty, and may be any text.
const REF_LINK: &str = r"[?&]ref=([^&#]*)";
/// Its group need not take part in the match.
const HOME_LINK: &str = r"^https?://go\.example(?:/r/([0-9A-Za-z]+))?";

impl Settings {
    pub fn random(dice: &mut Dice, time_zone: Tz) -> Settings {
        let mut formats = vec![SHORT_LINK.to_string(), LONG_LINK.to_string()];
        if dice.chance(80) {
            formats.extend([REF_LINK.to_string(), HOME_LINK.to_string()]);
            dice.shuffle(&mut formats);
        }
        let is_default = dice.chance(15);
        Settings {
            time_zone,
            currency: dice.text(&["USD", "USD", "EUR"]),
            default_rate: *dice.pick(&[
                Decimal::new(3, 2),
                Decimal::new(5, 1),
                Decimal::ZERO,
                Decimal::new(85, 3),
            ]),
            window_hours: if is_default {
                720
            } else {
                *dice.pick(&[1, 2, 12, 24, 25, 47, 48, 72, 120])
            },
            tie: *dice.pick(&[Tie::Before, Tie::AtOrBefore]),
            scope: *dice.pick(&[Scope::Platform, Scope::Platform, Scope::Store]),
            late_days: dice.between(0, 3),
            order_horizon_days: if is_default { 90 } else { dice.between(2, 6) },
            from_logs: dice.chance(50),
            nobody: match dice.chance(30) {
                true => vec!["0".to_string(), dice.text(&["v1", "v3", "42", "nobody's"])],
                false => Vec::new(),
            },
            formats,
        }
    }

    /// Everything but the inputs; a value that is the default is left out.
    pub fn to_toml(&self) -> String {
        let mut lines = vec!["[output]".to_string(), "root = \"warehouse\"".to_string()];
        let mut section = |name: &str, settings: &[(&str, String, &str)]| {
            lines.push(format!("\n[{name}]"));
            let differs = settings.iter().filter(|(_, value, default)| value != default);
            lines.extend(differs.map(|(key, value, _)| format!("{key} = {value}")));
        };
        let quoted = |text: &str| format!("\"{text}\"");
        let tie = if self.tie == Tie::Before { "before" } else { "at_or_before" };
        let scope = if self.scope == Scope::Platform { "platform" } else { "store" };
        let formats: Vec<String> =
            self.formats.iter().map(|format| format!("    '{format}',\n")).collect();
        section(
            "program",
            &[
                ("time_zone", quoted(self.time_zone.name()), "\"UTC\""),
                ("currency", quoted(&self.currency), "\"USD\""),
                ("default_rate", quoted(&self.default_rate.to_string()), ""),
            ],
        );
        section(
            "attribution",
            &[
                ("window_hours", self.window_hours.to_string(), "720"),
                ("tie", quoted(tie), "\"before\""),
                ("scope", quoted(scope), "\"platform\""),
            ],
        );
        section(
            "lateness",
            &[
                ("late_days", self.late_days.to_string(), "2"),
                ("order_horizon_days", self.order_horizon_days.to_string(), "90"),
            ],
        );
        let nobody: Vec<String> = self.nobody.iter().map(|word| quoted(word)).collect();
        section(
            "identity",
            &[
                ("from_logs", self.from_logs.to_string(), "false"),
                ("nobody", format!("[{}]", nobody.join(", ")), "[]"),
            ],
        );
        section("links", &[("formats", format!("[\n{}]", formats.concat()), "")]);
        lines.join("\n") + "\n"
    }
}

/// A time zone, and the landing days: as a rule around a day on which its clocks change.
pub fn calendar(dice: &mut Dice) -> (Tz, Vec<NaiveDate>) {
    let zones = [
        (chrono_tz::UTC, ["2024-02-29", "2024-12-31"]),
        (chrono_tz::America::Los_Angeles, ["2024-03-10", "2024-11-03"]),
        (chrono_tz::America::Los_Angeles, ["2025-03-09", "2025-11-02"]),
        (chrono_tz::Australia::Lord_Howe, ["2024-04-07", "2024-10-06"]),
        (chrono_tz::America::Santiago, ["2024-04-07", "2024-09-08"]), // changes at midnight
        (chrono_tz::Africa::Cairo, ["2024-04-26", "2024-11-01"]),     // changes at midnight
        (chrono_tz::America::Havana, ["2024-03-10", "2024-11-03"]),   // a midnight twice
        (chrono_tz::Pacific::Kiritimati, ["2024-01-01", "2024-06-30"]), // UTC+14
        (chrono_tz::Asia::Kathmandu, ["2024-01-01", "2024-06-30"]),   // UTC+5:45
    ];
    let (time_zone, changes) = *dice.pick(&zones);
    let change: NaiveDate = dice.text(&changes).parse().expect("a date");
    let length = dice.between(6, 14);
    let shift = if dice.chance(80) { dice.between(1, length - 1) } else { dice.between(-40, 40) };
    let first = change - TimeDelta::days(shift);
    (time_zone, (0..length).map(|day| first + TimeDelta::days(day)).collect())
}

/// Instants at which rules change their mind: midnights, local and UTC, and the hours in which
/// clocks may change.
pub fn turning_points(time_zone: Tz, days: &[NaiveDate]) -> Vec<DateTime<Utc>> {
    let mut points = Vec::new();
    for day in days {
        points.push(day.and_time(NaiveTime::MIN).and_utc());
        for hour in [0, 0, 1, 2] {
            let wall_clock = day.and_time(NaiveTime::MIN) + TimeDelta::hours(hour);
            let instants = time_zone.from_local_datetime(&wall_clock);
            points.extend(
                [instants.earliest(), instants.latest()]
                    .into_iter()
                    .flatten()
                    .map(|at| at.to_utc()),
            );
        }
    }
    points
}
