//! Which promotion link a URL names.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewBuilder};
use arrow::datatypes::DataType;
use datafusion::common::{Result as EngineResult, exec_err};
use datafusion::logical_expr::{ColumnarValue, Expr, Volatility, create_udf};
use regex::Regex;

/// The key of the promotion link that a URL names, as an expression on its column (text in, text
/// out): the first group of the first format that matches. Empty when that group took no part in
/// the match, null when no format matches.
pub(super) fn link_key(formats: &[Regex], url: Expr) -> Expr {
    let formats = formats.to_vec();
    let keys = move |arguments: &[ColumnarValue]| -> EngineResult<ColumnarValue> {
        let [ColumnarValue::Array(urls)] = arguments else {
            return exec_err!("link_key wants a column of URLs");
        };
        Ok(ColumnarValue::Array(keys(&formats, urls)))
    };
    let text = DataType::Utf8View;
    let function =
        create_udf("link_key", vec![text.clone()], text, Volatility::Immutable, Arc::new(keys));
    function.call(vec![url])
}

fn keys(formats: &[Regex], urls: &ArrayRef) -> ArrayRef {
    let urls = urls.as_string_view();
    let mut groups: Vec<_> =
        formats.iter().map(|format| (format, format.capture_locations())).collect();
    let mut keys = StringViewBuilder::with_capacity(urls.len());
    for url in urls {
        let key = url.and_then(|url| {
            groups.iter_mut().find_map(|(format, groups)| {
                format.captures_read(groups, url)?;
                Some(groups.get(1).and_then(|(from, to)| url.get(from..to)).unwrap_or_default())
            })
        });
        keys.append_option(key);
    }
    Arc::new(keys.finish())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use arrow::array::StringViewArray;

    use super::*;

    #[test]
    fn the_first_format_that_matches_decides() {
        let formats = [r"^https://go/(?P<key>\w+)(/\w)?", r"[?&]aff=(x)?(y)?"];
        let formats = formats.map(|format| Regex::new(format).unwrap());
        let urls: ArrayRef = Arc::new(StringViewArray::from(vec![
            Some("https://go/acorn/b?aff=x"),
            Some("https://shop/?aff=x"),
            Some("https://shop/?aff=y"),
            Some("https://shop/"),
            None,
        ]));
        let expected = vec![Some("acorn"), Some("x"), Some(""), None, None];
        assert_eq!(keys(&formats, &urls).as_string_view(), &StringViewArray::from(expected));
    }
}
