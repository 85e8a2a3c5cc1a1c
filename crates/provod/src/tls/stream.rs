//! TLS on a transport, over the part of rustls that owns no buffers.
//!
//! What comes is read into a buffer of the thread and decrypted there, what goes is encrypted into
//! another one: a connection that is idle owns what rustls needs to go on, and no buffer.

mod out;

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::thread::LocalKey;

use bytes::{Buf as _, BufMut, Bytes, BytesMut};
use rustls::ServerConfig;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, WriteTraffic};
use rustls_pki_types::CertificateDer;

use crate::transport::Transport;

use out::{encode_handshake, seal, seal_end};

/// Read at once.
const READ: usize = 64 << 10;
/// A read is never smaller.
const LEAST: usize = 4 << 10;
/// Input that is kept until more comes: a handshake message has at most 64 KiB, though its pieces
/// may come in records of their own.
const MOST_KEPT: usize = 128 << 10;

thread_local! {
    static INPUT: RefCell<BytesMut> = RefCell::new(BytesMut::new());
    static OUTPUT: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// Runs `f` with a buffer of the thread, empty.
fn with<R>(buffer: &'static LocalKey<RefCell<BytesMut>>, f: impl FnOnce(&mut BytesMut) -> R) -> R {
    buffer.with(|cell| match cell.try_borrow_mut() {
        Ok(mut buf) => {
            buf.clear();
            f(&mut buf)
        }
        // TLS inside of TLS.
        Err(_) => f(&mut BytesMut::new()),
    })
}

/// A server's end of TLS.
pub(crate) struct Secure<T> {
    io: T,
    session: Box<UnbufferedServerConnection>,
    /// Input that is no whole record, or no whole message of a handshake, yet.
    kept: BytesMut,
    /// Plaintext that the last read had no room for.
    surplus: Bytes,
    /// Records that the transport has not taken yet.
    unsent: BytesMut,
    /// The peer has ended its half with close_notify.
    ended: bool,
    /// We have ended ours.
    closing: bool,
}

/// What a state of rustls leaves to do.
enum Step {
    /// It has more to say.
    Again,
    /// It wants more input.
    Blocked,
    /// Data can be sent, and it wants more input.
    Open,
}

impl<T: Transport> Secure<T> {
    /// For a handshake on `io`, of which `front` was read already.
    pub(crate) fn new(
        io: T,
        front: BytesMut,
        config: Arc<ServerConfig>,
    ) -> Result<Self, (io::Error, T)> {
        match UnbufferedServerConnection::new(config) {
            Ok(session) => Ok(Self {
                io,
                session: Box::new(session),
                kept: front,
                surplus: Bytes::new(),
                unsent: BytesMut::new(),
                ended: false,
                closing: false,
            }),
            Err(e) => Err((invalid(e), io)),
        }
    }

    pub(crate) fn into_inner(self) -> T {
        self.io
    }

    /// The certificate that the client has shown.
    pub(crate) fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.session.peer_certificates().and_then(<[_]>::first)
    }

    /// The version, the cipher suite, and what was chosen by ALPN, for a log.
    pub(crate) fn agreed(&self) -> (Option<&'static str>, Option<&'static str>, Option<&str>) {
        let version = self.session.protocol_version().and_then(|v| v.as_str());
        let suite = self.session.negotiated_cipher_suite().and_then(|s| s.suite().as_str());
        let protocol = self.session.alpn_protocol().and_then(|name| str::from_utf8(name).ok());
        (version, suite, protocol)
    }

    /// Goes on with the handshake as far as the peer's input allows.
    pub(crate) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut early = BytesMut::new();
        loop {
            let mut kept = std::mem::take(&mut self.kept);
            // Data that came behind the handshake is bounded by what was read.
            let result = self.process(&mut kept, &mut early, usize::MAX);
            self.kept = if kept.is_empty() { BytesMut::new() } else { kept };
            let flushed = self.flush(cx);
            let open = match result {
                Ok(open) => open,
                // The alert that says why has left, or will not.
                Err(e) => return Poll::Ready(Err(e)),
            };
            if !early.is_empty() {
                self.surplus = early.split().freeze();
            }
            if flushed?.is_pending() {
                return Poll::Pending;
            }
            if open {
                return Poll::Ready(Ok(()));
            }
            if self.ended {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            if self.kept.len() > MOST_KEPT {
                return Poll::Ready(Err(too_long()));
            }
            self.kept.reserve(LEAST);
            match ready!(self.io.poll_read(cx, &mut self.kept, LEAST)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }

    /// Handles `input`, and leaves in it what waits for more. Plaintext goes to `out`, and to the
    /// surplus where that has no room for `room` bytes. Returns whether data can be sent.
    fn process<B: BufMut>(
        &mut self,
        input: &mut BytesMut,
        out: &mut B,
        mut room: usize,
    ) -> io::Result<bool> {
        let mut surplus = Vec::new();
        let mut start = 0;
        let result = loop {
            // What was discarded lies in front of `start`, which is never behind the end.
            let status =
                self.session.process_tls_records(input.get_mut(start..).unwrap_or_default());
            let discard = status.discard;
            let step = match status.state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    let mut failed = None;
                    while let Some(record) = traffic.next_record() {
                        match record {
                            Ok(record) => {
                                let (now, later) =
                                    record.payload.split_at(room.min(record.payload.len()));
                                out.put_slice(now);
                                room -= now.len();
                                surplus.extend_from_slice(later);
                            }
                            Err(e) => failed = Some(e),
                        }
                    }
                    failed.map_or(Ok(Step::Again), Err)
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode_handshake(&mut data, &mut self.unsent);
                    Ok(Step::Again)
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    // It is in the queue, in front of all that comes later.
                    data.done();
                    Ok(Step::Again)
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.ended = true;
                    Ok(Step::Again)
                }
                Ok(ConnectionState::WriteTraffic(_)) => Ok(Step::Open),
                Ok(ConnectionState::Closed) => Ok(Step::Blocked),
                Ok(ConnectionState::BlockedHandshake) => Ok(Step::Blocked),
                // 0-RTT is never agreed on.
                Ok(_) => Ok(Step::Blocked),
                Err(e) => Err(e),
            };
            start = (start + discard).min(input.len());
            match step {
                Ok(Step::Again) => {}
                Ok(Step::Blocked) => break Ok(false),
                Ok(Step::Open) => break Ok(true),
                Err(e) => {
                    self.alert(input.get_mut(start..).unwrap_or_default());
                    break Err(invalid(e));
                }
            }
        };
        input.advance(start);
        if !surplus.is_empty() {
            self.surplus = surplus.into();
        }
        result
    }

    /// Queues the alert that tells the peer what was wrong with its input, of which `rest` is left.
    fn alert(&mut self, rest: &mut [u8]) {
        // rustls keeps places in the input: it must be given the same again. What it has to say
        // comes before it looks there.
        if let Ok(ConnectionState::EncodeTlsData(mut data)) =
            self.session.process_tls_records(rest).state
        {
            encode_handshake(&mut data, &mut self.unsent);
        }
    }

    /// Lets `f` say something in `out`; whether it could.
    fn say(
        &mut self,
        out: &mut BytesMut,
        f: impl FnOnce(&mut WriteTraffic<'_, ServerConnectionData>, &mut BytesMut),
    ) -> bool {
        let mut kept = std::mem::take(&mut self.kept);
        let mut f = Some(f);
        let said = loop {
            let status = self.session.process_tls_records(&mut kept);
            let discard = status.discard;
            let said = match status.state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    if let Some(f) = f.take() {
                        f(&mut traffic, out);
                    }
                    Some(true)
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode_handshake(&mut data, out);
                    None
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    None
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.ended = true;
                    None
                }
                _ => Some(false),
            };
            kept.advance(discard.min(kept.len()));
            if let Some(said) = said {
                break said;
            }
        };
        self.kept = kept;
        said
    }

    /// Passes on what waits to be sent.
    fn flush(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        while !self.unsent.is_empty() {
            match self.io.poll_write(cx, &[IoSlice::new(&self.unsent)]) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(n)) => self.unsent.advance(n.min(self.unsent.len())),
                Poll::Ready(Err(e)) => return Err(e),
            }
        }
        if self.unsent.capacity() > 0 {
            self.unsent = BytesMut::new();
        }
        Ok(Poll::Ready(()))
    }
}

fn invalid(e: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, e)
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a message of the TLS handshake is too long")
}

impl<T: Transport> Transport for Secure<T> {
    fn poll_read<B: BufMut>(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut B,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let most = most.min(buf.remaining_mut());
        if !self.surplus.is_empty() {
            let n = most.min(self.surplus.len());
            buf.put_slice(&self.surplus.split_to(n));
            if self.surplus.is_empty() {
                self.surplus = Bytes::new();
            }
            return Poll::Ready(Ok(n));
        }
        loop {
            if self.ended {
                return Poll::Ready(Ok(0));
            }
            let n = with(&INPUT, |input| {
                let length = most.clamp(LEAST, READ);
                input.reserve(self.kept.len() + length);
                input.extend_from_slice(&self.kept);
                if ready!(self.io.poll_read(cx, input, length))? == 0 {
                    return Poll::Ready(Err(cut()));
                }
                // It is in the input now.
                self.kept = BytesMut::new();
                let before = buf.remaining_mut();
                let processed = self.process(input, buf, most);
                if !self.ended {
                    self.kept = BytesMut::from(&input[..]);
                }
                Poll::Ready(processed.map(|_| before - buf.remaining_mut()))
            });
            let n = ready!(n);
            // What rustls has said meanwhile, an alert perhaps; the driver flushes only what it has
            // written itself.
            // Where it breaks, so does the next write.
            let _ = self.flush(cx);
            let n = n?;
            if n > 0 {
                return Poll::Ready(Ok(n));
            }
            if self.kept.len() > MOST_KEPT {
                return Poll::Ready(Err(too_long()));
            }
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.flush(cx)?);
        with(&OUTPUT, |out| {
            let mut taken = 0;
            let open = self.say(out, |traffic, out| {
                taken = seal(traffic, slices, out);
            });
            if !open || taken == 0 {
                let all: usize = slices.iter().map(|slice| slice.len()).sum();
                return Poll::Ready(match all {
                    0 => Ok(0),
                    _ => Err(io::ErrorKind::BrokenPipe.into()),
                });
            }
            let mut rest = &out[..];
            while !rest.is_empty() {
                match self.io.poll_write(cx, &[IoSlice::new(rest)]) {
                    Poll::Ready(Ok(n @ 1..)) => rest = rest.get(n..).unwrap_or_default(),
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                    // They are encrypted, so they have been taken.
                    Poll::Pending => {
                        self.unsent.extend_from_slice(rest);
                        break;
                    }
                }
            }
            Poll::Ready(Ok(taken))
        })
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.flush(cx)?);
        self.io.poll_flush(cx)
    }

    fn poll_half_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closing {
            self.closing = true;
            let mut out = std::mem::take(&mut self.unsent);
            self.say(&mut out, |traffic, out| {
                seal_end(traffic, out);
            });
            self.unsent = out;
        }
        ready!(self.flush(cx)?);
        self.io.poll_half_close(cx)
    }
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "TLS ended without close_notify")
}

#[cfg(test)]
mod tests;
