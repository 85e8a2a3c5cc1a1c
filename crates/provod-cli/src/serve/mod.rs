//! `provod serve`: every URL path is a room.

mod answers;
mod rooms;

use std::net::ToSocketAddrs as _;
use std::sync::Arc;

use clap::Args;
use provod::{OriginPolicy, WebSocket};

use crate::options::{Compress, Options, address};
use crate::process::{Signals, announce, run, until_signal};
use rooms::{Entry, Rooms};

/// Run a realtime server in which every URL path is a room
///
/// What a client sends to ws://HOST/ROOM reaches everybody in /ROOM, the sender included (unless it
/// connects to /ROOM?echo=0): text as text, binary as binary, in the order in which the server took
/// it. A browser that opens http://HOST/ROOM gets a page to chat in that room. /_provod/health says
/// whether the server runs, /_provod/counters what it has done.
///
/// Pages of the same host may connect, --allow-origin adds others. Ends on Ctrl-C, at once, and on
/// SIGTERM, over --drain: connections are closed with 1001.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where to listen: HOST:PORT, PORT, or unix:PATH
    #[arg(default_value = "127.0.0.1:8080", value_parser = address)]
    address: String,

    #[command(flatten)]
    options: Options,
}

impl Serve {
    pub(crate) fn run(self) -> Result<(), Box<dyn std::error::Error>> {
        self.options.start_log();
        // A page elsewhere may let its own name resolve to a loopback address, so on one the name
        // must be a loopback name too.
        let mut addresses = self.address.to_socket_addrs().into_iter().flatten().peekable();
        let loopback = addresses.peek().is_some() && addresses.all(|a| a.ip().is_loopback());
        let policy = OriginPolicy::same_host().on_loopback(loopback);
        run(async {
            let signals = Signals::new();
            let server = self
                .options
                .server(Compress::On, policy)
                .listen(&self.address)
                .health("/_provod/health");
            let counters = server.counters();
            let rooms = Arc::new(Rooms::default());
            let server = server.on_request(move |request| {
                std::future::ready(answers::decide(&request, &counters))
            });
            let running =
                server.start_with(move |ws, entry| talk(ws, entry, rooms.clone())).await?;
            for address in running.addresses() {
                announce(&match address.tcp() {
                    Some(tcp) if tcp.ip().is_unspecified() => format!(
                        "provod serve: open http://localhost:{}/, from elsewhere with this \
                         machine's name",
                        tcp.port()
                    ),
                    Some(tcp) => format!("provod serve: open http://{tcp}/"),
                    None => format!("provod serve: listening on {address}"),
                });
            }
            until_signal(signals, running, self.options.stop(), self.options.drain()).await
        })
    }
}

/// One client in one room.
async fn talk(mut ws: WebSocket, entry: Entry, rooms: Arc<Rooms>) -> Result<(), provod::BoxError> {
    let member = rooms.join(entry, &ws.sender());
    while let Some(message) = ws.recv().await? {
        member.say(message).await;
    }
    Ok(())
}
