//! One stream of an HTTP/2 connection as a transport (RFC 8441 section 5).

use std::any::Any;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use h2::{RecvStream, SendStream};

use super::{SEND_BUFFER, io_error};
use crate::transport::Transport;

/// A stream of bytes both ways. Each end of it ends with END_STREAM, as a socket's does with FIN.
pub(crate) struct Http2Stream {
    send: SendStream<Bytes>,
    recv: RecvStream,
    /// What has come and was not read. The peer has no room for more until it is.
    came: Came,
    /// Our half has ended.
    finished: bool,
    /// Let go when the stream is over.
    _keep: Option<Box<dyn Any + Send>>,
}

#[derive(Default)]
struct Came {
    /// The frame that is being read.
    front: Bytes,
    /// Frames behind it, copied together: left as they are, each would cost more than its bytes.
    held: BytesMut,
    end: Option<End>,
}

enum End {
    /// The peer's half has ended.
    Finished,
    Broken(Option<io::Error>),
}

impl Http2Stream {
    /// A stream on which both sides are open.
    pub(crate) fn new(
        send: SendStream<Bytes>,
        recv: RecvStream,
        keep: Option<Box<dyn Any + Send>>,
    ) -> Self {
        Self { send, recv, came: Came::default(), finished: false, _keep: keep }
    }

    /// The next frame with something in it; an empty one is not the end.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, End>> {
        loop {
            return Poll::Ready(match ready!(self.recv.poll_data(cx)) {
                Some(Ok(bytes)) if bytes.is_empty() => continue,
                Some(Ok(bytes)) => Ok(bytes),
                Some(Err(e)) => Err(End::Broken(Some(io_error(e)))),
                None => Err(End::Finished),
            });
        }
    }

    /// Why nothing can be written any more.
    fn write_error(&mut self, cx: &mut Context<'_>, e: Option<h2::Error>) -> io::Error {
        match self.send.poll_reset(cx) {
            Poll::Ready(Ok(reason)) => io::Error::new(
                io::ErrorKind::ConnectionReset,
                format!("the HTTP/2 stream was reset with {reason:?} (RFC 9113 section 7)"),
            ),
            Poll::Ready(Err(e)) => io_error(e),
            Poll::Pending => e.map_or_else(|| io::ErrorKind::BrokenPipe.into(), io_error),
        }
    }
}

impl Transport for Http2Stream {
    fn poll_read<B: BufMut>(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut B,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let most = most.min(buf.remaining_mut());
        let mut n = 0;
        // Many small frames are one read, as many small packets are.
        while n < most {
            if self.came.front.is_empty() {
                if !self.came.held.is_empty() {
                    self.came.front = self.came.held.split().freeze();
                } else if self.came.end.is_some() {
                    break;
                } else {
                    match self.poll_frame(cx) {
                        Poll::Pending if n == 0 => return Poll::Pending,
                        Poll::Pending => break,
                        Poll::Ready(Ok(frame)) => self.came.front = frame,
                        Poll::Ready(Err(end)) => self.came.end = Some(end),
                    }
                }
                continue;
            }
            let part = (most - n).min(self.came.front.len());
            buf.put(self.came.front.split_to(part));
            n += part;
        }
        if n > 0 {
            // It can only fail where more is given back than has come.
            let _ = self.recv.flow_control().release_capacity(n);
            return Poll::Ready(Ok(n));
        }
        match &mut self.came.end {
            Some(End::Broken(error)) => {
                let gone = || io::ErrorKind::ConnectionReset.into();
                Poll::Ready(Err(error.take().unwrap_or_else(gone)))
            }
            _ => Poll::Ready(Ok(0)),
        }
    }

    fn hold(&mut self, cx: &mut Context<'_>) {
        while self.came.end.is_none() {
            match self.poll_frame(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(frame)) => self.came.held.extend_from_slice(&frame),
                Poll::Ready(Err(end)) => self.came.end = Some(end),
            }
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all: usize = slices.iter().map(|slice| slice.len()).sum();
        if all == 0 {
            return Poll::Ready(Ok(0));
        }
        let want = all.min(SEND_BUFFER);
        self.send.reserve_capacity(want);
        let mut room = self.send.capacity();
        while room == 0 {
            room = match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(room)) => room,
                Some(Err(e)) => return Poll::Ready(Err(self.write_error(cx, Some(e)))),
                None => return Poll::Ready(Err(self.write_error(cx, None))),
            };
        }
        let n = want.min(room);
        let mut data = BytesMut::with_capacity(n);
        for slice in slices {
            let part = slice.len().min(n - data.len());
            // `part` is at most the length of the slice.
            data.extend_from_slice(&slice[..part]);
        }
        Poll::Ready(match self.send.send_data(data.freeze(), false) {
            Ok(()) => Ok(n),
            Err(e) => Err(self.write_error(cx, Some(e))),
        })
    }

    fn poll_half_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.finished {
            return Poll::Ready(Ok(()));
        }
        self.finished = true;
        let ended = self.send.send_data(Bytes::new(), true);
        Poll::Ready(ended.map_err(|e| self.write_error(cx, Some(e))))
    }
}

impl Drop for Http2Stream {
    /// Where the peer has ended its half, ours ends in the same way, behind all that was written.
    /// Otherwise `h2` resets the stream with CANCEL; or, when our half has ended, with NO_ERROR
    /// once it has left.
    fn drop(&mut self) {
        if !self.finished && matches!(self.came.end, Some(End::Finished)) {
            let _ = self.send.send_data(Bytes::new(), true);
        }
    }
}
