//! Redirects: where they are followed, and what goes along (RFC 9110 section 15.4).

use std::net::SocketAddr;

use provod::{Client, Error, Server};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::peer::soon;
use crate::scripted::{Scripted, filled, good, header};
use crate::servers::start;

/// A server that answers the n-th request with the n-th of these, and tells the requests. `{here}`
/// becomes its own address, and the answer `101` opens.
async fn answering(answers: &[&str]) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = listener.local_addr().unwrap();
    let answers: Vec<String> =
        answers.iter().map(|a| a.replace("{here}", &here.to_string())).collect();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for answer in answers {
            let (stream, _) = listener.accept().await.unwrap();
            let mut server = Scripted::new(stream);
            let request = server.request().await;
            if answer == "101" {
                server.send(filled(&request, &good(&[]))).await;
                server.send([0x81, 1, b'x']).await;
            } else {
                server.send(&answer).await;
            }
            let _ = tell.send(request);
            server.finish().await;
        }
    });
    (here, told)
}

fn to(status: u16, location: impl AsRef<str>) -> String {
    let location = location.as_ref();
    format!("HTTP/1.1 {status} x\r\nLocation: {location}\r\nContent-Length: 4\r\n\r\nlook")
}

async fn refused(client: Client) -> Error {
    let e = soon(client.connect()).await.expect_err("it is not followed");
    assert!(!e.is_usage() && !e.is_handshake(), "{e:?}");
    e
}

#[tokio::test]
async fn none_is_followed_unless_asked() {
    let (here, mut seen) = answering(&[&to(302, "/there?token=hush"), "101"]).await;
    let e = refused(Client::new(format!("ws://{here}/"))).await;
    assert_eq!(e.http_response().expect("an answer").status(), 302);
    assert!(e.to_string().contains("/there") && !e.to_string().contains("hush"), "{e}");
    seen.recv().await.expect("one request");
    assert!(seen.try_recv().is_err());
}

#[tokio::test]
async fn each_status_and_each_kind_of_location_is_followed() {
    for (status, location, target) in [
        (301, "/there", "/there"),
        (302, "there?x", "/a/there?x"),
        (303, "http://{here}/there#top", "/there"),
        (307, "ws://{here}", "/"),
        (308, "//{here}/%20", "/%20"),
    ] {
        let (here, mut seen) = answering(&[&to(status, location), "101"]).await;
        let client = Client::new(format!("ws://u:p@{here}/a/b"))
            .header("X-Token", "t")
            .header("Host", "virtual.example")
            .redirects(1);
        let mut ws = soon(client.connect()).await.unwrap_or_else(|e| panic!("{location}: {e}"));
        assert_eq!(soon(ws.recv()).await.expect("it opened"), Some("x".into()));
        let query = ws.query().map_or(String::new(), |query| format!("?{query}"));
        assert_eq!(format!("{}{query}", ws.path()), target);
        for expected in ["/a/b", target] {
            let request = seen.recv().await.expect("a request");
            assert!(request.starts_with(&format!("GET {expected} HTTP/1.1\r\n")), "{request}");
            // To the same origin all goes along.
            assert_eq!(header(&request, "Authorization"), Some("Basic dTpw"));
            assert_eq!(header(&request, "X-Token"), Some("t"));
            assert_eq!(header(&request, "Host"), Some("virtual.example"));
        }
    }
}

#[tokio::test]
async fn nothing_secret_goes_to_another_origin_or_comes_back() {
    let home = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at_home = home.local_addr().unwrap();
    let (away, mut seen) = answering(&[&to(302, format!("ws://{at_home}/back"))]).await;
    let client = Client::new(format!("ws://u:p@{at_home}/start"))
        .header("Cookie", "a=b")
        .header("X-Api-Key", "k")
        .header("Host", "virtual.example")
        .header("User-Agent", "test")
        .header("accept-language", "ru")
        .subprotocol("chat")
        .origin("https://example.com")
        .redirects(2);
    let script = async {
        let mut first = Scripted::new(home.accept().await.unwrap().0);
        let request = first.request().await;
        assert_eq!(header(&request, "Authorization"), Some("Basic dTpw"));
        first.send(to(307, format!("ws://me:too@{away}/x"))).await;
        let mut second = Scripted::new(home.accept().await.unwrap().0);
        let request = second.request().await;
        second.send(filled(&request, &good(&[]))).await;
        (request, second)
    };
    let (ws, (back, _second)) = soon(async { tokio::join!(client.connect(), script) }).await;
    let _ws = ws.expect("it opens");
    let there = seen.recv().await.expect("a request");
    for (request, host) in [(there, away), (back, at_home)] {
        for secret in ["Authorization", "Cookie", "X-Api-Key"] {
            assert_eq!(header(&request, secret), None, "{request}");
        }
        assert_eq!(header(&request, "Host"), Some(&*host.to_string()), "{request}");
        for (name, value) in [
            ("User-Agent", "test"),
            ("accept-language", "ru"),
            ("Sec-WebSocket-Protocol", "chat"),
            ("Origin", "https://example.com"),
        ] {
            assert_eq!(header(&request, name), Some(value), "{request}");
        }
    }
}

#[tokio::test]
async fn what_is_no_redirect_stays_what_it_is() {
    for answer in [
        "HTTP/1.1 304 x\r\nLocation: /there\r\n\r\n",
        "HTTP/1.1 300 x\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 401 x\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n",
    ] {
        let (here, _seen) = answering(&[answer, "101"]).await;
        let e = refused(Client::new(format!("ws://{here}/")).redirects(5)).await;
        assert!(e.http_response().is_some() && e.to_string().contains("refused"), "{e}");
    }
}

#[tokio::test]
async fn redirects_that_are_not_followed_say_why() {
    for (answers, most, words) in [
        (&[&*to(302, "ftp://127.0.0.1/?hush")][..], 5, &["ftp"][..]),
        (&[&to(302, "http://")], 5, &["a place that is none"]),
        (&[&to(302, "ws://127.0.0.1:0/")], 5, &["port 0"]),
        (&[&to(302, "/a/../?hush")], 5, &["circle"]),
        (&[&to(302, "/a"), &to(302, "/b"), &to(302, "/a")], 5, &["/b", "/a", "circle"]),
        (&[&to(302, "/a"), &to(302, "/b"), &to(302, "/c?hush")], 2, &["/b", "/c", "2 that"]),
        (&["HTTP/1.1 302 x\r\nContent-Length: 0\r\n\r\n"], 5, &["without a Location"]),
    ] {
        let (here, mut seen) = answering(answers).await;
        let e = refused(Client::new(format!("ws://u:hush@{here}/?hush")).redirects(most)).await;
        let line = e.to_string();
        for word in words {
            assert!(line.contains(word), "{word}: {line}");
        }
        assert!(!line.contains("hush") && !format!("{e:?}").contains("hush"), "{e:?}");
        assert_eq!(e.http_response().expect("an answer").status(), 302);
        for _ in answers {
            seen.recv().await.expect("each was asked");
        }
    }
}

#[tokio::test]
async fn settings_of_a_redirect_that_leads_to_a_server_of_ours() {
    let (_running, server) = start(Server::new().subprotocols(["chat"])).await;
    let (here, _seen) = answering(&[&to(308, format!("http://{server}/room"))]).await;
    let client = Client::new(format!("ws://{here}/")).subprotocol("chat").redirects(1);
    let ws = soon(client.connect()).await.expect("it opens");
    assert_eq!((ws.path(), ws.subprotocol()), ("/room", Some("chat")));
    assert_eq!(ws.peer_addr(), Some(server));
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_not_left() {
    let path = std::env::temp_dir().join(format!("provod-redirect-{}", std::process::id()));
    let listener = tokio::net::UnixListener::bind(&path).expect("a socket");
    let client = Client::new("ws://localhost/").unix_socket(&path).redirects(3);
    let script = async {
        for location in ["/there", "ws://other.example/"] {
            let (stream, _) = listener.accept().await.expect("a client");
            let mut server = Scripted::new(stream);
            server.request().await;
            server.send(to(302, location)).await;
        }
    };
    let (e, ()) = soon(async { tokio::join!(client.connect(), script) }).await;
    std::fs::remove_file(&path).expect("it is there");
    let line = e.expect_err("it leads away").to_string();
    assert!(line.contains("other.example") && line.contains("Unix socket"), "{line}");
}

#[cfg(feature = "tls")]
mod over_tls {
    use std::sync::Arc;

    use tokio::net::TcpStream;

    use super::*;
    use crate::client::certificates::{Ca, accept, server};
    use crate::scripted::listen;

    /// A server that answers one request over TLS, and tells it and whether there was a client's
    /// certificate.
    async fn once(
        config: rustls::ServerConfig,
        answer: String,
    ) -> (SocketAddr, mpsc::UnboundedReceiver<(String, bool)>) {
        let (tell, told) = mpsc::unbounded_channel();
        let config = Arc::new(config);
        let address = listen(move |stream: TcpStream| async move {
            let stream = accept(config, stream).await.expect("TLS");
            let known = stream.get_ref().1.peer_certificates().is_some();
            let mut server = Scripted::new(stream);
            let request = server.request().await;
            server.send(filled(&request, &answer)).await;
            let _ = tell.send((request, known));
            server.ended().await;
        })
        .await;
        (address, told)
    }

    #[tokio::test]
    async fn tls_is_never_given_up() {
        let ca = Ca::new();
        for location in ["ws://127.0.0.1:1/?hush", "http://127.0.0.1:1/"] {
            let (here, _seen) = once(server(&ca.local(), None), to(302, location)).await;
            let client = Client::new(format!("wss://{here}/")).tls(ca.trusted()).redirects(5);
            let e = refused(client).await;
            let line = e.to_string();
            assert!(line.contains("give up TLS") && !line.contains("hush"), "{line}");
        }
    }

    #[tokio::test]
    async fn from_ws_to_wss_nothing_secret_goes_along() {
        let ca = Ca::new();
        let (there, mut seen) = once(server(&ca.local(), None), good(&[])).await;
        let (here, _seen) = answering(&[&to(301, format!("https://{there}/x"))]).await;
        let client = Client::new(format!("ws://u:p@{here}/")).header("Cookie", "a=b");
        soon(client.tls(ca.trusted()).redirects(1).connect()).await.expect("it opens");
        let (request, _) = seen.recv().await.expect("a request");
        assert_eq!(header(&request, "Authorization"), None, "{request}");
        assert_eq!(header(&request, "Cookie"), None, "{request}");
    }

    #[tokio::test]
    async fn the_clients_certificate_stays_within_its_origin() {
        let ca = Ca::new();
        let mine = ca.issue(&["me"], |_| {});
        let local = ca.local();
        // The second asks for a certificate and takes none, too.
        let optional = || {
            let mut roots = rustls::RootCertStore::empty();
            let der = rustls_pki_types::pem::PemObject::from_pem_slice(ca.pem.as_bytes());
            roots.add(der.expect("a certificate")).expect("a CA");
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
                Arc::new(roots),
                provider,
            );
            let mut config = server(&local, Some(&ca));
            config = rustls::ServerConfig::builder_with_provider(config.crypto_provider().clone())
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_client_cert_verifier(
                    verifier.allow_unauthenticated().build().expect("a verifier"),
                )
                .with_cert_resolver(config.cert_resolver.clone());
            config
        };
        let (there, mut at_there) = once(optional(), good(&[])).await;
        let (here, mut at_here) = once(optional(), to(302, format!("wss://{there}/"))).await;
        let tls = ca.trusted().client_certificate(mine.certificate, mine.key);
        let client = Client::new(format!("wss://{here}/")).tls(tls).redirects(1);
        soon(client.connect()).await.expect("it opens");
        assert!(at_here.recv().await.expect("a request").1);
        assert!(!at_there.recv().await.expect("a request").1);
    }
}
