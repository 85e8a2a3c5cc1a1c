//! The client against servers of ours and scripted ones.

mod answers;
#[cfg(feature = "tls")]
pub(crate) mod certificates;
mod life;
mod proxies;
mod redirects;
mod refusals;
mod requests;
mod secrets;
#[cfg(feature = "tls")]
mod tls;

use provod::{Client, Error, Server, WebSocket};

use crate::peer::soon;
use crate::scripted::{Scripted, filled};
use crate::servers::start;

/// What a client makes of an answer that comes whole, and behind which the server ends its half.
async fn answered(client: &Client, answer: &str) -> Result<WebSocket, Error> {
    let (near, mut server) = Scripted::pipe();
    let served = async {
        server.answer(answer).await;
        server.finish().await;
        server
    };
    let (ws, _server) = soon(async { tokio::join!(client.connect_over(near), served) }).await;
    ws
}

/// A client with nothing set.
fn plain() -> Client {
    Client::new("ws://localhost/")
}

/// The lines that the client sends for its settings.
async fn request_of(client: &Client) -> String {
    let (near, mut server) = Scripted::pipe();
    let served = async {
        let request = server.request().await;
        server.send(filled(&request, &crate::scripted::good(&[]))).await;
        request
    };
    soon(async { tokio::join!(client.connect_over(near), served).1 }).await
}

#[tokio::test]
async fn a_client_connects_talks_and_closes() {
    let (_running, address) = start(Server::new()).await;
    let mut ws = soon(provod::connect(format!("ws://{address}/chat"))).await.expect("it opens");
    assert_eq!(ws.peer_addr(), Some(address));
    soon(ws.send("Привет")).await.expect("it is sent");
    let got = soon(ws.recv()).await.expect("an echo").expect("a message");
    assert_eq!(got.as_text(), Some("Привет"));
    let closed = soon(ws.close(1000, "bye")).await.expect("a legal code");
    assert!(closed.is_clean(), "{closed:?}");
}

#[tokio::test]
async fn a_client_can_connect_any_number_of_times() {
    let (_running, address) = start(Server::new()).await;
    let client = Client::new(format!("ws://{address}/"));
    let one = soon(client.connect()).await.expect("it opens");
    let two = soon(client.connect()).await.expect("it opens again");
    drop((one, two));
}

#[cfg(unix)]
#[tokio::test]
async fn a_client_connects_to_a_unix_socket() {
    let path = std::env::temp_dir().join(format!("provod-client-{}", std::process::id()));
    let server = Server::new().listen(format!("unix:{}", path.display()));
    let running = server.start(crate::servers::echo).await.expect("the server starts");
    let client = Client::new("ws://localhost/chat").unix_socket(&path);
    let mut ws = soon(client.connect()).await.expect("it opens");
    soon(ws.send("x")).await.expect("it is sent");
    assert_eq!(soon(ws.recv()).await.expect("an echo"), Some("x".into()));
    drop(ws);
    soon(running.drain(provod::server::Drain::default())).await;

    let e = soon(client.connect()).await.expect_err("the socket is gone");
    let text = e.to_string();
    assert!(e.is_connect() && text.contains(&path.display().to_string()), "{text}");
}

#[tokio::test]
async fn a_refusal_tells_what_the_server_said() {
    let (_running, address) = start(Server::new()).await;
    let client = Client::new(format!("ws://{address}/")).origin("https://elsewhere.example");
    let error = soon(client.connect()).await.expect_err("another origin is refused");
    let response = error.http_response().expect("an answer of HTTP");
    assert_eq!((response.status(), response.reason()), (403, "Forbidden"));
    let body = String::from_utf8_lossy(response.body());
    assert!(body.contains("may not connect"), "{body}");
}

#[tokio::test]
async fn a_port_where_nobody_listens() {
    let (running, address) = start(Server::new()).await;
    soon(running.drain(provod::server::Drain::default())).await;
    let e = soon(provod::connect(format!("ws://{address}/"))).await.expect_err("nobody listens");
    assert!(e.is_connect() && e.to_string().contains(&address.to_string()), "{e}");
}

#[tokio::test]
async fn a_name_that_cannot_be_resolved() {
    // No label is longer than 63 characters (RFC 1035 section 2.3.4), so nobody is asked for it.
    let name = "x".repeat(64);
    let e = soon(provod::connect(format!("ws://{name}/"))).await.expect_err("no such name");
    assert!(e.is_resolve() && e.to_string().contains(&name), "{e}");
    assert!(std::error::Error::source(&e).is_some());
}
