//! Small raw files of every kind that the job takes.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Float64Array, ListArray, RecordBatch,
    StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, TimeUnit};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use rand::Rng;
use rand_pcg::Pcg64Mcg;

use crate::{clicks, nullable, order_events, parquet_file};

/// Thirty-odd rows in the column types and the file layout that the dice choose.
pub fn raw_file(log: &str, name: &str, dice: &mut Pcg64Mcg) -> Vec<u8> {
    let names = |prefix: &str, rows| -> Vec<String> {
        (0..rows).map(|row| format!("{prefix}-{row}")).collect()
    };
    let same = |text: &str, rows| vec![text.to_owned(); rows];
    let mut rows = match log {
        "clicks" => {
            let urls = &mut same("https://go.example/key", 30);
            urls[7] = "https://elsewhere.example/".to_owned();
            let buyers = names("buyer", 30);
            let others = [("buyer_id", buyers.as_slice()), ("country", &same("DE", 30))];
            clicks(&names(name, 30), urls, &others)
        }
        _ => {
            let buyers = names("buyer", 12);
            let others = [
                ("line_id", same("1", 12)),
                ("buyer_id", buyers),
                ("store_id", same("shop", 12)),
                ("category_id", names("category", 12)),
            ];
            let others: Vec<(&str, &[String])> =
                others.iter().map(|(name, values)| (*name, values.as_slice())).collect();
            let events = ["placed", "paid", "completed"];
            order_events(&events, &names(name, 12), &others)
        }
    };
    for (name, values) in further_columns(rows.num_rows()) {
        if dice.random_range(0..2) == 0 {
            rows = with_column(&rows, name, values);
        }
    }
    for field in rows.schema().fields() {
        let data_type = data_type(field.name(), field.data_type(), dice);
        let values = cast(rows.column_by_name(field.name()).unwrap(), &data_type).unwrap();
        rows = with_column(&rows, field.name(), values);
    }
    parquet_file(&rows, layout(dice))
}

/// Columns that the job does not know.
fn further_columns(rows: usize) -> [(&'static str, ArrayRef); 6] {
    let notes = (0..rows).map(|row| (row % 3 > 0).then(|| "note ".repeat(row)));
    let lists = (0..rows).map(|row| Some((0..row as i32 % 4).map(Some)));
    let bytes: Vec<Vec<u8>> = (0..rows).map(|row| vec![row as u8; row % 5]).collect();
    [
        ("note", Arc::new(StringArray::from_iter(notes))),
        ("score", Arc::new(Float64Array::from_iter_values((0..rows).map(|row| row as f64 / 7.0)))),
        ("is_new", Arc::new(BooleanArray::from_iter((0..rows).map(|row| Some(row % 5 == 0))))),
        ("seen_on", Arc::new(Date32Array::from_iter_values((0..rows).map(|row| row as i32)))),
        ("tags", Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists))),
        ("bytes", Arc::new(BinaryArray::from_iter_values(bytes))),
    ]
}

fn with_column(rows: &RecordBatch, name: &str, values: ArrayRef) -> RecordBatch {
    let schema = rows.schema();
    let kept = schema.fields().iter().zip(rows.columns()).filter(|(field, _)| field.name() != name);
    let kept = kept.map(|(field, values)| (field.name().as_str(), values.clone()));
    let columns = kept.chain([(name, values)]).map(nullable);
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// One of the types that a column may have.
fn data_type(name: &str, found: &DataType, dice: &mut Pcg64Mcg) -> DataType {
    use DataType::{Decimal128, Decimal256, Dictionary, Int64, LargeUtf8, Timestamp, Utf8};
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    let dictionary = Dictionary(Box::new(DataType::Int32), Box::new(Utf8));
    let choices = match found {
        Utf8 => vec![Utf8, LargeUtf8, dictionary],
        Int64 if name == "amount" => {
            vec![Decimal128(18, 4), Decimal128(9, 2), Decimal256(40, 4), Int64]
        }
        Timestamp(..) => {
            let units = [Second, Millisecond, Microsecond, Nanosecond].into_iter();
            units
                .flat_map(|unit| [Timestamp(unit, None), Timestamp(unit, Some("UTC".into()))])
                .collect()
        }
        other => vec![other.clone()],
    };
    choose(dice, &choices).clone()
}

fn layout(dice: &mut Pcg64Mcg) -> WriterProperties {
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let compressions = [Compression::UNCOMPRESSED, Compression::SNAPPY, zstd, Compression::LZ4_RAW];
    let versions = [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0];
    let statistics = [EnabledStatistics::None, EnabledStatistics::Chunk, EnabledStatistics::Page];
    WriterProperties::builder()
        .set_compression(*choose(dice, &compressions))
        .set_writer_version(*choose(dice, &versions))
        .set_statistics_enabled(*choose(dice, &statistics))
        .set_dictionary_enabled(*choose(dice, &[true, false]))
        .set_bloom_filter_enabled(*choose(dice, &[true, false, false]))
        .set_max_row_group_row_count(Some(*choose(dice, &[11, 1000])))
        .set_write_batch_size(4)
        .set_data_page_row_count_limit(*choose(dice, &[5, 1000]))
        .build()
}

pub fn choose<'a, T>(dice: &mut Pcg64Mcg, items: &'a [T]) -> &'a T {
    &items[dice.random_range(0..items.len() as u64) as usize]
}
