//! Real workers on ports of this machine, in threads of the test. They work as long as the test's
//! process lives, and for all its runs.
//!
//! Refuses to know what the runs are. For the tests that say `#[path = "../workers/mod.rs"]`, with the
//! feature `cluster`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError, mpsc};

use anyhow::{Context, Result};
use lookback::cluster::{Settings, worker};

/// Of so many workers with so many cores each.
static STARTED: Mutex<BTreeMap<(usize, usize), Vec<String>>> = Mutex::new(BTreeMap::new());

/// The addresses of so many workers with so many cores each. They are started once. Errors: no port
/// is free.
pub fn addresses(count: usize, cores: usize) -> Result<Vec<String>> {
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = started.get(&(count, cores)) {
        return Ok(known.clone());
    }
    let new = (0..count).map(|_| start(cores)).collect::<Result<Vec<_>>>()?;
    started.insert((count, cores), new.clone());
    Ok(new)
}

/// The same as a run wants them: even the smallest scan is divided.
#[allow(dead_code, reason = "not each suite makes its runs by itself")]
pub fn settings(count: usize, cores: usize) -> Result<Settings> {
    Ok(Settings { workers: addresses(count, cores)?, min_workers: count, piece: 0, tls: None })
}

fn start(cores: usize) -> Result<String> {
    let (tell, told) = mpsc::channel();
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let settings = worker::Settings { listen, cores, tls: None };
    std::thread::Builder::new().name("worker".to_owned()).spawn(move || -> Result<()> {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(cores).enable_all().build()?;
        let listening = |address| _ = tell.send(address);
        runtime.block_on(worker::serve(&settings, listening, std::future::pending()))
    })?;
    let address = told.recv().context("a worker did not start")?;
    Ok(address.to_string())
}
