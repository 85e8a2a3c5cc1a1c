//! Those with a server and clients in one program: they run to their end.

use crate::program::Program;

#[tokio::test]
async fn an_upload_arrives_whole() {
    let mut program = Program::start("upload", &["8"]);
    assert_eq!(program.line().await, format!("{} bytes received", 8 << 20));
    assert!(program.ends_well().await);
}

#[tokio::test]
async fn a_ticker_reaches_its_subscribers() {
    let mut program = Program::start("fan_out", &["8"]);
    assert!(program.line().await.starts_with("queued "));
    assert!(program.line().await.starts_with("received "));
    assert!(program.ends_well().await);
}
