//! Complaints about one reference file. Of each kind the first ones are shown and the others
//! counted, because a column in the wrong shape is wrong in each row.

/// As many of a kind are shown.
const SHOWN: usize = 10;

pub struct Complaints {
    file: String,
    kinds: Vec<Kind>,
}

struct Kind {
    name: String,
    shown: Vec<String>,
    others: u64,
}

impl Complaints {
    pub fn about(file: &str) -> Complaints {
        Complaints { file: file.to_owned(), kinds: Vec::new() }
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

    /// One text each, with the file's name.
    pub fn texts(self) -> impl Iterator<Item = String> {
        let file = self.file;
        self.kinds.into_iter().flat_map(move |kind| {
            let others = (kind.others > 0).then(|| format!("{} more: {}", kind.others, kind.name));
            let texts = kind.shown.into_iter().chain(others);
            texts.map(|text| format!("{file}: {text}")).collect::<Vec<_>>()
        })
    }
}
