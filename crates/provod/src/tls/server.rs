//! What a server needs to speak TLS.

mod pair;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::{NoServerSessionStorage, ServerConfig, WebPkiClientVerifier};
use rustls::{RootCertStore, crypto};

use super::key_log::KeyLog;
use super::{pem, provider};
use crate::error::{Error, Kind};

use pair::{Pair, Source};

/// TLS for a [`Server`](crate::Server): a certificate with its key, and what is asked of clients.
///
/// ```no_run
/// # async fn example() -> Result<(), provod::Error> {
/// use provod::tls::ServerTls;
///
/// let tls = ServerTls::from_pem_files("fullchain.pem", "privkey.pem");
/// provod::Server::new()
///     .listen("0.0.0.0:443")
///     .tls(tls.clone())
///     .serve(|mut ws: provod::WebSocket| async move {
///         while let Some(message) = ws.recv().await? {
///             ws.send(message).await?;
///         }
///         Ok(())
///     })
///     .await
/// # }
/// ```
///
/// TLS 1.3 and 1.2 are spoken (RFC 8446, RFC 5246). By ALPN (RFC 7301) `h2` is chosen where the
/// server speaks HTTP/2 and the client offers it, else `http/1.1`.
/// Certificates in files are renewed while the server runs: see
/// [`from_pem_files`](Self::from_pem_files). Clones share the certificate.
#[derive(Clone)]
pub struct ServerTls {
    source: Certificate,
    clients: Option<Clients>,
    key_log: Option<PathBuf>,
    pub(crate) handshake_timeout: Duration,
}

#[derive(Clone)]
enum Certificate {
    Pair(Arc<Pair>),
    Config(Arc<ServerConfig>),
}

/// Who may connect.
#[derive(Clone)]
struct Clients {
    authorities: Vec<u8>,
    required: bool,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("client_certificate", &self.clients.as_ref().map(|c| c.required))
            .field("handshake_timeout", &self.handshake_timeout)
            .finish_non_exhaustive()
    }
}

impl ServerTls {
    fn new(source: Certificate) -> Self {
        let handshake_timeout = Duration::from_secs(10);
        Self { source, clients: None, key_log: None, handshake_timeout }
    }

    /// The certificate in a PEM file, with those that lead to its authority behind it, and its
    /// private key in another: PKCS #8, PKCS #1 or SEC 1, not encrypted. Both may be one file.
    ///
    /// They are read when the server starts, and again when they have changed: a handshake that
    /// comes 5 s or more after the last look has another. New connections have the new certificate
    /// then, those that are open go on. A pair that is not valid, as while only one of two files is
    /// written, changes nothing but the log, which says so as a warning.
    pub fn from_pem_files(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        let (certificate, key) = (certificate.into(), key.into());
        Self::new(Certificate::Pair(Arc::new(Pair::new(Source::Files { certificate, key }))))
    }

    /// As [`from_pem_files`](Self::from_pem_files), from memory.
    pub fn from_pem(certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        let (certificate, key) = (certificate.into(), key.into());
        Self::new(Certificate::Pair(Arc::new(Pair::new(Source::Memory { certificate, key }))))
    }

    /// Uses a configuration of your own, as it is: nothing else that is set here about
    /// certificates, keys or clients holds. Early data (0-RTT) must be off in it.
    #[must_use]
    pub fn from_config(config: Arc<ServerConfig>) -> Self {
        Self::new(Certificate::Config(config))
    }

    /// Takes only clients with a certificate of one of these authorities, in PEM: others fail in
    /// the handshake. [`Request::client_certificate`](crate::server::Request::client_certificate)
    /// tells which it was. Default: no certificate is asked for.
    #[must_use]
    pub fn require_client_certificate(mut self, authorities: impl Into<Vec<u8>>) -> Self {
        self.clients = Some(Clients { authorities: authorities.into(), required: true });
        self
    }

    /// As [`require_client_certificate`](Self::require_client_certificate), but clients without a
    /// certificate are taken too.
    #[must_use]
    pub fn request_client_certificate(mut self, authorities: impl Into<Vec<u8>>) -> Self {
        self.clients = Some(Clients { authorities: authorities.into(), required: false });
        self
    }

    /// Appends the secrets of all connections to this file, in the form of `SSLKEYLOGFILE`:
    /// **whoever can read it can read all traffic**. Wireshark does. Default: they go nowhere,
    /// whatever the environment says.
    #[must_use]
    pub fn key_log(mut self, path: impl Into<PathBuf>) -> Self {
        self.key_log = Some(path.into());
        self
    }

    /// Sets how long a client may take for its part of the TLS handshake. Default: 10 s; the
    /// [request](crate::Server::handshake_timeout) has its own time after that.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Reads the files again, now. Servers that run with this, or a clone of it, use what was read
    /// from the next handshake on.
    ///
    /// # Errors
    ///
    /// When they cannot be read or do not belong together ([`is_usage`](Error::is_usage)): what
    /// was used is still used.
    pub fn reload(&self) -> Result<(), Error> {
        match &self.source {
            Certificate::Pair(pair) => pair.reload(),
            Certificate::Config(_) => Ok(()),
        }
    }

    /// What a server that starts needs for its handshakes; `http2`: it speaks that, too.
    pub(crate) fn start(&self, http2: bool) -> Result<Terms, Error> {
        let pair = match &self.source {
            Certificate::Config(config) if config.max_early_data_size > 0 => {
                let what = "early data (0-RTT) is not taken, as it can be replayed: set \
                            max_early_data_size of the rustls configuration to 0";
                return Err(Error::new(Kind::Setting(what.into())));
            }
            Certificate::Config(config) => {
                return Ok(Terms {
                    config: config.clone(),
                    pair: None,
                    limit: self.handshake_timeout,
                });
            }
            Certificate::Pair(pair) => pair,
        };
        pair.reload()?;
        let wrong = |what: String| Error::new(Kind::Setting(what));
        let provider = provider();
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| wrong(format!("TLS cannot be set up: {e}")))?;
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(clients.verifier(provider)?),
        };
        let mut config = builder.with_cert_resolver(pair.clone());
        config.alpn_protocols = protocols(http2);
        if self.clients.is_none() {
            // Who comes again needs no signature of ours; the server keeps nothing for it.
            config.ticketer = crypto::ring::Ticketer::new()
                .map_err(|e| wrong(format!("TLS cannot be set up: {e}")))?;
            config.send_tls13_tickets = 1;
        } else {
            // A certificate is checked each time, as it may have been withdrawn. TLS 1.2 has no
            // tickets then; it would know sessions by their ids.
            config.send_tls13_tickets = 0;
            config.session_storage = Arc::new(NoServerSessionStorage {});
        }
        if let Some(path) = &self.key_log {
            let log = KeyLog::open(path).map_err(|e| {
                wrong(format!("cannot write the secrets of TLS to {}: {e}", path.display()))
            })?;
            config.key_log = Arc::new(log);
        }
        Ok(Terms {
            config: Arc::new(config),
            pair: Some(pair.clone()),
            limit: self.handshake_timeout,
        })
    }
}

impl Clients {
    fn verifier(
        &self,
        provider: Arc<crypto::CryptoProvider>,
    ) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, Error> {
        let wrong = |e: &dyn fmt::Display| {
            Error::new(Kind::Setting(format!("the authorities of clients are not valid: {e}")))
        };
        let mut roots = RootCertStore::empty();
        for certificate in pem::certificates(&self.authorities, "the file of client authorities")? {
            roots.add(certificate).map_err(|e| wrong(&e))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = if self.required { verifier } else { verifier.allow_unauthenticated() };
        verifier.build().map_err(|e| wrong(&e))
    }
}

/// What a server offers by ALPN (RFC 7301), the best first.
fn protocols(http2: bool) -> Vec<Vec<u8>> {
    let http2 = http2.then(|| b"h2".to_vec());
    http2.into_iter().chain([b"http/1.1".to_vec()]).collect()
}

/// What the handshakes of a running server need.
pub(crate) struct Terms {
    config: Arc<ServerConfig>,
    pair: Option<Arc<Pair>>,
    pub(crate) limit: Duration,
}

impl Terms {
    /// The configuration for a handshake that begins, with the certificate of now.
    pub(crate) async fn config(&self) -> Arc<ServerConfig> {
        if let Some(pair) = &self.pair {
            Pair::look(pair).await;
        }
        self.config.clone()
    }
}
