//! A TCP echo without WebSocket: `peer-bare-epoll PORT`. One thread, one read into a shared buffer
//! and one write of the same bytes: what the system takes from any server.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;

const BUFFER: usize = 512 * 1024;
const EVENTS: usize = 1024;
const LISTENER: u64 = u64::MAX;

/// A connection, and what its socket did not take.
struct Connection {
    stream: TcpStream,
    unsent: Vec<u8>,
}

impl Connection {
    /// Echoes until the socket is empty or full; false when the connection is over.
    fn turn(&mut self, buffer: &mut [u8]) -> bool {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(n) => drop(self.unsent.drain(..n)),
                Err(e) => return e.kind() == ErrorKind::WouldBlock,
            }
        }
        loop {
            let n = match self.stream.read(buffer) {
                Ok(0) => return false,
                Ok(n) => n,
                Err(e) => return e.kind() == ErrorKind::WouldBlock,
            };
            let written = match self.stream.write(&buffer[..n]) {
                Ok(written) => written,
                Err(e) if e.kind() == ErrorKind::WouldBlock => 0,
                Err(_) => return false,
            };
            if written < n {
                self.unsent.extend_from_slice(&buffer[written..n]);
                return true;
            }
            // A read that did not fill the buffer has emptied the socket; more is a new edge.
            if n < buffer.len() {
                return true;
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    poll: &OwnedFd,
    connections: &mut Vec<Option<Connection>>,
    free: &mut Vec<usize>,
) -> io::Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e),
        };
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let place = free.pop().unwrap_or(connections.len());
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
        epoll::add(poll, &stream, EventData::new_u64(place as u64), flags)?;
        let connection = Some(Connection { stream, unsent: Vec::new() });
        match connections.get_mut(place) {
            Some(slot) => *slot = connection,
            None => connections.push(connection),
        }
    }
}

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse::<u16>().ok());
    let Some(port) = port else {
        eprintln!("usage: PORT");
        std::process::exit(2);
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&poll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let (mut connections, mut free) = (Vec::new(), Vec::new());
    let mut buffer = vec![0; BUFFER];
    let mut events = [MaybeUninit::<Event>::uninit(); EVENTS];
    loop {
        let (ready, _) = epoll::wait(&poll, &mut events, None)?;
        for event in ready {
            let place = event.data.u64();
            if place == LISTENER {
                accept(&listener, &poll, &mut connections, &mut free)?;
            } else if let Some(slot) = connections.get_mut(place as usize)
                && let Some(connection) = slot
                && !connection.turn(&mut buffer)
            {
                *slot = None;
                free.push(place as usize);
            }
        }
    }
}
