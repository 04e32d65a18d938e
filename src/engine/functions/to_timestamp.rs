//! `to_timestamp(text)` and its kin, with the time zone that they promise. DataFusion's own lose it for
//! a column of texts, which ends a query.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::config::ConfigOptions;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

const NAMES: [&str; 5] = [
    "to_timestamp",
    "to_timestamp_seconds",
    "to_timestamp_millis",
    "to_timestamp_micros",
    "to_timestamp_nanos",
];

/// Puts them in place of the session's.
pub fn register(session: &mut dyn FunctionRegistry) -> Result<()> {
    for name in NAMES {
        if let Ok(inner) = session.udf(name) {
            session.register_udf(Arc::new(InZone { inner }.into()))?;
        }
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct InZone {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for InZone {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        let inner = self.inner.inner().with_updated_config(config)?;
        Some(InZone { inner: Arc::new(inner) }.into())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let promised = arguments.return_field.data_type().clone();
        self.inner.inner().invoke_with_args(arguments)?.cast_to(&promised, None)
    }
}
