//! What the profile of a backfill shows to matter and is our own: link keys of URLs, numbers of ids,
//! and encoding clean clicks. `cargo bench --bench hot_paths`.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
};
use chrono::NaiveDate;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use lookback::engine::functions::hash64::hash64;
use lookback::location::Location;
use lookback::model;
use lookback::raw::LinkFormats;
use lookback::warehouse::Partition;
use lookback::warehouse::write;
use regex::Regex;

/// As many as the engine hands on at once.
const ROWS: usize = 32_768;

/// Numbers that look like chance, the same in every run.
fn scattered(row: usize) -> u64 {
    (row as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn texts(text: impl Fn(u64) -> String) -> StringViewArray {
    StringViewArray::from_iter_values((0..ROWS).map(|row| text(scattered(row))))
}

/// Six in ten name the link in the path, three in ten in a parameter, one in ten does not.
fn urls() -> StringViewArray {
    texts(|n| match n % 10 {
        0..6 => format!("https://s.click.example/e/_D{:x}?bz=300*250&terminal_id={n:x}", n >> 40),
        6..9 => format!(
            "https://www.shop.example/item/{n}.html?dp=deals&aff_fcid={n:016x}{n:016x}-\
             1772323232692-21148-_D{:x}&af=web",
            n >> 40
        ),
        _ => format!("https://www.shop.example/item/{n}.html?dp=deals&terminal_id={n:x}"),
    })
}

fn link_keys(bench: &mut Criterion) {
    let formats = [
        r"^https?://s\.click\.example/e/([0-9A-Za-z_-]+)",
        r"[?&]aff_fcid=[0-9a-f]{32}-[0-9]{13}-[0-9]{5}-(_?[0-9A-Za-z]+)(?:&|#|$)",
    ];
    let formats = formats.map(|format| Regex::new(format).unwrap());
    let urls = urls();
    let mut group = bench.benchmark_group("link keys");
    group.throughput(Throughput::Elements(ROWS as u64));
    let ready = LinkFormats::new(&formats);
    group.bench_function("of URLs", |bench| bench.iter(|| ready.keys(&urls)));
    // What the engine's own `regexp_match` would do, one format after the other.
    group.bench_function("of URLs, by plain regexes", |bench| {
        bench.iter(|| {
            let keys = urls.iter().map(|url| {
                let url = url?;
                formats.iter().find_map(|format| Some(format.captures(url)?.get(1)?.as_str()))
            });
            keys.collect::<StringViewArray>()
        });
    });
    group.finish();
}

fn id_numbers(bench: &mut Criterion) {
    let ids: ArrayRef = Arc::new(texts(|n| format!("1kq{n:017x}")));
    let number = hash64();
    let field = Arc::new(arrow::datatypes::Field::new("id", ids.data_type().clone(), true));
    let mut group = bench.benchmark_group("numbers");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("of ids", |bench| {
        bench.iter(|| {
            let arguments = ScalarFunctionArgs {
                args: vec![ColumnarValue::Array(ids.clone())],
                arg_fields: vec![field.clone()],
                number_rows: ROWS,
                return_field: Arc::new(arrow::datatypes::Field::new(
                    "number",
                    arrow::datatypes::DataType::Int64,
                    true,
                )),
                config_options: Arc::default(),
            };
            number.invoke_with_args(arguments).unwrap()
        });
    });
    group.finish();
}

/// A date's clean clicks: many buyers and visitors, hundreds of links, few countries.
fn clean_clicks() -> RecordBatch {
    let text = |text: &dyn Fn(u64) -> String| -> ArrayRef { Arc::new(texts(text)) };
    let times = (0..ROWS).map(|row| 1_772_323_200_000_000 + row as i64 * 2_600_000);
    let times = TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Date32Array::from_iter_values((0..ROWS).map(|_| 20_513))),
        text(&|n| format!("1kq{n:017x}")),
        Arc::new(times),
        text(&|n| format!("_D{:06x}", n % 410)),
        text(&|n| format!("publisher-{}", n % 60)),
        text(&|n| format!("publisher-{}-blog", n % 60)),
        text(&|n| (2_000_000_000 + n % 400_000).to_string()),
        text(&|n| format!("{:016x}", n % 700_000)),
        text(&|n| (1_100_000_000 + n % 4_000).to_string()),
        text(&|n| (1_005_000_000_000_000 + n % 20_000).to_string()),
        text(&|n| ["US", "DE", "FR", "BR"][(n % 4) as usize].to_owned()),
        text(&|n| ["app", "mobile", "desktop"][(n % 3) as usize].to_owned()),
    ];
    RecordBatch::try_new(model::named("clean.clicks").unwrap().schema(), columns).unwrap()
}

fn encoding(bench: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let location = Location::parse("clicks", Path::new(folder.path())).unwrap();
    let model = model::named("clean.clicks").unwrap();
    let batch = clean_clicks();
    let slices = [Partition::of(NaiveDate::from_ymd_opt(2026, 3, 1).unwrap())];
    let mut group = bench.benchmark_group("clean clicks");
    group.throughput(Throughput::Elements(8 * ROWS as u64));
    group.sample_size(20);
    group.bench_function("encoded and written", |bench| {
        bench.iter(|| {
            let rows = futures::stream::iter(vec![batch.clone(); 8].into_iter().map(Ok));
            let rows = Box::pin(RecordBatchStreamAdapter::new(batch.schema(), rows));
            let written = write::table(rows, model, &location, "part", &slices, chrono_tz::UTC);
            runtime.block_on(written).unwrap()
        });
    });
    group.finish();
}

criterion_group!(benches, link_keys, id_numbers, encoding);
criterion_main!(benches);
