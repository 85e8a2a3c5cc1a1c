//! The command line of `provod bench`.

use std::net::IpAddr;
#[cfg(unix)]
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::payload::Content;
use super::threshold::Threshold;
use crate::connect::header;
use crate::options::{Compress, size, time, time_above_0};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Scenario {
    /// Every message comes back: the latency and rate of an echo server.
    Echo,
    /// Some members of a room speak and all members hear it: the latency of each delivery.
    Fanout,
    /// Connections that do nothing: what each costs the server, also after it has carried traffic.
    Idle,
    /// Connect, close, and again: handshakes a second, and how long each takes.
    Connect,
    /// All connections are cut and come back at once: how long until they are there.
    Storm,
    /// Echo beside connections that send and never read.
    SlowReader,
    /// Echo beside connections that come, say something and go.
    Churn,
}

impl Scenario {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Fanout => "fanout",
            Self::Idle => "idle",
            Self::Connect => "connect",
            Self::Storm => "storm",
            Self::SlowReader => "slow-reader",
            Self::Churn => "churn",
        }
    }
}

/// Measure a WebSocket server under load
///
/// Opens connections, sends messages, checks every reply and reports rate and latency. A run in
/// which this program was what limited the result says that it is NOT VALID.
///
/// Without --rate the loop is closed: each connection has --in-flight messages on their way and
/// sends the next when a reply comes. This finds the most that a server can do; but while the
/// server stalls nothing is sent, so a stall counts once. With --rate the loop is open: messages
/// leave at a constant rate whatever comes back, and each latency runs from the moment at which
/// its message was meant to leave, so a stall counts for all that it delayed. Latencies that
/// users would see are measured that way.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct Bench {
    /// What is measured
    #[arg(value_name = "SCENARIO")]
    pub(super) scenario: Scenario,

    /// The server: ws://HOST:PORT/PATH?QUERY; without ws:// it is added, PORT alone is one of this
    /// machine, and with --unix-socket a PATH is enough
    #[arg(value_name = "URL")]
    pub(super) url: String,

    /// How many connections are open, or with connect, places that connect again and again; for
    /// fanout, members of all rooms together [default: 64, fanout, idle and storm: 1000]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..),
          help_heading = "Load")]
    pub(super) connections: Option<u32>,

    /// Closed loop: messages on their way for each connection or, in fanout, each publisher
    #[arg(short = 'k', long, value_name = "N", default_value_t = 1, conflicts_with = "rate",
          value_parser = clap::value_parser!(u32).range(1..=65536), help_heading = "Load")]
    pub(super) in_flight: u32,

    /// Open loop: messages a second, of all connections together; for fanout publishes, for
    /// connect handshakes
    #[arg(short, long, value_name = "RATE", value_parser = rate, help_heading = "Load")]
    pub(super) rate: Option<f64>,

    /// How long it is measured, in seconds, or with ms, s or m; storm ends when all are back
    #[arg(short, long, value_name = "TIME", default_value = "10s", value_parser = time_above_0,
          help_heading = "Load")]
    pub(super) duration: Duration,

    /// How long the same load runs before that, uncounted
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time,
          help_heading = "Load")]
    pub(super) warm_up: Duration,

    /// Open the connections evenly over this time instead of as fast as it goes
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = time,
          help_heading = "Load")]
    pub(super) ramp_up: Duration,

    /// Handshakes under way at once while the connections are opened
    #[arg(long, value_name = "N", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(1..), help_heading = "Load")]
    pub(super) window: u32,

    /// How long a handshake may take, and the last replies after the end
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time_above_0,
          help_heading = "Load")]
    pub(super) timeout: Duration,

    /// Rooms of a fanout: with more than one, /0, /1 and so on is added to the path
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..), help_heading = "Load")]
    pub(super) rooms: u32,

    /// Members of each room of a fanout that speak
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=65535), help_heading = "Load")]
    pub(super) publishers: u32,

    /// Connections of slow-reader that never read, beside --connections that do
    #[arg(long, value_name = "N", default_value_t = 8,
          value_parser = clap::value_parser!(u32).range(1..), help_heading = "Load")]
    pub(super) slow: u32,

    /// Connections a second that come and go in churn, beside --connections that stay
    #[arg(long, value_name = "RATE", default_value = "100", value_parser = rate,
          help_heading = "Load")]
    pub(super) churn_rate: f64,

    /// Bytes that each connection of idle is echoed before memory is read again
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = size,
          help_heading = "Load")]
    pub(super) traffic: u64,

    /// Bytes of a message, or a number with K or M [default: 64, fanout: 128]
    #[arg(short, long, value_name = "SIZE", value_parser = size, help_heading = "Messages")]
    pub(super) size: Option<u64>,

    /// What messages are made of
    #[arg(long, value_name = "CONTENT", default_value = "text", help_heading = "Messages")]
    pub(super) content: Content,

    /// Offer permessage-deflate, with which messages leave compressed; alone, it means on
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true,
          default_missing_value = "on", default_value = "off", help_heading = "Messages")]
    pub(super) compress: Compress,

    /// Send the same bytes without a handshake, to a server that returns them as they are: what the
    /// system alone costs; echo and idle alone
    #[arg(long, conflicts_with_all = ["compress", "header"], help_heading = "Messages")]
    pub(super) raw: bool,

    /// Compare the bytes of one reply in so many; number, length, opcode and order are checked
    /// for all [default: 1, above 256 bytes 8, above 4K 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..),
          help_heading = "Messages")]
    pub(super) verify_every: Option<u32>,

    /// Make the same messages and masking keys again
    #[arg(long, value_name = "N", help_heading = "Messages")]
    pub(super) seed: Option<u64>,

    /// Add a header to the requests; may be given several times
    #[arg(short = 'H', long, value_name = "NAME: VALUE", value_parser = header,
          help_heading = "Connections")]
    pub(super) header: Vec<(String, String)>,

    /// Connect from these local addresses in turn; each has some 28,000 ports
    #[arg(long, value_name = "ADDRESS,...", value_delimiter = ',', help_heading = "Connections")]
    pub(super) source: Vec<IpAddr>,

    /// Connect to this Unix socket; the URL says what is asked for there
    #[cfg(unix)]
    #[arg(long, value_name = "PATH", help_heading = "Connections")]
    pub(super) unix_socket: Option<PathBuf>,

    /// Threads that make the load
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=256), help_heading = "Generator")]
    pub(super) threads: u16,

    /// Never sleep: a server is not charged for waking this program, which wants a core of its own
    #[arg(long, help_heading = "Generator")]
    pub(super) spin: bool,

    /// Report what the server process with this number uses; Linux alone
    #[arg(long, value_name = "PID", help_heading = "Report")]
    pub(super) pid: Option<u32>,

    /// Write the report as JSON to this file; - is standard output, and the table moves to standard
    /// error
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub(super) json: Option<String>,

    /// Show what has changed since the report in this file
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub(super) compare: Option<String>,

    /// Exit with 3 where this does not hold: a name, one of < <= > >=, and a number with its unit,
    /// such as 'p99<5ms'; may be given several times
    #[arg(long, value_name = "EXPRESSION", value_parser = Threshold::parse,
          help_heading = "Report")]
    pub(super) threshold: Vec<Threshold>,
}

const AFTER_HELP: &str = "\
Thresholds:
  min mean p50 p75 p90 p95 p99 p99.9 p99.99 max   a latency: ns, us, ms or s
  connect-p50 and so on                           the same of opening handshakes
  rate                                            replies, deliveries or handshakes a second
  errors                                          how many things went wrong
  rss                                             memory of the server at the end: K, M or G
  rss-per-connection                              what each connection added to it
  cpu                                             processor time of the server for each message
                                                  (or delivery, or handshake): ns, us, ms or s
The last three need --pid.

Exit codes:
   0  all went well
   1  something went wrong: a reply that is missing or not as it should be, a connection that
      failed or was lost
   2  wrong usage
   3  a threshold is not met
   4  the name cannot be resolved
   5  nobody takes the connection
   6  TLS
  13  the run is not valid: this program, or what the server did not take, limited it
 130  Ctrl-C; what was measured until then is reported
 143  SIGTERM, likewise
Where several hold, the first of 1, 13 and 3.

Examples:
  provod bench echo 9001 --connections 64 --in-flight 32 --pid 4711
  provod bench echo 9001 --rate 20000 --duration 1m --threshold 'p99<2ms'
  provod bench fanout ws://127.0.0.1:8080/room --connections 1000 --rate 100
  provod bench idle 9001 --connections 50000 --source 127.0.0.2,127.0.0.3 --traffic 1M --pid 4711
  provod bench storm 9001 --connections 10000 --timeout 30s --json after.json --compare before.json";

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && (0.001..=1e9).contains(&rate) => Ok(rate),
        _ => Err("expected a number a second, from 0.001 to 1e9".to_owned()),
    }
}

impl Bench {
    pub(super) fn all_connections(&self) -> usize {
        let otherwise = match self.scenario {
            Scenario::Fanout | Scenario::Idle | Scenario::Storm => 1000,
            _ => 64,
        };
        self.connections.unwrap_or(otherwise) as usize
    }

    pub(super) fn message_size(&self) -> usize {
        let otherwise = if self.scenario == Scenario::Fanout { 128 } else { 64 };
        self.size.map_or(otherwise, |size| usize::try_from(size).unwrap_or(usize::MAX))
    }

    pub(super) fn verifies_every(&self) -> u64 {
        let by_size = match self.message_size() {
            0..=256 => 1,
            257..=4096 => 8,
            _ => 64,
        };
        self.verify_every.map_or(by_size, u64::from)
    }

    /// What clap cannot say: options that do not go together.
    pub(super) fn check(&self) -> Result<(), String> {
        let (all, rooms) = (self.all_connections(), self.rooms as usize);
        let threads = usize::from(self.threads);
        if self.message_size() > 64 << 20 {
            return Err("--size is at most 64M".to_owned());
        }
        if threads > all {
            return Err("there are more --threads than connections".to_owned());
        }
        if self.scenario == Scenario::Fanout {
            let least = self.content.least_with_stamp();
            if self.message_size() < least {
                return Err(format!("--size is at least {least} here: messages carry a stamp"));
            }
            if !all.is_multiple_of(rooms) {
                return Err("--connections must be a multiple of --rooms".to_owned());
            }
            if all / rooms < self.publishers as usize {
                return Err("there are more --publishers than members of a room".to_owned());
            }
            if threads > rooms {
                return Err("a room has one thread: there are more --threads than rooms".to_owned());
            }
        } else {
            let needs = self.content == Content::Json && self.carries_messages();
            if needs && self.message_size() < Content::Json.least_with_stamp() {
                let least = Content::Json.least_with_stamp();
                return Err(format!("--size is at least {least} for JSON"));
            }
        }
        if self.raw && !matches!(self.scenario, Scenario::Echo | Scenario::Idle) {
            return Err(format!("{} has no --raw", self.scenario.name()));
        }
        if self.rate.is_some() && matches!(self.scenario, Scenario::Idle | Scenario::Storm) {
            return Err(format!("{} has no --rate", self.scenario.name()));
        }
        if self.pid.is_some() && !cfg!(target_os = "linux") {
            return Err("--pid needs Linux: other systems have no /proc".to_owned());
        }
        if self.pid.is_none() && self.threshold.iter().any(Threshold::needs_pid) {
            return Err("a threshold on rss or cpu needs --pid".to_owned());
        }
        Ok(())
    }

    fn carries_messages(&self) -> bool {
        !matches!(self.scenario, Scenario::Connect | Scenario::Storm)
    }
}
