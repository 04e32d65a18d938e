//! A view of the job file: one SELECT from `raw` that gives rows of another shape ours (I2).
//!
//! Each row that comes out is made of one row that goes in. What could break that is refused when
//! the job file is read, before any file is looked at. Refuses to know which columns are wanted.

mod carry;
mod refused;

pub use carry::carrying;
pub use refused::refusals;

/// The text of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// As the job file names it, for messages.
    pub file: String,
    pub sql: String,
}

/// The only table that a view reads.
pub const RAW: &str = "raw";
