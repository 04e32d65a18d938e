//! The part of Thrift's compact protocol that is needed to read what a Parquet footer or page
//! header declares, before the decoder allocates memory for it.
//!
//! Refuses to know what a field means. Trusts no length: missing bytes are `None`.

/// The bytes left to read.
pub struct Thrift<'a>(pub &'a [u8]);

/// How a field's value is written.
pub type Kind = u8;

pub const I32: Kind = 5;
pub const STRUCT: Kind = 12;

/// How deep structs may be nested. Parquet's are less deep.
const DEEPEST: u8 = 32;

impl Thrift<'_> {
    /// Reads a struct. `read` gets the id and kind of each field in turn, and reads or skips its
    /// value. None when bytes are missing.
    pub fn fields(
        &mut self,
        mut read: impl FnMut(&mut Self, i16, Kind) -> Option<()>,
    ) -> Option<()> {
        let mut id = 0_i16;
        loop {
            let head = self.byte()?;
            let kind = head & 0x0f;
            if kind == 0 {
                return Some(());
            }
            id = match head >> 4 {
                0 => i16::try_from(self.number()?).ok()?,
                step => id.checked_add(step.into())?,
            };
            read(self, id, kind)?;
        }
    }

    pub fn number(&mut self) -> Option<i64> {
        let zigzag = self.unsigned()?;
        Some((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    }

    pub fn skip(&mut self, kind: Kind) -> Option<()> {
        self.skip_nested(kind, DEEPEST)
    }

    fn skip_nested(&mut self, kind: Kind, depth: u8) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            // A boolean's kind is its value.
            1 | 2 => Some(()),
            3 => self.bytes(1),
            4..=6 => self.unsigned().map(drop),
            7 => self.bytes(8),
            8 => {
                let length = self.unsigned()?;
                self.bytes(length)
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = match head >> 4 {
                    15 => self.unsigned()?,
                    count => count.into(),
                };
                // Each item takes at least one byte, so a count that is too high ends early.
                (0..count).try_for_each(|_| match head & 0x0f {
                    1 | 2 => self.bytes(1),
                    kind => self.skip_nested(kind, depth),
                })
            }
            STRUCT => self.fields(|thrift, _, kind| thrift.skip_nested(kind, depth)),
            _ => None,
        }
    }

    fn unsigned(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, left) = self.0.split_first()?;
        self.0 = left;
        Some(*first)
    }

    fn bytes(&mut self, count: u64) -> Option<()> {
        self.0 = self.0.get(usize::try_from(count).ok()?..)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_struct_is_skipped_to_its_end() {
        // 1: -1, 2: "ab", 20: true, 21: [[], [2 numbers]], 22: {1: a double}, the end, and more.
        let bytes = [
            &[0x15, 1, 0x18, 2][..],
            b"ab",
            &[0x01, 40, 0x19, 0x29, 0x05, 0x25, 0x80, 1, 7, 0x1c, 0x17, 1, 2, 3, 4, 5, 6, 7, 8, 0],
            &[0, 99],
        ]
        .concat();
        let mut thrift = Thrift(&bytes);
        assert_eq!(thrift.skip(STRUCT), Some(()));
        assert_eq!(thrift.0, [99]);
        for end in 0..bytes.len() - 1 {
            assert_eq!(Thrift(&bytes[..end]).skip(STRUCT), None, "{end}");
        }
    }

    #[test]
    fn what_is_declared_and_not_there_is_refused() {
        let far = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        let declared = |head: &[u8]| [head, &far, &[0, 0]].concat();
        assert_eq!(Thrift(&declared(&[0x18])).skip(STRUCT), None, "text");
        assert_eq!(Thrift(&declared(&[0x19, 0xfc])).skip(STRUCT), None, "structs");
        assert_eq!(Thrift(&declared(&[0x19, 0xf1])).skip(STRUCT), None, "truth values");
        assert_eq!(Thrift(&[0xff; 20]).number(), None, "a number without an end");
        assert_eq!(Thrift(&[0x1c; 1000]).skip(STRUCT), None, "structs in structs");
    }
}
