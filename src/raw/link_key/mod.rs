//! The promotion link that a URL names.

mod linear;

use std::iter;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, AsArray, StringViewArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result as EngineResult, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};
use regex::Regex;
use regex_automata::dfa::onepass;
use regex_automata::nfa::thompson::NFA;
use regex_automata::util::prefilter::Prefilter;
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{Anchored, Input, MatchKind, Span};
use regex_syntax::hir::Look;

use linear::LinearPattern;

/// The key of the promotion link that a URL names, as an expression on the column `url` (text in,
/// text out). See [`LinkFormats::keys`].
pub fn link_key(formats: &[Regex], url: Expr) -> Expr {
    let formats = formats.iter().map(|format| lit(format.as_str()));
    link_key_function().call(iter::once(url).chain(formats).collect())
}

/// `link_key(url, format, …)`. The formats are texts, so that the function has its name alone and can
/// run in any process.
pub fn link_key_function() -> ScalarUDF {
    ScalarUDF::from(LinkKey { signature: Signature::variadic_any(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct LinkKey {
    signature: Signature,
}

impl ScalarUDFImpl for LinkKey {
    fn name(&self) -> &str {
        "link_key"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> EngineResult<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let Some((ColumnarValue::Array(urls), formats)) = arguments.args.split_first() else {
            return exec_err!("link_key wants a column of URLs");
        };
        let mut texts = Vec::new();
        for format in formats {
            match format {
                ColumnarValue::Scalar(ScalarValue::Utf8(Some(text))) => texts.push(text.clone()),
                _ => return exec_err!("link_key wants formats that are texts"),
            }
        }
        let formats = compiled(texts)?;
        let urls = cast(urls, &DataType::Utf8View)?;
        Ok(ColumnarValue::Array(Arc::new(formats.keys(urls.as_string_view()))))
    }
}

/// The formats, compiled once for all batches of a job's URLs.
fn compiled(formats: Vec<String>) -> EngineResult<Arc<LinkFormats>> {
    static LAST: Mutex<Option<(Vec<String>, Arc<LinkFormats>)>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((known, compiled)) = last.as_ref()
        && *known == formats
    {
        return Ok(compiled.clone());
    }
    let parsed: Result<Vec<Regex>, _> = formats.iter().map(|format| Regex::new(format)).collect();
    let parsed = parsed.map_err(|error| DataFusionError::External(Box::new(error)))?;
    let compiled = Arc::new(LinkFormats::new(&parsed));
    *last = Some((formats, compiled.clone()));
    Ok(compiled)
}

/// A job's link formats, compiled for matching many URLs.
pub struct LinkFormats(Vec<Format>);

impl LinkFormats {
    pub fn new(formats: &[Regex]) -> LinkFormats {
        LinkFormats(formats.iter().map(Format::new).collect())
    }

    /// The link key of each URL: the first group of the first format that matches. It is empty when
    /// the group took no part in the match, and null when no format matches.
    pub fn keys(&self, urls: &StringViewArray) -> StringViewArray {
        let mut searches: Vec<Search> = self.0.iter().map(Search::new).collect();
        let mut keys = StringViewBuilder::with_capacity(urls.len());
        for url in urls {
            let key = url.and_then(|url| {
                searches.iter_mut().find_map(|search| {
                    let group = search.first_group(url)?;
                    Some(group.and_then(|(from, to)| url.get(from..to)).unwrap_or_default())
                })
            });
            keys.append_option(key);
        }
        keys.finish()
    }
}

/// A link format, compiled for matching many URLs.
struct Format {
    regex: Regex,
    /// For formats whose matches begin with one of a few texts and can be read in one pass. It is
    /// faster than a search for the match's end, start and groups one after the other.
    by_prefix: Option<ByPrefix>,
}

struct ByPrefix {
    prefix: Prefilter,
    /// Whether a match must begin at the start of the URL.
    is_at_start: bool,
    /// None where only the automaton can match the format.
    pattern: Option<LinearPattern>,
    matcher: onepass::DFA,
}

impl Format {
    fn new(regex: &Regex) -> Format {
        Format { regex: regex.clone(), by_prefix: ByPrefix::new(regex.as_str()) }
    }
}

impl ByPrefix {
    /// None for other formats.
    fn new(format: &str) -> Option<ByPrefix> {
        let parsed = regex_syntax::parse(format).ok()?;
        let looks = parsed.properties().look_set_prefix();
        let is_at_start = looks.contains(Look::Start);
        if looks.contains_anchor() && !is_at_start {
            return None;
        }
        let prefix = Prefilter::from_hir_prefix(MatchKind::LeftmostFirst, &parsed)?;
        let nfa = NFA::compiler().build_from_hir(&parsed).ok()?;
        let matcher = onepass::DFA::new_from_nfa(nfa).ok()?;
        Some(ByPrefix { prefix, is_at_start, pattern: LinearPattern::of(&parsed), matcher })
    }
}

/// A format, and working memory for it.
enum Search<'a> {
    ByPrefix(&'a ByPrefix, onepass::Cache, Vec<Option<NonMaxUsize>>),
    Plain(&'a Regex, regex::CaptureLocations),
}

impl Search<'_> {
    fn new(format: &Format) -> Search<'_> {
        match &format.by_prefix {
            Some(format) => {
                let groups = format.matcher.get_nfa().group_info().slot_len();
                Search::ByPrefix(format, format.matcher.create_cache(), vec![None; groups])
            }
            None => Search::Plain(&format.regex, format.regex.capture_locations()),
        }
    }

    /// The first group's byte range, if the group took part in the match. None without a match.
    fn first_group(&mut self, url: &str) -> Option<Option<(usize, usize)>> {
        match self {
            Search::Plain(regex, groups) => {
                regex.captures_read(groups, url)?;
                Some(groups.get(1))
            }
            Search::ByPrefix(format, cache, groups) => {
                let ByPrefix { prefix, is_at_start, pattern, matcher } = format;
                let mut from = 0;
                loop {
                    let rest = Span { start: from, end: url.len() };
                    let found = match is_at_start {
                        true if from > 0 => None,
                        true => prefix.prefix(url.as_bytes(), rest),
                        false => prefix.find(url.as_bytes(), rest),
                    };
                    from = found?.start;
                    let group = match pattern {
                        Some(pattern) => pattern.first_group(url.as_bytes(), from).map(Some),
                        None => {
                            let at = Input::new(url).range(from..).anchored(Anchored::Yes);
                            let is_match = matcher.try_search_slots(cache, &at, groups);
                            let edge = |slot: usize| groups.get(slot).copied().flatten();
                            let group = || edge(2).zip(edge(3)).map(|(a, b)| (a.get(), b.get()));
                            matches!(is_match, Ok(Some(_))).then(group)
                        }
                    };
                    if group.is_some() {
                        return group;
                    }
                    from += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    #[test]
    fn the_first_format_that_matches_decides() {
        let formats = [r"^https://go/(?P<key>\w+)(/\w)?", r"[?&]aff=(x)?(y)?"];
        let formats = formats.map(|format| Regex::new(format).unwrap());
        let urls = StringViewArray::from(vec![
            Some("https://go/acorn/b?aff=x"),
            Some("https://shop/?aff=x"),
            Some("https://shop/?aff=y"),
            Some("https://shop/"),
            None,
        ]);
        let expected = vec![Some("acorn"), Some("x"), Some(""), None, None];
        assert_eq!(LinkFormats::new(&formats).keys(&urls), StringViewArray::from(expected));
    }

    #[test]
    fn a_format_found_by_its_prefix_finds_what_the_format_finds() {
        let formats = [
            r"[?&]aff=[0-9a-f]{3}-([0-9A-Za-z]+)(?:&|#|$)",
            r"aff=(a+)b",
            r"(?:key|k)=([^&]*)",
            r"ö=(\w)",
            r"^(?:key|k)=([^&]*)",
            r"^\?a(f+)=([0-9a-f]{3})",
        ];
        let words =
            ["?aff=", "&aff=", "aff=", "0af", "-", "A", "aaab", "&", "#", "key=", "ö", "k="];
        for format in formats {
            let plain = Regex::new(format).unwrap();
            let format = Format::new(&plain);
            assert!(format.by_prefix.is_some(), "{plain}");
            let mut search = Search::new(&format);
            for number in 0..words.len().pow(4) {
                let word = |position: u32| words[number / words.len().pow(position) % words.len()];
                let url: String = (0..4).map(word).collect();
                let expected = plain.captures(&url).map(|groups| groups.get(1).map(|g| g.range()));
                let found = search.first_group(&url).map(|group| group.map(|(a, b)| a..b));
                assert_eq!(found, expected, "{plain} in {url}");
            }
        }
    }
}
