//! The client: one thread, one loop, the same for every transport. It checks every message.

mod answer;
mod connection;
mod figures;
mod http1;
mod http2;
mod message;
mod request;
mod system;
#[cfg(test)]
mod tests;
mod websocket;
mod wire;

use std::io::{ErrorKind, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use self::connection::Connection;
use self::figures::{Figures, Snapshot};
use self::message::Message;
use crate::Error;
use crate::options::{Options, Work};

/// Measures what is asked for and prints it, in JSON.
pub(crate) fn measure(options: Options) -> Result<(), Error> {
    let before = system::resident(options.pid)?;
    let mut load = Load::new(options)?;
    load.open()?;
    let opened = load.snapshot()?;
    load.start();
    load.run(load.options.warm_up)?;
    load.latencies.clear();
    let from = load.snapshot()?;
    load.run(load.options.time)?;
    let to = load.snapshot()?;
    let figures = Figures::new(&opened, &from, &to, &mut load.latencies, before);
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

struct Load {
    options: Options,
    poll: Poll,
    connections: Vec<Connection>,
    publisher: TcpStream,
    message: Message,
    /// When each message was published, or should have been.
    published: Vec<Instant>,
    messages: u64,
    latencies: Vec<Duration>,
    buffer: Vec<u8>,
}

impl Load {
    fn new(options: Options) -> Result<Self, Error> {
        let publisher = TcpStream::connect(options.publisher)?;
        publisher.set_nodelay(true)?;
        Ok(Self {
            poll: Poll::new()?,
            connections: Vec::with_capacity(options.connections),
            publisher,
            message: Message::new(options.size),
            published: Vec::new(),
            messages: 0,
            latencies: Vec::new(),
            buffer: vec![0; 256 << 10],
            options,
        })
    }

    fn open(&mut self) -> Result<(), Error> {
        for n in 0..self.options.connections {
            let socket = connect(self.options.address)?;
            let wire = wire::new(&self.options, self.options.address);
            let mut connection = Connection::new(socket, wire);
            let registry = self.poll.registry();
            registry.register(&mut connection.socket, Token(n), Interest::READABLE)?;
            connection.begin()?;
            self.connections.push(connection);
            // A server has so many handshakes at a time, and a backlog of so many.
            if n % 64 == 63 {
                self.opened()?;
            }
        }
        self.opened()?;
        // What is not answered, a poll, has no other sign of having arrived.
        let settled = Instant::now() + Duration::from_millis(100);
        while Instant::now() < settled {
            self.turn(Some(Duration::from_millis(10)))?;
        }
        Ok(())
    }

    fn opened(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.connections.iter().any(|connection| !connection.is_open) {
            if Instant::now() > deadline {
                return Err("connections do not open".into());
            }
            self.turn(Some(Duration::from_millis(100)))?;
        }
        Ok(())
    }

    fn start(&mut self) {
        self.published.push(Instant::now());
        self.messages = 0;
    }

    fn run(&mut self, time: Duration) -> Result<(), Error> {
        let end = Instant::now() + time;
        let mut heard_of = (self.messages, Instant::now());
        while Instant::now() < end {
            match self.options.work {
                Work::Echo => self.say_to_all()?,
                Work::Push => self.publish_if_due()?,
                Work::Idle => {}
            }
            // Who sends at a rate looks all the time, so as not to be late.
            let wait = self.options.every.map_or(Duration::from_millis(100), |_| Duration::ZERO);
            self.turn(Some(wait))?;
            if self.messages > heard_of.0 {
                heard_of = (self.messages, Instant::now());
            } else if self.options.work != Work::Idle && heard_of.1.elapsed().as_secs() > 5 {
                return Err("nothing came for five seconds".into());
            }
        }
        Ok(())
    }

    /// The first message of each connection: after that, one is the answer to the other.
    fn say_to_all(&mut self) -> Result<(), Error> {
        if self.messages == 0 && self.published.len() == 1 {
            self.published.push(Instant::now());
            for connection in &mut self.connections {
                connection.say(self.message.numbered(connection.number))?;
            }
        }
        Ok(())
    }

    fn publish_if_due(&mut self) -> Result<(), Error> {
        let last = self.published[self.published.len() - 1];
        let due = match self.options.every {
            Some(every) => last + every,
            None => {
                let sent = self.published.len() as u64 - 1;
                if self.messages < sent * self.connections.len() as u64 {
                    return Ok(());
                }
                Instant::now()
            }
        };
        if due > Instant::now() {
            return Ok(());
        }
        let number = self.published.len() as u64;
        self.published.push(due);
        let text = self.message.numbered(number);
        let mut bytes = (text.len() as u32).to_be_bytes().to_vec();
        bytes.extend_from_slice(text);
        Ok(self.publisher.write_all(&bytes)?)
    }

    /// Waits for a sign from any connection, and takes what has come.
    fn turn(&mut self, wait: Option<Duration>) -> Result<(), Error> {
        let mut events = Events::with_capacity(256);
        match self.poll.poll(&mut events, wait) {
            // Someone stopped the process and let it go on.
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        let now = Instant::now();
        for event in &events {
            let connection = &mut self.connections[event.token().0];
            let (mut number, asked) = (connection.number, connection.asked);
            let (published, pushes) = (&self.published, self.options.work == Work::Push);
            connection.receive(&mut self.buffer, |text| {
                self.message.check(number, text)?;
                let from = if pushes { published.get(number as usize) } else { Some(&asked) };
                let from = from.ok_or("a message came before it was sent")?;
                self.latencies.push(now.duration_since(*from));
                number += 1;
                self.messages += 1;
                Ok(())
            })?;
            let answered = number > connection.number;
            connection.number = number;
            if answered && self.options.work == Work::Echo {
                connection.say(self.message.numbered(number))?;
            }
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Snapshot, Error> {
        Ok(Snapshot {
            at: Instant::now(),
            connections: self.connections.len() as u64,
            messages: self.messages,
            bytes_in: self.connections.iter().map(|connection| connection.bytes_in).sum(),
            bytes_out: self.connections.iter().map(|connection| connection.bytes_out).sum(),
            segments: system::segments()?,
            server_ns: system::cpu_ns(self.options.pid)?,
            client_ns: system::cpu_ns(std::process::id())?,
            resident: system::resident(self.options.pid)?,
        })
    }
}

fn connect(address: SocketAddr) -> Result<mio::net::TcpStream, Error> {
    let socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(mio::net::TcpStream::from_std(socket))
}
