//! A certificate and its key, that may be replaced while they are used.

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::InconsistentKeys;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::time::Instant;

use crate::error::{Error, Kind};
use crate::tls::{pem, provider};

/// Files are looked at no more often, and only when somebody connects.
const BETWEEN_LOOKS: Duration = Duration::from_secs(5);
/// No certificate or key is as long: a wrong path must not fill the memory.
const MOST: u64 = 1 << 20;

/// Where certificate and key come from.
pub(super) enum Source {
    Files { certificate: PathBuf, key: PathBuf },
    Memory { certificate: Vec<u8>, key: Vec<u8> },
}

/// The pair that handshakes use now.
pub(super) struct Pair {
    source: Source,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<Arc<CertifiedKey>>,
    /// When the files were last looked at.
    looked: Option<Instant>,
    /// The files as they were when they were last read, whatever came of it.
    seen: Option<[Stamp; 2]>,
}

/// What changes when a file is written or replaced; `None` where there is none.
type Stamp = Option<(u64, Option<SystemTime>, u64)>;

fn stamp(path: &Path) -> Stamp {
    let found = fs::metadata(path).ok()?;
    Some((found.len(), found.modified().ok(), inode(&found)))
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> u64 {
    0
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pair")
    }
}

impl Pair {
    pub(super) fn new(source: Source) -> Self {
        Self { source, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the pair, and uses it from now on if it is valid.
    pub(super) fn reload(&self) -> Result<(), Error> {
        // What is written while this reads has another stamp, so the next look finds it.
        let seen = self.stamps();
        let read = self.read();
        let mut state = self.lock();
        state.seen = seen;
        state.current = Some(Arc::new(read?));
        Ok(())
    }

    /// Reads files that have changed, if it is time to look.
    pub(super) async fn look(this: &Arc<Self>) {
        if !this.is_time(Instant::now()) {
            return;
        }
        let pair = this.clone();
        // A disk that hangs holds up this handshake alone, and its deadline ends it.
        let _ = tokio::task::spawn_blocking(move || pair.look_now()).await;
    }

    /// Whether somebody should look, who then must: others do not while it takes him.
    fn is_time(&self, now: Instant) -> bool {
        if matches!(self.source, Source::Memory { .. }) {
            return false;
        }
        let mut state = self.lock();
        match state.looked {
            Some(at) if now.duration_since(at) < BETWEEN_LOOKS => false,
            _ => {
                state.looked = Some(now);
                true
            }
        }
    }

    fn look_now(&self) {
        let seen = self.stamps();
        if self.lock().seen == seen {
            return;
        }
        match self.reload() {
            Ok(()) => tracing::info!("the TLS certificate was read again"),
            Err(error) => {
                tracing::warn!(%error, "the TLS certificate has changed and is not valid: the old one stays");
            }
        }
    }

    fn stamps(&self) -> Option<[Stamp; 2]> {
        match &self.source {
            Source::Files { certificate, key } => Some([stamp(certificate), stamp(key)]),
            Source::Memory { .. } => None,
        }
    }

    fn read(&self) -> Result<CertifiedKey, Error> {
        match &self.source {
            Source::Memory { certificate, key } => {
                pair(certificate, key, "the certificate", "the key")
            }
            Source::Files { certificate, key } => {
                let (cert_name, key_name) = (certificate.display(), key.display());
                pair(
                    &file(certificate)?,
                    &file(key)?,
                    &cert_name.to_string(),
                    &key_name.to_string(),
                )
            }
        }
    }
}

impl ResolvesServerCert for Pair {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.lock().current.clone()
    }
}

fn wrong(what: String) -> Error {
    Error::new(Kind::Setting(what))
}

fn file(path: &Path) -> Result<Vec<u8>, Error> {
    let read = || {
        let mut bytes = Vec::new();
        let n =
            io::Read::read_to_end(&mut io::Read::take(fs::File::open(path)?, MOST), &mut bytes)?;
        if n as u64 == MOST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is too long"));
        }
        Ok(bytes)
    };
    read().map_err(|e| wrong(format!("cannot read {}: {e}", path.display())))
}

fn pair(
    certificate: &[u8],
    key: &[u8],
    certificate_name: &str,
    key_name: &str,
) -> Result<CertifiedKey, Error> {
    let chain = pem::certificates(certificate, certificate_name)?;
    let key = pem::private_key(key, key_name)?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|e| match e {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => wrong(format!(
            "the key in {key_name} does not belong to the first certificate in {certificate_name}: \
             that of the server must come first, and both must be of one request"
        )),
        rustls::Error::InvalidCertificate(e) => {
            wrong(format!("the certificate in {certificate_name} is not valid: {e:?}"))
        }
        e => wrong(format!("the key in {key_name} cannot be used: {e}")),
    })
}

#[cfg(test)]
mod tests;
