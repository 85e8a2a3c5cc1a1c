//! Servers that speak TLS.

mod certificates;
mod reload;

use std::sync::Arc;

use provod::handler::{Received, Socket};
use provod::server::{Accept, Response};
use provod::tls::ServerTls;
use provod::tls::rustls::ClientConfig;
use provod::{Client, CloseCode, Handler, Server, WebSocket};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::peer::{Peer, close, request, soon, text, until};
use crate::servers::{address, hall, patient, start};
use certificates::{Authority, connect};

struct Echo;

impl Handler for Echo {
    type Peer = ();

    fn open(&self, _: &mut Socket<'_>, (): ()) {}

    fn message(&self, ws: &mut Socket<'_>, (): &mut (), message: Received<'_>) {
        let _ = ws.send(message);
    }
}

/// A certificate for a server, and a client that trusts it.
pub(crate) fn trusted() -> (ServerTls, Arc<ClientConfig>) {
    let authority = Authority::new();
    let issued = authority.issue();
    (ServerTls::from_pem(issued.certificate, issued.key), authority.client(None))
}

/// Opens a WebSocket over TLS.
async fn open(address: std::net::SocketAddr, client: &Arc<ClientConfig>) -> WebSocket {
    let stream = connect(address, client).await.expect("TLS is agreed");
    let opened = soon(Client::new("ws://localhost/").connect_over(stream)).await;
    opened.expect("the WebSocket opens")
}

/// As [`open`], with a proxy's header in front.
pub(crate) async fn connect_behind(
    address: std::net::SocketAddr,
    header: &[u8],
    client: &Arc<ClientConfig>,
) -> WebSocket {
    let mut tcp = TcpStream::connect(address).await.expect("it listens");
    tcp.write_all(header).await.expect("it is open");
    let name = "localhost".try_into().expect("a name");
    let stream = tokio_rustls::TlsConnector::from(client.clone()).connect(name, tcp);
    let stream = soon(stream).await.expect("TLS is agreed");
    let opened = soon(Client::new("ws://localhost/").connect_over(stream)).await;
    opened.expect("the WebSocket opens")
}

/// Small and long messages there and back, more of them than sockets hold, and a clean end.
async fn talk(mut ws: WebSocket) {
    for _ in 0..3 {
        ws.send("hello").await.expect("it is queued");
        assert_eq!(soon(ws.recv()).await.expect("an echo"), Some("hello".into()));
    }
    let long: Vec<u8> = (0..8 << 20).map(|n: u32| n.to_le_bytes()[1]).collect();
    ws.send(long.clone()).await.expect("it is queued");
    ws.send("behind it").await.expect("it is queued");
    let got = soon(ws.recv()).await.expect("an echo").expect("a message");
    assert!(got.as_bytes() == long);
    assert_eq!(soon(ws.recv()).await.expect("an echo"), Some("behind it".into()));
    let closed = soon(ws.close(CloseCode::NORMAL, "")).await.expect("a legal code");
    assert!(closed.is_clean(), "{closed:?}");
}

#[tokio::test]
async fn tasks_talk_over_tls() {
    for workers in [0, 1] {
        let (tls, client) = trusted();
        let (running, address) = start(Server::new().tls(tls).workers(workers)).await;
        talk(open(address, &client).await).await;
        until(|| running.stats().close_codes.get(&1000) == Some(&1)).await;
    }
}

#[tokio::test]
async fn handlers_talk_over_tls() {
    for workers in [0, 1] {
        let (tls, client) = trusted();
        let server = Server::new().tls(tls).workers(workers).listen("127.0.0.1:0");
        let running = server.start_handler(Echo).await.expect("it starts");
        talk(open(address(&running), &client).await).await;
        until(|| running.stats().close_codes.get(&1000) == Some(&1)).await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_stays_plain() {
    let (tls, _) = trusted();
    let path = std::env::temp_dir().join(format!("provod-tls-{}.sock", std::process::id()));
    let server = Server::new().tls(tls).listen(format!("unix:{}", path.display()));
    let _running = server.start_handler(Echo).await.expect("it starts");
    let stream = tokio::net::UnixStream::connect(&path).await.expect("it listens");
    let ws = Client::new("ws://localhost/").connect_over(stream).await.expect("it opens");
    talk(ws).await;
}

#[tokio::test]
async fn a_storm_of_handshakes_that_come_byte_by_byte_is_served() {
    let (tls, client) = trusted();
    let (running, address) = start(Server::new().tls(tls)).await;
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                // What the client says is passed on a byte at a time.
                let (near, far) = tokio::io::duplex(64 << 10);
                let mut tcp = TcpStream::connect(address).await.expect("it listens");
                tokio::spawn(async move {
                    let mut far = far;
                    let _ =
                        tokio::io::copy_bidirectional_with_sizes(&mut far, &mut tcp, 1, 1024).await;
                });
                let name = "localhost".try_into().expect("a name");
                let stream = tokio_rustls::TlsConnector::from(client).connect(name, near);
                let stream = stream.await.expect("TLS is agreed");
                let mut ws = Client::new("ws://localhost/").connect_over(stream).await?;
                ws.send("hello").await?;
                ws.recv().await
            })
        })
        .collect();
    for client in clients {
        let got = soon(client).await.expect("no panic").expect("an echo");
        assert_eq!(got, Some("hello".into()));
    }
    assert_eq!(running.stats().opened, 50);
}

#[tokio::test]
async fn plain_http_on_a_tls_port_is_told_so() {
    let (tls, _) = trusted();
    let (running, address) = start(Server::new().tls(tls)).await;
    let mut peer = Peer::connect(address).await;
    peer.send(request("/", &[])).await;
    let answer = peer.answer().await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.body, "this port speaks TLS: the address begins with https:// or wss://\n");
    peer.expect_end().await;
    assert_eq!(running.stats().refusals.get("tls"), Some(&1));
}

#[tokio::test]
async fn what_is_no_tls_ends_and_is_counted_and_silence_is_not() {
    let (tls, client) = trusted();
    let (running, address) = start(Server::new().tls(tls)).await;
    let mut silent = Peer::connect(address).await;
    silent.finish().await;
    silent.gone().await;
    assert!(running.stats().refusals.is_empty());
    for bytes in [&[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0][..], &[0x80; 600], &[0x16; 20_000], &[0; 9]] {
        let mut peer = Peer::connect(address).await;
        peer.try_send(bytes).await;
        peer.gone().await;
    }
    let mut cut = Peer::connect(address).await;
    cut.send(&[0x16, 3, 1, 2, 0, 1, 0][..]).await;
    cut.finish().await;
    cut.gone().await;
    until(|| running.stats().refusals.get("tls") == Some(&5)).await;
    talk(open(address, &client).await).await;
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_stops_is_cut_at_its_deadline() {
    let (tls, _) = trusted();
    let (running, address) = start(Server::new().tls(tls)).await;
    let hour = std::time::Duration::from_secs(3600);
    for bytes in [&[][..], &[0x16], &[0x16, 3, 1, 2, 0, 1, 0]] {
        let mut peer = Peer::connect(address).await.patience(hour);
        peer.send(bytes).await;
        peer.gone().await;
    }
    assert_eq!(running.stats().refusals.get("tls"), Some(&3));
}

#[tokio::test]
async fn silent_handshakes_make_room_for_others() {
    let (tls, client) = trusted();
    let (running, address) = start(Server::new().tls(tls).max_connections(4)).await;
    let mut silent = Vec::new();
    for n in 0..12 {
        let mut peer = Peer::connect(address).await;
        peer.send(&[0x16, 3, 1][..]).await;
        until(|| running.stats().accepted == n + 1).await;
        silent.push(peer);
    }
    talk(open(address, &client).await).await;
    assert!(running.stats().refusals["evicted"] >= 9, "{:?}", running.stats().refusals);
    silent[0].gone().await;
}

#[tokio::test]
async fn a_full_server_says_so_over_tls() {
    let header = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for proxied in [false, true] {
        let (tls, client) = trusted();
        let mut server = Server::new().tls(tls).max_connections(1);
        if proxied {
            server = server.proxy_protocol(["127.0.0.1"]);
        }
        let (running, address) = start(server).await;
        let header = if proxied { &header[..] } else { b"" };
        let open = connect_behind(address, header, &client).await;
        let mut tcp = TcpStream::connect(address).await.expect("it listens");
        tcp.write_all(header).await.expect("it is open");
        let name = "localhost".try_into().expect("a name");
        let stream = tokio_rustls::TlsConnector::from(client.clone()).connect(name, tcp);
        let mut stream = soon(stream).await.expect("TLS is agreed");
        stream.write_all(request("/", &[]).as_bytes()).await.expect("it is open");
        let mut answer = String::new();
        soon(stream.read_to_string(&mut answer)).await.expect("TLS ends as it must");
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert_eq!(running.stats().refusals.get("full"), Some(&1));
        talk(open).await;
    }
}

#[tokio::test]
async fn an_end_without_close_notify_is_lost_before_a_close_and_nothing_after_it() {
    let (tls, client) = trusted();
    let mut hall = hall(Server::new().tls(tls).config(patient())).await;
    for closes in [false, true] {
        let mut stream = connect(hall.address, &client).await.expect("TLS is agreed");
        stream.write_all(request("/", &[]).as_bytes()).await.expect("it is open");
        stream.write_all(&text("hello")).await.expect("it is open");
        let mut ws = soon(hall.opened.recv()).await.expect("it opens");
        assert_eq!(soon(ws.recv()).await.expect("it comes"), Some("hello".into()));
        if closes {
            stream.write_all(&close(1000)).await.expect("it is open");
            stream.flush().await.expect("it is open");
            assert_eq!(soon(ws.recv()).await.expect("a Close"), None);
        }
        let mut answer = [0; 12];
        soon(stream.read_exact(&mut answer)).await.expect("an answer");
        // The rest of it, and the server's own end of TLS, are read below TLS; ours does not come.
        let (mut tcp, _) = stream.into_inner();
        tcp.shutdown().await.expect("it is open");
        if closes {
            let closed = soon(ws.closed()).await;
            assert!(closed.is_clean() && closed.code() == CloseCode::NORMAL, "{closed:?}");
        } else {
            let error = soon(ws.recv()).await.expect_err("it is lost");
            assert!(error.is_lost(), "{error}");
            assert_eq!(
                error.to_string(),
                "the connection was lost: TLS ended without close_notify (RFC 8446 section 6.1) \
                 before a Close frame came"
            );
            assert_eq!(soon(ws.closed()).await.code(), CloseCode::ABNORMAL);
        }
    }
}

#[tokio::test]
async fn the_server_says_close_notify_at_its_end() {
    let (tls, client) = trusted();
    let (_running, address) = start(Server::new().tls(tls)).await;
    let mut stream = connect(address, &client).await.expect("TLS is agreed");
    stream.write_all(request("/", &[]).as_bytes()).await.expect("it is open");
    stream.write_all(&close(1000)).await.expect("it is open");
    // Without close_notify this is an error (RFC 8446 section 6.1).
    let mut all = Vec::new();
    soon(stream.read_to_end(&mut all)).await.expect("TLS ends as it must");
    assert!(all.ends_with(&[0x88, 2, 3, 0xE8]));
    // An answer of plain HTTP ends so, too.
    let mut stream = connect(address, &client).await.expect("TLS is agreed");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("it is open");
    let mut all = Vec::new();
    soon(stream.read_to_end(&mut all)).await.expect("TLS ends as it must");
    assert!(all.starts_with(b"HTTP/1.1 426 "));
}

#[tokio::test]
async fn http_1_1_is_agreed_by_alpn_and_nothing_else() {
    let (tls, client) = trusted();
    let (running, address) = start(Server::new().tls(tls)).await;
    let with = |names: &[&str]| {
        let mut client = ClientConfig::clone(&client);
        client.alpn_protocols = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(client)
    };
    for (names, agreed) in [
        (&["http/1.1"][..], Some(&b"http/1.1"[..])),
        (&["x", "http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let stream = connect(address, &with(names)).await.expect("TLS is agreed");
        assert_eq!(stream.get_ref().1.alpn_protocol(), agreed);
    }
    // RFC 7301 section 3.2: no_application_protocol.
    connect(address, &with(&["x"])).await.expect_err("there is nothing to agree on");
    until(|| running.stats().refusals.get("tls") == Some(&1)).await;
}

#[tokio::test]
async fn a_client_shows_its_certificate_where_it_is_asked_for() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let (own, known, foreign) = (servers.issue(), clients.issue(), Authority::new().issue());
    let shown = known.der();
    for required in [true, false] {
        let tls = ServerTls::from_pem(&*own.certificate, &*own.key);
        let authorities = &*clients.certificate;
        let tls = match required {
            true => tls.require_client_certificate(authorities),
            false => tls.request_client_certificate(authorities),
        };
        let expected = shown.to_vec();
        let server = Server::new().tls(tls).on_request(move |request| {
            let answer = match request.client_certificate() {
                Some(der) if der == expected => Ok(Accept::new("known")),
                Some(_) => Err(Response::text(500, "somebody else")),
                None => Ok(Accept::new("unknown")),
            };
            async { answer }
        });
        let running = server
            .listen("127.0.0.1:0")
            .start_with(|ws, who| async move {
                ws.send(who).await?;
                ws.send("end").await?;
                Ok(())
            })
            .await
            .expect("it starts");
        let address = address(&running);
        let mut ws = open(address, &servers.client(Some(&known))).await;
        assert_eq!(soon(ws.recv()).await.expect("it comes"), Some("known".into()));
        // In TLS 1.3 a client hears of its refusal with the first read.
        for shown in [None, Some(&foreign)] {
            let taken = shown.is_none() && !required;
            let mut stream = connect(address, &servers.client(shown)).await.expect("so far");
            let asked = stream.write_all(request("/", &[]).as_bytes()).await;
            let got = soon(stream.read(&mut [0; 12])).await;
            assert_eq!(got.is_ok_and(|n| n > 0), taken, "{asked:?}");
        }
        let refused = if required { 2 } else { 1 };
        until(|| running.stats().refusals.get("tls") == Some(&refused)).await;
    }
}

#[tokio::test]
async fn a_client_certificate_is_checked_each_time() {
    use provod::tls::rustls::version::{TLS12, TLS13};
    use provod::tls::rustls::{HandshakeKind, SupportedProtocolVersion};

    let (servers, clients) = (Authority::new(), Authority::new());
    let (own, known) = (servers.issue(), clients.issue());
    let versions: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];
    for version in versions {
        for asks in [false, true] {
            let mut tls = ServerTls::from_pem(&*own.certificate, &*own.key);
            if asks {
                tls = tls.require_client_certificate(&*clients.certificate);
            }
            let (_running, address) = start(Server::new().tls(tls)).await;
            let client = servers.client_with(&[version], Some(&known));
            let mut kinds = Vec::new();
            for _ in 0..2 {
                let mut stream = connect(address, &client).await.expect("TLS is agreed");
                stream.write_all(request("/", &[]).as_bytes()).await.expect("it is open");
                // A ticket has come before the answer.
                soon(stream.read_exact(&mut [0; 12])).await.expect("an answer");
                kinds.push(stream.get_ref().1.handshake_kind());
            }
            // Who comes again is known to a server that asks for nothing.
            let again = if asks { HandshakeKind::Full } else { HandshakeKind::Resumed };
            assert_eq!(kinds, [Some(HandshakeKind::Full), Some(again)], "{version:?}, {asks}");
        }
    }
}

#[tokio::test]
async fn a_configuration_of_ones_own_is_used_as_it_is() {
    use provod::tls::rustls::ServerConfig;
    use provod::tls::rustls::pki_types::PrivateKeyDer;
    use provod::tls::rustls::pki_types::pem::PemObject as _;

    let authority = Authority::new();
    let issued = authority.issue();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("a key");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![issued.der()], key)
        .expect("they belong together");
    let mut early = config.clone();
    early.max_early_data_size = 1024;
    let server = Server::new().tls(ServerTls::from_config(Arc::new(early))).listen("127.0.0.1:0");
    let error = server.start(crate::servers::echo).await.expect_err("0-RTT is not taken");
    assert!(error.is_usage() && error.to_string().contains("max_early_data_size"), "{error}");
    let tls = ServerTls::from_config(Arc::new(config));
    let (_running, address) = start(Server::new().tls(tls)).await;
    talk(open(address, &authority.client(None)).await).await;
}
