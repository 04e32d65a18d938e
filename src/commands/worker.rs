//! `lookback worker`, and what `--workers` means.

use std::path::PathBuf;
use std::thread::available_parallelism;

use tokio::signal::unix::{SignalKind, signal};

use super::output::Voice;
use crate::cli::{ClusterOptions, TlsOptions, WorkerOptions};
use crate::cluster::worker::{self, serve};
use crate::cluster::{Settings, Tls};
use crate::job::{ClusterSettings, TlsFiles};
use crate::stop::Stop;

/// Serves until Ctrl-C or SIGTERM. Errors: exit 1 when the address is taken.
pub async fn worker(options: WorkerOptions, voice: Voice) -> Result<(), Stop> {
    let own = available_parallelism().map_or(2, usize::from);
    let cores = options.cores.map_or(own, usize::from);
    let tls = certificates(options.tls, TlsFiles::default())?;
    let settings = worker::Settings { listen: options.listen, cores, tls };
    let until = async {
        let wait = async |kind| match signal(kind) {
            Ok(mut signal) => _ = signal.recv().await,
            Err(_) => std::future::pending().await,
        };
        tokio::select! {
            () = wait(SignalKind::interrupt()) => {}
            () = wait(SignalKind::terminate()) => {}
        }
    };
    let listening = |address: std::net::SocketAddr| {
        let word = if cores == 1 { "core" } else { "cores" };
        voice.say(&format!("listening on {address} with {cores} {word}"));
    };
    Ok(serve(&settings, listening, until).await?)
}

/// Who works on a run: whom the arguments name, else whom the job file names. None: this process.
/// Errors: exit 2 when certificates are not all there, or workers are counted and not named.
pub fn cluster_of(
    options: &ClusterOptions,
    job: &ClusterSettings,
) -> Result<Option<Settings>, Stop> {
    let workers = match options.workers.is_empty() {
        true => job.workers.clone(),
        false => options.workers.clone(),
    };
    if workers.is_empty() {
        let is_meant = options.min_workers.is_some() || options.tls.tls_ca.is_some();
        let of_job = "[cluster] has min_workers, and no workers are named";
        let trouble = match (is_meant, job.min_workers) {
            (true, _) => "no workers are named",
            (false, Some(_)) => of_job,
            (false, None) => return Ok(None),
        };
        let hint = "--workers host:port,… or workers of [cluster] name them";
        return Err(Stop::fix_one(trouble).hint(hint));
    }
    let workers: Vec<String> = workers.iter().map(|worker| worker.trim().to_owned()).collect();
    if let Some(wrong) = workers.iter().find(|worker| !is_address(worker)) {
        let trouble = format!("\"{wrong}\" is no worker: host:port is wanted, such as w1:7878");
        return Err(Stop::fix_one(trouble));
    }
    Ok(Some(Settings {
        workers,
        min_workers: options.min_workers.map(usize::from).or(job.min_workers).unwrap_or(1),
        piece: job.piece,
        tls: certificates(options.tls.clone(), job.tls.clone())?,
    }))
}

fn is_address(worker: &str) -> bool {
    let parts = worker.rsplit_once(':');
    parts.is_some_and(|(host, port)| {
        !host.is_empty()
            && !host.contains('/')
            && (!host.contains(':') || host.starts_with('['))
            && port.parse::<u16>().is_ok()
    })
}

/// Errors: exit 2 when some are there and others are not, or one cannot be opened.
fn certificates(options: TlsOptions, job: TlsFiles) -> Result<Option<Tls>, Stop> {
    let either = |own: Option<PathBuf>, job: Option<PathBuf>| own.or(job);
    let files = (
        either(options.tls_ca, job.ca),
        either(options.tls_cert, job.cert),
        either(options.tls_key, job.key),
    );
    match files {
        (Some(ca), Some(cert), Some(key)) => {
            let unreadable = [&ca, &cert, &key].into_iter().filter_map(|file| {
                let error = std::fs::File::open(file).err()?;
                Some(format!("{}: cannot read a certificate or key: {error}", file.display()))
            });
            let unreadable: Vec<String> = unreadable.collect();
            if !unreadable.is_empty() {
                return Err(Stop::fix(unreadable));
            }
            Ok(Some(Tls { ca, cert, key, name: options.tls_name.or(job.name) }))
        }
        (None, None, None) => Ok(None),
        _ => Err(Stop::fix_one(
            "certificates want three files: of the authority, one's own, its key",
        )
        .hint("--tls-ca, --tls-cert and --tls-key, or the same keys of [cluster]")),
    }
}
