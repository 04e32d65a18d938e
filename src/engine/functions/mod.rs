//! Our own SQL functions: DataFusion has no such function, or none that is fast enough.
//!
//! Each works row by row, or over one window or group, and knows nothing about tables and jobs. A
//! distributed DataFusion that registers them can run the same SQL files. `link_key` is in `raw`,
//! because it is made from a job's link formats.

mod duplicated_values;
pub mod hash64;
pub mod local_date;
mod records;
mod row_key;
mod running_count;
mod sort_key;
mod texts;
mod to_timestamp;

use datafusion::prelude::SessionContext;
pub use records::raw_record;
pub use texts::{is_bad_text, readable, readable_type, text_of, uuid_text, uuids};

/// Registers the functions in a session.
pub fn register(session: &SessionContext) {
    session.register_udf(hash64::hash64());
    session.register_udf(local_date::local_date());
    session.register_udf(records::json_text());
    session.register_udf(records::raw_record());
    session.register_udf(records::with_columns());
    session.register_udf(records::with_reading());
    session.register_udf(row_key::row_key());
    session.register_udf(sort_key::sort_key());
    session.register_udf(texts::is_bad_text());
    session.register_udf(texts::readable());
    session.register_udf(texts::text_of());
    session.register_udf(texts::uuid_text());
    to_timestamp::register(session);
    session.register_udaf(duplicated_values::duplicated_values());
    session.register_udwf(running_count::running_count());
}
