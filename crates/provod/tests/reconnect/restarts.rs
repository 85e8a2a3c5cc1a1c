//! Real servers that restart.

use provod::reconnect::{Delivery, Event};
use provod::server::Drain;
use provod::{CloseCode, Message};
use provod_testkit::peer::soon;

use crate::servers::{Place, Record, client_of, echo, until};

#[tokio::test]
async fn messages_go_on_over_a_server_that_restarts() {
    let record = Record::default();
    let place = Place::default();
    let server = echo(&place, &record).await;
    let mut ws = client_of(&place).start().unwrap();
    assert_eq!(soon(ws.deliver("before")).await, Delivery::Sent);
    assert_eq!(soon(ws.recv()).await, Some("before".into()));

    let mut drain = Drain::default();
    drain.code = CloseCode::SERVICE_RESTART;
    assert_eq!(soon(server.drain(drain)).await, 0);
    drop(server);
    let code = until(&mut ws, |event| match event {
        Event::Lost(lost) => Some(lost.code()),
        _ => None,
    })
    .await;
    assert_eq!(code, Some(CloseCode::SERVICE_RESTART));

    // Nobody is there, and nothing is lost.
    let receipts = [ws.send("first").await.unwrap(), ws.send("second").await.unwrap()];
    until(&mut ws, |event| match event {
        Event::Lost(lost) => lost.as_error().map(|e| assert!(e.is_connect(), "{e}")),
        _ => None,
    })
    .await;
    let server = echo(&place, &record).await;
    for receipt in receipts {
        assert_eq!(soon(receipt).await, Delivery::Sent);
    }
    assert_eq!(soon(ws.recv()).await, Some("first".into()));
    assert_eq!(soon(ws.recv()).await, Some("second".into()));
    assert_eq!(*record.lock().unwrap(), ["before".into(), "first".into(), "second".into()]);
    drop(server);
}

/// Four tasks send while the server is lost four times, without a word; what was said of each
/// message must be true.
async fn storm(resend: bool) {
    let record = Record::default();
    let place = Place::default();
    let first = echo(&place, &record).await;
    let mut ws = client_of(&place).resend_in_doubt(resend).start().unwrap();
    let sender = ws.sender();
    let restarted = record.clone();
    let reading = tokio::spawn(async move {
        let (mut server, mut losses) = (Some(first), 0);
        while let Some(event) = ws.next_event().await {
            match event {
                // In the midst of an exchange.
                Event::Message(_) if losses < 4 => drop(server.take()),
                Event::Lost(_) if server.is_none() => {
                    server = Some(echo(&place, &restarted).await);
                    losses += 1;
                }
                _ => {}
            }
        }
        losses
    });
    let tasks: Vec<_> = (0..4)
        .map(|task| {
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut verdicts = Vec::new();
                for n in 0..50 {
                    let message = Message::text(format!("{task}/{n}"));
                    verdicts.push((message.clone(), sender.deliver(message).await));
                }
                verdicts
            })
        })
        .collect();
    let mut verdicts = Vec::new();
    for task in tasks {
        verdicts.extend(soon(task).await.unwrap());
    }
    sender.close(1000, "").unwrap();
    assert_eq!(soon(reading).await.unwrap(), 4, "losses");
    let received = record.lock().unwrap();
    for (message, delivery) in verdicts {
        let times = received.iter().filter(|m| **m == message).count();
        let good = match delivery {
            Delivery::Sent => times == 1 || (resend && times > 1),
            Delivery::InDoubt(back) => !resend && times <= 1 && back == message,
            _ => false,
        };
        assert!(good, "{message:?} was read {times} times");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_of_each_message_is_true_while_servers_vanish() {
    storm(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_again_arrives_at_least_once() {
    storm(true).await;
}
