//! Complaints about one reference table. Of each kind the first ones are shown and the others
//! counted, because a column in the wrong shape is wrong in each row.

/// As many of a kind are shown.
const SHOWN: usize = 10;

#[derive(Debug)]
pub struct Complaints {
    /// The table's location.
    table: String,
    files: Vec<OfFile>,
    kinds: Vec<Kind>,
}

/// What is wrong with files as a whole.
#[derive(Debug)]
struct OfFile {
    trouble: String,
    /// The first file with this trouble. None where the table is one file.
    first: Option<String>,
    others: u64,
}

#[derive(Debug)]
struct Kind {
    name: String,
    shown: Vec<String>,
    others: u64,
}

impl Complaints {
    pub fn about(table: &str) -> Complaints {
        Complaints { table: table.to_owned(), files: Vec::new(), kinds: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.kinds.is_empty()
    }

    /// Adds what is wrong with a file of the table as a whole. The same of several files is one
    /// complaint.
    pub fn add_of_file(&mut self, file: Option<&str>, trouble: String) {
        match self.files.iter_mut().find(|known| known.trouble == trouble) {
            Some(known) => known.others += 1,
            None => {
                self.files.push(OfFile { trouble, first: file.map(str::to_owned), others: 0 });
            }
        }
    }

    /// Adds a complaint. `kind` says what alike ones have in common. `text` does not name the file.
    pub fn add(&mut self, kind: &str, text: impl FnOnce() -> String) {
        let position = self.kinds.iter().position(|known| known.name == kind);
        let position = position.unwrap_or_else(|| {
            self.kinds.push(Kind { name: kind.to_owned(), shown: Vec::new(), others: 0 });
            self.kinds.len() - 1
        });
        let kind = &mut self.kinds[position];
        match kind.shown.len() < SHOWN {
            true => kind.shown.push(text()),
            false => kind.others += 1,
        }
    }

    /// One text each, with the table's location.
    pub fn texts(self) -> impl Iterator<Item = String> {
        let table = self.table;
        let of_files =
            self.files.into_iter().map(|OfFile { trouble, first, others }| match (first, others) {
                (None, _) => trouble,
                (Some(file), 0) => format!("{file}: {trouble}"),
                (Some(file), 1) => format!("{file} and 1 other file: {trouble}"),
                (Some(file), others) => format!("{file} and {others} other files: {trouble}"),
            });
        let of_rows = self.kinds.into_iter().flat_map(|kind| {
            let others = (kind.others > 0).then(|| format!("{} more: {}", kind.others, kind.name));
            kind.shown.into_iter().chain(others)
        });
        of_files.chain(of_rows).map(move |text| format!("{table}: {text}"))
    }
}
