use std::io::{self, IoSlice};
use std::pin::Pin;

use provod_proto::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::*;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_epoch(Duration::from_millis(millis))
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// One read; `None` when there is nothing now.
fn read(link: &mut Link, now: Timestamp) -> Option<io::Result<Vec<u8>>> {
    let mut buf = [0; 4096];
    match link.read(&mut buf, now) {
        Err(e) if e.kind() == ErrorKind::WouldBlock => None,
        result => Some(result.map(|n| buf[..n].to_vec())),
    }
}

fn bytes(link: &mut Link, now: Timestamp) -> Vec<u8> {
    read(link, now).expect("something has arrived").expect("bytes")
}

fn error(link: &mut Link, now: Timestamp) -> ErrorKind {
    read(link, now).expect("something has arrived").expect_err("an error").kind()
}

/// Writes and reads until all has arrived; gives what each call moved and when.
fn carry(faults: Faults, len: usize) -> (Vec<usize>, Vec<(usize, Timestamp)>) {
    let data: Vec<u8> = (0..len).map(|i| i as u8).collect();
    let mut link = Link::new(faults);
    let (mut written, mut writes, mut reads) = (0, Vec::new(), Vec::new());
    let (mut now, mut got) = (at(0), Vec::new());
    while got.len() < len {
        if written < len
            && let Ok(n) = link.write(&data[written..], now)
        {
            written += n;
            writes.push(n);
        }
        assert!(link.buffered() <= 64 << 10);
        match read(&mut link, now) {
            Some(some) => {
                let some = some.expect("nothing breaks");
                reads.push((some.len(), now));
                got.extend(some);
            }
            None => now = link.poll_timeout().expect("something is on its way").max(now),
        }
    }
    assert_eq!(got, data);
    (writes, reads)
}

#[test]
fn the_same_seed_does_the_same_and_another_something_else() {
    let run = |seed| {
        carry(Faults::new(seed).split(1..=9).short_writes(1..=30).delay(millis(0)..=millis(9)), 500)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    assert!(format!("{:?}", Link::new(Faults::new(4711))).contains("seed: 4711"));
}

#[test]
fn a_rough_link_loses_nothing_whatever_the_seed() {
    let mut ways = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let faults = Faults::rough(seed);
        ways.insert((faults.delay != (0..=0), faults.coalesce.is_zero()));
        carry(faults, 2000);
    }
    assert_eq!(ways.len(), 4, "delay and coalescing, each with and without");
}

#[test]
fn pieces_have_the_sizes_asked_for() {
    let (_, reads) = carry(Faults::new(1).split(2..=5), 400);
    let (last, others) = reads.split_last().unwrap();
    assert!(others.iter().all(|(n, _)| (2..=5).contains(n)), "{others:?}");
    assert!((2..=5).all(|size| others.iter().any(|(n, _)| *n == size)), "{others:?}");
    assert!(last.0 <= 5);
    // A size of 0 would be the end of the stream.
    assert_eq!(carry(Faults::new(1).split(0..=0), 3).1.len(), 3);
}

#[test]
fn bytes_are_late_by_a_time_of_the_range_and_in_order() {
    let (_, reads) = carry(Faults::new(1).split(1..=1).delay(millis(10)..=millis(30)), 200);
    let times: Vec<_> = reads.iter().map(|r| r.1).collect();
    assert!(times.is_sorted());
    assert!(times.iter().all(|t| (at(10)..=at(30)).contains(t)), "{times:?}");
    assert!(times[0] < times[199]);
}

#[test]
fn what_is_written_between_two_beats_arrives_together() {
    let mut link = Link::new(Faults::new(1).coalesce(millis(40)));
    for (t, word) in [(5, "one "), (20, "two "), (40, "three "), (41, "four")] {
        link.write(word.as_bytes(), at(t)).unwrap();
    }
    assert!(read(&mut link, at(39)).is_none());
    assert_eq!(link.poll_timeout(), Some(at(40)));
    assert_eq!(bytes(&mut link, at(40)), b"one two three ");
    assert!(read(&mut link, at(79)).is_none());
    assert_eq!(bytes(&mut link, at(80)), b"four");
}

#[test]
fn a_full_link_takes_a_part_and_then_nothing() {
    let mut link = Link::new(Faults::new(1).capacity(5));
    assert_eq!(link.write(b"hello, world", at(0)).unwrap(), 5);
    assert_eq!(link.write(b", world", at(0)).unwrap_err().kind(), ErrorKind::WouldBlock);
    let mut two = [0; 2];
    assert_eq!(link.read(&mut two, at(0)).unwrap(), 2);
    assert_eq!(link.write(b", world", at(0)).unwrap(), 2);
    assert_eq!(bytes(&mut link, at(0)), b"llo, ");
}

#[test]
fn a_stall_holds_all_from_its_byte_on_until_it_is_released() {
    let mut link = Link::new(Faults::new(1).stall(3));
    link.write(b"hello", at(0)).unwrap();
    link.finish(at(0));
    assert_eq!(bytes(&mut link, at(0)), b"hel");
    assert!(read(&mut link, at(1_000_000)).is_none());
    assert_eq!(link.poll_timeout(), None, "no time will help");
    link.release();
    assert_eq!(bytes(&mut link, at(0)), b"lo");
    assert_eq!(bytes(&mut link, at(0)), b"");
}

#[test]
fn a_cut_lets_what_comes_before_it_through() {
    let mut link = Link::new(Faults::new(1).cut_with(3, ErrorKind::TimedOut));
    assert_eq!(link.write(b"hello", at(0)).unwrap(), 3);
    assert_eq!(link.write(b"lo", at(0)).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(bytes(&mut link, at(0)), b"hel");
    assert_eq!(error(&mut link, at(0)), ErrorKind::TimedOut);
    // The reader may feel it first.
    let mut link = Link::new(Faults::new(1).cut(0));
    assert_eq!(error(&mut link, at(0)), ErrorKind::ConnectionReset);
    assert_eq!(link.write(b"x", at(0)).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_break_loses_what_is_on_its_way_and_behind_a_stall() {
    let mut link = Link::new(Faults::new(1).delay(millis(10)..=millis(10)));
    link.write(b"early", at(0)).unwrap();
    link.write(b"late", at(5)).unwrap();
    link.cut(ErrorKind::BrokenPipe, at(10));
    assert_eq!(bytes(&mut link, at(20)), b"early");
    assert_eq!(error(&mut link, at(20)), ErrorKind::BrokenPipe);

    let mut link = Link::new(Faults::new(1).stall(3));
    link.write(b"hello", at(0)).unwrap();
    link.cut(ErrorKind::BrokenPipe, at(0));
    assert_eq!(bytes(&mut link, at(0)), b"hel");
    assert_eq!(error(&mut link, at(0)), ErrorKind::BrokenPipe);
}

#[test]
fn a_half_close_ends_the_stream_and_swallows_the_rest() {
    let mut link = Link::new(Faults::new(1).half_close(3));
    assert_eq!(link.write(b"hello", at(0)).unwrap(), 3);
    assert_eq!(link.write(b"lo", at(0)).unwrap(), 2);
    assert_eq!(bytes(&mut link, at(0)), b"hel");
    assert_eq!(bytes(&mut link, at(0)), b"");
    assert_eq!(link.buffered(), 0);
}

fn soon<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    let soon = tokio::time::timeout(Duration::from_secs(1 << 20), future);
    async { soon.await.expect("it ends") }
}

#[tokio::test(start_paused = true)]
async fn streams_carry_all_both_ways_whatever_the_network() {
    for seed in 0..20 {
        let (a, b) = duplex(Faults::rough(seed), Faults::rough(seed + 1000));
        a.control().pend(3);
        b.control().pend(2);
        let data: Vec<u8> = (0..4000u32).map(|i| ((i * i) >> 5) as u8).collect();
        let talk = |stream: Stream, data: Vec<u8>| async move {
            let (mut reads, mut writes) = tokio::io::split(stream);
            let mut got = Vec::new();
            let write = async {
                writes.write_all(&data).await.unwrap();
                writes.shutdown().await.unwrap();
            };
            let (read, ()) = tokio::join!(reads.read_to_end(&mut got), write);
            read.unwrap();
            assert_eq!(got, data, "seed {seed}");
        };
        let spawned = tokio::spawn(talk(a, data.clone()));
        soon(talk(b, data)).await;
        soon(spawned).await.unwrap();
    }
}

#[test]
fn a_stream_goes_wherever_a_socket_goes() {
    fn socket<T: tokio::io::AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static>() {}
    fn handle<T: Clone + Send + Sync + 'static>() {}
    socket::<Stream>();
    handle::<Control>();
}

#[tokio::test]
async fn a_vectored_write_is_one_operation() {
    let (mut a, mut b) = duplex(Faults::none().capacity(8), Faults::none());
    let slices =
        [IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"two "), IoSlice::new(b"x")];
    assert!(a.is_write_vectored());
    let n = std::future::poll_fn(|cx| Pin::new(&mut a).poll_write_vectored(cx, &slices)).await;
    assert_eq!(n.unwrap(), 8);
    assert_eq!(a.control().operations(), 1);
    let mut got = [0; 8];
    b.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"one two ");
}

#[tokio::test]
async fn a_writer_that_waits_for_room_is_woken_by_the_reader() {
    let (mut a, mut b) = duplex(Faults::none().capacity(3), Faults::none());
    let write = tokio::spawn(async move { a.write_all(b"hello, world").await });
    let mut got = [0; 12];
    soon(b.read_exact(&mut got)).await.unwrap();
    soon(write).await.unwrap().unwrap();
    assert_eq!(&got, b"hello, world");
}

#[tokio::test]
async fn a_cut_in_one_direction_breaks_both_and_wakes_whoever_waits() {
    let (mut a, mut b) = duplex(Faults::none().cut(2), Faults::none());
    let waits = tokio::spawn(async move {
        let mut buf = [0; 8];
        let first = b.read(&mut buf).await.unwrap();
        (first, b.read(&mut buf).await.unwrap_err().kind(), b.write(b"x").await.unwrap_err().kind())
    });
    assert_eq!(a.write(b"hello").await.unwrap(), 2);
    assert_eq!(a.write(b"llo").await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let reset = ErrorKind::ConnectionReset;
    assert_eq!(soon(waits).await.unwrap(), (2, reset, reset));
    assert_eq!(a.read(&mut [0]).await.unwrap_err().kind(), reset);
}

#[tokio::test(start_paused = true)]
async fn a_control_stalls_releases_half_closes_and_cuts() {
    let (mut a, mut b) = duplex(Faults::none(), Faults::none());
    let control = a.control();
    control.stall();
    a.write_all(b"one").await.unwrap();
    let mut buf = [0; 8];
    let waited = tokio::time::timeout(Duration::from_secs(3600), b.read(&mut buf)).await;
    assert!(waited.is_err());
    let reads = tokio::spawn(async move {
        let n = b.read(&mut buf).await.unwrap();
        (b, n)
    });
    tokio::task::yield_now().await;
    control.release();
    let (mut b, n) = soon(reads).await.unwrap();
    assert_eq!(n, 3);
    control.half_close();
    assert_eq!(soon(b.read(&mut buf)).await.unwrap(), 0);
    assert_eq!(a.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    control.cut(ErrorKind::TimedOut);
    assert_eq!(b.write(b"x").await.unwrap_err().kind(), ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_dropped_stream_ends_and_takes_nothing() {
    let (mut a, mut b) = duplex(Faults::none(), Faults::none());
    b.write_all(b"unread").await.unwrap();
    a.write_all(b"last words").await.unwrap();
    drop(a);
    let mut got = Vec::new();
    soon(b.read_to_end(&mut got)).await.unwrap();
    assert_eq!(got, b"last words");
    assert_eq!(b.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn the_operation_that_fails_is_the_one_asked_for_and_stays_failed() {
    let (mut a, mut b) = duplex(Faults::none(), Faults::none());
    let control = a.control();
    control.fail_operation(2, ErrorKind::TimedOut);
    a.write_all(b"1").await.unwrap();
    assert_eq!(a.write(b"2").await.unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(a.write(b"3").await.unwrap_err().kind(), ErrorKind::TimedOut);
    b.write_all(b"yes").await.unwrap();
    assert_eq!(a.read(&mut [0; 8]).await.unwrap(), 3, "the other kinds go on");
    assert_eq!(control.operations(), 3);
}

#[tokio::test]
async fn a_writer_that_waits_for_room_learns_of_its_half_close() {
    let (mut a, _b) = duplex(Faults::none().capacity(1), Faults::none());
    let control = a.control();
    let write = tokio::spawn(async move { a.write_all(b"hello").await });
    while control.operations() < 2 {
        tokio::task::yield_now().await;
    }
    control.half_close();
    let error = soon(write).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}
