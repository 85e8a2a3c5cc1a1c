//! Peers that do not do their part, met by both roles.

use provod_proto::raw::RawFrame;
use provod_proto::{Cause, Side};

use super::gate::Gate;
use super::script::{KEY, open};
use crate::config::Config;

/// A frame as the peer of `side` sends it.
fn frame(side: Side, frame: RawFrame) -> Vec<u8> {
    match side {
        Side::Server => frame.masked(KEY).to_bytes(),
        Side::Client => frame.to_bytes(),
    }
}

#[tokio::test(start_paused = true)]
async fn rfc6455_5_5_3_a_peer_that_pings_and_never_reads_is_held_off_and_given_up() {
    for side in [Side::Server, Side::Client] {
        let gate = Gate::default();
        let mut ws = open(side, Config::default(), None, gate.clone());
        for n in 0..5000u32 {
            let payload = [&n.to_be_bytes()[..], &[0; 121]].concat();
            gate.give(&frame(side, RawFrame::new(9, payload))).await;
        }
        // 64 Pongs that wait, what was encoded before the transport was found full, and no more.
        assert!(ws.buffered_amount() < 64 * 140 + (80 << 10), "{}", ws.buffered_amount());
        // Its Pings are signs of life; when they stop, it is lost.
        let error = ws.recv().await.unwrap_err();
        assert!(error.is_timeout() && error.is_lost(), "{error}");
        assert_eq!(ws.closed().await.cause, Cause::Silent);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_stops_in_the_middle_of_a_frame_is_given_up() {
    for side in [Side::Server, Side::Client] {
        let whole = frame(side, RawFrame::new(1, vec![b'x'; 300]));
        for stop in [1, 2, 5, 9, whole.len() - 1] {
            let gate = Gate::default();
            gate.make_room(usize::MAX);
            let mut ws = open(side, Config::default(), None, gate.clone());
            gate.give(&whole[..stop]).await;
            let error = ws.recv().await.unwrap_err();
            assert!(error.is_timeout(), "after {stop} bytes: {error}");
            let closed = ws.closed().await;
            assert!(!closed.is_clean() && closed.received.is_none());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_to_a_close_does_not_hold_it_up() {
    for side in [Side::Server, Side::Client] {
        for reads in [true, false] {
            let gate = Gate::default();
            gate.make_room(if reads { usize::MAX } else { 0 });
            let mut ws = open(side, Config::default(), None, gate.clone());
            ws.send("last words").await.unwrap();
            let begun = tokio::time::Instant::now();
            let closed = ws.close(1000, "").await.unwrap();
            assert_eq!(begun.elapsed().as_secs(), 5, "virtual seconds");
            assert_eq!((closed.cause, closed.received), (Cause::Local, None));
            assert_eq!((closed.sent.is_some(), closed.unsent == 0), (reads, reads));
        }
    }
}
