//! `lookback worker`: runs parts of queries that drivers send. It has no state but what a run's parts
//! share while the run goes on.

use std::collections::VecDeque;
use std::fmt;
use std::future::pending;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use datafusion::common::{DataFusionError, Result as EngineResult};
use datafusion::execution::SessionState;
use datafusion::execution::object_store::{ObjectStoreRegistry, ObjectStoreUrl};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion_distributed::grpc::{
    GetClusterWorkersRequest, GetClusterWorkersResponse, GetTaskProgressRequest,
    GetTaskProgressResponse, ObservabilityService, ObservabilityServiceServer, PingRequest,
    PingResponse, TaskProgress, TaskStatus,
};
use datafusion_distributed::{
    DistributedExt, Worker, WorkerPlanRewriteEvent, WorkerPlanRewriteEventResponse,
    WorkerQueryContext,
};
use object_store::ObjectStore;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::sleep;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use url::Url;

use super::apart::Apart;
use super::channels::{Channels, GIVEN_UP, KEEP_ALIVE, Tls};
use super::codec::{Codec, kept_of};
use super::roster::{Introduction, program};
use super::sent::{PROGRAM, RUN};
use super::whole::whole;
use super::write::writing;
use crate::engine::read_ahead::ask_ahead_for;
use crate::engine::{self, Tuning};
use crate::location::{Location, StoreSettings, Stores};
use crate::progress::ticks;
use crate::raw;

/// Runs whose files are kept in memory at once.
const RUNS: usize = 2;

/// How long a worker that is asked to end waits for those who are connected. Their plans run elsewhere
/// then.
const ENDING: Duration = Duration::from_secs(20);

/// Where a worker listens, and how it works.
#[derive(Debug, Clone)]
pub struct Settings {
    pub listen: SocketAddr,
    pub cores: usize,
    pub tls: Option<Tls>,
}

/// Serves until `until` ends. `listening` is told the address. Errors: the address is taken;
/// certificates that cannot be read.
pub async fn serve(
    settings: &Settings,
    listening: impl FnOnce(SocketAddr),
    until: impl Future<Output = ()>,
) -> Result<()> {
    let Settings { listen, cores, tls } = settings;
    let program = program()?;
    let about = Introduction {
        program: program.clone(),
        cores: *cores,
        instance: uuid::Uuid::now_v7().to_string(),
    };
    let desk = Arc::new(Desk {
        runs: Mutex::default(),
        channels: Channels::new(tls.as_ref())?,
        cores: *cores,
        program,
    });
    let sessions = move |query: WorkerQueryContext| {
        let desk = desk.clone();
        async move { desk.session(query) }
    };
    let worker =
        Worker::from_session_builder(sessions).with_version(serde_json::to_string(&about)?);
    let listener = TcpListener::bind(listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr()?;
    let incoming =
        TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(GIVEN_UP));
    let mut server = Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(GIVEN_UP))
        .http2_adaptive_window(Some(true));
    if let Some(tls) = tls {
        server = server.tls_config(tls.server()?)?;
    }
    let queries = Builder::new_multi_thread()
        .worker_threads(*cores)
        .thread_name("query")
        .enable_all()
        .build()?;
    listening(address);
    let service = worker.into_worker_server();
    let (told, asked_to_end) = oneshot::channel();
    let until = async {
        until.await;
        let _ = told.send(());
    };
    let served = server
        .add_service(Apart { service, runtime: queries.handle().clone() })
        .add_service(ObservabilityServiceServer::new(Observed))
        .serve_with_incoming_shutdown(incoming, until);
    let served = tokio::select! {
        served = served => served,
        () = over(asked_to_end) => Ok(()),
    };
    // Not waited for: what still runs there nobody wants any more.
    queries.shutdown_background();
    Ok(served?)
}

/// Ends when those who are connected had their time after the worker was asked to end.
async fn over(asked_to_end: oneshot::Receiver<()>) {
    match asked_to_end.await {
        Ok(()) => sleep(ENDING).await,
        Err(_) => pending().await,
    }
}

/// Makes the sessions of queries. Those of one run share what was read.
struct Desk {
    runs: Mutex<VecDeque<(String, Run)>>,
    channels: Channels,
    cores: usize,
    program: String,
}

/// What the parts of one run share: files of another run may have changed since.
#[derive(Clone)]
struct Run {
    stores: Stores,
    runtime: Arc<RuntimeEnv>,
}

impl Desk {
    fn session(&self, query: WorkerQueryContext) -> EngineResult<SessionState> {
        let header = |name| query.headers.get(name).and_then(|value| value.to_str().ok());
        if header(PROGRAM) != Some(&self.program) {
            let (ours, theirs) = (&self.program, header(PROGRAM).unwrap_or("nothing"));
            let trouble = format!("a plan of {theirs}, and this worker is {ours}");
            return Err(DataFusionError::Execution(trouble));
        }
        let run = self.run(header(RUN).unwrap_or_default())?;
        let Run { stores, runtime } = run;
        let ahead = {
            let (stores, runtime) = (stores.clone(), runtime.clone());
            move |event: WorkerPlanRewriteEvent<'_>| {
                let kept = |url: &ObjectStoreUrl| kept_of(&stores, url.as_str());
                ask_ahead_for(&event.plan, &runtime, kept)?;
                Ok(WorkerPlanRewriteEventResponse::new(event.plan))
            }
        };
        let builder = query
            .builder
            .with_runtime_env(runtime)
            .with_distributed_user_codec(Codec { stores })
            .with_distributed_worker_plan_rewrite_handler(ahead)
            .with_distributed_worker_plan_rewrite_handler(whole)
            .with_distributed_channel_resolver(self.channels.clone());
        let tuning = Tuning { partitions: self.cores, ..Tuning::default() };
        engine::session_of_a_worker(builder, &tuning, raw::link_key_function())
    }

    fn run(&self, id: &str) -> EngineResult<Run> {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, run)) = runs.iter().find(|(known, _)| known == id) {
            return Ok(run.clone());
        }
        let stores = Stores::new(StoreSettings::default());
        let registry = Arc::new(Registry(stores.clone()));
        let runtime = RuntimeEnvBuilder::new().with_object_store_registry(registry).build_arc()?;
        let run = Run { stores, runtime };
        runs.push_back((id.to_owned(), run.clone()));
        if runs.len() > RUNS {
            runs.pop_front();
        }
        Ok(run)
    }
}

/// Stores with the credentials of this process, made when they are first asked for.
struct Registry(Stores);

/// Hides the stores.
impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registry")
    }
}

impl ObjectStoreRegistry for Registry {
    fn register_store(&self, _: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        Some(store)
    }

    fn deregister_store(&self, url: &Url) -> EngineResult<Arc<dyn ObjectStore>> {
        self.get_store(url)
    }

    fn get_store(&self, url: &Url) -> EngineResult<Arc<dyn ObjectStore>> {
        let text = if url.scheme() == "file" { "file:///" } else { url.as_str() };
        let location = Location::parse_in(&self.0, text, Path::new("/"));
        let location = location.map_err(|error| DataFusionError::External(error.into()))?;
        Ok(location.store().clone())
    }
}

/// Tells drivers that work goes on. The first task is the worker itself: its rows count all progress
/// in this process. The others are plans that write.
struct Observed;

#[async_trait]
impl ObservabilityService for Observed {
    async fn ping(&self, _: Request<PingRequest>) -> Result<Response<PingResponse>, Status> {
        Ok(Response::new(PingResponse { value: 1 }))
    }

    async fn get_task_progress(
        &self,
        _: Request<GetTaskProgressRequest>,
    ) -> Result<Response<GetTaskProgressResponse>, Status> {
        let status = TaskStatus::Running as i32;
        let task = |output_rows| TaskProgress { task_key: None, status, output_rows };
        let mut tasks = vec![task(ticks())];
        tasks.extend((0..writing()).map(|_| task(0)));
        Ok(Response::new(GetTaskProgressResponse { tasks, worker_metrics: None }))
    }

    async fn get_cluster_workers(
        &self,
        _: Request<GetClusterWorkersRequest>,
    ) -> Result<Response<GetClusterWorkersResponse>, Status> {
        Err(Status::unimplemented("workers do not know each other"))
    }
}
