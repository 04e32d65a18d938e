//! Writes values into columns fast: text without formatting macros, null or empty where a value is
//! missing.

use arrow::array::StringBuilder;

const HEX: &[u8; 16] = b"0123456789abcdef";
const BASE32: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

/// A text column of a batch of `rows`, about `width` bytes each.
pub fn text_column(rows: usize, width: usize) -> StringBuilder {
    StringBuilder::with_capacity(rows, rows * width)
}

/// A missing value: null or empty, because logs have both.
pub fn append_missing(column: &mut StringBuilder, seed: u64) {
    if seed.is_multiple_of(2) {
        column.append_null();
    } else {
        column.append_value("");
    }
}

/// The last `digits` hexadecimal digits of a number.
pub fn push_hex(text: &mut String, number: u64, digits: u32) {
    text.extend(
        (0..digits).rev().map(|digit| char::from(HEX[(number >> (4 * digit) & 15) as usize])),
    );
}

/// The last `digits` digits of a number in base 32.
pub fn push_base32(text: &mut String, number: u64, digits: u32) {
    text.extend(
        (0..digits).rev().map(|digit| char::from(BASE32[(number >> (5 * digit) & 31) as usize])),
    );
}

/// The last `digits` decimal digits of a number.
pub fn push_digits(text: &mut String, number: u64, digits: u32) {
    let mut unit = 10_u64.pow(digits - 1);
    while unit > 0 {
        text.push(char::from(b'0' + (number / unit % 10) as u8));
        unit /= 10;
    }
}
