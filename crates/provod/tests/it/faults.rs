//! Whole conversations over streams that misbehave: every call that can fail fails once, the stream is
//! cut, ended or stalled at every byte, and a rough network loses nothing. Time is virtual.

use std::io::ErrorKind;
use std::time::Duration;

use provod::{Client, Closed, Compress, DeflateConfig, Error, Message, MessageKind, Server};
use provod_testkit::emulator::{Control, Faults, Stream, duplex};
use tokio::io::AsyncWriteExt as _;

/// What is said: so short that it can be cut at every byte, or so long that it needs many writes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Length {
    Short,
    Long,
}

fn messages(length: Length) -> Vec<Message> {
    let mut random = 1u64;
    // It does not shrink (xorshift).
    let noise = std::iter::repeat_with(|| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as u8
    });
    let mut messages = vec![Message::text("Привет"), Message::binary(""), Message::text("x")];
    if length == Length::Long {
        messages.push(Message::binary(noise.take(70_000).collect::<Vec<u8>>()));
        messages.push(Message::text("again and again ".repeat(1000)));
        messages.push(Message::text("end"));
    }
    messages
}

/// What became of a conversation at the client's end.
#[derive(Debug)]
struct Report {
    /// What the server sent back.
    echoes: Vec<Message>,
    /// Whether the client got as far as asking to close.
    said_all: bool,
    closed: Option<Closed>,
}

async fn serve(stream: Stream) -> Result<Closed, Error> {
    let server = Server::new().compression(DeflateConfig::default());
    let mut ws = server.accept_over(stream).await?;
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(ws.closed().await)
}

async fn talk(stream: Stream, length: Length) -> Report {
    let mut report = Report { echoes: Vec::new(), said_all: false, closed: None };
    let client = Client::new("ws://localhost/").compression(DeflateConfig::default());
    let Ok(mut ws) = client.connect_over(stream).await else { return report };
    let _ = converse(&mut ws, length, &mut report).await;
    report.closed = Some(ws.close(1000, "bye").await.unwrap());
    report
}

async fn converse(
    ws: &mut provod::WebSocket,
    length: Length,
    report: &mut Report,
) -> Result<(), provod::BoxError> {
    let sender = ws.sender();
    let sending = async {
        for message in messages(length) {
            sender.send_with(message, Compress::Always).await?;
        }
        let mut writer = sender.send_writer(MessageKind::Text).await?;
        writer.write_all(b"in ").await?;
        writer.flush().await?;
        writer.write_all(b"pieces").await?;
        writer.finish().await?;
        sender.ping().await?;
        Ok::<_, provod::BoxError>(())
    };
    let expected = messages(length).len() + 1;
    let receiving = async {
        while report.echoes.len() < expected {
            match ws.recv().await? {
                Some(message) => report.echoes.push(message),
                None => break,
            }
        }
        Ok::<_, provod::BoxError>(())
    };
    let (sent, received) = tokio::join!(sending, receiving);
    sent?;
    received?;
    report.said_all = true;
    Ok(())
}

/// Runs both ends; whatever happens, both must come to an end, and nothing may be torn, doubled or
/// out of order.
async fn run(near: Stream, far: Stream, length: Length, what: &str) -> Report {
    let serving = tokio::spawn(serve(far));
    let talking = tokio::spawn(talk(near, length));
    // Virtual time: what only waits is over at once, what hangs is found.
    let hour = Duration::from_secs(3600);
    let report = tokio::time::timeout(hour, talking).await.unwrap_or_else(|_| panic!("{what}"));
    let report = report.unwrap_or_else(|e| panic!("the client, {what}: {e}"));
    let served = tokio::time::timeout(hour, serving).await.unwrap_or_else(|_| panic!("{what}"));
    let served = served.unwrap_or_else(|e| panic!("the server, {what}: {e}"));
    let mut expected = messages(length);
    expected.push(Message::text("in pieces"));
    assert!(expected.starts_with(&report.echoes), "{what}: {:?}", report.echoes.len());
    let clean = report.closed.as_ref().is_some_and(Closed::is_clean);
    if clean {
        assert!(report.said_all && report.echoes.len() == expected.len(), "{what}: {report:?}");
        assert!(served.as_ref().is_ok_and(|c| c.received.is_some()), "{what}: {served:?}");
    }
    report
}

fn assert_whole(report: &Report, what: &str) {
    let clean = report.closed.as_ref().is_some_and(Closed::is_clean);
    assert!(report.said_all && clean, "{what}: {report:?}");
}

#[tokio::test(start_paused = true)]
async fn every_io_operation_fails_once() {
    for (at_client, kind) in [(true, ErrorKind::ConnectionReset), (false, ErrorKind::BrokenPipe)] {
        for n in 1.. {
            let narrow = || Faults::none().capacity(4 << 10);
            let (near, far) = duplex(narrow(), narrow());
            let control: Control = if at_client { near.control() } else { far.control() };
            control.fail_operation(n, kind);
            let what = format!("operation {n} of the client: {at_client}, {kind}");
            let report = run(near, far, Length::Long, &what).await;
            if control.operations() < n {
                assert_whole(&report, &what);
                assert!(n > 20, "{n}");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_rough_network_loses_nothing() {
    for seed in 0..60 {
        let (near, far) = duplex(Faults::rough(seed), Faults::rough(seed + 1000));
        near.control().pend(2 + seed % 5);
        far.control().pend(2 + seed % 7);
        let what = format!("seed {seed}");
        assert_whole(&run(near, far, Length::Short, &what).await, &what);
    }
    for seed in 0..8 {
        let pieces = |seed| Faults::new(seed).split(1..=9000).short_writes(1..=9000);
        let (near, far) = duplex(pieces(seed), pieces(seed + 1000));
        let what = format!("long, seed {seed}");
        assert_whole(&run(near, far, Length::Long, &what).await, &what);
    }
}

/// Cuts, ends or stalls each direction at every byte, until a conversation gets by whole.
async fn at_every_byte(fault: impl Fn(u64) -> Faults) {
    for to_server in [true, false] {
        for at in 0.. {
            let what = format!("at byte {at} towards the server: {to_server}");
            let (near, far) = if to_server {
                duplex(fault(at), Faults::none())
            } else {
                duplex(Faults::none(), fault(at))
            };
            let report = run(near, far, Length::Short, &what).await;
            if report.closed.as_ref().is_some_and(Closed::is_clean) {
                assert_whole(&report, &what);
                assert!(at > 200, "{at}");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_at_any_byte_ends_both_ends() {
    at_every_byte(|at| Faults::none().cut(at)).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_at_any_byte_ends_both_ends() {
    at_every_byte(|at| Faults::none().half_close(at)).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_stalls_at_any_byte_ends_both_ends() {
    at_every_byte(|at| Faults::none().stall(at)).await;
}
