//! Takes keys out of a store's listing that cannot be named as paths (`//`, `.`, `..`, control
//! characters). `object_store` gives up a whole listing for one of them, and no rows are in them (B5).

use bytes::Bytes;
use object_store::path::Path;

/// The elements of a listing of S3, Google or Azure that name an object or a folder, each with the
/// element of its name.
const ENTRIES: [(&str, &str); 4] =
    [("Contents", "Key"), ("CommonPrefixes", "Prefix"), ("Blob", "Name"), ("BlobPrefix", "Name")];

/// The listing without entries that cannot be named. Other answers stay as they are.
pub(super) fn nameable(listing: Bytes) -> Bytes {
    let Ok(text) = str::from_utf8(&listing) else { return listing };
    let mut kept = String::new();
    let mut rest = text;
    while let Some((start, element, name)) = next_entry(rest) {
        let end_tag = format!("</{element}>");
        let Some(length) = rest[start..].find(&end_tag) else { break };
        let end = start + length + end_tag.len();
        let key = within(&rest[start..end], name).map(unescaped);
        if key.is_some_and(|key| Path::parse(&key).is_err()) {
            kept.push_str(&rest[..start]);
        } else {
            kept.push_str(&rest[..end]);
        }
        rest = &rest[end..];
    }
    if kept.len() + rest.len() == text.len() {
        return listing;
    }
    kept.push_str(rest);
    Bytes::from(kept)
}

/// The nearest entry: where it begins, its element, and the element of its name.
fn next_entry(text: &str) -> Option<(usize, &'static str, &'static str)> {
    text.match_indices('<').find_map(|(start, _)| {
        let tag = text[start + 1..].split_once('>')?.0;
        let (element, name) = ENTRIES.iter().find(|(element, _)| *element == tag)?;
        Some((start, *element, *name))
    })
}

/// The text of an element.
fn within<'a>(entry: &'a str, element: &str) -> Option<&'a str> {
    let (_, after) = entry.split_once(&format!("<{element}>"))?;
    Some(after.split_once(&format!("</{element}>"))?.0)
}

/// XML's own escapes, and numbered characters.
fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let Some((name, after)) = after.split_once(';') else {
            plain.push('&');
            rest = after;
            continue;
        };
        let number = name.strip_prefix('#').and_then(|number| match number.strip_prefix('x') {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => number.parse().ok(),
        });
        match (name, number.and_then(char::from_u32)) {
            ("amp", _) => plain.push('&'),
            ("lt", _) => plain.push('<'),
            ("gt", _) => plain.push('>'),
            ("quot", _) => plain.push('"'),
            ("apos", _) => plain.push('\''),
            (_, Some(letter)) => plain.push(letter),
            (other, None) => {
                plain.push('&');
                plain.push_str(other);
                plain.push(';');
            }
        }
        rest = after;
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(listing: &str) -> String {
        String::from_utf8_lossy(&nameable(Bytes::from(listing.to_owned()))).into_owned()
    }

    #[test]
    fn keys_that_cannot_be_named_are_left_out() {
        let object = |key: &str| format!("<Contents><Key>{key}</Key><Size>1</Size></Contents>");
        let folder = |key: &str| format!("<CommonPrefixes><Prefix>{key}</Prefix></CommonPrefixes>");
        let good = [object("raw/dt=2026-04-01/a.parquet"), object("raw/a &amp; b"), folder("raw/")];
        let bad = [
            object("raw//a.parquet"),
            object("raw/./a.parquet"),
            object("raw/../a.parquet"),
            object("raw/a&#10;b"),
            folder("raw//"),
        ];
        let list = |entries: &[String]| format!("<List>{}<X>n</X></List>", entries.concat());
        assert_eq!(after(&list(&good)), list(&good));
        let both: Vec<String> =
            good.iter().zip(&bad).flat_map(|(g, b)| [b.clone(), g.clone()]).collect();
        assert_eq!(after(&list(&[both, bad[3..].to_vec()].concat())), list(&good));
        let blob = |name: &str| format!("<Blob><Name>{name}</Name></Blob>");
        assert_eq!(after(&list(&[blob("a//b"), blob("a/b")])), list(&[blob("a/b")]));
    }

    #[test]
    fn other_answers_stay_as_they_are() {
        for text in ["", "<Error><Code>SlowDown</Code></Error>", "<Contents><Key>a", "{}"] {
            assert_eq!(after(text), text);
        }
    }
}
