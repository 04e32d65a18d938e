//! The columns of a reference file by name: which ones are missing, and what looks like them (B3).

use std::collections::BTreeMap;

use super::Presence::{self, Required};
use crate::nearest::bare;

/// The columns that a table is made of.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub columns: &'a [(&'static str, Presence)],
    /// Our names, each with the file's own.
    pub theirs: &'a BTreeMap<String, String>,
}

/// What a file's column names are good for.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Without the file's name.
    pub complaints: Vec<String>,
    /// Columns that may be missing here, but not in all files of a table: as a complaint each.
    pub missing: Vec<String>,
}

impl Wanted<'_> {
    /// The name that a file has for a column of ours.
    pub fn name_of<'b>(&'b self, ours: &'b str) -> &'b str {
        self.theirs.get(ours).map_or(ours, String::as_str)
    }

    /// How many of the columns are among these names, or look like one of them.
    pub fn count_in(&self, names: &[&str]) -> usize {
        let is_found = |ours: &str| {
            let theirs = self.name_of(ours);
            names.iter().any(|name| *name == theirs || is_alike(name, theirs))
        };
        self.columns.iter().filter(|(ours, _)| is_found(ours)).count()
    }

    /// `names` are all columns of a file. `steps_to` says whether a name leads to one by dots.
    /// `may_lack` is for files of a table that says itself which columns there are.
    pub fn judge(
        &self,
        names: &[&str],
        steps_to: impl Fn(&str) -> bool,
        may_lack: bool,
        remedy: Remedy,
    ) -> Verdict {
        let mut verdict = Verdict::default();
        for (ours, presence) in self.columns {
            let theirs = self.name_of(ours);
            let is_mapped = self.theirs.contains_key(*ours);
            match names.iter().filter(|name| **name == theirs).count() {
                1 => continue,
                0 if is_mapped && steps_to(theirs) => continue,
                0 => {}
                count => {
                    verdict.complaints.push(format!("has {count} columns {theirs}"));
                    continue;
                }
            }
            let complaint = self.missing(ours, names, remedy);
            match complaint {
                Some(complaint) if may_lack => verdict.missing.push(complaint),
                Some(complaint) if !is_mapped || *presence == Required => {
                    verdict.complaints.push(complaint);
                }
                Some(complaint) => verdict.missing.push(complaint),
                None => {}
            }
        }
        verdict
    }

    /// What is to say about a column that is not there. None where it need not be.
    fn missing(&self, ours: &str, names: &[&str], remedy: Remedy) -> Option<String> {
        let theirs = self.name_of(ours);
        let alike: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| is_alike(name, theirs) && !self.uses(name))
            .collect();
        let is_mapped = self.theirs.contains_key(ours);
        let shown: Vec<String> = alike.iter().map(|name| shown(name)).collect();
        match shown.as_slice() {
            [] if is_mapped => Some(format!("has no column {theirs} (columns.{ours})")),
            [] => {
                let is_required =
                    |(name, presence): &(&str, Presence)| *name == ours && *presence == Required;
                self.columns.iter().any(is_required).then(|| format!("has no column {ours}"))
            }
            [one] => Some(format!(
                "has no column {theirs}; {one} looks like it: {}",
                remedy.text(theirs, is_mapped)
            )),
            several => Some(format!(
                "has no column {theirs}; {} look like it: {}",
                several.join(" and "),
                remedy.text(theirs, is_mapped)
            )),
        }
    }

    /// Whether a name of the file stands for one of our columns already.
    fn uses(&self, name: &str) -> bool {
        self.columns.iter().any(|(ours, _)| self.name_of(ours) == name)
    }
}

/// What to do about a column that is written otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    OfFile,
    OfView,
}

impl Remedy {
    fn text(self, name: &str, is_mapped: bool) -> String {
        match (self, is_mapped) {
            (Remedy::OfView, _) => format!("write as {name}"),
            (Remedy::OfFile, true) => "columns takes names as the file writes them".to_owned(),
            (Remedy::OfFile, false) => format!("write {name}, or map it with columns"),
        }
    }
}

/// A name for a message: what cannot be seen, and outer blanks, are spelt out.
fn shown(name: &str) -> String {
    match name.trim().len() == name.len() && !name.chars().any(is_invisible) {
        true => name.to_owned(),
        false => format!("{name:?}"),
    }
}

/// Whether two names differ in case, blanks, underscores, hyphens or the like only.
fn is_alike(one: &str, other: &str) -> bool {
    bare(one) == bare(other)
}

/// Characters of no width, and control characters.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::super::Presence::Optional;
    use super::*;

    #[test]
    fn names_that_look_alike_are_told() {
        let columns = [("link_key", Required), ("tracking_id", Optional), ("valid_to", Optional)];
        let theirs = BTreeMap::from([("valid_to".to_owned(), "end".to_owned())]);
        let wanted = Wanted { columns: &columns, theirs: &theirs };
        let judge = |names: &[&str]| wanted.judge(names, |_| false, false, Remedy::OfFile);
        for found in ["Link_Key", "link key", "linkKey", "LINK-KEY", "link_key\u{200b}"] {
            let verdict = judge(&[found, "TrackingID", "end"]);
            assert_eq!(verdict.complaints.len(), 2, "{found}: {verdict:?}");
            assert!(verdict.complaints[0].contains("looks like it"), "{verdict:?}");
        }
        assert_eq!(judge(&["key", "track"]).complaints, ["has no column link_key"]);
        assert_eq!(judge(&["link_key"]).missing, ["has no column end (columns.valid_to)"]);
        assert_eq!(
            judge(&["link_key", "End"]).missing,
            ["has no column end; End looks like it: columns takes names as the file writes them"]
        );
        assert_eq!(judge(&["link_key", "link_key", "end"]).complaints, ["has 2 columns link_key"]);
        assert_eq!(wanted.count_in(&["Link Key", "end", "x"]), 2);
    }
}
