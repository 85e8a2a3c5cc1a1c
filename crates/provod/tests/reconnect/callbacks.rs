//! What the application does in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use provod::Client;
use provod::reconnect::{Delivery, Ended, Event, Verdict};
use provod_testkit::peer::{Listener, close, raw, soon, text};

use crate::servers::{quick, until, until_open};

#[tokio::test]
async fn url_and_token_are_made_anew_for_each_attempt() {
    let servers = [Listener::bind().await, Listener::bind().await];
    let urls: Arc<[String]> = servers.iter().map(Listener::url).collect();
    let tokens = AtomicU32::new(0);
    let mut ws = Client::new("ws://localhost/")
        .reconnecting()
        .backoff(quick())
        .each_attempt(move |attempt| {
            let token = tokens.fetch_add(1, Relaxed);
            let url = urls[token as usize % 2].clone();
            async move {
                let code = attempt.lost.and_then(|lost| lost.code()).map(u16::from);
                let header = format!("{token} {} {code:?}", attempt.number);
                Ok(Client::new(url).header("Token", header))
            }
        })
        .start()
        .unwrap();
    for (n, token) in ["0 1 None", "1 2 Some(1012)", "2 3 Some(1001)"].into_iter().enumerate() {
        let mut peer = servers[n % 2].accept().await;
        let request = peer.request().await;
        assert_eq!(request.header_str("Token"), Some(token));
        peer.accept(&request, &[]).await;
        until_open(&mut ws).await;
        peer.send(close(if n == 0 { 1012 } else { 1001 })).await;
    }
}

#[tokio::test]
async fn what_is_done_on_opening_goes_before_the_outbox() {
    let server = Listener::bind().await;
    let mut ws = Client::new(server.url())
        .reconnecting()
        .backoff(quick())
        .on_open(|mut ws| async move {
            ws.send("subscribe").await?;
            let answer = ws.recv().await?;
            assert_eq!(answer, Some("subscribed".into()));
            Ok(ws)
        })
        .start()
        .unwrap();
    let receipt = ws.send("waits").await.unwrap();
    // The first connection is lost before the subscription is answered.
    let mut peer = server.open().await;
    peer.expect_text("subscribe").await;
    drop(peer);
    let mut peer = server.open().await;
    peer.expect_text("subscribe").await;
    peer.send(text("subscribed")).await;
    peer.expect_text("waits").await;
    let ping = peer.frame().await.unwrap();
    peer.send(raw(10, ping.payload)).await;
    assert_eq!(soon(receipt).await, Delivery::Sent);
    peer.send(text("news")).await;
    assert_eq!(soon(ws.recv()).await, Some("news".into()));
}

#[tokio::test]
async fn an_error_of_a_callback_gives_up_unless_the_policy_says_otherwise() {
    for forgiving in [false, true] {
        let server = Listener::bind().await;
        let made = AtomicU32::new(0);
        let (url, again) = (server.url(), server.url());
        let mut ws = Client::new(again)
            .reconnecting()
            .backoff(quick())
            .policy(move |lost| match lost.as_own() {
                Some(_) if forgiving => Verdict::Again,
                _ => lost.verdict(),
            })
            .each_attempt(move |_| {
                let (first, url) = (made.fetch_add(1, Relaxed) == 0, url.clone());
                async move { if first { Err("no token".into()) } else { Ok(Client::new(url)) } }
            })
            .start()
            .unwrap();
        if forgiving {
            let _peer = server.open().await;
            until_open(&mut ws).await;
        } else {
            let ended = until(&mut ws, |event| match event {
                Event::Closed(ended) => Some(ended.clone()),
                _ => None,
            });
            assert_eq!(ended.await.to_string(), "given up: no token");
        }
    }
}

#[tokio::test]
async fn an_error_of_a_connection_in_a_callback_is_what_it_is_elsewhere() {
    let server = Listener::bind().await;
    let mut ws = Client::new(server.url())
        .reconnecting()
        .backoff(quick())
        .on_open(|mut ws| async move {
            match ws.recv().await? {
                Some(_) => Ok(ws),
                None => Err("closed".into()),
            }
        })
        .start()
        .unwrap();
    drop(server.open().await); // recv() is an error: lost
    server.open().await.send(text("welcome")).await;
    until_open(&mut ws).await;
    server.open().await.send(close(1000)).await; // an error of its own
    let ended = until(&mut ws, |event| match event {
        Event::Closed(ended) => Some(ended.clone()),
        _ => None,
    });
    assert_eq!(ended.await.to_string(), "given up: closed");
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_does_not_come_back_is_left() {
    let calls = Arc::new(AtomicU32::new(0));
    let count = calls.clone();
    let mut backoff = quick();
    backoff.attempts = Some(2);
    let mut ws = Client::new("ws://localhost/")
        .reconnecting()
        .backoff(backoff)
        .callback_timeout(Duration::from_secs(7))
        .each_attempt(move |_| {
            count.fetch_add(1, Relaxed);
            std::future::pending()
        })
        .start()
        .unwrap();
    while ws.next_event().await.is_some() {}
    let ended = ws.ended().unwrap();
    assert!(ended.to_string().contains("took longer than 7s"), "{ended}");
    assert_eq!(calls.load(Relaxed), 2);
}

#[tokio::test]
async fn a_panic_in_a_callback_is_told_to_all_who_wait() {
    let server = Listener::bind().await;
    let mut ws = Client::new(server.url())
        .reconnecting()
        .on_open(|_| async { panic!("a bug of the application") })
        .start()
        .unwrap();
    let receipt = ws.send("nobody hears it").await.unwrap();
    let _peer = server.open().await;
    while soon(ws.next_event()).await.is_some() {}
    assert!(matches!(ws.ended(), Some(Ended::Stopped)));
    assert_eq!(soon(receipt).await, Delivery::NotSent("nobody hears it".into()));
}
