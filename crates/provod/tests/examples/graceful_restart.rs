use provod::{Error, WebSocket, connect};
use provod_testkit::peer::soon;

use crate::program::{Program, word};

/// Comes back as often as it is refused.
async fn come_back(url: &str) -> Result<WebSocket, Error> {
    loop {
        match connect(url).await {
            Err(error) if error.is_connect() => tokio::task::yield_now().await,
            result => return result,
        }
    }
}

#[tokio::test]
async fn a_new_process_takes_the_port_and_clients_come_back_to_it() {
    let mut old = Program::start("graceful_restart", &["127.0.0.1:0"]);
    let url = word(&old.line().await, "ws://");
    let address = url.trim_start_matches("ws://").trim_end_matches('/').to_owned();
    let process = |program: &Program| format!("process {}", program.child.id().unwrap());
    let mut ws = soon(connect(&url)).await.unwrap();
    assert_eq!(soon(ws.recv()).await.unwrap(), Some(process(&old).into()));

    let mut new = Program::start("graceful_restart", &[&address]);
    assert_eq!(new.line().await, format!("graceful_restart: waiting for {address}"));
    ws.send("still served").await.unwrap();
    assert_eq!(soon(ws.recv()).await.unwrap(), Some("still served".into()));

    let ending = format!("graceful_restart: {} ends, 0 connections were dropped", process(&old));
    old.terminate();
    assert_eq!(soon(ws.recv()).await.unwrap(), None);
    assert_eq!(ws.closed().await.code().as_u16(), 1012);
    let mut ws = soon(come_back(&url)).await.unwrap();
    assert_eq!(soon(ws.recv()).await.unwrap(), Some(process(&new).into()));
    assert_eq!(old.line().await, ending);
    assert!(old.ends_well().await);
}
