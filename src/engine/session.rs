//! What a session is set to: how it splits work, bounds memory and reads SQL.
//!
//! Refuses to know tables and queries.

use std::num::NonZeroUsize;
use std::sync::Arc;

use anyhow::Result;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{FunctionRegistry, SessionState, SessionStateBuilder};
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::SessionConfig;

use super::elsewhere::{Elsewhere, Travels};
use super::functions;
use super::scratch::Scratch;

/// How the engine splits work and bounds memory. It never changes a row.
#[derive(Debug, Clone)]
pub struct Tuning {
    pub partitions: usize,
    pub batch_size: usize,
    /// Bytes that sorts, joins and aggregates may hold before they use disk. None: no limit.
    pub memory: Option<usize>,
    /// Where fewer than one row in so many is wanted, the wanted rows are found before their other
    /// columns are decoded.
    pub selective_ratio: u64,
    /// Bytes of object stores' files that are held in memory, if that is less than the job says.
    pub kept: Option<u64>,
}

impl Default for Tuning {
    fn default() -> Tuning {
        let partitions = std::thread::available_parallelism().map_or(2, usize::from);
        Tuning { partitions, batch_size: 32_768, memory: None, selective_ratio: 100, kept: None }
    }
}

impl Tuning {
    /// The default, or one for a limit in bytes. Half of the limit is for sorts, joins and
    /// aggregates, which the engine accounts for. The other half is for windows, files and the
    /// program itself, which it does not account for. An eighth is for what is kept of object stores. A limit also means one partition, because an
    /// exchange between partitions can block when it has to use disk.
    pub fn within(memory_limit: Option<usize>) -> Tuning {
        match memory_limit {
            None => Tuning::default(),
            Some(limit) => Tuning {
                partitions: 1,
                memory: Some(limit / 2),
                kept: Some(limit as u64 / 8),
                ..Tuning::default()
            },
        }
    }
}

/// The settings that decide what SQL means, and how fast it is. They are the same in all processes that
/// work on a query.
pub fn settings(config: SessionConfig, tuning: &Tuning) -> SessionConfig {
    let mut config = config
        .with_target_partitions(tuning.partitions.max(1))
        .with_batch_size(tuning.batch_size.max(1))
        .with_information_schema(false);
    let options = config.options_mut();
    options.execution.time_zone = Some("UTC".into());
    options.sql_parser.parse_float_as_decimal = true;
    // It mixes up columns of structs with others of their names, in views.
    options.optimizer.enable_leaf_expression_pushdown = false;
    // Sorting all rows at once is faster than sorting pieces and merging them.
    options.execution.sort_in_place_threshold_bytes = 256 << 20;
    // A build side that fits into memory is not partitioned: exchanging rows is slower.
    options.optimizer.hash_join_single_partition_threshold = 256 << 20;
    options.optimizer.hash_join_single_partition_threshold_rows = 2_000_000;
    config
}

/// The same for plans that run elsewhere.
pub fn settings_elsewhere(config: SessionConfig, elsewhere: &dyn Elsewhere) -> SessionConfig {
    let mut config = config.with_target_partitions(elsewhere.cores_each().max(1));
    config.set_extension(Arc::new(Travels));
    let options = &mut config.options_mut().optimizer;
    options.repartition_file_min_size = elsewhere.piece();
    // What a filter learns in one process does not reach the others.
    options.enable_dynamic_filter_pushdown = false;
    options.enable_join_dynamic_filter_pushdown = false;
    options.enable_topk_dynamic_filter_pushdown = false;
    options.enable_aggregate_dynamic_filter_pushdown = false;
    options.enable_physical_uncorrelated_scalar_subquery = false;
    config
}

/// For models that keep the order in which rows are read: no join swaps or repartitions its inputs.
pub fn in_order_read(mut state: SessionState) -> SessionState {
    let options = state.config_mut().options_mut();
    options.optimizer.join_reordering = false;
    options.optimizer.repartition_joins = false;
    options.optimizer.enable_round_robin_repartition = false;
    state
}

/// A session for parts of queries that come from a driver. `further` are functions that the engine does
/// not know. Errors: the session takes no functions.
pub fn session_of_a_worker(
    mut builder: SessionStateBuilder,
    tuning: &Tuning,
    further: ScalarUDF,
) -> datafusion::common::Result<SessionState> {
    let config = builder.config().get_or_insert_default();
    *config = settings(std::mem::take(config), tuning);
    let mut state = builder.build();
    functions::register(&mut state)?;
    state.register_udf(Arc::new(further))?;
    Ok(state)
}

/// Spills to the scratch folder, within the memory limit.
pub fn runtime(tuning: &Tuning, scratch: &Scratch) -> Result<Arc<RuntimeEnv>> {
    let spilled = DiskManagerMode::Directories(vec![scratch.path().to_owned()]);
    let disk = DiskManagerBuilder::default().with_mode(spilled);
    let runtime = RuntimeEnvBuilder::new().with_disk_manager_builder(disk);
    let runtime = match tuning.memory {
        Some(bytes) => {
            let pool = FairSpillPool::new(bytes);
            let shown = NonZeroUsize::MIN.saturating_add(4);
            runtime.with_memory_pool(Arc::new(TrackConsumersPool::new(pool, shown)))
        }
        None => runtime,
    };
    Ok(runtime.build_arc()?)
}
