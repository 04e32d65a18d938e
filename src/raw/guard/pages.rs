//! Reads raw files as DataFusion does, but checks the header of each page first. The decoder
//! allocates what a header declares, and a wrong number could end the process (B1).
//!
//! Refuses to know what is in a page.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::Result as EngineResult;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::DefaultParquetFileReaderFactory;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::ObjectStore;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use super::footer::SMALL;
use super::plain::plain;
use super::thrift::{I32, STRUCT, Thrift};

/// Readers of a store's raw files.
pub fn readers(store: Arc<dyn ObjectStore>) -> Arc<dyn ParquetFileReaderFactory> {
    Arc::new(ValidatingReaderFactory(DefaultParquetFileReaderFactory::new(store)))
}

#[derive(Debug)]
struct ValidatingReaderFactory(DefaultParquetFileReaderFactory);

impl ParquetFileReaderFactory for ValidatingReaderFactory {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> EngineResult<Box<dyn AsyncFileReader + Send>> {
        let reader = self.0.create_reader(partition, file, size_hint, metrics)?;
        Ok(Box::new(Reader { reader, footer: None }))
    }
}

struct Reader {
    reader: Box<dyn AsyncFileReader + Send>,
    /// The footer that was last returned.
    footer: Option<Arc<ParquetMetaData>>,
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        self.reader.get_bytes(range)
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        async move {
            let footer = match self.footer.clone() {
                Some(footer) => footer,
                None => self.get_metadata(None).await?,
            };
            let contents = self.reader.get_byte_ranges(ranges.clone()).await?;
            let columns = || footer.row_groups().iter().flat_map(|group| group.columns());
            for (range, content) in ranges.iter().zip(&contents) {
                let whole = (range.start, range.end - range.start);
                for column in columns().filter(|column| column.byte_range() == whole) {
                    judge(column, content).map_err(|trouble| {
                        let name = column.column_path();
                        ParquetError::General(format!("a page of column {name} {trouble}"))
                    })?;
                }
            }
            Ok(contents)
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>>> {
        async move {
            let footer = Arc::new(plain(&*self.reader.get_metadata(options).await?)?);
            self.footer = Some(footer.clone());
            Ok(footer)
        }
        .boxed()
    }
}

/// Checks the pages of one column of a row group. Errors: what is wrong with one.
fn judge(column: &ColumnChunkMetaData, content: &[u8]) -> Result<(), String> {
    // Some writers declare the packed size as the unpacked one. A page of up to `SMALL` bytes is
    // not refused for that.
    let most = u64::try_from(column.uncompressed_size()).unwrap_or(0).max(SMALL);
    let mut values_left = column.num_values();
    let mut left = content;
    while !left.is_empty() {
        let mut thrift = Thrift(left);
        let Some(page) = Page::read(&mut thrift) else {
            return Err("has no readable header".to_owned());
        };
        left = thrift.0;
        let Some(after) = usize::try_from(page.size).ok().and_then(|size| left.get(size..)) else {
            return Err(format!("of {} bytes is beyond the column's end", page.size));
        };
        left = after;
        if u64::try_from(page.unpacked).is_ok_and(|unpacked| unpacked > most) || page.unpacked < 0 {
            return Err(format!("unpacks to {} bytes", page.unpacked));
        }
        let most_values = match page.kind {
            Kind::Data => values_left,
            // Each value of a dictionary takes at least one byte, except a single empty one.
            Kind::Dictionary => page.unpacked.max(1),
            Kind::Index => continue,
        };
        if page.values < 0 || page.values > most_values {
            return Err(format!("has {} values, of at most {most_values}", page.values));
        }
        if page.kind == Kind::Data {
            values_left -= page.values;
        }
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data,
    /// Readers skip it.
    Index,
    Dictionary,
}

/// What a page's header declares.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    kind: Kind,
    /// Bytes in the file, without the header.
    size: i64,
    unpacked: i64,
    values: i64,
}

impl Page {
    /// Reads a `PageHeader` of Parquet's Thrift definition.
    fn read(thrift: &mut Thrift) -> Option<Page> {
        // By field id: `numbers` are type, unpacked size and size; `values` are per kind of header.
        let mut numbers = [None; 4];
        let mut values = [None; 9];
        thrift.fields(|thrift, id, kind| {
            match (id, kind) {
                (1..=3, I32) => numbers[id as usize] = Some(thrift.number()?),
                (5..=8, STRUCT) => thrift.fields(|thrift, inner, kind| match (inner, kind) {
                    (1, I32) => {
                        values[id as usize] = Some(thrift.number()?);
                        Some(())
                    }
                    _ => thrift.skip(kind),
                })?,
                _ => thrift.skip(kind)?,
            }
            Some(())
        })?;
        let [_, page_type, unpacked, size] = numbers;
        let (kind, values) = match page_type? {
            0 => (Kind::Data, values[5]?),
            1 => (Kind::Index, 0),
            2 => (Kind::Dictionary, values[7]?),
            3 => (Kind::Data, values[8]?),
            _ => return None,
        };
        let is_number = |number: &i64| i32::try_from(*number).is_ok();
        let page = Page { kind, size: size?, unpacked: unpacked?, values };
        [page.size, page.unpacked, page.values].iter().all(is_number).then_some(page)
    }
}

#[cfg(test)]
mod tests {
    use parquet::basic::Type as Physical;
    use parquet::schema::types::{ColumnDescriptor, ColumnPath, Type};

    use super::*;

    /// A column of 30 values that unpacks to 1000 bytes.
    fn column() -> ColumnChunkMetaData {
        let leaf = Type::primitive_type_builder("id", Physical::BYTE_ARRAY).build().unwrap();
        let described = ColumnDescriptor::new(Arc::new(leaf), 0, 0, ColumnPath::from("id"));
        let column = ColumnChunkMetaData::builder(Arc::new(described));
        column.set_num_values(30).set_total_uncompressed_size(1000).build().unwrap()
    }

    fn number(number: i64) -> Vec<u8> {
        let mut zigzag = ((number << 1) ^ (number >> 63)) as u64;
        let mut bytes = vec![0x15];
        while zigzag >= 0x80 {
            bytes.push(zigzag as u8 | 0x80);
            zigzag >>= 7;
        }
        bytes.push(zigzag as u8);
        bytes
    }

    /// A page of this type. Its header has more fields than are needed.
    fn page(page_type: i64, unpacked: i64, size: i64, values: i64) -> Vec<u8> {
        let numbers = [page_type, unpacked, size].map(number).concat();
        let inner = match page_type {
            0 => 0x2c,
            2 => 0x4c,
            _ => 0x5c,
        };
        let further = [0x15, 4, 0x1c, 0x18, 2, b'a', b'b', 0, 0, 0];
        let data = vec![7; size.clamp(0, 100) as usize];
        [numbers, vec![inner], number(values), further.to_vec(), data].concat()
    }

    #[test]
    fn pages_that_can_be_are_passed() {
        let pages = [page(2, 90, 40, 20), page(0, 50, 60, 18), page(3, 10, 0, 12)].concat();
        assert_eq!(judge(&column(), &pages), Ok(()));
        assert_eq!(judge(&column(), &[]), Ok(()));
        assert_eq!(judge(&column(), &page(2, 0, 0, 1)), Ok(()), "one empty text");
        assert_eq!(judge(&column(), &page(0, 1 << 20, 9, 30)), Ok(()), "more than the footer says");
    }

    #[test]
    fn pages_that_cannot_be_are_refused() {
        for (pages, trouble) in [
            (page(0, 50, 60, 31), "has 31 values, of at most 30"),
            ([page(0, 9, 9, 20), page(3, 9, 9, 11)].concat(), "has 11 values, of at most 10"),
            (page(0, 9, 9, -1), "has -1 values, of at most 30"),
            (page(2, 90, 40, 91), "has 91 values, of at most 90"),
            (page(0, 1 << 29, 9, 1), "unpacks to 536870912 bytes"),
            (page(0, -1, 9, 1), "unpacks to -1 bytes"),
            (page(0, 9, -1, 1), "of -1 bytes is beyond the column's end"),
            (page(0, 9, 101, 1), "of 101 bytes is beyond the column's end"),
            (page(0, 1 << 32, 9, 1), "has no readable header"),
            (page(4, 9, 9, 1), "has no readable header"),
            (vec![0], "has no readable header"),
        ] {
            assert_eq!(judge(&column(), &pages), Err(trouble.to_owned()));
        }
        let page = page(0, 9, 9, 1);
        for end in 1..page.len() {
            assert!(judge(&column(), &page[..end]).is_err(), "{end}");
        }
    }
}
