//! WebSockets under TLS, which hyper goes on to carry, over HTTP/1.1 and HTTP/2: our own client on
//! the other side.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use provod::Client;
use provod::client::Http2;
use provod::config::DeflateConfig;
use provod::tls::ClientTls;
use provod::tls::rustls::ServerConfig;
use provod::tls::rustls::crypto::ring;
use provod::tls::rustls::pki_types::PrivatePkcs8KeyDer;
use provod_testkit::peer::soon;
use rcgen::{CertificateParams, KeyPair};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::servers::echoing;

/// A server of hyper that speaks both, and the certificate that it shows.
async fn serving() -> (SocketAddr, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let tls = acceptor.accept(tcp).await.unwrap();
                let mut server = Builder::new(TokioExecutor::new());
                server.http2().enable_connect_protocol();
                let service = service_fn(|request| async { Ok::<_, Infallible>(echoing(request)) });
                let _ = server.serve_connection_with_upgrades(TokioIo::new(tls), service).await;
            });
        }
    });
    (address, certificate.pem())
}

#[tokio::test]
async fn both_versions_of_http_carry_them() {
    let (address, certificate) = serving().await;
    for http2 in [Http2::Never, Http2::Require] {
        let client = Client::new(format!("wss://localhost:{}/", address.port()))
            .tls(ClientTls::default().ca_pem(certificate.clone()))
            .compression(DeflateConfig::default())
            .http2(http2);
        for _ in 0..2 {
            let mut ws = soon(client.connect()).await.unwrap();
            assert!(ws.compression().is_none(), "it was not turned on here");
            for size in [0, 1, 125, 70_000, 1 << 20] {
                ws.send(vec![7; size]).await.unwrap();
                assert_eq!(soon(ws.recv()).await.unwrap().unwrap().len(), size, "{http2:?}");
            }
            let closed = soon(ws.close(1000, "")).await.unwrap();
            assert!(closed.is_clean(), "{http2:?}: {closed:?}");
        }
    }
}
