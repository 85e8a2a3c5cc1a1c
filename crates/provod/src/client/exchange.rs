//! A request of HTTP on its way out and the answer on its way in, with a server or a proxy.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use bytes::BytesMut;
use provod_proto::handshake::{HeadError, HeadLimits, ResponseHead, ResponseReader};

use crate::driver::with_read_buffer;
use crate::transport::Transport;

/// Bytes in one read of a head; what comes behind it is given out with it.
const HEAD_READ: usize = 16 << 10;
/// Interim answers, such as 103 Early Hints, in front of the final one.
const MOST_INTERIM: u32 = 16;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// What came is no answer of HTTP.
    Invalid(String),
    /// The other end speaks TLS.
    Tls,
    /// The stream ended, and nothing had come.
    HungUp,
    Broken(io::Error),
}

/// Both ways at the same time: the other end may answer, and hang up, before it has read all of the
/// request.
pub(super) struct Exchange<'a> {
    pub(super) unsent: &'a [u8],
    /// The transport may hold some of what it has taken.
    unflushed: bool,
    /// Why no more of the request can be sent.
    broken: Option<io::Error>,
    reader: ResponseReader,
    interim: u32,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(request: &'a [u8], limits: HeadLimits) -> Self {
        let reader = ResponseReader::new(limits);
        Self { unsent: request, unflushed: true, broken: None, reader, interim: 0 }
    }

    /// The head of the final answer, and what came behind it.
    pub(super) async fn answer<T: Transport>(
        &mut self,
        io: &mut T,
    ) -> Result<(ResponseHead, BytesMut), Trouble> {
        poll_fn(|cx| self.poll(io, cx)).await
    }

    fn poll<T: Transport>(
        &mut self,
        io: &mut T,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(ResponseHead, BytesMut), Trouble>> {
        while !self.unsent.is_empty() && self.broken.is_none() {
            match io.poll_write(cx, &[IoSlice::new(self.unsent)]) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => self.broken = Some(io::ErrorKind::WriteZero.into()),
                // A transport takes no more than it was given; if it did, nothing is left.
                Poll::Ready(Ok(n)) => self.unsent = self.unsent.get(n..).unwrap_or_default(),
                Poll::Ready(Err(e)) => self.broken = Some(e),
            }
        }
        if self.unflushed && self.broken.is_none() {
            match io.poll_flush(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.unflushed = !self.unsent.is_empty(),
                Poll::Ready(Err(e)) => self.broken = Some(e),
            }
        }
        loop {
            let pushed = with_read_buffer(|buf| {
                io.poll_read(cx, buf, HEAD_READ).map(|read| match read {
                    // A read of `n` bytes has put `n` bytes into the buffer.
                    Ok(n @ 1..) => self.push(&buf[..n]),
                    Ok(_) => Err(self.ended()),
                    Err(e) => Err(Trouble::Broken(e)),
                })
            });
            match pushed {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Ready(Ok(Some(answer))) => return Poll::Ready(Ok(answer)),
                Poll::Ready(Ok(None)) => {}
            }
        }
    }

    /// Takes input; interim answers are passed over (RFC 9110 section 15.2).
    fn push(&mut self, mut input: &[u8]) -> Result<Option<(ResponseHead, BytesMut)>, Trouble> {
        // 21 and 22 begin a TLS record: an alert, or a handshake.
        if self.is_unanswered() && matches!(input, [21 | 22, ..]) {
            return Err(Trouble::Tls);
        }
        loop {
            let invalid = |e: HeadError| Trouble::Invalid(e.message().to_owned());
            let push = self.reader.push(input).map_err(invalid)?;
            let Some(head) = push.head else { return Ok(None) };
            // The reader consumes no more than it is given.
            input = input.get(push.consumed..).unwrap_or_default();
            if !matches!(head.status(), 100 | 102..=199) {
                return Ok(Some((head, BytesMut::from(input))));
            }
            self.interim += 1;
            if self.interim > MOST_INTERIM {
                let why = format!("more than {MOST_INTERIM} interim answers and no final one");
                return Err(Trouble::Invalid(why));
            }
        }
    }

    fn is_unanswered(&self) -> bool {
        self.reader.is_empty() && self.interim == 0
    }

    /// What it means that the input has ended.
    fn ended(&mut self) -> Trouble {
        if !self.is_unanswered() {
            Trouble::Invalid("it ends in the middle of its head".to_owned())
        } else if let Some(error) = self.broken.take() {
            Trouble::Broken(error)
        } else {
            Trouble::HungUp
        }
    }
}
