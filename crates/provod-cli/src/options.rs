//! The options that the commands share, and the forms that their values have.

use std::io;
use std::time::Duration;

use clap::{Args, ValueEnum};
use provod::config::DeflateConfig;
use provod::server::OriginPolicy;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::secure::Secure;

/// A server's window with context takeover, as a power of two: the last 4 KiB. Three times the
/// memory and time of eight times as much would make messages of 1 KiB 2 % smaller.
const KEPT_WINDOW: u8 = 12;

/// Whether there is compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compress {
    /// Each message is compressed by itself.
    On,
    /// Messages are compressed with what came before: smaller, at 8 to 64 KB a connection.
    Takeover,
    /// None.
    Off,
}

impl Compress {
    /// What a server accepts. It keeps the windows of both sides for each connection, so they are
    /// small where they are kept; a client that does not offer `client_max_window_bits` has its
    /// full one (RFC 7692 section 7.1.2.2).
    fn accepted(self) -> Option<DeflateConfig> {
        let offered = self.offered()?;
        Some(match self {
            Self::Takeover => DeflateConfig {
                server_max_window_bits: KEPT_WINDOW,
                client_max_window_bits: KEPT_WINDOW,
                ..offered
            },
            Self::On | Self::Off => offered,
        })
    }

    /// What a client offers.
    pub(crate) fn offered(self) -> Option<DeflateConfig> {
        let no_takeover = match self {
            Self::Off => return None,
            Self::On => true,
            Self::Takeover => false,
        };
        Some(DeflateConfig {
            server_no_context_takeover: no_takeover,
            client_no_context_takeover: no_takeover,
            ..DeflateConfig::default()
        })
    }
}

/// The options of every command.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The longest message, after decompression: bytes, or with K, M or G; a longer one from the
    /// peer closes the connection with code 1009
    #[arg(long, value_name = "SIZE", default_value = "16M", value_parser = size,
          help_heading = "Messages")]
    max_message: u64,

    /// Compression (permessage-deflate), which a server accepts and a client offers; alone, it
    /// means on [default: serve: on, listen and connect: off]
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true,
          default_missing_value = "on", help_heading = "Messages")]
    compress: Option<Compress>,

    /// Messages from this size on are sent compressed, where compression was agreed
    #[arg(long, value_name = "SIZE", default_value = "1K", value_parser = size,
          help_heading = "Messages")]
    compress_threshold: u64,

    /// How long the opening handshake may take, a client for its request and a server for its
    /// answer: seconds, or with ms, s or m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time_above_0,
          help_heading = "Times")]
    handshake_timeout: Duration,

    /// How long the closing handshake may take
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time,
          help_heading = "Times")]
    close_timeout: Duration,

    /// What is logged to standard error: off, error, warn, info, debug or trace, also by target,
    /// such as warn,provod::wire=trace for every frame [default: info, connect: warn]
    #[arg(long, value_name = "FILTER", value_parser = filter)]
    log: Option<String>,

    /// How each line of the log is written: text, or json, an object with all fields
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

impl Common {
    /// The settings of a connection.
    pub(crate) fn config(&self) -> provod::Config {
        let mut config = provod::Config::default();
        config.limits.max_message = self.max_message;
        config.close_timeout = self.close_timeout;
        config.compression.threshold =
            usize::try_from(self.compress_threshold).unwrap_or(usize::MAX);
        config
    }

    /// The longest message, in bytes.
    pub(crate) fn max_message(&self) -> usize {
        usize::try_from(self.max_message).unwrap_or(usize::MAX)
    }

    /// Whether there is compression; `otherwise` holds where nothing is said.
    pub(crate) fn compress(&self, otherwise: Compress) -> Compress {
        self.compress.unwrap_or(otherwise)
    }

    pub(crate) fn handshake_timeout(&self) -> Duration {
        self.handshake_timeout
    }

    pub(crate) fn close_timeout(&self) -> Duration {
        self.close_timeout
    }

    /// Starts the log; `otherwise` is the filter where none is given.
    pub(crate) fn start_log(&self, otherwise: &str) {
        // The same text was accepted when the options were parsed.
        let filter = self.log.as_deref().unwrap_or(otherwise);
        let filter = EnvFilter::try_new(filter).unwrap_or_default();
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr)
            // They would be told on standard error too, and a panic there would end the connection
            // at hand.
            .log_internal_errors(false);
        match self.log_format {
            LogFormat::Text => {
                log.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).init();
            }
            LogFormat::Json => log.json().flatten_event(true).init(),
        }
    }
}

/// The options of the servers.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Threads that carry connections [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,

    /// How many connections may be open; more are answered 503 [default: the descriptor limit
    /// minus 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: Option<u32>,

    /// How much memory all connections together may hold; when it is used up, those that hold the
    /// most are closed with 1013 [default: no limit but those of each connection]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory_budget: Option<u64>,

    /// Let pages of this origin connect too: https://example.com, example.com, null, or * for all; may be
    /// given several times
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    allow_origin: Vec<String>,

    /// On SIGTERM, connections are closed spread over at most this time, so that clients do not
    /// all come back at once
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time,
          help_heading = "Times")]
    drain: Duration,

    #[command(flatten)]
    pub(crate) secure: Secure,

    #[command(flatten)]
    common: Common,
}

impl Options {
    /// A server with these options; `compress` is what holds where nothing is said.
    pub(crate) fn server(&self, compress: Compress, origin: OriginPolicy) -> provod::Server {
        let mut policy = origin;
        for entry in &self.allow_origin {
            // The same text was accepted when the options were parsed.
            policy = policy.clone().allow(entry).unwrap_or(policy);
        }
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let mut server = provod::Server::new()
            .config(self.common.config())
            .origin(policy)
            .handshake_timeout(self.common.handshake_timeout)
            .workers(self.workers.map_or_else(cores, usize::from));
        if let Some(deflate) = self.common.compress(compress).accepted() {
            server = server.compression(deflate);
        }
        if let Some(max) = self.max_connections {
            server = server.max_connections(max as usize);
        }
        if let Some(limit) = self.memory_budget {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            server = server.memory_budget(&provod::config::MemoryBudget::new(limit));
        }
        server
    }

    /// The drain on SIGTERM.
    pub(crate) fn drain(&self) -> provod::server::Drain {
        let mut drain = provod::server::Drain::default();
        drain.spread = self.drain;
        drain.deadline = self.drain.saturating_add(self.common.close_timeout);
        drain
    }

    /// The drain on Ctrl-C: at once.
    pub(crate) fn stop(&self) -> provod::server::Drain {
        let mut drain = provod::server::Drain::default();
        drain.deadline = self.common.close_timeout;
        drain
    }

    /// Starts the log.
    pub(crate) fn start_log(&self) {
        self.common.start_log("info");
    }
}

/// `text` as an address to listen on: `host:port`, a port alone, or `unix:` and a path.
pub(crate) fn address(text: &str) -> Result<String, String> {
    let accepted = "expected HOST:PORT, PORT, or unix:PATH";
    if text.strip_prefix("unix:").is_some_and(|path| !path.is_empty()) {
        return Ok(text.to_owned());
    }
    if text.parse::<u16>().is_ok() {
        return Ok(format!("127.0.0.1:{text}"));
    }
    match text.rsplit_once(':') {
        Some(("", port)) if port.parse::<u16>().is_ok() => Ok(format!("127.0.0.1:{port}")),
        Some((host, port)) if port.parse::<u16>().is_ok() => {
            if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
                return Err(format!("{accepted}; an IPv6 address stands in brackets: [::1]:8080"));
            }
            Ok(text.to_owned())
        }
        _ => Err(accepted.to_owned()),
    }
}

pub(crate) fn size(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.char_indices().find(|(_, c)| !c.is_ascii_digit()) {
        Some((at, _)) => text.split_at(at),
        None => (text, ""),
    };
    let shift = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        _ => return Err("expected a number of bytes, or one with K, M or G".to_owned()),
    };
    let number: u64 =
        digits.parse().map_err(|_| "expected a number of bytes, or one with K, M or G")?;
    number.checked_mul(1 << shift).ok_or_else(|| "too large".to_owned())
}

pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let accepted = "expected a time such as 10s, 500ms, 2m or a number of seconds";
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[number.len()..] {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(accepted.to_owned()),
    };
    let seconds = number.parse::<f64>().map_err(|_| accepted)? * unit;
    if seconds > 86400.0 * 365.0 {
        return Err("expected a time of at most a year".to_owned());
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| accepted.to_owned())
}

pub(crate) fn time_above_0(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("expected a time above 0, such as 10s or 500ms".to_owned()),
        time => Ok(time),
    }
}

fn origin(text: &str) -> Result<String, String> {
    match OriginPolicy::listed().allow(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => {
            Err("expected an origin such as https://example.com or http://localhost:3000, a \
                       host, null, or *"
                .to_owned())
        }
    }
}

fn filter(text: &str) -> Result<String, String> {
    let accepted = "expected off, error, warn, info, debug, trace or TARGET=LEVEL";
    // A level that is misspelt would be taken for a target, and log nothing that was wanted.
    let alone = |part: &&str| !part.contains(['=', '[']);
    let unknown = text.split(',').map(str::trim).filter(alone);
    if let Some(bad) = unknown.into_iter().find(|part| part.parse::<LevelFilter>().is_err()) {
        return Err(format!("{accepted}; {bad:?} is none of them"));
    }
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(e) => Err(format!("{accepted}: {e}")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{address, size, time};

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("1500"), Ok(1500));
        assert_eq!(size("1k"), Ok(1024));
        assert_eq!(size("16MiB"), Ok(16 << 20));
        for bad in ["", "K", "-1", "1.5M", "1X", "99999999999G", "18446744073709551616"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_have_units() {
        assert_eq!(time("10"), Ok(Duration::from_secs(10)));
        assert_eq!(time("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(time("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(time("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "s", "-1s", "1y", "inf", "nan", "1e300", "9999999h", "1 s"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_may_be_short() {
        assert_eq!(address("9000").as_deref(), Ok("127.0.0.1:9000"));
        assert_eq!(address(":9000").as_deref(), Ok("127.0.0.1:9000"));
        assert_eq!(address("0.0.0.0:80").as_deref(), Ok("0.0.0.0:80"));
        assert_eq!(address("[::1]:80").as_deref(), Ok("[::1]:80"));
        assert_eq!(address("unix:/run/x.sock").as_deref(), Ok("unix:/run/x.sock"));
        for bad in ["", "localhost", "1.2.3.4", "host:port", "::1:80", "host:99999", "unix:"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
