//! Test kit for WebSocket programs, whatever they are written with.
//!
//! | to test | use |
//! |---|---|
//! | a client | [`peer::Listener`]: the test plays the server, step by step |
//! | a server | [`peer::Peer`]: the test plays the client, over a socket or any other stream |
//! | either one on a bad network | [`emulator::duplex`]: two streams with faults |
//! | what happens when an I/O call fails | [`emulator::Control`]: the n-th call fails |
//! | the protocol itself, or hours of it | [`pair::Pair`]: both ends and the network in one value |
//!
//! # A client
//!
//! A chat bot is started with the URL of a listener. The script says what the server does, also
//! what no good server would do, and what it must see:
//!
//! ```
//! use provod_testkit::peer::{Listener, close, text};
//! # use provod_testkit::peer::Peer;
//! # async fn my_bot(url: String) {
//! #     let address = url.strip_prefix("ws://").and_then(|s| s.parse().ok()).expect("a URL");
//! #     let mut ws = Peer::open(address).await;
//! #     ws.expect_text("hello, bot").await;
//! #     ws.send(text("hello, all")).await;
//! #     assert!(ws.frame().await.is_some_and(|f| f.opcode == 11));
//! #     ws.send(close(1002)).await;
//! # }
//!
//! #[tokio::test]
//! # async fn outer() {}
//! async fn the_bot_greets_and_does_not_put_up_with_nonsense() {
//!     let server = Listener::bind().await;
//!     let bot = tokio::spawn(my_bot(server.url()));
//!
//!     let mut peer = server.open().await;
//!     peer.send(text("hello, bot")).await;
//!     peer.expect_text("hello, all").await;
//!     peer.send(provod_testkit::peer::raw(11, "")).await; // an opcode that is not defined
//!     peer.expect_close(1002).await;
//!     drop(peer);
//!
//!     bot.await.expect("the bot ends");
//! }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?
//! #     .block_on(the_bot_greets_and_does_not_put_up_with_nonsense());
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # A server
//!
//! Tests of servers begin with [`Peer::open`](peer::Peer::open) at the server's address, or, where
//! its crate takes any stream, with [`Peer::client`](peer::Peer::client) over an
//! [`emulator::duplex`]. The example `scripted_client` tests a server made with `provod`:
//! a good conversation, a violation, and a client that is cut off.
//!
//! # A bad network
//!
//! What passes a test over [`Faults::none`](emulator::Faults::none) must pass it over
//! [`Faults::rough`](emulator::Faults::rough), for every seed: bytes arrive in other pieces, later,
//! and through a small buffer, but all of them, in order. [`split`](emulator::Faults::split) at one
//! byte finds what a parser believes about reads; [`cut`](emulator::Faults::cut),
//! [`stall`](emulator::Faults::stall) and [`half_close`](emulator::Faults::half_close) at every
//! offset find the state that does not survive it:
//!
//! ```
//! use provod_testkit::emulator::{self, Faults};
//! use provod_testkit::peer::{Peer, text};
//! # async fn my_server(stream: emulator::Stream) {
//! #     let mut ws = Peer::server(stream).patience(std::time::Duration::from_secs(1));
//! #     if ws.byte().await.is_none() { return }
//! # }
//!
//! # let mut runtime = tokio::runtime::Builder::new_current_thread();
//! # runtime.enable_all().start_paused(true).build()?.block_on(async {
//! for offset in 0..200 {
//!     let (ours, theirs) = emulator::duplex(Faults::none().half_close(offset), Faults::none());
//!     let server = tokio::spawn(my_server(theirs));
//!     let mut peer = Peer::client(ours);
//!     peer.send(provod_testkit::peer::request("/", &[])).await;
//!     peer.send(text("hello")).await;
//!     peer.gone().await; // the server hangs up, wherever it lost us
//!     server.await?;
//! }
//! # Ok::<(), tokio::task::JoinError>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Everything random follows from a seed that `{:?}` shows, so a failure can be repeated.
//!
//! [`fuzz`] holds the bodies of this project's own fuzz targets.

pub mod emulator;
pub mod fuzz;
pub mod pair;
pub mod peer;
mod random;

pub use provod_proto as proto;
