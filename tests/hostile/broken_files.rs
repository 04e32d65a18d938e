//! Raw files that are broken: each is named, or what it decodes to is in the tables.

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use bytes::Bytes;
use lookback::raw::{Log, mended};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::column::reader::ColumnReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::reader::{FileReader, SerializedFileReader};
use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;

use crate::mutations::{mutate, with_wrong_counts};
use crate::raw_files::{choose, raw_file};
use crate::{DATE, TIME_LIMIT, backfill, is_panic, landing, query, stderr, write_job};

/// Beyond the first 500, files that were told wrong once: a dictionary page that declares more
/// values than there is memory for, a page that only one of the two readers of text refuses.
const ONCE_FAILED: [u64; 5] = [838, 904, 1526, 1646, 1905];
/// A page that makes the decoder panic, in one of two tasks that share what they read: one run in
/// six waited for ever.
const ONCE_HUNG: u64 = 349;

#[test]
fn a_broken_raw_file_is_named_or_read_as_far_as_it_decodes() {
    let first = setting("LOOKBACK_SEED", 0);
    let mut seeds: Vec<u64> = (first..first + setting("LOOKBACK_MUTATIONS", 500)).collect();
    if first == 0 {
        seeds.extend(ONCE_FAILED);
        seeds.extend([ONCE_HUNG; 20]);
    }
    let next = AtomicUsize::new(0);
    let outcomes: Mutex<BTreeMap<(&str, &str), Tried>> = Mutex::default();
    let failures: Mutex<Vec<String>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(seed) = seeds.get(at).copied() else { return };
                    let begun = Instant::now();
                    let (mutation, outcome) = break_a_file(seed);
                    let mut outcomes = outcomes.lock().unwrap();
                    let word = outcome.as_ref().copied().unwrap_or("failed");
                    let tried = outcomes.entry((mutation, word)).or_default();
                    tried.count += 1;
                    tried.slowest = begun.elapsed().max(tried.slowest);
                    if let Err(trouble) = outcome {
                        failures
                            .lock()
                            .unwrap()
                            .push(format!("{mutation}, seed {seed}: {trouble}"));
                    }
                }
            });
        }
    });
    #[expect(clippy::print_stdout, reason = "what was tried is said")]
    for ((mutation, outcome), Tried { count, slowest }) in outcomes.into_inner().unwrap() {
        println!("{count:>5} {outcome:<7} {mutation}, the slowest in {slowest:.1?}");
    }
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

/// How often a mutation ended one way, and how long the slowest took.
#[derive(Default)]
struct Tried {
    count: usize,
    slowest: Duration,
}

fn setting(name: &str, default: u64) -> u64 {
    let number = |text: String| text.parse().unwrap_or_else(|_| panic!("{name}={text}: no number"));
    std::env::var(name).map_or(default, number)
}

const BROKEN: &str = "broken.parquet";

/// A tiny world, one file of which is broken: which way, and how it went.
fn break_a_file(seed: u64) -> (&'static str, Result<&'static str, String>) {
    let mut dice = Pcg64Mcg::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_job(folder, &[["key", "acorn", ""]], &["shop"]);
    let (log, id) = *choose(&mut dice, &[("clicks", "click_id"), ("orders", "event_id")]);
    for log in ["clicks", "orders"] {
        let sound = raw_file(log, "sound", &mut dice);
        std::fs::write(landing(folder, log).join("sound.parquet"), sound).unwrap();
    }
    let (mutation, broken) = mutate(&raw_file(log, "broken", &mut dice), &mut dice);
    std::fs::write(landing(folder, log).join(BROKEN), &broken).unwrap();
    (mutation, outcome(folder, log, id))
}

/// How a run goes with a broken file.
fn outcome(folder: &Path, log: &str, id: &str) -> Result<&'static str, String> {
    let begun = Instant::now();
    let run = backfill(folder).timeout(TIME_LIMIT).output().unwrap();
    let told = stderr(&run);
    if begun.elapsed() >= TIME_LIMIT {
        Err(format!("hangs: {told}"))
    } else if is_panic(&told) {
        Err(format!("shows a panic: {told}"))
    } else {
        match run.status.code() {
            Some(2) if told.contains(BROKEN) => Ok("named"),
            Some(0) => ids_are_kept(folder, log, id).map(|()| "read"),
            _ => Err(format!("{}: {told}", run.status)),
        }
    }
}

/// Row groups in numbers for which there is no memory.
#[test]
fn a_footer_of_more_row_groups_than_bytes_is_named() {
    for last in [0, 7, 15] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write_job(folder, &[["key", "acorn", ""]], &["shop"]);
        let mut dice = Pcg64Mcg::seed_from_u64(0);
        for log in ["clicks", "orders"] {
            let file = raw_file(log, "broken", &mut dice);
            let broken = with_wrong_counts(&file, None, Some(last));
            std::fs::write(landing(folder, log).join(BROKEN), broken).unwrap();
        }
        assert_eq!(outcome(folder, "clicks", "click_id"), Ok("named"));
    }
}

/// The footers are sound, so that only decoding finds what is wrong.
#[test]
fn broken_files_of_both_logs_are_named_together() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_job(folder, &[["key", "acorn", ""]], &["shop"]);
    let mut dice = Pcg64Mcg::seed_from_u64(0);
    for log in ["clicks", "orders"] {
        let mut file = raw_file(log, "broken", &mut dice);
        file[4..64].fill(0xff);
        std::fs::write(landing(folder, log).join(format!("broken-{log}.parquet")), file).unwrap();
    }
    let run = backfill(folder).timeout(TIME_LIMIT).output().unwrap();
    let told = stderr(&run);
    assert_eq!(run.status.code(), Some(2), "{told}");
    for name in ["broken-clicks.parquet", "broken-orders.parquet"] {
        assert_eq!(told.matches(name).count(), 1, "{told}");
    }
}

/// Nothing is lost: the ids that the files decode to are those of the clean and rejected rows.
fn ids_are_kept(folder: &Path, log: &str, id: &str) -> Result<(), String> {
    let mut expected = Vec::new();
    for name in ["sound.parquet", BROKEN] {
        let content = Bytes::from(std::fs::read(landing(folder, log).join(name)).unwrap());
        let ids = catch_unwind(|| decode(content, id)).map_err(|_| "the decoder panics")?;
        expected.extend(ids.map_err(|error| format!("ran, but does not decode: {error}"))?);
    }
    expected.sort();
    let table = if log == "clicks" { "clicks" } else { "order_events" };
    let sql = format!(
        "select {id} as id from clean.{table} where dt = '{DATE}' \
         union all select row_id from clean.rejects where dt = '{DATE}' and log = '{log}'"
    );
    let kept = query(folder, &sql);
    let mut kept: Vec<Option<String>> =
        kept.iter().map(|row| row["id"].as_str().map(str::to_owned)).collect();
    kept.sort();
    match kept == expected {
        true => Ok(()),
        false => Err(format!("{} rows decode, {} are kept", expected.len(), kept.len())),
    }
}

/// The ids of a raw file, after decoding every column that the rules know. A text that is no UTF-8 is a
/// bad row, and no bad file.
fn decode(content: Bytes, id: &str) -> parquet::errors::Result<Vec<Option<String>>> {
    // Of a column whose dictionary is said to be at 0, what some writers say of none.
    let footer = ParquetMetaDataReader::new().parse_and_finish(&content)?;
    let footer =
        ArrowReaderMetadata::try_new(Arc::new(mended(footer)?), ArrowReaderOptions::new())?;
    let open =
        || ParquetRecordBatchReaderBuilder::new_with_metadata(content.clone(), footer.clone());
    let fields = footer.schema().fields().clone();
    let known: Vec<&str> =
        [Log::Clicks, Log::Orders].into_iter().flat_map(Log::column_names).collect();
    let mut ids = Vec::new();
    for at in (0..fields.len()).filter(|at| known.contains(&fields[*at].name().as_str())) {
        let builder = open();
        let schema = builder.parquet_schema();
        let leaves = 0..schema.num_columns();
        let leaf = leaves.into_iter().find(|leaf| schema.get_column_root_idx(*leaf) == at).unwrap();
        let column = ProjectionMask::roots(schema, [at]);
        let batches: Result<Vec<_>, _> = builder.with_projection(column).build()?.collect();
        let is_id = fields[at].name() == id;
        match batches {
            Err(error) if error.to_string().contains("non UTF-8") => {
                if is_id {
                    ids = bytes_of(content.clone(), leaf)?;
                }
            }
            Err(error) => return Err(error.into()),
            Ok(batches) if is_id => {
                for batch in batches {
                    let column = cast(batch.column(0), &DataType::Utf8)?;
                    let texts = column.as_string::<i32>().iter();
                    ids.extend(texts.map(|text| text.map(str::to_owned)));
                }
            }
            Ok(_) => {}
        }
    }
    Ok(ids.into_iter().map(|id| id.filter(|text| !text.is_empty())).collect())
}

/// The texts of a column that holds bytes. None where they are no UTF-8.
fn bytes_of(content: Bytes, column: usize) -> parquet::errors::Result<Vec<Option<String>>> {
    let file = SerializedFileReader::new(content)?;
    let mut texts = Vec::new();
    for group in 0..file.num_row_groups() {
        let group = file.get_row_group(group)?;
        let ColumnReader::ByteArrayColumnReader(mut reader) = group.get_column_reader(column)?
        else {
            return Err(ParquetError::General("the id is no text".to_owned()));
        };
        let rows = usize::try_from(group.metadata().num_rows()).unwrap();
        let (mut values, mut levels) = (Vec::new(), Vec::new());
        reader.read_records(rows, Some(&mut levels), None, &mut values)?;
        let mut values = values.into_iter();
        // A column that has to have values has no levels.
        levels.resize(rows, 1);
        for level in levels {
            let bytes = if level > 0 { values.next() } else { None };
            texts.push(bytes.and_then(|bytes| String::from_utf8(bytes.data().to_vec()).ok()));
        }
    }
    Ok(texts)
}
