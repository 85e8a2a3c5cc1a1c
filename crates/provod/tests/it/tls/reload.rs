//! Certificates in files: read at the start, and again when they have changed.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use provod::tls::ServerTls;
use provod::tls::rustls::pki_types::CertificateDer;
use provod::{Error, Server};

use super::certificates::{Authority, Issued, connect};
use super::open;
use crate::peer::soon;
use crate::servers::start;

/// A pair of files that goes with the test.
struct Files {
    directory: PathBuf,
}

impl Files {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("provod-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        Self { directory }
    }

    fn certificate(&self) -> PathBuf {
        self.directory.join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.directory.join("key.pem")
    }

    fn write(&self, issued: &Issued) {
        fs::write(self.certificate(), &issued.certificate).expect("it is written");
        fs::write(self.key(), &issued.key).expect("it is written");
    }

    fn tls(&self) -> ServerTls {
        ServerTls::from_pem_files(self.certificate(), self.key())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

async fn fails(tls: ServerTls) -> String {
    let server = Server::new().tls(tls).listen("127.0.0.1:0");
    let error: Error = server.start(crate::servers::echo).await.expect_err("it cannot start");
    assert!(error.is_usage());
    error.to_string()
}

#[tokio::test]
async fn new_connections_have_the_new_certificate_and_old_ones_go_on() {
    let (authority, files) = (Authority::new(), Files::new("renewed"));
    let client = authority.client(None);
    let [first, second] = [authority.issue(), authority.issue()];
    files.write(&first);
    let tls = files.tls();
    let (_running, address) = start(Server::new().tls(tls.clone())).await;
    let mut old = open(address, &client).await;
    let shown = || async {
        // A client that has a ticket of an earlier session is not shown a certificate.
        let stream = connect(address, &authority.client(None)).await.expect("TLS is agreed");
        let (_, session) = stream.get_ref();
        session.peer_certificates().map(<[CertificateDer<'_>]>::to_vec)
    };
    assert_eq!(shown().await, Some(vec![first.der()]));
    // Half of a pair is not used.
    fs::write(files.certificate(), &second.certificate).expect("it is written");
    let error = tls.reload().expect_err("the key is that of the first");
    assert!(error.is_usage());
    assert!(error.to_string().contains("does not belong to the first certificate in"), "{error}");
    assert_eq!(shown().await, Some(vec![first.der()]));
    fs::write(files.key(), &second.key).expect("it is written");
    tls.reload().expect("both are there");
    assert_eq!(shown().await, Some(vec![second.der()]));
    old.send("still there").await.expect("it is queued");
    assert_eq!(soon(old.recv()).await.expect("an echo"), Some("still there".into()));
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_told_before_the_server_starts() {
    let (authority, files) = (Authority::new(), Files::new("wrong"));
    let (cert, key) = (files.certificate(), files.key());
    let (cert, key) = (cert.display(), key.display());
    let missing = fails(files.tls()).await;
    assert!(missing.starts_with(&format!("cannot read {cert}: ")), "{missing}");
    let [own, other] = [authority.issue(), authority.issue()];
    files.write(&Issued { certificate: own.certificate.clone(), key: other.key });
    assert_eq!(
        fails(files.tls()).await,
        format!(
            "the key in {key} does not belong to the first certificate in {cert}: that of the \
             server must come first, and both must be of one request"
        )
    );
    files.write(&Issued { certificate: own.key.clone(), key: own.key.clone() });
    let swapped = fails(files.tls()).await;
    assert!(swapped.starts_with(&format!("{cert} holds no certificate: ")), "{swapped}");
    files.write(&Issued { certificate: own.certificate.clone(), key: own.certificate.clone() });
    let swapped = fails(files.tls()).await;
    assert!(swapped.starts_with(&format!("{key} holds no private key: ")), "{swapped}");
    files.write(&own);
    let no_authority = files.tls().require_client_certificate("nonsense");
    let line = fails(no_authority).await;
    assert!(line.starts_with("the file of client authorities holds no certificate"), "{line}");
    let nowhere = files.tls().key_log(files.directory.join("no/such/directory"));
    let line = fails(nowhere).await;
    assert!(line.starts_with("cannot write the secrets of TLS to "), "{line}");
}

#[tokio::test]
async fn secrets_are_written_where_that_is_asked_for() {
    let (authority, files) = (Authority::new(), Files::new("secrets"));
    files.write(&authority.issue());
    let log = files.directory.join("keys");
    let (_running, address) = start(Server::new().tls(files.tls().key_log(&log))).await;
    drop(open(address, &Arc::clone(&authority.client(None))).await);
    let written = fs::read_to_string(&log).expect("it was made");
    let labels: Vec<_> = written.lines().map(|l| l.split(' ').next().unwrap_or("")).collect();
    assert!(labels.contains(&"CLIENT_TRAFFIC_SECRET_0"), "{labels:?}");
    assert!(written.lines().all(|l| l.split(' ').count() == 3), "{written}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(&log).expect("it was made").permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
}
