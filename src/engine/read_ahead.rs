//! Asks an object store for what a scan will read, for all its files at once. The scan itself opens
//! one file after the other on each core, and would wait for each.

use std::collections::BTreeSet;
use std::iter;
use std::ops::Range;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::ExecutionPlan;
use object_store::ObjectMeta;
use parquet::file::metadata::ParquetMetaData;

use crate::location::{FOOTER_HINT, Kept};

/// Begins to read columns of files that a scan will read. A scan for few rows would read parts of
/// them, but file after file. What fails here fails again in the scan, which says so.
pub fn ask_ahead(
    kept: &Arc<Kept>,
    files: impl IntoIterator<Item = ObjectMeta>,
    columns: &Arc<BTreeSet<String>>,
    footers: &Arc<FileMetadataCache>,
) {
    for file in files {
        kept.announce(&file.location, file.size, file.e_tag.as_deref());
        let (kept, columns, footers) = (kept.clone(), columns.clone(), footers.clone());
        tokio::spawn(async move {
            let path = &file.location;
            let ranges = match Kept::is_read_whole(file.size) {
                true => iter::once(0..file.size).collect(),
                false => {
                    let footer = DFParquetMetadata::new(kept.as_ref(), &file)
                        .with_metadata_size_hint(Some(FOOTER_HINT as usize))
                        .with_file_metadata_cache(Some(footers));
                    match footer.fetch_metadata().await {
                        Ok(footer) => ranges(&footer, &columns),
                        Err(_) => return,
                    }
                }
            };
            if let Err(error) = kept.read_ahead(path, &ranges).await {
                tracing::debug!("{path}: not read ahead: {error}");
            }
        });
    }
}

/// The same for all scans of a plan that came from another process. `kept_of` knows the stores that keep
/// what they read.
pub fn ask_ahead_for(
    plan: &Arc<dyn ExecutionPlan>,
    runtime: &RuntimeEnv,
    kept_of: impl Fn(&ObjectStoreUrl) -> Option<Arc<Kept>>,
) -> Result<()> {
    let footers = runtime.cache_manager.get_file_metadata_cache();
    plan.apply(|node| {
        let scan = node.downcast_ref::<DataSourceExec>();
        let scan = scan.and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>());
        if let Some(scan) = scan
            && let Some(kept) = kept_of(&scan.object_store_url)
        {
            let source = scan.file_source();
            let read = source.projection().into_iter().flat_map(|columns| columns.iter());
            let read = read.map(|column| column.expr.clone()).chain(source.filter());
            let read = read.flat_map(|expression| collect_columns(&expression));
            let columns = Arc::new(read.map(|column| column.name().to_owned()).collect());
            let files = scan.file_groups.iter().flat_map(|group| group.iter());
            ask_ahead(&kept, files.map(|file| file.object_meta.clone()), &columns, &footers);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// Where some columns are in a file. Names are those of the outermost fields.
fn ranges(footer: &ParquetMetaData, columns: &BTreeSet<String>) -> Vec<Range<u64>> {
    let schema = footer.file_metadata().schema_descr();
    let mut ranges = Vec::new();
    for group in footer.row_groups() {
        for (position, column) in group.columns().iter().enumerate() {
            if columns.contains(schema.get_column_root(position).name()) {
                let (start, length) = column.byte_range();
                ranges.push(start..start + length);
            }
        }
    }
    ranges
}
