//! `wss://`: what is trusted, what each failure says, and how the end of TLS counts.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use provod::tls::ClientTls;
use provod::{Client, Error, Server, WebSocket};
use rustls::{HandshakeKind, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::server::TlsStream;

use super::certificates::{Ca, Pair, accept, server, server_of};
use crate::peer::soon;
use crate::scripted::{Scripted, good, listen};

/// What a server saw of a TLS handshake.
struct Seen {
    name: Option<String>,
    alpn: Option<Vec<u8>>,
    kind: Option<HandshakeKind>,
}

/// Echoes over TLS at a port of the system's choice, to any number of clients.
async fn echo(config: ServerConfig) -> (SocketAddr, mpsc::UnboundedReceiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    let config = Arc::new(config);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (config, tell) = (config.clone(), tell.clone());
            tokio::spawn(async move {
                let Ok(stream) = accept(config, stream).await else { return };
                let connection = stream.get_ref().1;
                let _ = tell.send(Seen {
                    name: connection.server_name().map(str::to_owned),
                    alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
                    kind: connection.handshake_kind(),
                });
                let Ok(ws) = Server::new().accept_over(stream).await else { return };
                let _ = crate::servers::echo(ws).await;
            });
        }
    });
    (address, told)
}

async fn talk(ws: &mut WebSocket) {
    soon(ws.send("Привет")).await.expect("it is sent");
    assert_eq!(soon(ws.recv()).await.expect("an echo"), Some("Привет".into()));
}

/// The error of a client that connects to this certificate at `localhost`.
async fn refused(pair: &Pair, tls: ClientTls) -> Error {
    let (address, _seen) = echo(server(pair, None)).await;
    let client = at("localhost", address).tls(tls);
    let e = soon(client.connect()).await.expect_err("it is not trusted");
    assert!(e.is_tls() && !e.is_lost() && !e.is_usage() && !e.is_timeout(), "{e:?}");
    e
}

/// A client for this name, which is at this address.
fn at(name: &str, address: SocketAddr) -> Client {
    Client::new(format!("wss://{name}:{}/chat", address.port())).resolve_to(
        name,
        address.port(),
        [address.ip()],
    )
}

#[tokio::test]
async fn a_client_connects_talks_and_closes_over_tls() {
    let ca = Ca::new();
    let (address, mut seen) = echo(server(&ca.local(), None)).await;
    let mut ws =
        soon(at("localhost", address).tls(ca.trusted()).connect()).await.expect("it opens");
    assert_eq!(ws.peer_addr(), Some(address));
    talk(&mut ws).await;
    assert!(soon(ws.close(1000, "bye")).await.expect("a legal code").is_clean());
    let first = seen.recv().await.expect("a handshake");
    assert_eq!(first.name.as_deref(), Some("localhost"), "SNI");
    assert_eq!(first.alpn.as_deref(), Some(&b"http/1.1"[..]));

    // An address has no SNI (RFC 6066 section 3), and https means wss.
    let client = Client::new(format!("https://{address}/")).tls(ca.trusted());
    talk(&mut soon(client.connect()).await.expect("it opens")).await;
    assert_eq!(seen.recv().await.expect("a handshake").name, None);
}

#[tokio::test]
async fn long_messages_go_both_ways_though_nobody_reads_for_a_while() {
    let ca = Ca::new();
    let (address, _seen) = echo(server(&ca.local(), None)).await;
    let mut ws =
        soon(at("localhost", address).tls(ca.trusted()).connect()).await.expect("it opens");
    let messages: Vec<Vec<u8>> = (0..8).map(|n| vec![n; 700_000 + usize::from(n)]).collect();
    let sender = ws.sender();
    let all = messages.clone();
    let sending = tokio::spawn(async move {
        for message in all {
            sender.send(message).await.expect("it is sent");
        }
    });
    for message in messages {
        let got = soon(ws.recv()).await.expect("an echo").expect("a message");
        assert!(got.as_bytes() == message, "{} bytes", got.as_bytes().len());
    }
    soon(sending).await.expect("no panic");
}

#[tokio::test]
async fn another_name_and_what_the_certificate_has() {
    let ca = Ca::new();
    let pair = ca.issue(&["chat.example", "*.intern.example"], |_| {});
    let line = refused(&pair, ca.trusted()).await.to_string();
    for word in ["localhost", "chat.example", "*.intern.example"] {
        assert!(line.contains(word), "{line}");
    }
    assert!(!line.contains("DnsName"), "{line}");
    // The name that is asked for can be set.
    let (address, mut seen) = echo(server(&pair, None)).await;
    let tls = ca.trusted().server_name("chat.example");
    talk(&mut soon(at("localhost", address).tls(tls).connect()).await.expect("it opens")).await;
    assert_eq!(seen.recv().await.expect("a handshake").name.as_deref(), Some("chat.example"));
    let e = soon(at("localhost", address).tls(ca.trusted().server_name("no name")).connect()).await;
    assert!(e.expect_err("no name").is_usage());
}

#[tokio::test]
async fn a_certificate_that_has_expired_or_is_not_valid_yet() {
    let ca = Ca::new();
    let old = ca.issue(&["localhost"], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 2, 3);
    });
    let line = refused(&old, ca.trusted()).await.to_string();
    assert!(line.contains("expired on 2021-02-03"), "{line}");
    let early = ca.issue(&["localhost"], |params| {
        params.not_before = rcgen::date_time_ymd(3020, 1, 1);
        params.not_after = rcgen::date_time_ymd(3021, 1, 1);
    });
    let line = refused(&early, ca.trusted()).await.to_string();
    assert!(line.contains("not valid before 3020-01-01"), "{line}");
}

#[tokio::test]
async fn an_unknown_ca_and_the_three_ways_to_trust_it() {
    let ca = Ca::new();
    let pair = ca.local();
    let line = refused(&pair, Ca::new().trusted()).await.to_string();
    assert!(line.contains("CA that is not known") && line.contains("file of that CA"), "{line}");
    // The system does not know it either.
    refused(&pair, ClientTls::default()).await;

    let (address, _seen) = echo(server(&pair, None)).await;
    for tls in [
        ca.trusted(),
        Ca::new().trusted().ca_pem(ca.pem.clone()),
        ClientTls::default().danger_accept_any_certificate(),
    ] {
        let client = at("localhost", address).tls(tls);
        talk(&mut soon(client.connect()).await.expect("it opens")).await;
    }
    for (bad, word) in [("", "no certificate"), ("-----BEGIN CERTIFICATE-----\n!", "PEM")] {
        let client = at("localhost", address).tls(ClientTls::default().ca_pem(bad));
        let e = soon(client.connect()).await.expect_err("no CA");
        assert!(e.is_usage() && e.to_string().contains(word), "{e}");
    }
}

#[tokio::test]
async fn a_server_that_wants_a_certificate_of_the_client() {
    let (ca, strangers) = (Ca::new(), Ca::new());
    let mine = ca.issue(&["me"], |_| {});
    for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]] {
        let config = || server_of(&ca.local(), Some(&ca), versions);
        let (address, _seen) = echo(config()).await;
        let tls = ca.trusted().client_certificate(mine.certificate.clone(), mine.key.clone());
        talk(&mut soon(at("localhost", address).tls(tls).connect()).await.expect("it opens")).await;

        let e = soon(at("localhost", address).tls(ca.trusted()).connect()).await;
        let e = e.expect_err("there is no certificate");
        assert!(e.is_tls() && e.to_string().contains("certificate of the client"), "{e}");

        let other = strangers.issue(&["me"], |_| {});
        let tls = ca.trusted().client_certificate(other.certificate, other.key);
        let e = soon(at("localhost", address).tls(tls).connect()).await;
        let e = e.expect_err("the certificate is of another CA");
        assert!(e.is_tls(), "{e}");
    }
    let other = ca.issue(&["me"], |_| {});
    for (certificate, key, word) in [
        (mine.certificate.clone(), other.key, "not that of its certificate"),
        (mine.key.clone(), mine.key.clone(), "no certificate"),
        (mine.certificate.clone(), mine.certificate.clone(), "no private key"),
    ] {
        let tls = ca.trusted().client_certificate(certificate, key);
        let e = soon(Client::new("wss://localhost:1/").tls(tls).connect()).await;
        let e = e.expect_err("they do not fit");
        assert!(e.is_usage() && e.to_string().contains(word), "{e}");
    }
}

/// The error of a client at a port where this is said to whatever comes, and then nothing.
async fn told(bytes: &'static [u8], hang_up: bool) -> Error {
    let address = listen(move |mut stream: TcpStream| async move {
        let mut hello = [0; 5];
        stream.read_exact(&mut hello).await.expect("a ClientHello");
        assert_eq!(hello[0], 22);
        let _ = stream.write_all(bytes).await;
        if hang_up {
            let _ = stream.shutdown().await;
        }
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    let client = at("localhost", address).tls(Ca::new().trusted());
    soon(client.connect()).await.expect_err("that is no TLS")
}

#[tokio::test]
async fn a_port_that_does_not_speak_tls() {
    for answer in [
        &b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\0\0\0\0\0\0\0\0\0\0\0\0",
    ] {
        let e = told(answer, false).await;
        assert!(e.is_tls() && e.to_string().contains("use ws://"), "{e}");
    }
    let e = told(b"", true).await;
    assert!(e.is_tls() && e.is_lost() && e.to_string().contains("hung up"), "{e}");
    // A server of ours without TLS.
    let (_running, address) = crate::servers::start(Server::new()).await;
    let e = soon(Client::new(format!("wss://{address}/")).tls(Ca::new().trusted()).connect()).await;
    assert!(e.expect_err("no TLS").is_tls());
}

#[tokio::test]
async fn rfc8446_6_2_alerts_are_told_in_words() {
    for (alert, word) in [
        (&[21, 3, 3, 0, 2, 2, 70][..], "1.2 or 1.3"),
        (&[21, 3, 3, 0, 2, 2, 40], "refused the TLS handshake"),
        (&[21, 3, 3, 0, 2, 2, 112], "SNI"),
        (&[21, 3, 3, 0, 2, 2, 80], "InternalError"),
        (&[21, 3, 3, 0, 2, 2, 120], "ALPN"),
    ] {
        let e = told(alert, true).await;
        assert!(e.is_tls() && e.to_string().contains(word), "{word}: {e}");
    }
}

/// A server that makes TLS and takes the WebSocket, and then does `script`.
async fn opened<F>(
    config: ServerConfig,
    script: impl FnOnce(Scripted) -> F + Send + 'static,
) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    listen(move |stream: TcpStream| async move {
        let stream: TlsStream<TcpStream> = accept(config, stream).await.expect("TLS");
        let mut server = Scripted::new(stream);
        server.answer(&good(&[])).await;
        script(server).await;
    })
    .await
}

#[tokio::test]
async fn rfc8446_6_1_an_end_without_close_notify() {
    let ca = Ca::new();
    // Behind a Close it means nothing: many servers do so.
    let address = opened(server(&ca.local(), None), |mut server| async move {
        server.send([0x88, 2, 3, 232]).await;
        server.frame().await;
    })
    .await;
    let mut ws =
        soon(at("localhost", address).tls(ca.trusted()).connect()).await.expect("it opens");
    assert_eq!(soon(ws.recv()).await.expect("a Close"), None);
    assert!(soon(ws.closed()).await.is_clean());

    // Before one somebody on the way may have cut it.
    let address = opened(server(&ca.local(), None), |mut server| async move {
        server.send([0x81, 1, b'x']).await;
    })
    .await;
    let mut ws =
        soon(at("localhost", address).tls(ca.trusted()).connect()).await.expect("it opens");
    assert_eq!(soon(ws.recv()).await.expect("a message"), Some("x".into()));
    let e = soon(ws.recv()).await.expect_err("it was cut");
    assert!(e.is_lost() && e.to_string().contains("close_notify"), "{e}");
    assert_eq!(soon(ws.closed()).await.code(), 1006.into());
}

#[tokio::test]
async fn a_refusal_over_tls_has_its_status_and_body() {
    let ca = Ca::new();
    let config = server(&ca.local(), None);
    let address = listen(move |stream: TcpStream| async move {
        let mut server = Scripted::new(accept(config, stream).await.expect("TLS"));
        server.answer("HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nnever").await;
        server.finish().await;
    })
    .await;
    let e =
        soon(at("localhost", address).tls(ca.trusted()).connect()).await.expect_err("a refusal");
    let response = e.http_response().expect("an answer");
    assert_eq!((response.status(), response.body()), (403, &b"never"[..]));
}

#[tokio::test]
async fn clones_of_a_client_resume_their_sessions() {
    let ca = Ca::new();
    let (address, mut seen) = echo(server(&ca.local(), None)).await;
    let client = at("localhost", address).tls(ca.trusted());
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let client = client.clone().header("X", "y");
        let mut ws = soon(client.connect()).await.expect("it opens");
        // The ticket comes before the echo.
        talk(&mut ws).await;
        assert_eq!(seen.recv().await.expect("a handshake").kind, Some(expected));
    }
}

#[tokio::test]
async fn keys_are_logged_when_asked() {
    let ca = Ca::new();
    let (address, _seen) = echo(server(&ca.local(), None)).await;
    let path = std::env::temp_dir().join(format!("provod-keys-{}", std::process::id()));
    let client = at("localhost", address).tls(ca.trusted().key_log(&path));
    drop(soon(client.connect()).await.expect("it opens"));
    let keys = std::fs::read_to_string(&path).expect("a file");
    std::fs::remove_file(&path).expect("it is there");
    assert!(keys.lines().any(|line| line.starts_with("CLIENT_TRAFFIC_SECRET_0 ")), "{keys}");
    let nowhere = ca.trusted().key_log("/nowhere/at/all");
    let e = soon(at("localhost", address).tls(nowhere).connect()).await.expect_err("no such place");
    assert!(e.is_usage() && e.to_string().contains("/nowhere/at/all"), "{e}");
}

#[tokio::test]
async fn a_configuration_of_ones_own_is_taken() {
    let ca = Ca::new();
    let (address, mut seen) = echo(server(&ca.local(), None)).await;
    let mut roots = rustls::RootCertStore::empty();
    let der = rustls_pki_types::pem::PemObject::from_pem_slice(ca.pem.as_bytes()).unwrap();
    roots.add(der).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls = ClientTls::from_config(Arc::new(config));
    talk(&mut soon(at("localhost", address).tls(tls).connect()).await.expect("it opens")).await;
    let alpn = seen.recv().await.expect("a handshake").alpn;
    assert_eq!(alpn.as_deref(), Some(&b"http/1.1"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_falls_silent_in_tls_is_cut_at_that_steps_deadline() {
    let ca = Ca::new();
    // The first bytes of a ServerHello, one each second.
    let address = listen(|mut stream: TcpStream| async move {
        for byte in [22, 3, 3, 1, 0, 2, 0, 0, 76, 3, 3] {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let _ = stream.write_all(&[byte]).await;
        }
    })
    .await;
    let begun = tokio::time::Instant::now();
    let client = at("localhost", address).tls(ca.trusted()).tls_timeout(Duration::from_secs(7));
    let e = client.connect().await.expect_err("it is silent");
    assert!(e.is_tls() && e.is_timeout() && e.to_string().contains("7s"), "{e}");
    assert_eq!(begun.elapsed().as_secs(), 7);
}

#[tokio::test]
async fn a_server_that_hangs_up_at_any_byte_of_its_handshake() {
    let ca = Ca::new();
    let pair = ca.local();
    let (mut failed, mut lost) = (0, 0);
    for most in (0..2000).step_by(23) {
        let config = Arc::new(server(&pair, None));
        let address = listen(move |stream: TcpStream| async move {
            let (near, far) = tokio::io::duplex(64 << 10);
            let (mut from_client, mut to_client) = stream.into_split();
            let (from_server, mut to_server) = tokio::io::split(near);
            let served = async move {
                // It ends without an answer.
                drop(tokio_rustls::TlsAcceptor::from(config).accept(far).await);
                std::future::pending::<()>().await;
            };
            let cut = async {
                let mut some = from_server.take(most);
                let _ = tokio::io::copy(&mut some, &mut to_client).await;
                let _ = to_client.shutdown().await;
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = served => {}
                () = cut => {}
                _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
            }
        })
        .await;
        let client = at("localhost", address).tls(ca.trusted());
        let e = soon(client.connect()).await.expect_err("it is cut");
        assert!(e.is_lost() && !e.is_timeout(), "{most}: {e:?}");
        failed += u32::from(e.is_tls());
        lost += u32::from(!e.is_tls());
    }
    // Behind the handshake, where the tickets come, it is the answer that is missing.
    assert!(failed > 10 && lost > 1, "{failed} and {lost}");
}
