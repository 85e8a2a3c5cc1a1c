//! `provod connect` on its way to the server: TLS, proxies, redirects, addresses.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustls::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::certificates::{Ca, accept, server};
use crate::peer::soon;
use crate::visitor::{Host, answer, command, field, finish, text, visit};

/// A file that goes with its test.
struct File(PathBuf);

impl File {
    fn new(content: &str) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let n = MADE.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("provod-{}-{n}.pem", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A server over TLS that says `x` to each client and closes; its port.
async fn secure(config: ServerConfig) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = Arc::new(config);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = accept(config.clone(), stream).await else { continue };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            let head = String::from_utf8(head).unwrap();
            if field(&head, "Sec-WebSocket-Key").is_none() {
                continue;
            }
            let said =
                [answer(&head, &[]).as_bytes(), &text("x"), &crate::visitor::close(1000, "")]
                    .concat();
            let _ = stream.write_all(&said).await;
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
    });
    port
}

#[tokio::test]
async fn wss_with_a_ca_of_ones_own_or_with_none() {
    let ca = Ca::new();
    let port = secure(server(&ca.local(), None)).await;
    let url = format!("wss://127.0.0.1:{port}/");
    let file = File::new(&ca.pem);
    visit(&["--cacert", file.path(), &url], "").await.expect_ok("x\n");
    visit(&["-k", &url], "").await.expect_ok("x\n");
    visit(&["--insecure", &url.replace("wss", "https")], "").await.expect_ok("x\n");
    let other = File::new(&Ca::new().pem);
    visit(&["--cacert", other.path(), &url], "").await.expect_failure(6, &["CA"]);
    visit(&[&url], "").await.expect_failure(6, &["CA"]);
    let elsewhere = format!("other.example:{port}:127.0.0.1");
    let url = format!("wss://other.example:{port}/");
    visit(&["--resolve", &elsewhere, "--cacert", file.path(), &url], "")
        .await
        .expect_failure(6, &["other.example", "localhost"]);
}

#[tokio::test]
async fn a_certificate_of_the_client_and_the_keys_of_the_connection() {
    let ca = Ca::new();
    let port = secure(server(&ca.local(), Some(&ca))).await;
    let url = format!("wss://127.0.0.1:{port}/");
    let mine = ca.issue(&["me"], |_| {});
    let (ca, cert, key) = (File::new(&ca.pem), File::new(&mine.certificate), File::new(&mine.key));
    let both = File::new(&(mine.certificate + &mine.key));
    let log = File::new("");
    let trust = ["--cacert", ca.path()];
    let with = |more: &[&str]| visit(&[&trust[..], more, &[&*url]].concat(), "");
    with(&["--cert", cert.path(), "--key", key.path()]).await.expect_ok("x\n");
    with(&["--cert", both.path(), "--keylog", log.path()]).await.expect_ok("x\n");
    assert!(std::fs::read_to_string(&log.0).unwrap().contains("CLIENT_TRAFFIC_SECRET_0"));
    with(&[]).await.expect_failure(6, &["certificate of the client"]);
    with(&["--http2"]).await.expect_failure(6, &["certificate of the client"]);
    // A proxy may want one, too, which it is not shown.
    let proxy = format!("https://127.0.0.1:{port}");
    with(&["--cert", both.path(), "-x", &proxy])
        .await
        .expect_failure(3, &["proxy", "certificate of the client"]);
    with(&["--cert", cert.path()]).await.expect_failure(2, &["key"]);
    with(&["--cert", "/nowhere/a.pem"]).await.expect_failure(2, &["/nowhere/a.pem"]);
    with(&["--keylog", "/nowhere/a.log"]).await.expect_failure(2, &["/nowhere/a.log"]);
    assert_eq!(with(&["--key", key.path()]).await.code, Some(2));
}

/// A proxy of HTTP at a port of its own, which gives this answer; what it was asked.
async fn asked(
    answer: &str,
    run: impl AsyncFnOnce(String) -> crate::visitor::Visit,
) -> (crate::visitor::Visit, Option<String>) {
    let proxy = Host::new().await;
    let place = proxy.url().trim_start_matches("ws://").trim_end_matches('/').to_owned();
    let (tell, mut told) = tokio::sync::oneshot::channel();
    let answer = answer.to_owned();
    let served = tokio::spawn(async move {
        let mut guest = proxy.guest().await;
        // Told before it is answered, and so before the client has ended.
        let _ = tell.send(guest.head().await);
        guest.send(answer).await;
        guest.gone().await;
    });
    let seen = run(place).await;
    served.abort();
    (seen, told.try_recv().ok())
}

#[tokio::test]
async fn code_3_a_proxy_that_refuses() {
    let answer = "HTTP/1.1 407 Login\r\nContent-Length: 9\r\n\r\nsay\x1bplease";
    for flag in ["-x", "--proxy"] {
        let (seen, head) = asked(answer, async |place| {
            visit(&[flag, &format!("me:hunter2@{place}"), "ws://example.com/"], "").await
        })
        .await;
        seen.expect_failure(3, &["proxy", "407", "USER:PASSWORD@", r"say\u{1b}plea"]);
        assert!(!seen.stderr.contains("hunter2"), "{seen:?}");
        let head = head.expect("it was asked");
        assert!(head.starts_with("CONNECT example.com:80 "), "{head}");
        assert_eq!(field(&head, "Proxy-Authorization"), Some("Basic bWU6aHVudGVyMg=="));
    }
    let gone = Host::new().await.url().replace("ws", "http");
    visit(&["-x", &gone, "ws://example.com/"], "").await.expect_failure(3, &["proxy"]);
    let seen = visit(&["-x", "gopher://u:hunter2@a", "ws://example.com/"], "").await;
    assert_eq!(seen.code, Some(2));
    assert!(seen.stderr.contains("socks5h://"), "{seen:?}");
}

#[tokio::test]
async fn a_secret_in_a_wrong_flag_is_not_shown() {
    for (flag, value, says) in [
        ("-x", "gopher://u:hunter2@a", "socks5h://"),
        ("--proxy=gopher://u:hunter2@a", "", "socks5h://"),
        ("-u", "hunter2", "USER:PASSWORD"),
        ("-H", "Authorization hunter2", "Name: value"),
    ] {
        let flags: Vec<_> =
            [flag, value, "ws://example.com/"].into_iter().filter(|f| !f.is_empty()).collect();
        let seen = visit(&flags, "").await;
        assert_eq!(seen.code, Some(2), "{seen:?}");
        assert!(seen.stderr.contains(says), "{seen:?}");
        assert!(!seen.stderr.contains("hunter2"), "{seen:?}");
    }
}

#[tokio::test]
async fn the_environment_names_the_proxy() {
    for (variable, url, flags, is_asked) in [
        ("http_proxy", "ws://name.invalid/", &[][..], true),
        ("HTTP_PROXY", "ws://name.invalid/", &[], false),
        ("https_proxy", "wss://name.invalid/", &[], true),
        ("HTTPS_PROXY", "wss://name.invalid/", &[], true),
        ("ALL_PROXY", "ws://name.invalid/", &[], true),
        ("ALL_PROXY", "ws://name.invalid/", &["--noproxy", ".invalid"], false),
        ("ALL_PROXY", "ws://name.invalid/", &["--noproxy", "*"], false),
        ("ALL_PROXY", "ws://name.invalid/", &["-x", ""], false),
    ] {
        let refusal = "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n";
        let (seen, head) = asked(refusal, async |place| {
            let mut command = command(&[flags, &[url]].concat());
            finish(command.env(variable, format!("http://{place}")).spawn().unwrap(), "").await
        })
        .await;
        assert_eq!(head.is_some(), is_asked, "{variable} {flags:?}");
        assert_eq!(seen.code, Some(if is_asked { 3 } else { 4 }), "{seen:?}");
    }
    let mut command = command(&["ws://name.invalid/"]);
    let child = command.env("all_proxy", "gopher://u:hunter2@a").spawn().unwrap();
    let seen = finish(child, "").await;
    seen.expect_failure(2, &["all_proxy"]);
    assert!(!seen.stderr.contains("hunter2"), "{seen:?}");
}

#[tokio::test]
async fn redirects_are_followed_with_location() {
    let ca = Ca::new();
    let there = secure(server(&ca.local(), None)).await;
    for (flags, code) in [(&["-k", "-L"][..], 0), (&["-k", "--location"], 0), (&["-k"], 7)] {
        let host = Host::new().await;
        let url = host.url();
        let arguments = [flags, &[&*url]].concat();
        let served = async {
            let mut guest = host.guest().await;
            guest.head().await;
            let to = format!("https://127.0.0.1:{there}/");
            guest.send(format!("HTTP/1.1 301 x\r\nLocation: {to}\r\n\r\n")).await;
        };
        let (seen, ()) = soon(async { tokio::join!(visit(&arguments, ""), served) }).await;
        assert_eq!(seen.code, Some(code), "{seen:?}");
    }
    let host = Host::new().await;
    let url = host.url();
    let served = async {
        for n in 0..=10 {
            let mut guest = host.guest().await;
            guest.head().await;
            guest
                .send(format!("HTTP/1.1 302 x\r\nLocation: /{n}\r\nContent-Length: 0\r\n\r\n"))
                .await;
        }
    };
    let (seen, ()) = soon(async { tokio::join!(visit(&["-L", &url], ""), served) }).await;
    seen.expect_failure(7, &["/9", "/10", "after the 10"]);
}

#[tokio::test]
async fn user_and_password() {
    for (flags, url, expected) in [
        (&["-u", "me:a:ö b"][..], "ws://HOST/", Some("Basic bWU6YTrDtiBi")),
        (&["--user", "me:"], "ws://you:x@HOST/", Some("Basic bWU6")),
        // It is no part of a URL, and so not encoded.
        (&["-u", "me:p%41 100%25"], "ws://HOST/", Some("Basic bWU6cCU0MSAxMDAlMjU=")),
        (&[], "ws://you:x@HOST/", Some("Basic eW91Ong=")),
        (&[], "ws://HOST/", None),
    ] {
        let host = Host::new().await;
        let place = host.url().trim_start_matches("ws://").trim_end_matches('/').to_owned();
        let url = url.replace("HOST", &place);
        let arguments = [flags, &[&*url]].concat();
        let served = async {
            let (guest, head) = host.open().await;
            guest.bye().await;
            head
        };
        let (seen, head) = soon(async { tokio::join!(visit(&arguments, ""), served) }).await;
        seen.expect_ok("");
        assert_eq!(field(&head, "Authorization"), expected, "{head}");
    }
    let seen = visit(&["-u", "secret", "ws://localhost/"], "").await;
    seen.expect_failure(2, &["USER:PASSWORD"]);
    assert!(!seen.stderr.contains("secret"), "{seen:?}");
    let seen = visit(&["-x", "http://me:secret@localhost:0", "ws://localhost/"], "").await;
    seen.expect_failure(2, &["proxy", "port 0"]);
    assert!(!seen.stderr.contains("secret"), "{seen:?}");
}

#[tokio::test]
async fn addresses_are_given_or_of_one_family() {
    let host = Host::new().await;
    let port = host.url().trim_end_matches('/').rsplit(':').next().unwrap().to_owned();
    let url = format!("ws://name.invalid:{port}/");
    let known = format!("name.invalid:{port}:127.0.0.1");
    for flags in [&["--resolve", &*known][..], &["-4", "--resolve", &known]] {
        let arguments = [flags, &[&*url]].concat();
        let served = async { host.open().await.0.bye().await };
        let (seen, ()) = soon(async { tokio::join!(visit(&arguments, ""), served) }).await;
        seen.expect_ok("");
    }
    for flag in ["-6", "--ipv6"] {
        visit(&[flag, "--resolve", &known, &url], "").await.expect_failure(4, &["IPv6"]);
    }
    visit(&["--ipv4", "ws://[::1]:1/"], "").await.expect_failure(4, &["IPv4"]);
    assert_eq!(visit(&["-4", "-6", &url], "").await.code, Some(2));
    let seen = visit(&["--resolve", "x", &url], "").await;
    assert!(seen.code == Some(2) && seen.stderr.contains("HOST:PORT:ADDRESS"), "{seen:?}");
}
