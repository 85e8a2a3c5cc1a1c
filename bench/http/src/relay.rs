//! A way of some length between the client and a server: what goes in at one end comes out at the
//! other so much later, in both directions. The way to the server exists before the client's
//! connection does: the round trip of TCP's own handshake is not in it.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::Error;

pub(crate) fn run(target: &str, delay_ms: &str) -> Result<(), Error> {
    let delay = Duration::from_millis(delay_ms.parse()?);
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(listen(target, delay))
}

async fn listen(target: &str, delay: Duration) -> Result<(), Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (near, _) = listener.accept().await?;
        let far = TcpStream::connect(target).await?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
        carry(near_in, far_out, delay);
        carry(far_in, near_out, delay);
    }
}

/// As much as may be on the way: reading never waits for writing, which would add to the delay.
fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    let (way_in, mut way_out) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    tokio::spawn(async move {
        let mut buffer = vec![0; 64 << 10];
        // The end of either side ends both: the channel closes.
        while let Ok(n @ 1..) = from.read(&mut buffer).await {
            if way_in.send((Instant::now() + delay, buffer[..n].to_vec())).is_err() {
                break;
            }
        }
    });
    tokio::spawn(async move {
        while let Some((due, bytes)) = way_out.recv().await {
            sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
    });
}
