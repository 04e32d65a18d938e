//! Protects the decoder from hostile raw files (B1): footers and page headers are checked before
//! the decoder allocates what they declare. Footers are made plain, so that one bad text does not
//! spoil a file.
//!
//! Refuses to know which columns a log has.

mod footer;
mod pages;
mod plain;
mod thrift;

pub(super) use footer::rows;
pub use pages::readers;
pub use plain::{has_encrypted_columns, mended};
pub(super) use plain::{plain, uuids, without_values};
pub(super) use thrift::{STRUCT, Thrift};
