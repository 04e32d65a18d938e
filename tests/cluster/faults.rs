//! Faults of `datafusion-distributed` that would give wrong rows, on its own workers and with its own
//! rules; and the same query on ours.

use std::net::Ipv4Addr;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::common::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use datafusion_distributed::{DistributedExt, SessionStateBuilderExt, Worker, WorkerResolver};
use lookback::engine::elsewhere::Elsewhere;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use url::Url;

use crate::tables;

/// What is looked up is counted first, on the one partition that the session has.
const COUNTED_THEN_JOINED: &str = "
    select count(*), count(counted.times)
    from (select digit, count(*) as times from numbers
        where number between 30000 and 70000 group by digit) as counted
    right join numbers on counted.digit = numbers.number";

const NUMBERS: i64 = 100_000;

#[derive(Debug)]
struct Two(Vec<Url>);

impl WorkerResolver for Two {
    fn get_urls(&self) -> Result<Vec<Url>, DataFusionError> {
        Ok(self.0.clone())
    }
}

/// The engine's own worker.
async fn stock_worker() -> Url {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let server = Server::builder().add_service(Worker::default().into_worker_server());
        server.serve_with_incoming(TcpIncoming::from(listener)).await.unwrap();
    });
    Url::parse(&url).unwrap()
}

/// A session with one partition. `state` makes it one that knows workers.
async fn session(
    folder: &std::path::Path,
    state: impl Fn(SessionStateBuilder) -> SessionStateBuilder,
) -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(1);
    let builder = SessionStateBuilder::new().with_default_features().with_config(config);
    let session = SessionContext::new_with_state(state(builder).build());
    let file = tables::numbers(folder, NUMBERS).display().to_string();
    session.register_parquet("numbers", &file, ParquetReadOptions::default()).await.unwrap();
    session
}

fn count(batches: &[arrow::record_batch::RecordBatch]) -> i64 {
    batches[0].column(0).as_primitive::<Int64Type>().value(0)
}

/// Each number from 0 has one digit, and no number is looked up twice: as many rows as numbers.
#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_of_one_partition_is_divided_by_the_engines_own_rule() {
    let folder = tempfile::tempdir().unwrap();
    let here = session(folder.path(), |builder| builder).await;
    let rows = here.sql(COUNTED_THEN_JOINED).await.unwrap().collect().await.unwrap();
    assert_eq!(count(&rows), NUMBERS);

    let urls = vec![stock_worker().await, stock_worker().await];
    let there = session(folder.path(), |builder| {
        builder
            .with_distributed_worker_resolver(Two(urls.clone()))
            .with_distributed_planner()
            .with_distributed_file_scan_config_bytes_per_partition(64 << 10)
            .unwrap()
    });
    let there = there.await;
    let rows = there.sql(COUNTED_THEN_JOINED).await.unwrap().collect().await.unwrap();
    let found = count(&rows);
    assert_ne!(
        found, NUMBERS,
        "mended upstream: remove tasks_of_a_leaf in src/cluster/sent.rs, its page in \
         docs/upstream.md, and this test"
    );
    // Each of the ten digits is counted once in each of the two tasks, and looked up twice.
    assert_eq!(found, NUMBERS + 10, "the fault shows itself in another way than before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_of_one_partition_is_not_divided_by_us() {
    let folder = tempfile::tempdir().unwrap();
    let here = session(folder.path(), |builder| builder).await;
    let plan = here.sql(COUNTED_THEN_JOINED).await.unwrap().create_physical_plan().await.unwrap();
    for (workers, cores) in [(2, 1), (4, 2)] {
        let cluster: Arc<dyn Elsewhere> = tables::cluster(folder.path(), workers, cores).await;
        let rows = cluster.collect("counted, then joined", plan.clone()).await.unwrap();
        assert_eq!(count(&rows), NUMBERS);
    }
}
