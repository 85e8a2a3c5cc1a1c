//! The client against servers of ours and scripted ones.

use provod::{Client, Server};

use crate::peer::soon;
use crate::servers::start;

#[tokio::test]
async fn a_client_connects_talks_and_closes() {
    let (_running, address) = start(Server::new()).await;
    let mut ws = soon(provod::connect(format!("ws://{address}/chat"))).await.expect("it opens");
    soon(ws.send("Привет")).await.expect("it is sent");
    let got = soon(ws.recv()).await.expect("an echo").expect("a message");
    assert_eq!(got.as_text(), Some("Привет"));
    let closed = soon(ws.close(1000, "bye")).await.expect("a legal code");
    assert!(closed.is_clean(), "{closed:?}");
}

#[tokio::test]
async fn a_refusal_tells_what_the_server_said() {
    let (_running, address) = start(Server::new()).await;
    let client = Client::new(format!("ws://{address}/")).origin("https://elsewhere.example");
    let error = soon(client.connect()).await.expect_err("another origin is refused");
    assert_eq!(error.http_response().map(provod::HttpResponse::status), Some(403));
}
