//! TLS, and proxies that say for whom they connect.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use provod::tls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use provod::tls::rustls::crypto::{WebPkiSupportedAlgorithms, ring};
use provod::tls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use provod::tls::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::peer::{Peer, soon, text, until};
use crate::process::{BINARY, Provod, run};

/// Trusts everybody: the tests look at the certificate themselves.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

async fn connect(address: SocketAddr) -> TlsStream<TcpStream> {
    let provider = ring::default_provider();
    let anybody = Anybody(provider.signature_verification_algorithms);
    let client = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(anybody))
        .with_no_client_auth();
    let tcp = TcpStream::connect(address).await.expect("it listens");
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = TlsConnector::from(Arc::new(client)).connect(name, tcp);
    soon(stream).await.expect("TLS is agreed")
}

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("provod-cli-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a short path").to_owned()
    }

    /// A certificate and its key in files of these names.
    fn issue(&self) -> Vec<u8> {
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a name");
        fs::write(self.path("cert"), issued.cert.pem()).expect("it is written");
        fs::write(self.path("key"), issued.signing_key.serialize_pem()).expect("it is written");
        issued.cert.der().to_vec()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn serve_shows_its_certificate_and_its_page_over_https() {
    let files = Directory::new("serve");
    let der = files.issue();
    let (cert, key) = (files.path("cert"), files.path("key"));
    let server = Provod::serve(&["--cert", &cert, "--key", &key]);
    assert_eq!(server.announced, format!("provod serve: open https://{}/\n", server.address));
    let stream = connect(server.address).await;
    let shown = stream.get_ref().1.peer_certificates().expect("a certificate");
    assert_eq!(shown[0].as_ref(), der);
    let mut page = Peer::client(stream);
    let host = server.address;
    page.send(format!("GET /room HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\n\r\n")).await;
    let answer = page.answer().await;
    assert_eq!(answer.status, 200);
    let policy = answer.header("Content-Security-Policy").expect("a policy");
    assert!(policy.contains(&format!("connect-src 'self' ws://{host} wss://{host};")), "{policy}");
    // What the page opens.
    let mut room = Peer::client(connect(server.address).await);
    room.upgrade("/room", &[&format!("Origin: https://{host}")]).await;
    room.send(text("hello")).await;
    room.expect_text("hello").await;
    room.bye().await;
    // Without TLS there is nothing.
    assert_eq!(server.get("/room", &[]).await.status, 400);
}

#[tokio::test]
async fn one_file_may_hold_certificate_and_key() {
    let files = Directory::new("one");
    files.issue();
    let both = fs::read_to_string(files.path("key")).expect("it is there")
        + &fs::read_to_string(files.path("cert")).expect("it is there");
    fs::write(files.path("both"), both).expect("it is written");
    let keys = files.path("keys");
    let server = Provod::start("listen", &["--cert", &files.path("both"), "--keylog", &keys]);
    assert_eq!(server.announced, format!("provod listen: echoing on wss://{}/\n", server.address));
    let mut peer = Peer::client(connect(server.address).await);
    peer.upgrade("/", &[]).await;
    peer.send(text("hello")).await;
    peer.expect_text("hello").await;
    peer.bye().await;
    let secrets = fs::read_to_string(keys).expect("it was made");
    assert!(secrets.contains("SERVER_TRAFFIC_SECRET_0 "), "{secrets}");
}

#[tokio::test]
async fn a_certificate_is_made_for_trials_and_told_apart_by_its_fingerprint() {
    for command in ["serve", "listen"] {
        let mut child = Command::new(BINARY)
            .args([command, "127.0.0.1:0", "--workers=1", "--cert=auto", "--log=off"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut line = || lines.next().expect("a line").expect("a pipe");
        let (address, notice) = (line(), line());
        let address = address.split_once("s://").expect("an address").1.trim_end_matches('/');
        let stream = connect(address.parse().expect("an address")).await;
        let shown = &stream.get_ref().1.peer_certificates().expect("a certificate")[0];
        let suite = ring::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13().expect("it is of TLS 1.3");
        let hash = suite.common.hash_provider.hash(shown);
        let hash: Vec<_> = hash.as_ref().iter().map(|b| format!("{b:02X}")).collect();
        let begin = format!(
            "provod {command}: the certificate is self-signed, for trials: browsers warn of it; it \
             names localhost, 127.0.0.1, ::1"
        );
        assert!(notice.starts_with(&begin), "{notice}");
        assert!(notice.ends_with(&format!("; SHA-256 {}", hash.join(":"))), "{notice}");
        child.kill().expect("it runs");
        child.wait().expect("a child");
    }
}

#[tokio::test]
async fn clients_without_a_certificate_are_refused_where_one_is_asked_for() {
    let files = Directory::new("clients");
    files.issue();
    let (cert, key) = (files.path("cert"), files.path("key"));
    let server =
        Provod::serve(&["--cert", &cert, "--key", &key, "--client-ca", &cert, "--log=debug"]);
    let mut peer = Peer::client(connect(server.address).await);
    peer.gone().await;
    until(|| server.log().contains("the TLS handshake failed")).await;
}

#[tokio::test]
async fn a_proxy_says_who_connects() {
    let server = Provod::start("listen", &["--proxy-protocol=127.0.0.1", "--log=debug"]);
    let mut peer = Peer::connect(server.address).await;
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C".to_vec();
    header.extend([203, 0, 113, 9, 10, 0, 0, 1, 0xC0, 0x01, 0, 80]);
    peer.send(&header).await;
    peer.upgrade("/", &[]).await;
    peer.bye().await;
    until(|| server.log().contains("203.0.113.9:49153")).await;
}

#[test]
fn what_does_not_go_together_is_told() {
    let files = Directory::new("usage");
    files.issue();
    let (cert, nowhere) = (files.path("cert"), files.path("nowhere"));
    for command in ["serve", "listen"] {
        for (arguments, code, says) in [
            (&["--key", &cert][..], 2, "--cert <FILE>"),
            (&["--client-ca", &cert], 2, "--cert <FILE>"),
            (&["--keylog", &nowhere], 2, "--cert <FILE>"),
            (&["--proxy-protocol=lb"], 2, "10.0.0.0/8"),
            (&["--cert=auto", "--key", &cert], 1, "--key does not go with --cert auto"),
            (&["--cert", &nowhere], 1, "nowhere: No such file"),
            (&["--cert", &cert], 1, "holds no private key"),
            (&["--cert=auto", "--client-ca", &nowhere], 1, "nowhere: No such file"),
            (&["--cert=auto", "--client-ca", &files.path("key")], 1, "holds no certificate"),
        ] {
            let output = run(&[&[command, "127.0.0.1:0"], arguments].concat());
            let stderr = String::from_utf8(output.stderr).expect("UTF-8");
            assert_eq!(output.status.code(), Some(code), "{command} {arguments:?}: {stderr}");
            assert!(stderr.contains(says), "{command} {arguments:?}: {stderr}");
        }
        // A Unix socket has neither, which must not be left unsaid.
        for flag in ["--cert=auto", "--proxy-protocol=10.0.0.7"] {
            let output = run(&[command, "unix:/nowhere/a.sock", flag]);
            let stderr = String::from_utf8(output.stderr).expect("UTF-8");
            assert_eq!(output.status.code(), Some(1), "{command} {flag}: {stderr}");
            assert!(stderr.contains("a Unix socket stays plain"), "{command} {flag}: {stderr}");
        }
    }
}
