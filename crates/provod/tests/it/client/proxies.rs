//! Proxies of HTTP and SOCKS5: what is said to them, and each way in which they can fail.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use provod::client::Proxy;
use provod::{Client, Error, Server, WebSocket};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::peer::soon;
use crate::scripted::{header, listen};
use crate::servers::start;

const GREETING: &[u8] = &[5, 0];
const CONNECTED: &[u8] = &[5, 0, 0, 1, 127, 0, 0, 1, 0, 80];

/// A head of HTTP, with the empty line.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(e) => panic!("{e}: {}", String::from_utf8_lossy(&head)),
        }
    }
    String::from_utf8(head).expect("a request is ASCII")
}

/// Joins both streams until both have ended.
async fn join(mut stream: impl AsyncRead + AsyncWrite + Unpin, to: SocketAddr) {
    let mut server = TcpStream::connect(to).await.expect("the server is there");
    let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
}

/// A proxy of HTTP that takes one tunnel to `to`, whatever it is asked for, and tells the request.
async fn http(to: SocketAddr) -> (SocketAddr, oneshot::Receiver<String>) {
    let (tell, told) = oneshot::channel();
    let address = listen(move |mut stream: TcpStream| async move {
        let _ = tell.send(head(&mut stream).await);
        let answer = b"HTTP/1.1 200 Connection established\r\nVia: a\r\n\r\n";
        stream.write_all(answer).await.expect("it is taken");
        join(stream, to).await;
    })
    .await;
    (address, told)
}

/// What a client of SOCKS5 says, and the answers to it.
async fn socks_steps(
    stream: &mut TcpStream,
    choice: &[u8],
    login: &[u8],
    reply: &[u8],
) -> [Vec<u8>; 3] {
    let mut methods = vec![0; 2];
    stream.read_exact(&mut methods).await.expect("a greeting");
    let mut more = vec![0; usize::from(methods[1])];
    stream.read_exact(&mut more).await.expect("methods");
    methods.extend(more);
    let _ = stream.write_all(choice).await;
    let mut pair = Vec::new();
    if choice == [5, 2] {
        pair.resize(2, 0);
        stream.read_exact(&mut pair).await.expect("a login");
        for last in [false, true] {
            let mut part = vec![0; usize::from(pair[pair.len() - 1]) + usize::from(!last)];
            stream.read_exact(&mut part).await.expect("a login");
            pair.extend(part);
        }
        let _ = stream.write_all(login).await;
        if login != [1, 0] {
            // The client goes no further.
            return [methods, pair, Vec::new()];
        }
    }
    let mut request = vec![0; 5];
    stream.read_exact(&mut request).await.expect("a request");
    let rest = match request[3] {
        1 => 5,
        3 => usize::from(request[4]) + 2,
        _ => 17,
    };
    let mut more = vec![0; rest];
    stream.read_exact(&mut more).await.expect("a request");
    request.extend(more);
    let _ = stream.write_all(reply).await;
    [methods, pair, request]
}

fn client(url: impl AsRef<str>, proxy: impl AsRef<str>) -> Client {
    Client::new(url).proxy(Proxy::parse(proxy.as_ref()).expect("a proxy"))
}

async fn talk(mut ws: WebSocket) {
    soon(ws.send("Привет")).await.expect("it is sent");
    assert_eq!(soon(ws.recv()).await.expect("an echo"), Some("Привет".into()));
    assert!(soon(ws.close(1000, "")).await.expect("a legal code").is_clean());
}

#[tokio::test]
async fn rfc9110_9_3_6_a_tunnel_through_a_proxy_of_http() {
    let (_running, server) = start(Server::new()).await;
    let (proxy, asked) = http(server).await;
    let client = client(format!("ws://a:b@localhost:{}/x?y", server.port()), format!("{proxy}"))
        .header("Cookie", "c=d");
    let ws = soon(client.connect()).await.expect("it opens");
    assert_eq!(ws.peer(), format!("localhost:{}", server.port()));
    talk(ws).await;
    let asked = asked.await.expect("a request");
    let to = format!("localhost:{}", server.port());
    assert_eq!(asked, format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n"), "and nothing else");
}

#[tokio::test]
async fn the_port_is_always_named_and_ipv6_has_brackets() {
    for (url, to) in [
        ("ws://example.com/", "example.com:80"),
        ("ws://[::1]/", "[::1]:80"),
        ("ws://192.0.2.7:8080/", "192.0.2.7:8080"),
        ("ws://чат.рф/", "xn--80a0bn.xn--p1ai:80"),
    ] {
        let (tell, told) = oneshot::channel();
        let proxy = listen(move |mut stream: TcpStream| async move {
            let _ = tell.send(head(&mut stream).await);
        })
        .await;
        soon(client(url, proxy.to_string()).connect()).await.expect_err("it hangs up");
        let asked = told.await.expect("a request");
        assert!(asked.starts_with(&format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n")), "{asked}");
    }
}

#[tokio::test]
async fn rfc7617_the_proxys_credentials_go_to_the_proxy_alone() {
    let server = listen(|mut stream: TcpStream| async move {
        let request = head(&mut stream).await;
        assert_eq!(header(&request, "Proxy-Authorization"), None, "{request}");
        assert_eq!(header(&request, "Authorization"), Some("Basic YTpi"), "{request}");
        let _ = stream.write_all(b"HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n").await;
    })
    .await;
    let (proxy, asked) = http(server).await;
    let proxy = format!("http://Aladdin:open%20sesame@{proxy}");
    let e = soon(client(format!("ws://a:b@{server}/"), proxy).connect()).await;
    let e = e.expect_err("a refusal");
    assert!(e.http_response().is_some_and(|r| r.status() == 404) && !e.is_proxy(), "{e}");
    let asked = asked.await.expect("a request");
    let basic = header(&asked, "Proxy-Authorization");
    assert_eq!(basic, Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
    assert_eq!(header(&asked, "Authorization"), None, "{asked}");
}

/// The error at a proxy that does `script`.
async fn at<F>(scheme: &str, script: impl FnOnce(TcpStream) -> F + Send + 'static) -> Error
where
    F: Future<Output = ()> + Send + 'static,
{
    let proxy = listen(script).await;
    let proxy = format!("{scheme}://user:hunter2@{proxy}");
    let client = client("ws://example.com/", proxy).resolve_to(
        "example.com",
        80,
        ["192.0.2.7".parse().expect("an address")],
    );
    let e = soon(client.connect()).await.expect_err("no tunnel");
    assert!(e.is_proxy() && !e.is_usage(), "{e:?}");
    for text in [e.to_string(), format!("{e:?}"), format!("{client:?}")] {
        assert!(!text.contains("hunter2") && !text.contains("aHVudGVy"), "{text}");
    }
    e
}

/// The error at a proxy of HTTP that answers this, and hangs up.
async fn answered(answer: impl Into<Vec<u8>>) -> Error {
    let answer = answer.into();
    at("http", |mut stream: TcpStream| async move {
        head(&mut stream).await;
        let _ = stream.write_all(&answer).await;
        let _ = stream.shutdown().await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await
}

#[tokio::test]
async fn a_proxy_of_http_that_refuses_says_why() {
    for (status, reason) in [(407, "Proxy Authentication Required"), (403, "No"), (502, "")] {
        let e =
            answered(format!("HTTP/1.1 {status} {reason}\r\nContent-Length: 3\r\n\r\nwhy")).await;
        let response = e.http_response().expect("an answer");
        assert_eq!((response.status(), response.body()), (status, &b"why"[..]));
        let line = e.to_string();
        for word in ["proxy 127.0.0.1:", "example.com:80", &status.to_string(), reason] {
            assert!(line.contains(word), "{word}: {line}");
        }
    }
    let long = format!("HTTP/1.0 503 x\r\n\r\n{}", "x".repeat(100_000));
    assert_eq!(answered(long).await.http_response().expect("an answer").body().len(), 4096);
    // A redirect is not followed for a proxy.
    let e = answered("HTTP/1.1 302 x\r\nLocation: ws://127.0.0.1:1/\r\n\r\n").await;
    assert_eq!(e.http_response().expect("an answer").status(), 302);
}

#[tokio::test]
async fn a_proxy_of_http_that_hangs_up_at_any_byte() {
    let whole = "HTTP/1.1 200 Connection established\r\nVia: a\r\n\r\n";
    for at in 0..whole.len() {
        let e = answered(&whole[..at]).await;
        assert!(e.to_string().contains("the proxy"), "{at}: {e}");
    }
}

#[tokio::test]
async fn a_proxy_of_http_that_speaks_nonsense() {
    for (answer, word) in [
        (&b"SSH-2.0-OpenSSH_9.6\r\n"[..], "not valid"),
        (b"\x15\x03\x03\0\x02\x02\x46", "https://"),
        (&[b'x'; 100_000], "not valid"),
        (&b"HTTP/1.1 103 x\r\n\r\n".repeat(100), "interim"),
        (&[&b"HTTP/1.1 200 x\r\n"[..], &b"X: y\r\n".repeat(10_000)].concat(), "not valid"),
        (b"HTTP/1.1 200 x\r\n\r\nHTTP/1.1 101 x\r\n", "belongs to no one"),
        (b"HTTP/1.1 200 x\nA: b\n\n", "not valid"),
    ] {
        let e = answered(answer).await;
        assert!(e.to_string().contains(word) && e.http_response().is_none(), "{word}: {e}");
        let line = e.to_string();
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there() {
    let gone = listen(|_| async {}).await;
    drop(TcpStream::connect(gone).await);
    let e = loop {
        // The port is free as soon as the listener's task has ended.
        let client = client("ws://example.com/", format!("http://user:hunter2@{gone}"));
        let e = soon(client.connect()).await.expect_err("nobody listens");
        if e.is_connect() {
            break e;
        }
    };
    assert!(e.is_proxy() && std::error::Error::source(&e).is_some(), "{e:?}");
    let line = e.to_string();
    assert!(line.contains("on the way to the proxy") && line.contains(&gone.to_string()), "{line}");
    let client = client("ws://127.0.0.1:1/", format!("http://{}", "x".repeat(64)));
    let e = soon(client.connect()).await.expect_err("no such name");
    assert!(e.is_proxy() && e.is_resolve(), "{e}");
}

#[tokio::test]
async fn what_the_bypass_lists_is_reached_directly() {
    let (_running, server) = start(Server::new()).await;
    let proxy = Proxy::parse("http://127.0.0.1:1").expect("a proxy").bypass("127.0.0.0/8");
    let client = Client::new(format!("ws://{server}/")).proxy(proxy);
    let ws = soon(client.connect()).await.expect("it opens");
    assert_eq!(ws.peer_addr(), Some(server));
}

/// A proxy of SOCKS5 that takes one tunnel to `to`, and tells what it heard.
async fn socks(
    to: SocketAddr,
    choice: &'static [u8],
    reply: &'static [u8],
) -> (SocketAddr, oneshot::Receiver<[Vec<u8>; 3]>) {
    let (tell, told) = oneshot::channel();
    let address = listen(move |mut stream: TcpStream| async move {
        let heard = socks_steps(&mut stream, choice, &[1, 0], reply).await;
        let _ = tell.send(heard);
        join(stream, to).await;
    })
    .await;
    (address, told)
}

#[tokio::test]
async fn rfc1928_a_tunnel_to_a_name_and_to_addresses() {
    let (_running, server) = start(Server::new()).await;
    let port = server.port();
    let ends = |mut bytes: Vec<u8>| {
        bytes.extend(port.to_be_bytes());
        bytes
    };
    let name = [&[5, 1, 0, 3, 9][..], b"localhost"].concat();
    let v4 = vec![5, 1, 0, 1, 127, 0, 0, 1];
    let v6 = [&[5, 1, 0, 4][..], &[0; 15], &[1]].concat();
    for (scheme, host, request) in [
        ("socks5h", "localhost", &name),
        ("socks5h", "127.0.0.1", &v4),
        ("socks5h", "[::1]", &v6),
        ("socks5", "localhost", &v4),
        ("socks5", "127.0.0.1", &v4),
        ("socks5", "[::1]", &v6),
    ] {
        for bound in [
            CONNECTED,
            &[5, 0, 0, 3, 2, b'a', b'b', 0, 80],
            &[5, 0, 0, 3, 0, 0, 80],
            &[5, 0, 9, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 80],
        ] {
            let (proxy, heard) = socks(server, GREETING, bound).await;
            let client = client(format!("ws://{host}:{port}/"), format!("{scheme}://{proxy}"))
                .resolve_to("localhost", port, ["127.0.0.1".parse().expect("an address")]);
            talk(soon(client.connect()).await.expect("it opens")).await;
            let heard = heard.await.expect("a client");
            assert_eq!(heard, [vec![5, 1, 0], vec![], ends(request.clone())], "{scheme} {host}");
        }
    }
}

#[tokio::test]
async fn rfc1929_user_and_password() {
    let (_running, server) = start(Server::new()).await;
    let (proxy, heard) = socks(server, &[5, 2], CONNECTED).await;
    let proxy = format!("socks5h://me%3A:%D1%91@{proxy}");
    talk(soon(client(format!("ws://{server}/"), proxy).connect()).await.expect("it opens")).await;
    let [methods, login, _] = heard.await.expect("a client");
    assert_eq!(methods, [5, 2, 0, 2]);
    assert_eq!(login, [&[1, 3][..], b"me:", &[2], "ё".as_bytes()].concat());
    // A proxy may do without.
    let (proxy, _heard) = socks(server, GREETING, CONNECTED).await;
    let proxy = format!("socks5h://me:x@{proxy}");
    talk(soon(client(format!("ws://{server}/"), proxy).connect()).await.expect("it opens")).await;
}

/// The error at a proxy of SOCKS5 that gives these answers.
async fn replied(choice: &'static [u8], login: &'static [u8], reply: Vec<u8>) -> Error {
    at("socks5h", move |mut stream: TcpStream| async move {
        if choice == [5, 2] || choice == [5, 0] {
            socks_steps(&mut stream, choice, login, &reply).await;
        } else {
            let _ = stream.write_all(choice).await;
        }
        let _ = stream.shutdown().await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await
}

#[tokio::test]
async fn rfc1928_6_each_reply_has_its_own_line() {
    let mut lines = Vec::new();
    for (reply, word) in [
        (1, "general failure"),
        (2, "rules"),
        (3, "network"),
        (4, "host cannot"),
        (5, "refused; is the server"),
        (6, "too long"),
        (7, "CONNECT"),
        (8, "kind of address"),
        (9, "reply 9"),
        (255, "reply 255"),
    ] {
        let e = replied(&[5, 0], &[], vec![5, reply, 0, 1, 0, 0, 0, 0, 0, 0]).await;
        let line = e.to_string();
        assert!(line.contains(word) && line.contains("example.com"), "{reply}: {line}");
        lines.push(line.split(": ").last().map(str::to_owned));
    }
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), 10);
}

#[tokio::test]
async fn a_proxy_of_socks_that_speaks_nonsense() {
    for (choice, login, reply, word) in [
        (&[4, 0][..], &[][..], &[][..], "does not speak SOCKS5"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", &[], &[], "proxy of HTTP"),
        (&[5, 1], &[], &[], "not offered"),
        (&[5, 255], &[], &[], "knows no login"),
        (&[5, 2], &[1, 1], &[], "does not take this user"),
        (&[5, 0], &[], &[4, 0, 0, 1, 0, 0, 0, 0, 0, 0], "version 4"),
        (&[5, 0], &[], &[5, 0, 0, 2, 0, 0, 0, 0, 0, 0], "no kind"),
    ] {
        let e = replied(choice, login, reply.to_vec()).await;
        assert!(e.to_string().contains(word), "{word}: {e}");
    }
    let proxy = listen(|mut stream: TcpStream| async move {
        let _ = stream.write_all(&[5, 255]).await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    let e = soon(client("ws://example.com/", format!("socks5h://{proxy}")).connect()).await;
    assert!(e.expect_err("a login is wanted").to_string().contains("wants a user"));
    let long = format!("ws://{}/", ["x".repeat(60), "y".repeat(60)].join(".").repeat(3));
    let (proxy, _heard) = socks(proxy, GREETING, CONNECTED).await;
    let e = soon(client(long, format!("socks5h://{proxy}")).connect()).await;
    assert!(e.expect_err("too long").to_string().contains("255"));
}

#[tokio::test]
async fn a_proxy_of_socks_that_hangs_up_at_any_byte() {
    for (choice, login, reply) in [
        (&[5, 2][..], &[1, 0][..], CONNECTED),
        (&[5, 2], &[1, 0], &[5, 0, 0, 3, 2, b'a', b'b', 0, 80]),
    ] {
        for at in 0..reply.len() {
            let e = replied(choice, login, reply[..at].to_vec()).await;
            assert!(e.to_string().contains("hung up"), "{at}: {e}");
        }
        for at in 0..2 {
            let e = replied(choice, &login[..at], Vec::new()).await;
            assert!(e.to_string().contains("hung up"), "{at}: {e}");
            let e = replied(&choice[..at], &[], Vec::new()).await;
            assert!(e.to_string().contains("hung up"), "{at}: {e}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_falls_silent_or_drips_is_cut_at_that_steps_deadline() {
    let http = &b"HTTP/1.1 200 OK\r\nX: yyyyyyyyyyyy\r\n\r\n"[..];
    let refusal = &b"HTTP/1.1 200"[..];
    for (scheme, answer, pause) in [
        ("http", &b""[..], 1),
        ("http", http, 1),
        ("http", refusal, 0),
        ("socks5h", b"", 1),
        ("socks5h", &[5, 0, 5, 0, 0, 3, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1),
        ("socks5h", &[5, 0, 5, 0, 0], 0),
    ] {
        let proxy = listen(move |mut stream: TcpStream| async move {
            for byte in answer {
                tokio::time::sleep(Duration::from_secs(pause)).await;
                let _ = stream.write_all(&[*byte]).await;
            }
            std::future::pending::<()>().await;
        })
        .await;
        let begun = tokio::time::Instant::now();
        let client = client("ws://example.com/", format!("{scheme}://{proxy}"))
            .proxy_timeout(Duration::from_secs(7));
        let e = client.connect().await.expect_err("it never answers");
        assert!(e.is_proxy() && e.is_timeout(), "{e}");
        assert!(e.to_string().contains("7s") && e.to_string().contains(&proxy.to_string()), "{e}");
        assert_eq!(begun.elapsed().as_secs(), 7, "{scheme} {answer:?}");
    }
}

#[tokio::test]
async fn a_connect_that_is_dropped_lets_the_proxy_go() {
    let (tell, told) = oneshot::channel();
    let proxy = listen(move |mut stream: TcpStream| async move {
        head(&mut stream).await;
        let _ = tell.send(());
        let ended = stream.read(&mut [0; 1]).await;
        assert_eq!(ended.expect("an end"), 0);
    })
    .await;
    let client = client("ws://example.com/", proxy.to_string());
    tokio::select! {
        ws = client.connect() => panic!("{ws:?}"),
        told = told => told.expect("it has asked"),
    }
}

#[cfg(feature = "tls")]
mod over_tls {
    use std::sync::Arc;

    use super::*;
    use crate::client::certificates::{Ca, accept, server};

    /// A server that echoes over TLS.
    async fn echo(ca: &Ca) -> SocketAddr {
        let config = Arc::new(server(&ca.local(), None));
        listen(move |stream: TcpStream| async move {
            let Ok(stream) = accept(config, stream).await else { return };
            if let Ok(ws) = Server::new().accept_over(stream).await {
                let _ = crate::servers::echo(ws).await;
            }
        })
        .await
    }

    /// A proxy of HTTP over TLS.
    async fn secure(ca: &Ca, to: SocketAddr) -> SocketAddr {
        let config = Arc::new(server(&ca.local(), None));
        listen(move |stream: TcpStream| async move {
            let Ok(mut stream) = accept(config, stream).await else { return };
            assert_eq!(stream.get_ref().1.alpn_protocol(), None);
            head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 x\r\n\r\n").await.expect("it is taken");
            stream.flush().await.expect("it is sent");
            join(stream, to).await;
        })
        .await
    }

    #[tokio::test]
    async fn tls_inside_each_kind_of_tunnel() {
        let ca = Ca::new();
        for kind in ["http", "https", "socks5", "socks5h"] {
            let server = echo(&ca).await;
            let proxy = match kind {
                "http" => http(server).await.0,
                "https" => secure(&ca, server).await,
                _ => socks(server, GREETING, CONNECTED).await.0,
            };
            let client = client(format!("wss://{server}/"), format!("{kind}://{proxy}"));
            let ws = soon(client.tls(ca.trusted()).connect()).await;
            talk(ws.unwrap_or_else(|e| panic!("{kind}: {e}"))).await;
        }
        // Without TLS inside.
        let (_running, server) = start(Server::new()).await;
        let proxy = secure(&ca, server).await;
        let client = client(format!("ws://{server}/"), format!("https://{proxy}"));
        talk(soon(client.tls(ca.trusted()).connect()).await.expect("it opens")).await;
    }

    #[tokio::test]
    async fn the_certificate_of_a_proxy_is_checked_even_where_any_of_a_server_is_taken() {
        let ca = Ca::new();
        let server = echo(&ca).await;
        let proxy = secure(&ca, server).await;
        let tls =
            provod::tls::ClientTls::default().ca_pem(Ca::new().pem).danger_accept_any_certificate();
        let client = client(format!("wss://{server}/"), format!("https://u:hunter2@{proxy}"));
        let e = soon(client.tls(tls).connect()).await.expect_err("it is not trusted");
        assert!(e.is_proxy() && e.is_tls() && e.to_string().contains("CA"), "{e}");
    }

    #[tokio::test]
    async fn a_server_in_the_tunnel_that_is_not_trusted_is_not_the_proxys_fault() {
        let ca = Ca::new();
        let server = echo(&ca).await;
        let (proxy, _asked) = http(server).await;
        let client = client(format!("wss://{server}/"), proxy.to_string());
        let e = soon(client.tls(Ca::new().trusted()).connect()).await.expect_err("not trusted");
        assert!(e.is_tls() && !e.is_proxy(), "{e}");
    }
}
