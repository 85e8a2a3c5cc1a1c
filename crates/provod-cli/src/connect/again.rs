//! `--reconnect`: a connection that comes back, between standard input and standard output.

use std::future::pending;
use std::io;
use std::pin::{Pin, pin};
use std::time::Duration;

use provod::reconnect::{Delivery, Ended, Event, Lost, Receipt, Sender};
use provod::{Client, CloseCode, Reconnecting};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use super::Connect;
use super::failure::Failure;
use super::input::Input;
use super::output::Output;
use crate::process::Signals;

/// Runs until it is closed for good, or a signal ends it.
pub(super) async fn run(
    client: Client,
    options: &Connect,
    mut signals: Signals,
) -> Result<(), Failure> {
    let mut ws = client.reconnecting().start()?;
    let ended = tokio::select! {
        talked = talk(&mut ws, options) => Ok(talked),
        signal = signals.next() => Err(signal),
    };
    let (code, result) = match ended {
        Ok(Ok(result)) => return result,
        // Whoever read the messages has all that he wanted, as `head` has.
        Ok(Err(e)) if e.kind() == io::ErrorKind::BrokenPipe => (CloseCode::NORMAL, Ok(())),
        Ok(Err(e)) => {
            let failure = Failure::other(format!("cannot write to standard output: {e}"));
            (CloseCode::GOING_AWAY, Err(failure))
        }
        Err(signal) => (CloseCode::GOING_AWAY, Err(Failure::signal(signal))),
    };
    tokio::select! {
        _ = ws.close(code, "") => result,
        second = signals.next() => Err(Failure::signal(second)),
    }
}

/// Sends all lines and prints all messages, both at once, unless standard output fails.
async fn talk(ws: &mut Reconnecting, options: &Connect) -> io::Result<Result<(), Failure>> {
    let sender = ws.sender();
    let mut input = Input::new(options.binary, options.common.max_message());
    // Those that wait are in the outbox, which is bounded.
    let (tell, receipts) = unbounded_channel();
    let mut counting = pin!(count_doubtful(receipts));
    let mut sending = Box::pin(send_all(&sender, &mut input, tell, counting.as_mut()));
    let mut printing = pin!(print_all(ws));
    let sent = tokio::select! {
        end = &mut printing => {
            let end = end?;
            // The end was told, so it is known what became of each line, and may be news.
            drop(sending);
            return Ok(end.and(certain(counting.await)));
        }
        sent = &mut sending => sent,
    };
    let code = if sent.is_ok() { CloseCode::NORMAL } else { CloseCode::GOING_AWAY };
    if sent.is_err() || !options.no_close {
        // Neither the code nor the reason can be wrong.
        let _ = sender.close(code, "");
    }
    match sent {
        Ok(doubtful) => Ok(printing.await?.and(certain(doubtful))),
        Err(failure) => {
            // Answers to the lines before are printed all the same, not for ever.
            let limit: Duration = options.common.close_timeout();
            let _ = timeout(limit, printing).await;
            Ok(Err(failure))
        }
    }
}

/// Sends all lines, and waits until it is known what became of each; returns how many are in doubt,
/// as `counting` does.
async fn send_all(
    sender: &Sender,
    input: &mut Input,
    tell: UnboundedSender<Receipt>,
    counting: Pin<&mut impl Future<Output = u64>>,
) -> Result<u64, Failure> {
    let sending = async move {
        send_lines(sender, input, &tell).await
        // `tell` ends here, and with it the receipts.
    };
    let (sent, doubtful) = tokio::join!(sending, counting);
    sent.map(|()| doubtful)
}

/// What it means that so many lines are in doubt.
fn certain(doubtful: u64) -> Result<(), Failure> {
    if doubtful == 0 { Ok(()) } else { Err(Failure::in_doubt(doubtful)) }
}

async fn send_lines(
    sender: &Sender,
    input: &mut Input,
    tell: &UnboundedSender<Receipt>,
) -> Result<(), Failure> {
    while let Some(message) = input.next().await? {
        let Ok(receipt) = sender.send(message).await else {
            // How it ended is told to whoever prints.
            return pending().await;
        };
        // It is there as long as this end is.
        let _ = tell.send(receipt);
    }
    Ok(())
}

async fn count_doubtful(mut receipts: UnboundedReceiver<Receipt>) -> u64 {
    let (mut line, mut doubtful) = (0, 0);
    while let Some(receipt) = receipts.recv().await {
        line += 1;
        if let Delivery::InDoubt(_) = receipt.await {
            doubtful += 1;
            crate::complain(&format!(
                "line {line} may not have arrived: the connection was lost behind it"
            ));
        }
    }
    doubtful
}

/// Prints messages to standard output and everything else to standard error, until the end.
async fn print_all(ws: &mut Reconnecting) -> io::Result<Result<(), Failure>> {
    let mut output = Output::new();
    while let Some(event) = ws.next_event().await {
        match event {
            Event::Message(message) => output.print(&message).await?,
            Event::Connecting(1) => crate::complain("connecting"),
            Event::Connecting(attempt) => {
                crate::complain(&format!("connecting, attempt {attempt}"));
            }
            Event::Open => crate::complain("connected"),
            Event::Lost(lost) => crate::complain(&format!("lost: {lost}")),
            Event::Waiting(time) => {
                crate::complain(&format!("waiting {:.1} s", time.as_secs_f64()));
            }
            Event::Closed(ended) => return Ok(outcome(&ended)),
            _ => {}
        }
    }
    Ok(Err(Failure::other("the end was not told")))
}

/// What the end means.
fn outcome(ended: &Ended) -> Result<(), Failure> {
    match ended {
        Ended::Closed(_) => Ok(()),
        Ended::GaveUp(lost) | Ended::Exhausted(lost) => lost_by(lost),
        ended => Err(Failure::other(ended.to_string())),
    }
}

fn lost_by(lost: &Lost) -> Result<(), Failure> {
    if let Some(error) = lost.as_error() {
        return Err(error.clone().into());
    }
    match lost.as_closed().and_then(|closed| closed.received.clone().flatten()) {
        Some(frame) if frame.code == CloseCode::NORMAL => Ok(()),
        Some(frame) => Err(Failure::closed(&frame)),
        None => Err(Failure::other(lost.to_string())),
    }
}
