//! `provod serve`: every URL path is a room.

mod answers;
mod metrics;
mod past;
mod protocol;
mod rate;
mod room;
mod rooms;
mod talk;

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use provod::server::{Address, OriginPolicy};

use crate::options::{Compress, Options, address, time};
use crate::process::{Signals, announce, run, until_signal};
use rate::Rate;
use rooms::Rooms;
use talk::Talk;

/// Run a realtime server in which every URL path is a room
///
/// What a client sends to ws://HOST/ROOM reaches everybody in /ROOM, the sender included (unless it
/// connects to /ROOM?echo=0): text as text, binary as binary, in the order in which the server took
/// it. A client that offers the subprotocol provod.room.v1 hears also who is here, and gets an
/// answer to what it says. A browser that opens http://HOST/ROOM gets a page to chat in that room.
/// /_provod/health says whether the server runs, /_provod/metrics and /_provod/counters what it has
/// done.
///
/// Pages of the same host may connect, --allow-origin adds others. Ends on Ctrl-C, at once, and on
/// SIGTERM, after --drain-notice and over --drain: connections are closed with 1001.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where to listen: HOST:PORT, PORT, or unix:PATH
    #[arg(default_value = "127.0.0.1:8080", value_parser = address)]
    address: String,

    /// How many messages of a room are kept for those who join with the room protocol; 0 switches
    /// it off
    #[arg(long, value_name = "N", default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(..=10_000))]
    history: u32,

    /// How many messages a second a client of the room protocol may send in the long run, and three
    /// times as many at once; 0 is no limit
    #[arg(long, value_name = "N", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    rate_limit: u32,

    /// On SIGTERM, /_provod/health answers 503 for this long while everything else goes on, so that
    /// a load balancer sends nobody here any more; skipped where nobody has asked for the health
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time,
          help_heading = "Times")]
    drain_notice: Duration,

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
        let secure = self.options.secure.prepare(&self.address)?;
        let scheme = if self.options.secure.is_on() { "https" } else { "http" };
        run(async {
            let signals = Signals::new();
            let server = self
                .options
                .server(Compress::On, policy)
                .listen(&self.address)
                .health("/_provod/health");
            let counters = server.counters();
            let rooms = Arc::new(Rooms::new(self.history as usize));
            let rate = Rate::new(self.rate_limit);
            let census = rooms.clone();
            let server = server.on_request(move |request| {
                std::future::ready(answers::decide(&request, &counters, &census))
            });
            let running = secure.apply(server).start_handler(Talk::new(rooms, rate)).await?;
            for address in running.addresses() {
                tracing::info!(%address, "listening");
                announce(&format!("provod serve: {}", invitation(address, scheme)));
            }
            if let Some(notice) = secure.notice() {
                announce(&format!("provod serve: {notice}"));
            }
            let mut drain = self.options.drain();
            drain.notice = self.drain_notice;
            until_signal(signals, running, self.options.stop(), drain).await
        })
    }
}

/// Where to go now that the server listens.
fn invitation(address: &Address, scheme: &str) -> String {
    let Some(tcp) = address.tcp() else { return format!("listening on {address}") };
    if !tcp.ip().is_unspecified() {
        return format!("open {scheme}://{tcp}/");
    }
    let port = tcp.port();
    let elsewhere = match own_address(tcp.is_ipv6()) {
        Some(ip) => format!("{scheme}://{}/", SocketAddr::new(ip, port)),
        None => "with this machine's name".to_owned(),
    };
    format!("open {scheme}://localhost:{port}/, from elsewhere {elsewhere}")
}

/// The address of this machine towards its network: what a phone beside it can open.
pub(crate) fn own_address(ipv6: bool) -> Option<IpAddr> {
    // Connecting a UDP socket chooses a route and sends nothing. The addresses are for examples
    // (RFC 5737, RFC 3849), so that the route is that to anywhere.
    let towards = |local: &str, remote: &str| {
        let socket = UdpSocket::bind(local).ok()?;
        socket.connect(remote).ok()?;
        let ip = socket.local_addr().ok()?.ip();
        (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
    };
    let v4 = towards("0.0.0.0:0", "192.0.2.1:9");
    v4.or_else(|| towards("[::]:0", "[2001:db8::1]:9").filter(|_| ipv6))
}
