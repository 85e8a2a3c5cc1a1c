//! TLS at the client's end: what is trusted, and who this end says it is.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme};
use rustls_platform_verifier::Verifier;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Host;

use super::key_log::KeyLog;
use super::{pem, provider};
use crate::error::{Error, Kind};
use crate::runtime::off_the_runtime;

/// What a client trusts in TLS, and who it says it is; for
/// [`Client::tls`](crate::Client::tls).
///
/// With nothing set, certificates are checked as the system does it: on Linux and the BSDs against
/// its files of roots, on macOS, Windows and Android by the system's own verifier, with what the
/// administrator has added and with revocation. The name, the validity and the purpose of the
/// server's certificate are always checked.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use provod::Client;
/// use provod::tls::ClientTls;
///
/// let tls = ClientTls::default()
///     .ca_pem(std::fs::read("company-ca.pem")?)
///     .client_certificate(std::fs::read("me.pem")?, std::fs::read("me.key")?);
/// let ws = Client::new("wss://intranet.example/chat").tls(tls).connect().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
#[must_use = "give it to Client::tls"]
pub struct ClientTls {
    ca: Vec<Vec<u8>>,
    system_roots: bool,
    identity: Option<(Vec<u8>, Vec<u8>)>,
    name: Option<String>,
    any: bool,
    key_log: Option<PathBuf>,
    config: Option<Arc<ClientConfig>>,
}

impl ClientTls {
    /// A configuration of one's own, with all that rustls can do: nothing else that is set here
    /// counts beside it, but [`server_name`](Self::server_name). It holds for an `https` proxy and
    /// for other origins that a redirect leads to, too. The protocols that are offered with ALPN are
    /// always Provod's: `http/1.1`, and `h2` where `Client::http2` wants it.
    pub fn from_config(config: Arc<ClientConfig>) -> Self {
        Self { config: Some(config), ..Self::default() }
    }

    /// Trusts the CA certificates in this PEM, and no longer the system's; may be called several
    /// times. [`and_system_roots`](Self::and_system_roots) has both.
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca.push(pem.into());
        self
    }

    /// Trusts the system's CAs beside those of [`ca_pem`](Self::ca_pem).
    pub fn and_system_roots(mut self) -> Self {
        self.system_roots = true;
        self
    }

    /// The client's own certificate, with the chain up to its CA behind it, and its key, both PEM,
    /// for servers that ask for one. A redirect to another origin does not take it along.
    pub fn client_certificate(
        mut self,
        certificate: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        self.identity = Some((certificate.into(), key.into()));
        self
    }

    /// The name that the server is asked for (SNI, RFC 6066 section 3) and that its certificate must
    /// have. Default: the host of the URL.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Takes any certificate whatsoever: whoever sits on the way can read and change everything.
    /// For trials on this machine only; [`ca_pem`](Self::ca_pem) with the server's own self-signed
    /// certificate is as little work and safe. It does not hold for a proxy.
    pub fn danger_accept_any_certificate(mut self) -> Self {
        self.any = true;
        self
    }

    /// Appends the secrets of each connection to this file, with which a network sniffer can read
    /// it (the format of `SSLKEYLOGFILE`). Whoever has the file can read the traffic.
    pub fn key_log(mut self, path: impl Into<PathBuf>) -> Self {
        self.key_log = Some(path.into());
        self
    }

    /// The same for another origin, or a proxy: without what says who this end is, and what holds
    /// for one server.
    fn for_others(&self) -> Self {
        Self { identity: None, name: None, ..self.clone() }
    }

    async fn build(&self) -> Result<Arc<ClientConfig>, Error> {
        if let Some(config) = &self.config {
            return Ok(config.clone());
        }
        let versions = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| setting(format!("TLS cannot be set up: {e}")))?;
        let verified =
            versions.dangerous().with_custom_certificate_verifier(self.verifier().await?);
        let mut config = match &self.identity {
            None => verified.with_no_client_auth(),
            Some((certificate, key)) => {
                let certificate = pem::certificates(certificate, "the client's certificate")?;
                let key = pem::private_key(key, "the client's key")?;
                verified.with_client_auth_cert(certificate, key).map_err(|e| {
                    setting(match e {
                        TlsError::InconsistentKeys(_) => {
                            "the client's key is not that of its certificate".to_owned()
                        }
                        e => format!("the client's certificate or key cannot be used: {e}"),
                    })
                })?
            }
        };
        if let Some(path) = &self.key_log {
            let log = KeyLog::open(path).map_err(|e| {
                setting(format!("cannot write the TLS keys to {}: {e}", path.display()))
            })?;
            config.key_log = Arc::new(log);
        }
        Ok(Arc::new(config))
    }

    async fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, Error> {
        if self.any {
            return Ok(Arc::new(AnyCertificate(provider())));
        }
        if self.ca.is_empty() {
            return system().await;
        }
        let mut all = Vec::new();
        for pem in &self.ca {
            all.extend(pem::certificates(pem, "the file of the CA")?);
        }
        if self.system_roots {
            return system_and(all).await;
        }
        let mut roots = RootCertStore::empty();
        for certificate in all {
            roots.add(certificate).map_err(not_a_ca)?;
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|e| setting(format!("the file of the CA cannot be used: {e}")))?;
        Ok(verifier)
    }
}

impl fmt::Debug for ClientTls {
    /// The key stays out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("own_ca", &!self.ca.is_empty())
            .field("client_certificate", &self.identity.is_some())
            .field("server_name", &self.name)
            .field("any_certificate", &self.any)
            .finish_non_exhaustive()
    }
}

fn setting(what: String) -> Error {
    Error::new(Kind::Setting(what))
}

fn not_a_ca(e: TlsError) -> Error {
    setting(format!("the file of the CA holds a certificate that cannot be used: {e}"))
}

/// The system's own verifier. On Linux it reads all of the system's roots, so there is one for the
/// process; where it fails it is tried again with the next connection.
async fn system() -> Result<Arc<dyn ServerCertVerifier>, Error> {
    static SYSTEM: OnceCell<Arc<Verifier>> = OnceCell::const_new();
    let made = SYSTEM.get_or_try_init(|| off(|| Verifier::new(provider())));
    let verifier: Arc<dyn ServerCertVerifier> = made.await?.clone();
    Ok(verifier)
}

#[cfg(not(target_os = "android"))]
async fn system_and(
    more: Vec<CertificateDer<'static>>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let made: Arc<dyn ServerCertVerifier> =
        off(move || Verifier::new_with_extra_roots(more, provider())).await?;
    Ok(made)
}

#[cfg(target_os = "android")]
async fn system_and(_: Vec<CertificateDer<'static>>) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let what = "Android's verifier takes no further CA: install it in the system";
    Err(setting(what.to_owned()))
}

/// Reading a hundred files takes a while.
async fn off(
    make: impl FnOnce() -> Result<Verifier, TlsError> + Send + 'static,
) -> Result<Arc<Verifier>, Error> {
    let made = off_the_runtime(move || make().map_err(io::Error::other)).await;
    made.map(Arc::new).map_err(|e| {
        let what = format!(
            "the system's CA certificates cannot be used: {e}; install them (ca-certificates), or \
             give a CA file of your own"
        );
        Error::new(Kind::Tls { what, source: Some(e), lost: false })
    })
}

/// The configurations of a client, made when they are needed and shared by its clones: with them
/// the sessions that are resumed (RFC 8446 section 2.2).
#[derive(Clone, Default)]
pub(crate) struct Connector {
    settings: ClientTls,
    own: Arc<OnceCell<Arc<ClientConfig>>>,
    /// For other origins that a redirect leads to.
    others: Arc<OnceCell<Arc<ClientConfig>>>,
    proxy: Arc<OnceCell<Arc<ClientConfig>>>,
}

/// Whom TLS is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum With {
    /// The server of the URL.
    Own,
    /// One that a redirect named.
    Other,
    Proxy,
}

impl Connector {
    pub(crate) fn new(settings: ClientTls) -> Self {
        Self { settings, ..Self::default() }
    }

    pub(crate) async fn config(&self, with: With) -> Result<Arc<ClientConfig>, Error> {
        let (cell, settings) = match with {
            With::Own => (&self.own, self.settings.clone()),
            With::Other => (&self.others, self.settings.for_others()),
            // What is sent to a proxy may be a password.
            With::Proxy => (&self.proxy, ClientTls { any: false, ..self.settings.for_others() }),
        };
        cell.get_or_try_init(|| settings.build()).await.cloned()
    }

    /// The name that the certificate must have.
    pub(crate) fn name(&self, with: With, host: &Host) -> Result<ServerName<'static>, Error> {
        match self.settings.name.as_deref().filter(|_| with == With::Own) {
            None => server_name(host),
            Some(name) => ServerName::try_from(name.to_owned()).map_err(|_| {
                setting(format!("{name:?} is neither a name nor an address that a server can have"))
            }),
        }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

fn server_name(host: &Host) -> Result<ServerName<'static>, Error> {
    Ok(match host {
        Host::Ipv4(ip) => ServerName::IpAddress(std::net::IpAddr::from(*ip).into()),
        Host::Ipv6(ip) => ServerName::IpAddress(std::net::IpAddr::from(*ip).into()),
        Host::Domain(name) => {
            // A certificate never has the dot of an absolute name.
            let plain = name.strip_suffix('.').unwrap_or(name).to_owned();
            ServerName::try_from(plain).map_err(|_| {
                Error::new(Kind::Url(format!("{name:?} is no name that a certificate can have")))
            })?
        }
    })
}

/// Makes TLS on `io`, offering these protocols (ALPN, RFC 7301).
pub(crate) async fn handshake<T>(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    alpn: Vec<Vec<u8>>,
    io: T,
) -> io::Result<TlsStream<T>>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    TlsConnector::from(config).with_alpn(alpn).connect(name, io).await
}

/// Takes any certificate; that its key is at hand is checked all the same.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
