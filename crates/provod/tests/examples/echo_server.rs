use provod::connect;
use provod_testkit::peer::soon;

use crate::program::{Program, word};

#[tokio::test]
async fn it_echoes() {
    let mut program = Program::start("echo_server", &["127.0.0.1:0"]);
    let url = word(&program.line().await, "ws://");
    let mut ws = soon(connect(url)).await.unwrap();
    ws.send("Hello").await.unwrap();
    assert_eq!(soon(ws.recv()).await.unwrap(), Some("Hello".into()));
}
