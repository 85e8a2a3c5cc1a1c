//! Requests that are answered with HTTP.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::any;
use provod::axum::WebSocketUpgrade;
use provod::config::MemoryBudget;
use provod::hyper::Upgrader;
use provod::server::OriginPolicy;
use provod::{Client, Server, connect};
use provod_testkit::peer::{Answer, Peer, request, soon};

use crate::servers::{axum, axum_with, echo, echoing, hyper};

async fn answer(address: std::net::SocketAddr, request: &str) -> Answer {
    let mut peer = Peer::connect(address).await;
    peer.send(request.to_owned()).await;
    peer.answer().await
}

#[tokio::test]
async fn bad_upgrades_are_answered_as_by_our_own_server() {
    let head = |lines: &str| format!("GET / HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n");
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let requests = [
        head(""),
        head("Upgrade: h2c\r\nConnection: Upgrade\r\n"),
        head(&format!("{upgrade}{key}")),
        head(&format!("{upgrade}{key}Sec-WebSocket-Version: 8\r\n")),
        head(&format!("{upgrade}Sec-WebSocket-Version: 13\r\n")),
        head(&format!("{upgrade}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n")),
        head(&format!("Upgrade: websocket\r\n{key}Sec-WebSocket-Version: 13\r\n")),
        request("/", &["Content-Length: 3"]) + "abc",
        request("/", &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]),
        request("/", &["Sec-WebSocket-Protocol: a, a"]),
        request("/", &["Sec-WebSocket-Extensions: ;;"]),
        request("/", &["Origin: https://elsewhere.example"]),
        request("/", &["Origin: http://localhost", "Origin: http://localhost"]),
        request("/", &[]).replace("Host: localhost\r\n", ""),
        request("/", &[]).replace("HTTP/1.1", "HTTP/1.0"),
        request("/", &[]).replace("GET", "PUT"),
    ];
    let own = Server::new().listen("127.0.0.1:0").start(echo).await.unwrap();
    let own_address = own.addresses()[0].tcp().unwrap();
    let axum_address = axum_with(|ws| ws.on_upgrade(echo)).await;
    let hyper_address = hyper(echoing).await;
    for request in requests {
        let expected = answer(own_address, &request).await;
        for address in [axum_address, hyper_address] {
            let answer = answer(address, &request).await;
            assert_eq!(answer.status, expected.status, "{request}: {answer:?} {expected:?}");
            assert_eq!(answer.body, expected.body, "{request}");
            for name in ["Upgrade", "Sec-WebSocket-Version", "Allow", "Content-Type"] {
                assert_eq!(answer.header(name), expected.header(name), "{request}");
            }
            let names_upgrade =
                answer.header("Connection").is_some_and(|c| c.eq_ignore_ascii_case("upgrade"));
            assert_eq!(names_upgrade, answer.header("Upgrade").is_some(), "{answer:?}");
        }
    }
}

async fn upgrade(State(upgrader): State<Upgrader>, ws: WebSocketUpgrade) -> Response {
    ws.with(&upgrader).on_upgrade(echo)
}

async fn serving(upgrader: &Upgrader) -> std::net::SocketAddr {
    axum(Router::new().route("/", any(upgrade)).with_state(upgrader.clone())).await
}

#[tokio::test]
async fn pages_of_other_origins_are_refused_unless_they_are_allowed() {
    let policy = OriginPolicy::same_host().allow("https://app.example.com").unwrap();
    let upgrader = Server::new().origin(policy).upgrader().unwrap();
    let address = serving(&upgrader).await;
    let from = |origin: &'static str| request("/", &[&*format!("Origin: {origin}")]);
    assert_eq!(answer(address, &from("https://app.example.com")).await.status, 101);
    assert_eq!(answer(address, &from("http://localhost")).await.status, 101);
    assert_eq!(answer(address, &from("https://elsewhere.example")).await.status, 403);
    assert_eq!(answer(address, &from("null")).await.status, 403);
    assert_eq!(upgrader.stats().refusals.get("origin"), Some(&2));
}

#[tokio::test]
async fn there_are_no_more_than_there_may_be() {
    let upgrader = Server::new().max_connections(1).upgrader().unwrap();
    let address = serving(&upgrader).await;
    let url = format!("ws://{address}/");
    let mut first = soon(connect(&url)).await.unwrap();
    let error = soon(connect(&url)).await.unwrap_err();
    let response = error.http_response().unwrap();
    assert_eq!(response.status(), 503);
    assert!(response.header("Retry-After").is_some());
    assert_eq!(upgrader.stats().turned_away, 1);
    // There is room again as soon as the first has ended.
    soon(first.close(1000, "")).await.unwrap();
    soon(async {
        while connect(&url).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_memory_budget_bounds_all_of_them() {
    let budget = MemoryBudget::new(64 << 10);
    let upgrader = Server::new().memory_budget(&budget).upgrader().unwrap();
    let address = serving(&upgrader).await;
    let client = Client::new(format!("ws://{address}/"));
    let mut greedy = soon(client.connect()).await.unwrap();
    let mut modest = soon(connect(format!("ws://{address}/"))).await.unwrap();
    let _ = greedy.send(vec![0; 1 << 20]).await;
    assert_eq!(soon(greedy.closed()).await.code().as_u16(), 1013);
    modest.send("still here").await.unwrap();
    assert_eq!(soon(modest.recv()).await.unwrap(), Some("still here".into()));
    assert_eq!(budget.shed(), 1);
}

#[tokio::test]
async fn an_answer_that_is_not_valid_is_an_error_of_ours() {
    for (name, value) in
        [("Upgrade", "x"), ("a b", "x"), ("x", "a\r\nb: c"), ("Sec-WebSocket-Protocol", "x")]
    {
        let address = axum_with(move |ws| ws.header(name, value).on_upgrade(echo)).await;
        let answer = answer(address, &request("/", &[])).await;
        assert_eq!(answer.status, 500, "{name}");
    }
}

#[tokio::test]
async fn a_setting_that_is_the_http_servers_is_refused() {
    let decides = |_| async { Ok(provod::server::Accept::new(())) };
    for server in [
        Server::new().listen("127.0.0.1:0"),
        Server::new().workers(1),
        Server::new().health("/health"),
        Server::new().on_request(decides),
        Server::new().subprotocols(["not a token"]),
    ] {
        let error = server.upgrader().expect_err("it is none of ours");
        assert!(error.is_usage(), "{error}");
    }
}

#[tokio::test]
async fn a_request_is_upgraded_once() {
    use provod::hyper::{Upgrade, is_upgrade};
    let address = hyper(|mut request| {
        assert!(is_upgrade(&request));
        let first = Upgrade::<String>::new(&mut request);
        assert!(first.is_ok());
        match Upgrade::new(&mut request) {
            Ok(upgrade) => upgrade.on_upgrade(echo),
            Err(refusal) => refusal,
        }
    })
    .await;
    assert_eq!(answer(address, &request("/", &[])).await.status, 500);
}
