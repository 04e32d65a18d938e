//! Ways to break a Parquet file.

use parquet::file::metadata::{
    ColumnChunkMetaDataBuilder, ParquetMetaDataReader, ParquetMetaDataWriter,
};
use rand::Rng;
use rand_pcg::Pcg64Mcg;

use crate::raw_files::{choose, raw_file};

/// Breaks a Parquet file in one of the ways that disks, networks and attackers do.
pub fn mutate(file: &[u8], dice: &mut Pcg64Mcg) -> (&'static str, Vec<u8>) {
    let end = file.len() - 8;
    let footer = footer_start(file);
    let mut broken = file.to_vec();
    let any = |dice: &mut Pcg64Mcg, from: usize, to: usize| {
        dice.random_range(from as u64..to as u64) as usize
    };
    match dice.random_range(0..14) {
        0 | 1 => {
            for _ in 0..dice.random_range(1..=4) {
                broken[any(dice, 4, footer)] ^= 1 << dice.random_range(0..8);
            }
            ("bits flipped in the pages", broken)
        }
        2 | 3 => {
            for _ in 0..dice.random_range(1..=3) {
                broken[any(dice, footer, end)] ^= 1 << dice.random_range(0..8);
            }
            ("bits flipped in the footer", broken)
        }
        4 => {
            let from = any(dice, 0, file.len());
            let to = any(dice, from, file.len().min(from + 64)) + 1;
            match dice.random_range(0..3) {
                0 => broken[from..to].fill(0),
                1 => broken[from..to].fill(255),
                _ => broken[from..to].iter_mut().for_each(|byte| *byte = dice.random()),
            }
            ("bytes overwritten", broken)
        }
        5 => {
            let at = any(dice, 0, file.len());
            match dice.random_range(0..3) {
                0 => broken.drain(..at),
                _ => broken.drain(at..),
            };
            ("truncated", broken)
        }
        6 => {
            let from = any(dice, 0, file.len());
            let to = any(dice, from, file.len().min(from + 64)) + 1;
            match dice.random_range(0..2) {
                0 => drop(broken.drain(from..to)),
                _ => drop(broken.splice(from..from, file[from..to].to_vec())),
            }
            ("bytes lost or repeated", broken)
        }
        7 => {
            let lengths = [0, 1, 8, end as u32, end as u32 + 1, i32::MAX as u32, u32::MAX];
            broken[end..end + 4].copy_from_slice(&choose(dice, &lengths).to_le_bytes());
            ("a wrong footer length", broken)
        }
        8 => {
            let other = raw_file(if dice.random() { "clicks" } else { "orders" }, "other", dice);
            let broken = match dice.random_range(0..4) {
                0 => [&file[..footer], &other[other.len() / 2..]].concat(),
                1 => [&file[..end], b"\0\0\0\0PAR1"].concat(),
                2 => [&file[..end + 4], b"PARE"].concat(),
                _ => [&file[..footer], &other[footer_start(&other)..]].concat(),
            };
            ("a wrong footer", broken)
        }
        9 | 10 => ("huge sizes in the footer", with_wrong_sizes(file, footer, dice)),
        11 | 12 => ("huge sizes in a page", with_wrong_page_header(file, footer, dice)),
        _ => {
            let contents: [&[u8]; 7] = [
                b"",
                b"PAR1",
                b"PAR1PAR1",
                b"PAR1\0\0\0\0PAR1",
                b"click_id,clicked_at,url\n1,2026-03-01,https://go.example/key\n",
                &[0; 5000],
                &[file, file].concat(),
            ];
            ("something else", choose(dice, &contents).to_vec())
        }
    }
}

fn footer_start(file: &[u8]) -> usize {
    let end = file.len() - 8;
    let mut length = [0; 4];
    length.copy_from_slice(&file[end..end + 4]);
    end - u32::from_le_bytes(length) as usize
}

/// A footer that says what is not so, of everything that has a size or a place.
fn with_wrong_sizes(file: &[u8], footer: usize, dice: &mut Pcg64Mcg) -> Vec<u8> {
    let most = i64::MAX / 2;
    let sizes = [0, 1, -1, 31, 1 << 20, i32::MAX.into(), u32::MAX.into(), 1 << 40, most, i64::MIN];
    let size = *choose(dice, &sizes);
    let small = *choose(dice, &[0, 1, -1, 1000, i32::MAX, i32::MIN]);
    let what = dice.random_range(0..11);
    let this = dice.random_range(0..6);
    let in_column = |at: usize, column: ColumnChunkMetaDataBuilder| match what {
        _ if at != this => column,
        3 => column.set_num_values(size),
        4 => column.set_total_compressed_size(size),
        5 => column.set_total_uncompressed_size(size),
        6 => column.set_data_page_offset(size),
        7 => column.set_dictionary_page_offset(Some(size)),
        8 => column.set_offset_index_offset(Some(size)).set_offset_index_length(Some(small)),
        9 => column.set_column_index_offset(Some(size)).set_column_index_length(Some(small)),
        10 => column.set_bloom_filter_offset(Some(size)).set_bloom_filter_length(Some(small)),
        _ => column,
    };
    match what {
        0 => with_wrong_counts(file, Some(size), None),
        1 | 2 => with_footer(file, footer, Some(size), &in_column),
        _ => with_footer(file, footer, None, &in_column),
    }
}

/// The file's own count of rows and of row groups: two numbers between the end of the schema and
/// the row groups, which no builder lets disagree with these.
pub fn with_wrong_counts(file: &[u8], rows: Option<i64>, groups: Option<u8>) -> Vec<u8> {
    let footer = footer_start(file);
    let end = file.len() - 8;
    let metadata = ParquetMetaDataReader::decode_metadata(&file[footer..end]).unwrap();
    let known_rows = metadata.file_metadata().num_rows();
    let known_groups = vec![0x0c | (metadata.num_row_groups() as u8) << 4];
    let counts = |rows, groups: &[u8]| [&[0x16], varint(rows).as_slice(), &[0x19], groups].concat();
    let known = counts(known_rows, &known_groups);
    let at = (footer..).find(|at| file[*at..].starts_with(&known)).unwrap();
    // A list of more than fourteen has its count in bytes of its own, the last of which is last.
    let groups = groups.map_or(known_groups, |last| vec![0xfc, 0xff, 0xff, 0xff, 0xff, last]);
    let declared = counts(rows.unwrap_or(known_rows), &groups);
    let metadata = [&file[footer..at], &declared, &file[at + known.len()..end]].concat();
    let length = (metadata.len() as u32).to_le_bytes();
    [&file[..footer], &metadata, &length, b"PAR1"].concat()
}

/// A number as Thrift writes it.
fn varint(number: i64) -> Vec<u8> {
    let mut zigzag = ((number << 1) ^ (number >> 63)) as u64;
    let mut bytes = Vec::new();
    while zigzag >= 0x80 {
        bytes.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    bytes.push(zigzag as u8);
    bytes
}

/// The file with its footer made anew: other metadata of its columns, another number of rows in
/// the first row group.
fn with_footer(
    file: &[u8],
    footer: usize,
    rows: Option<i64>,
    in_column: &dyn Fn(usize, ColumnChunkMetaDataBuilder) -> ColumnChunkMetaDataBuilder,
) -> Vec<u8> {
    let metadata = ParquetMetaDataReader::decode_metadata(&file[footer..file.len() - 8]).unwrap();
    let mut groups = Vec::new();
    for group in metadata.row_groups() {
        let columns = group.columns().iter().enumerate();
        let columns = columns.map(|(at, column)| in_column(at, column.clone().into_builder()));
        let columns = columns.map(ColumnChunkMetaDataBuilder::build);
        let columns = columns.map(Result::unwrap).collect();
        let rows = rows.filter(|_| groups.is_empty()).unwrap_or(group.num_rows());
        let group = group.clone().into_builder().set_column_metadata(columns);
        groups.push(group.set_num_rows(rows).build().unwrap());
    }
    let metadata = metadata.into_builder().set_row_groups(groups).build();
    let mut broken = file[..footer].to_vec();
    ParquetMetaDataWriter::new(&mut broken, &metadata).finish().unwrap();
    broken
}

/// A page whose header declares another size or number of values; the footer knows where
/// everything is nevertheless.
fn with_wrong_page_header(file: &[u8], footer: usize, dice: &mut Pcg64Mcg) -> Vec<u8> {
    let metadata = ParquetMetaDataReader::decode_metadata(&file[footer..file.len() - 8]).unwrap();
    let group = choose(dice, metadata.row_groups());
    let page = choose(dice, group.columns()).byte_range().0 as usize;
    // Thrift: one byte before each number; type, size, compressed size, one byte for the struct of
    // the page's own header, which begins with its number of values.
    let number = |from: usize| {
        let to = (from..).find(|at| file[*at] < 0x80).unwrap() + 1;
        from..to
    };
    let page_type = number(page + 1);
    let size = number(page_type.end + 1);
    let compressed_size = number(size.end + 1);
    let values = number(compressed_size.end + 2);
    let location = choose(dice, &[size, compressed_size, values]).clone();
    let sizes = [0, 1, -1, 1000, 1 << 20, 1 << 29, i32::MAX.into(), i32::MIN.into()];
    let declared = varint(*choose(dice, &sizes));
    let grown = declared.len() as i64 - location.len() as i64;
    let moved = [&file[..location.start], &declared, &file[location.end..]].concat();
    let later = |offset: i64| if offset > page as i64 { offset + grown } else { offset };
    let in_column = |_: usize, column: ColumnChunkMetaDataBuilder| {
        let known = column.build().unwrap();
        let is_this = known.byte_range().0 == page as u64;
        let compressed = known.compressed_size() + if is_this { grown } else { 0 };
        let dictionary = known.dictionary_page_offset().map(later);
        let data = later(known.data_page_offset());
        let column = known.into_builder().set_total_compressed_size(compressed);
        let column = column.set_dictionary_page_offset(dictionary).set_data_page_offset(data);
        let column = column.set_offset_index_offset(None).set_offset_index_length(None);
        let column = column.set_column_index_offset(None).set_column_index_length(None);
        column.set_bloom_filter_offset(None).set_bloom_filter_length(None)
    };
    let footer = (footer as i64 + grown) as usize;
    with_footer(&moved, footer, None, &in_column)
}
