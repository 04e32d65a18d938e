//! What monitors, schedulers and catalogs are told of a run, in files of theirs or by HTTP.
//!
//! Refuses to know how a run is made, and to let it wait: trouble with a catalog is a warning.

/// Prometheus metrics of a run.
pub mod metrics;
/// OpenLineage events of a run.
pub mod openlineage;
/// Files that appear whole.
pub mod place;
/// Traces of a run.
pub mod traces;
