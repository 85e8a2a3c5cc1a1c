//! TLS whose writes say truly what may have left.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

/// TLS around a stream. A write is several records, and where one of them breaks, those before it
/// may have arrived with whole messages in them. So such a write counts as taken, and the next one
/// breaks.
#[derive(Debug)]
pub(super) struct Sealed<T> {
    io: TlsStream<T>,
    broken: Option<io::Error>,
}

impl<T> Sealed<T> {
    pub(super) fn new(io: TlsStream<T>) -> Self {
        Self { io, broken: None }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Sealed<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Sealed<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(e) = self.broken.take() {
            return Poll::Ready(Err(e));
        }
        match Pin::new(&mut self.io).poll_write_vectored(cx, bufs) {
            Poll::Ready(Err(e)) => {
                self.broken = Some(e);
                Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()))
            }
            written => written,
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::tls::{ClientTls, Connector, With, handshake, provider};

    /// The most of a record.
    const RECORD: usize = 16 << 10;

    /// A stream that takes so many writes more.
    struct Breaking {
        io: DuplexStream,
        left: usize,
    }

    impl AsyncRead for Breaking {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.io).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Breaking {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            if self.left == 0 {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            self.left -= 1;
            Pin::new(&mut self.io).poll_write(cx, buf)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_write_that_breaks_behind_a_record_is_taken() {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
        let server = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .unwrap();
        let any = Connector::new(ClientTls::default().danger_accept_any_certificate());
        let config = any.config(With::Own).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let (near, far) = duplex(1 << 20);
        let near = Breaking { io: near, left: usize::MAX };
        let (near, far) = tokio::join!(
            handshake(config, name, Vec::new(), near),
            TlsAcceptor::from(Arc::new(server)).accept(far)
        );
        let (mut near, mut far) = (Sealed::new(near.unwrap()), far.unwrap());
        near.io.get_mut().0.left = 1;
        // The first record arrives, with all that is in it.
        let written = near.write(&[7; 2 * RECORD]).await;
        let mut arrived = [0; RECORD];
        far.read_exact(&mut arrived).await.unwrap();
        assert_eq!(arrived, [7; RECORD]);
        assert_eq!(written.unwrap(), 2 * RECORD);
        let e = near.write(b"more").await.unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::ConnectionReset);
    }
}
