//! Takes keys out of a job file, each as what it has to be. Complaints are kept and told together.
//!
//! Refuses to know which keys there are, but those of the program and the links.

use std::path::Path;

use chrono_tz::Tz;
use regex::Regex;
use toml::{Table, Value};

use super::{link_format, millionths};
use crate::location::{Location, Stores};
use crate::nearest::{meant, nearest};

/// What a value is, in words.
pub(super) fn what_is(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date or time",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

/// Takes keys out of the table. Keys that are left at the end are unknown.
pub(super) struct Reader<'a> {
    pub(super) table: Table,
    /// Where relative paths begin.
    pub(super) folder: &'a Path,
    /// The same folder as it was typed.
    pub(super) typed: &'a Path,
    pub(super) stores: Stores,
    /// Section and name of each key that was asked for. No others are known.
    pub(super) known: Vec<(&'static str, String)>,
    pub(super) complaints: Vec<String>,
}

impl Reader<'_> {
    pub(super) fn complain<T>(
        &mut self,
        section: &str,
        key: &str,
        trouble: impl AsRef<str>,
    ) -> Option<T> {
        self.complaints.push(format!("[{section}] {key} {}", trouble.as_ref()));
        None
    }

    pub(super) fn take(&mut self, section: &'static str, key: &str) -> Option<Value> {
        self.knows(section, key);
        self.table.get_mut(section)?.as_table_mut()?.remove(key)
    }

    /// Whether the key is given. It stays where it is.
    pub(super) fn has(&mut self, section: &'static str, key: &str) -> bool {
        self.knows(section, key);
        self.table.get(section).and_then(|keys| keys.get(key)).is_some()
    }

    pub(super) fn knows(&mut self, section: &'static str, key: &str) {
        if !self.known.iter().any(|(of, known)| *of == section && known == key) {
            self.known.push((section, key.to_owned()));
        }
    }

    pub(super) fn text(
        &mut self,
        section: &'static str,
        key: &str,
        default: Option<&str>,
    ) -> Option<String> {
        match (self.take(section, key), default) {
            (Some(Value::String(text)), _) if !text.is_empty() => Some(text),
            (Some(Value::String(_)), _) => self.complain(section, key, "is empty"),
            (Some(other), _) => {
                let found = what_is(&other);
                self.complain(section, key, format!("is {found}, but a text is wanted"))
            }
            (None, Some(default)) => Some(default.to_owned()),
            (None, None) => self.complain(section, key, "is missing"),
        }
    }

    pub(super) fn location(&mut self, section: &'static str, key: &str) -> Option<Location> {
        let text = self.text(section, key, None)?;
        self.location_at(section, key, &text)
    }

    /// What a text names. In messages a relative path begins where the path of the job file does, so
    /// that it can be typed.
    pub(super) fn location_at(
        &mut self,
        section: &'static str,
        key: &str,
        text: &str,
    ) -> Option<Location> {
        let is_variable = |part: &str| {
            let name = part.strip_prefix('$').unwrap_or_default();
            name.starts_with(|letter: char| letter == '{' || letter.is_ascii_alphabetic())
        };
        let is_path = !text.contains("://");
        if is_path && (text.starts_with('~') || text.split('/').any(is_variable)) {
            let trouble =
                "= \"{text}\": ~ and variables are not filled in here; write the path out";
            return self.complain(section, key, trouble.replace("{text}", text));
        }
        match Location::parse_in(&self.stores, text, self.folder) {
            Ok(location) if text.contains("://") => Some(location),
            Ok(location) => Some(location.called(&self.typed.join(text).display().to_string())),
            Err(error) => self.complain(section, key, format!("= \"{text}\" {error:#}")),
        }
    }

    pub(super) fn optional_text(&mut self, section: &'static str, key: &str) -> Option<String> {
        self.has(section, key).then(|| self.text(section, key, None)).flatten()
    }

    pub(super) fn number(
        &mut self,
        section: &'static str,
        key: &str,
        default: i64,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<i64> {
        let wanted = format!("a whole number from {} to {} is wanted", range.start(), range.end());
        match self.take(section, key) {
            None => Some(default),
            Some(Value::Integer(number)) if range.contains(&number) => Some(number),
            Some(Value::Integer(number)) => {
                self.complain(section, key, format!("is {number}, but {wanted}"))
            }
            Some(other) => {
                let found = what_is(&other);
                self.complain(section, key, format!("is {found}, but {wanted}"))
            }
        }
    }

    pub(super) fn choice<T: Copy>(
        &mut self,
        at: (&'static str, &str),
        choices: &[(&str, T)],
    ) -> Option<T> {
        let (section, key) = at;
        let (default, _) = choices.first()?;
        let text = self.text(section, key, Some(default))?;
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
            return Some(*value);
        }
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let wanted = names.join(" or ");
        self.complain(section, key, format!("is \"{text}\", but {wanted} is wanted"))
    }

    /// True or false. False where it is left out.
    pub(super) fn flag(&mut self, section: &'static str, key: &str) -> Option<bool> {
        match self.take(section, key) {
            None => Some(false),
            Some(Value::Boolean(flag)) => Some(flag),
            Some(other) => {
                let found = what_is(&other);
                self.complain(section, key, format!("is {found}, but true or false is wanted"))
            }
        }
    }

    /// A list of texts. Empty where it is left out.
    pub(super) fn texts(&mut self, section: &'static str, key: &str) -> Option<Vec<String>> {
        let list = match self.take(section, key) {
            None => return Some(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(other) => {
                let found = what_is(&other);
                let trouble = format!("is {found}, but a list of texts is wanted");
                return self.complain(section, key, trouble);
            }
        };
        let mut texts = Vec::new();
        for (position, value) in list.iter().enumerate() {
            match value {
                Value::String(text) => texts.push(text.clone()),
                other => {
                    let name = format!("{key}, number {}", position + 1);
                    let trouble = format!("is {}, but a text is wanted", what_is(other));
                    self.complain::<()>(section, &name, trouble);
                }
            }
        }
        (texts.len() == list.len()).then_some(texts)
    }

    pub(super) fn zone(&mut self) -> Option<Tz> {
        let name = self.text("program", "time_zone", Some("UTC"))?;
        match name.parse() {
            Ok(zone) => Some(zone),
            Err(_) => self.complain(
                "program",
                "time_zone",
                format!("= \"{name}\" is no time zone of the IANA database"),
            ),
        }
    }

    pub(super) fn default_rate(&mut self) -> Option<i128> {
        let at = ("program", "default_rate");
        if let Some(Value::Float(_) | Value::Integer(_)) =
            self.table.get(at.0).and_then(|table| table.get(at.1))
        {
            self.take(at.0, at.1);
            return self.complain(
                at.0,
                at.1,
                "is a number, but a text such as \"0.03\" is wanted: money is no float",
            );
        }
        let text = self.text(at.0, at.1, None)?;
        match millionths(&text) {
            Some(rate) => Some(rate),
            None => self.complain(
                at.0,
                at.1,
                format!("is \"{text}\", but a rate from 0 to 1 with at most 6 decimals is wanted"),
            ),
        }
    }

    pub(super) fn formats(&mut self) -> Option<Vec<Regex>> {
        let at = ("links", "formats");
        let wanted = "a list of at least one regular expression is wanted";
        let list = match self.take(at.0, at.1) {
            Some(Value::Array(list)) if !list.is_empty() => list,
            Some(_) => return self.complain(at.0, at.1, format!("is no such list: {wanted}")),
            None => return self.complain(at.0, at.1, format!("is missing: {wanted}")),
        };
        let mut formats = Vec::new();
        for (position, value) in list.iter().enumerate() {
            let name = format!("formats, number {}", position + 1);
            match value.as_str().map(link_format) {
                Some(Ok(format)) => formats.push(format),
                Some(Err(trouble)) => {
                    self.complain::<()>(at.0, &name, trouble);
                }
                None => {
                    self.complain::<()>(at.0, &name, "is no text");
                }
            }
        }
        (formats.len() == list.len()).then_some(formats)
    }

    /// What was not asked for is unknown.
    pub(super) fn refuse_leftovers(&mut self) {
        let known = std::mem::take(&mut self.known);
        let mut sections: Vec<&str> = Vec::new();
        for (section, _) in &known {
            if !sections.contains(section) {
                sections.push(section);
            }
        }
        let keys_of = |section: &str| {
            let keys = known.iter().filter(|(of, _)| *of == section);
            keys.map(|(_, key)| key.as_str()).collect::<Vec<_>>()
        };
        let home = |key: &str| known.iter().find(|(_, known)| known == key).map(|(of, _)| *of);
        for (section, value) in std::mem::take(&mut self.table) {
            match value {
                Value::Table(keys) if sections.contains(&section.as_str()) => {
                    for key in keys.keys() {
                        let all = keys_of(&section);
                        let meant = match home(key) {
                            Some(home) if nearest(key, all.clone()).is_none() => {
                                format!(" here: its place is [{home}]")
                            }
                            _ => meant(key, all),
                        };
                        self.complaints.push(format!("[{section}] {key} is an unknown key{meant}"));
                    }
                }
                Value::Table(_) => {
                    let meant = match nearest(&section, sections.clone()) {
                        Some(name) => format!(": is [{name}] meant?"),
                        None => meant(&section, sections.clone()),
                    };
                    self.complaints.push(format!("[{section}] is an unknown section{meant}"));
                }
                _ if sections.contains(&section.as_str()) => {
                    self.complaints.push(format!("{section} is no section: write [{section}]"));
                }
                _ => {
                    let meant = match home(&section) {
                        Some(home) => format!(" outside of sections: its place is [{home}]"),
                        None => meant(&section, sections.clone()),
                    };
                    self.complaints.push(format!("{section} is an unknown key{meant}"));
                }
            }
        }
    }
}
