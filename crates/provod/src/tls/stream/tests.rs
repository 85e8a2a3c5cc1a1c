use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio_rustls::TlsConnector;

use super::Secure;
use crate::tls::provider;
use crate::transport::{Transport as _, write_all};

/// Both sides of what follows, which trust each other.
fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a name");
    let key = PrivateKeyDer::Pkcs8(issued.signing_key.serialize_der().into());
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .expect("they belong together");
    let mut roots = RootCertStore::empty();
    roots.add(issued.cert.der().clone()).expect("it is valid");
    let client = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

async fn accept(io: DuplexStream, config: Arc<ServerConfig>) -> io::Result<Secure<DuplexStream>> {
    let mut secure = Secure::new(io, BytesMut::new(), config).map_err(|(e, _)| e)?;
    poll_fn(|cx| secure.poll_handshake(cx)).await?;
    Ok(secure)
}

async fn read(secure: &mut Secure<DuplexStream>, most: usize) -> io::Result<BytesMut> {
    let mut out = BytesMut::with_capacity(most);
    let n = poll_fn(|cx| secure.poll_read(cx, &mut out, most)).await?;
    assert!(n == out.len() && n <= most);
    Ok(out)
}

/// A client whose bytes go through `change` on their way to the server.
async fn client<F>(config: Arc<ClientConfig>, server: DuplexStream, mut change: F)
where
    F: FnMut(&mut Vec<u8>) + Send + 'static,
{
    let (near, far) = tokio::io::duplex(1 << 16);
    let (mut from_client, mut to_client) = tokio::io::split(far);
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let there = async {
        let mut chunk = Vec::with_capacity(1 << 14);
        while from_client.read_buf(&mut chunk).await? > 0 {
            change(&mut chunk);
            to_server.write_all(&chunk).await?;
            chunk.clear();
        }
        to_server.shutdown().await
    };
    // It ends with the server.
    let back = tokio::io::copy(&mut from_server, &mut to_client);
    let there = async {
        let _ = there.await;
        std::future::pending::<()>().await;
    };
    let talk = async {
        let name = "localhost".try_into().expect("a name");
        let mut stream = TlsConnector::from(config).connect(name, near).await?;
        stream.write_all(b"hello").await?;
        stream.shutdown().await?;
        stream.read_to_end(&mut Vec::new()).await
    };
    tokio::select! {
        () = there => {}
        _ = back => {}
        _ = talk => {}
    }
}

#[tokio::test]
async fn whichever_byte_is_wrong_the_handshake_fails_and_nothing_else_does() {
    let (config, trusting) = configs();
    let mut failed = 0;
    // A step that meets every kind of field in some hundred handshakes.
    for wrong in (0..900).step_by(11) {
        let (near, far) = tokio::io::duplex(1 << 16);
        let mut at = 0;
        let flip = move |chunk: &mut Vec<u8>| {
            if (at..at + chunk.len()).contains(&wrong) {
                chunk[wrong - at] ^= 0x41;
            }
            at += chunk.len();
        };
        let server = async {
            let mut secure = accept(near, config.clone()).await?;
            while !read(&mut secure, 1 << 16).await?.is_empty() {}
            poll_fn(|cx| secure.poll_half_close(cx)).await
        };
        let (result, ()) = tokio::join!(server, client(trusting.clone(), far, flip));
        failed += u32::from(result.is_err());
    }
    // All but those behind the end, and those in what the hello says at random or may say wrongly.
    assert!(failed > 20, "{failed}");
}

#[tokio::test]
async fn a_handshake_may_come_in_records_of_one_byte() {
    let (config, trusting) = configs();
    let (near, far) = tokio::io::duplex(1 << 16);
    let mut first = true;
    let shred = move |chunk: &mut Vec<u8>| {
        if std::mem::take(&mut first) {
            let [kind, major, minor, ..] = chunk[..] else { panic!("a record comes whole") };
            let payload = &chunk[5..];
            *chunk = payload.iter().flat_map(|b| [kind, major, minor, 0, 1, *b]).collect();
        }
    };
    let server = async {
        let mut secure = accept(near, config).await?;
        let got = read(&mut secure, 100).await?;
        assert_eq!(read(&mut secure, 100).await?, "", "close_notify is the end");
        poll_fn(|cx| secure.poll_half_close(cx)).await?;
        Ok::<_, io::Error>(got)
    };
    let (got, ()) = tokio::join!(server, client(trusting, far, shred));
    assert_eq!(got.expect("it is what it was"), "hello");
}

#[tokio::test]
async fn a_message_that_is_never_whole_is_not_kept_for_ever() {
    let (config, _) = configs();
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let flood = async {
        // A hello of 65,535 bytes, a byte in each record.
        let hello = [1, 0, 0xFF, 0xFF];
        for byte in hello.into_iter().chain(std::iter::repeat(7)) {
            if far.write_all(&[22, 3, 1, 0, 1, byte]).await.is_err() {
                break;
            }
        }
    };
    let server = async { accept(near, config).await.map(drop) };
    let (result, ()) = tokio::join!(server, flood);
    assert_eq!(result.expect_err("it is too long").kind(), io::ErrorKind::InvalidData);
}

/// A server's end, and a client that has agreed with it.
async fn pair() -> (Secure<DuplexStream>, impl AsyncRead + AsyncWrite + Unpin) {
    let (config, trusting) = configs();
    let (near, far) = tokio::io::duplex(1 << 12);
    let name = "localhost".try_into().expect("a name");
    let connect = TlsConnector::from(trusting).connect(name, far);
    let (secure, client) = tokio::join!(accept(near, config), connect);
    (secure.expect("it is agreed"), client.expect("it is agreed"))
}

#[tokio::test]
async fn reads_may_be_small_and_what_is_left_is_given_back() {
    let (mut secure, mut client) = pair().await;
    let sent: Vec<u8> = (0..300_000u32).map(|n| n.to_le_bytes()[0]).collect();
    let write = async {
        client.write_all(&sent).await.expect("it is open");
        client.shutdown().await.expect("it is open");
    };
    let server = async {
        let mut got = Vec::new();
        for most in [1, 10, 5_000, 70_000].into_iter().cycle() {
            let part = read(&mut secure, most).await.expect("it is open");
            if part.is_empty() {
                break;
            }
            got.extend_from_slice(&part);
        }
        got
    };
    let (got, ()) = tokio::join!(server, write);
    assert!(got == sent);
    let idle = (secure.kept.capacity(), secure.surplus.len(), secure.unsent.capacity());
    assert_eq!(idle, (0, 0, 0));
}

#[tokio::test]
async fn writes_of_all_sizes_arrive_and_nothing_is_kept() {
    let (mut secure, mut client) = pair().await;
    let slices = [3, 0, 20_000, 100, 16 << 10, 50, 200_000, 1].map(|n| vec![n as u8; n]);
    let sent = slices.concat();
    let write = async {
        let mut slices: Vec<_> = slices.iter().map(|s| io::IoSlice::new(s)).collect();
        let mut rest = &mut slices[..];
        while !rest.is_empty() {
            let n = poll_fn(|cx| secure.poll_write(cx, rest)).await.expect("it is open");
            assert!(n > 0);
            io::IoSlice::advance_slices(&mut rest, n);
        }
        poll_fn(|cx| secure.poll_flush(cx)).await.expect("it is open");
        assert_eq!(secure.unsent.capacity(), 0);
        write_all(&mut secure, b"the end").await.expect("it is open");
        poll_fn(|cx| secure.poll_half_close(cx)).await.expect("it is open");
        let after = poll_fn(|cx| secure.poll_write(cx, &[io::IoSlice::new(b"x")])).await;
        after.expect_err("its end was said");
    };
    let mut got = Vec::new();
    let read = async { client.read_to_end(&mut got).await.expect("TLS ends as it must") };
    tokio::join!(write, read);
    assert!(got == [&sent[..], b"the end"].concat());
}
