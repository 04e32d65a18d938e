//! Who works on a job's runs, if not one machine.

use std::path::PathBuf;

use super::Reader;

const SECTION: &str = "cluster";

/// The workers of a job, as its file or the arguments name them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSettings {
    /// `host:port` of each. Empty: this process does the work.
    pub workers: Vec<String>,
    /// With fewer workers a run ends. None: with none.
    pub min_workers: Option<usize>,
    /// Bytes of files that are worth a partition of their own.
    pub piece: usize,
    pub tls: TlsFiles,
}

/// Files with certificates in PEM, for driver and workers alike. All or none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Of the authority.
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// The name in the workers' certificates, where it is not the host.
    pub name: Option<String>,
}

impl TlsFiles {
    const KEYS: [&str; 3] = ["tls_ca", "tls_cert", "tls_key"];

    /// The keys of the files that are not named.
    fn missing(&self) -> Vec<&'static str> {
        let files = [&self.ca, &self.cert, &self.key];
        let keys = Self::KEYS.into_iter().zip(files);
        keys.filter(|(_, file)| file.is_none()).map(|(key, _)| key).collect()
    }
}

/// Whether a text is `host:port`.
pub fn is_address(worker: &str) -> bool {
    let parts = worker.rsplit_once(':');
    parts.is_some_and(|(host, port)| {
        !host.is_empty()
            && !host.contains('/')
            && (!host.contains(':') || host.starts_with('['))
            && port.parse::<u16>().is_ok()
    })
}

/// Takes the section out of the job file. Complaints go to the reader.
pub(super) fn read(reader: &mut Reader<'_>) -> ClusterSettings {
    let workers = reader.texts(SECTION, "workers").unwrap_or_default();
    // No count is zero, which cannot be typed.
    let min_workers = reader.number(SECTION, "min_workers", 0, 1..=10_000).unwrap_or(0);
    let piece = reader.number(SECTION, "piece_mb", 16, 0..=1 << 20).unwrap_or(16);
    let mut file = |key: &str| {
        let typed = reader.optional_text(SECTION, key)?;
        Some(reader.folder.join(typed))
    };
    let (ca, cert, key) = (file("tls_ca"), file("tls_cert"), file("tls_key"));
    let tls = TlsFiles { ca, cert, key, name: reader.optional_text(SECTION, "tls_name") };
    for wrong in workers.iter().filter(|worker| !is_address(worker.trim())) {
        let trouble = format!("names \"{wrong}\": host:port is wanted, such as w1:7878");
        reader.complain::<()>(SECTION, "workers", trouble);
    }
    let missing = tls.missing();
    // Without any, there are no certificates.
    let is_part = missing.len() < TlsFiles::KEYS.len();
    for key in missing.into_iter().filter(|_| is_part) {
        let trouble =
            "is missing: the certificate of the authority, one's own and its key go together";
        reader.complain::<()>(SECTION, key, trouble);
    }
    ClusterSettings {
        workers,
        min_workers: usize::try_from(min_workers).ok().filter(|count| *count > 0),
        piece: usize::try_from(piece << 20).unwrap_or(usize::MAX),
        tls,
    }
}
