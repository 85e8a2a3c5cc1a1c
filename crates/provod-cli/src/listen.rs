//! `provod listen`: an echo server.

use clap::Args;
use provod::Handler;
use provod::handler::{Received, Socket};
use provod::server::OriginPolicy;

use crate::options::{Compress, Options, address};
use crate::process::{Signals, announce, run, until_signal};

/// Run an echo server, for testing clients
///
/// Every message is sent back as it came, text as text and binary as binary. Pages of any origin
/// may connect. Ends on Ctrl-C and SIGTERM: connections are closed with 1001.
#[derive(Debug, Args)]
pub(crate) struct Listen {
    /// Where to listen: HOST:PORT, PORT, or unix:PATH
    #[arg(default_value = "127.0.0.1:9001", value_parser = address)]
    address: String,

    #[command(flatten)]
    options: Options,
}

impl Listen {
    pub(crate) fn run(self) -> Result<(), Box<dyn std::error::Error>> {
        self.options.start_log();
        let secure = self.options.secure.prepare(&self.address)?;
        let scheme = if self.options.secure.is_on() { "wss" } else { "ws" };
        run(async {
            let signals = Signals::new();
            let server = self.options.server(Compress::Off, OriginPolicy::any());
            let server = secure.apply(server.listen(&self.address));
            let running = server.start_handler(Echo).await?;
            for address in running.addresses() {
                announce(&match address.tcp() {
                    Some(tcp) => format!("provod listen: echoing on {scheme}://{tcp}/"),
                    None => format!("provod listen: echoing on {address}"),
                });
            }
            if let Some(notice) = secure.notice() {
                announce(&format!("provod listen: {notice}"));
            }
            until_signal(signals, running, self.options.stop(), self.options.drain()).await
        })
    }
}

struct Echo;

impl Handler for Echo {
    type Peer = ();

    fn open(&self, _: &mut Socket<'_>, (): ()) {}

    fn message(&self, ws: &mut Socket<'_>, (): &mut (), message: Received<'_>) {
        // It is not sent where the connection is closing, and there is nothing to do about that.
        // The queue is never full: no more is read than was sent.
        let _ = ws.send(message);
    }
}
