//! Protects the decoder from hostile raw files (B1): footers and page headers are checked before
//! the decoder allocates what they declare.
//!
//! Refuses to know which columns a log has.

mod footer;
mod pages;
mod thrift;

pub(super) use footer::rows;
pub(super) use pages::readers;
pub(super) use thrift::{STRUCT, Thrift};
