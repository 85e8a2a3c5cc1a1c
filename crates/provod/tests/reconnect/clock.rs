//! When attempts are made, by a virtual clock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use provod::reconnect::{Backoff, Event};
use provod::{Client, Server};
use provod_testkit::emulator::{Control, Faults, duplex};
use tokio::time::{Instant, sleep};

/// When attempts began, and a handle on the last connection.
type Attempts = Arc<Mutex<(Vec<Instant>, Option<Control>)>>;

/// A client of a server that is there or not, as `there` says of each attempt.
fn start(
    backoff: Backoff,
    there: impl Fn(usize) -> bool + Send + Sync + 'static,
) -> (provod::Reconnecting, Attempts) {
    let attempts = Attempts::default();
    let made = attempts.clone();
    let ws = Client::new("ws://localhost/")
        .reconnecting()
        .backoff(backoff)
        .connect_with(move |_| {
            let mut made = made.lock().unwrap();
            made.0.push(Instant::now());
            let there = there(made.0.len());
            let (near, far) = duplex(Faults::none(), Faults::none());
            made.1 = Some(near.control());
            async move {
                if there {
                    tokio::spawn(async move {
                        let mut ws = Server::new().accept_over(far).await?;
                        while ws.recv().await?.is_some() {}
                        Ok::<_, provod::Error>(())
                    });
                } else {
                    drop(far);
                }
                Ok(Client::new("ws://localhost/").connect_over(near).await?)
            }
        })
        .start()
        .unwrap();
    (ws, attempts)
}

fn gaps(attempts: &Attempts) -> Vec<Duration> {
    attempts.lock().unwrap().0.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

fn assert_between(gaps: &[Duration], longest: &[f64]) {
    assert_eq!(gaps.len(), longest.len(), "{gaps:?}");
    for (gap, longest) in gaps.iter().zip(longest) {
        // The clock has milliseconds.
        let range = (longest / 2.0 - 0.002)..=(longest + 0.002);
        assert!(range.contains(&gap.as_secs_f64()), "{gaps:?}, and not {longest:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn waits_grow_and_are_told() {
    let mut backoff = Backoff::default();
    backoff.attempts = Some(9);
    let (mut ws, attempts) = start(backoff, |_| false);
    let mut told = Vec::new();
    let mut numbers = Vec::new();
    while let Some(event) = ws.next_event().await {
        match event {
            Event::Waiting(time) => told.push(time),
            Event::Connecting(number) => numbers.push(number),
            _ => {}
        }
    }
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let gaps = gaps(&attempts);
    assert_between(&gaps, &[1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]);
    for (gap, told) in gaps.iter().zip(&told) {
        assert!(gap.abs_diff(*told) < Duration::from_millis(3), "{gap:?} {told:?}");
    }
    assert_ne!(told[5], told[6], "jitter");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_lasts_begins_anew() {
    // Twice nobody, then a connection, then nobody again.
    let (mut ws, attempts) = start(Backoff::default(), |n| n == 3 || n == 6);
    for up in [5, 4] {
        loop {
            match ws.next_event().await {
                Some(Event::Open) => break,
                Some(_) => {}
                None => panic!("it goes on"),
            }
        }
        sleep(Duration::from_secs(up)).await;
        let control = attempts.lock().unwrap().1.clone().unwrap();
        control.cut(std::io::ErrorKind::ConnectionReset);
        loop {
            if let Some(Event::Lost(_)) = ws.next_event().await {
                break;
            }
        }
    }
    while attempts.lock().unwrap().0.len() < 8 {
        ws.next_event().await;
    }
    let mut gaps = gaps(&attempts);
    // From when they were lost.
    gaps[2] -= Duration::from_secs(5);
    gaps[5] -= Duration::from_secs(4);
    assert_between(&gaps, &[1.0, 2.0, 1.0, 2.0, 4.0, 8.0, 16.0]);
}

#[tokio::test(start_paused = true)]
async fn a_hurry_begins_anew() {
    let (mut ws, attempts) = start(Backoff::default(), |_| false);
    for n in 1.. {
        loop {
            if let Some(Event::Waiting(_)) = ws.next_event().await {
                break;
            }
        }
        match n {
            4 => ws.retry_now(),
            7 => break,
            _ => {}
        }
    }
    let gaps = gaps(&attempts);
    assert_eq!(gaps[3], Duration::ZERO);
    assert_between(&[&gaps[..3], &gaps[4..]].concat(), &[1.0, 2.0, 4.0, 1.0, 2.0]);
}

#[tokio::test(start_paused = true)]
async fn time_runs_out() {
    let mut backoff = Backoff::default();
    backoff.elapsed = Some(Duration::from_secs(60));
    let (mut ws, attempts) = start(backoff, |_| false);
    let begun = Instant::now();
    while ws.next_event().await.is_some() {}
    assert!(begun.elapsed() <= Duration::from_secs(60));
    assert!((6..=9).contains(&attempts.lock().unwrap().0.len()));
    assert!(ws.ended().unwrap().to_string().starts_with("given up after"), "{:?}", ws.ended());
}
