//! `provod listen`: an echo server.

use clap::Args;
use provod::WebSocket;
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
        run(async {
            let signals = Signals::new();
            let server = self.options.server(Compress::Off, OriginPolicy::any());
            let running = server.listen(&self.address).start(echo).await?;
            for address in running.addresses() {
                announce(&match address.tcp() {
                    Some(tcp) => format!("provod listen: echoing on ws://{tcp}/"),
                    None => format!("provod listen: echoing on {address}"),
                });
            }
            until_signal(signals, running, self.options.stop(), self.options.drain()).await
        })
    }
}

async fn echo(mut ws: WebSocket) -> Result<(), provod::BoxError> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}
