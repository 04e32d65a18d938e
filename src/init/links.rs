//! Which promotion links the URLs of a click log may hold, guessed from some of them.

use std::collections::BTreeMap;

use regex::Regex;
use url::Url;

/// Names of URL parameters that often hold the key of a promotion link, the likeliest first.
const PARAMETERS: [&str; 27] = [
    "aff",
    "aff_id",
    "affid",
    "affiliate",
    "affiliate_id",
    "affiliateid",
    "aff_link",
    "link_id",
    "linkid",
    "partner",
    "partner_id",
    "partnerid",
    "publisher",
    "publisher_id",
    "pubid",
    "pid",
    "clickref",
    "subid",
    "tag",
    "ref",
    "ref_id",
    "referral",
    "referrer",
    "promo",
    "campaign_id",
    "campaign",
    "utm_campaign",
];

/// AliExpress' promotion links: short ones, and the pages that they lead to.
pub const ALIEXPRESS: [&str; 2] = [
    r"^https?://s\.click\.aliexpress\.com/e/([0-9A-Za-z_-]+)",
    "[?&]aff_fcid=[0-9a-f]{32}-[0-9]{13}-[0-9]{5}-(_?[0-9A-Za-z]+)(?:&|#|$)",
];

/// A format of promotion links, and how many of the URLs match it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    pub text: String,
    pub matches: usize,
}

/// Formats that some of the URLs match, the commonest first, and the names of the other parameters
/// that many of them have, each with a count.
pub fn guess(urls: &[String]) -> (Vec<Format>, Vec<(String, usize)>) {
    let mut formats: Vec<Format> = Vec::new();
    for text in ALIEXPRESS {
        let matches = Regex::new(text)
            .map_or(0, |format| urls.iter().filter(|url| format.is_match(url)).count());
        if matches > 0 {
            formats.push(Format { text: text.to_owned(), matches });
        }
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for url in urls {
        // A URL without a host is read as one of some host.
        let parsed = Url::parse(url).or_else(|_| Url::parse(&format!("https://host/{url}")));
        let names = parsed.iter().flat_map(|url| url.query_pairs()).map(|(name, _)| name);
        let mut names: Vec<String> = names.map(|name| name.into_owned()).collect();
        names.sort();
        names.dedup();
        for name in names {
            *counts.entry(name).or_default() += 1;
        }
    }
    let likely = PARAMETERS.iter().filter_map(|name| Some((*name, *counts.get(*name)?)));
    // The likeliest of them, if it is not rare, and others only if they are common, too.
    for (name, matches) in likely {
        if matches * 100 >= urls.len() && formats.is_empty() {
            formats.push(Format { text: format!("[?&]{name}=([^&#]+)"), matches });
        }
    }
    formats.sort_by_key(|format| std::cmp::Reverse(format.matches));
    let is_taken = |name: &str| {
        let named = format!("]{name}=");
        formats.iter().any(|format| format.text.contains(&named))
    };
    let mut others: Vec<(String, usize)> = counts
        .into_iter()
        .filter(|(name, count)| count * 50 >= urls.len() && !is_taken(name))
        .collect();
    others.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    others.truncate(6);
    (formats, others)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_known_parameter_is_taken_for_the_key() {
        let (formats, others) = guess(&urls(&[
            "https://shop.example/p/1?aff=acorn&utm_source=x",
            "https://shop.example/p/2?utm_source=y&aff=birch",
            "/p/3?utm_source=z",
        ]));
        assert_eq!(formats, [Format { text: "[?&]aff=([^&#]+)".to_owned(), matches: 2 }]);
        assert_eq!(others, [("utm_source".to_owned(), 3)]);
    }

    #[test]
    fn links_of_aliexpress_are_known() {
        let (formats, _) = guess(&urls(&["https://s.click.aliexpress.com/e/_abc"]));
        assert_eq!(formats.len(), 1);
        assert_eq!(guess(&urls(&["https://shop.example/"])), (Vec::new(), Vec::new()));
    }
}
