//! Names that look like code, paths or rules come out as they went in.

use parquet::file::properties::WriterProperties;

use crate::{backfill, clicks, landing, lookback, order_events, parquet_file};
use crate::{query, stderr, write_job};

/// Names that break what is put together from text: SQL, CSV, JSON, paths, URLs, terminals. None has
/// blanks around it: reference tables refuse those (B3).
fn names() -> Vec<String> {
    let mut names: Vec<String> = [
        "O'Neill's",
        "''",
        "'; drop table report.orders; --",
        "\"quoted\"",
        "\"",
        "a,b;c|d",
        "a/b//c/",
        "..",
        "../../etc/passwd",
        "/etc/passwd",
        "C:\\new\\table",
        "\\",
        "\\N",
        "\\u0041",
        "line\nbreak",
        "line\r\nbreak",
        "line\rbreak",
        "tab\tin\tit",
        "\u{1}\u{7}\u{1b}[31mred\u{7f}",
        "\u{1e}\u{1f}",
        "🦊👩‍👩‍👧‍👦",
        "שלום עולם",
        "\u{202e}evil",
        "e\u{301}",
        "é",
        "\u{feff}mark",
        "\u{10ffff}\u{fffd}",
        "%2F%2e%2e",
        "a=b&c=d#e?f+g",
        "two  blanks",
        "no\u{a0}break",
        "(nobody)",
        "null",
        "NULL",
        "None",
        "NaN",
        "true",
        "007",
        "-1",
        "1e3",
        "--help",
        "$order",
        "{{x}}${HOME}$(id)`id`",
        "__HIVE_DEFAULT_PARTITION__",
        "dt=2026-03-01",
        "2026-03-01",
        "%_%",
        "<script>alert(1)</script>",
        "=1+1",
        "Acorn",
        "acorn",
    ]
    .map(str::to_owned)
    .into();
    names.push("long 🦊_".repeat(6554));
    names
}

#[test]
fn names_come_out_as_they_went_in() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let names = names();
    assert!(names.iter().any(|name| name.len() >= 64 * 1024));
    let urls: Vec<String> = names.iter().map(|name| format!("https://go.example/{name}")).collect();
    let links: Vec<[&str; 3]> = names.iter().map(|name| [name.as_str(); 3]).collect();
    let stores: Vec<&str> = names.iter().map(String::as_str).collect();
    write_job(folder, &links, &stores);
    let columns = ["visitor_id", "store_id", "product_id", "country", "device"];
    let clicks = clicks(&names, &urls, &columns.map(|column| (column, names.as_slice())));
    let columns = ["line_id", "buyer_id", "store_id", "product_id", "category_id", "country"];
    let columns: Vec<_> = columns
        .into_iter()
        .chain(["reason", "visitor_id"])
        .map(|name| (name, names.as_slice()))
        .collect();
    let events = order_events(&["placed", "paid", "completed", "refunded"], &names, &columns);
    for (log, rows) in [("clicks", clicks), ("orders", events)] {
        let file = parquet_file(&rows, WriterProperties::default());
        std::fs::write(landing(folder, log).join("part-0.parquet"), file).unwrap();
    }
    let run = backfill(folder).output().unwrap();
    assert_eq!(run.status.code(), Some(0), "{}", stderr(&run));

    let mut sorted = names.clone();
    sorted.sort();
    for (table, per_name, columns) in [
        (
            "clean.clicks",
            1,
            "click_id, link_key, publisher_id, tracking_id, visitor_id, store_id, product_id, \
             country, device",
        ),
        (
            "clean.order_events",
            4,
            "order_id, line_id, buyer_id, store_id, product_id, category_id, country, reason, \
             visitor_id",
        ),
        (
            "attribution.conversions",
            1,
            "order_id, line_id, buyer_id, store_id, product_id, category_id, country, click_id, \
             publisher_id, tracking_id, link_key",
        ),
        ("report.traffic", 1, "publisher_id, tracking_id, store_id, country, device"),
        ("report.orders", 1, "store_id, publisher_id"),
        ("report.refunds", 1, "store_id, publisher_id"),
        (
            "report.transaction_details",
            4,
            "order_id, line_id, buyer_id, store_id, product_id, category_id, country, \
             publisher_id, tracking_id, click_id, reason",
        ),
    ] {
        let sql = format!("select {columns} from {table}");
        let rows = query(folder, &sql);
        let mut found = Vec::new();
        for row in &rows {
            let name = row["store_id"].as_str().unwrap();
            found.push(name);
            assert!(row.values().all(|value| value == name), "{table}: {row:?}");
        }
        found.sort();
        let expected: Vec<&str> =
            sorted.iter().flat_map(|name| vec![name.as_str(); per_name]).collect();
        assert!(found == expected, "{table}: {} rows", found.len());
    }

    let sql = "select store_id, publisher_id from report.orders order by store_id";
    let csv = lookback(folder, &["query", "job.toml", sql, "--format", "csv"]).output().unwrap();
    let read: Vec<[String; 2]> =
        csv::Reader::from_reader(csv.stdout.as_slice()).deserialize().map(Result::unwrap).collect();
    let expected: Vec<[String; 2]> =
        sorted.iter().map(|name| [name.clone(), name.clone()]).collect();
    assert!(read == expected, "{read:?}");

    // A tenth of what is left after the refund is what says that the store's own rate was found.
    let sql = "select cast(sum(approved_commission) as varchar) as owed \
               from report.transaction_details";
    assert_eq!(query(folder, sql)[0]["owed"], format!("{}.00", names.len() * 8));

    // A page and a terminal show names as text, and nothing else.
    let report = ["report", "job.toml", "--by", "publisher,store", "--top", "1000"];
    let page = lookback(folder, &[&report[..], &["--html", "-"]].concat()).output().unwrap();
    assert_eq!(page.status.code(), Some(0), "{}", stderr(&page));
    let page = String::from_utf8(page.stdout).unwrap();
    assert!(page.contains("<bdi>&lt;script&gt;alert(1)&lt;/script&gt;</bdi>"));
    assert!(!page.contains("<script") && !page.contains("<img"), "markup of a name");
    let is_control = |letter: char| letter.is_control() && letter != '\n';
    assert!(!page.contains(is_control), "a control character");
    let told = lookback(folder, &report).output().unwrap();
    assert_eq!(told.status.code(), Some(0), "{}", stderr(&told));
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(!told.contains(is_control) && !told.contains('\u{202e}'), "{told}");
    assert!(told.contains("\\u{1b}[31mred"), "{told}");

    for name in &names {
        let told = lookback(folder, &["explain", "job.toml", "--", name]).output().unwrap();
        assert_eq!(told.status.code(), Some(0), "{name}: {}", stderr(&told));
        let told = String::from_utf8(told.stdout).unwrap();
        assert!(told.contains(&format!("order {name} line {name}")), "{told}");
        assert!(told.contains(&format!("click {name} won")), "{told}");
    }
}
