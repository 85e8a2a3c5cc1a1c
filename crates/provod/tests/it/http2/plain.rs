//! Requests of plain HTTP, and those that break the rules, by the `h2` crate.

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::{Method, Request, Response as Answer};
use provod::server::{Accept, OriginPolicy, Response};
use provod::{Server, WebSocket};

use super::{connect, upgrade};
use crate::peer::{soon, until};
use crate::servers::{address, echo, start};

async fn ask(send: &mut SendRequest<Bytes>, request: Request<()>) -> (Answer<()>, Vec<u8>) {
    let answer = send.send_request(request, true).unwrap().0;
    let (parts, mut body): (_, RecvStream) = soon(answer).await.unwrap().into_parts();
    let mut all = Vec::new();
    while let Some(data) = soon(body.data()).await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        all.extend_from_slice(&data);
    }
    (Answer::from_parts(parts, ()), all)
}

#[tokio::test]
async fn pages_and_health_are_answered_on_the_same_connection() {
    let page = "p".repeat(200_000);
    let server = Server::new().health("/up").on_request({
        let page = page.clone();
        move |request| {
            let answer = match (request.path(), request.is_upgrade()) {
                (_, true) => Ok(Accept::new(())),
                ("/", false) => {
                    assert_eq!(request.header("Cookie"), Some(&b"a=b; c=d"[..]));
                    let response = Response::new(200).header("Content-Type", b"text/html");
                    Err(response.unwrap().body(page.clone()))
                }
                ("/default", false) => Ok(Accept::new(())),
                _ => Err(Response::text(404, "nothing")),
            };
            async { answer }
        }
    });
    let running =
        server.listen("127.0.0.1:0").start_with(|ws: WebSocket, ()| echo(ws)).await.unwrap();
    let address = address(&running);
    let mut send = connect(address).await;
    let get = |path: &str| Request::get(format!("http://{address}{path}"));
    let cookies = |request: http::request::Builder| {
        request.header("cookie", "a=b").header("cookie", "c=d").body(()).unwrap()
    };
    let (answer, body) = ask(&mut send, cookies(get("/"))).await;
    assert_eq!((answer.status(), body.len()), (http::StatusCode::OK, page.len()));
    assert_eq!(answer.headers()["content-type"], "text/html");
    assert!(!answer.headers().contains_key("connection"));
    let (answer, body) = ask(&mut send, cookies(get("/").method(Method::HEAD))).await;
    assert_eq!((answer.headers()["content-length"].to_str().unwrap(), body.len()), ("200000", 0));
    let (answer, body) = ask(&mut send, get("/up").body(()).unwrap()).await;
    assert_eq!((answer.status().as_u16(), &body[..]), (200, &b"ok\n"[..]));
    let (answer, _) = ask(&mut send, get("/default").body(()).unwrap()).await;
    assert_eq!(answer.status(), 426);
    assert!(!answer.headers().contains_key("upgrade"));
    let (answer, _) = ask(&mut send, get("/x").method(Method::POST).body(()).unwrap()).await;
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.headers()["allow"], "GET, HEAD");
    // A body that no header speaks of.
    let (answer, _body) = send.send_request(get("/x").body(()).unwrap(), false).unwrap();
    assert_eq!(soon(answer).await.unwrap().status(), 413);
    // The first was asked by `connect`, and one has asked for the health.
    let stats = running.stats();
    assert_eq!((stats.accepted, stats.plain_requests, stats.health_checks), (1, 7, 1));
    assert_eq!(running.drain(provod::server::Drain::default()).await, 0);
}

#[tokio::test]
async fn what_breaks_the_rules_has_its_status() {
    let server = Server::new().origin(OriginPolicy::same_host());
    let (running, address) = start(server).await;
    let mut send = connect(address).await;
    let mut status = async |change: fn(&mut Request<()>)| {
        let mut request = upgrade(address);
        change(&mut request);
        let (answer, _) = ask(&mut send, request).await;
        answer.status().as_u16()
    };
    let version = status(|request| {
        request.headers_mut().insert("sec-websocket-version", "8".parse().unwrap());
    });
    assert_eq!(version.await, 426);
    let origin = status(|request| {
        request.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
    });
    assert_eq!(origin.await, 403);
    let twice = status(|request| {
        request.headers_mut().append("sec-websocket-version", "13".parse().unwrap());
    });
    assert_eq!(twice.await, 400);
    let protocol = status(|request| {
        request.extensions_mut().insert(h2::ext::Protocol::from_static("connect-udp"));
    });
    assert_eq!(protocol.await, 501);
    let long = status(|request| {
        request.headers_mut().insert("x", "y".repeat(9000).parse().unwrap());
    });
    assert_eq!(long.await, 431);
    let refusals = running.stats().refusals;
    for (kind, count) in [("version", 1), ("origin", 1), ("duplicate_header", 1), ("protocol", 1)] {
        assert_eq!(refusals[kind], count, "{kind}");
    }
    // The connection has taken no harm.
    let (answer, _send) = send.send_request(upgrade(address), false).unwrap();
    assert_eq!(soon(answer).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_request_that_is_given_up_is_not_decided() {
    let server = Server::new().on_request(|_| async {
        std::future::pending::<()>().await;
        Ok(Accept::new(()))
    });
    let running =
        server.listen("127.0.0.1:0").start_with(|ws: WebSocket, ()| echo(ws)).await.unwrap();
    let address = address(&running);
    let io = tokio::net::TcpStream::connect(address).await.unwrap();
    let (send, connection) = h2::client::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let mut send = send.ready().await.unwrap();
    let (_answer, mut stream) = send.send_request(upgrade(address), false).unwrap();
    until(|| running.stats().accepted == 1).await;
    stream.send_reset(Reason::CANCEL);
    until(|| running.stats().refusals.get("cut") == Some(&1)).await;
}
