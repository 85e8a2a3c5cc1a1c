//! Clients that connect again, against servers that come and go.
#![allow(clippy::unwrap_used)]

mod callbacks;
mod clock;
mod cuts;
mod endings;
mod outbox;
mod restarts;
mod servers;

#[path = "../../examples/reconnecting_ticker.rs"]
#[allow(dead_code, unreachable_pub)]
mod reconnecting_ticker;

#[tokio::test]
async fn the_example_misses_no_tick() {
    let run = provod_testkit::peer::soon(reconnecting_ticker::run(40)).await;
    let (restarts, sent) = run.unwrap();
    assert_eq!(restarts, 4);
    assert!((1..=4).contains(&sent), "{sent}");
}
