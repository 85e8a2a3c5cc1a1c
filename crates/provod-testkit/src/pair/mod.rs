//! A client and a server joined by two emulated streams under a virtual clock: whole connections in
//! microseconds.
//!
//! ```
//! use std::time::Duration;
//! use provod_testkit::pair::Pair;
//! use provod_testkit::proto::{Cause, CloseCode, Message};
//!
//! let mut pair = Pair::new();
//! pair.client.send("Hello")?;
//! pair.run_until_idle();
//! assert_eq!(pair.server.take_messages(), [Message::text("Hello")]);
//!
//! // Two minutes of Pings and Pongs later:
//! pair.advance(Duration::from_secs(120));
//! assert!(pair.client.connection().latency().is_some());
//!
//! // The way back is lost. The client, which sees no sign of life, gives up; the server gets the
//! // end of the stream and has nothing to say against it.
//! pair.to_client.stall();
//! pair.run_until_closed();
//! let closed = pair.client.closed().expect("it is over");
//! assert_eq!((&closed.cause, closed.code()), (&Cause::Silent, CloseCode::ABNORMAL));
//! # Ok::<(), provod_testkit::proto::UsageError>(())
//! ```

mod end;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use provod_proto::{Config, Connection, DeflateSetup, Role, Timestamp};

use crate::emulator::{Faults, Link};
use crate::random::Random;

pub use end::End;

/// More turns than any test needs at one moment: a pair that takes them spins.
const TURNS: usize = 1 << 24;

/// A connection that has not ended after so much virtual time will not end.
const LIFETIME: Duration = Duration::from_secs(3600);

/// A client and a server, the streams between them, and the time.
///
/// Nothing moves by itself: after whatever a test does to an end or a link, one of
/// [`run_until_idle`](Self::run_until_idle), [`advance`](Self::advance) and their like moves the
/// bytes.
#[derive(Debug)]
#[non_exhaustive]
pub struct Pair {
    /// The end that opened the connection.
    pub client: End,
    /// The end that was connected to.
    pub server: End,
    /// What the client writes and the server reads: to stall, cut, or to write bytes of one's own
    /// into.
    pub to_server: Link,
    /// What the server writes and the client reads.
    pub to_client: Link,
    now: Timestamp,
}

impl Pair {
    /// A pair with the default [`Config`] and no faults.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A pair to be set up.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The virtual time, which starts at the epoch.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Lets each end do one turn as a driver would: run the timers that are due, read at most one
    /// frame, write what there is room for. Returns whether anything came of it.
    ///
    /// # Panics
    ///
    /// When a timer stays due after it was run, which would make a driver spin: a bug in the core.
    pub fn step(&mut self) -> bool {
        let client = self.client.step(&mut self.to_client, &mut self.to_server);
        let server = self.server.step(&mut self.to_server, &mut self.to_client);
        if let Some(kind) = self.to_server.broken().or(self.to_client.broken()) {
            self.to_server.cut(kind, self.now);
            self.to_client.cut(kind, self.now);
        }
        client || server
    }

    /// Lets the ends work until nothing moves without time.
    ///
    /// # Panics
    ///
    /// When that never comes, and as [`step`](Self::step).
    pub fn run_until_idle(&mut self) {
        for _ in 0..TURNS {
            if !self.step() {
                return;
            }
        }
        panic!("something always moves: {self:#?}");
    }

    /// When something happens next by time alone: a timer runs out, or bytes arrive.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let arrivals = [self.to_server.poll_timeout(), self.to_client.poll_timeout()];
        let timers =
            [&self.client, &self.server].map(|end| Some(end.connection().poll_timeout()?.0));
        // What has arrived and is not read waits for something else than time.
        arrivals.into_iter().chain(timers).flatten().filter(|at| *at > self.now).min()
    }

    /// Puts the clock to the [next timeout](Self::next_timeout) and lets the ends work. Returns
    /// whether there was one.
    pub fn jump(&mut self) -> bool {
        let next = self.next_timeout();
        if let Some(at) = next {
            self.set_clock(at);
            self.run_until_idle();
        }
        next.is_some()
    }

    /// Lets so much time pass, and all that happens in it happen when it is due.
    pub fn advance(&mut self, by: Duration) {
        let target = self.now.after(by);
        self.run_until_idle();
        while self.next_timeout().is_some_and(|at| at <= target) {
            self.jump();
        }
        self.set_clock(target);
        self.run_until_idle();
    }

    /// Lets time pass until both ends are over.
    ///
    /// # Panics
    ///
    /// When an hour passes first, or nothing is left that time could bring.
    pub fn run_until_closed(&mut self) {
        let deadline = self.now.after(LIFETIME);
        self.run_until_idle();
        while !(self.client.connection().is_done() && self.server.connection().is_done()) {
            let moved = self.now < deadline && self.jump();
            assert!(moved, "the connection does not end: {self:#?}");
        }
    }

    fn set_clock(&mut self, now: Timestamp) {
        self.now = now;
        self.client.set_clock(now);
        self.server.set_clock(now);
    }
}

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}

/// What a [`Pair`] is made of.
///
/// ```
/// use provod_testkit::emulator::Faults;
/// use provod_testkit::pair::Pair;
/// use provod_testkit::proto::{Config, Message};
///
/// let mut config = Config::default();
/// config.keepalive = None;
/// let mut pair = Pair::builder()
///     .config(config)
///     .to_server(Faults::new(7).split(1..=1))
///     .build();
/// pair.client.send("arrives byte by byte")?;
/// pair.run_until_idle();
/// assert_eq!(pair.server.take_messages().len(), 1);
/// # Ok::<(), provod_testkit::proto::UsageError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Builder {
    client: Config,
    server: Config,
    deflate: Option<DeflateSetup>,
    to_server: Option<Faults>,
    to_client: Option<Faults>,
    seed: u64,
}

impl Builder {
    /// The settings of both ends.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.client = config.clone();
        self.server = config;
        self
    }

    /// Other settings for the server.
    #[must_use]
    pub fn server_config(mut self, config: Config) -> Self {
        self.server = config;
        self
    }

    /// Compression as if it had been negotiated so.
    #[must_use]
    pub fn compression(mut self, deflate: DeflateSetup) -> Self {
        self.deflate = Some(deflate);
        self
    }

    /// What goes wrong with what the client writes.
    #[must_use]
    pub fn to_server(mut self, faults: Faults) -> Self {
        self.to_server = Some(faults);
        self
    }

    /// What goes wrong with what the server writes.
    #[must_use]
    pub fn to_client(mut self, faults: Faults) -> Self {
        self.to_client = Some(faults);
        self
    }

    /// Where the client's masking keys come from, and, for directions that were given no
    /// [`Faults`], [rough](Faults::rough) ones. 0, the default, means none of these.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The pair, its connection open at the epoch.
    #[must_use]
    pub fn build(self) -> Pair {
        let now = Timestamp::default();
        let mut keys = Random(self.seed);
        let masks = move || (keys.next() as u32).to_be_bytes();
        let open =
            |role, config| Connection::new(role, Arc::new(config), self.deflate.clone(), now);
        let seed = self.seed;
        let link = |faults: Option<Faults>, salt| {
            Link::new(faults.unwrap_or_else(|| match seed {
                0 => Faults::none(),
                seed => Faults::rough(seed ^ salt),
            }))
        };
        Pair {
            client: End::new(open(Role::Client(Box::new(masks)), self.client)),
            server: End::new(open(Role::Server, self.server)),
            to_server: link(self.to_server, 1 << 62),
            to_client: link(self.to_client, 1 << 63),
            now,
        }
    }
}
