//! Views of a job file over one table.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::context::SQLOptions;
use datafusion::prelude::DataFrame;

use super::Engine;
use crate::view::RAW;

impl Engine {
    /// Plans the text of a view over a table, which it knows as `raw` and is all that it knows. On
    /// one core, so that rows keep their order. Errors: the text does not fit the table's columns.
    pub async fn view(&self, sql: &str, raw: Arc<dyn TableProvider>) -> Result<DataFrame> {
        let engine = self.fork().map_err(|error| DataFusionError::External(error.into()))?;
        engine.session.register_table(RAW, raw)?;
        let state = engine.with_cores(1);
        let plan = state.create_logical_plan(sql).await?;
        let read_only = SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false);
        read_only.verify_plan(&plan)?;
        Ok(DataFrame::new(state, plan))
    }
}
