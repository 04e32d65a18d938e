//! How the folders of a log are named by landing date and hour (section 3.1 of the rules: layout).

use std::fmt::Write;

use chrono::{Datelike, NaiveDate};

/// The layout of a log that names none.
pub const DEFAULT: &str = "dt=%Y-%m-%d";

/// Folder names below a log's location, from the outermost: literals and parts of a UTC time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    text: String,
    folders: Vec<Vec<Token>>,
    /// The folders down to this one name the date.
    date_depth: usize,
    has_hours: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(String),
    Year,
    Month,
    Day,
    Hour,
}

/// What some folder names say, from the outermost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Named {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    pub hour: Option<u32>,
}

impl Named {
    /// None while a part is not named yet, or where there is no such day.
    pub fn date(self) -> Option<NaiveDate> {
        NaiveDate::from_ymd_opt(self.year?, self.month?, self.day?)
    }

    /// Whether it may still name a date within the range, ends included.
    pub fn may_be_within(self, from: Option<NaiveDate>, to: Option<NaiveDate>) -> bool {
        let Some(year) = self.year else { return true };
        let first = NaiveDate::from_ymd_opt(year, self.month.unwrap_or(1), self.day.unwrap_or(1));
        let last = match (self.month, self.day) {
            (Some(month), None) if month < 12 => {
                NaiveDate::from_ymd_opt(year, month + 1, 1).and_then(|next| next.pred_opt())
            }
            (month, day) => NaiveDate::from_ymd_opt(year, month.unwrap_or(12), day.unwrap_or(31)),
        };
        let is_before = from.zip(last).is_some_and(|(from, last)| last < from);
        let is_after = to.zip(first).is_some_and(|(to, first)| first > to);
        !is_before && !is_after
    }
}

impl Default for Layout {
    fn default() -> Layout {
        use Token::{Day, Literal, Month, Year};
        let dash = || Literal("-".to_owned());
        let folder = vec![Literal("dt=".to_owned()), Year, dash(), Month, dash(), Day];
        Layout { text: DEFAULT.to_owned(), folders: vec![folder], date_depth: 1, has_hours: false }
    }
}

impl Layout {
    /// Errors: what is wrong with the text.
    pub fn parse(text: &str) -> Result<Layout, String> {
        let mut folders = Vec::new();
        let (mut seen, mut date_depth) = (Vec::new(), 0);
        let names: Vec<&str> = text.trim_matches('/').split('/').collect();
        for (depth, name) in names.iter().enumerate() {
            if name.is_empty() || [".", ".."].contains(name) {
                return Err("has a folder without a name".to_owned());
            }
            let tokens = tokens(name)?;
            for token in tokens.iter().filter(|token| !matches!(token, Token::Literal(_))) {
                if seen.contains(token) {
                    return Err("names a part of the time twice".to_owned());
                }
                match token {
                    Token::Hour if depth + 1 < names.len() => {
                        return Err("has %H in a folder that is not the last".to_owned());
                    }
                    Token::Hour => {}
                    _ => date_depth = depth + 1,
                }
                seen.push(token.clone());
            }
            folders.push(tokens);
        }
        if ![Token::Year, Token::Month, Token::Day].iter().all(|token| seen.contains(token)) {
            return Err("names no whole date: %Y, %m and %d are wanted".to_owned());
        }
        let has_hours = seen.contains(&Token::Hour);
        Ok(Layout { text: text.to_owned(), folders, date_depth, has_hours })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn has_hours(&self) -> bool {
        self.has_hours
    }

    /// How many folders lie above the files.
    pub fn depth(&self) -> usize {
        self.folders.len()
    }

    /// How many folders name the date.
    pub fn date_depth(&self) -> usize {
        self.date_depth
    }

    /// Reads the name of the folder at this depth. None where the layout has no such name.
    pub fn read(&self, depth: usize, name: &str, named: Named) -> Option<Named> {
        let (mut named, mut rest) = (named, name);
        for token in self.folders.get(depth)? {
            let digits = match token {
                Token::Literal(literal) => {
                    rest = rest.strip_prefix(literal.as_str())?;
                    continue;
                }
                Token::Year => 4,
                _ => 2,
            };
            let (number, after) = rest.split_at_checked(digits)?;
            if !number.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            rest = after;
            let number: u32 = number.parse().ok()?;
            match token {
                Token::Year => named.year = i32::try_from(number).ok(),
                Token::Month => named.month = Some(number).filter(|month| (1..=12).contains(month)),
                Token::Day => named.day = Some(number).filter(|day| (1..=31).contains(day)),
                _ => named.hour = Some(number).filter(|hour| *hour < 24),
            }
            match token {
                Token::Year => named.year?.unsigned_abs(),
                Token::Month => named.month?,
                Token::Day => named.day?,
                _ => named.hour?,
            };
        }
        // A whole date has to be one.
        let is_date = depth + 1 < self.date_depth || named.date().is_some();
        (rest.is_empty() && is_date).then_some(named)
    }

    /// Whether a folder at this depth looks as if it named a date or hour in another spelling.
    pub fn is_alike(&self, depth: usize, name: &str) -> bool {
        if name == "__HIVE_DEFAULT_PARTITION__" {
            return true;
        }
        let Some(tokens) = self.folders.get(depth) else { return false };
        let some_day = Named { year: Some(2000), month: Some(1), day: Some(1), hour: None };
        if name.starts_with(['_', '.']) || self.read(depth, name, some_day).is_some() {
            return false;
        }
        let value = name.rsplit_once('=').map_or(name, |(_, value)| value);
        if value == "__HIVE_DEFAULT_PARTITION__" {
            return true;
        }
        let is_hour = tokens.contains(&Token::Hour);
        let has_date = !is_hour || tokens.contains(&Token::Day);
        let digits = value.bytes().filter(u8::is_ascii_digit).count();
        let is_plain = |text: &str| {
            text.bytes().all(|byte| byte.is_ascii_digit() || b"-_.:T %ZA+/".contains(&byte))
        };
        let begins_as_year = value.get(..2).is_some_and(|first| ["19", "20"].contains(&first));
        match has_date {
            true if tokens.contains(&Token::Year) => {
                is_plain(value.trim()) && begins_as_year && digits >= 4
            }
            _ => is_plain(value.trim()) && (1..=2).contains(&digits),
        }
    }

    /// The folder of a date, and of its last hour where there are hours: for messages, and as the
    /// name below which a store lists the date.
    pub fn folder_of(&self, date: NaiveDate, hour: Option<u32>) -> String {
        let depth = if hour.is_some() { self.depth() } else { self.depth().min(self.date_depth) };
        let mut path = String::new();
        for tokens in &self.folders[..depth] {
            if !path.is_empty() {
                path.push('/');
            }
            for token in tokens {
                let _ = match token {
                    Token::Literal(literal) => write!(path, "{literal}"),
                    Token::Year => write!(path, "{:04}", date.year()),
                    Token::Month => write!(path, "{:02}", date.month()),
                    Token::Day => write!(path, "{:02}", date.day()),
                    Token::Hour => match hour {
                        Some(hour) => write!(path, "{hour:02}"),
                        None => break,
                    },
                };
            }
        }
        path
    }

    /// A name before which a store lists no folder of this date or of a later one. None where folders
    /// are not named in the order of their dates.
    pub fn first_name(&self, date: NaiveDate) -> Option<String> {
        let tokens = self.folders.iter().flatten();
        let parts: Vec<&Token> =
            tokens.filter(|token| !matches!(token, Token::Literal(_))).collect();
        let is_in_order = matches!(parts.as_slice(), [Token::Year, Token::Month, Token::Day, ..]);
        is_in_order.then(|| self.folder_of(date, None))
    }

    /// The literal beginning of the outermost folder's name.
    pub fn literal_start(&self) -> &str {
        match self.folders.first().and_then(|tokens| tokens.first()) {
            Some(Token::Literal(literal)) => literal,
            _ => "",
        }
    }

    /// What the partition values of a table's file say: they are looked for by the names of the
    /// layout's folders (`dt=`). None where one is missing or is no part of a date.
    pub fn read_partition<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> Option<Named> {
        let mut named = Named::default();
        for (depth, tokens) in self.folders.iter().enumerate() {
            let Some(Token::Literal(first)) = tokens.first() else { return None };
            let (column, _) = first.split_once('=')?;
            let value = value(column)?;
            let padded = match value.len() {
                1 => format!("0{value}"),
                // A time at midnight is stored by some writers.
                _ => value.split(['T', ' ']).next().unwrap_or(value).to_owned(),
            };
            named = self.read(depth, &format!("{column}={padded}"), named)?;
        }
        named.date().map(|_| named)
    }

    /// The names of the columns that the layout's folders stand for in a partitioned table.
    pub fn partition_columns(&self) -> Vec<&str> {
        let first = self.folders.iter().filter_map(|tokens| match tokens.first() {
            Some(Token::Literal(literal)) => literal.split_once('=').map(|(column, _)| column),
            _ => None,
        });
        first.collect()
    }
}

fn tokens(name: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut literal = String::new();
    let mut letters = name.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            literal.push(letter);
            continue;
        }
        let token = match letters.next() {
            Some('Y') => Token::Year,
            Some('m') => Token::Month,
            Some('d') => Token::Day,
            Some('H') => Token::Hour,
            Some(other) => return Err(format!("has %{other}; known are %Y, %m, %d and %H")),
            None => return Err("ends in a %; known are %Y, %m, %d and %H".to_owned()),
        };
        if !literal.is_empty() {
            tokens.push(Token::Literal(std::mem::take(&mut literal)));
        }
        tokens.push(token);
    }
    if !literal.is_empty() {
        tokens.push(Token::Literal(literal));
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    fn read(layout: &str, path: &str) -> Option<Named> {
        let layout = Layout::parse(layout).unwrap();
        let mut names = path.split('/').enumerate();
        names.try_fold(Named::default(), |named, (depth, name)| layout.read(depth, name, named))
    }

    #[test]
    fn folders_name_dates_and_hours() {
        let day = NaiveDate::from_ymd_opt(2026, 4, 2);
        for (layout, path, hour) in [
            ("dt=%Y-%m-%d", "dt=2026-04-02", None),
            ("%Y/%m/%d/%H", "2026/04/02/05", Some(5)),
            ("year=%Y/month=%m/day=%d/hour=%H", "year=2026/month=04/day=02/hour=23", Some(23)),
            ("%Y%m%d", "20260402", None),
            ("day=%d.%m.%Y/files", "day=02.04.2026/files", None),
            ("%Y-%m-%d-%H", "2026-04-02-00", Some(0)),
        ] {
            let named = read(layout, path).unwrap();
            assert_eq!((named.date(), named.hour), (day, hour), "{layout}");
            let layout = Layout::parse(layout).unwrap();
            let folder = layout.folder_of(day.unwrap(), hour);
            assert!(path.starts_with(&folder) && !folder.is_empty(), "{folder}");
        }
        for (layout, path) in [
            ("dt=%Y-%m-%d", "dt=2026-4-2"),
            ("dt=%Y-%m-%d", "dt=2026-04-31"),
            ("dt=%Y-%m-%d", "dt=2026-04-02 "),
            ("dt=%Y-%m-%d", "DT=2026-04-02"),
            ("%Y/%m/%d/%H", "2026/04/02/24"),
            ("%Y/%m/%d", "2026/13/01"),
        ] {
            assert_eq!(read(layout, path), None, "{path}");
        }
    }

    #[test]
    fn other_spellings_of_a_date_are_seen() {
        let layout = Layout::default();
        for name in
            ["dt=2026-4-1", "dt=20260401", "DT=2026-04-01", "date=2026-04-01", "2026-04-01", "2026"]
        {
            assert!(layout.is_alike(0, name), "{name}");
        }
        for name in ["dt=2026-04-01", "_delta_log", "archive", "v2", "dt=", "country=DE"] {
            assert!(!layout.is_alike(0, name), "{name}");
        }
        let hourly = Layout::parse("%Y/%m/%d/%H").unwrap();
        assert!(hourly.is_alike(3, "7") && hourly.is_alike(3, "hour=07"));
        assert!(!hourly.is_alike(3, "07") && !hourly.is_alike(3, "tmp"));
    }

    #[test]
    fn layouts_that_name_no_date_are_refused() {
        for (layout, trouble) in [
            ("dt=%Y-%m", "names no whole date: %Y, %m and %d are wanted"),
            ("%H/%Y/%m/%d", "has %H in a folder that is not the last"),
            ("%Y/%m/%d/%M", "has %M; known are %Y, %m, %d and %H"),
            ("%Y/%Y/%m/%d", "names a part of the time twice"),
            ("%Y//%m/%d", "has a folder without a name"),
        ] {
            assert_eq!(Layout::parse(layout).unwrap_err(), trouble);
        }
    }

    #[test]
    fn folders_outside_a_range_are_not_walked() {
        let date = |text: &str| text.parse::<NaiveDate>().unwrap();
        let named = |year, month| Named { year: Some(year), month, ..Named::default() };
        let (from, to) = (Some(date("2026-03-30")), Some(date("2026-04-02")));
        assert!(named(2026, Some(3)).may_be_within(from, to));
        assert!(named(2026, None).may_be_within(from, to));
        assert!(!named(2026, Some(2)).may_be_within(from, to));
        assert!(!named(2026, Some(5)).may_be_within(from, to));
        assert!(!named(2025, Some(12)).may_be_within(from, to));
    }
}
