//! What is secret stays out of errors, of whatever can be printed, and of the log.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use provod::client::Proxy;
use provod::{Client, Error};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::peer::soon;
use crate::scripted::listen;

const SECRET: &str = "hunter2";
/// As Basic credentials have it, wherever it begins.
const ENCODED: [&str; 3] = ["aHVudGVyMg", "h1bnRlcj", "odW50ZXIy"];

/// Everything that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[track_caller]
fn clean(text: &str) {
    for secret in [SECRET].iter().chain(&ENCODED) {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

#[track_caller]
fn error_is_clean(e: &Error) {
    clean(&format!("{e} {e:?} {e:#?}"));
    let mut source = std::error::Error::source(e);
    while let Some(e) = source {
        clean(&format!("{e} {e:?}"));
        source = e.source();
    }
}

/// A client full of secrets for this place, which begins with a scheme.
fn client(place: &str) -> Client {
    let url = place.replacen("://", &format!("://{SECRET}:{SECRET}@"), 1);
    Client::new(format!("{url}?token={SECRET}"))
        .header("Cookie", format!("id={SECRET}"))
        .header("X-Api-Key", SECRET)
        .resolve_timeout(Duration::from_secs(10))
        .redirects(3)
}

fn proxied(place: &str, proxy: &str) -> Client {
    let proxy = proxy.replacen("://", &format!("://{SECRET}:{SECRET}@"), 1);
    client(place).proxy(Proxy::parse(&proxy).expect("a proxy"))
}

/// A port where each client hears this, and no more.
async fn saying(answer: &'static str) -> String {
    let address = listen(move |mut stream: TcpStream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    address.to_string()
}

#[tokio::test]
async fn no_error_no_debug_and_no_log_has_a_secret() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _log = tracing::subscriber::set_default(subscriber);
    let gone = "127.0.0.1:1";
    let unresolved = "x".repeat(64);
    let refusing = "HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n";
    let mut clients = vec![
        client("ftp://example.com/"),
        client("ws://[::1/"),
        client("ws://example.com:0/"),
        client("ws://example.com/").header("Cookie", "twice"),
        client("ws://example.com/").header("Upgrade", SECRET),
        client(&format!("ws://{gone}/")),
        client(&format!("ws://{unresolved}/")),
        proxied("ws://example.com/", &format!("http://{gone}")),
        proxied("ws://example.com/", &format!("socks5h://{gone}")),
        proxied("ws://example.com/", &format!("http://{unresolved}")),
    ];
    for answer in [
        "",
        "nonsense",
        "HTTP/1.1 101 x\r\n\r\n",
        refusing,
        "HTTP/1.1 302 x\r\nLocation: ftp://u:hunter2@x/?hunter2\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 302 x\r\nLocation: ws://u:hunter2@127.0.0.1:1/?hunter2\r\n\r\n",
        "\x05\0",
        "\x05\x02\x01\x01",
    ] {
        clients.push(client(&format!("ws://{}/", saying(answer).await)));
        let proxy = format!("http://{}", saying(answer).await);
        clients.push(proxied("ws://example.com/", &proxy));
        let proxy = format!("socks5h://{}", saying(answer).await);
        clients.push(proxied("ws://example.com/", &proxy));
        #[cfg(feature = "tls")]
        {
            let trusting = provod::tls::ClientTls::default().danger_accept_any_certificate();
            let client = client(&format!("wss://{}/", saying(answer).await));
            clients.push(client.tls(trusting));
        }
    }
    for client in clients {
        clean(&format!("{client:?} {client:#?}"));
        // What a redirect's Location says is the server's own, and shown by the answer alone.
        error_is_clean(&soon(client.connect()).await.expect_err("none of these opens"));
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).expect("text");
    assert!(log.contains("redirected"), "it is logged: {log}");
    clean(&log);
}

#[test]
fn passwords_of_proxies_are_not_shown() {
    for text in [
        "http://u:hunter2@a:b",
        "http://u:hunter2@a/path",
        "gopher://u:hunter2@a",
        "socks4://u:hunter2@a",
        "http://u:hunter2@",
        "http://u:hunter2@a?b",
        "http://u:hunter2@[::1",
    ] {
        error_is_clean(&Proxy::parse(text).expect_err(text));
    }
}
