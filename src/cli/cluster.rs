//! The flags of a cluster: of a worker, and of a run that workers do.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

/// How a worker listens.
#[derive(Debug, Args)]
pub struct WorkerOptions {
    /// Address to listen on; port 0 is any free one
    #[arg(long, default_value = "127.0.0.1:7878", value_parser = address)]
    pub listen: SocketAddr,
    /// Partitions that are worked on at once; by default as many as there are cores
    #[arg(
        long,
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u16).range(1..=1024)
    )]
    pub cores: Option<u16>,
    #[command(flatten)]
    pub tls: TlsOptions,
}

/// Who works on a run, where the job file does not say it.
#[derive(Debug, Args, Default)]
pub struct ClusterOptions {
    /// Workers that do the work: host:port, with commas; a name may stand for several
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub workers: Vec<String>,
    /// End with exit 1 when fewer workers answer
    #[arg(
        long,
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub min_workers: Option<u16>,
    #[command(flatten)]
    pub tls: TlsOptions,
}

/// Files in PEM. Driver and workers show certificates of one authority to each other.
#[derive(Debug, Clone, Args, Default)]
pub struct TlsOptions {
    /// Certificate of the authority
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Certificate of this process
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Key of this certificate
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Name in the workers' certificates, where it is not the host
    #[arg(long, value_name = "NAME")]
    pub tls_name: Option<String>,
}

/// Names are not looked up: one may stand for several addresses.
fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "an address in numbers and a port up to 65535 are wanted, such as 0.0.0.0:7878".to_owned()
    })
}
