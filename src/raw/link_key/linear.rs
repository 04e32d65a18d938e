//! Link formats that are a sequence of texts and runs of characters. Nearly all formats are.

use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// A format as steps, each of which starts where the one before ended. It is faster than an
/// automaton, which looks up its state for each character. It is correct only for formats for which
/// a one-pass automaton can be built: they leave no choice, so each step takes as much as it can.
#[derive(Debug)]
pub(super) struct LinearPattern {
    steps: Vec<Step>,
    /// The first step of the first group, and the step after it.
    group: (usize, usize),
}

#[derive(Debug)]
enum Step {
    Text(Vec<u8>),
    /// From `least` to `most` characters of a set.
    Run {
        of: Box<Set>,
        least: usize,
        most: usize,
    },
    /// The end, or one of these characters.
    EndOr(Box<Set>),
}

/// For each byte, whether it is in the set.
type Set = [bool; 256];

impl LinearPattern {
    /// None for other formats: with choices, lazy runs, or characters that are not ASCII.
    pub(super) fn of(format: &Hir) -> Option<LinearPattern> {
        let mut found = Found::default();
        found.add(format)?;
        let (begin, end) = found.group?;
        Some(LinearPattern { steps: found.steps, group: (begin, end?) })
    }

    /// The first group's byte range in a match that begins at `from`. None without a match.
    pub(super) fn first_group(&self, url: &[u8], from: usize) -> Option<(usize, usize)> {
        let mut at = from;
        let mut group = (from, from);
        for (number, step) in self.steps.iter().enumerate() {
            if number == self.group.0 {
                group.0 = at;
            }
            if number == self.group.1 {
                group.1 = at;
            }
            let rest = url.get(at..)?;
            at += match step {
                Step::Text(text) => rest.starts_with(text).then_some(text.len())?,
                Step::Run { of, least, most } => {
                    let run = rest.iter().take(*most).take_while(|byte| of[usize::from(**byte)]);
                    Some(run.count()).filter(|length| length >= least)?
                }
                Step::EndOr(of) => {
                    let is_right = rest.first().is_none_or(|byte| of[usize::from(*byte)]);
                    is_right.then_some(0)?
                }
            };
        }
        if self.group.1 == self.steps.len() {
            group.1 = at;
        }
        Some(group)
    }
}

#[derive(Default)]
struct Found {
    steps: Vec<Step>,
    /// The step at which the first group begins, and the one at which it ends, once known.
    group: Option<(usize, Option<usize>)>,
    has_ended: bool,
}

impl Found {
    fn add(&mut self, part: &Hir) -> Option<()> {
        if self.has_ended {
            return None;
        }
        match part.kind() {
            HirKind::Empty => {}
            // The caller then begins at the start of the URL.
            HirKind::Look(Look::Start) if self.steps.is_empty() && self.group.is_none() => {}
            HirKind::Look(Look::End) => self.end(Box::new([false; 256])),
            HirKind::Alternation(ways) => match ways.split_last() {
                Some((end, others)) if matches!(end.kind(), HirKind::Look(Look::End)) => {
                    let mut of = Box::new([false; 256]);
                    others.iter().try_for_each(|other| add_to(&mut of, other))?;
                    self.end(of);
                }
                _ => return None,
            },
            HirKind::Literal(text) => self.steps.push(Step::Text(text.0.to_vec())),
            HirKind::Class(_) => self.steps.push(Step::Run { of: set(part)?, least: 1, most: 1 }),
            HirKind::Repetition(run) if run.greedy => {
                let most = run.max.map_or(usize::MAX, |most| most as usize);
                let least = run.min as usize;
                self.steps.push(Step::Run { of: set(&run.sub)?, least, most });
            }
            HirKind::Capture(group) => {
                let begin = self.steps.len();
                self.add(&group.sub)?;
                if group.index == 1 {
                    self.group = Some((begin, Some(self.steps.len())));
                }
            }
            HirKind::Concat(parts) => parts.iter().try_for_each(|part| self.add(part))?,
            _ => return None,
        }
        Some(())
    }

    fn end(&mut self, of: Box<Set>) {
        self.steps.push(Step::EndOr(of));
        self.has_ended = true;
    }
}

/// The ASCII characters that a part matches.
fn set(part: &Hir) -> Option<Box<Set>> {
    let mut set = Box::new([false; 256]);
    add_to(&mut set, part)?;
    Some(set)
}

fn add_to(set: &mut Set, part: &Hir) -> Option<()> {
    let mut add = |first: u32, last: u32| -> Option<()> {
        let last = u8::try_from(last).ok().filter(u8::is_ascii)?;
        let first = u8::try_from(first).ok()?;
        (first..=last).for_each(|byte| set[usize::from(byte)] = true);
        Some(())
    };
    match part.kind() {
        HirKind::Literal(text) => match text.0.as_ref() {
            [byte] => add(u32::from(*byte), u32::from(*byte)),
            _ => None,
        },
        HirKind::Class(Class::Unicode(class)) => {
            class.iter().try_for_each(|range| add(range.start().into(), range.end().into()))
        }
        HirKind::Class(Class::Bytes(class)) => {
            class.iter().try_for_each(|range| add(range.start().into(), range.end().into()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use rand::{Rng, SeedableRng};
    use rand_pcg::Pcg64;
    use regex::Regex;

    use super::*;

    fn steps(format: &str) -> Option<LinearPattern> {
        LinearPattern::of(&regex_syntax::parse(format).unwrap())
    }

    #[test]
    fn finds_what_the_regular_expression_finds() {
        // Each with a text that a match may begin with.
        let formats = [
            (r"https?://s\.click\.example/e/([0-9A-Za-z_-]+)", "https://s.click.example/e/"),
            (r"[?&]aff=[0-9a-f]{3}-[0-9]{2,4}-(_?[0-9A-Za-z]+)(?:&|#|$)", "?aff=0af-12-"),
            (r"k=(ab?)c*$", "k="),
            (r"/(?:go)/([a-c]{2})/", "/go/a"),
            (r"a(b*)", "a"),
        ];
        let pieces = [
            "http",
            "s",
            "://s.click.example/e/",
            "?",
            "&",
            "aff=",
            "0af",
            "-",
            "12",
            "_",
            "aZ9",
            "#",
            "k=",
            "a",
            "b",
            "c",
            "/go/",
            "/",
            "é",
            "\n",
        ];
        let mut dice = Pcg64::seed_from_u64(1);
        for (format, begin) in formats {
            let steps = steps(format).unwrap();
            let regex = Regex::new(&format!("^(?:{format})")).unwrap();
            let mut found = 0;
            for _ in 0..20_000 {
                let mut url = if dice.random_bool(0.8) { begin.to_owned() } else { String::new() };
                for _ in 0..dice.random_range(0..6) {
                    url.push_str(pieces[dice.random_range(0..pieces.len())]);
                }
                let expected = regex.captures(&url).map(|groups| groups.get(1).unwrap().range());
                let group = steps.first_group(url.as_bytes(), 0).map(|(begin, end)| begin..end);
                assert_eq!(group, expected, "{format} in {url:?}");
                found += usize::from(group.is_some());
            }
            assert!(found > 100, "{format}: {found}");
        }
    }

    #[test]
    fn other_formats_are_left_alone() {
        for format in [
            r"(\w+)",
            r"(a+?)b",
            r"(ab)?c",
            r"(?:ab|c)(d)",
            r"a",
            r"[^/](a)",
            r"(a)\b",
            r"$(a)",
            r"(?i)é(a)",
            r"a^(b)",
        ] {
            assert!(steps(format).is_none(), "{format}");
        }
    }
}
