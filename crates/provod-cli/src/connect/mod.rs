//! `provod connect`: a WebSocket client between standard input and standard output.

mod again;
mod failure;
mod input;
mod network;
mod output;
mod session;

#[cfg(unix)]
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use provod::Client;
use provod::client::Http2;

use crate::options::{Common, Compress, time_above_0};
use crate::process::Signals;
use failure::Failure;
use network::Network;

/// Connect to a WebSocket server: lines in, messages out
///
/// Each line of standard input is sent as a text message, without its line ending; a last line
/// needs none. Each message that is received goes to standard output: text with a line ending,
/// binary as it is. On a terminal control characters are escaped; into a pipe or file all bytes
/// are unchanged.
///
/// At the end of input the connection is closed, and what still arrives until the peer has closed
/// too is printed; the close timeout starts anew with each frame. Standard output that is slow
/// slows the peer down. When whoever reads it has gone, the connection is closed and the exit
/// code is 0.
///
/// Ctrl-C and SIGTERM close with 1001; a second one quits at once.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct Connect {
    /// Where to connect: ws://HOST:PORT/PATH?QUERY, or wss:// over TLS; without either ws:// is
    /// added, PORT alone is one of this machine, and with --unix-socket a PATH is enough
    #[arg(value_name = "URL")]
    url: String,

    /// Send each line as a binary message: any bytes, only the line feed is removed
    #[arg(short, long, help_heading = "Messages")]
    binary: bool,

    /// Send one line, print one message, close and exit; where input ends at once nothing is sent.
    /// That no message came is an error
    #[arg(long, conflicts_with = "no_close", help_heading = "Messages")]
    one: bool,

    /// At the end of input, go on printing until the peer closes
    #[arg(long, help_heading = "Messages")]
    no_close: bool,

    /// When the connection is lost, or there is none, connect again, with longer and longer waits;
    /// what happens is told on standard error. A line of which it is not known whether it arrived
    /// is named there, and is not sent again
    #[arg(long, conflicts_with = "one", help_heading = "Messages")]
    reconnect: bool,

    /// Add a header to the request; may be given several times
    #[arg(short = 'H', long, value_name = "NAME: VALUE", value_parser = header,
          help_heading = "Request")]
    header: Vec<(String, String)>,

    /// Offer a subprotocol; may be given several times, the most wanted first
    #[arg(short, long, value_name = "SUBPROTOCOL", help_heading = "Request")]
    subprotocol: Vec<String>,

    /// Send this Origin, as a browser does
    #[arg(long, value_name = "ORIGIN", help_heading = "Request")]
    origin: Option<String>,

    /// Connect to this Unix socket; the URL says what is asked for there
    #[cfg(unix)]
    #[arg(long, value_name = "PATH", help_heading = "Request")]
    unix_socket: Option<PathBuf>,

    /// Use HTTP/2 (RFC 8441) and nothing else; with ws:// the server must know of it beforehand
    #[arg(long, conflicts_with = "http1_1", help_heading = "Request")]
    http2: bool,

    /// Use HTTP/1.1, which is the default
    #[arg(long = "http1.1", help_heading = "Request")]
    http1_1: bool,

    /// How long resolving the name may take, and then connecting, the proxy, and TLS, each
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time_above_0,
          help_heading = "Times")]
    connect_timeout: Duration,

    #[command(flatten)]
    network: Network,

    #[command(flatten)]
    common: Common,
}

const AFTER_HELP: &str = "\
Input:
  A line ends with a line feed; without -b a carriage return before it is removed too. A line
  that is not UTF-8 (without -b) or longer than --max-message ends the command: what was sent
  before is answered and printed, and the exit code is 1.

Exit codes:
   0  the connection was closed with 1000, 1001 or no code
   1  anything else: a message above a limit, input that is not UTF-8, --one without an answer,
      standard input or output that fails
   2  wrong usage
   3  the proxy refused, or failed
   4  the name cannot be resolved
   5  nobody takes the connection
   6  TLS: the certificate is not trusted, has expired, is for another name, ...
   7  the server answered with HTTP, not with a WebSocket: status and start of the body are
      printed
   8  the server's answer to the request is not a valid one
   9  the peer broke the protocol
  10  the peer closed with another code: it is printed, with its reason
  11  the connection was lost without a Close frame; with --reconnect: some line may not have
      arrived
  12  a timeout, of any step
 130  Ctrl-C
 143  SIGTERM
All but the last two say why in one line on standard error.

Examples:
  provod connect ws://127.0.0.1:8080/chat
  echo '{\"op\":\"time\"}' | provod connect --one example.com/api
  provod connect -H 'Authorization: Bearer 7d1f' -s chat.v2 ws://example.com/chat
  provod connect --no-close ws://example.com/feed < subscribe.txt | grep price
  provod connect --cacert ca.pem --proxy http://proxy.example:3128 wss://intern.example/
  provod connect --reconnect --no-close ws://example.com/feed < /dev/null >> log.txt
  provod connect --unix-socket /run/app.sock /chat
  provod connect --log warn,provod::wire=trace 9001";

impl Connect {
    pub(crate) fn run(self) -> ExitCode {
        self.common.start_log("warn");
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(e) => {
                crate::complain(&e.to_string());
                return ExitCode::FAILURE;
            }
        };
        let result = runtime.block_on(self.connect());
        // A thread may still wait for standard input, or for a name.
        runtime.shutdown_background();
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => failure.report(),
        }
    }

    async fn connect(&self) -> Result<(), Failure> {
        let mut signals = Signals::new();
        let client = self.client()?;
        if self.reconnect {
            return again::run(client, self, signals).await;
        }
        let ws = tokio::select! {
            connected = client.connect() => connected?,
            signal = signals.next() => return Err(Failure::signal(signal)),
        };
        let compressed = ws.compression().is_some();
        tracing::info!(peer = ws.peer(), subprotocol = ws.subprotocol(), compressed, "connected");
        session::run(ws, self, signals).await
    }

    fn client(&self) -> Result<Client, Failure> {
        let mut config = self.common.config();
        config.close_extends = true;
        let mut client = Client::new(self.network.url(self.full_url())?)
            .config(config)
            .resolve_timeout(self.connect_timeout)
            .connect_timeout(self.connect_timeout)
            .tls_timeout(self.connect_timeout)
            .proxy_timeout(self.connect_timeout)
            .handshake_timeout(self.common.handshake_timeout());
        for (name, value) in &self.header {
            client = client.header(name, value);
        }
        for name in &self.subprotocol {
            client = client.subprotocol(name);
        }
        if let Some(origin) = &self.origin {
            client = client.origin(origin);
        }
        if let Some(deflate) = self.common.compress(Compress::Off).offered() {
            client = client.compression(deflate);
        }
        if self.http2 {
            client = client.http2(Http2::Require);
        }
        #[cfg(unix)]
        if let Some(path) = &self.unix_socket {
            client = client.unix_socket(path);
        }
        self.network.apply(client)
    }

    /// The URL, with what may be left out.
    fn full_url(&self) -> String {
        #[cfg(unix)]
        let local = self.unix_socket.is_some();
        #[cfg(not(unix))]
        let local = false;
        full_url(&self.url, local)
    }
}

/// A URL with what may be left out; `local` says that a path is enough.
pub(crate) fn full_url(text: &str, local: bool) -> String {
    let port = text.strip_prefix(':').unwrap_or(text);
    let end = port.find(['/', '?']).unwrap_or(port.len());
    if port[..end].parse::<u16>().is_ok() {
        format!("ws://127.0.0.1:{port}")
    } else if local && text.starts_with('/') {
        format!("ws://localhost{text}")
    } else if text.contains("://") {
        text.to_owned()
    } else {
        format!("ws://{text}")
    }
}

/// A header as it is given on the command line.
pub(crate) fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("expected 'Name: value'")?;
    let name = name.trim();
    if name.is_empty() {
        return Err("expected 'Name: value'".to_owned());
    }
    Ok((name.to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{full_url, header};

    #[test]
    fn urls_may_be_short() {
        for (short, full) in [
            ("ws://example.com/x", "ws://example.com/x"),
            ("wss://example.com", "wss://example.com"),
            ("example.com/x?y", "ws://example.com/x?y"),
            ("localhost:9001/x", "ws://localhost:9001/x"),
            ("[::1]:9001", "ws://[::1]:9001"),
            ("9001", "ws://127.0.0.1:9001"),
            (":9001/x", "ws://127.0.0.1:9001/x"),
            ("9001?x", "ws://127.0.0.1:9001?x"),
            ("/x", "ws:///x"),
        ] {
            assert_eq!(full_url(short, false), full);
        }
        assert_eq!(full_url("/x?y", true), "ws://localhost/x?y");
        assert_eq!(full_url("ws://name/x", true), "ws://name/x");
    }

    #[test]
    fn headers_have_a_name_and_a_value() {
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(header("X-A: b: c "), pair("X-A", "b: c"));
        assert_eq!(header("X-A:"), pair("X-A", ""));
        for bad in ["", "X-A", ": b"] {
            assert!(header(bad).is_err(), "{bad}");
        }
    }
}
