//! Provod with an `async` function for each connection: `peer-provod-async PORT echo|deflate`. The
//! tool's own echo server, `provod listen`, is written as a `Handler`.

fn main() {
    let (port, _) = common::arguments();
    let echo = |mut ws: provod::WebSocket| async move {
        while let Some(message) = ws.recv().await? {
            ws.send(message).await?;
        }
        Ok(())
    };
    let server = provod::Server::new().listen(format!("127.0.0.1:{port}")).workers(1).serve(echo);
    if let Err(e) = common::block_on(server) {
        eprintln!("{e}");
        std::process::exit(1);
    }
}
