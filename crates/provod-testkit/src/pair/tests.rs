use std::time::Duration;

use provod_proto::deflate::Pool;
use provod_proto::handshake::DeflateParams;
use provod_proto::raw::RawFrame;
use provod_proto::{Cause, CloseCode, Error, Event, Message, ProtocolError};

use super::*;

fn quiet() -> Config {
    let mut config = Config::default();
    config.keepalive = None;
    config
}

#[test]
fn messages_arrive_whole_and_in_order_over_any_network() {
    for seed in 1..30 {
        let deflate = DeflateSetup {
            params: DeflateParams {
                server_no_context_takeover: false,
                client_no_context_takeover: seed % 2 == 0,
                server_max_window_bits: 15,
                client_max_window_bits: 9,
            },
            compress: true,
            pool: Pool::default(),
        };
        // The worst networks need minutes for what is said here.
        let mut config = quiet();
        config.close_timeout = Duration::from_secs(1800);
        let mut builder = Pair::builder().config(config).seed(seed);
        if seed % 3 == 0 {
            builder = builder.compression(deflate);
        }
        let mut pair = builder.build();
        let messages: Vec<Message> = (0..8u8)
            .map(|i| match i % 2 {
                0 => Message::text("wire ".repeat(usize::from(i) * 100)),
                _ => Message::binary(vec![i; usize::from(i) * 200]),
            })
            .collect();
        for message in &messages {
            pair.client.send(message.clone()).unwrap();
            pair.server.send(message.clone()).unwrap();
        }
        pair.client.close(CloseCode::NORMAL, "bye").unwrap();
        pair.run_until_closed();
        assert!(pair.server.take_messages() == messages, "seed {seed}");
        assert!(pair.client.take_messages() == messages, "seed {seed}");
        for end in [&pair.client, &pair.server] {
            assert!(end.closed().unwrap().is_clean(), "seed {seed}: {:?}", end.closed());
        }
    }
}

#[test]
fn time_passes_only_when_it_is_told_to_and_stops_at_every_timer() {
    let mut pair = Pair::builder()
        .to_server(Faults::new(1).delay(Duration::from_secs(1)..=Duration::from_secs(1)))
        .build();
    pair.run_until_idle();
    assert_eq!(pair.now(), Timestamp::default());
    pair.advance(Duration::from_secs(60));
    assert_eq!(pair.now().since_epoch(), Duration::from_secs(60));
    // Pings of both ends at 25 and 50 seconds, each answered a second later.
    for end in [&mut pair.client, &mut pair.server] {
        let events = end.take_events();
        let pings = events.iter().filter(|e| matches!(e, Event::Ping(_))).count();
        let pongs = events.iter().filter(
            |e| matches!(e, Event::Pong { rtt: Some(rtt), .. } if *rtt == Duration::from_secs(1)),
        );
        assert_eq!((pings, pongs.count()), (2, 2));
    }
}

#[test]
fn a_paused_end_makes_its_peer_wait() {
    let mut pair = Pair::builder().config(quiet()).to_server(Faults::none().capacity(100)).build();
    pair.server.pause();
    pair.client.send(vec![7; 5000]).unwrap();
    pair.run_until_idle();
    assert!(pair.client.connection().buffered() > 4800);
    assert_eq!(pair.to_server.buffered(), 100);
    pair.server.resume();
    pair.run_until_idle();
    assert_eq!(pair.server.take_messages(), [Message::binary(vec![7; 5000])]);
}

#[test]
fn bytes_of_ones_own_can_be_put_on_the_wire() {
    let mut pair = Pair::builder().config(quiet()).build();
    pair.to_client.write(&RawFrame::new(3, "").to_bytes(), pair.now()).unwrap();
    pair.run_until_closed();
    let closed = pair.client.closed().unwrap();
    assert_eq!(closed.cause, Cause::Failed(Error::Protocol(ProtocolError::ReservedOpcode)));
    assert_eq!(pair.server.closed().unwrap().code(), CloseCode::PROTOCOL_ERROR);
}

#[test]
fn a_cut_wire_ends_both_and_says_what_was_lost() {
    let mut pair = Pair::builder().config(quiet()).to_server(Faults::none().cut(1000)).build();
    pair.client.send(vec![1; 400]).unwrap();
    pair.client.send(vec![2; 4000]).unwrap();
    pair.run_until_closed();
    assert_eq!(pair.server.take_messages(), [Message::binary(vec![1; 400])]);
    let closed = pair.client.closed().unwrap();
    assert_eq!((&closed.cause, closed.unsent), (&Cause::Lost, 408 + 4008 - 1000));
    assert_eq!(pair.server.closed().unwrap().cause, Cause::Lost);
}

#[test]
#[should_panic(expected = "the connection does not end")]
fn a_connection_that_nobody_closes_does_not_end() {
    Pair::new().run_until_closed();
}
