//! Connections to workers: with keep-alive, so that a peer that is frozen or gone is noticed within
//! seconds, and with certificates where the job has some.

use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use datafusion::common::DataFusionError;
use datafusion_distributed::grpc::{BoxCloneSyncChannel, create_worker_client};
use datafusion_distributed::{ChannelResolver, WorkerChannel};
use tokio::runtime::Handle;
use tonic::transport::{
    Certificate, Channel, ClientTlsConfig, Endpoint, Identity, ServerTlsConfig,
};
use url::Url;

use crate::stop::Stop;

/// A peer that does not answer is asked after so long, and given up after so long again. A machine that
/// is only busy answers in time.
pub const KEEP_ALIVE: Duration = Duration::from_secs(5);
pub const GIVEN_UP: Duration = Duration::from_secs(15);

/// Files with certificates, all in PEM. The same ones serve driver and workers: each shows its own
/// and wants one of the same authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Of the authority that all certificates are from.
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
    /// The name in the workers' certificates. None: the host, as it was typed.
    pub name: Option<String>,
}

impl Tls {
    /// The error of files that hold no certificates, or no key for them.
    fn are_none(&self, error: &tonic::transport::Error) -> Stop {
        let cause = error.source().map_or(error.to_string(), ToString::to_string);
        let Tls { ca, cert, key, .. } = self;
        let [ca, cert, key] = [ca, cert, key].map(|file| file.display());
        Stop::fix_one(format!("{ca}, {cert} and {key} are no certificates with a key: {cause}"))
            .hint("PEM is wanted; jobs/cluster/certificates.sh makes such files")
    }

    fn identity(&self) -> Result<Identity> {
        Ok(Identity::from_pem(read(&self.cert)?, read(&self.key)?))
    }

    pub fn server(&self) -> Result<ServerTlsConfig> {
        // The crates below have two kinds of cryptography built in, and a server has to choose. It has
        // been chosen already where this errs.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let authority = Certificate::from_pem(read(&self.ca)?);
        Ok(ServerTlsConfig::new().identity(self.identity()?).client_ca_root(authority))
    }

    fn client(&self) -> Result<ClientTlsConfig> {
        let authority = Certificate::from_pem(read(&self.ca)?);
        let config = ClientTlsConfig::new().ca_certificate(authority).identity(self.identity()?);
        Ok(match &self.name {
            Some(name) => config.domain_name(name),
            None => config,
        })
    }
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("{}: cannot read", file.display()))
}

/// A connection to each worker, made when it is first needed and again when it broke.
#[derive(Clone)]
pub struct Channels {
    /// Where connections are looked after: not where queries keep all threads busy.
    runtime: Handle,
    tls: Option<ClientTlsConfig>,
    by_url: Arc<Mutex<HashMap<Url, Channel>>>,
}

impl Channels {
    /// Connections that the current runtime looks after. Errors: certificates that cannot be read; exit 2
    /// with files that hold none; there is no runtime.
    pub fn new(tls: Option<&Tls>) -> Result<Channels> {
        let client = tls.map(Tls::client).transpose()?;
        if let (Some(files), Some(client)) = (tls, &client) {
            let tried = Endpoint::from_static("https://localhost").tls_config(client.clone());
            tried.map_err(|error| files.are_none(&error))?;
        }
        Ok(Channels { runtime: Handle::try_current()?, tls: client, by_url: Arc::default() })
    }

    /// The scheme of workers' URLs.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Errors: certificates that are none.
    pub fn to(&self, url: &Url) -> Result<Channel> {
        let mut by_url = self.by_url.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = by_url.get(url) {
            return Ok(channel.clone());
        }
        let endpoint = Endpoint::from_shared(url.to_string())?
            .connect_timeout(KEEP_ALIVE)
            .tcp_nodelay(true)
            .http2_adaptive_window(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(GIVEN_UP)
            .keep_alive_while_idle(true);
        let endpoint = match &self.tls {
            Some(tls) => endpoint.tls_config(tls.clone())?,
            None => endpoint,
        };
        let _in_runtime = self.runtime.enter();
        let channel = endpoint.connect_lazy();
        by_url.insert(url.clone(), channel.clone());
        Ok(channel)
    }

    pub fn client(&self, url: &Url) -> Result<Box<dyn WorkerChannel>> {
        Ok(create_worker_client(BoxCloneSyncChannel::new(self.to(url)?)))
    }
}

#[async_trait]
impl ChannelResolver for Channels {
    async fn get_worker_client_for_url(
        &self,
        url: &Url,
    ) -> Result<Box<dyn WorkerChannel>, DataFusionError> {
        self.client(url).map_err(|error| DataFusionError::External(error.into()))
    }
}
